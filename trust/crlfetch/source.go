package crlfetch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"verigate/trust/mirror"
)

// Source fetches lists. Its methods may be called concurrently.
type Source struct {
	pollers []*mirror.Poller
	running atomic.Bool
}

// New checks the options and makes the folders of the copies. It fetches nothing. All
// problems are joined; each is a [*mirror.Error].
func New(o Options) (*Source, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	s := new(Source)
	for _, l := range o.Lists {
		c := newClient(l, o)
		if err := c.file.Prepare(); err != nil {
			return nil, err
		}
		s.pollers = append(s.pollers, mirror.NewPoller(mirror.PollOptions{
			Kind: Kind, Name: l.URL, Source: l.URL, Path: l.Path,
			Poll: c.poll, Changed: o.Changed, OnAttempt: o.OnAttempt,
			Interval: o.MaxInterval, MinRetry: o.MinInterval, MaxRetry: o.MaxInterval,
			Now: o.Now, Jitter: o.Jitter,
		}))
	}
	return s, nil
}

// Run fetches every list at once and then whenever it is time, until ctx is done, and
// returns nil. Only one Run at a time may use a source.
func (s *Source) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer s.running.Store(false)
	mirror.RunAll(ctx, s.pollers)
	return nil
}

// Refresh fetches every list now, as an operator may ask for, and joins what went
// wrong, each with its URL.
func (s *Source) Refresh(ctx context.Context) error {
	errs := mirror.PollAll(ctx, s.pollers)
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("%s: %w", s.pollers[i].Status().Name, err)
		}
	}
	return errors.Join(errs...)
}

// Status says how every list fares, in the order of the options.
func (s *Source) Status() []mirror.Status {
	all := make([]mirror.Status, len(s.pollers))
	for i, p := range s.pollers {
		all[i] = p.Status()
	}
	return all
}

// errRunning is a programmer's mistake, reported because it would otherwise look like
// publishers that are asked twice as often.
var errRunning = errors.New("crlfetch: Run is running already")
