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
var errCannot = errors.New("full handshakes, where a session was offered")

// steadily measures a scenario of one operation again and again: closed loops for CPU
// time, then a fixed rate for latencies. A first pass, which is thrown away, finds who
// can do it at all, and the rate: half of what the slowest can do.
func (r *rig) steadily(ctx context.Context, s scenario) error {
	if s.set == "chain" && r.intermediates == 0 {
		r.note("%s is left out: there are no intermediates.", s.name)
		return nil
	}
	first, err := r.course(s, 0)
	if err != nil {
		return err
	}
	slowest := math.Inf(1)
	unable := map[*peer]bool{}
	for _, p := range r.peers {
		m, err := r.abreast(ctx, s, []*peer{p}, first)
		if errors.Is(err, errCannot) {
			r.note("%s is not in %s: it made %s.", p.name, s.name, errCannot)
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
	c := r.attacks(s.job.Kind)
	if !s.vegeta() {
		if c, err = r.course(s, slowest/2); err != nil {
			return err
		}
	}
	for round := range r.rounds {
		able := slices.DeleteFunc(r.turns(round), func(p *peer) bool { return unable[p] })
		var all []report.Measurement
		tries, err := r.undisturbed(func() (disturbed bool, err error) {
			all, err = r.abreast(ctx, s, able, c)
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

// course is what every peer is put through in a round.
type course struct {
	slices []work
	count  func(*instance, *load.Result) error // after each slice, unless nil: its operations, if work does not
	paced  work                                // at the end, for latencies at a rate; nil for none
	rate   float64                             // of that, a second
}

// work is something that an instance is measured by.
type work func(context.Context, *instance) (load.Result, error)

// course is that of our own generator. At the rate 0 there are no latencies.
func (r *rig) course(s scenario, rate float64) (c course, err error) {
	if s.job.Once {
		rate = min(rate, pacedPerSecond)
	}
	closed, paced, err := r.jobs(s, rate)
	for _, job := range closed {
		c.slices = append(c.slices, r.play(job))
	}
	if rate > 0 && !r.occupied { // latencies of a part of a core would be nobody's
		c.paced, c.rate = r.play(paced), rate
	}
	return c, err
}

// play has the generator do a job.
func (r *rig) play(job load.Job) work {
	return func(ctx context.Context, i *instance) (load.Result, error) {
		return r.generator.Play(ctx, r.job(i, job))
	}
}

// abreast measures fresh processes of some peers, a slice of one after a slice of the
// other, and the latencies of each at a rate if there is one. Whose turn it is not is
// stopped: it disturbs nobody, and what it has put off it does in its own time.
func (r *rig) abreast(ctx context.Context, s scenario, peers []*peer, c course) (all []report.Measurement, err error) {
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
	for n, do := range c.slices {
		for k := range up {
			k = (k + n) % len(up)
			result, err := r.turn(ctx, up[k], do)
			if err == nil && c.count != nil {
				err = up[k].blame(ctx, c.count(up[k], &result))
			}
			if err != nil {
				return nil, err
			}
			sums[k] = sums[k].Plus(result)
		}
	}
	for k, i := range up {
		m := report.Measurement{Scenario: s.name, Subject: i.name, Point: map[string]string{"key": string(r.key)}, Values: map[string]float64{}}
		if r.occupied {
			m.Point["core"] = "shared"
		}
		if sums[k].Operations == 0 {
			err := fmt.Errorf("nothing succeeded: %s", sums[k].Failure)
			if sums[k].Unresumed > 0 {
				err = fmt.Errorf("nothing succeeded: %w", errCannot)
			}
			return nil, i.blame(ctx, err)
		}
		r.add(&m, sums[k])
		if c.paced != nil {
			result, err := r.turn(ctx, i, c.paced)
			if err != nil {
				return nil, err
			}
			m.Latency = result.Latency
			m.Failures += result.Failures
			m.Values["offered_per_second"] = c.rate
			m.Values["paced_cpu_seconds_per_operation"] = result.CPU.Seconds() / float64(max(result.Operations, 1))
		}
		all = append(all, m)
	}
	return all, nil
}

// turn lets a peer that is stopped run for some work, and the occupant of its core.
func (r *rig) turn(ctx context.Context, i *instance, do work) (load.Result, error) {
	running := []*pinned.Process{i.Process}
	if r.occupant != nil {
		running = append(running, r.occupant)
	}
	for _, p := range running {
		if err := p.Resume(); err != nil {
			return load.Result{}, i.blame(ctx, err)
		}
	}
	result, err := do(ctx, i)
	err = i.blame(ctx, err)
	for _, p := range running {
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
