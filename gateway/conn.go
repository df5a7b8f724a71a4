package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/http1gate"
	"verigate/telemetry"
	"verigate/tlsterm"
	"verigate/upstream"
)

const (
	// parkAfter is how long a connection keeps its buffers and fasthttp's state
	// after a response, some 50 KiB, because the next request often comes at once.
	parkAfter = 200 * time.Millisecond
	// deadlineSlack is the part of a time-out by which it may be exceeded. Moving a
	// deadline costs a lock and a timer, so it is moved only when too little of it
	// is left.
	deadlineSlack = 8

	// farewell is how long a client that is still sending has to read why we stop,
	// and farewellBytes what it may send meanwhile.
	farewell      = time.Second
	farewellBytes = 256 << 10
)

// edgeConn is a client's connection as fasthttp sees it: authenticated below,
// strictly checked on the way in, with rolling deadlines and one record per
// request.
//
// All but the first two groups of fields belongs to the one goroutine that serves
// the connection.
type edgeConn struct {
	listener *listener
	tls      *tlsterm.Conn
	gate     *http1gate.Conn
	remote   string
	domain   *domain
	slot     int            // in domain.conns; live.mu guards it
	abort    upstream.Abort // of the request that waits for a backend

	mu sync.Mutex
	standing
	refusal atomic.Pointer[refusal] // written with mu held, once
	busy    atomic.Bool             // there is a request whose response is not out

	exchange *exchange // that request
	parked   bool      // fasthttp was told that the stream ended, though it has not
	unread   bool      // the client may be sending what nobody will read
	padded   bool      // its chain has certificates that its path did not need
	first    [1]byte   // of the next request, read while parked
	hasFirst bool

	began           time.Time // of the current request
	received, sent  int64     // octets since the record before
	readErr         error     // of the last read of the current request
	writeErr        error     // of the first write that failed
	readBy, writeBy time.Time // deadlines as set
	spelled         names
	memo            *memo // nil while it rests
}

// memo is what a connection that serves remembers from one request to the next,
// because they are mostly alike.
type memo struct {
	recorded telemetry.Memo
	granted  granted
	now      time.Time // a reading of the clock from a moment ago; zero: there is none
}

// memos are reused. What another connection left in one is of no use and no harm:
// everything in it says what it is about.
var memos = sync.Pool{New: func() any { return new(memo) }}

// remember makes sure that there is a memo.
func (c *edgeConn) remember() {
	if c.memo == nil {
		c.memo = memos.Get().(*memo)
	}
}

// forget gives the memo back.
func (c *edgeConn) forget() {
	if c.memo != nil {
		c.memo.now = time.Time{}
		memos.Put(c.memo)
		c.memo = nil
	}
}

func (l *listener) newEdgeConn(conn *tlsterm.Conn) *edgeConn {
	c := &edgeConn{listener: l, tls: conn, remote: conn.Remote().String()}
	if peer := conn.Peer(); peer != nil {
		c.path, c.grade = peer.Path(), peer.Grade()
		c.padded = isPadded(conn.Chain(), c.path)
	}
	c.gate = http1gate.New(conn, &l.limits, c.refuseMalformed)
	return c
}

// serve serves the connection from its beginning, on a goroutine of its own.
func (c *edgeConn) serve() {
	resting := false
	defer c.end(&resting)
	if c.arrive(time.Now()) {
		resting = c.run(time.Time{})
	}
}

// run serves requests. The first has to begin before by, and later ones within the
// idle time-out, as does the first if by is zero. It returns when the connection has
// ended, or true when it rests: then it is another goroutine's, and must not be touched
// any more.
//
// fasthttp keeps its buffers for as long as it serves a connection. Therefore it
// is told that the stream ended when there was no request for a while, and called
// again when the next one is there.
func (c *edgeConn) run(by time.Time) (resting bool) {
	limit := parkAfter
	for {
		c.parked = false
		switch err := c.await(limit, by); {
		case err == nil:
			err = c.listener.server.ServeConn(c)
			c.finish()
			c.settle(err)
			if err != nil || !c.parked {
				return false
			}
			by = time.Time{}
		case !errors.Is(err, os.ErrDeadlineExceeded) || !by.IsZero() && !time.Now().Before(by):
			return false
		}
		limit = c.listener.options.IdleTimeout
		if by.IsZero() {
			by = time.Now().Add(limit + limit/deadlineSlack)
		}
		// A part of a request does not rest: its header has a time-out of its own.
		if c.gate.Idle() {
			if c.readUntil(by) != nil || c.ending() {
				return false
			}
			c.forget()
			go c.rest(by)
			return true
		}
	}
}

