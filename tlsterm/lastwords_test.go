package tlsterm

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"verigate/verifycache"
)

// writeCounter is a listener whose connections note the size of every write.
type writeCounter struct {
	net.Listener
	mu     sync.Mutex
	writes []int
}

type countedConn struct {
	net.Conn
	by *writeCounter
}

func (l *writeCounter) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{c, l}, nil
}

func (c countedConn) Write(b []byte) (int, error) {
	c.by.mu.Lock()
	c.by.writes = append(c.by.writes, len(b))
	c.by.mu.Unlock()
	return c.Conn.Write(b)
}

// since returns the writes after the first n.
func (l *writeCounter) since(n int) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.writes[n:])
}

func TestLastWordsAreOneWrite(t *testing.T) {
	t.Parallel()
	const record, goodbye = 5 + 1 + 16, 24 // what TLS adds; a record with an alert
	w := newWorld(t, verifycache.Options{})
	for _, tt := range []struct {
		claim  string
		hold   bool
		pieces []int
		want   []int // sizes of writes
	}{
		{"kept back", true, []int{1000, 200}, []int{1000 + record + 200 + record + goodbye}},
		{"not kept back", false, []int{1000, 200}, []int{1000 + record, 200 + record, goodbye}},
		{"nothing but the goodbye", true, nil, []int{goodbye}},
		{"as much as there is room for", true, []int{maxLastWords - record - maxGoodbye}, []int{maxLastWords - maxGoodbye + goodbye}},
		{"no room for the goodbye", true, []int{maxLastWords - record - 10}, []int{maxLastWords - 10, goodbye}},
		{"more at once than there is room for", true, []int{5000}, []int{5000 + record, goodbye}},
		{"more than there is room for", true, []int{1000, maxLastWords, 200}, []int{1000 + record, maxLastWords + record, 200 + record, goodbye}},
	} {
		inner := &writeCounter{Listener: must(net.Listen("tcp", "127.0.0.1:0"))(t)}
		l, _ := w.startOn(t, inner, nil)
		client := must(connect(l, w.client(w.workload(t, checkout))))(t)
		server := must(l.Accept())(t).(*Conn)
		before := len(inner.since(0))
		if tt.hold {
			server.Hold()
		}
		var said []byte
		for i, n := range tt.pieces {
			piece := bytes.Repeat([]byte{byte(i)}, n)
			must(server.Write(piece))(t)
			said = append(said, piece...)
		}
		if err := server.Finish(patience); err != nil {
			t.Errorf("%s: Finish() = %v", tt.claim, err)
		}
		server.Close()
		if got := inner.since(before); !slices.Equal(got, tt.want) {
			t.Errorf("%s: writes of %d octets, want %d", tt.claim, got, tt.want)
		}
		// io.EOF needs the goodbye; a mere end of the stream is io.ErrUnexpectedEOF.
		if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, said) {
			t.Errorf("%s: the client reads %d octets, %v; want the %d that were said and the goodbye", tt.claim, len(got), err, len(said))
		}
		client.Close()
	}
}

// Whoever is told too late that the client is gone must not believe that it was reached.
func TestFinishSaysWhatWasLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, _ := w.start(t, nil)
	client := must(connect(l, w.client(w.workload(t, checkout))))(t)
	defer client.Close()
	server := must(l.Accept())(t).(*Conn)
	server.Hold()
	must(server.Write([]byte("last words")))(t)
	server.Close() // as the timer of its life does
	if err := server.Finish(time.Minute); err == nil {
		t.Error("Finish() = nil on a connection that was closed before")
	}
}

// silentListener accepts connections that can get stuck.
type silentListener struct{ net.Listener }

func (l silentListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	pipe, _ := net.Pipe()
	return &silentConn{Conn: c, pipe: pipe}, nil
}

// silentConn is a connection whose peer, once it is stuck, takes nothing any more: a write
// waits for its deadline. Only the test and the goroutine that writes use it then.
type silentConn struct {
	net.Conn
	pipe    net.Conn // nobody reads from it
	stuck   atomic.Bool
	latest  time.Duration // that a test waits
	writeBy time.Time     // as last set
	waited  []time.Time   // deadlines of the writes that were stuck
}

func (c *silentConn) SetWriteDeadline(t time.Time) error {
	if c.stuck.Load() {
		c.writeBy = t
		if err := c.pipe.SetWriteDeadline(t); err != nil {
			return err
		}
	}
	return c.Conn.SetWriteDeadline(t)
}

var errWaitsTooLong = errors.New("the write waits for longer than the test does")

func (c *silentConn) Write(b []byte) (int, error) {
	if !c.stuck.Load() {
		return c.Conn.Write(b)
	}
	c.waited = append(c.waited, c.writeBy)
	if c.writeBy.IsZero() || time.Until(c.writeBy) > c.latest {
		return 0, errWaitsTooLong
	}
	return c.pipe.Write(b)
}

// Whoever reads nothing has as long as Finish allows, and is not said to be reached.
func TestFinishIsWithinItsLimit(t *testing.T) {
	t.Parallel()
	const limit = 20 * time.Millisecond
	w := newWorld(t, verifycache.Options{})
	for _, tt := range []struct {
		claim  string
		octets int
	}{
		{"with room for the goodbye", 1000},
		{"without", maxLastWords - 40},
	} {
		l, _ := w.startOn(t, silentListener{must(net.Listen("tcp", "127.0.0.1:0"))(t)}, nil)
		client := must(connect(l, w.client(w.workload(t, checkout))))(t)
		defer client.Close()
		server := must(l.Accept())(t).(*Conn)
		server.Hold()
		must(server.Write(make([]byte, tt.octets)))(t)
		socket := server.socket.Conn.(*silentConn)
		socket.latest = limit
		socket.stuck.Store(true)
		before := time.Now()
		err := server.Finish(limit)
		after := time.Now()
		socket.stuck.Store(false)
		server.Close()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: Finish() = %v, want %v", tt.claim, err, os.ErrDeadlineExceeded)
		}
		if len(socket.waited) != 1 || socket.waited[0].Before(before.Add(limit)) || socket.waited[0].After(after.Add(limit)) {
			t.Errorf("%s: Finish(%v) between %v and %v wrote with the deadlines %v, want one write and the limit", tt.claim, limit, before, after, socket.waited)
		}
	}
}
