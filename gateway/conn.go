package gateway

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/http1gate"
	"verigate/tlsterm"
	"verigate/trust"
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
// All but busy belongs to the one goroutine that serves the connection.
type edgeConn struct {
	listener *listener
	tls      *tlsterm.Conn
	gate     *http1gate.Conn
	remote   string

	// The caller as it was judged last; see [edgeConn.current].
	judged *trust.Snapshot
	path   *certpath.Path
	grade  assurance.Grade

	exchange *exchange   // the request being answered, until its response is out
	busy     atomic.Bool // tells the drain whether there is one
	parked   bool        // fasthttp was told that the stream ended, though it has not
	unread   bool        // the client may be sending what nobody will read
	first    [1]byte     // of the next request, read while parked
	hasFirst bool

	began           time.Time // of the current request
	received, sent  int64     // octets since the record before
	readErr         error     // of the last read of the current request
	writeErr        error     // of the first write that failed
	readBy, writeBy time.Time // deadlines as set
	spelled         names
}

func (l *listener) newEdgeConn(conn *tlsterm.Conn) *edgeConn {
	c := &edgeConn{listener: l, tls: conn, remote: conn.Remote().String()}
	if peer := conn.Peer(); peer != nil {
		c.path, c.grade = peer.Path(), peer.Grade()
		if s := l.gateway.options.Trust.Load(); s.Digest() == peer.Snapshot() {
			c.judged = s
		}
	}
	c.gate = http1gate.New(conn, &l.limits, c.refuseMalformed)
	return c
}

// serve serves the connection until it ends.
//
// fasthttp keeps its buffers for as long as it serves a connection. Therefore it
// is told that the stream ended when there was no request for a while, and called
// again when the next one is there.
func (c *edgeConn) serve() {
	defer c.end()
	for c.await() {
		err := c.listener.server.ServeConn(c)
		c.settle(err)
		if err != nil || !c.parked {
			return
		}
	}
}

// await waits for a request and reports whether there is one. Its whole header
// block is there then, and well-formed.
func (c *edgeConn) await() bool {
	c.parked = false
	if c.readWithin(c.listener.options.IdleTimeout) != nil || c.listener.gateway.draining.Load() {
		return false
	}
	n, _ := c.gate.Read(c.first[:]) // whatever went wrong, nobody waits for an answer
	if n == 0 {
		return false
	}
	c.hasFirst = true
	c.busy.Store(true)
	return true
}

// end closes the connection, whatever ended it.
func (c *edgeConn) end() {
	var failure error
	if mistake := recover(); mistake != nil {
		failure = errPanicked
		c.listener.gateway.options.Log.Error("panic while serving a connection", "panic", mistake, "conn_id", c.tls.ID())
	}
	c.settle(failure)
	if c.unread || c.gate.Violation() != nil {
		// Closing with octets unread makes the kernel send RST, which would overtake
		// the response.
		_ = c.tls.SetReadDeadline(time.Now().Add(farewell))
		_, _ = io.CopyN(io.Discard, c.tls, farewellBytes)
	}
	c.tls.Close()
	c.listener.gateway.forget(c)
}

var errPanicked = errors.New("panic while serving a connection")

// current reports whether the caller is still accepted: the snapshot by which it
// was judged is the one in force, or it is accepted by that too, and its path has
// not ended. As long as nothing was published that costs an atomic load.
//
// Trust that changes ends a connection with its next request (REV-05).
func (c *edgeConn) current(now time.Time) (rejection *certpath.Error, ok bool) {
	if snapshot := c.listener.gateway.options.Trust.Load(); snapshot != c.judged {
		if rejection, ok := c.judge(snapshot); !ok {
			return rejection, false
		}
	}
	return nil, !now.After(c.path.NotAfter())
}

// judge judges the caller anew. What it presented is the path without the anchor,
// or more: the key of the verdict in the cache is mostly that of the handshake.
func (c *edgeConn) judge(snapshot *trust.Snapshot) (rejection *certpath.Error, ok bool) {
	presented := c.path.Certificates()
	if len(presented) > 1 {
		presented = presented[:len(presented)-1]
	}
	cache := c.listener.gateway.options.Cache
	verdict := cache.Verify(presented, certpath.RoleClient, c.listener.scope, snapshot)
	if !verdict.Accepted() {
		return verdict.Err, false
	}
	c.judged, c.path, c.grade = snapshot, verdict.Path, verdict.Grade
	cache.Remember(&verdict) // the key was proven when the connection began
	return nil, true
}

// state follows fasthttp's view of the connection.
func (c *edgeConn) state(s fasthttp.ConnState) {
	switch s {
	case fasthttp.StateActive:
		c.busy.Store(true)
		c.began, c.readErr = time.Now(), nil
	case fasthttp.StateIdle: // the response is flushed
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
	// Looked at after the deadline was set: a drain that begins now sets its own
	// behind ours, one that began before is seen here.
	if c.listener.gateway.draining.Load() {
		return 0, io.EOF
	}
	n, err := c.gate.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.parked = true
		return 0, io.EOF
	}
	return n, err
}

// readWithin makes reads fail that wait longer than limit.
func (c *edgeConn) readWithin(limit time.Duration) error {
	now := time.Now()
	if left := c.readBy.Sub(now); left >= limit && left <= limit+limit/deadlineSlack {
		return nil
	}
	c.readBy = now.Add(limit + limit/deadlineSlack)
	return c.gate.SetReadDeadline(c.readBy)
}

// Write implements [net.Conn]. A client must take something off our hands within
// every WriteTimeout; how long the whole response takes is its own affair.
func (c *edgeConn) Write(p []byte) (int, error) {
	limit, now := c.listener.options.WriteTimeout, time.Now()
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
	case c.listener.gateway.draining.Load():
		return ReasonDrained
	default:
		return ReasonConnectionExpired // nobody else closes it under our hands
	}
}

// Close implements [net.Conn] for fasthttp, which has done with the connection
// when it calls it. We may not; see [edgeConn.serve].
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
