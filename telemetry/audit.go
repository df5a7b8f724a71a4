package telemetry

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// AuditOptions says where audit records go. At most one of Writer and File is
// set; with neither, no records are written.
type AuditOptions struct {
	// Writer receives whole lines, many at a time, from one goroutine.
	Writer io.Writer
	// File is appended to. It is created with mode 0600, and opened again by
	// [Telemetry.Reopen] after something renamed it.
	File string
	// QueueRecords bounds what waits to be written: 65 536 records or as many KiB,
	// whichever is reached first.
	QueueRecords int
	// OnFull is what happens to a record when the queue is full: "drop" (the
	// default) counts it as lost, says so in the log as soon as there is room, and
	// never delays anyone. "block" delays the caller until there is room and
	// repeats failed writes: no request without a record, at the price that a dead
	// disk stops the gateway.
	OnFull string
	// FlushInterval is how long a record may wait for company; 200 ms.
	FlushInterval time.Duration
	// FailuresPerSecond bounds the records of handshakes that failed, which cost an
	// attacker nothing; 100, with ten times that in a burst. The rest is counted,
	// and the log says how many there were (OQ-30). Requests are never sampled.
	FailuresPerSecond int
	// Seal adds a record after each write that chains everything so far by SHA-256,
	// see [VerifySeals] (AUD-04). It costs under a nanosecond of CPU per octet,
	// on the writer's goroutine.
	Seal bool
}

// OnFull values.
const (
	OnFullDrop  = "drop"
	OnFullBlock = "block"
)

// AuditStatus is what an operator should know about the audit log.
type AuditStatus struct {
	Enabled     bool
	Queued      int       // records waiting
	Written     uint64    // records handed to the operating system
	Dropped     uint64    // records lost
	Suppressed  uint64    // failed handshakes beyond the rate limit
	Errors      uint64    // failed writes and reopenings
	LastError   string    // of the last failure, also when it is over
	LastErrorAt time.Time // zero: never
	Healthy     bool      // the last write succeeded
}

const (
	chunkBytes    = 64 << 10
	retryInterval = 100 * time.Millisecond
)

// chunk is a block of whole lines.
type chunk struct {
	b       []byte
	records int
}

// auditLog is the queue and its writer. Records are copied into chunks under a
// lock held for tens of nanoseconds; the writer takes all chunks at once. A channel
// of records would wake the writer for each of them, which costs more than the rest
// of recording together.
type auditLog struct {
	block     bool
	maxQueued int
	maxChunks int
	interval  time.Duration
	now       func() time.Time

	mu      sync.Mutex
	room    sync.Cond
	current *chunk
	full    []*chunk
	free    []*chunk
	chunks  int // in current, full and with the writer
	queued  int // records in them
	closed  bool

	arrived  chan struct{} // something waits
	pressing chan struct{} // do not wait for company
	quit     chan struct{}
	done     chan struct{}

	output   output
	failures limiter

	written, dropped, suppressed atomic.Uint64
	// What the log itself says about losses; the writer's own.
	saidDropped, saidSuppressed uint64
}

func newAuditLog(o AuditOptions, header func(event string) []byte, now func() time.Time) (*auditLog, error) {
	if o.Writer != nil && o.File != "" {
		return nil, errors.New("telemetry: audit: both a writer and a file are set")
	}
	switch o.OnFull {
	case "", OnFullDrop, OnFullBlock:
	default:
		return nil, fmt.Errorf("telemetry: audit: on_full is %q, want %q or %q", o.OnFull, OnFullDrop, OnFullBlock)
	}
	if o.QueueRecords < 0 || o.FlushInterval < 0 || o.FailuresPerSecond < 0 {
		return nil, errors.New("telemetry: audit: negative option")
	}
	queued := cmp.Or(o.QueueRecords, 65_536)
	rate := cmp.Or(o.FailuresPerSecond, 100)
	a := &auditLog{
		block:     o.OnFull == OnFullBlock,
		maxQueued: queued,
		maxChunks: max(2, queued*1024/chunkBytes),
		interval:  cmp.Or(o.FlushInterval, 200*time.Millisecond),
		now:       now,
		arrived:   make(chan struct{}, 1),
		pressing:  make(chan struct{}, 1),
		quit:      make(chan struct{}),
		done:      make(chan struct{}),
		failures:  limiter{perSecond: rate, burst: 10 * rate},
	}
	a.room.L = &a.mu
	if err := a.output.open(o, header); err != nil {
		return nil, err
	}
	go a.run()
	return a, nil
}

// put copies one line into the queue. It reports false if the line is lost, which
// it has then counted.
func (a *auditLog) put(b []byte) bool {
	a.mu.Lock()
	for !a.closed && !a.fits(len(b)) {
		if !a.block {
			break
		}
		notify(a.pressing)
		a.room.Wait()
	}
	if a.closed || !a.fits(len(b)) {
		a.mu.Unlock()
		a.dropped.Add(1)
		notify(a.arrived)
		return false
	}
	first, filled := a.queued == 0, false
	if a.current != nil && len(a.current.b)+len(b) > chunkBytes {
		a.full = append(a.full, a.current)
		a.current, filled = nil, true
	}
	if a.current == nil {
		a.current = a.chunk()
	}
	a.current.b = append(a.current.b, b...)
	a.current.records++
	a.queued++
	a.mu.Unlock()
	if first {
		notify(a.arrived)
	}
	if filled {
		notify(a.pressing)
	}
	return true
}

