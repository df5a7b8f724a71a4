package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"verigate/benchmarks/peers/load"
	"verigate/benchmarks/report"
)

const residentPerConnection = "resident_bytes_per_connection"

// spareDescriptors is what a peer needs beside its clients: connections to the
// backend, logs, sockets of its own.
const spareDescriptors = 1200

// idly measures what connections hold that have asked once and then stay silent:
// with the certificates of a few clients, and with one of its own for each.
func (r *rig) idly(ctx context.Context, s scenario) error {
	counts := r.connections
	for i, n := range counts {
		if uint64(n+spareDescriptors) > r.descriptors {
			r.note("%d idle connections do not fit: a process may have %d descriptors here.", n, r.descriptors)
			counts = counts[:i]
			break
		}
	}
	if len(counts) == 0 {
		return nil
	}
	for round := range r.memoryRounds {
		for _, leaves := range []string{"shared", "unique"} {
			set, n := "client", r.clients
			if leaves == "unique" {
				set, n = "unique", counts[len(counts)-1]
			}
			file, err := r.identities(set, n, false)
			if err != nil {
				return err
			}
			for _, p := range r.turns(round) {
				err := r.visit(ctx, p, r.server, func(i *instance) error {
					return r.held(ctx, i, counts, file, report.Measurement{Scenario: s.name, Subject: p.name, Round: round + 1,
						Point: map[string]string{"key": string(r.key), "leaves": leaves}})
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// held opens connections up to each of counts and reads the memory each time.
func (r *rig) held(ctx context.Context, i *instance, counts []int, identities string, m report.Measurement) error {
	if err := r.warm(ctx, i, load.Job{Kind: load.Handshake}); err != nil {
		return err
	}
	before, err := r.memory(ctx, i)
	if err != nil {
		return err
	}
	defer r.generator.Play(ctx, load.Job{Kind: load.Release}) // nothing can fail but the generator
	open := 0
	for _, n := range counts {
		job := load.Job{Kind: load.Hold, Identities: identities, Workers: n - open}
		if m.Point["leaves"] == "unique" {
			job.First, job.Last, job.Once = open, n, true
		}
		result, err := r.generator.Play(ctx, r.job(i, job))
		if err != nil {
			return err
		}
		if result.Failures > 0 {
			return fmt.Errorf("%d of %d connections failed: %s", result.Failures, n-open, result.Failure)
		}
		open = n
		now, err := r.memory(ctx, i)
		if err != nil {
			return err
		}
		point := m
		point.Point = map[string]string{"connections": strconv.Itoa(n)}
		for k, v := range m.Point {
			point.Point[k] = v
		}
		point.X, point.Operations = float64(n), int64(n)
		point.Values = map[string]float64{
			residentPerConnection: float64(now-before) / float64(n),
			"resident_bytes":      float64(now),
		}
		r.keep(point)
	}
	return nil
}

// memory is what all processes of a peer hold, after it has been left alone.
func (r *rig) memory(ctx context.Context, i *instance) (int64, error) {
	if err := rest(ctx, max(r.settle, time.Millisecond)); err != nil {
		return 0, err
	}
	held, err := i.Memory()
	return held.Proportional, err
}
