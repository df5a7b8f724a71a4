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
func (c *conn) readHead(in *bufio.Reader, resp *fasthttp.Response) *Error {
	if err := c.wire.readWithin(c.u.o.ResponseTimeout, time.Now()); err != nil {
		return c.broken(err)
	}
	for range maxInterim {
		// fasthttp reports whatever goes wrong before the first octet as io.EOF.
		if _, err := in.Peek(1); err != nil {
			return c.broken(err)
		}
		c.answered = true
		if err := resp.Header.Read(in); err != nil {
			return c.brokenHeader(err)
		}
		switch status := resp.StatusCode(); {
		case status == fasthttp.StatusSwitchingProtocols:
			return c.fault(ReasonProtocol, errSwitch)
		case status >= 200:
			return nil
		case status < 100:
			return c.fault(ReasonProtocol, errHeader)
		}
	}
	return c.fault(ReasonProtocol, errInterim)
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

// responseBody streams the body of one response. After the last octet the
// connection goes back to the pool; after an error, or if it is closed before,
// the connection ends. It is not pooled itself, because fasthttp may close it
// more than once.
type responseBody struct {
	c       *conn
	buffers *buffers
	keep    bool // the connection can carry another request afterwards

	framing framing
	left    int64 // of the body or of the chunk
	started bool  // a chunk was read
	err     error // final
}

type framing uint8

const (
	byLength framing = iota
	byChunks
	byClose
)

// receive makes resp ready to be sent to the caller: it decides how the body is
// delimited, takes it over if it is there already, and otherwise lets resp
// stream it. c and b are disposed of, now or at the end of the stream.
func (c *conn) receive(b *buffers, resp *fasthttp.Response) *Error {
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
		c.dispose(b, keep)
		return nil
	case length >= 0 && b.in.Buffered() >= length:
		// It came along with the header: one copy is cheaper than a stream, and
		// the connection is free before the caller has read anything.
		octets, _ := b.in.Peek(length)
		resp.SetBody(octets)
		b.in.Discard(length)
		c.dispose(b, keep)
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
	resp.ImmediateHeaderFlush = length == chunked && b.in.Buffered() == 0
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

// Read reads the next octets of the body. The error is io.EOF at the end of a
// complete body only.
func (s *responseBody) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := s.read(p)
	if !s.c.trusted(time.Now()) {
		err = errDistrusted
	}
	if err == nil && s.framing == byLength && s.left == 0 {
		err = io.EOF
	}
	if err == nil {
		return n, nil
	}
	s.end(err)
	if err == io.EOF {
		return n, io.EOF
	}
	// Octets next to an error would make fasthttp forget the error.
	return 0, s.err
}

func (s *responseBody) read(p []byte) (int, error) {
	in := s.buffers.in
	switch s.framing {
	case byClose:
		n, err := in.Read(p)
		if err == io.EOF && s.c.peer != nil && s.c.wire.sawEOF {
			err = io.ErrUnexpectedEOF // no close_notify: cut off (RFC 9112 §9.8)
		}
		return n, err
	case byChunks:
		if s.left == 0 {
			if err := s.nextChunk(in); err != nil {
				return 0, err
			}
		}
	}
	if int64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, err := in.Read(p)
	s.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// nextChunk reads up to the octets of the next chunk, or, with io.EOF, the end
// of the body. Chunk extensions and trailers are dropped (RFC 9112 §7.1).
func (s *responseBody) nextChunk(in *bufio.Reader) error {
	if s.started {
		line, err := readLine(in)
		if err != nil {
			return err
		}
		if len(line) != 0 {
			return errChunk
		}
	}
	s.started = true
	line, err := readLine(in)
	if err != nil {
		return err
	}
	if s.left, err = parseChunkSize(line); err != nil || s.left > 0 {
		return err
	}
	for total := 0; ; {
		line, err := readLine(in)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return io.EOF
		}
		if total += len(line); total > bufferBytes {
			return errChunk
		}
	}
}

// readLine returns the next line without its CRLF. It is valid until the next
// read.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return nil, errChunk
	case err == io.EOF:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return nil, errChunk
	}
	return line, nil
}

// parseChunkSize reads a chunk size with whatever extension follows it.
func parseChunkSize(line []byte) (int64, error) {
	const maxDigits = 15 // an int64 holds them
	var size int64
	digits := 0
	for ; digits < len(line); digits++ {
		c := line[digits]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			if rest := bytes.TrimLeft(line[digits:], " \t"); digits == 0 || len(rest) > 0 && rest[0] != ';' {
				return 0, errChunk
			}
			return size, nil
		}
		if digits == maxDigits {
			return 0, errChunk
		}
		size = size<<4 | int64(c)
	}
	if digits == 0 {
		return 0, errChunk
	}
	return size, nil
}

// end settles the stream with err, once.
func (s *responseBody) end(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	switch {
	case err == io.EOF:
	case isTimeout(err):
		s.err = s.c.fault(ReasonTimeout, errors.New("the response body stalled"))
	case err == errDistrusted:
		s.err = s.c.fault(ReasonUntrusted, err)
	case err == errChunk:
		s.err = s.c.fault(ReasonProtocol, err)
	default:
		s.err = s.c.fault(ReasonClosed, err)
	}
	if failure, ok := errors.AsType[*Error](s.err); ok && err != errAbandoned {
		s.c.e.failed(failure)
	}
	s.c.dispose(s.buffers, s.keep && err == io.EOF)
	s.buffers = nil
}

var errAbandoned = errors.New("the response was not read to its end")

// Close ends the exchange. A connection whose response was not read to its end
// is of no further use.
func (s *responseBody) Close() error {
	s.end(errAbandoned)
	return nil
}