// fits reports whether the queue has room for a line of n octets.
func (a *auditLog) fits(n int) bool {
	if a.queued >= a.maxQueued {
		return false
	}
	return a.chunks < a.maxChunks || a.current != nil && len(a.current.b)+n <= chunkBytes
}

// chunk returns an empty chunk, preferably a used one.
func (a *auditLog) chunk() *chunk {
	a.chunks++
	if n := len(a.free); n > 0 {
		c := a.free[n-1]
		a.free = a.free[:n-1]
		return c
	}
	return &chunk{b: make([]byte, 0, chunkBytes)}
}

// notify leaves a token in a channel of capacity one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// admitFailure reports whether a failed handshake gets a record of its own at the
// given time; if not, it has counted it.
func (a *auditLog) admitFailure(at time.Time) bool {
	if a.failures.allow(at) {
		return true
	}
	a.suppressed.Add(1)
	notify(a.arrived)
	return false
}

// run is the writer.
func (a *auditLog) run() {
	defer close(a.done)
	timer := time.NewTimer(a.interval)
	defer timer.Stop()
	for {
		select {
		case <-a.arrived:
		case <-a.quit:
			a.flush()
			a.output.close(a.now())
			return
		}
		timer.Reset(a.interval)
		select {
		case <-timer.C:
		case <-a.pressing:
		case <-a.quit:
		}
		for a.flush() {
		}
	}
}

// flush writes what waits, and what the log has to say about itself. It reports
// whether another chunk filled up meanwhile.
func (a *auditLog) flush() (more bool) {
	a.mu.Lock()
	batch := a.full
	if a.current != nil {
		batch = append(batch, a.current)
	}
	a.current, a.full = nil, nil
	a.mu.Unlock()

	for _, c := range batch {
		a.write(c.b, c.records)
		a.release(c)
	}
	a.notices()
	a.output.seal(a.now())

	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil || len(a.full) > 0 {
		notify(a.arrived)
	}
	return len(a.full) > 0
}

// write hands lines to the output and reports whether all were written. Under
// "block" it repeats until that succeeds or the gateway stops.
func (a *auditLog) write(b []byte, records int) bool {
	for {
		n, err := a.output.write(b)
		whole := bytes.Count(b[:n], []byte{'\n'})
		a.written.Add(uint64(whole))
		records -= whole
		if err == nil {
			return true
		}
		a.output.health.failed(err, a.now())
		if !a.block {
			break
		}
		// A line that was begun is written again, whole.
		b = b[bytes.LastIndexByte(b[:n], '\n')+1:]
		select {
		case <-time.After(retryInterval):
			continue
		case <-a.quit:
		}
		break
	}
	a.dropped.Add(uint64(records))
	return false
}

// release returns a chunk and lets waiting callers in. A few chunks are kept; the
// memory of a burst is not.
func (a *auditLog) release(c *chunk) {
	const kept = 16
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queued -= c.records
	a.chunks--
	if len(a.free) < kept {
		c.b, c.records = c.b[:0], 0
		a.free = append(a.free, c)
	}
	a.room.Broadcast()
}

// notices writes how many records are missing since it last said so.
func (a *auditLog) notices() {
	say := func(event string, n uint64, said *uint64) {
		if n == *said || a.output.health.current() != nil {
			return
		}
		var l line
		l.open(a.now(), event)
		l.unsigned("count", n-*said)
		l.close()
		if a.write(l.b, 1) {
			*said = n
		}
	}
	say(eventSuppressed, a.suppressed.Load(), &a.saidSuppressed)
	say(eventLost, a.dropped.Load(), &a.saidDropped)
}

// close stops taking records, writes what waits and closes the file.
func (a *auditLog) close(ctx context.Context) error {
	a.mu.Lock()
	first := !a.closed
	a.closed = true
	a.room.Broadcast()
	a.mu.Unlock()
	if first {
		close(a.quit)
	}
	select {
	case <-a.done:
		if err := a.output.health.current(); err != nil {
			return fmt.Errorf("telemetry: audit: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("telemetry: audit: %d records not written: %w", a.status().Queued, ctx.Err())
	}
}

func (a *auditLog) status() AuditStatus {
	a.mu.Lock()
	queued := a.queued
	a.mu.Unlock()
	s := AuditStatus{
		Enabled: true, Queued: queued, Written: a.written.Load(),
		Dropped: a.dropped.Load(), Suppressed: a.suppressed.Load(),
	}
	a.output.health.report(&s)
	return s
}

// limiter is a token bucket. Its clock is what callers say, so that it needs none;
// a caller that is late does not turn it back.
type limiter struct {
	perSecond, burst int

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

func (l *limiter) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.IsZero() {
		l.tokens, l.last = float64(l.burst), now
	}
	if elapsed := now.Sub(l.last); elapsed > 0 {
		l.tokens = min(float64(l.burst), l.tokens+elapsed.Seconds()*float64(l.perSecond))
		l.last = now
	}
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}
