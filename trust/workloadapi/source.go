package workloadapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"verigate/trust"
	"verigate/trust/mirror"
	"verigate/workloadid"
)

// Source follows one Workload API. Its methods may be called concurrently.
type Source struct {
	o       Options
	target  string
	running atomic.Bool
	ready   chan struct{} // closed when every credential is there

	mu          sync.Mutex
	bundles     []*bundle
	credentials []*credential
	failures    int
}

// New checks the options and makes the folders of the copies. It connects to
// nothing. All problems are joined; each is a [*mirror.Error].
func New(o Options) (*Source, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Source{o: o, ready: make(chan struct{})}
	s.target, _ = target(o.Address) // checked above
	for _, origin := range slices.SortedFunc(maps.Keys(o.Bundles), compareOrigins) {
		b := &bundle{
			origin: origin,
			file:   mirror.File{Path: o.Bundles[origin]},
			status: mirror.Status{Kind: KindBundle, Name: origin.String(), Source: o.Address, Path: o.Bundles[origin]},
		}
		if err := b.file.Prepare(); err != nil {
			return nil, err
		}
		s.bundles = append(s.bundles, b)
	}
	for _, wanted := range o.Credentials {
		c := &credential{
			Credential: wanted,
			handle:     new(handle),
			status:     mirror.Status{Kind: KindCredential, Name: wanted.Name, Source: o.Address},
		}
		if before := o.Before.credential(wanted.Name); before != nil {
			c.handle, c.status = before.handle, before.status
		}
		s.credentials = append(s.credentials, c)
	}
	s.o.Before = nil // nothing more is wanted of it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkReady()
	return s, nil
}

func compareOrigins(a, b workloadid.Origin) int { return strings.Compare(a.String(), b.String()) }

// credential returns a copy of what s knows of the credential, nil if s is nil or
// has none of the name.
func (s *Source) credential(name string) *credential {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.credentials {
		if c.Name == name {
			return new(*c)
		}
	}
	return nil
}

// checkReady closes ready when every credential is there. The lock is held.
func (s *Source) checkReady() {
	for _, c := range s.credentials {
		if c.handle.current.Load() == nil {
			return
		}
	}
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
}

// Run follows the Workload API until ctx is done, and then returns nil. When the
// stream ends it is opened again after a back-off. Only if the Workload API finds the
// request itself wrong, which repeating would not mend, Run returns that as an error
// (WL-01). Only one Run at a time may use a source.
func (s *Source) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer s.running.Store(false)
	for {
		err := s.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if status.Code(err) == codes.InvalidArgument {
			s.fail(err, 0)
			return fmt.Errorf("workload API %s: %w", s.o.Address, err)
		}
		timer := time.NewTimer(s.backOff(err))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// backOff records why there is no stream and returns how long to wait.
func (s *Source) backOff(err error) time.Duration {
	s.mu.Lock()
	s.failures++
	wait := mirror.Backoff(s.o.MinBackoff, s.o.MaxBackoff, s.failures)
	s.mu.Unlock()
	wait = mirror.Spread(wait, s.o.Jitter())
	s.fail(err, wait)
	return wait
}

// fail records err for everything that is wanted; wait is the time to the next
// attempt, 0 if there will be none.
func (s *Source) fail(err error, wait time.Duration) {
	reason := mirror.ReasonUnreachable
	if code := status.Code(err); code == codes.PermissionDenied || code == codes.InvalidArgument {
		reason = mirror.ReasonDenied
	}
	now := s.o.Now()
	s.mu.Lock()
	for _, item := range s.statuses() {
		record(item, false, &mirror.Error{Reason: reason, Err: err}, now)
		if wait > 0 {
			item.NextAttempt = now.Add(wait)
		}
	}
	s.mu.Unlock()
	s.tell()
}

// tell hands the status of everything on.
func (s *Source) tell() {
	for _, item := range s.Status() {
		s.o.OnAttempt(item)
	}
}

// takeUp makes s what is held, as far as it is good.
func (s *Source) takeUp(n state) {
	if s.apply(n) {
		s.o.Changed()
	}
	s.tell()
}

func (s *Source) apply(n state) (news bool) {
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = 0
	for _, b := range s.bundles {
		changed, err := b.takeUp(n, now)
		news = record(&b.status, changed, err, now) || news
	}
	for _, c := range s.credentials {
		changed, err := c.takeUp(n, now)
		news = record(&c.status, changed, err, now) || news
	}
	s.checkReady()
	return news
}

// record keeps how an item came out of a message. It reports whether that is worth
// telling: it changed, or is confirmed for the first time after a fault.
func record(item *mirror.Status, changed bool, err error, now time.Time) bool {
	before := *item
	item.LastAttempt, item.NextAttempt, item.Err = now, time.Time{}, err
	if err != nil {
		item.Failures++
		item.LastFailure = now
		return false
	}
	item.Failures, item.LastSuccess = 0, now
	if changed {
		item.LastChange = now
	}
	return changed || before.LastSuccess.IsZero() || before.Failures > 0
}

// discarded records why a message does not count. What is held stays, and the stream
// too.
func (s *Source) discarded(err error) {
	now := s.o.Now()
	s.mu.Lock()
	for _, item := range s.statuses() {
		record(item, false, err, now)
	}
	s.mu.Unlock()
	s.tell()
}

// confirm renews the age of what is held: the stream stands, so it is current.
func (s *Source) confirm() {
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bundles {
		if b.status.Err != nil || b.status.LastSuccess.IsZero() {
			continue
		}
		if err := b.file.Confirm(now); err != nil {
			record(&b.status, false, err, now)
			continue
		}
		b.status.LastSuccess = now
	}
	for _, c := range s.credentials {
		if c.status.Err == nil && !c.status.LastSuccess.IsZero() {
			c.status.LastSuccess = now
		}
	}
}

// statuses returns the status of everything, for changing it. The lock is held.
func (s *Source) statuses() []*mirror.Status {
	var all []*mirror.Status
	for _, b := range s.bundles {
		all = append(all, &b.status)
	}
	for _, c := range s.credentials {
		all = append(all, &c.status)
	}
	return all
}

// Status says how every bundle and credential fares: bundles by their origin, then
// credentials in the order of the options.
func (s *Source) Status() []mirror.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []mirror.Status
	for _, item := range s.statuses() {
		all = append(all, *item)
	}
	return all
}

// Credential returns a live handle: its Credential method follows rotation and never
// returns nil. Credential returns nil if no credential is called name or it was not
// given yet; see [Source.Wait].
func (s *Source) Credential(name string) trust.CredentialSource {
	if c := s.credential(name); c != nil && c.handle.current.Load() != nil {
		return c.handle
	}
	return nil
}

// Wait returns nil as soon as every credential was given, while Run is running. If
// ctx is done before, the error says what is missing and why.
func (s *Source) Wait(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
	}
	faults := []error{ctx.Err()}
	for _, item := range s.Status() {
		switch {
		case item.Kind != KindCredential || s.Credential(item.Name) != nil:
		case item.Err != nil:
			faults = append(faults, fmt.Errorf("credential %s: %w", item.Name, item.Err))
		default:
			faults = append(faults, fmt.Errorf("credential %s: the Workload API at %s has not answered yet", item.Name, item.Source))
		}
	}
	return errors.Join(faults...)
}

// errRunning is a programmer's mistake, reported because it would otherwise look like
// an agent with two clients.
var errRunning = errors.New("workloadapi: Run is running already")
