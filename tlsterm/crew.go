package tlsterm

import "sync"

// maxIdleHands is how many goroutines are kept for handshakes to come. It need only be
// as many as handshakes end before the next ones begin, and each is next to nothing once
// the collector has seen it: it shrinks stacks that are not in use.
const maxIdleHands = 64

// crew is goroutines that have shaken hands and are kept for more. A handshake takes
// 16 KiB of stack, which a new goroutine gets by growing from 2 KiB, each time into a
// copy of twice the size. The zero crew is ready.
type crew struct {
	mu     sync.Mutex
	idle   []chan *attempt // the last one rested least: its stack is in the caches
	closed bool
}

// take gives a to somebody who is idle. It returns false if nobody is.
func (c *crew) take(a *attempt) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.idle) - 1
	if last < 0 {
		return false
	}
	c.idle[last] <- a // there is room for one, and nobody else knows the channel any more
	c.idle[last] = nil
	c.idle = c.idle[:last]
	return true
}

// next waits for an attempt. It returns nil if the goroutine is not needed any more.
// work is the goroutine's own, with room for one, and empty.
func (c *crew) next(work chan *attempt) *attempt {
	c.mu.Lock()
	if c.closed || len(c.idle) == maxIdleHands {
		c.mu.Unlock()
		return nil
	}
	c.idle = append(c.idle, work)
	c.mu.Unlock()
	return <-work
}

// close sends everybody home who is idle, or will be.
func (c *crew) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, work := range c.idle {
		close(work)
	}
	c.idle = nil
}
