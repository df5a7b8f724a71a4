package http1gate

import "sync"

// buffer holds octets that were read and cannot be handed out yet: a header
// block that is incomplete or larger than the reader's slice, and what came
// behind the request being served. A nil buffer is empty.
type buffer struct {
	b    []byte
	from int // octets before it were handed out
}

const (
	minBuffer = 4 << 10
	// maxPooled keeps one large request from growing every buffer of the pool.
	maxPooled = 64 << 10
)

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, minBuffer)} }}

// hold adds a copy of p.
func (c *Conn) hold(p []byte) {
	if c.held == nil {
		c.held = buffers.Get().(*buffer)
	}
	c.held.b = append(c.held.b, p...)
}

// release gives the buffer back, with what is in it.
func (c *Conn) release() {
	if c.held == nil {
		return
	}
	if cap(c.held.b) <= maxPooled {
		c.held.b, c.held.from = c.held.b[:0], 0
		buffers.Put(c.held)
	}
	c.held = nil
}

func (b *buffer) octets() []byte {
	if b == nil {
		return nil
	}
	return b.b[b.from:]
}

func (b *buffer) skip(n int) { b.from += n }

// take moves octets to p.
func (b *buffer) take(p []byte) int {
	if b == nil {
		return 0
	}
	n := copy(p, b.octets())
	b.from += n
	return n
}

// space returns room behind the octets; what is read into it is added with
// grown.
func (b *buffer) space() []byte {
	if b.from > 0 {
		b.b, b.from = b.b[:copy(b.b, b.octets())], 0
	}
	if len(b.b) == cap(b.b) {
		b.b = append(b.b, 0)[:len(b.b)]
	}
	return b.b[len(b.b):cap(b.b)]
}

func (b *buffer) grown(n int) { b.b = b.b[:len(b.b)+n] }
