package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// minSoak is how long a soak has to take for a slope to mean anything.
	minSoak = 30 * time.Second
	// soakSamples is how often the gateway is looked at.
	soakSamples = 100
	// soakSettles is the part of the soak in which caches and pools fill.
	soakSettles = 0.33
)

// gauge is something of the gateway that must not grow under a constant load.
type gauge struct {
	name   string
	series string
	bytes  bool // it is said in MiB
	// It may grow over the time that is looked at by share of its mean and by floor,
	// whichever is more.
	share, floor float64
}

var gauges = []gauge{
	// Without what the heap has free, which the gateway gives back when it is calm: how
	// much that is depends on when it was looked at.
	{"resident_bytes", residentMetric, true, 0.10, 16 << 20},
	{"heap_bytes", "go_memstats_heap_alloc_bytes", true, 0.10, 8 << 20},
	{"goroutines", "go_goroutines", false, 0.10, 50},
	{"descriptors", "process_open_fds", false, 0.10, 50},
}

// read finds the value of g in what the gateway exposes.
func (g gauge) read(exposition []byte) (float64, error) {
	v, err := figure(exposition, g.series)
	if err != nil || g.series != residentMetric {
		return v, err
	}
	idle, err := figure(exposition, "go_memstats_heap_idle_bytes")
	if err != nil {
		return 0, err
	}
	released, err := figure(exposition, "go_memstats_heap_released_bytes")
	return v - (idle - released), err
}

// residentMetric is the memory that the kernel has given the gateway.
const residentMetric = "process_resident_memory_bytes"

// sampled is what the gauges were at a time.
type sampled struct {
	at     time.Duration
	values []float64 // of gauges, in their order
}

// growth is how a gauge went: its mean, the change over the time that was looked at
// by the line of least squares, and what that comes to in an hour.
type growth struct{ mean, change, perHour float64 }

// grow draws the line through the values of one gauge, but for the beginning of the
// soak. ok is false if there is too little to draw it through.
func grow(samples []sampled, k int, settled time.Duration) (g growth, ok bool) {
	var n, sumT, sumV, sumTT, sumTV float64
	first, last := math.Inf(1), math.Inf(-1)
	for _, s := range samples {
		if s.at < settled {
			continue
		}
		t, v := s.at.Seconds(), s.values[k]
		n, sumT, sumV, sumTT, sumTV = n+1, sumT+t, sumV+v, sumTT+t*t, sumTV+t*v
		first, last = min(first, t), max(last, t)
	}
	spread := n*sumTT - sumT*sumT
	if n < 10 || spread <= 0 {
		return g, false
	}
	slope := (n*sumTV - sumT*sumV) / spread
	return growth{mean: sumV / n, change: slope * (last - first), perHour: slope * 3600}, true
}

// judge says how g grew too much, "" if it did not.
func (g gauge) judge(is growth) string {
	if most := max(g.share*is.mean, g.floor); is.change > most {
		return fmt.Sprintf("%s grew by %s from a mean of %s under a constant load, %s an hour; at most %s is allowed",
			g.name, g.say(is.change), g.say(is.mean), g.say(is.perHour), g.say(most))
	}
	return ""
}

// say writes a value of g for people.
func (g gauge) say(v float64) string {
	if g.bytes {
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	}
	return fmt.Sprintf("%.0f", v)
}

// soakAll plays all kinds of clients at the same time, the refused ones too, and
// watches the gateway.
func (s *stage) soakAll(ctx context.Context) ([]measured, error) {
	// All of them call before the gateway is looked at; later ones would fill its
	// cache, as they should, and be growth.
	rate := max(1, s.handshakeRate/4)
	callers := max(1, min(s.clients, int(0.8*soakSettles*float64(rate)*s.soak.Seconds())))
	watching, enough := context.WithCancel(ctx)
	defer enough()
	type watched struct {
		samples []sampled
		err     error
	}
	seen := make(chan watched, 1)
	go func() {
		samples, err := s.watch(watching)
		seen <- watched{samples, err}
	}()
	all, _, err := s.driveAll(ctx, []load{
		{"soak-keepalive", "keepalive", "clients", s.keepaliveRate / 4, s.soak, keepalive},
		{"soak-handshake", "handshake", "clients", rate, s.soak, append([]string{"-first", strconv.Itoa(callers)}, newEach...)},
		{"soak-resumed", "resumed", "clients", rate, s.soak, []string{"-first", strconv.Itoa(min(callers, 50)), "-expect", "200", "-keepalive=false", "-session-tickets"}},
		{"soak-revoked", "handshake", "revoked", max(1, s.handshakeRate/8), s.soak, badCert},
	})
	enough()
	w := <-seen
	if ctx.Err() != nil {
		return all, ctx.Err() // too little to judge by
	}
	errs := []error{err, w.err, s.writeSamples(w.samples)}
	values := map[string]float64{}
	for k, g := range gauges {
		is, ok := grow(w.samples, k, time.Duration(soakSettles*float64(s.soak)))
		if !ok {
			errs = append(errs, fmt.Errorf("%s was looked at too seldom to say how it grows", g.name))
			continue
		}
		fmt.Printf("%-15s mean %12s, changed by %12s, %12s an hour\n", g.name, g.say(is.mean), g.say(is.change), g.say(is.perHour))
		values[g.name], values[g.name+"_growth_per_hour"] = is.mean, is.perHour
		if why := g.judge(is); why != "" {
			errs = append(errs, errors.New(why))
		}
	}
	if len(all) > 0 {
		all[0].values = values // of the gateway, whoever drives it
	}
	if err := errors.Join(errs...); err != nil {
		return all, err
	}
	fmt.Printf("soak: passed: under a constant load for %v nothing grew by more than is allowed\n\n", s.soak)
	return all, nil
}

// watch looks at the gateway until ctx is done.
func (s *stage) watch(ctx context.Context) ([]sampled, error) {
	var samples []sampled
	began := time.Now()
	for {
		if pause(ctx, max(s.soak/soakSamples, 50*time.Millisecond)) != nil {
			return samples, nil
		}
		// What the collector has not come to yet is no growth, and it may let a lot lie.
		if err := s.collect(ctx); err != nil && ctx.Err() == nil {
			return samples, err
		}
		exposition, err := s.metrics(ctx)
		if ctx.Err() != nil {
			return samples, nil
		}
		one := sampled{at: time.Since(began)}
		for _, g := range gauges {
			var v float64
			if err == nil {
				v, err = g.read(exposition)
			}
			one.values = append(one.values, v)
		}
		if err != nil {
			return samples, err
		}
		samples = append(samples, one)
	}
}

// collect has the gateway collect its garbage.
func (s *stage) collect(ctx context.Context) error {
	response, err := s.get(ctx, "/debug/pprof/heap?gc=1")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway does not collect its garbage: %s", response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// writeSamples keeps what was seen, as CSV.
func (s *stage) writeSamples(samples []sampled) error {
	var b strings.Builder
	b.WriteString("seconds")
	for _, g := range gauges {
		b.WriteString("," + g.name)
	}
	for _, one := range samples {
		fmt.Fprintf(&b, "\n%.2f", one.at.Seconds())
		for _, v := range one.values {
			fmt.Fprintf(&b, ",%.0f", v)
		}
	}
	b.WriteString("\n")
	return os.WriteFile(filepath.Join(s.out, "soak.csv"), []byte(b.String()), 0o644)
}
