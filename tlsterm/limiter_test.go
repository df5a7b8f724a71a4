package tlsterm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"verigate/verifycache"
)

// queue makes n bursts wait on l one after the other, and returns a channel that
// yields the number of each, from first, when it gets the token. Each keeps it
// until the test releases it.
func queue(t *testing.T, l *Limiter, begun bool, first, n int) <-chan int {
	t.Helper()
	served := make(chan int, n)
	for i := first; i < first+n; i++ {
		waiting := l.Waiting()
		go func() {
			if _, err := l.acquire(begun, 0); err == nil {
				served <- i
			} else {
				served <- -i
			}
		}()
		eventually(t, "the burst to wait", func() bool { return l.Waiting() == waiting+1 })
	}
	return served
}

func newTestLimiter(t testing.TB, tokens int, lifoFrom time.Duration) *Limiter {
	t.Helper()
	l := must(NewLimiter(tokens))(t)
	l.maxWait, l.lifoFrom, l.unpolled = time.Hour, lifoFrom, 0
	t.Cleanup(l.Close)
	return l
}

func take(t *testing.T, l *Limiter) {
	t.Helper()
	if _, err := l.acquire(false, 0); err != nil {
		t.Fatal(err)
	}
}

func TestLimiterServesBeginnersInOrderUntilTheyWaitLong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		lifoFrom time.Duration
		want     []int
	}{
		{"oldest first", time.Hour, []int{1, 2, 3}},
		{"newest first once the oldest has waited long", 0, []int{3, 2, 1}},
	} {
		l := newTestLimiter(t, 1, tt.lifoFrom)
		take(t, l)
		served := queue(t, l, false, 1, 3)
		for _, want := range tt.want {
			l.release()
			if got := next(t, "token", served); got != want {
				t.Errorf("%s: served %d, want %d", tt.name, got, want)
			}
			none(t, "second token", served)
		}
	}
}

func TestLimiterFinishesWhatWasBegun(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, 0)
	take(t, l)
	fresh := queue(t, l, false, 1, 2)
	begun := queue(t, l, true, 10, 2)
	for _, want := range []int{10, 11} {
		l.release()
		if got := next(t, "token", begun); got != want {
			t.Errorf("served %d, want %d", got, want)
		}
		none(t, "token for a beginner", fresh)
	}
	l.release()
	next(t, "token", fresh)
}

// Whoever sends octet by octet does not stay ahead of beginners for as many bursts.
func TestHandshakeOfManyBurstsGivesWayToBeginners(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, time.Hour)
	for bursts, begun := range map[int]int{0: 0, 1: 1, promptBursts - 1: 1, promptBursts: 0} {
		s := &socket{limiter: l, gate: new(gate)}
		for range bursts {
			if err := s.enter(0); err != nil {
				t.Fatal(err)
			}
			s.leave()
		}
		take(t, l)
		entered := make(chan error, 1)
		go func() { entered <- s.enter(0) }()
		eventually(t, "the burst to wait", func() bool { return l.Waiting() == 1 })
		l.mu.Lock()
		if l.begun.n != begun {
			t.Errorf("after %d bursts of a handshake, %d of its bursts come before beginners, want %d", bursts, l.begun.n, begun)
		}
		l.mu.Unlock()
		l.release()
		if err := next(t, "token", entered); err != nil {
			t.Fatal(err)
		}
		s.leave()
	}
}

func TestLimiterRefusesWhoWaitedTooLong(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, time.Hour)
	take(t, l)
	served := queue(t, l, false, 1, 2)
	l.mu.Lock()
	l.maxWait = 0
	l.mu.Unlock()
	l.release()
	for range 2 {
		if got := next(t, "refusal", served); got > 0 {
			t.Errorf("burst %d got a token", got)
		}
	}
	take(t, l) // the token is there
}

func TestLimiterGivesDirectlyWithoutPressure(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 2, time.Hour)
	take(t, l)
	take(t, l)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != silent || l.free != 0 {
		t.Errorf("two tokens for two bursts: went through the poller %v, %d left", l.state != silent, l.free)
	}
}

// withoutPoll makes l behave as if the poll that it asked for were yet to come, until
// polled is called.
func withoutPoll(l *Limiter, unpolled time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state, l.unpolled = rung, unpolled
}

func polled(l *Limiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = silent
	l.kick()
}

