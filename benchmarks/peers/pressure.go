package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"verigate/benchmarks/peers/load"
	"verigate/benchmarks/peers/pki"
	"verigate/benchmarks/pinned"
	"verigate/benchmarks/report"
)

// Probes of the flood: so many connections, each asking once in an interval, on
// timetables of their own.
const (
	probes        = 8
	probeInterval = 5 * time.Millisecond
)

// floodLead is how long the flood lasts before the first probe and after the last, at
// most.
const floodLead = 500 * time.Millisecond

// flooded measures the latency of established connections without a flood and under
// one.
func (r *rig) flooded(ctx context.Context, s scenario) error {
	file, err := r.identities("client", r.clients, false)
	if err != nil {
		return err
	}
	probe := load.Job{Kind: load.KeepAlive, Identities: file, Workers: probes, Held: true, Apart: true,
		Rate: probes / probeInterval.Seconds(), Duration: r.span}
	return r.visits(ctx, s, r.server, load.Job{Kind: load.Handshake}, func(i *instance, like report.Measurement) error {
		// Before the flood, which might not let them in.
		established, err := r.generator.Play(ctx, r.job(i, load.Job{Kind: load.Hold, Identities: file, Workers: probes}))
		if err != nil || established.Failures > 0 {
			return errors.Join(err, fmt.Errorf("%d probes are connected: %s", established.Operations, established.Failure))
		}
		defer r.generator.Play(ctx, load.Job{Kind: load.Release}) // nothing can fail but the generator
		return r.probe(ctx, i, func() load.Job { return probe }, like)
	})
}

// newPerSecondInFlood is how many new clients come in a flood: enough to be counted, and
// too few to be a load.
const newPerSecondInFlood = 40

// besieged measures how long clients wait that connect for the first time, with and
// without a flood: none may starve so that established connections are fast.
func (r *rig) besieged(ctx context.Context, s scenario) error {
	each := int(math.Ceil(newPerSecondInFlood*r.span.Seconds())) + 1
	file, err := r.identities("newcomer", 2*r.tries*each, false) // twice: there are two measurements
	if err != nil {
		return err
	}
	return r.visits(ctx, s, r.server, load.Job{Kind: load.Handshake}, func(i *instance, like report.Measurement) error {
		come := load.Job{Kind: load.Handshake, Identities: file, Once: true, Rate: newPerSecondInFlood, Duration: r.span,
			Workers: 10 * newPerSecondInFlood} // each may wait for ten seconds
		return r.probe(ctx, i, func() load.Job {
			come.First, come.Last = come.Last, come.Last+each // of whom this process has seen nobody
			return come
		}, like)
	})
}

