package http1gate

import (
	"net"
	"testing"
	"time"
)

// meddled is a connection on which something happens in the middle of setting a
// deadline.
type meddled struct {
	net.Conn
	meddle func()
	last   time.Time // the deadline in force
}

func (m *meddled) SetReadDeadline(t time.Time) error {
	if meddle := m.meddle; meddle != nil {
		m.meddle = nil
		meddle()
	}
	m.last = t
	return nil
}

// Whoever sets a deadline to end a connection, from another goroutine, is not overruled
// by the gate's own that is being set or taken back at that moment.
func TestAnInterruptIsNotOverwritten(t *testing.T) {
	t.Parallel()
	past := time.Unix(1, 0)
	for _, tt := range []struct {
		claim string
		set   func(c *Conn)
	}{
		{"while the header's deadline is set", func(c *Conn) { c.arm() }},
		{"while the server's is put back", func(c *Conn) { c.armed = true; c.disarm() }},
	} {
		inner := &meddled{}
		c := New(inner, &Limits{}, nil)
		if err := c.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		// The other goroutine has done all of it before the gate's call takes effect.
		inner.meddle = func() { _ = c.SetReadDeadline(past) }
		tt.set(c)
		if !inner.last.Equal(past) {
			t.Errorf("an interrupt %s: the deadline in force is %v, want %v", tt.claim, inner.last, past)
		}
	}
}
