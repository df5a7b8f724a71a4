package tlsterm

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"verigate/internal/netpoll"
)

// Limiter hands out CPU tokens for handshakes. A handshake holds a token while
// it computes (a burst: from octets received to octets sent) and gives it back
// before it waits for the client, so a slow client never holds one.
//
// Bursts leave room for connections that are established. Go's scheduler polls the
// network when it has nothing to run, which in a flood of ClientHellos is never: on one
// core, with a build whose bursts take no tokens as -variant of benchmarks/peers, requests
// of established connections wait for a second in place of 0.6 ms. So the limiter asks
// for a poll when bursts have followed each other for a while, and goes on; if none has
// come after twice that while, tokens are held back until it has. What it asks with is a
// bell, a file for which one goroutine waits: that goroutine runs only after a poll,
// behind all that the poll found readable. The while is short as long as connections that
// stay are read, grows with the time since one was, and ends up long enough for polls to
// come by themselves, since waiting for them costs CPU (ADR 0027). What comes in crowds
// beside the bursts takes turns as well, a few per poll: connections to accept, and failed
// ones to record and to close.
//
// Bursts that continue a handshake come before those that begin one: work that
// was begun is finished. A handshake that takes many counts as a beginner again. Among
// beginners the oldest is next, unless it has waited for so long that the client is likely
// to have given up soon; then the newest is (last in, first out), so that overload makes
// some clients fail and not all of them slow. Who has waited for a second is refused.
//
// A Limiter may be shared between listeners and used concurrently.
type Limiter struct {
	bell    *bell
	late    *time.Timer   // runs hasten
	poll    func()        // netpoll.Force
	stopped chan struct{} // closed when the dispatcher has ended
	epoch   time.Time     // all moments below are durations since epoch, monotonic
	tokens  int

	served atomic.Bool // a connection that stays was read since window was last asked

	mu       sync.Mutex
	free     int
	since    time.Duration // when the first burst after the last poll began; 0 if none has
	lastEnd  time.Duration // when the last burst ended
	state    bellState
	closed   bool
	begun    waiterList // in the middle of a handshake
	fresh    waiterList // at its beginning
	turns    waiterList // want a poll of the network, not a token
	maxWait  time.Duration
	lifoFrom time.Duration
	unpolled time.Duration
	// lastServed is when window found that a connection that stays had been read; 0 if never.
	lastServed time.Duration
}

// bellState is what became of the bell since it was last acted on.
type bellState uint8

const (
	silent  bellState = iota
	rung              // ahead: nobody waits for the poll yet
	awaited           // somebody does
	heard             // the poll has come, and dispatch is about to act on it
)

const (
	// maxTokenWait is how long a burst may wait for a token. A client whose
	// ClientHello was not answered for a second is better told to go elsewhere.
	maxTokenWait = time.Second
	// lifoAfter is the age of the oldest waiter from which the newest is served
	// first. Below it, first come first served keeps the slowest client of a busy
	// but healthy gateway fast, and a crowd of some hundreds that comes at once is
	// served without refusing anybody, also by a core that stood still for a moment.
	lifoAfter = 500 * time.Millisecond
	// turnsPerPoll is how many who wait for a poll go on after one. Each has a few
	// dozen microseconds of work.
	turnsPerPoll = 8
	// maxUnpolled is how long bursts follow each other without a poll before they are held
	// back for one, and servingUnpolled the same while connections that stay are read. At
	// half of that the bell is rung, and mostly heard in time: polls come by themselves where
	// there is nobody to hurry for, and to wait for them costs a handshake some per cent of
	// its CPU time.
	maxUnpolled     = 2 * time.Millisecond
	servingUnpolled = 200 * time.Microsecond
	// servingShare is the part of the time since a connection that stays was read for which
	// the next one may wait: whoever asks every half second waits a millisecond.
	servingShare = 500
	// lull is after how long without any burst the limiter begins anew, as if the network
	// had just been polled. Mostly it was: Go polls when it has nothing to run. A bell that was
	// rung and not heard says that it was not. Were it longer, each of some hundred handshakes
	// a second would ring, and nobody waits for it.
	lull = time.Millisecond
	// pollDue is how long, for each token, the bell may go unanswered while no burst
	// computes. A poll that is forced stops every processor, so the more there are, the
	// rarer it is to be; and the sooner one of them polls by itself.
	pollDue = 300 * time.Microsecond
)

var (
	errOverload      = errors.New("tlsterm: no CPU token within the time allowed")
	errLimiterClosed = errors.New("tlsterm: limiter closed")
)

