package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latencies is a histogram from a microsecond to maxLatency with three digits.
type latencies struct {
	mu   sync.Mutex
	hist *hdrhistogram.Histogram
}

// maxLatency is how long a request can take; longer ones count as this long.
const maxLatency = 10 * time.Minute

func newLatencies() *latencies {
	return &latencies{hist: hdrhistogram.New(1, maxLatency.Microseconds(), 3)}
}

func (l *latencies) record(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// In range, therefore never an error.
	_ = l.hist.RecordValue(min(max(d, 0), maxLatency).Microseconds())
}

// tick is the resolution of the timeline.
const tick = 100 * time.Millisecond

// moment is what became of the arrivals that were due in one tick.
type moment struct {
	right, wrong, dropped int64
	longest               time.Duration
}

// attack is one run of the driver.
type attack struct {
	schedule    schedule
	warmup      time.Duration // before the beginning of schedule, at its first rate
	maxInFlight int
	timeout     time.Duration
	requests    []request
	pools       []*pool // of each request
	expect      expectation
	clock       clock
	counts      *counts

	latency, service, late *latencies
	inFlight, peak         atomic.Int64

	mu          sync.Mutex
	statuses    map[int]int64
	wrongs      map[string]int64
	timeline    []moment
	right       int64
	wrong       int64
	dropped     int64
	warmupWrong int64
	bytesIn     int64
	lastRight   time.Time
	lastAnswer  time.Time

	start       time.Time     // of the schedule, after the warm-up
	cpuBefore   time.Duration // that the driver had used by then
	interrupted bool
}

// arrival is one request that is due.
type arrival struct {
	number int
	due    time.Time
	warm   bool // before the beginning; it is not counted
}

// run lets all requests arrive when they are due, however slow the answers are,
// and returns when the last one has been answered or has timed out. It ends early
// when ctx is done.
func (a *attack) run(ctx context.Context) {
	a.latency, a.service, a.late = newLatencies(), newLatencies(), newLatencies()
	a.statuses, a.wrongs = map[int]int64{}, map[string]int64{}
	a.timeline = make([]moment, a.schedule.duration/tick+1)
	warm := schedule{max(a.schedule.from, 1), max(a.schedule.from, 1), a.warmup}
	began := a.clock.Now()
	a.start = began.Add(a.warmup)

	work := make(chan arrival)
	var workers sync.WaitGroup
	number := 0
	arrive := func(begin time.Time, s schedule, isWarm bool) {
		for i := range s.count() {
			due := begin.Add(s.at(i))
			if a.clock.Now().Before(due) {
				a.clock.SleepUntil(due)
			}
			if ctx.Err() != nil {
				a.interrupted = true
				return
			}
			next := arrival{number, due, isWarm}
			number++
			select {
			case work <- next: // somebody has nothing to do
				continue
			default:
			}
			if a.inFlight.Load() >= int64(a.maxInFlight) {
				a.drop(next)
				continue
			}
			a.begin()
			workers.Go(func() { a.work(next, work) })
		}
	}
	arrive(began, warm, true)
	a.cpuBefore = cpuTime()
	arrive(a.start, a.schedule, false)
	close(work)
	workers.Wait()
	closed := map[*pool]bool{}
	for _, p := range a.pools {
		if !closed[p] {
			p.close()
			closed[p] = true
		}
	}
}

// work handles first, and then others for as long as there are any. Workers stay,
// because a new goroutine would have to grow its stack for every request.
func (a *attack) work(first arrival, work <-chan arrival) {
	a.handle(first)
	a.inFlight.Add(-1)
	for next := range work {
		a.begin()
		a.handle(next)
		a.inFlight.Add(-1)
	}
}

func (a *attack) begin() {
	n := a.inFlight.Add(1)
	for peak := a.peak.Load(); n > peak && !a.peak.CompareAndSwap(peak, n); peak = a.peak.Load() {
	}
}

// maxAttempts bounds how often a request meets a connection that was closed while
// it was idle. net/http tries again too; whoever drives a real client never sees
// these.
const maxAttempts = 4

func (a *attack) handle(next arrival) {
	began := a.clock.Now()
	k := next.number % len(a.requests)
	r, p := &a.requests[k], a.pools[k]
	deadline := began.Add(a.timeout)
	var got answer
	var err error
	for attempt := 1; ; attempt++ {
		var c *conn
		if c, err = p.get(deadline); err != nil {
			break
		}
		var keep bool
		got, keep, err = c.do(r, deadline)
		a.counts.bytesOut.Add(int64(len(r.body)))
		status := got.status
		// The answer belongs to the connection, so it is judged before that is returned.
		why := a.expect.judge(got, err)
		again := isStale(err) && attempt < maxAttempts
		if !again {
			a.note(next, began, status, got.bytes, why)
		}
		if keep && p.keep {
			p.put(c)
		} else {
			p.drop(c)
		}
		if !again {
			return
		}
		a.counts.retried.Add(1)
	}
	a.note(next, began, 0, 0, a.expect.judge(got, err))
}

// isStale reports whether a request may be sent again: it met a connection that
// was closed while it was kept, and either was not sent or can be repeated.
func isStale(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.phase == phaseStale && !errors.Is(err, os.ErrDeadlineExceeded)
}

// note counts what became of an arrival.
func (a *attack) note(next arrival, began time.Time, status, bytes int, why string) {
	now := a.clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if next.warm {
		if why != "" {
			a.warmupWrong++
		}
		return
	}
	a.lastAnswer = now
	a.bytesIn += int64(bytes)
	if status != 0 {
		a.statuses[status]++
	}
	m := a.moment(next)
	latency := now.Sub(next.due)
	m.longest = max(m.longest, latency)
	if why == "" {
		a.right++
		m.right++
		a.lastRight = now
	} else {
		a.wrong++
		m.wrong++
		a.wrongs[why]++
	}
	a.latency.record(latency)
	a.service.record(now.Sub(began))
	a.late.record(began.Sub(next.due))
}

// drop counts an arrival for which there was no room.
func (a *attack) drop(next arrival) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if next.warm {
		a.warmupWrong++
		return
	}
	a.dropped++
	a.moment(next).dropped++
}

// moment is the tick in which next was due. a.mu is held.
func (a *attack) moment(next arrival) *moment {
	return &a.timeline[min(int(next.due.Sub(a.start)/tick), len(a.timeline)-1)]
}
