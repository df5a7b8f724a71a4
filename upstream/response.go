package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// bufferBytes is the size of the buffer in each direction, and therefore the
// largest response header that is accepted.
const bufferBytes = 16 << 10

// maxInterim bounds the interim responses before the final one.
const maxInterim = 16

var (
	errHeaderTooLarge = errors.New("the response header exceeds 16 KiB")
	errHeader         = errors.New("the response header is malformed") // never quoted: it may hold secrets
	errInterim        = errors.New("there are too many interim responses")
	errSwitch         = errors.New("the backend switches protocols, which was not asked for")
	errChunk          = errors.New("the response body has a malformed chunk")
	errDistrusted     = errors.New("the backend is not trusted any more")
)

// readHead reads the final response header and drops the interim ones before it.
func (c *conn) readHead(in *bufio.Reader, resp *fasthttp.Response, verbatim *Verbatim, now time.Time) *Error {
	if err := c.wire.readWithin(c.u.o.ResponseTimeout, now); err != nil {
		return c.broken(err)
	}
	for !c.final {
		if err := c.readOneHead(in, resp, verbatim); err != nil {
			return err
		}
	}
	return nil
}

// readOneHead reads one response header; final says whether it was an interim one. If
// it is of a response for verbatim, which may be nil, that has taken it.
func (c *conn) readOneHead(in *bufio.Reader, resp *fasthttp.Response, verbatim *Verbatim) *Error {
	// fasthttp reports whatever goes wrong before the first octet as io.EOF.
	if _, err := in.Peek(1); err != nil {
		return c.broken(err)
	}
	c.answered = true
	if verbatim != nil {
		arrived, _ := in.Peek(in.Buffered())
		if c.verbatim.status, c.verbatim.head, c.verbatim.body = verbatim.take(arrived); c.verbatim.status != 0 {
			c.final = true
			return nil
		}
	}
	hasDate, ends := dated(in)
	if !ends {
		return c.fault(ReasonProtocol, errHeader)
	}
	if !hasDate {
		// A recipient with a clock has to add a Date (RFC 9110 §6.6.1). fasthttp keeps one
		// and writes it unless it was told not to, which this alone takes back: it takes
		// no Date from anybody else.
		resp.Header.Reset()
	}
	if err := resp.Header.Read(in); err != nil {
		return c.brokenHeader(err)
	}
	switch status := resp.StatusCode(); {
	case status == fasthttp.StatusSwitchingProtocols:
		return c.fault(ReasonProtocol, errSwitch)
	case status >= 200:
		c.final = true
		return nil
	case status < 100:
		return c.fault(ReasonProtocol, errHeader)
	}
	if c.interim++; c.interim == maxInterim {
		return c.fault(ReasonProtocol, errInterim)
	}
	return nil
}

// dated reports whether the header block that arrives next needs no Date: it has one, or
// is of an interim response, which goes nowhere. It waits for the block, and leaves it
// to whoever reads it to say what is wrong with it, but for one thing: ends is false if
// the block has its blank line and fasthttp would wait for more, because it looks for
// CRLF CRLF. Whether that comes would depend on the body.
func dated(in *bufio.Reader) (hasDate, ends bool) {
	const name, status = "date:", len("HTTP/1.1 ")
	for at := 0; ; {
		arrived, _ := in.Peek(in.Buffered())
		end := bytes.IndexByte(arrived[at:], '\n')
		if end < 0 {
			if _, err := in.Peek(len(arrived) + 1); err != nil {
				return true, true
			}
			continue
		}
		line, first := arrived[at:at+end], at == 0
		at += end + 1
		switch {
		case first:
			hasDate = len(line) > status && line[status] == '1'
		case len(line) == 0, len(line) == 1 && line[0] == '\r':
			return hasDate, bytes.HasSuffix(arrived[:at], []byte("\r\n\r\n"))
		case len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name)):
			hasDate = true
		}
	}
}

func (c *conn) fault(reason string, err error) *Error {
	return &Error{Reason: reason, Endpoint: c.e.name, Err: err}
}

// broken classifies an error of the connection.
func (c *conn) broken(err error) *Error {
	if isTimeout(err) {
		return c.fault(ReasonTimeout, errors.New("the backend did not answer in time"))
	}
	if failure, ok := errors.AsType[*net.OpError](err); ok && failure.Op == "remote error" && !c.reused {
		// An alert of TLS. In TLS 1.3 the client is done before the server has
		// seen its certificate, so that a refusal arrives as the first answer.
		return c.fault(ReasonConnect, err)
	}
	return c.fault(ReasonClosed, err)
}

