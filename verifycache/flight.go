package verifycache

import "verigate/trust"

// flightKey names a validation under way. The snapshot is part of it, so that the
// handshakes that follow a change of trust share a validation of their own.
type flightKey struct {
	chain    chainKey
	snapshot trust.Digest
}

// flight is a validation under way. found may be read when done is closed.
type flight struct {
	done  chan struct{}
	found finding
}

// finding is what a validation leaves for others: either of the two, or neither
// after a panic.
type finding struct {
	accepted *entry
	rejected *rejection
}

// coalesce answers what has no accepted entry: from the recent rejections, from a
// concurrent validation of the same chain, or by validating (CACHE-09).
//
// Nobody waits for anything but one validation, which waits for nothing; how many
// can wait is bounded by the handshakes that the listener admits.
func (c *Cache) coalesce(q query, key chainKey, bytes int) Verdict {
	at := flightKey{key, q.snap.Digest()}

	// Whoever finds neither a finding nor a flight, under one lock, is the first.
	// Findings are judged without the lock: it is everybody's.
	var tried finding
	c.mu.Lock()
	for {
		recent := c.recent(key)
		if recent == tried {
			break
		}
		c.mu.Unlock()
		if v, ok := c.takeOver(q, recent, RejectedHit); ok {
			return v
		}
		tried = recent
		c.mu.Lock()
	}
	f, joined := c.flights[at]
	if !joined {
		f = &flight{done: make(chan struct{})}
		c.flights[at] = f
	}
	c.mu.Unlock()

	if joined {
		<-f.done
		if v, ok := c.takeOver(q, f.found, Coalesced); ok {
			return v
		}
		// The leader panicked, or a certificate expired meanwhile. Everyone judges
		// alone then: a panic must stay with whoever caused it.
		v, _ := c.lead(q, key, bytes)
		return v
	}
	defer func() {
		c.mu.Lock()
		delete(c.flights, at)
		c.mu.Unlock()
		close(f.done)
	}()
	v, found := c.lead(q, key, bytes)
	f.found = found
	return v
}

// recent returns what was found about the chain lately. c.mu is held.
func (c *Cache) recent(key chainKey) (f finding) {
	f.accepted, _ = c.pending.get(key)
	f.rejected, _ = c.rejected.get(key)
	return f
}

// takeOver returns what somebody else found, if judging afresh would give the
// same answer now. A rejection gets the outcome named.
func (c *Cache) takeOver(q query, f finding, rejected Outcome) (Verdict, bool) {
	now := c.now()
	if e := f.accepted; e != nil && now.Sub(e.verifiedAt) <= pendingAge && e.current(q.snap, now) {
		c.counters.coalesced.Add(1)
		v := e.verdict(Coalesced)
		v.fresh = e
		return v, true
	}
	if r := f.rejected; r != nil && r.current(q.snap.Digest(), now) {
		if rejected == RejectedHit {
			c.counters.rejectedHits.Add(1)
		} else {
			c.counters.coalesced.Add(1)
		}
		return r.verdict(rejected), true
	}
	return Verdict{}, false
}

// lead judges afresh and leaves the finding for others: in a table before the
// flight ends, so that whoever finds no flight finds it there.
func (c *Cache) lead(q query, key chainKey, bytes int) (Verdict, finding) {
	q.chain = c.links.share(q.chain)
	now := c.now()
	v := c.judge(q, c.links, Miss, now)
	c.counters.misses.Add(1)
	c.counters.verifyTime.Add(int64(v.IdentifyDuration + v.VerifyDuration))

	bundle := q.snap.Bundle(v.ID.Origin())
	if e := v.fresh; e != nil {
		e.key = key
		e.span = steady(q.chain, bundle, now, c.options.MaxAge)
		e.cost = costOf(q.chain, bytes)
		if e.cost <= maxPendingCost {
			c.mu.Lock()
			c.pending.put(key, e)
			c.mu.Unlock()
		}
		return v, finding{accepted: e}
	}
	r := &rejection{
		snapshot: q.snap.Digest(),
		id:       v.ID,
		err:      v.Err,
		span:     steady(q.chain, bundle, now, c.options.RejectedAge),
	}
	c.mu.Lock()
	c.rejected.put(key, r)
	c.mu.Unlock()
	return v, finding{rejected: r}
}