func TestLimiterPollsBetweenBursts(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, time.Hour)
	withoutPoll(l, 0)
	take(t, l)
	began := l.moment()
	l.release()
	l.mu.Lock()
	l.lastEnd += time.Hour // however long this machine takes, no poll has come by itself meanwhile
	l.mu.Unlock()
	held := queue(t, l, false, 1, 1)
	none(t, "burst directly after another, without a poll of the network", held)
	polled(l)
	next(t, "burst after a poll", held)
	held = queue(t, l, false, 2, 1)
	withoutPoll(l, 0)
	l.release()
	none(t, "token that came back, without a poll", held)
	polled(l)
	next(t, "token after a poll", held)
	l.release()

	withoutPoll(l, 0)
	l.mu.Lock()
	l.since = began
	l.mu.Unlock()
	if waited, err := l.acquire(true, l.moment()); err != nil || waited > 0 {
		t.Errorf("a burst whose caller was woken by a poll waited for %v, %v", waited, err)
	}
}

// For a while after a poll nobody is sent through the poller, neither for a token that is
// free nor for one that comes back.
func TestBurstsFollowEachOtherAfterAPoll(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, time.Hour)
	withoutPoll(l, time.Hour)
	for range 3 {
		take(t, l)
		l.release()
	}
	take(t, l)
	served := queue(t, l, false, 1, 2)
	l.release()
	next(t, "token", served)
	none(t, "second token", served)
	l.release()
	next(t, "second token", served)
}

// The bell is rung before anybody has to wait for it, and not after each burst.
func TestBellIsRungAtHalfTheWindow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		since time.Duration
		want  bool
	}{{0, false}, {time.Hour / 3, false}, {time.Hour / 2, true}} {
		l := newTestLimiter(t, 1, time.Hour)
		l.unpolled = time.Hour
		l.epoch = l.epoch.Add(-time.Hour)
		take(t, l)
		l.mu.Lock()
		l.since = l.moment() - tt.since
		l.mu.Unlock()
		l.release()
		if tt.want {
			eventually(t, "a poll", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.since == 0 })
			continue
		}
		l.mu.Lock()
		if l.state != silent || l.since == 0 {
			t.Errorf("%v after the first burst the bell is rung", tt.since)
		}
		l.mu.Unlock()
	}
}

// Bursts are held back only if a poll was asked for and has not come within the window.
func TestBurstsAreHeldBackForAPollThatIsLate(t *testing.T) {
	t.Parallel()
	const now, window = 24 * time.Hour, time.Hour
	for _, tt := range []struct {
		state bellState
		since time.Duration
		want  bool
	}{
		{rung, 0, false}, // no burst has followed the poll
		{rung, now - window + 1, false},
		{rung, now - window, true},
		{awaited, now - window, true},
		{heard, now - window, true},
		{silent, now - window, false},
	} {
		l := newTestLimiter(t, 1, time.Hour)
		l.mu.Lock()
		state := l.state
		l.state, l.since, l.unpolled = tt.state, tt.since, window
		if got := l.overdue(now); got != tt.want {
			t.Errorf("bell in state %d, the first burst at %v, now %v: overdue() = %v, want %v", tt.state, tt.since, now, got, tt.want)
		}
		l.state = state
		l.mu.Unlock()
	}
}

// forcedPoll is how long the Go runtime goes without polling the network at most: its
// monitor does it every 10 ms.
const forcedPoll = 10 * time.Millisecond

// Polls that come by themselves are no help to those for whom the limiter asks for some, so
// its own times are well below them.
func TestWindowsAreShorterThanTheRuntimesOwn(t *testing.T) {
	t.Parallel()
	const few = 5
	if lull < few*servingUnpolled || lull > forcedPoll/few {
		t.Errorf("a lull is %v, want five windows of %v at least, so that no gap between bursts is one, and a fifth of %v at most", lull, servingUnpolled, forcedPoll)
	}
	if maxUnpolled > forcedPoll/few || servingUnpolled > maxUnpolled/few {
		t.Errorf("windows of %v and %v, want a fifth of %v and of that at most", maxUnpolled, servingUnpolled, forcedPoll)
	}
}

// Handshakes that are far apart ring for nobody: the network was polled in between.
func TestLoneBurstsDoNotRing(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, time.Hour)
	l.unpolled = time.Hour
	l.epoch = l.epoch.Add(-2 * time.Hour)
	take(t, l)
	l.release()
	l.mu.Lock()
	l.since -= time.Hour // the first was an hour ago,
	l.lastEnd -= lull
	l.mu.Unlock()
	take(t, l)
	l.release()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != silent || l.since == 0 {
		t.Error("a burst long after another rang the bell")
	}
}