// visits starts every peer in every round, warms it up and lets it be measured.
func (r *rig) visits(ctx context.Context, s scenario, files pki.Files, warmth load.Job, measure func(*instance, report.Measurement) error) error {
	for round := range r.rounds {
		for _, p := range r.turns(round) {
			err := r.visit(ctx, p, files, func(i *instance) error {
				if err := r.warm(ctx, i, warmth); err != nil {
					return err
				}
				return measure(i, report.Measurement{Scenario: s.name, Subject: p.name, Round: round + 1})
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// probe measures the latencies of jobs without a flood and under one.
func (r *rig) probe(ctx context.Context, i *instance, next func() load.Job, like report.Measurement) error {
	for _, sockets := range []int{0, r.sockets} {
		m := like
		m.X = float64(sockets)
		m.Point = map[string]string{"key": string(r.key), "flood": strconv.Itoa(sockets)}
		tries, err := r.undisturbed(func() (disturbed bool, err error) {
			err = r.under(ctx, i, sockets, next(), &m)
			return m.Disturbed(), err
		})
		if err != nil {
			return err
		}
		m.Values[triesTaken] = float64(tries)
		r.keep(m)
	}
	return nil
}

// under measures the latencies of a job while so many sockets flood the peer.
func (r *rig) under(ctx context.Context, i *instance, sockets int, job load.Job, m *report.Measurement) error {
	m.Values = map[string]float64{}
	lead := min(r.span, floodLead)
	flood := func() (load.Result, error) { return load.Result{}, nil }
	if sockets > 0 {
		hello := r.job(i, load.Job{Kind: load.Flood, Workers: sockets, Duration: r.span + 2*lead})
		hello.Peer, hello.Beside = 0, nil
		flood = r.flood.Begin(ctx, hello)
		if err := rest(ctx, lead); err != nil {
			return err
		}
	}
	stop, unwatched := pinned.Watch(r.cores.peer)
	result, err := r.generator.Play(ctx, r.job(i, job))
	if unwatched == nil {
		m.Values[report.Standstill] = stop().Seconds()
	} else if !errors.Is(unwatched, os.ErrPermission) { // who is not root does without
		err = errors.Join(err, unwatched)
	}
	hellos, floodErr := flood()
	if err := errors.Join(err, floodErr); err != nil {
		return err
	}
	r.add(m, result)
	// The peer's time goes to the flood, not to the job, and their rate is given.
	m.CPU, m.Wall = 0, 0
	delete(m.Values, "throughput_per_second")
	if sockets > 0 {
		m.Values["hellos_per_second"] = float64(hellos.Operations) / hellos.Wall.Seconds()
		m.Values["flood_busy_share"] = hellos.Generator.Seconds() / hellos.Wall.Seconds()
	}
	return nil
}

// goodputShare is the value that says what of the peak succeeds, and gaugedSpeed the one for
// how often a second the peer's core could do [chore] meanwhile.
const (
	goodputShare = "goodput_share"
	gaugedSpeed  = "core_speed_per_second"
)

// overloaded measures what of an offered load succeeds in time, relative to the peak:
// what the same process reaches in a closed loop immediately before and after, at the speed
// that the core has during the overload. What ends in the first patience, or after the last
// connection was offered, does not count: the queue is not full yet, or drains while nothing
// is added. The server's key is RSA here: it makes a handshake dear for the peer and cheap
// for the generator, which could not offer three times the peak otherwise.
func (r *rig) overloaded(ctx context.Context, s scenario) error {
	file, err := r.identities("client", r.clients, false)
	if err != nil {
		return err
	}
	span := max(r.span, 3*r.patience)
	job := load.Job{Kind: load.Handshake, Identities: file, Workers: closedWorkers, Duration: span, From: r.patience, Until: span}
	return r.visits(ctx, s, r.rsaServer, job, func(i *instance, like report.Measurement) error {
		var all []report.Measurement
		tries, err := r.undisturbed(func() (disturbed bool, err error) {
			all, disturbed, err = r.beyond(ctx, i, job, like)
			return disturbed, err
		})
		for _, m := range all {
			if _, ok := m.Values[goodputShare]; !ok && err == nil {
				r.note("%s, %s, round %d: not overloaded at %s times the peak, the generator could not offer more. There is no share and no verdict.",
					m.Scenario, m.Subject, m.Round, m.Point["offered"])
			}
			m.Values[triesTaken] = float64(tries)
			r.keep(m)
		}
		return err
	})
}

// beyond offers one, two and three times the peak, which is looked for before and after
// each: the peer may have changed in between. Peaks and overloads are compared with each
// other, so all is disturbed if any of them was. What was no overload has no share, and so
// no verdict.
func (r *rig) beyond(ctx context.Context, i *instance, job load.Job, like report.Measurement) (all []report.Measurement, disturbed bool, err error) {
	before, err := r.peak(ctx, i, job)
	if err != nil {
		return nil, false, err
	}
	disturbed = before.Foreign() > report.TooForeign
	for _, times := range []int{1, 2, 3} {
		m := like
		m.X = float64(times)
		m.Point = map[string]string{"key": string(r.key), "offered": strconv.Itoa(times)}
		during, err := r.overload(ctx, i, job, before.perSecond*float64(times), &m)
		if err != nil {
			return nil, false, err
		}
		after, err := r.peak(ctx, i, job)
		if err != nil {
			return nil, false, err
		}
		disturbed = disturbed || m.Disturbed() || after.Foreign() > report.TooForeign
		peak := during.peakFrom(before, after)
		m.Values["peak_per_second"] = peak
		m.Values["peak_core_speed_per_second"] = (before.coreSpeed + after.coreSpeed) / 2
		if times == 1 || full(m, job) {
			m.Values[goodputShare] = during.perSecond / peak
		}
		all = append(all, m)
		before = after
	}
	return all, disturbed, nil
}

// peak is what a closed loop reaches when nothing is left of an overload before it.
func (r *rig) peak(ctx context.Context, i *instance, job load.Job) (rated, error) {
	// A peer that has a backlog of clients that have gone is through with it when it answers
	// somebody who came after them.
	last := job
	last.Workers, last.Once, last.Last = 1, true, 1
	if result, err := r.generator.Play(ctx, r.job(i, last)); err != nil || result.Operations == 0 {
		return rated{}, errors.Join(err, fmt.Errorf("it does not answer a single client: %s", result.Failure))
	}
	job.From, job.Until, job.Duration = r.patience/2, 2*r.patience, 2*r.patience
	result, err := r.rate(ctx, i, job)
	if err == nil && result.Within == 0 {
		err = fmt.Errorf("nothing succeeded: %s", result.Failure)
	}
	return result, err
}

// rated is what a job came to and, of the part of it that counts, how many operations
// succeeded a second and how fast the peer's core was.
type rated struct {
	load.Result
	perSecond float64
	coreSpeed float64 // chores a second
}

// at is how many operations a second would have succeeded on a core of another speed.
func (r rated) at(coreSpeed float64) float64 { return r.perSecond * coreSpeed / r.coreSpeed }

// peakFrom is how many operations a second an overload would have come to at the rates that
// were reached before and after it.
func (r rated) peakFrom(before, after rated) float64 {
	return (before.at(r.coreSpeed) + after.at(r.coreSpeed)) / 2
}

// rate does a job and gauges the peer's core meanwhile.
func (r *rig) rate(ctx context.Context, i *instance, job load.Job) (rated, error) {
	do, err := chore()
	if err != nil {
		return rated{}, err
	}
	stop, err := pinned.Gauge(r.cores.peer, do)
	if err != nil {
		return rated{}, err
	}
	result, err := r.generator.Play(ctx, r.job(i, job))
	samples, used := stop()
	if err != nil {
		return rated{}, err
	}
	return rateOf(result, job, samples, used), nil
}

// rateOf is what a job came to while a gauge took samples, and used the peer's core for it.
func rateOf(result load.Result, job load.Job, samples []pinned.Sample, used time.Duration) rated {
	result.Core -= used // that was nobody foreign; a few milliseconds of it were before and after
	return rated{
		Result:    result,
		perSecond: float64(result.Within) / (job.Until - job.From).Seconds(),
		coreSpeed: meanSpeed(samples, result.Began.Add(job.From), result.Began.Add(job.Until)),
	}
}

// meanSpeed is how often a second the work of samples can be done, on average over those
// between two moments; over all, if they were too close to each other for one.
func meanSpeed(samples []pinned.Sample, from, until time.Time) float64 {
	within := slices.DeleteFunc(slices.Clone(samples), func(s pinned.Sample) bool { return s.At.Before(from) || s.At.After(until) })
	if len(within) == 0 {
		within = samples
	}
	sum := 0.0
	for _, s := range within {
		sum += 1 / s.Took.Seconds()
	}
	return sum / float64(len(within))
}

// chore is a piece of work by which to tell how fast a core is, the same for all: what a peer
// spends most of its time with in an overload, a signature by a key like the server's. Not all
// work slows down by the same factor.
var chore = sync.OnceValues(func() (do func(), err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(nil)
	sign := func() error {
		_, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		return err
	}
	return func() { _ = sign() }, sign() // it could once
})

// fullShare is how much of its core a peer uses at least that has more to do than it can.
const fullShare = 0.8

// full reports whether a peer had more to do than it could: connections failed or waited,
// and not because the generator was late with them, which leaves the peer idle. The peer
// must have been busy while connections were offered; after that, the last ones may wait
// for a peer that has dropped them.
func full(m report.Measurement, job load.Job) bool {
	suffered := m.Failures > 0 || m.Latency != nil && m.Latency.P99 > job.From/4
	busy := m.CPU.Seconds() + m.Values[report.ForeignShare]*m.Wall.Seconds()
	return suffered && busy >= fullShare*job.Duration.Seconds()
}

// overload offers connections at a rate, whatever becomes of them.
func (r *rig) overload(ctx context.Context, i *instance, job load.Job, rate float64, m *report.Measurement) (rated, error) {
	job.Rate, job.Patience = rate, r.patience
	// Each connection that waits for its second has a worker, or it would not be offered.
	job.Workers = int(math.Ceil(rate*r.patience.Seconds())) + closedWorkers
	result, err := r.rate(ctx, i, job)
	if err != nil {
		return rated{}, err
	}
	m.Values = map[string]float64{}
	failures := result.Failures
	result.Failures = 0 // they are expected: no example is needed
	r.add(m, result.Result)
	m.Failures = failures
	delete(m.Values, "throughput_per_second") // its time includes waiting for the last
	m.Values["offered_per_second"] = rate
	m.Values["goodput_per_second"] = result.perSecond
	m.Values[gaugedSpeed] = result.coreSpeed
	return result, nil
}