// NewLimiter returns a limiter with that many tokens, at least one.
func NewLimiter(tokens int) (*Limiter, error) {
	if tokens < 1 {
		return nil, fmt.Errorf("tlsterm: a limiter of %d tokens would never let anybody in", tokens)
	}
	bell, err := newBell()
	if err != nil {
		return nil, fmt.Errorf("tlsterm: limiter: %w", err)
	}
	l := &Limiter{
		bell:     bell,
		stopped:  make(chan struct{}),
		epoch:    time.Now(),
		poll:     netpoll.Force,
		tokens:   tokens,
		free:     tokens,
		maxWait:  maxTokenWait,
		lifoFrom: lifoAfter,
		unpolled: maxUnpolled,
	}
	l.late = time.AfterFunc(l.due(), l.hasten) // finds that nobody rang
	listening := make(chan struct{})
	go func() {
		defer close(l.stopped)
		l.bell.answer(listening, l.dispatch)
	}()
	<-listening
	return l, nil
}

// Close ends the limiter: whoever waits, or asks later, is refused. It returns
// when the limiter's goroutine has ended; a second call does nothing.
func (l *Limiter) Close() {
	l.mu.Lock()
	first := !l.closed
	if first {
		l.closed = true
		for _, list := range []*waiterList{&l.begun, &l.fresh, &l.turns} {
			for w := list.oldest; w != nil; w = list.oldest {
				list.remove(w)
				w.answer <- errLimiterClosed
			}
		}
	}
	l.mu.Unlock()
	if first {
		l.bell.close()
	}
	<-l.stopped
}

// Waiting returns how many bursts wait for a token at this moment.
func (l *Limiter) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun.n + l.fresh.n
}

// moment returns the time since l's epoch, never 0.
func (l *Limiter) moment() time.Duration { return max(1, time.Since(l.epoch)) }

// acquire takes a token, to be returned with release, and returns how long that
// took. begun says that the handshake comes before beginners. polled is a
// moment after which the network was certainly polled, because the caller slept
// in a read since then; 0 if there is none.
func (l *Limiter) acquire(begun bool, polled time.Duration) (waited time.Duration, err error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return 0, errLimiterClosed
	}
	now := l.moment()
	if polled > l.since || l.state == silent && l.free == l.tokens && now-l.lastEnd >= lull {
		l.since = 0
	}
	if l.free > 0 && l.begun.n+l.fresh.n == 0 && !l.overdue(now) {
		l.free--
		if l.since == 0 {
			l.since = now
		}
		l.mu.Unlock()
		return 0, nil
	}
	w := waiters.Get().(*waiter)
	w.since = now
	if begun {
		l.begun.push(w)
	} else {
		l.fresh.push(w)
	}
	if l.free > 0 {
		l.want() // else the release of a token will
	}
	l.mu.Unlock()

	err = <-w.answer
	waiters.Put(w)
	return l.moment() - now, err
}

// release gives a token back.
func (l *Limiter) release() {
	l.mu.Lock()
	l.free++
	now := l.moment()
	l.lastEnd = now
	if l.since != 0 && now-l.since >= l.window(now)/2 {
		l.kick()
	}
	if l.begun.n+l.fresh.n > 0 {
		if l.overdue(now) {
			l.want()
		} else {
			l.grant()
		}
	}
	l.mu.Unlock()
}

// overdue reports whether bursts have to wait for a poll: one was asked for, and they
// have followed each other for long enough. The caller holds l.mu.
func (l *Limiter) overdue(now time.Duration) bool {
	return l.state != silent && l.since != 0 && now-l.since >= l.window(now)
}

// window returns for how long bursts follow each other without a poll. The caller holds
// l.mu.
func (l *Limiter) window(now time.Duration) time.Duration {
	if l.served.Load() {
		l.served.Store(false)
		l.lastServed = now
	}
	if l.lastServed == 0 {
		return l.unpolled
	}
	return min(l.unpolled, max(servingUnpolled, (now-l.lastServed)/servingShare))
}

// serve notes that a connection that stays was read: somebody is there for whom the
// network is to be polled soon.
func (l *Limiter) serve() {
	if !l.served.Load() { // a store would take the cache line from other processors each time
		l.served.Store(true)
	}
}

