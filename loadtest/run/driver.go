package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"verigate/benchmarks/report"
)

// load is one run of the driver.
type load struct {
	name       string // of the run and of its files
	targets    string
	identities string // folder in the PKI; "" is without a certificate
	rate       int
	duration   time.Duration
	more       []string
}

// outcome is what run reads of the driver's JSON.
type outcome struct {
	Right     int64     `json:"right"`
	Wrong     int64     `json:"wrong"`
	Dropped   int64     `json:"dropped"`
	Seconds   float64   `json:"seconds"`
	LastRight time.Time `json:"last_right"`
	Latency   struct {
		P50 float64 `json:"p50"`
		P90 float64 `json:"p90"`
		P99 float64 `json:"p99"`
		Max float64 `json:"max"`
	} `json:"latency_ms"`
	Wrongs      map[string]int64 `json:"wrongs"`
	Connections struct {
		Opened  int64 `json:"opened"`
		Resumed int64 `json:"resumed"`
		Chains  int   `json:"server_chains"`
	} `json:"connections"`
	Slow *struct {
		Opened  int64   `json:"opened"`
		Closed  int64   `json:"closed_by_server"`
		Longest float64 `json:"longest_ms"`
	} `json:"slow"`
}

// drive runs the driver. A threshold that was missed is an error, but the outcome
// is complete nevertheless.
func (s *stage) drive(ctx context.Context, l load) (*outcome, error) {
	base := filepath.Join(s.out, l.name)
	arguments := []string{
		"-name", l.name, "-targets", filepath.Join("loadtest", "vegeta", l.targets+".targets"),
		"-connect-to", "localhost:8443:" + s.edge, "-root-certs", s.pki("root.pem"),
		"-rate", strconv.Itoa(l.rate), "-duration", l.duration.String(),
		"-json", base + ".json", "-hgrm", base + ".hgrm", "-timeline", base + ".csv",
	}
	if l.identities != "" {
		arguments = append(arguments, "-identities", s.pki(l.identities))
	}
	driver := exec.CommandContext(ctx, filepath.Join(s.dir, "driver"), append(arguments, l.more...)...)
	driver.Cancel = func() error { return driver.Process.Signal(syscall.SIGTERM) }
	driver.WaitDelay = stopTimeout
	// As one write: several drivers may run at the same time.
	said, failed := driver.CombinedOutput()
	if _, err := fmt.Printf("%s\n", said); err != nil {
		return nil, err
	}
	if failed != nil {
		failed = fmt.Errorf("driver %s: %w", l.name, failed)
	}
	data, err := os.ReadFile(base + ".json")
	if err != nil {
		return nil, errors.Join(failed, err)
	}
	o := &outcome{}
	if err := json.Unmarshal(data, o); err != nil {
		return nil, errors.Join(failed, fmt.Errorf("%s.json: %w", base, err))
	}
	return o, failed
}

func (o *outcome) measured(l load) measured {
	ms := func(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }
	m := measured{
		name: l.name, generator: "driver", operations: o.Right, failures: o.Wrong + o.Dropped, wall: l.duration,
		latency: &report.Latency{P50: ms(o.Latency.P50), P90: ms(o.Latency.P90), P99: ms(o.Latency.P99), Max: ms(o.Latency.Max), Count: o.Right + o.Wrong},
		values:  map[string]float64{"connections_opened": float64(o.Connections.Opened), "connections_resumed": float64(o.Connections.Resumed)},
	}
	if o.Slow != nil {
		m.values["slow_connections_closed"] = float64(o.Slow.Closed)
		m.values["slow_connection_longest_seconds"] = o.Slow.Longest / 1000
	}
	return m
}

// driveAll runs several loads at the same time.
func (s *stage) driveAll(ctx context.Context, loads []load) ([]measured, []*outcome, error) {
	outcomes := make([]*outcome, len(loads))
	errs := make([]error, len(loads))
	var running sync.WaitGroup
	for i, l := range loads {
		running.Go(func() { outcomes[i], errs[i] = s.drive(ctx, l) })
	}
	running.Wait()
	var all []measured
	for i, o := range outcomes {
		if o != nil {
			all = append(all, o.measured(loads[i]))
		}
	}
	return all, outcomes, errors.Join(errs...)
}

// The thresholds are loose where they are about time: the machine is shared with
// the load, and what they are to find is a stall.
var (
	warm         = []string{"-warmup", "300ms"}
	inTime       = []string{"-p99", "500ms", "-min-rate", "0.9"}
	keepalive    = append([]string{"-expect", "200", "-connections", "64"}, append(warm, inTime...)...)
	newEach      = []string{"-expect", "200", "-keepalive=false"}
	resumedEach  = append(newEach, "-session-tickets", "-min-resumed", "0.95")
	certRequired = []string{"-keepalive=false", "-expect", "alert certificate required"}
	badCert      = []string{"-keepalive=false", "-expect", "alert bad certificate"}
)

// loads are the scenarios that are one run of the driver each.
func loads(o options) []load {
	list := []load{
		{"keepalive-1", "keepalive", "clients", o.keepaliveRate, o.duration, append([]string{"-first", "1"}, keepalive...)},
		{"keepalive-many", "keepalive", "clients", o.keepaliveRate, o.duration, keepalive},
		{"handshake-1", "handshake", "clients", o.handshakeRate, o.duration, append([]string{"-first", "1"}, newEach...)},
		{"handshake-many", "handshake", "clients", o.handshakeRate, o.duration, newEach},
		{"resumed-1", "resumed", "clients", o.handshakeRate, o.duration, append([]string{"-first", "1"}, append(warm, resumedEach...)...)},
		// Few enough that each comes back within the scenario.
		{"resumed-many", "resumed", "clients", o.handshakeRate, o.duration, append([]string{"-first", strconv.Itoa(max(1, o.handshakeRate/5))}, append(warm, resumedEach...)...)},
	}
	for _, mode := range []string{"keepalive", "handshake", "resumed"} {
		for _, kind := range []string{"expired", "revoked", "wrong-trust-domain", "none"} {
			l := load{mode + "-" + kind, mode, kind, max(1, o.handshakeRate/2), o.duration / 4, badCert}
			if kind == "none" {
				l.identities, l.more = "", certRequired
			}
			switch mode {
			case "keepalive":
				l.more = append([]string{"-keepalive"}, l.more[1:]...)
			case "resumed":
				l.more = append([]string{"-session-tickets"}, l.more...)
			}
			list = append(list, l)
		}
	}
	// The configuration gives them two seconds for a handshake or a header. Others are
	// served meanwhile.
	return append(list, load{"slow-loris", "keepalive", "clients", o.keepaliveRate / 2, max(4*o.duration, 4*time.Second),
		append([]string{"-slow", "100", "-slow-interval", "100ms", "-max-slow-life", "3500ms"}, keepalive...)})
}

// driverScenarios are all that the driver plays.
func driverScenarios(o options) []scenario {
	var list []scenario
	for _, l := range loads(o) {
		list = append(list, scenario{l.name, func(s *stage, ctx context.Context) ([]measured, error) {
			all, _, err := s.driveAll(ctx, []load{l})
			return all, err
		}})
	}
	return append(list, scenario{"rotation", (*stage).rotation}, scenario{"reload", (*stage).reload})
}