// rest waits for a request on a goroutine of its own. The one that served had to
// grow its stack to 8 KiB or more for that and would keep it; this one has 2 KiB until
// it serves.
func (c *edgeConn) rest(by time.Time) {
	c.tls.AwaitOctets()
	c.resume(by)
}

// resume serves a connection that has rested. If what came is no request, such as half a
// record, it rests again, and the time goes on counting from where the first rest began:
// nobody is to stay for longer by that.
func (c *edgeConn) resume(by time.Time) {
	resting := false
	defer c.end(&resting)
	resting = c.run(by)
}

// await waits for a request, for as long as limit and, unless it is zero, until by. Its
// whole header block is there when it returns nil, and well-formed. Whatever else went
// wrong, nobody waits for an answer.
func (c *edgeConn) await(limit time.Duration, by time.Time) error {
	if err := c.readWithin(limit); err != nil {
		return err
	}
	if !by.IsZero() && by.Before(c.readBy) {
		if err := c.readUntil(by); err != nil {
			return err
		}
	}
	if c.ending() {
		return net.ErrClosed
	}
	if n, err := c.gate.Read(c.first[:]); n == 0 {
		return err
	}
	c.hasFirst = true
	c.occupy()
	return nil
}

// ending reports whether no further request is to be waited for. It is looked at
// after the read deadline was set: whoever decides now that it ends sets its own
// deadline behind that, and what was decided before is seen.
func (c *edgeConn) ending() bool {
	return c.refusal.Load() != nil || c.listener.gateway.draining.Load()
}

// occupy notes that a request has begun.
func (c *edgeConn) occupy() {
	c.busy.Store(true)
	// Whoever refuses the caller looks at busy after that. One of us sees the other.
	if r := c.refusal.Load(); r != nil {
		c.mu.Lock()
		c.bound(r)
		c.mu.Unlock()
	}
}

// end closes the connection, whatever ended it, unless it rests.
func (c *edgeConn) end(resting *bool) {
	var failure error
	if mistake := recover(); mistake != nil {
		failure = errPanicked
		c.listener.gateway.options.Log.Error("panic while serving a connection", "panic", mistake, "conn_id", c.tls.ID())
	} else if *resting {
		return
	}
	c.settle(failure)
	c.forget()
	if c.unread || c.gate.Violation() != nil {
		// Closing with octets unread makes the kernel send RST, which would overtake
		// the response.
		_ = c.tls.SetReadDeadline(time.Now().Add(farewell))
		_, _ = io.CopyN(io.Discard, c.tls, farewellBytes)
	}
	c.tls.Close()
	if r := c.refusal.Load(); r != nil {
		c.recordRefusal(r)
	}
	c.listener.gateway.forget(c)
}

// finish sends the last response, if that was kept back, and the goodbye. It comes before
// the record, which says whether the client could be reached.
func (c *edgeConn) finish() {
	if err := c.tls.Finish(c.listener.options.WriteTimeout); err != nil && c.writeErr == nil {
		c.writeErr = err
	}
}

var errPanicked = errors.New("panic while serving a connection")

// state follows fasthttp's view of the connection.
func (c *edgeConn) state(s fasthttp.ConnState) {
	switch s {
	case fasthttp.StateActive:
		c.occupy()
		c.began, c.readErr = time.Now(), nil
		c.remember()
		c.memo.now = time.Time{}
	case fasthttp.StateIdle: // the response is flushed
		if x := c.exchange; x != nil && x.instead != nil {
			panic(errKeptBack) // the next one would be sent in its place; this ends the connection
		}
		c.settle(nil)
		c.busy.Store(false)
	}
}

// interrupt makes a read that waits for the next request return.
func (c *edgeConn) interrupt() { _ = c.gate.SetReadDeadline(time.Unix(1, 0)) }

// Read implements [net.Conn]. Only well-formed requests come through. Waiting for
// a request and waiting for more of a body have time-outs of their own; that of an
// incomplete header is the gate's.
func (c *edgeConn) Read(p []byte) (n int, err error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case c.hasFirst:
		p[0], c.hasFirst = c.first[0], false
		n, err = c.gate.Read(p[1:]) // does not wait: the block is there
		n++
	case c.busy.Load():
		if err = c.readWithin(c.listener.options.BodyTimeout); err == nil {
			n, err = c.gate.Read(p)
		}
		c.readErr = err
	default:
		n, err = c.readIdle(p)
	}
	c.received += int64(n)
	return n, err
}

