package http1gate

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Conn is a connection whose reader sees only octets of strictly well-formed
// HTTP/1.1 requests. Everything else is the wrapped connection's.
//
// Read, [Conn.Settle] and [Conn.Tunnel] belong to the one goroutine that serves
// the connection; the other methods may be called concurrently. A Conn holds no
// buffer while it waits for a request.
type Conn struct {
	net.Conn

	limits *Limits
	refuse func(*Violation) []byte

	violation atomic.Pointer[Violation]
	deadline  atomic.Int64 // the server's read deadline in Unix nanoseconds; 0 is none

	phase    phase
	armed    bool  // the header deadline is set in place of the server's
	readErr  error // came together with octets; reported behind them
	held     *buffer
	headLeft int // octets of a judged header block that wait in held
	head     head
	body     body
}

// phase is what the next octets are.
type phase uint8

const (
	inHead   phase = iota
	headHeld       // a judged header block that the reader has not taken whole
	inBody
	tunnelled // not HTTP any more
	ended     // nothing the server is to see
)

// refusalTimeout bounds the writing of a refusal: a peer that does not read must
// not keep the goroutine.
const refusalTimeout = 5 * time.Second

// New wraps c. l may be nil and must not be modified afterwards.
//
// refuse is called once, on the reading goroutine, when a header block is
// refused, and returns the whole response to write before the reader is told
// that the stream ended. If it is nil or returns nil, a response without a body
// is written. It is not called for a violation in a body: the server has the
// request by then and answers it.
func New(c net.Conn, l *Limits, refuse func(*Violation) []byte) *Conn {
	if l == nil {
		l = &noLimits
	}
	return &Conn{Conn: c, limits: l, refuse: refuse}
}

// Violation returns why the connection was refused, or nil.
func (c *Conn) Violation() *Violation { return c.violation.Load() }

// Idle reports whether nothing has arrived of the next request. It belongs to the
// goroutine that reads.
func (c *Conn) Idle() bool { return c.phase == inHead && c.held == nil && c.readErr == nil }

// Tunnel lets all further octets pass unjudged, beginning with those that the
// peer sent behind the request that is being served. It is to be called when the
// protocol is switched, before the connection is hijacked.
func (c *Conn) Tunnel() { c.phase = tunnelled }

// Settle is to be called when the handler for a request has decided its
// response. If the handler has not read the body to its end, fasthttp would take
// the rest of it for the next request, past the gate. Settle reads that rest when
// it has already arrived and makes the connection close otherwise. It never
// waits for the peer.
func (c *Conn) Settle(ctx *fasthttp.RequestCtx) {
	if c.phase == inBody || c.phase == headHeld {
		c.end()
		ctx.SetConnectionClose()
		return
	}
	stream := ctx.RequestBodyStream()
	if stream == nil {
		return
	}
	// Read hands out one request at a time, so this is in the server's buffer.
	if _, err := io.Copy(io.Discard, stream); err != nil {
		c.end()
		ctx.SetConnectionClose()
	}
}

// Read reads octets of one request into p, which it uses as its work space, and
// returns no octet of a request before the whole header block was judged.
//
// A refused header block is answered and then reads as io.EOF. A violation in a
// body is the error. A body that ends early is io.ErrUnexpectedEOF.
func (c *Conn) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for n == 0 && err == nil {
		switch c.phase {
		case inHead:
			n, err = c.readHead(p)
		case headHeld:
			n = c.takeHead(p)
		case inBody:
			n, err = c.readBody(p)
		case tunnelled:
			if n = c.held.take(p); n == 0 {
				c.release()
				return c.fill(p)
			}
		case ended:
			if v := c.violation.Load(); v != nil && c.body.state != bodyDone {
				return 0, v
			}
			return 0, io.EOF
		}
	}
	return n, err
}

// readHead reads and judges the next header block. A block that arrives at once
// and fits p is judged where it lies.
func (c *Conn) readHead(p []byte) (int, error) {
	if c.held != nil {
		return c.gatherHead()
	}
	n, err := c.fill(p)
	if err != nil {
		return 0, err
	}
	end, v := c.head.judge(p[:n], c.limits)
	if v != nil {
		return c.reject(v)
	}
	if end == 0 {
		c.hold(p[:n])
		return c.gatherHead()
	}
	if lead := c.head.lead; lead > 0 {
		n, end = copy(p, p[lead:n]), end-lead
	}
	c.body.begin(&c.head)
	return end + c.judgeBody(p[end:], n-end), nil
}

// gatherHead reads on until the header block at the front of the held octets is
// complete. It returns nothing: the block is taken from there.
func (c *Conn) gatherHead() (int, error) {
	for {
		end, v := c.head.judge(c.held.octets(), c.limits)
		if v != nil {
			return c.reject(v)
		}
		if end > 0 {
			c.held.skip(c.head.lead)
			c.headLeft = end - c.head.lead
			c.phase = headHeld
			c.disarm()
			return 0, nil
		}
		c.arm()
		n, err := c.fill(c.held.space())
		c.held.grown(n)
		switch {
		case err == nil:
		case err == io.EOF:
			c.end()
			return 0, io.EOF
		case c.armed && errors.Is(err, os.ErrDeadlineExceeded):
			return c.reject(headerTimeout)
		default:
			return 0, err
		}
	}
}

