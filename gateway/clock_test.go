package gateway

import (
	"net"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/http1gate"
)

// A reading of the clock that is at hand serves once: it would be old the second time.
func TestReadingOfTheClockServesOnce(t *testing.T) {
	t.Parallel()
	reading := time.Now().Add(-time.Hour)
	connection := func() *edgeConn {
		a, b := net.Pipe()
		t.Cleanup(func() { a.Close(); b.Close() })
		c := &edgeConn{gate: http1gate.New(a, nil, nil)}
		c.remember()
		c.memo.now = reading
		return c
	}

	c := connection()
	before := time.Now()
	if got := c.takeNow(); !got.Equal(reading) {
		t.Errorf("takeNow() = %v, want the reading %v", got, reading)
	}
	if got := c.takeNow(); got.Before(before) {
		t.Errorf("takeNow() = %v once more, want a reading of its own, not before %v", got, before)
	}

	const limit = time.Minute
	c = connection()
	for _, tt := range []struct {
		claim string
		from  time.Time
	}{{"with a reading", reading}, {"after that", before}} {
		c.readBy = time.Time{}
		if err := c.readWithin(limit); err != nil {
			t.Fatal(err)
		}
		from, until := tt.from.Add(limit), tt.from.Add(limit+limit/deadlineSlack)
		if tt.from.Equal(before) {
			until = time.Now().Add(limit + limit/deadlineSlack)
		}
		if c.readBy.Before(from) || c.readBy.After(until) {
			t.Errorf("%s: readWithin(%v) set %v, want between %v and %v", tt.claim, limit, c.readBy, from, until)
		}
		if !c.memo.now.IsZero() {
			t.Errorf("%s: readWithin left the reading %v", tt.claim, c.memo.now)
		}
	}
}

// A reading of the clock that was made before a request began is not used for it.
func TestReadingOfTheClockIsForgotten(t *testing.T) {
	t.Parallel()
	c := new(edgeConn)
	c.remember()
	c.memo.now = time.Now().Add(-time.Hour)
	c.state(fasthttp.StateActive)
	if !c.memo.now.IsZero() {
		t.Errorf("a request has begun, and there is the reading %v", c.memo.now)
	}
}

// Nor is one that another connection made, from which the memo is.
func TestReadingOfTheClockStaysWithItsConnection(t *testing.T) {
	t.Parallel()
	for range 100 { // the pool does not always give what it was given last
		one, other := new(edgeConn), new(edgeConn)
		one.remember()
		one.memo.now = time.Now().Add(-time.Hour)
		one.forget()
		other.remember()
		before := time.Now()
		if got := other.takeNow(); got.Before(before) {
			t.Fatalf("takeNow() = %v, which another connection left, want not before %v", got, before)
		}
		other.forget()
	}
}
