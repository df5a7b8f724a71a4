package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

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
	if !s.stillTrusted() {
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

// pieceBytes is how much of a body is moved at a time, if it is there: with twice
// the 16 KiB of the buffers a response of 64 KiB takes two system calls of reading
// less. Only a response that is being sent has such a piece; a client that reads
// slowly holds it for as long.
const pieceBytes = 32 << 10

var pieces = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

// WriteTo implements [io.WriterTo]: it writes the rest of the body to w in large
// pieces. A body whose length is not known comes by Read, because its octets are
// due one by one.
func (s *responseBody) WriteTo(w io.Writer) (written int64, err error) {
	piece := pieces.Get().(*[pieceBytes]byte)
	defer pieces.Put(piece)
	for {
		n, failure := s.Read(piece[:])
		for failure == nil && n < pieceBytes {
			more, err := s.readMore(piece[n:])
			if more == 0 && err == nil {
				break
			}
			n, failure = n+more, err
		}
		m, err := w.Write(piece[:n])
		written += int64(m)
		switch {
		case err != nil:
			return written, err
		case failure == io.EOF:
			return written, nil
		case failure != nil:
			return written, failure
		}
	}
}

// readMore is Read that does not wait: it may return nothing.
func (s *responseBody) readMore(p []byte) (int, error) {
	if s.err != nil || s.framing != byLength {
		return 0, s.err
	}
	s.c.wire.looking = true
	n, err := s.buffers.in.Read(p[:min(int64(len(p)), s.left)])
	s.c.wire.looking = false
	s.left -= int64(n)
	switch {
	case err == errNothing || err == nil && s.left > 0:
		return n, nil
	case err == nil:
		err = io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	if err == io.EOF && !s.stillTrusted() {
		err = errDistrusted
	}
	s.end(err)
	if err == io.EOF {
		return n, io.EOF
	}
	return 0, s.err
}

func (s *responseBody) stillTrusted() bool {
	return s.c.peer == nil || s.c.trusted(time.Now())
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
	case s.c.abort.Aborted():
		s.err, err = s.c.fault(ReasonClosed, ErrAborted), errAbandoned
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
	s.c.dispose(s.buffers, s.keep && err == io.EOF, time.Now())
	s.buffers = nil
}

var errAbandoned = errors.New("the response was not read to its end")

// Close ends the exchange. A connection whose response was not read to its end
// is of no further use.
func (s *responseBody) Close() error {
	s.end(errAbandoned)
	return nil
}
