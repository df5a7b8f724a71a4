package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"verigate/benchmarks/peers/load"
	"verigate/benchmarks/pinned"
	"verigate/benchmarks/report"
)

// newPerSecond is how many identities of a set that is used once are made for each
// second: what one core of a client can use up. Paced runs use pacedPerSecond more.
const (
	newPerSecond   = 2500
	pacedPerSecond = 1000
)

// slice is how long a peer is measured until it is the next one's turn. A machine whose
// speed changes from one second to the next is as fast for one as for the other; it is
// long enough for what a turn begins with, caches that are cold, to be nothing.
const slice = 200 * time.Millisecond

// errCannot is for a peer that lacks what a scenario is about.
var errCannot = errors.New("it made full handshakes where a session was offered")

// steadily measures a scenario of one operation again and again: closed loops for CPU
// time, then a fixed rate for latencies. A first pass, which is thrown away, finds who
// can do it at all, and the rate: half of what the slowest can do.
func (r *rig) steadily(ctx context.Context, s scenario) error {
	if s.set == "chain" && r.intermediates == 0 {
		r.note("%s is left out: there are no intermediates.", s.name)
		return nil
	}
	slowest := math.Inf(1)
	unable := map[*peer]bool{}
	for _, p := range r.peers {
		m, err := r.abreast(ctx, s, []*peer{p}, 0)
		if errors.Is(err, errCannot) {
			r.note("%s is not in %s: %s.", p.name, s.name, errCannot)
			unable[p] = true
			continue
		}
		if err != nil {
			return err
		}
		slowest = min(slowest, m[0].Values["throughput_per_second"])
	}
	if len(unable) == len(r.peers) {
		return nil
	}
	rate := slowest / 2
	if s.job.Once {
		rate = min(rate, pacedPerSecond)
	}
	for round := range r.rounds {
		able := slices.DeleteFunc(r.turns(round), func(p *peer) bool { return unable[p] })
		var all []report.Measurement
		tries, err := r.undisturbed(func() (disturbed bool, err error) {
			all, err = r.abreast(ctx, s, able, rate)
			return slices.ContainsFunc(all, report.Measurement.Disturbed), err
		})
		if err != nil {
			return err
		}
		for _, m := range all {
			m.Round = round + 1
			m.Values[triesTaken] = float64(tries)
			r.keep(m)
		}
	}
	return nil
}

// abreast measures fresh processes of some peers, a slice of one after a slice of the
// other, and the latencies of each at a rate if there is one. Whose turn it is not is
// stopped: it disturbs nobody, and what it has put off it does in its own time.
func (r *rig) abreast(ctx context.Context, s scenario, peers []*peer, rate float64) (all []report.Measurement, err error) {
	closed, paced, err := r.jobs(s, rate)
	if err != nil {
		return nil, err
	}
	var up []*instance
	defer func() {
		for _, i := range up {
			err = errors.Join(err, i.close())
		}
	}()
	for _, p := range peers {
		i, err := r.launch(p, r.server)
		if err != nil {
			return nil, err
		}
		up = append(up, i)
		if err := errors.Join(i.blame(ctx, r.warm(ctx, i, s.job)), i.Pause()); err != nil {
			return nil, err
		}
	}
	sums := make([]load.Result, len(up))
	for n, job := range closed {
		for k := range up {
			k = (k + n) % len(up)
			result, err := r.turn(ctx, up[k], r.play(up[k], job))
			if err == nil && rate == 0 && result.Unresumed > 0 && result.Operations == 0 {
				err = errCannot // later on, and where some are, one that is not resumed is a failure
			}
			if err != nil {
				return nil, err
			}
			sums[k] = sums[k].Plus(result)
		}
	}
	for k, i := range up {
		m := report.Measurement{Scenario: s.name, Subject: i.name, Point: map[string]string{"key": string(r.key)}, Values: map[string]float64{}}
		if sums[k].Operations == 0 {
			return nil, i.blame(ctx, fmt.Errorf("nothing succeeded: %s", sums[k].Failure))
		}
		r.add(&m, sums[k])
		if rate > 0 && r.occupant == nil { // latencies of half a core would be nobody's
			result, err := r.turn(ctx, i, r.play(i, paced))
			if err != nil {
				return nil, err
			}
			m.Latency = result.Latency
			m.Failures += result.Failures
			m.Values["offered_per_second"] = rate
			m.Values["paced_cpu_seconds_per_operation"] = result.CPU.Seconds() / float64(max(result.Operations, 1))
		}
		all = append(all, m)
	}
	return all, nil
}

// play is how the generator does a job.
func (r *rig) play(i *instance, job load.Job) func(context.Context) (load.Result, error) {
	return func(ctx context.Context) (load.Result, error) { return r.generator.Play(ctx, r.job(i, job)) }
}

// turn lets a peer run that is stopped while a job is done, and the occupant of its core.
func (r *rig) turn(ctx context.Context, i *instance, do func(context.Context) (load.Result, error)) (load.Result, error) {
	both := []*pinned.Process{i.Process}
	if r.occupant != nil {
		both = append(both, r.occupant)
	}
	for _, p := range both {
		if err := p.Resume(); err != nil {
			return load.Result{}, err
		}
	}
	result, err := do(ctx)
	err = i.blame(ctx, err)
	for _, p := range both {
		err = errors.Join(err, p.Pause())
	}
	return result, err
}

// jobs are those of a steady scenario: closed loops, one for each slice, and one at a
// rate. Identities that are used once are divided between them; every process of a peer
// is fresh, and has not seen any.
func (r *rig) jobs(s scenario, rate float64) (closed []load.Job, paced load.Job, err error) {
	job := s.job
	turns := max(1, int(math.Round(r.span.Seconds()/slice.Seconds())))
	job.Workers, job.Duration = closedWorkers, r.span/time.Duration(turns)
	each := int(newPerSecond * job.Duration.Seconds())
	name, n := "client", r.clients
	if s.job.Once {
		name, n = s.set, turns*each+int(pacedPerSecond*r.span.Seconds())+1
	}
	if job.Identities, err = r.identities(name, n, s.set == "chain"); err != nil {
		return nil, job, err
	}
	for turn := range turns {
		if s.job.Once {
			job.First, job.Last = turn*each, (turn+1)*each
		}
		closed = append(closed, job)
	}
	paced = job
	paced.Rate, paced.Duration = rate, r.span
	if s.job.Once {
		paced.First, paced.Last = turns*each, n
	}
	if s.job.Kind != load.KeepAlive {
		paced.Workers *= 4 // so that a connection that takes long keeps nobody waiting
	}
	return closed, paced, nil
}
