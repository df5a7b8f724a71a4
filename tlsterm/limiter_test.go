package tlsterm

import (
	"errors"
	"sync"
	"testing"
	"time"
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
	l.maxWait, l.lifoFrom = time.Hour, lifoFrom
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
	if l.kicked || l.free != 0 {
		t.Errorf("two tokens for two bursts: went through the poller %v, %d left", l.kicked, l.free)
	}
}

func TestLimiterPollsBetweenBursts(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, time.Hour)
	take(t, l)
	l.release()
	// As if no time had passed since: another burst may not follow before a poll,
	before := l.moment()
	l.mu.Lock()
	l.lastEnd = before + time.Hour
	l.mu.Unlock()
	take(t, l)
	l.mu.Lock()
	if l.lastEnd != 0 {
		t.Error("a burst followed another without a poll of the network")
	}
	l.mu.Unlock()
	l.release()

	// unless the caller has slept in a read since.
	l.mu.Lock()
	last := l.lastEnd
	l.mu.Unlock()
	if _, err := l.acquire(true, last); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lastEnd != last {
		t.Error("a burst whose caller was woken by a poll took another turn")
	}
}

func TestTurnWaitsForAPollUnderPressureOnly(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, time.Hour)
	l.turn()
	take(t, l)
	queue(t, l, false, 1, 1)
	l.turn()
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
	l.turn()
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
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.acquire(false, 0); err != nil {
			b.Fatal(err)
		}
		l.release()
	}
}
