package main

import (
	"os"
	"sync"
	"time"
)

// pool has the connections to one host. It opens a new one while there are fewer
// than most, and only then uses the one that has rested longest: so the identities
// that were asked for take part even when a single connection could carry the load.
type pool struct {
	dialer  *dialer
	chooser *chooser
	most    int
	keep    bool // false: every request has a connection of its own

	mu      sync.Mutex
	open    int
	idle    []*conn // oldest first; an HTTP/2 connection is there once for each free stream
	waiting []chan *conn
}

// get returns a connection that its caller alone uses, or with HTTP/2 a stream of
// one, until [pool.put] or [pool.drop]. It waits until deadline for one.
func (p *pool) get(deadline time.Time) (*conn, error) {
	for {
		p.mu.Lock()
		if !p.keep || p.open < p.most {
			p.open++
			p.mu.Unlock()
			return p.dial(deadline)
		}
		if c := p.rested(); c != nil {
			p.mu.Unlock()
			return c, nil
		}
		ready := make(chan *conn, 1)
		p.waiting = append(p.waiting, ready)
		p.mu.Unlock()
		c, err := p.wait(ready, deadline)
		if c != nil || err != nil {
			return c, err
		}
	}
}

// rested takes the connection that has been idle longest, nil if none is. p.mu is
// held.
func (p *pool) rested() *conn {
	for len(p.idle) > 0 {
		c := p.idle[0]
		p.idle[0] = nil
		p.idle = p.idle[1:]
		if !c.dead {
			return c
		}
	}
	return nil
}

// wait waits for a connection. It returns nil if there is room for a new one
// instead.
func (p *pool) wait(ready chan *conn, deadline time.Time) (*conn, error) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case c := <-ready:
		return c, nil
	case <-timer.C:
	}
	p.mu.Lock()
	for i, w := range p.waiting {
		if w == ready {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			p.mu.Unlock()
			return nil, &failure{phaseWait, os.ErrDeadlineExceeded}
		}
	}
	p.mu.Unlock()
	return <-ready, nil // it was handed over just now
}

func (p *pool) dial(deadline time.Time) (*conn, error) {
	i, err := p.chooser.take()
	if err != nil {
		p.leave()
		return nil, &failure{phaseDial, err}
	}
	i.used.Store(true)
	c, err := p.dialer.dial(i, deadline)
	if err != nil {
		p.chooser.release(i)
		p.leave()
		return nil, err
	}
	for k := 1; p.keep && p.dialer.http2 && k < p.dialer.streams; k++ {
		p.put(c)
	}
	return c, nil
}

// put gives back a connection that can be used again.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case c.dead: // another stream found out
	case len(p.waiting) > 0:
		ready := p.waiting[0]
		p.waiting = p.waiting[1:]
		ready <- c
	default:
		p.idle = append(p.idle, c)
	}
}

// drop closes a connection that cannot be used again.
func (p *pool) drop(c *conn) {
	p.mu.Lock()
	dead := c.dead
	c.dead = true
	p.mu.Unlock()
	if dead {
		return
	}
	c.end()
	p.chooser.release(c.identity)
	p.leave()
}

// leave makes room for a new connection.
func (p *pool) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	if len(p.waiting) > 0 {
		ready := p.waiting[0]
		p.waiting = p.waiting[1:]
		ready <- nil
	}
}

// close closes what is idle.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		p.drop(c)
	}
}
