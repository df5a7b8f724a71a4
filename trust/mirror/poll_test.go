package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"verigate/trust/mirror"
)

var errAway = errors.New("away")

// script is a publisher: what each poll comes to, the last again and again.
type script struct {
	steps []error
	start time.Time
	at    []time.Duration // when it was polled
}

func (s *script) poll(context.Context, time.Time) (mirror.Outcome, error) {
	s.at = append(s.at, time.Since(s.start))
	step := s.steps[0]
	if len(s.steps) > 1 {
		s.steps = s.steps[1:]
	}
	return mirror.Outcome{}, step
}

// follow runs a poller of s for a while and returns it.
func follow(t *testing.T, s *script, o mirror.PollOptions, during func(*mirror.Poller)) *mirror.Poller {
	t.Helper()
	s.start = time.Now()
	o.Poll, o.Interval = s.poll, 5*time.Minute
	if o.Jitter == nil {
		o.Jitter = func() float64 { return 0 }
	}
	p := mirror.NewPoller(o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go p.Run(ctx)
	synctest.Wait()
	during(p)
	cancel()
	synctest.Wait()
	return p
}

func expect(t *testing.T, what string, got, want []time.Duration) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: polled at %v, want %v", what, got, want)
	}
}

const minute = time.Minute

func TestPollsFollowTheInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []error{nil}}
		follow(t, s, mirror.PollOptions{}, func(*mirror.Poller) { time.Sleep(11 * minute) })
		expect(t, "without jitter", s.at, []time.Duration{0, 5 * minute, 10 * minute})
		s = &script{steps: []error{nil}}
		follow(t, s, mirror.PollOptions{Jitter: func() float64 { return 0.5 }}, func(*mirror.Poller) { time.Sleep(10 * minute) })
		expect(t, "with half of the jitter", s.at, []time.Duration{0, 4*minute + 45*time.Second, 9*minute + 30*time.Second})
	})
}

// FED-07: failures are repeated less and less often, and never more often than the
// interval would.
func TestFailuresBackOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []error{errAway}}
		p := follow(t, s, mirror.PollOptions{}, func(p *mirror.Poller) {
			time.Sleep(13 * minute)
			for range 100 {
				p.Hint() // nor does anybody else make it hammer
			}
			synctest.Wait()
		})
		expect(t, "failing", s.at, []time.Duration{0, 30 * time.Second, 90 * time.Second, 210 * time.Second, 450 * time.Second, 750 * time.Second})
		status := p.Status()
		if !errors.Is(status.Err, errAway) || status.Failures != 6 || !status.LastSuccess.IsZero() {
			t.Errorf("Status() = %+v, want 6 failures", status)
		}
		if want := s.start.Add(1050 * time.Second); !status.NextAttempt.Equal(want) {
			t.Errorf("the next attempt is at %v, want %v", status.NextAttempt, want)
		}
	})
}

func TestChangedIsCalledForNewsAndForRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []time.Duration
		s := &script{steps: []error{nil, nil, errAway, nil, nil}}
		p := follow(t, s, mirror.PollOptions{Changed: func() { told = append(told, time.Since(s.start)) }},
			func(*mirror.Poller) { time.Sleep(20 * minute) })
		expect(t, "a failure in between", s.at, []time.Duration{0, 5 * minute, 10 * minute, 10*minute + 30*time.Second, 15*minute + 30*time.Second})
		expect(t, "told", told, []time.Duration{0, 10*minute + 30*time.Second})
		if status := p.Status(); status.Err != nil || status.Failures != 0 || status.LastFailure.Sub(s.start) != 10*minute {
			t.Errorf("Status() = %+v, want a recovery", status)
		}
	})
}

func TestHintsBringThePollForward(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []error{nil}}
		follow(t, s, mirror.PollOptions{HintGap: minute}, func(p *mirror.Poller) {
			time.Sleep(10 * time.Second)
			for range 100 {
				p.Hint() // not before a minute has passed since the last
			}
			time.Sleep(2 * minute) // 2:10
			p.Hint()               // at once
			time.Sleep(5*minute + time.Second)
		})
		expect(t, "hinted", s.at, []time.Duration{0, minute, 2*minute + 10*time.Second, 7*minute + 10*time.Second})
	})
}

func TestPollByHandMovesTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []error{nil}}
		follow(t, s, mirror.PollOptions{}, func(p *mirror.Poller) {
			time.Sleep(4 * minute)
			if err := p.Poll(t.Context()); err != nil {
				t.Errorf("Poll() = %v", err)
			}
			time.Sleep(5*minute + time.Second)
		})
		expect(t, "by hand", s.at, []time.Duration{0, 4 * minute, 9 * minute})
	})
}

func TestEndOfRunIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := mirror.NewPoller(mirror.PollOptions{Interval: minute, Poll: func(ctx context.Context, _ time.Time) (mirror.Outcome, error) {
			<-ctx.Done()
			return mirror.Outcome{}, ctx.Err()
		}})
		g := mirror.NewGroup([]*mirror.Poller{p})
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := g.Run(ctx); err != nil {
				t.Errorf("Run() = %v", err)
			}
		}()
		synctest.Wait()
		if err := g.Run(ctx); err == nil {
			t.Error("a second Run() started")
		}
		cancel()
		<-done
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run() after the first has ended = %v", err)
		}
		if status := p.Status(); status.Err != nil || status.Failures != 0 {
			t.Errorf("Status() = %+v, want no failure", status)
		}
	})
}

func TestRefreshReportsEach(t *testing.T) {
	t.Parallel()
	var pollers []*mirror.Poller
	var want []string
	for i := range 20 {
		s := &script{steps: []error{nil}}
		name := fmt.Sprint("document ", i)
		if i%2 == 1 {
			s.steps[0] = errAway
			want = append(want, name+": "+errAway.Error())
		}
		pollers = append(pollers, mirror.NewPoller(mirror.PollOptions{Name: name, Interval: minute, Poll: s.poll}))
	}
	g := mirror.NewGroup(pollers)
	if err := g.Refresh(t.Context()); !errors.Is(err, errAway) || err.Error() != strings.Join(want, "\n") {
		t.Errorf("Refresh() = %v, want %q", err, want)
	}
	for i, status := range g.Status() {
		if status.Name != fmt.Sprint("document ", i) || (status.Err != nil) != (i%2 == 1) {
			t.Errorf("Status()[%d] = %+v, want the poller of that place", i, status)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 5: 10 * time.Second, 1 << 40: 10 * time.Second,
	} {
		if got := mirror.Backoff(time.Second, 10*time.Second, failures); got != want {
			t.Errorf("Backoff(1s, 10s, %d) = %v, want %v", failures, got, want)
		}
	}
}
