package upstream

import (
	"errors"
	"io"

	"github.com/valyala/fasthttp"
)

// request is an HTTP request on its way to the backend: what has been put
// together of it so far, and where the rest comes from.
type request struct {
	// out begins with the header and holds as much of the body as was there at
	// once. It is not touched until it has been sent, so that it can be sent
	// again.
	out    []byte
	memory []byte // for out, unless that is of the caller's or grows beyond

	stream     io.Reader // where the rest of the body comes from; nil: out is all
	left       int64     // octets that stream has to yield; chunked: the length is not known
	idempotent bool
	head       bool // HEAD: the response has no body
}

// chunked is the length of a body that is framed in chunks.
const chunked = -1

const lastChunk = "0\r\n\r\n"

// sizeDigits is the number of digits in which chunk sizes are written. Their
// place precedes octets of which it is not known yet how many there will be.
const sizeDigits = 4

// maxChunk is the largest size that has so many digits. The buffer is smaller,
// unless a header has made it grow.
const maxChunk = 1<<(4*sizeDigits) - 1

// begin puts together the header that call asks for and the first octets of the body.
//
// The framing is made anew. What fasthttp would add or move is taken from the
// header before: a declared trailer would carry fields of the header out of it,
// which is a way to have identity headers removed.
func (r *request) begin(call *Call) error {
	h := &call.Request.Header
	r.head = h.IsHead()
	r.idempotent = isIdempotent(h.Method())
	if len(call.Head) > 0 {
		r.out, r.stream, r.left = call.Head, nil, 0
		return nil
	}
	body, err := r.framing(call.Request)
	if err != nil {
		return err
	}
	h.SetNoDefaultContentType(true)
	if err := h.SetTrailerBytes(nil); err != nil {
		return err
	}
	h.ResetConnectionClose() // the caller's connection, not this one
	if len(h.Peek(fasthttp.HeaderExpect)) > 0 {
		// fasthttp answered it already, and it would make the backend wait.
		h.Del(fasthttp.HeaderExpect)
	}
	if h.IsHTTP11() {
		r.out = h.AppendBytes(r.memory)
	} else {
		// A gateway speaks its own version (RFC 9110 §6.2).
		version := string(h.Protocol())
		h.SetProtocol("HTTP/1.1")
		r.out = h.AppendBytes(r.memory)
		h.SetProtocol(version)
	}
	r.out = r.out[:len(r.out)-len("\r\n")]
	if len(h.Host()) == 0 {
		r.out = append(r.out, "Host: \r\n"...) // RFC 9112 §3.2
	}
	r.out = append(append(r.out, call.Fields...), "\r\n"...)
	if r.stream == nil {
		r.out = append(r.out, body...)
		return nil
	}
	if spare := cap(r.out) - len(r.out); spare < minRead {
		return nil // a header that fills the buffer goes alone
	}
	r.out, err = r.more(r.out)
	return err
}

// framing sets the fields that delimit the body, and returns the body if it is
// in memory already.
func (r *request) framing(req *fasthttp.Request) (body []byte, err error) {
	h := &req.Header
	r.stream, r.left = nil, 0
	if req.IsBodyStream() {
		length := h.ContentLength()
		switch {
		case length > 0:
			r.stream, r.left = req.BodyStream(), int64(length)
		case length == chunked:
			r.stream, r.left = req.BodyStream(), chunked
		case length < 0:
			return nil, errors.New("the body has no framing")
		}
	} else {
		body = req.Body()
		r.left = int64(len(body))
	}
	if r.left == 0 && (h.IsGet() || h.IsHead()) && h.ContentLength() < 0 {
		return nil, nil // nothing announced, nothing to announce
	}
	h.SetContentLength(int(r.left))
	if r.stream == nil {
		r.left = 0
	}
	return body, nil
}

// minRead is the least room worth reading into.
const minRead = 1 << 10

// more appends the next piece of the body to dst, with its framing, as much as
// fits and one Read yields. stream is nil after the last piece.
//
// A Read that returns octets together with an error other than io.EOF counts as
// an error: fasthttp's streams forget such an error and go on behind the octets
// that were wrong.
func (r *request) more(dst []byte) ([]byte, error) {
	if r.left != chunked {
		room := dst[len(dst):cap(dst)]
		if int64(len(room)) > r.left {
			room = room[:r.left]
		}
		n, err := r.stream.Read(room)
		r.left -= int64(n)
		switch {
		case err != nil && err != io.EOF:
			return dst, err
		case r.left == 0:
			r.stream = nil
		case err == io.EOF:
			return dst, io.ErrUnexpectedEOF
		}
		return dst[:len(dst)+n], nil
	}
	at := len(dst) + sizeDigits + 2
	end := min(cap(dst)-2-len(lastChunk), at+maxChunk)
	n, err := r.stream.Read(dst[at:end])
	if err != nil && err != io.EOF {
		return dst, err
	}
	if n > 0 {
		size := dst[len(dst):at]
		for i := range sizeDigits {
			size[i] = "0123456789abcdef"[n>>(4*(sizeDigits-1-i))&0xf]
		}
		copy(size[sizeDigits:], "\r\n")
		dst = append(dst[:at+n], "\r\n"...)
	}
	if err == io.EOF {
		r.stream = nil
		dst = append(dst, lastChunk...)
	}
	return dst, nil
}

// isIdempotent: RFC 9110 §9.2.2.
func isIdempotent(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}
