package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"verigate/benchmarks/peers/load"
	"verigate/benchmarks/report"
)

// scenario is a kind of work. Its name is what results are found by, for ever.
type scenario struct {
	name, about string
	measure     func(*rig, context.Context, scenario) error
	job         load.Job // of steady scenarios: what is repeated
	set         string   // whose identities; "" is the clients that come back
}

// Workers of the steady scenarios: enough to keep a core busy, few enough for
// queues to say nothing.
const (
	handshakeWorkers = 16
	requestWorkers   = 64
)

var scenarios = []scenario{
	{"handshake_cached", "full handshake and a request, by clients that come back", (*rig).steadily,
		load.Job{Kind: load.Handshake, Workers: handshakeWorkers}, ""},
	{"handshake_new_leaf", "the same with a leaf that was not seen before, of a known issuer", (*rig).steadily,
		load.Job{Kind: load.Handshake, Workers: handshakeWorkers, Once: true}, "leaf"},
	{"handshake_new", "the same with everything new, intermediates included", (*rig).steadily,
		load.Job{Kind: load.Handshake, Workers: handshakeWorkers, Once: true}, "chain"},
	{"handshake_resumed", "resumed handshake and a request", (*rig).steadily,
		load.Job{Kind: load.Resume, Workers: handshakeWorkers}, ""},
	{"keepalive_1k", "request for 1 KiB over connections that stay", (*rig).steadily,
		load.Job{Kind: load.KeepAlive, Workers: requestWorkers}, ""},
	{"keepalive_64k", "request for 64 KiB over connections that stay", (*rig).steadily,
		load.Job{Kind: load.KeepAlive, Workers: requestWorkers, Path: "/64k", Body: 64 << 10}, ""},
	{"idle", "memory of idle connections", (*rig).idly, load.Job{}, ""},
	{"flood", "latency of established connections under a flood of ClientHellos", (*rig).flooded, load.Job{}, ""},
	{"newcomers", "latency of new clients under the same flood", (*rig).besieged, load.Job{}, ""},
	{"goodput", "what succeeds within a second, at one, two and three times the peak", (*rig).overloaded, load.Job{}, ""},
}

func scenarioNames() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// newPerSecond is how many identities of a set that is used once are made for each
// second: what one core of a client can use up. Paced runs use pacedPerSecond more.
const (
	newPerSecond   = 2500
	pacedPerSecond = 1000
)

// steadily measures a scenario of one operation again and again: a closed loop for
// CPU time, then a fixed rate for latencies. A first pass, which is thrown away, finds
// the rate: half of what the slowest peer can do.
func (r *rig) steadily(ctx context.Context, s scenario) error {
	if s.set == "chain" && r.intermediates == 0 {
		r.note("%s is left out: there are no intermediates.", s.name)
		return nil
	}
	slowest := math.Inf(1)
	able := map[string]bool{}
	for _, p := range r.peers {
		m, err := r.steady(ctx, s, p, 0)
		if errors.Is(err, errCannot) {
			r.note("%s is not in %s: %s.", p.name, s.name, errCannot)
			continue
		}
		if err != nil {
			return err
		}
		able[p.name] = true
		slowest = min(slowest, m.Values["throughput_per_second"])
	}
	rate := slowest / 2
	if s.job.Once {
		rate = min(rate, pacedPerSecond)
	}
	for round := range r.rounds {
		for _, p := range r.turns(round) {
			if !able[p.name] {
				continue
			}
			var m report.Measurement
			err := r.undisturbed(func() (foreign float64, err error) {
				m, err = r.steady(ctx, s, p, rate)
				return m.Values[report.ForeignShare], err
			})
			if err != nil {
				return err
			}
			m.Round = round + 1
			r.keep(m)
		}
	}
	return nil
}

// undisturbed repeats a measurement during which others used the peer's core for more
// than a share that measure returns. What the measurement came to plays no part in that.
// If it does not help, the report warns.
func (r *rig) undisturbed(measure func() (foreign float64, err error)) error {
	for range r.tries {
		if foreign, err := measure(); err != nil || foreign <= report.TooForeign {
			return err
		}
	}
	return nil
}

