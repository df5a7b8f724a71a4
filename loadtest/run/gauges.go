package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// metrics returns the gateway's exposition.
func (s *stage) metrics(ctx context.Context) ([]byte, error) {
	response, err := s.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// figure is the value of a series, with its labels as they are written.
func figure(exposition []byte, series string) (float64, error) {
	for line := range strings.Lines(string(exposition)) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("the gateway has no metric %s", series)
}

func (s *stage) figure(ctx context.Context, series string) (float64, error) {
	exposition, err := s.metrics(ctx)
	if err != nil {
		return 0, err
	}
	return figure(exposition, series)
}

// cpuTime is the CPU time that the gateway has used so far.
func (s *stage) cpuTime(ctx context.Context) (time.Duration, error) {
	seconds, err := s.figure(ctx, "process_cpu_seconds_total")
	return time.Duration(seconds * float64(time.Second)), err
}

// reloadsMetric counts configurations that were put in force after the first.
const reloadsMetric = `verigate_config_reloads_total{outcome="success"}`
