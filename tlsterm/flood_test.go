package tlsterm

import (
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"verigate/verifycache"
)

// Under pressure, what is readable is read before the next burst begins: that is what
// keeps established connections fast on one core while ClientHellos pour in.
//
// It sets the number of processors for everybody, so it is not parallel.
func TestWhatIsReadableIsReadBeforeTheNextBurst(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const attempts, bursts = 50, 200
	fewest := bursts
	for range attempts {
		order := underFlood(t, newTestLimiter(t, 1, 1<<62), bursts, 0)
		overtaken := 0
		for i := 1; i < len(order); i++ {
			if order[i-1] == "burst" && order[i] == "burst" {
				overtaken++
			}
		}
		fewest = min(fewest, overtaken)
		// Go's scheduler looks into its global queue out of turn once in 61 times.
		if fewest <= bursts/10 {
			return
		}
		// The system may have stopped the thread that had polled, with the request in its
		// hands, for as long as hundreds of bursts take that compute nothing.
	}
	t.Errorf("in the best of %d attempts, %d of %d bursts began before a request was read that was there already", attempts, fewest, bursts)
}

// With the times that a limiter has by itself, a request waits for few bursts while
// connections that stay are read, and for some more if it is the first since long, so that
// bursts need not wait for polls.
//
// It sets the number of processors for everybody, so it is not parallel.
func TestRequestsWaitForFewBursts(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const (
		attempts, bursts = 20, 60
		burst            = 300 * time.Microsecond
		// As many as fit in between, one that ends later, and some for a machine that stops
		// and goes.
		few, some = 2 * (servingUnpolled/burst + 1), 2 * (maxUnpolled/burst + 1)
	)
	longest := func(serving bool) (long time.Duration) {
		l := must(NewLimiter(1))(t)
		defer l.Close()
		l.maxWait = time.Hour
		if serving {
			l.serve()
		}
		run := time.Duration(0)
		for _, what := range underFlood(t, l, bursts, burst) {
			if run++; what != "burst" {
				run = 0
			}
			long = max(long, run)
		}
		return long
	}
	var serving, alone time.Duration
	for range attempts {
		serving, alone = longest(true), longest(false)
		if serving <= few && alone > few && alone <= some {
			return
		}
	}
	t.Errorf("at last %d bursts followed each other where connections are read, want %d at most, and %d where none is, want %d at most, and more", serving, few, alone, some)
}

// underFlood has so many bursts wait from the beginning, each of which computes for a while,
// and a request arrive during each. It returns in which order they came.
func underFlood(t *testing.T, l *Limiter, bursts int, compute time.Duration) (order []string) {
	t.Helper()
	established, client, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer established.Close()
	defer client.Close()

	came := make(chan string, 2*bursts)
	var done sync.WaitGroup
	done.Go(func() {
		var octet [1]byte
		for range bursts {
			if _, err := established.Read(octet[:]); err != nil {
				t.Error(err)
				return
			}
			came <- "request"
		}
	})
	take(t, l)
	for range bursts {
		done.Go(func() {
			if _, err := l.acquire(false, 0); err != nil {
				t.Error(err)
				return
			}
			came <- "burst"
			if _, err := client.Write([]byte{0}); err != nil {
				t.Error(err)
			}
			for began := time.Now(); time.Since(began) < compute; {
			}
			l.release()
		})
	}
	eventually(t, "every burst to wait", func() bool { return l.Waiting() == bursts })
	l.release()
	done.Wait()

	close(came)
	for what := range came {
		order = append(order, what)
	}
	return order
}

