package federation

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"verigate/trust/mirror"
	"verigate/workloadid"
)

// Source polls bundle endpoints. Its methods may be called concurrently.
type Source struct {
	pollers  []*mirror.Poller
	byOrigin map[workloadid.Origin]*mirror.Poller
	running  atomic.Bool
}

// New checks the options, reads the files that they name and makes the folders of
// the copies. It fetches nothing. All problems are joined; each is a
// [*mirror.Error].
func New(o Options) (*Source, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Source{byOrigin: make(map[workloadid.Origin]*mirror.Poller)}
	for _, e := range o.Endpoints {
		c := newClient(e, o)
		if err := c.file.Prepare(); err != nil {
			return nil, err
		}
		p := mirror.NewPoller(mirror.PollOptions{
			Kind: Kind, Name: e.Origin.String(), Source: e.URL, Path: e.Path,
			Poll: c.poll, Changed: o.Changed, OnAttempt: o.OnAttempt,
			Interval: o.Interval, MinRetry: o.MinInterval, HintGap: o.HintGap,
			Now: o.Now, Jitter: o.Jitter,
		})
		s.pollers = append(s.pollers, p)
		s.byOrigin[e.Origin] = p
	}
	return s, nil
}

// Run polls every endpoint at once and then as often as its bundle asks, until ctx
// is done, and returns nil. A failed poll is repeated after [Options.MinInterval] at
// the earliest, less and less often (FED-07). Only one Run at a time may use a
// source.
func (s *Source) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer s.running.Store(false)
	mirror.RunAll(ctx, s.pollers)
	return nil
}

// Refresh polls every endpoint now, as an operator may ask for, and joins what went
// wrong, each with its trust domain.
func (s *Source) Refresh(ctx context.Context) error {
	errs := mirror.PollAll(ctx, s.pollers)
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("%s: %w", s.pollers[i].Status().Name, err)
		}
	}
	return errors.Join(errs...)
}

// Hint says that a peer of origin has an unknown issuer, which may be a new one. It
// brings the next poll forward, to [Options.HintGap] after the last one at the
// earliest. It is cheap, waits for nothing, and does nothing for an origin without an
// endpoint.
func (s *Source) Hint(origin workloadid.Origin) {
	if p := s.byOrigin[origin]; p != nil {
		p.Hint()
	}
}

// Status says how every endpoint fares, in the order of the options.
func (s *Source) Status() []mirror.Status {
	all := make([]mirror.Status, len(s.pollers))
	for i, p := range s.pollers {
		all[i] = p.Status()
	}
	return all
}

// errRunning is a programmer's mistake, reported because it would otherwise look like
// publishers that are polled twice as often.
var errRunning = errors.New("federation: Run is running already")