// readIdle waits for the next request, but not for long.
func (c *edgeConn) readIdle(p []byte) (int, error) {
	if err := c.readWithin(parkAfter); err != nil {
		return 0, err
	}
	if c.ending() {
		return 0, io.EOF
	}
	n, err := c.gate.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.parked = true
		return 0, io.EOF
	}
	return n, err
}

// takeNow returns what time it is: a reading from a moment ago, which serves once, or
// else one that it makes.
func (c *edgeConn) takeNow() time.Time {
	if c.memo == nil || c.memo.now.IsZero() {
		return time.Now()
	}
	now := c.memo.now
	c.memo.now = time.Time{}
	return now
}

// readWithin makes reads fail that wait longer than limit.
func (c *edgeConn) readWithin(limit time.Duration) error {
	now := c.takeNow()
	if left := c.readBy.Sub(now); left >= limit && left <= limit+limit/deadlineSlack {
		return nil
	}
	return c.readUntil(now.Add(limit + limit/deadlineSlack))
}

// readUntil makes reads fail that wait until by.
func (c *edgeConn) readUntil(by time.Time) error {
	c.readBy = by
	return c.gate.SetReadDeadline(by)
}

// Write implements [net.Conn]. A client must take something off our hands within
// every WriteTimeout; how long the whole response takes is its own affair.
//
// fasthttp cannot send a response that is octets already. It is given an empty one
// to write, which is one Write, and what goes out is in instead. Whatever else it
// writes then goes nowhere, and neither does instead: the connection ends.
func (c *edgeConn) Write(p []byte) (int, error) {
	x := c.exchange
	if x == nil || x.instead == nil {
		return c.write(p)
	}
	if !isEmptyResponse(p) {
		return 0, errKeptBack
	}
	octets := x.instead
	x.instead = nil
	if _, err := c.write(octets); err != nil {
		return 0, err
	}
	return len(p), nil
}

var errKeptBack = errors.New("fasthttp did not write a response at once and by itself")

// isEmptyResponse reports whether p is one response without a body, and nothing else.
func isEmptyResponse(p []byte) bool {
	const end = "\r\n\r\n"
	return bytes.HasPrefix(p, []byte("HTTP/1.1 200 ")) && bytes.Index(p, []byte(end)) == len(p)-len(end)
}

func (c *edgeConn) write(p []byte) (int, error) {
	limit, now := c.listener.options.WriteTimeout, c.takeNow()
	if c.writeBy.Sub(now) < limit {
		c.writeBy = now.Add(limit + limit/deadlineSlack)
		if err := c.tls.SetWriteDeadline(c.writeBy); err != nil {
			return 0, err
		}
	}
	n, err := c.tls.Write(p)
	c.sent += int64(n)
	if err != nil && c.writeErr == nil {
		c.writeErr = err
	}
	return n, err
}

// lost returns why a connection cannot be read from or written to any more.
func (c *edgeConn) lost(err error) Reason {
	switch {
	case !errors.Is(err, net.ErrClosed):
		return ReasonClientGone
	case c.refusal.Load() != nil:
		return ReasonTrustChanged
	case c.listener.gateway.draining.Load():
		return ReasonDrained
	default:
		return ReasonConnectionExpired // nobody else closes it under our hands
	}
}

// Close implements [net.Conn] for fasthttp, which has done with the connection
// when it calls it. We may not; see [edgeConn.run].
func (c *edgeConn) Close() error { return nil }

// LocalAddr implements [net.Conn].
func (c *edgeConn) LocalAddr() net.Addr { return c.tls.LocalAddr() }

// RemoteAddr implements [net.Conn].
func (c *edgeConn) RemoteAddr() net.Addr { return c.tls.RemoteAddr() }

// SetDeadline implements [net.Conn]; deadlines are set here alone.
func (c *edgeConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements [net.Conn]; see [edgeConn.SetDeadline].
func (c *edgeConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements [net.Conn]; see [edgeConn.SetDeadline].
func (c *edgeConn) SetWriteDeadline(time.Time) error { return nil }
