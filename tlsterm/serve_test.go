package tlsterm

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"verigate/verifycache"
)

// Every connection is served, those that were there before Serve as well.
func TestServe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, r := w.start(t, nil)
	caller := w.client(w.workload(t, checkout))
	early := must(connect(l, caller))(t)
	next(t, "handshake record", r.handshakes)

	served, ended := make(chan *Conn, 16), make(chan error, 1)
	go func() {
		ended <- l.Serve(func(c *Conn) {
			defer c.Close()
			served <- c
			_, _ = io.Copy(c, c)
		})
	}()
	late := must(connect(l, caller))(t)
	defer late.Close()
	for _, c := range []net.Conn{early, late} {
		if err := ping(c); err != nil {
			t.Fatal(err)
		}
		next(t, "connection that is served", served)
	}

	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := next(t, "end of Serve", ended); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve() = %v, want net.ErrClosed", err)
	}
	if err := ping(early); err != nil {
		t.Errorf("a connection that is being served ended with the listener: %v", err)
	}
	early.Close()
}

// Whoever is idle gets the next attempt, the last one first; there are no more than a
// bound, and none after the end.
func TestCrew(t *testing.T) {
	t.Parallel()
	var c crew
	first, second := new(attempt), new(attempt)
	if c.take(first) {
		t.Fatal("take() = true with nobody there")
	}
	hands := make([]chan *attempt, maxIdleHands)
	var home sync.WaitGroup
	ended := make(chan int, maxIdleHands)
	for i := range hands {
		hands[i] = make(chan *attempt, 1)
		home.Go(func() {
			for c.next(hands[i]) != nil {
				ended <- i
			}
		})
		for c.count() <= i { // one after the other
			runtime.Gosched()
		}
	}
	if a := c.next(make(chan *attempt, 1)); a != nil {
		t.Errorf("next() = %p for one too many, want nil", a)
	}
	for _, a := range []*attempt{first, second} {
		if !c.take(a) {
			t.Fatal("take() = false while everybody is idle")
		}
		if i := next(t, "attempt", ended); i != maxIdleHands-1 {
			t.Errorf("number %d works, want the one that was idle last", i)
		}
		for c.count() < maxIdleHands { // until it is idle again
			runtime.Gosched()
		}
	}
	c.close()
	home.Wait()
	if a := c.next(make(chan *attempt, 1)); a != nil || c.take(first) {
		t.Error("somebody works after the end")
	}
}

func (c *crew) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.idle)
}
