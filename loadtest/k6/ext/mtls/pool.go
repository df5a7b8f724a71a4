package mtls

import (
	"container/list"
	"slices"
	"sync"
)

// pool keeps connections that wait for the next request, at most so many, and
// closes the one that waited longest when there are more.
type pool struct {
	limit int

	mu         sync.Mutex
	generation int
	waiting    map[int][]*list.Element // connections by identity, the last used last
	order      list.List               // of *conn, the last used first
}

// place is what a pool knows about a connection; it is the pool's alone.
type place struct {
	users int           // requests that are under way on it
	at    *list.Element // in order; nil while it does not wait
}

func newPool(limit int) *pool {
	return &pool{limit: limit, waiting: map[int][]*list.Element{}}
}

// take returns a connection of the identity, nil if there is none. One of HTTP/1.1
// is the caller's alone until it is put back. One of HTTP/2 stays for others to
// take, and has a stream reserved for the caller.
func (p *pool) take(identity int) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range slices.Backward(slices.Clone(p.waiting[identity])) {
		c := e.Value.(*conn)
		switch {
		case c.h2 == nil:
			p.forget(c)
		case c.h2.Reserve() == nil:
			p.order.MoveToFront(e)
		case c.h2.Err() != nil:
			p.forget(c)
			p.closeUnused(c)
			continue
		default:
			continue // it has all the streams that the server allows
		}
		c.place.users++
		return c
	}
	return nil
}

// added tells the pool of a connection that was made for a request.
func (p *pool) added(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.place.users++
}

// put ends a request on c and keeps c for the next one, unless it is not to be used
// again or there was a rotation since it was made.
func (p *pool) put(c *conn, again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.place.users--
	if !again || c.generation != p.generation {
		p.forget(c)
		p.closeUnused(c)
		return
	}
	if c.place.at == nil {
		c.place.at = p.order.PushFront(c)
		p.waiting[c.identity] = append(p.waiting[c.identity], c.place.at)
	}
	for e := p.order.Back(); e != nil && p.order.Len() > p.limit; {
		before := e.Prev()
		if oldest := e.Value.(*conn); oldest.place.users == 0 {
			p.forget(oldest)
			oldest.close()
		}
		e = before
	}
}

// rotate closes what waits. What is under way is closed when it is put back.
func (p *pool) rotate(generation int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.generation = generation
	for e := p.order.Front(); e != nil; e = p.order.Front() {
		c := e.Value.(*conn)
		p.forget(c)
		p.closeUnused(c)
	}
}

// closeUnused closes c, or leaves that to the last request that is under way.
func (p *pool) closeUnused(c *conn) {
	if c.place.users == 0 {
		c.close()
	}
}

// forget takes c out of those that wait, if it is one of them.
func (p *pool) forget(c *conn) {
	e := c.place.at
	if e == nil {
		return
	}
	p.order.Remove(e)
	c.place.at = nil
	left := slices.DeleteFunc(p.waiting[c.identity], func(other *list.Element) bool { return other == e })
	if len(left) == 0 {
		delete(p.waiting, c.identity)
		return
	}
	p.waiting[c.identity] = left
}
