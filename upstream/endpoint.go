package upstream

import (
	"bufio"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"verigate/workloadid"
)

// coolDown is how long an endpoint that could not be connected is asked only
// when there is no other one.
const coolDown = 3 * time.Second

// endpoint is one address with its pooled connections.
type endpoint struct {
	name             string // as configured
	network, address string

	inFlight  atomic.Int64
	requests  atomic.Uint64
	errors    atomic.Uint64
	coldUntil atomic.Int64 // UnixNano

	mu   sync.Mutex
	open int     // connections, idle or not, and those being dialled
	idle []*conn // by idleSince; the last is used first

	lastError   string
	lastErrorAt time.Time
	peerID      workloadid.ID
	peerUntil   time.Time
}

// conn is one connection to a backend. One request at a time uses it.
type conn struct {
	u      *Upstream
	e      *endpoint
	wire   *wire
	stream net.Conn // wire, or TLS over it
	peer   *backend // nil when plain

	idleSince time.Time
	reused    bool
	hangUp    func() // closes the transport; what an Abort calls

	// Of the current exchange.
	abort    *Abort
	answered bool // octets of the response were read
	final    bool // the final response header was read
	interim  int  // interim response headers that were read

	// The response as it is in the buffer, if Verbatim has taken its header.
	verbatim struct{ status, head, body int }
}

// take returns an idle connection that may carry another request and has
// nothing to say, or, if there is none or fresh is set, a new one; abort can close
// it from then on. A nil conn and a nil error mean that the endpoint is at its
// limit.
func (e *endpoint) take(u *Upstream, in *bufio.Reader, abort *Abort, now time.Time, fresh bool) (*conn, *Error) {
	// An aborted request takes no connection with it.
	for !fresh && !abort.Aborted() {
		c := e.pop()
		if c == nil {
			break
		}
		c.reused = true
		if c.reusable(now) && c.silent(in, now) && c.attach(abort) {
			return c, nil
		}
		c.close()
	}
	e.mu.Lock()
	if e.open >= u.o.MaxConns {
		e.mu.Unlock()
		return nil, nil
	}
	e.open++
	e.mu.Unlock()

	c, err := u.dial(e, abort)
	if err != nil {
		e.mu.Lock()
		e.open--
		e.mu.Unlock()
		if !abort.Aborted() {
			e.coldUntil.Store(time.Now().Add(coolDown).UnixNano())
		}
		return nil, err
	}
	e.coldUntil.Store(0)
	in.Reset(c.stream)
	e.mu.Lock()
	if c.peer != nil {
		e.peerID, e.peerUntil = c.peer.id, c.peer.path.NotAfter()
	}
	e.mu.Unlock()
	return c, nil
}

func (e *endpoint) pop() *conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	last := len(e.idle) - 1
	if last < 0 {
		return nil
	}
	c := e.idle[last]
	e.idle[last] = nil
	e.idle = e.idle[:last]
	return c
}

// attach makes abort close c until detach is called. It returns false if it is too
// late for an exchange.
func (c *conn) attach(abort *Abort) bool {
	if !abort.begin(&c.hangUp) {
		return false
	}
	c.abort = abort
	return true
}

// detach returns false if c was aborted, so that it is of no further use.
func (c *conn) detach() bool {
	abort := c.abort
	c.abort = nil
	return abort.end(&c.hangUp)
}

// reusable reports whether c may carry another request: the backend would still
// be accepted and the gateway would still present the same credential (UP-12).
func (c *conn) reusable(now time.Time) bool {
	return c.trusted(now) && (c.peer == nil || c.u.judge.stillPresented(c.peer))
}

// trusted reports whether what arrives on c still comes from an accepted backend.
func (c *conn) trusted(now time.Time) bool {
	return c.peer == nil || c.u.judge.stillTrusted(c.peer, c.u.clock(now))
}

// silent reports whether the backend neither closed the connection nor sent
// anything that nobody asked for, and attaches in to it. Such octets, often a
// 408 for an idle connection, would be taken for the answer to the next request,
// which is another caller's.
func (c *conn) silent(in *bufio.Reader, now time.Time) bool {
	if c.wire.readWithin(c.u.o.ResponseTimeout, now) != nil {
		return false
	}
	in.Reset(c.stream)
	return c.look(in) == errNothing
}

// look returns nil if octets of the backend are there, errNothing if none are,
// and otherwise why there will be none. It never waits.
func (c *conn) look(in *bufio.Reader) error {
	c.wire.looking = true
	_, err := in.Peek(1)
	c.wire.looking = false
	return err
}

// release makes c available for the next request.
func (c *conn) release(now time.Time) {
	c.idleSince = now
	e := c.e
	e.mu.Lock()
	if c.u.closed.Load() {
		e.mu.Unlock()
		c.close()
		return
	}
	e.idle = append(e.idle, c)
	e.mu.Unlock()
}

// close ends c for good. The transport is closed first: a TLS farewell could
// tell the backend that an unfinished request was all there is.
func (c *conn) close() {
	c.wire.Conn.Close()
	c.e.mu.Lock()
	c.e.open--
	c.e.mu.Unlock()
}

// sweep closes the idle connections that were not used since before, and those
// that no request may use any more.
func (e *endpoint) sweep(before, now time.Time) {
	var ended []*conn
	e.mu.Lock()
	e.idle = slices.DeleteFunc(e.idle, func(c *conn) bool {
		end := c.idleSince.Before(before) || !c.reusable(now)
		if end {
			ended = append(ended, c)
		}
		return end
	})
	e.mu.Unlock()
	for _, c := range ended {
		c.close()
	}
}

// failed records err for the operator.
func (e *endpoint) failed(err *Error) {
	e.errors.Add(1)
	text, at := err.Reason, time.Now()
	if err.Err != nil {
		text += ": " + err.Err.Error()
	}
	e.mu.Lock()
	e.lastError, e.lastErrorAt = text, at
	e.mu.Unlock()
}
