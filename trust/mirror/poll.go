package mirror

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"verigate/trust"
)

// Defaults of [PollOptions].
const (
	DefaultMinRetry = 30 * time.Second
	DefaultMaxRetry = time.Hour
	DefaultHintGap  = time.Minute
)

// PollOptions says what a poller does.
type PollOptions struct {
	// Kind, Name, Source and Path are for the status.
	Kind, Name, Source, Path string
	// Poll fetches the document once and takes it up. It must return soon after ctx
	// is done.
	Poll func(ctx context.Context, now time.Time) (Outcome, error)
	// Changed, if set, is called when there is something new to read in the file, on
	// the goroutine that polled.
	Changed func()
	// OnAttempt, if set, is called after every poll, on the goroutine that polled, for
	// logs and metrics.
	OnAttempt func(Status)
	// Interval is the time to the next poll until a poll says otherwise.
	Interval time.Duration
	// MinRetry is the time from the first failure to the next attempt. It doubles with
	// each further one, up to MaxRetry and never beyond the interval.
	MinRetry, MaxRetry time.Duration
	// HintGap is the least time between the last attempt and one for a hint.
	HintGap time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Jitter yields numbers from 0 to below 1; nil is random. It may be called
	// concurrently.
	Jitter func() float64
}

// Outcome is what a successful poll came to.
type Outcome struct {
	Changed  bool          // the file has another content than before
	Interval time.Duration // to the next poll; 0 is that of the options
	Digest   trust.Digest  // of the content
	Sequence *uint64       // of the content, if it has one
	NotAfter time.Time     // when the content ends, if it does
	Notes    []string      // for the operator
}

// Poller polls one document: at the interval, sooner after a failure, and when it is
// given a hint. Its methods may be called concurrently.
type Poller struct {
	o     PollOptions
	woken chan struct{} // NextAttempt is another now

	attempt sync.Mutex // held through every poll
	mu      sync.Mutex
	status  Status
}

// NewPoller returns a poller that has done nothing yet.
func NewPoller(o PollOptions) *Poller {
	o.MinRetry = cmp.Or(o.MinRetry, DefaultMinRetry)
	o.MaxRetry = cmp.Or(o.MaxRetry, DefaultMaxRetry)
	o.HintGap = cmp.Or(o.HintGap, DefaultHintGap)
	if o.Changed == nil {
		o.Changed = func() {}
	}
	if o.OnAttempt == nil {
		o.OnAttempt = func(Status) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	return &Poller{
		o:      o,
		woken:  make(chan struct{}, 1),
		status: Status{Kind: o.Kind, Name: o.Name, Source: o.Source, Path: o.Path, Interval: o.Interval},
	}
}

// Run polls at once and then whenever it is time, until ctx is done.
func (p *Poller) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			_ = p.Poll(ctx) // it is in the status
		case <-p.woken:
		}
		timer.Reset(p.untilNext())
	}
}

func (p *Poller) untilNext() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status.NextAttempt.Sub(p.o.Now())
}

// Poll polls now, after a poll that is under way. Its error is also in the status,
// unless ctx was done.
func (p *Poller) Poll(ctx context.Context) error {
	p.attempt.Lock()
	defer p.attempt.Unlock()
	outcome, err := p.o.Poll(ctx, p.o.Now())
	if err != nil && ctx.Err() != nil {
		return err // nothing was learnt about the source
	}
	recovered := p.record(outcome, err)
	// A file that had gone stale is worth reading again though it has not changed.
	if err == nil && (outcome.Changed || recovered) {
		p.o.Changed()
	}
	p.o.OnAttempt(p.Status())
	return err
}

// record keeps what a poll came to and plans the next. It reports whether the poll
// is the first success, or the first after a failure.
func (p *Poller) record(outcome Outcome, err error) (recovered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.o.Now()
	s := &p.status
	s.LastAttempt, s.Err = now, err
	wait := s.Interval
	if err != nil {
		s.Failures++
		s.LastFailure = now
		wait = min(wait, Backoff(p.o.MinRetry, p.o.MaxRetry, s.Failures))
	} else {
		recovered = s.Failures > 0 || s.LastSuccess.IsZero()
		s.Failures, s.LastSuccess = 0, now
		if outcome.Changed {
			s.LastChange = now
		}
		s.Digest, s.Sequence, s.NotAfter, s.Notes = outcome.Digest, outcome.Sequence, outcome.NotAfter, outcome.Notes
		s.Interval = cmp.Or(outcome.Interval, p.o.Interval)
		wait = s.Interval
	}
	s.NextAttempt = now.Add(Spread(wait, p.o.Jitter()))
	p.wake()
	return recovered
}

// Hint says that the document may be out of date, for example because a peer's
// issuer is unknown. It brings the next poll forward, to HintGap after the last
// one at the earliest, so that nobody can make the gateway poll more often than
// that. While polls fail it does nothing: they are repeated anyway. It never waits
// for a poll.
func (p *Poller) Hint() {
	p.mu.Lock()
	defer p.mu.Unlock()
	early := p.status.LastAttempt.Add(p.o.HintGap)
	if p.status.Failures > 0 || !early.Before(p.status.NextAttempt) {
		return
	}
	p.status.NextAttempt = early
	p.wake()
}

func (p *Poller) wake() {
	select {
	case p.woken <- struct{}{}:
	default: // Run has been told and has not looked yet
	}
}

// Status says how the document fares.
func (p *Poller) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Backoff returns how long to wait after the failures-th failure in a row: shortest
// at first, doubled each time, longest at most.
func Backoff(shortest, longest time.Duration, failures int) time.Duration {
	wait := shortest
	for range failures - 1 {
		if wait >= longest {
			break
		}
		wait *= 2
	}
	return min(wait, longest)
}

// Spread shortens d by up to a tenth, as jitter from 0 to below 1 says, so that
// gateways that were started together do not poll together for ever.
func Spread(d time.Duration, jitter float64) time.Duration {
	return d - time.Duration(jitter*float64(d)/10)
}
