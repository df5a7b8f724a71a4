package upstream

import (
	"bufio"
	"time"

	"github.com/valyala/fasthttp"
)

// exchange sends the request and receives the response header, at the moment that
// it returns as answered. If it succeeds, c and b are disposed of when the response
// has been read; if it fails or panics, c is given up and b still the caller's. again
// says whether the request may be sent on another connection, and unread that the
// request's body was not read to its end.
//
// The clock is read once, when the response is there: to read it takes as long as to
// parse half of a header.
func (c *conn) exchange(b *buffers, call *Call, now time.Time) (unread, again bool, answered time.Time, err *Error) {
	done := false
	defer func() {
		if !done { // also after a panic: whoever recovers from it knows nothing of c
			c.abandon()
		}
	}()
	r, resp := &b.request, call.Response
	sent := c.wire.sent
	c.answered, c.final, c.interim, c.verbatim.status = false, false, 0, 0
	whole := r.stream == nil
	if failure := c.send(r.out, whole, now); failure != nil {
		err = c.broken(failure)
	} else if !whole {
		err = c.sendRest(b, resp)
		now = time.Now()
	}
	if err == nil && !c.final {
		verbatim := call.Verbatim
		if r.head {
			verbatim = nil // its length is of no body
		}
		err = c.readHead(b.in, resp, verbatim, now)
	}
	if err == nil {
		answered = time.Now()
		if !c.trusted(answered) {
			err = c.fault(ReasonUntrusted, errDistrusted) // since it was asked
		}
	}
	unread = r.stream != nil
	if err != nil {
		untouched := c.wire.sent == sent
		again = c.reused && !c.answered && err.Reason == ReasonClosed && (untouched || whole && r.idempotent)
		return unread, again, answered, err
	}
	err = c.receive(b, call, answered)
	done = err == nil
	return unread, false, answered, err
}

// maxHeld bounds what a connection keeps of a request beyond its buffers.
const maxHeld = 4 << 10

// send writes out. The last octets of a small request leave together with the
// wait for the response.
func (c *conn) send(out []byte, last bool, now time.Time) error {
	c.wire.hold, c.wire.now = last && len(out) <= maxHeld, now
	_, err := c.stream.Write(out)
	c.wire.hold = false
	return err
}

// sendRest streams the rest of the body. If it returns early because of an error
// response, the stream of the request is left where it is.
func (c *conn) sendRest(b *buffers, resp *fasthttp.Response) *Error {
	r := &b.request
	for r.stream != nil {
		var err error
		if r.out, err = r.more(r.out[:0]); err != nil {
			// Not a word more, and no terminator: exchange closes c.
			return c.fault(ReasonRequestBody, err)
		}
		if len(r.out) == 0 {
			continue
		}
		now := time.Now()
		if !c.trusted(now) {
			return c.fault(ReasonUntrusted, errDistrusted)
		}
		if stop, err := c.readEarly(b.in, resp, now); stop || err != nil {
			return err
		}
		if err := c.send(r.out, r.stream == nil && !c.final, now); err != nil {
			// It often is closed because the answer was given already.
			if _, early := c.readEarly(b.in, resp, now); early == nil && c.final {
				return nil
			}
			return c.broken(err)
		}
	}
	return nil
}

// readEarly reads the response header if the backend answers before it has seen
// the whole request (RFC 9112 §9.5). stop is set if that answer is an error, so
// that the rest need not be sent.
func (c *conn) readEarly(in *bufio.Reader, resp *fasthttp.Response, now time.Time) (stop bool, err *Error) {
	if c.final {
		return false, nil
	}
	if err := c.wire.readWithin(c.u.o.ResponseTimeout, now); err != nil {
		return false, c.broken(err)
	}
	for !c.final {
		switch err := c.look(in); err {
		case errNothing:
			return false, nil
		case nil:
			// After an interim response the backend waits for the rest of the body: to
			// wait for its final one here would be to wait for each other.
			if err := c.readOneHead(in, resp, nil); err != nil {
				return false, err
			}
		default:
			return false, c.broken(err)
		}
	}
	return resp.StatusCode() >= fasthttp.StatusBadRequest, nil
}

// abandon ends an exchange that failed.
func (c *conn) abandon() {
	c.detach()
	c.close()
	c.u.leave(c.e)
}

// dispose ends an exchange. c is pooled if keep is set and nothing arrived that
// was not asked for.
func (c *conn) dispose(b *buffers, keep bool, now time.Time) {
	if c.detach() && keep && b.in.Buffered() == 0 {
		c.release(now)
	} else {
		c.close()
	}
	b.free()
	c.u.leave(c.e)
}
