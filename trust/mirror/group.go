package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Group is the pollers of one source. Its methods may be called concurrently. The
// zero Group has none.
type Group struct {
	pollers []*Poller
	running atomic.Bool
}

// NewGroup returns the group of pollers.
func NewGroup(pollers []*Poller) *Group { return &Group{pollers: pollers} }

// Run polls every document at once and then whenever it is time, until ctx is done,
// and returns nil when every poll has ended. Only one Run at a time may use a group.
func (g *Group) Run(ctx context.Context) error {
	if !g.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer g.running.Store(false)
	var polling sync.WaitGroup
	for _, p := range g.pollers {
		polling.Go(func() { p.Run(ctx) })
	}
	polling.Wait()
	return nil
}

// Refresh polls every document now, a few at a time, as an operator may ask for, and
// joins what went wrong, each with the name of the document.
func (g *Group) Refresh(ctx context.Context) error {
	const atOnce = 8
	errs := make([]error, len(g.pollers))
	slots := make(chan struct{}, atOnce)
	var polling sync.WaitGroup
	for i, p := range g.pollers {
		slots <- struct{}{}
		polling.Go(func() {
			if err := p.Poll(ctx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", p.o.Name, err)
			}
			<-slots
		})
	}
	polling.Wait()
	return errors.Join(errs...)
}

// Status says how every document fares, in the order of the pollers.
func (g *Group) Status() []Status {
	all := make([]Status, len(g.pollers))
	for i, p := range g.pollers {
		all[i] = p.Status()
	}
	return all
}

// errRunning is a programmer's mistake, reported because it would otherwise look like
// publishers that are polled twice as often.
var errRunning = errors.New("mirror: Run is running already")
