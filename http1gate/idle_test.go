package http1gate

import (
	"io"
	"net"
	"testing"
	"time"
	"unsafe"
)

// watcher looks at the gate whenever the gate asks for octets.
type watcher struct {
	net.Conn
	pieces []string
	gate   *Conn
	look   func(piece int)
	n      int
}

func (w *watcher) Read(p []byte) (int, error) {
	w.look(w.n)
	if w.n == len(w.pieces) {
		return 0, io.EOF
	}
	w.n++
	return copy(p, w.pieces[w.n-1]), nil
}

func (w *watcher) SetReadDeadline(time.Time) error { return nil }

// The budget for an idle connection has no room for a buffer.
func TestNoBufferIsHeldWhileWaitingForARequest(t *testing.T) {
	t.Parallel()
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	post := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
	w := &watcher{pieces: []string{get, get + get, post + get, get + post[:40], post[40:], get}}
	idleBefore := map[int]bool{0: true, 1: true, 2: true, 3: true, 5: true, 6: true}
	looked := 0
	w.look = func(piece int) {
		looked++
		if held := w.gate.held != nil; held && idleBefore[piece] {
			t.Errorf("before piece %d the gate holds a buffer of %d octets", piece, cap(w.gate.held.b))
		}
	}
	w.gate = New(w, nil, nil)
	if _, err := io.ReadAll(w.gate); err != nil {
		t.Fatal(err)
	}
	if looked != len(w.pieces)+1 {
		t.Errorf("the gate read %d times, want %d", looked, len(w.pieces)+1)
	}
}

func TestConnIsSmall(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(Conn{}); size > 384 {
		t.Errorf("a Conn has %d octets, want at most 384: there are very many", size)
	}
}
