package main

import (
	"context"
	"fmt"
	"strings"
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

// steady reports whether a scenario is one operation again and again.
func (s scenario) steady() bool { return s.job.Kind != "" }

// byVegeta is what the names of the scenarios begin with that vegeta plays.
const byVegeta = "vegeta_"

func (s scenario) vegeta() bool { return strings.HasPrefix(s.name, byVegeta) }

// closedWorkers is how many workers a closed loop has: enough to keep a peer's core busy
// while the generator's is as busy, since whoever waits for work pays for waking up.
const closedWorkers = 64

var scenarios = []scenario{
	{"handshake_cached", "full handshake and a request, by clients that come back", (*rig).steadily,
		load.Job{Kind: load.Handshake}, ""},
	{"handshake_new_leaf", "the same with a leaf that was not seen before, of a known issuer", (*rig).steadily,
		load.Job{Kind: load.Handshake, Once: true}, "leaf"},
	{"handshake_new", "the same with everything new, intermediates included", (*rig).steadily,
		load.Job{Kind: load.Handshake, Once: true}, "chain"},
	{"handshake_resumed", "resumed handshake and a request", (*rig).steadily,
		load.Job{Kind: load.Resume}, ""},
	{"keepalive_1k", "request for 1 KiB over connections that stay", (*rig).steadily,
		load.Job{Kind: load.KeepAlive}, ""},
	{"keepalive_64k", "request for 64 KiB over connections that stay", (*rig).steadily,
		load.Job{Kind: load.KeepAlive, Path: "/64k", Body: 64 << 10}, ""},
	{byVegeta + "handshake", "full handshake and a request, by one client, with vegeta as the generator", (*rig).steadily,
		load.Job{Kind: load.Handshake}, ""},
	{byVegeta + "resumed", "resumed handshake and a request, by the same", (*rig).steadily,
		load.Job{Kind: load.Resume}, ""},
	{byVegeta + "keepalive", "request for 1 KiB over connections that stay, by the same", (*rig).steadily,
		load.Job{Kind: load.KeepAlive}, ""},
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

// steadyNames are those that a busy loop may share the peer's core in.
func steadyNames() (names []string) {
	for _, s := range scenarios {
		if s.steady() {
			names = append(names, s.name)
		}
	}
	return names
}

// triesTaken is the value that says how often a measurement was made until it was kept.
const triesTaken = "tries"

// undisturbed repeats a measurement that was disturbed, as measure reports. What it came
// to plays no part in that. If it does not help, the report warns. taken is how many
// tries there were.
func (r *rig) undisturbed(measure func() (disturbed bool, err error)) (taken int, err error) {
	for taken = 1; ; taken++ {
		if disturbed, err := measure(); err != nil || !disturbed || taken == r.tries {
			return taken, err
		}
	}
}

// everybody is how long a warm-up with all clients may take.
const everybody = 10 * time.Minute

// warm lets a fresh process do for a while what will be measured, with the clients
// that come back. If those are more than have come by then, all of them come once.
func (r *rig) warm(ctx context.Context, i *instance, job load.Job) error {
	var err error
	if job.Identities, err = r.identities("client", r.clients, false); err != nil {
		return err
	}
	job.Workers, job.Once, job.Duration = closedWorkers, false, r.warmUp
	job = r.job(i, job)
	job.Peer = 0 // nothing of it is measured, and nginx may not have forked its worker yet
	result, err := r.generator.Play(ctx, job)
	if err == nil && result.Operations == 0 && result.Unresumed == 0 {
		err = fmt.Errorf("nothing succeeded in the warm-up: %s", result.Failure)
	}
	if err != nil || job.Kind != load.Handshake || int64(r.clients) <= result.Operations {
		return err
	}
	job.Once, job.Duration = true, everybody
	if result, err = r.generator.Play(ctx, job); err == nil && result.Operations < int64(r.clients) {
		err = fmt.Errorf("%d of %d clients came in the warm-up: %s", result.Operations, r.clients, result.Failure)
	}
	return err
}

// add puts a result into a measurement.
func (r *rig) add(m *report.Measurement, result load.Result) {
	m.Operations, m.Failures, m.Wall, m.CPU = result.Operations, result.Failures, result.Wall, result.CPU
	m.Latency = result.Latency
	m.Values["throughput_per_second"] = float64(result.Operations) / result.Wall.Seconds()
	m.Values["peer_busy_share"] = result.CPU.Seconds() / result.Wall.Seconds()
	m.Values[report.ForeignShare] = result.Foreign()
	m.Values["generator_busy_share"] = result.Generator.Seconds() / result.Wall.Seconds()
	if r.occupant != nil {
		m.Values["occupant_busy_share"] = result.OccupantCPU.Seconds() / result.Wall.Seconds()
	}
	if result.Failures > 0 && result.Failure != "" {
		fmt.Fprintf(r.show, "    of %d failures, one: %s\n", result.Failures, result.Failure)
	}
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