func TestLullCountsAsAPoll(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		claim  string
		tokens int           // all of them taken, and one given back
		since  time.Duration // longer ago than it was
		state  bellState
		want   bool
	}{
		{"nobody computes", 1, lull, silent, true},
		{"a burst ended just now", 1, -time.Hour, silent, false}, // however long this machine takes
		{"another burst computes", 2, lull, silent, false},
		{"a bell was not heard, so something else has the processors", 1, lull, rung, false},
	} {
		l := newTestLimiter(t, tt.tokens, time.Hour)
		withoutPoll(l, time.Hour)
		for range tt.tokens {
			take(t, l)
		}
		l.release()
		l.mu.Lock()
		first := l.since
		l.state = tt.state
		l.lastEnd -= tt.since
		l.mu.Unlock()
		take(t, l)
		l.mu.Lock()
		if got := l.since != first; got != tt.want {
			t.Errorf("%s: a burst counts as the first after a poll %v, want %v", tt.claim, got, tt.want)
		}
		l.mu.Unlock()
	}
}

// While connections that stay are read, polls are frequent, and less so with the time since
// one was.
func TestWindowIsShortWhileConnectionsAreServed(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, time.Hour)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unpolled = maxUnpolled
	const start = time.Second
	if got := l.window(start); got != maxUnpolled {
		t.Errorf("window() = %v when nobody was served, want %v", got, maxUnpolled)
	}
	l.serve()
	l.unpolled = servingUnpolled / 2
	if got := l.window(start); got != l.unpolled {
		t.Errorf("window() = %v where it is %v at most, and somebody was served", got, l.unpolled)
	}
	l.unpolled = maxUnpolled
	for after, want := range map[time.Duration]time.Duration{
		0:                              servingUnpolled,
		servingShare * servingUnpolled: servingUnpolled,
		servingShare * maxUnpolled / 2: maxUnpolled / 2,
		servingShare * maxUnpolled:     maxUnpolled,
		time.Hour:                      maxUnpolled,
	} {
		if got := l.window(start + after); got != want {
			t.Errorf("window() = %v, %v after somebody was served, want %v", got, after, want)
		}
	}
}

// Whoever comes for one request and goes is nobody to hurry for, and whoever stays is.
func TestConnectionsThatStayAreServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	limiter := newTestLimiter(t, 1, time.Hour)
	l, _ := w.start(t, func(o *Options) { o.Limiter = limiter })
	client := must(connect(l, w.client(w.workload(t, checkout))))(t)
	defer client.Close()
	conn := must(l.Accept())(t)
	defer conn.Close()
	const few = 2
	octet := make([]byte, 1)
	for n := range firstReads + few + 1 {
		if n == few && limiter.served.Load() {
			t.Errorf("%d octets are read, and the connection counts as one that stays", n)
		}
		must(client.Write(octet))(t)
		must(conn.Read(octet))(t)
	}
	if !limiter.served.Load() {
		t.Errorf("%d octets were read one by one, and the connection does not count as one that stays", firstReads+few+1)
	}
}

func TestTurnWaitsForAPollUnderPressureOnly(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, time.Hour)
	l.turn(false)
	take(t, l)
	queue(t, l, false, 1, 1)
	l.turn(false)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns.n != 0 || l.fresh.n != 1 {
		t.Errorf("after a turn %d turns and %d bursts wait, want 0 and 1", l.turns.n, l.fresh.n)
	}
}

func TestClosedLimiterRefusesEverybody(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, time.Hour)
	take(t, l)
	served := queue(t, l, false, 1, 3)
	l.Close()
	l.Close()
	for range 3 {
		if got := next(t, "refusal", served); got > 0 {
			t.Errorf("burst %d got a token of a closed limiter", got)
		}
	}
	l.release()
	l.turn(false)
	if _, err := l.acquire(false, 0); !errors.Is(err, errLimiterClosed) {
		t.Errorf("acquire() = %v, want errLimiterClosed", err)
	}
	if _, err := NewLimiter(0); err == nil {
		t.Error("NewLimiter(0) succeeds")
	}
}

func TestLimiterNeverGivesMoreThanItHas(t *testing.T) {
	t.Parallel()
	const tokens, bursts = 3, 2000
	l := newTestLimiter(t, tokens, time.Millisecond)
	var mu sync.Mutex
	held, most := 0, 0
	var wg sync.WaitGroup
	for i := range bursts {
		wg.Go(func() {
			if _, err := l.acquire(i%2 == 0, 0); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			held++
			most = max(most, held)
			mu.Unlock()
			mu.Lock()
			held--
			mu.Unlock()
			l.release()
		})
	}
	wg.Wait()
	if most > tokens {
		t.Errorf("%d bursts held a token at once, want %d at most", most, tokens)
	}
	if l.free != tokens || l.Waiting() != 0 {
		t.Errorf("at the end %d tokens are free and %d wait, want %d and 0", l.free, l.Waiting(), tokens)
	}
}

