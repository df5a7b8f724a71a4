package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"verigate/benchmarks/peers/load"
	"verigate/benchmarks/report"
)

// Concurrency of the loads. Handshakes are few at a time, or they would wait for each
// other; requests are as many as keep a core busy across two processes.
const (
	handshakers = 8
	askers      = 32
	// openWorkers is how many operations may be late before the next one has to wait.
	openWorkers = 256
)

// points are those of a curve, or few small ones for -quick.
func (b *bench) points(quick []int, full ...int) []int {
	if b.quick {
		return quick
	}
	return full
}

// job is a load of the gateway by some of the identities in a file.
func (b *bench) job(g *gateway, kind load.Kind, identities string, first, last int) load.Job {
	j := load.Job{
		Kind: kind, Target: g.address, Leaf: b.leaf, Group: tls.X25519, Identities: filepath.Join(b.dir, identities), First: first, Last: last,
		Path: "/1k", Body: 1 << 10, Workers: handshakers, Duration: b.duration,
		Processes: load.Processes{Peer: g.Pid()},
	}
	if kind == load.KeepAlive {
		j.Workers = askers
	}
	return j
}

// add records a measurement of the closed loop, with the latency of an open one.
func (b *bench) add(ctx context.Context, scenario, label string, x, round int, job load.Job, values map[string]float64) error {
	closed, err := b.play(ctx, job)
	if err != nil {
		return err
	}
	m := report.Measurement{
		Scenario: scenario, Subject: subject, Round: round, X: float64(x),
		Operations: closed.Operations, Failures: closed.Failures, Wall: closed.Wall, CPU: closed.CPU,
		Values: map[string]float64{"operations_per_second": float64(closed.Operations) / closed.Wall.Seconds()},
	}
	if label != "" {
		m.Point = map[string]string{label: strconv.Itoa(x)}
	}
	for name, v := range values {
		m.Values[name] = v
	}
	failure := closed.Failure
	if !job.Once { // whoever may come once only has come
		job.Rate = m.Values["operations_per_second"] / 2
		if job.Kind != load.KeepAlive {
			job.Workers = openWorkers
		}
		open, err := b.play(ctx, job)
		if err != nil {
			return err
		}
		m.Failures += open.Failures
		m.Latency = open.Latency
		failure = cmp.Or(failure, open.Failure)
		m.Values["offered_per_second"] = job.Rate
	}
	if m.Failures > 0 {
		b.run.Notes = append(b.run.Notes, fmt.Sprintf("%s at %d: %d failed, for example: %s", scenario, x, m.Failures, failure))
	}
	b.run.Measurements = append(b.run.Measurements, m)
	return nil
}

// warm has every identity come once, so that its verdict is known.
func (b *bench) warm(ctx context.Context, g *gateway, identities string, first, last int) error {
	job := b.job(g, load.Handshake, identities, first, last)
	job.Once, job.Duration, job.Peer = true, time.Hour, 0
	_, err := b.play(ctx, job)
	return err
}

// memory adds what g holds to values, in the first round: it hardly varies, and to wait
// until the gateway is at rest takes longer than the loads. A -quick run does not wait.
func (b *bench) memory(ctx context.Context, g *gateway, round int, values map[string]float64) (err error) {
	switch {
	case b.quick:
		values[residentBytes], _, err = g.resident()
	case round == 1:
		values[residentBytes], err = g.atRest(ctx)
	}
	return err
}

// usual is a file with n identities of the usual trust domain, made once for a run.
func (b *bench) usual(n int) (string, error) {
	file := fmt.Sprintf("clients-%d", n)
	path := filepath.Join(b.dir, file)
	if _, err := os.Stat(path); err == nil {
		return file, nil
	}
	return file, clients(path, n, b.client)
}

// with runs f with a gateway of its own.
func (b *bench) with(ctx context.Context, w world, cores []int, f func(g *gateway) error) error {
	w.backend = b.target
	g, err := b.launch(ctx, w.config(), cores)
	if err != nil {
		return err
	}
	defer g.Stop(stopTimeout)
	return f(g)
}
