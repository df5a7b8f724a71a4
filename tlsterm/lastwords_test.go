package tlsterm

import (
	"bytes"
	"io"
	"net"
	"slices"
	"sync"
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