// errCannot is for a peer that lacks what a scenario is about.
var errCannot = errors.New("it made full handshakes where a session was offered")

// steady measures one peer once. Without a rate there are no latencies.
func (r *rig) steady(ctx context.Context, s scenario, p *peer, rate float64) (report.Measurement, error) {
	m := report.Measurement{Scenario: s.name, Subject: p.name, Point: map[string]string{"key": string(r.key)}, Values: map[string]float64{}}
	closed, paced, err := r.jobs(s, rate)
	if err != nil {
		return m, err
	}
	return m, r.visit(ctx, p, r.server, func(i *instance) error {
		if err := r.warm(ctx, i, s.job); err != nil {
			return err
		}
		result, err := r.generator.Play(ctx, r.job(i, closed))
		if err != nil {
			return err
		}
		if result.Unresumed > 0 {
			return errCannot
		}
		if result.Operations == 0 {
			return fmt.Errorf("nothing succeeded: %s", result.Failure)
		}
		r.add(&m, result)
		if rate == 0 {
			return nil
		}
		if result, err = r.generator.Play(ctx, r.job(i, paced)); err != nil {
			return err
		}
		m.Latency = result.Latency
		m.Failures += result.Failures
		m.Values["offered_per_second"] = rate
		m.Values["paced_cpu_seconds_per_operation"] = result.CPU.Seconds() / float64(max(result.Operations, 1))
		return nil
	})
}

// jobs are the two of a steady scenario. Identities that are used once are divided
// between them; every process of a peer is fresh, and has not seen any.
func (r *rig) jobs(s scenario, rate float64) (closed, paced load.Job, err error) {
	closed = s.job
	closed.Duration = r.span
	name, n := "client", r.clients
	first := 0
	if s.job.Once {
		name = s.set
		first = int(newPerSecond * r.span.Seconds())
		n = first + int(pacedPerSecond*r.span.Seconds()) + 1
	}
	if closed.Identities, err = r.identities(name, n, s.set == "chain"); err != nil {
		return closed, paced, err
	}
	paced = closed
	paced.Rate = rate
	if s.job.Kind != load.KeepAlive {
		paced.Workers *= 4 // so that a connection that takes long keeps nobody waiting
	}
	if s.job.Once {
		closed.Last, paced.First = first, first
	}
	return closed, paced, nil
}

// warm lets a fresh process do for a while what will be measured, with the clients
// that come back.
func (r *rig) warm(ctx context.Context, i *instance, job load.Job) error {
	var err error
	if job.Identities, err = r.identities("client", r.clients, false); err != nil {
		return err
	}
	job.Once, job.Duration = false, r.warmUp
	job = r.job(i, job)
	job.Peer = 0 // nothing of it is measured, and nginx may not have forked its worker yet
	result, err := r.generator.Play(ctx, job)
	if err == nil && result.Operations == 0 && result.Unresumed == 0 {
		err = fmt.Errorf("nothing succeeded in the warm-up: %s", result.Failure)
	}
	return err
}

// add puts a result into a measurement.
func (r *rig) add(m *report.Measurement, result load.Result) {
	m.Operations, m.Failures, m.Wall, m.CPU = result.Operations, result.Failures, result.Wall, result.CPU
	m.Latency = result.Latency
	m.Values["throughput_per_second"] = float64(result.Operations) / result.Wall.Seconds()
	m.Values["peer_busy_share"] = result.CPU.Seconds() / result.Wall.Seconds()
	m.Values[report.ForeignShare] = foreignShare(result)
	m.Values["generator_busy_share"] = result.Generator.Seconds() / result.Wall.Seconds()
	if result.Failures > 0 && result.Failure != "" {
		fmt.Fprintf(r.show, "    of %d failures, one: %s\n", result.Failures, result.Failure)
	}
}

// foreignShare is how much of the time others used the peer's core.
func foreignShare(result load.Result) float64 {
	return result.Foreign.Seconds() / result.Wall.Seconds()
}

// note is for the reader of the report, and for who watches.
func (r *rig) note(format string, arguments ...any) {
	text := fmt.Sprintf(format, arguments...)
	fmt.Fprintln(r.show, "  "+text)
	r.run.Notes = append(r.run.Notes, text)
}

// rest lets time pass.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
