package gateway

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// live is the connections that are being served, by the trust domain of their
// callers, so that a change of trust reaches those whom it concerns and leaves the
// others alone.
type live struct {
	store  *trust.Store
	scopes atomic.Uint64 // how often what listeners admit was changed

	mu      sync.Mutex
	domains map[workloadid.Origin]*domain // never more than the listeners admit
	count   int
}

// domain is the connections of callers of one origin. Callers that were admitted
// although they were rejected are of the zero origin; nobody judges them.
type domain struct {
	live   *live
	origin workloadid.Origin
	view   atomic.Pointer[view]

	// next is the earliest moment, in Unix nanoseconds, at which time alone may change
	// the verdict about one of the connections; 0 is none.
	next  atomic.Int64
	conns []*edgeConn // in no order; live.mu guards it

	// The rejudger's: by what, and when, all connections were judged last.
	swept   *standard
	sweptAt time.Time
}

// view is a snapshot as seen by the connections of one domain.
type view struct {
	snapshot *trust.Snapshot
	standard *standard
}

// standard is everything in a snapshot that the verdict about a peer of one origin
// can depend on. Connections keep a pointer to the one that they were judged by: to
// compare it costs as little as a number would, and it keeps no snapshot alive,
// whose CRLs may be large.
type standard struct {
	bundle, crls, deny trust.Digest
	// The shadow has no effect on anybody, but what it says is counted, and whoever
	// publishes one wants to know about connections that are open.
	shadow, shadowCRLs trust.Digest
	scopes             uint64 // of live
}

func standardOf(s *trust.Snapshot, scopes uint64, o workloadid.Origin) standard {
	of := standard{deny: s.Deny().Digest(), scopes: scopes}
	bundle := s.Bundle(o)
	if bundle == nil {
		return of
	}
	of.bundle, of.crls = bundle.Digest(), bundle.CRLs().Digest()
	if shadow := bundle.Shadow(); shadow != nil {
		of.shadow, of.shadowCRLs = shadow.Digest(), shadow.CRLs().Digest()
	}
	return of
}

// current returns what peers of d are judged by now. As long as nothing was
// published that costs three atomic loads.
func (d *domain) current() *view {
	if v := d.view.Load(); v.snapshot == d.live.store.Load() && v.standard.scopes == d.live.scopes.Load() {
		return v
	}
	return d.advance()
}

// advance puts the snapshot in force into the view. The standard stays the same
// pointer if nothing in it has changed.
func (d *domain) advance() *view {
	d.live.mu.Lock()
	defer d.live.mu.Unlock()
	// Loaded with the lock held, or a slow goroutine could put an older one back.
	old, snapshot, scopes := d.view.Load(), d.live.store.Load(), d.live.scopes.Load()
	if old.snapshot == snapshot && old.standard.scopes == scopes {
		return old
	}
	v := &view{snapshot, old.standard}
	if s := standardOf(snapshot, scopes, d.origin); s != *old.standard {
		v.standard = &s
	}
	d.view.Store(v)
	return v
}

// expect notes that at until time alone may change the verdict about a connection.
// It reports whether that is earlier than what was known.
func (d *domain) expect(until int64) bool {
	for {
		next := d.next.Load()
		if next != 0 && next <= until {
			return false
		}
		if d.next.CompareAndSwap(next, until) {
			return true
		}
	}
}

// domain returns the domain of o. The caller holds mu.
func (l *live) domain(o workloadid.Origin) *domain {
	d := l.domains[o]
	if d == nil {
		d = &domain{live: l, origin: o}
		s := l.store.Load()
		of := standardOf(s, l.scopes.Load(), o)
		d.view.Store(&view{s, &of})
		l.domains[o] = d
	}
	return d
}

// add puts c into its domain. The caller holds mu.
func (l *live) add(c *edgeConn) {
	d := l.domain(c.tls.Peer().ID().Origin())
	c.domain, c.slot = d, len(d.conns)
	d.conns = append(d.conns, c)
	l.count++
}

// remove takes c out of its domain. The caller holds mu.
func (l *live) remove(c *edgeConn) {
	all := c.domain.conns
	last := len(all) - 1
	all[c.slot] = all[last]
	all[c.slot].slot = c.slot
	all[last] = nil
	c.domain.conns = all[:last]
	l.count--
}

// all returns the domains, in no order.
func (l *live) all() []*domain {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*domain, 0, len(l.domains))
	for _, d := range l.domains {
		all = append(all, d)
	}
	return all
}

// conns appends the connections of d to into.
func (l *live) conns(d *domain, into []*edgeConn) []*edgeConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(slices.Grow(into, len(d.conns)), d.conns...)
}

// each calls f for every connection. f must not use l. The caller holds mu.
func (l *live) each(f func(*edgeConn)) {
	for _, d := range l.domains {
		for _, c := range d.conns {
			f(c)
		}
	}
}
