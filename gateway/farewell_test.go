package gateway_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"verigate/devpki"
)

// writeCounter is a listener whose connections note the size of every write.
type writeCounter struct {
	net.Listener
	lost atomic.Bool // writes fail from now on, as on a connection that the client reset

	mu     sync.Mutex
	writes []int
}

// countedConn is otherwise the TCP connection in every respect.
type countedConn struct {
	*net.TCPConn
	by *writeCounter
}

func (l *writeCounter) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{c.(*net.TCPConn), l}, nil
}

func (c countedConn) Write(b []byte) (int, error) {
	c.by.mu.Lock()
	c.by.writes = append(c.by.writes, len(b))
	c.by.mu.Unlock()
	if c.by.lost.Load() {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return c.TCPConn.Write(b)
}

func (l *writeCounter) through(inner net.Listener) net.Listener {
	l.Listener = inner
	return l
}

// since returns the writes after the first n.
func (l *writeCounter) since(n int) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.writes[n:])
}

// The last response on a connection and the goodbye are one write, whoever made the
// response and whoever wants the connection to end.
func TestLastResponseLeavesWithTheGoodbye(t *testing.T) {
	t.Parallel()
	counter := new(writeCounter)
	w := newWorld(t, setting{through: counter.through})
	body := strings.Repeat("x", 700) // in one record: crypto/tls begins with small ones
	w.pay.answerWith(func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n"+body)
	})
	for _, tt := range []struct {
		claim  string
		caller *devpki.Leaf
		send   string
		status int
		writes int
	}{
		{"forwarded", w.issue(checkoutID), get("pay.example", "/v1/x", "Connection: close"), 200, 1},
		{"refused", w.issue(cartID), get("pay.example", "/v1/x", "Connection: close"), 403, 1},
		{"forwarded after one that was not the last", w.issue(checkoutID),
			get("pay.example", "/v1/x") + get("pay.example", "/v1/x", "Connection: close"), 200, 2},
	} {
		c := w.dial(tt.caller, "pay.example")
		before := len(counter.since(0))
		c.send(tt.send)
		for i := range tt.writes {
			if r := c.receive("GET"); r.StatusCode != tt.status || r.Close != (i == tt.writes-1) {
				t.Errorf("%s: response %d is %d, close %v", tt.claim, i+1, r.StatusCode, r.Close)
			}
		}
		// The goodbye, and not a mere end of the stream, which is io.ErrUnexpectedEOF.
		if _, err := c.in.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: after the response the client reads %v, want the goodbye", tt.claim, err)
		}
		if got := counter.since(before); len(got) != tt.writes {
			t.Errorf("%s: the gateway wrote %d octets, want %d writes", tt.claim, got, tt.writes)
		}
	}
}

// A response that the backend is still sending is not kept back, though it is the last.
func TestLastResponseIsNotKeptBackWhileItComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	read := make(chan struct{})
	w.pay.answerWith(func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
		<-read
		_, _ = io.WriteString(c, "4\r\nlast\r\n0\r\n\r\n")
	})
	c := w.dial(w.issue(checkoutID), "pay.example")
	c.send(get("pay.example", "/v1/x", "Connection: close"))
	release := sync.OnceFunc(func() { close(read) })
	defer release()
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatalf("the backend has begun its response and the client reads %v", err)
	}
	defer r.Body.Close()
	var first [5]byte
	if _, err := io.ReadFull(r.Body, first[:]); err != nil || string(first[:]) != "first" || !r.Close {
		t.Fatalf("while the backend waits the client reads %q and %v, close %v; want the first piece", first, err, r.Close)
	}
	release()
	if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != "last" {
		t.Errorf("the rest is %q and %v", rest, err)
	}
	c.ended()
}

// The record of a last response is not written before it is known whether the client
// could be reached.
func TestLastResponseThatIsLostIsRecordedSo(t *testing.T) {
	t.Parallel()
	counter := new(writeCounter)
	w := newWorld(t, setting{through: counter.through})
	gone := make(chan struct{})
	w.pay.answerWith(func(c net.Conn, _ *http.Request) {
		<-gone
		_, _ = io.WriteString(c, plainAnswer)
	})
	c := w.dial(w.issue(checkoutID), "pay.example")
	c.send(get("pay.example", "/v1/x", "Connection: close"))
	w.pay.next(t)
	_ = c.NetConn().(*net.TCPConn).SetLinger(0)
	c.NetConn().Close()
	counter.lost.Store(true) // the client's RST may be late on a busy machine
	close(gone)
	a := w.audit.find(t, "the request", func(r record) bool { return r.text("event") == "request" })
	if a.text("reason") != "client_gone" || a.text("decision") != "allowed" || a.number("status") != 200 {
		t.Errorf("the client was gone before the response was written, and the record says %v", a)
	}
}