// turn waits until the network was polled if handshakes are pressing. A loop
// that may find work without ever sleeping takes one now and then, and whoever may
// be one of a crowd that was woken together takes one before it works. Who goes ahead waits
// behind nobody: it must not be one of a crowd.
func (l *Limiter) turn(ahead bool) {
	l.mu.Lock()
	if l.closed || l.begun.n+l.fresh.n+l.turns.n == 0 && l.since == 0 {
		l.mu.Unlock()
		return
	}
	w := waiters.Get().(*waiter)
	w.since = l.moment()
	if ahead {
		l.turns.pushAhead(w)
	} else {
		l.turns.push(w)
	}
	l.want()
	l.mu.Unlock()
	<-w.answer //nolint:errcheck // the value says nothing to a dispatcher that only waits its turn
	waiters.Put(w)
}

// kick makes the dispatcher run after the next poll of the network. The caller
// holds l.mu.
func (l *Limiter) kick() {
	if l.state == silent && !l.closed {
		l.state = rung
		l.bell.ring()
	}
}

// want is kick for somebody who waits for it: if no poll comes, it is forced. The caller
// holds l.mu.
func (l *Limiter) want() {
	l.kick()
	if l.state == rung && !l.closed {
		l.state = awaited
		l.late.Reset(l.due())
	}
}

func (l *Limiter) due() time.Duration { return pollDue * time.Duration(l.tokens) }

// hasten forces the poll that the bell waits for if no burst computes: whatever has
// the processors instead may keep them for long. At the end of a burst, its processor
// polls by itself if it has nothing else to run.
func (l *Limiter) hasten() {
	l.mu.Lock()
	idle := l.free == l.tokens
	waits := l.state == awaited && !l.closed
	if waits {
		l.late.Reset(l.due())
	}
	l.mu.Unlock()
	if waits && idle {
		l.poll()
	}
}

// dispatch hands tokens on. It is called once per poll of the network.
func (l *Limiter) dispatch() {
	l.mu.Lock()
	if l.state == awaited {
		l.late.Stop()
	}
	l.state = heard
	l.mu.Unlock()
	// The poll that woke this goroutine has readied others too. They stand in the
	// run queue, where a waiter woken from here would overtake them all.
	runtime.Gosched()
	l.mu.Lock()
	l.state, l.since = silent, 0
	l.takeTurns()
	l.grant()
	l.mu.Unlock()
}

// takeTurns answers those who waited for a poll. The caller holds l.mu.
func (l *Limiter) takeTurns() {
	for range turnsPerPoll {
		w := l.turns.oldest
		if w == nil {
			break
		}
		l.turns.remove(w)
		w.answer <- nil
	}
	if l.turns.n > 0 {
		l.want()
	}
}

// grant answers those who waited for too long, and gives every free token to whom it is
// due. The caller holds l.mu.
func (l *Limiter) grant() {
	now := l.moment()
	for _, list := range []*waiterList{&l.begun, &l.fresh} {
		for w := list.oldest; w != nil && now-w.since > l.maxWait; w = list.oldest {
			list.remove(w)
			w.answer <- errOverload
		}
	}
	for l.free > 0 {
		list, w := &l.begun, l.begun.oldest
		if w == nil {
			list, w = &l.fresh, l.fresh.oldest
		}
		if w == nil {
			return
		}
		if list == &l.fresh && now-w.since > l.lifoFrom {
			w = list.newest
		}
		list.remove(w)
		l.free--
		if l.since == 0 {
			l.since = now
		}
		w.answer <- nil
	}
}

// waiter is one that waits. answer has room for the one answer it gets, so
// giving it never blocks.
type waiter struct {
	since        time.Duration
	answer       chan error
	older, newer *waiter
}

var waiters = sync.Pool{New: func() any { return &waiter{answer: make(chan error, 1)} }}

// waiterList is a list of waiters by age.
type waiterList struct {
	oldest, newest *waiter
	n              int
}

func (l *waiterList) push(w *waiter) { l.insert(l.newest, w, nil) }

// pushAhead adds w as if it were the oldest.
func (l *waiterList) pushAhead(w *waiter) { l.insert(nil, w, l.oldest) }

// insert puts w between two neighbours; nil is an end of the list.
func (l *waiterList) insert(older, w, newer *waiter) {
	w.older, w.newer = older, newer
	if older != nil {
		older.newer = w
	} else {
		l.oldest = w
	}
	if newer != nil {
		newer.older = w
	} else {
		l.newest = w
	}
	l.n++
}

func (l *waiterList) remove(w *waiter) {
	if w.older != nil {
		w.older.newer = w.newer
	} else {
		l.oldest = w.newer
	}
	if w.newer != nil {
		w.newer.older = w.older
	} else {
		l.newest = w.older
	}
	w.older, w.newer = nil, nil
	l.n--
}