func BenchmarkLimiterWithoutPressure(b *testing.B) {
	l := must(NewLimiter(1))(b)
	defer l.Close()
	b.ReportAllocs()
	for b.Loop() {
		// Each caller was woken by a poll: nobody rings the bell.
		if _, err := l.acquire(false, l.moment()); err != nil {
			b.Fatal(err)
		}
		l.release()
	}
}

func BenchmarkLimiterThroughPoller(b *testing.B) {
	l := must(NewLimiter(1))(b)
	defer l.Close()
	l.unpolled = 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.acquire(false, 0); err != nil {
			b.Fatal(err)
		}
		l.release()
	}
}

// Whoever waits for a token that is free, or for a turn, is one for whom the bell has been rung
// and a poll would be forced, whatever comes in between: callers that have slept, crowds, bursts
// that are long, polls at any moment, the end of the limiter.
func TestNobodyWaitsForABellThatIsNotRung(t *testing.T) {
	t.Parallel()
	for _, tokens := range []int{1, 3} {
		for _, unpolled := range []time.Duration{0, 50 * time.Microsecond, maxUnpolled} {
			for _, closes := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d tokens, %v, closes %v", tokens, unpolled, closes), func(t *testing.T) {
					t.Parallel()
					l := newTestLimiter(t, tokens, time.Millisecond)
					l.unpolled = unpolled
					var forgotten atomic.Pointer[string]
					look := func() {
						l.mu.Lock()
						defer l.mu.Unlock()
						held := l.begun.n + l.fresh.n
						if (l.free > 0 && held > 0 || l.turns.n > 0) && l.state < awaited {
							s := fmt.Sprintf("%d wait for %d free tokens and %d for a turn, and the bell is in state %d", held, l.free, l.turns.n, l.state)
							forgotten.Store(&s)
						}
					}
					const workers, rounds = 100, 20
					var done sync.WaitGroup
					for w := range workers {
						random := rand.New(rand.NewPCG(1, uint64(w)))
						done.Go(func() {
							for range rounds {
								if random.IntN(8) == 0 {
									l.turn(false)
									look()
								}
								polled := time.Duration(random.IntN(2)) * (l.moment() - time.Duration(random.IntN(2e6)))
								if _, err := l.acquire(random.IntN(2) == 0, polled); err != nil {
									if !closes || !errors.Is(err, errLimiterClosed) {
										t.Errorf("acquire() = %v", err)
									}
									return
								}
								look()
								for until := l.moment() + time.Duration(random.IntN(100))*time.Microsecond; l.moment() < until; {
									if random.IntN(1000) == 0 {
										runtime.Gosched()
									}
								}
								l.release()
								look()
							}
						})
					}
					if closes {
						for l.Waiting() == 0 {
							runtime.Gosched()
						}
						l.Close()
					}
					ended := make(chan struct{})
					go func() { done.Wait(); close(ended) }()
					next(t, "the end of all bursts", ended)
					if s := forgotten.Load(); s != nil {
						t.Error(*s)
					}
				})
			}
		}
	}
}

// A list is the same from either end, whoever comes and goes where.
func TestWaiterListIsInOrderFromBothEnds(t *testing.T) {
	t.Parallel()
	var l waiterList
	var want []*waiter // oldest first
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 1000 {
		switch at := random.IntN(4); {
		case at == 0:
			want = append(want, new(waiter))
			l.push(want[len(want)-1])
		case at == 1:
			want = append([]*waiter{new(waiter)}, want...)
			l.pushAhead(want[0])
		case len(want) > 0:
			i := random.IntN(len(want))
			l.remove(want[i])
			want = slices.Delete(want, i, i+1)
		}
		var up, down []*waiter
		for w := l.oldest; w != nil && len(up) <= len(want); w = w.newer {
			up = append(up, w)
		}
		for w := l.newest; w != nil && len(down) <= len(want); w = w.older {
			down = append(down, w)
		}
		slices.Reverse(down)
		if l.n != len(want) || !slices.Equal(up, want) || !slices.Equal(down, want) {
			t.Fatalf("step %d: %d waiters, from the oldest %p, from the newest %p, want %p", step, l.n, up, down, want)
		}
	}
}