// takeHead moves the held header block, or as much as fits, to p.
func (c *Conn) takeHead(p []byte) int {
	n := c.held.take(p[:min(len(p), c.headLeft)])
	if c.headLeft -= n; c.headLeft == 0 {
		c.body.begin(&c.head)
		c.advance()
	}
	return n
}

// readBody reads octets of the body, first those that are held.
func (c *Conn) readBody(p []byte) (int, error) {
	if c.body.state == bodyTail {
		return c.judgeBody(p, 0), nil
	}
	if held := c.held.octets(); len(held) > 0 {
		n := copy(p, held)
		used, kept, v := c.body.judge(p[:n], c.limits)
		if v != nil {
			c.fail(v)
			return kept, nil
		}
		c.held.skip(used)
		kept += c.body.takeTail(p[kept:])
		c.advance()
		return kept, nil
	}
	c.release()
	n, err := c.fill(p)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	return c.judgeBody(p, n), nil
}

// judgeBody judges the first n octets of p, which come from the connection, and
// returns how many octets in the front of p are for the server. What belongs to
// the next request is held.
func (c *Conn) judgeBody(p []byte, n int) int {
	used, kept, v := c.body.judge(p[:n], c.limits)
	if v != nil {
		c.fail(v)
		return kept
	}
	if used < n {
		c.hold(p[used:n])
	}
	kept += c.body.takeTail(p[kept:])
	c.advance()
	return kept
}

// advance goes from the header block to the body, or from the end of the body to
// the next request. What follows is judged only when the server asks for it: by
// then it is known whether this is still HTTP.
func (c *Conn) advance() {
	if c.body.state != bodyDone {
		c.phase = inBody
		return
	}
	if c.head.has.last() {
		c.end()
		return
	}
	c.phase, c.head = inHead, head{}
	if len(c.held.octets()) == 0 {
		c.release()
	}
}

// reject refuses a request of which the server has seen nothing.
func (c *Conn) reject(v *Violation) (int, error) {
	c.fail(v)
	c.body.state = bodyDone
	var response []byte
	if c.refuse != nil {
		response = c.refuse(v)
	}
	if response == nil {
		response = v.response()
	}
	// The peer may be gone or not reading; either way the stream ends here.
	_ = c.Conn.SetWriteDeadline(time.Now().Add(refusalTimeout)) // a failing connection ends anyway
	_, _ = c.Conn.Write(response)
	return 0, io.EOF
}

// fail ends the stream because of v.
func (c *Conn) fail(v *Violation) {
	c.violation.Store(v)
	c.end()
}

// end makes the stream end for the server, whatever the peer sends.
func (c *Conn) end() {
	c.phase = ended
	c.release()
}

// fill reads from the connection at least one octet or an error, never both.
func (c *Conn) fill(p []byte) (n int, err error) {
	if c.readErr != nil {
		return 0, c.readErr
	}
	for n == 0 && err == nil {
		n, err = c.Conn.Read(p)
	}
	if n > 0 {
		c.readErr, err = err, nil
	}
	return n, err
}

// SetReadDeadline sets the deadline of the wrapped connection and remembers it,
// because the gate has one of its own while a header block is incomplete.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.remember(t)
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline is SetReadDeadline for both directions.
func (c *Conn) SetDeadline(t time.Time) error {
	c.remember(t)
	return c.Conn.SetDeadline(t)
}

func (c *Conn) remember(t time.Time) {
	if t.IsZero() {
		c.deadline.Store(0)
		return
	}
	c.deadline.Store(t.UnixNano())
}

// arm bounds the wait for the rest of a header block, unless the server's
// deadline does.
func (c *Conn) arm() {
	if c.armed {
		return
	}
	due := time.Now().Add(c.limits.headerTimeout())
	if set := c.deadline.Load(); set != 0 && set < due.UnixNano() {
		return
	}
	c.armed = c.Conn.SetReadDeadline(due) == nil
	// Somebody who wants the connection to end may have set his own in between.
	if set := c.deadline.Load(); set != 0 && set < due.UnixNano() {
		c.disarm()
	}
}

// disarm puts the server's deadline back.
func (c *Conn) disarm() {
	if !c.armed {
		return
	}
	c.armed = false
	for {
		set := c.deadline.Load()
		var t time.Time
		if set != 0 {
			t = time.Unix(0, set)
		}
		_ = c.Conn.SetReadDeadline(t) // fails on a closed connection only, which the next read tells
		if c.deadline.Load() == set {
			return
		}
	}
}
