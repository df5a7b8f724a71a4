package tlsterm

import (
	"sync"
	"time"
)

// maxLastWords is how much is kept back to leave together with the goodbye: an answer of
// common size. More than that pays for a write of its own.
const maxLastWords = 4 << 10

// maxGoodbye is what close_notify takes in its record at most.
const maxGoodbye = 64

// lastWords is what is left to be written on a connection that is about to be closed.
type lastWords struct {
	n      int
	octets [maxLastWords]byte
}

var allLastWords = sync.Pool{New: func() any { return new(lastWords) }}

// Hold keeps back what is written from now on, up to some KiB, until [Conn.Finish], so
// that a last answer and the goodbye are one write. It is for the goroutine that writes,
// when only an answer that is there in whole is left to be written.
func (c *Conn) Hold() {
	if c.socket.last.Load() == nil {
		c.socket.last.Store(allLastWords.Get().(*lastWords))
	}
}

// Finish says goodbye and writes what [Conn.Hold] kept back, within limit. Nothing can be
// written afterwards. Without Hold, Finish does nothing; nor does Hold without Finish
// write anything, when the connection is closed.
func (c *Conn) Finish(limit time.Duration) error {
	last := c.socket.last.Load()
	if last == nil {
		return nil
	}
	if last.n > maxLastWords-maxGoodbye {
		// crypto/tls would write both, within a time of its own. Close says goodbye then.
		if err := c.socket.SetWriteDeadline(time.Now().Add(limit)); err != nil {
			return err
		}
		return c.socket.release()
	}
	farewell := c.tls.CloseWrite()
	// From here on crypto/tls writes nothing any more, whoever closes it. It has set the
	// deadline to now, for that.
	if err := c.socket.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if err := c.socket.release(); err != nil {
		return err
	}
	return farewell
}

// keep takes b, if there is still room for it.
func (w *lastWords) keep(b []byte) bool {
	if len(b) > len(w.octets)-w.n {
		return false
	}
	w.n += copy(w.octets[w.n:], b)
	return true
}

// release writes what was kept back. From now on nothing is.
func (s *socket) release() error {
	last := s.last.Swap(nil)
	if last == nil {
		return nil
	}
	var err error
	if last.n > 0 {
		_, err = s.Conn.Write(last.octets[:last.n])
	}
	last.n = 0
	allLastWords.Put(last)
	return err
}