// While the collector sweeps, on one processor there is always something to run, and
// Go looks at the network every 10 ms by itself. Whoever waits for the bell then is not
// to wait for that.
//
// It sets the number of processors for everybody, so it is not parallel.
func TestAPollThatDoesNotComeIsForced(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const attempts, turns = 50, 20
	stop, swept := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(swept)
		for {
			select {
			case <-stop:
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	defer func() { close(stop); <-swept }()

	l := newTestLimiter(t, 1, 1<<62)
	best := time.Duration(1 << 62)
	for range attempts {
		begun := time.Now()
		for range turns {
			take(t, l)
			l.release()
			l.turn(false) // because a burst has just ended
		}
		best = min(best, time.Since(begun))
		if best < turns*forcedPoll/2 {
			return
		}
	}
	t.Errorf("the best of %d attempts at %d turns took %v: they waited for the poll of every %v", attempts, turns, best, forcedPoll)
}

// A poll that has come, and one that nobody waits for any more, is not forced, nor one
// that comes when a burst ends: it stops everybody.
func TestOnlyAPollThatDoesNotComeIsForced(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		state         bellState
		closed, burst bool
		want          int
	}{
		{state: awaited, want: 1},
		{state: rung},
		{state: heard},
		{state: awaited, closed: true},
		{state: awaited, burst: true},
	} {
		l := newTestLimiter(t, 1, 1<<62)
		polls := 0
		l.mu.Lock()
		l.late.Stop()
		l.tokens = 1 << 30 // so that the timer's time never comes
		l.free = l.tokens
		if tt.burst {
			l.free--
		}
		l.poll = func() { polls++ }
		l.state, l.closed = tt.state, tt.closed
		l.mu.Unlock()
		l.hasten()
		if polls != tt.want {
			t.Errorf("%+v: %d polls are forced", tt, polls)
		}
		l.mu.Lock()
		l.late.Stop()
		l.closed = false
		l.mu.Unlock()
	}
}

// The more processors a poll would stop, the later it is forced, and asked for again until it
// has come.
func TestForcedPollsAreRareWhereTheyStopMany(t *testing.T) {
	t.Parallel()
	for tokens, want := range map[int]time.Duration{1: pollDue, 8: 8 * pollDue} {
		if got := newTestLimiter(t, tokens, 1<<62).due(); got != want {
			t.Errorf("due() = %v with %d tokens, want %v", got, tokens, want)
		}
	}
	l := newTestLimiter(t, 1, 1<<62)
	polls := make(chan struct{}, 1)
	l.mu.Lock()
	l.poll = func() {
		select {
		case polls <- struct{}{}:
		default:
		}
	}
	l.state = rung // and nobody has rung
	l.want()
	l.mu.Unlock()
	for range 3 {
		next(t, "forced poll", polls)
	}
}

// While the dispatcher lets those go first whom the poll has woken as well, the poll has come.
//
// It sets the number of processors for everybody, so it is not parallel.
func TestAPollCountsAsSoonAsTheDispatcherRuns(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const attempts = 100
	for range attempts {
		l := newTestLimiter(t, 1, 1<<62)
		l.mu.Lock()
		l.state = rung
		l.mu.Unlock()
		seen := make(chan bool, 1)
		go func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			seen <- l.state == heard
		}()
		l.dispatch() // as the bell would
		if <-seen {
			return
		}
	}
	t.Errorf("in %d attempts, nobody who ran before the dispatcher went on saw that the poll had come", attempts)
}

// A crowd that waits for the same poll goes on a few at a time.
func TestTurnsAreFewPerPoll(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, 1<<62)
	l.mu.Lock()
	defer l.mu.Unlock()
	for range 3 * turnsPerPoll {
		l.turns.push(&waiter{answer: make(chan error, 1)})
	}
	for left := 2 * turnsPerPoll; left >= 0; left -= turnsPerPoll {
		l.state = silent
		l.takeTurns()
		if l.turns.n != left {
			t.Fatalf("after a poll %d wait for a turn, want %d", l.turns.n, left)
		}
		if again := left > 0; (l.state == awaited) != again {
			t.Fatalf("with %d left, takeTurns asks for another poll: %v, want %v", left, !again, again)
		}
	}
}

// The accept loop does not wait behind a crowd of failures.
func TestTurnAheadIsNext(t *testing.T) {
	t.Parallel()
	l := newTestLimiter(t, 1, 1<<62)
	l.mu.Lock()
	l.state, l.since = rung, 1 // under pressure, and nobody has rung
	for range 2 * turnsPerPoll {
		l.turns.push(&waiter{answer: make(chan error, 1)})
	}
	l.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		l.turn(true)
	}()
	eventually(t, "the turn to wait", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.turns.n > 2*turnsPerPoll
	})
	l.mu.Lock()
	l.takeTurns()
	l.mu.Unlock()
	next(t, "turn", gone)
}

// A crowd of handshakes that fail together, for instance because they have all waited
// for too long, would hold up established connections with records and closing.
func TestFailedHandshakesTakeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	limiter := newTestLimiter(t, 1, 1<<62)
	l, r := w.start(t, func(o *Options) { o.Limiter = limiter })
	// As if the poll that was asked for were yet to come.
	limiter.mu.Lock()
	limiter.state = rung
	limiter.mu.Unlock()

	stranger := must(net.Dial("tcp", l.Addr().String()))(t)
	defer stranger.Close()
	if _, err := stranger.Write([]byte("this is not TLS\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the failed handshake to wait for its turn", func() bool {
		limiter.mu.Lock()
		defer limiter.mu.Unlock()
		return limiter.turns.n == 1
	})
	none(t, "record", r.handshakes)

	limiter.mu.Lock()
	limiter.state = silent
	limiter.kick()
	limiter.mu.Unlock()
	if h := next(t, "record", r.handshakes); h.Outcome != Failed {
		t.Errorf("outcome %v, want failed", h.Outcome)
	}
}
