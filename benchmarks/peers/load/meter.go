package load

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"verigate/benchmarks/peers/usage"
)

// meter is what processes had used when it was read.
type meter struct {
	Processes
	tree  []int // the peer's processes
	began time.Time

	cpu, own, core, occupants time.Duration
}

// Observe reads what processes use, for a job that nobody here plays. finish, to be called
// once, returns what they have used since; operations are not known to it. It is an error if
// one of the processes has ended by then, or the peer has others.
func Observe(p Processes) (finish func() (Result, error), err error) {
	m, err := read(p)
	return func() (Result, error) { return m.since(Result{}) }, err
}

func read(p Processes) (m *meter, err error) {
	m = &meter{Processes: p}
	if p.Peer != 0 {
		if m.tree, err = usage.Tree(p.Peer); err != nil {
			return nil, err
		}
	}
	if m.own, err = usage.CPU(p.Beside...); err != nil {
		return nil, err
	}
	if m.core, err = usage.Core(p.Core); err != nil {
		return nil, err
	}
	if m.occupants, err = usage.CPU(p.Occupants...); err != nil {
		return nil, err
	}
	m.cpu, err = usage.CPU(m.tree...)
	m.began = time.Now()
	return m, err
}

// since adds to a result what has been used since then. A peer whose processes are not the
// same ones any more is an error: what those used that have ended is not known.
func (m *meter) since(r Result) (Result, error) {
	cpu, err := usage.CPU(m.tree...)
	if err != nil {
		return Result{}, err
	}
	r.Began, r.Wall, r.CPU = m.began, time.Since(m.began), cpu-m.cpu
	occupants, err := usage.CPU(m.Occupants...)
	if err != nil {
		return Result{}, err
	}
	r.OccupantCPU = occupants - m.occupants
	own, err := usage.CPU(m.Beside...)
	if err != nil {
		return Result{}, err
	}
	r.Generator = own - m.own
	if m.Peer == 0 {
		return r, nil
	}
	core, err := usage.Core(m.Core)
	if err != nil {
		return Result{}, err
	}
	r.Core = core - m.core
	now, err := usage.Tree(m.Peer)
	if err != nil || !slices.Equal(now, m.tree) {
		return Result{}, errors.Join(fmt.Errorf("the peer's processes were %v and are %v", m.tree, now), err)
	}
	return r, nil
}
