// Package netpolltest tells tests whether the Go runtime has looked at the network.
package netpolltest

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// ByItself is how often Go looks at the network when its processors always have something to
// run.
const ByItself = 10 * time.Millisecond

// Reader waits for octets, in a goroutine of its own that only a poll of the network wakes.
type Reader struct {
	w     *os.File
	sent  int64
	heard atomic.Int64
}

// New returns a Reader, which ends with t. It sets the number of processors to one, until t is
// over and for everybody, so t must not be parallel.
func New(t testing.TB) *Reader {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() {
		w.Close()
		r.Close()
		runtime.GOMAXPROCS(before)
	})
	reader := &Reader{w: w}
	go func() {
		for octet := make([]byte, 1); ; reader.heard.Add(1) {
			if _, err := r.Read(octet); err != nil {
				return
			}
		}
	}()
	return reader
}

// Send sends an octet.
func (r *Reader) Send(t testing.TB) {
	t.Helper()
	if _, err := r.w.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	r.sent++
}

// Heard reports whether all that was sent has been read.
func (r *Reader) Heard() bool { return r.heard.Load() == r.sent }

// Wait keeps the processor busy until all that was sent has been read.
func (r *Reader) Wait() {
	for !r.Heard() {
		runtime.Gosched()
	}
}