// brokenHeader classifies an error behind the first octet of a header.
func (c *conn) brokenHeader(err error) *Error {
	if _, ok := errors.AsType[*fasthttp.ErrSmallBuffer](err); ok {
		return c.fault(ReasonProtocol, errHeaderTooLarge)
	}
	if isTimeout(err) {
		return c.broken(err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isNetwork(err) {
		return c.fault(ReasonClosed, io.ErrUnexpectedEOF)
	}
	return c.fault(ReasonProtocol, errHeader)
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func isNetwork(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}

// receive makes resp ready to be sent to the caller: it decides how the body is
// delimited, takes it over if it is there already, and otherwise lets resp
// stream it. c and b are disposed of, now or at the end of the stream.
func (c *conn) receive(b *buffers, call *Call, now time.Time) *Error {
	resp := call.Response
	if p := &c.verbatim; p.status != 0 {
		if c.interim > 0 {
			resp.Header.Reset() // what an interim one said, such as "Connection: close", is not of this one
		}
		octets, _ := b.in.Peek(p.head + p.body)
		call.Verbatim.complete(p.status, octets[p.head:], now)
		b.in.Discard(len(octets))
		c.dispose(b, true, now)
		return nil
	}
	h := &resp.Header
	unread := b.request.stream != nil
	keep := !unread && keepsAlive(h)
	resp.ResetBody()
	dropConnectionClose(h)
	if unread {
		h.SetConnectionClose() // fasthttp would read the rest as the next request
	}
	h.SetNoDefaultContentType(true)
	h.SetProtocol(http11)
	if err := h.SetTrailerBytes(nil); err != nil {
		return c.fault(ReasonProtocol, errHeader)
	}
	length := h.ContentLength()
	switch status := resp.StatusCode(); {
	case b.request.head, status == fasthttp.StatusNoContent, status == fasthttp.StatusNotModified:
		resp.SkipBody = b.request.head
		if status == fasthttp.StatusNoContent {
			h.Del(fasthttp.HeaderContentLength) // RFC 9110 §8.6, RFC 9112 §6.1
			h.Del(fasthttp.HeaderTransferEncoding)
		}
		c.dispose(b, keep, now)
		return nil
	case length >= 0 && b.in.Buffered() >= length:
		// It came along with the header: one copy is cheaper than a stream, and
		// the connection is free before the caller has read anything.
		octets, _ := b.in.Peek(length)
		resp.SetBody(octets)
		b.in.Discard(length)
		c.dispose(b, keep, now)
		return nil
	}
	body := &responseBody{c: c, buffers: b, keep: keep}
	switch {
	case length >= 0:
		body.framing, body.left = byLength, int64(length)
	case length == chunked:
		body.framing = byChunks
	default:
		body.framing, body.keep, length = byClose, false, chunked
	}
	c.wire.rollRead(c.u.o.BodyIdleTimeout)
	resp.SetBodyStream(body, length)
	// An event stream's header has to arrive before its first event.
	// A header whose body takes its time does not wait for it.
	resp.ImmediateHeaderFlush = b.in.Buffered() == 0
	return nil
}

var http11 = []byte("HTTP/1.1")

// keepsAlive reports whether the backend keeps the connection open.
func keepsAlive(h *fasthttp.ResponseHeader) bool {
	if h.ConnectionClose() {
		return false
	}
	for value := range bytes.SplitSeq(h.Peek(fasthttp.HeaderConnection), []byte(",")) {
		if bytes.EqualFold(bytes.TrimSpace(value), []byte("close")) {
			return false
		}
	}
	return true
}

// dropConnectionClose keeps the end of the backend's connection from ending the
// caller's. Other connection options stay in place: whoever filters the response
// has to see which fields they nominate.
func dropConnectionClose(h *fasthttp.ResponseHeader) {
	if !h.ConnectionClose() {
		return
	}
	var options []string
	for name, value := range h.All() {
		if string(name) == fasthttp.HeaderConnection && string(value) != "close" {
			options = append(options, string(value))
		}
	}
	h.ResetConnectionClose()
	for _, option := range options {
		h.Add(fasthttp.HeaderConnection, option)
	}
}
