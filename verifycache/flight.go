package verifycache

import "verigate/trust"

// flightKey names a validation under way. The snapshot is part of it, so that the
// handshakes that follow a change of trust share a validation of their own.
type flightKey struct {
	chain    chainKey
	snapshot trust.Digest
}

// flight is a validation under way. found, what it leaves for others, may be read
// when done is closed; it is nil after a panic.
type flight struct {
	done  chan struct{}
	found *entry
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
	var tried [2]*entry
	c.mu.Lock()
	for {
		recent := c.recent(key)
		if recent == tried {
			break
		}
		c.mu.Unlock()
		for _, e := range recent {
			if v, ok := c.takeOver(q, e, RejectedHit); ok {
				return v
			}
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

// recent returns what was found about the chain lately: an acceptance and a
// rejection, each nil if there is none. c.mu is held.
func (c *Cache) recent(key chainKey) (found [2]*entry) {
	found[0], _ = c.pending.get(key)
	found[1], _ = c.rejected.get(key)
	return found
}

// takeOver returns what somebody else found, if judging afresh would give the
// same answer now. A rejection gets the outcome named.
func (c *Cache) takeOver(q query, e *entry, rejected Outcome) (Verdict, bool) {
	if e == nil {
		return Verdict{}, false
	}
	now, bundle := c.now(), q.snap.Bundle(e.origin)
	if !e.live.current(bundle, q.snap, now) {
		return Verdict{}, false
	}
	if e.live.Err != nil {
		if rejected == RejectedHit {
			c.counters.rejectedHits.Add(1)
		} else {
			c.counters.coalesced.Add(1)
		}
		return e.verdict(q, bundle, rejected, now), true
	}
	if now.Sub(e.live.judgedAt) > pendingAge {
		return Verdict{}, false
	}
	c.counters.coalesced.Add(1)
	v := e.verdict(q, bundle, Coalesced, now)
	v.fresh = e
	return v, true
}

// lead judges afresh and leaves the entry for others: in a table before the flight
// ends, so that whoever finds no flight finds it there.
func (c *Cache) lead(q query, key chainKey, bytes int) (Verdict, *entry) {
	q.chain = c.links.share(q.chain)
	if q.proven != nil {
		q = q.holding(q.proven)
	}
	now := c.now()
	v, e := c.judge(q, Miss, now)
	c.counters.misses.Add(1)
	c.counters.verifyTime.Add(int64(v.IdentifyDuration + v.VerifyDuration))

	e.key = key
	if !v.Accepted() {
		e.live.span.end(now.Add(c.options.RejectedAge))
		c.mu.Lock()
		c.rejected.put(key, e)
		c.mu.Unlock()
		return v, e
	}
	e.live.span.end(now.Add(c.options.MaxAge))
	e.cost = costOf(q.chain, bytes)
	// A judgement of an open connection waits for nothing: it can be remembered at
	// once, and a round over all of them would push out what handshakes wait for.
	if e.cost <= maxPendingCost && !q.rejudged {
		c.mu.Lock()
		c.pending.put(key, e)
		c.mu.Unlock()
	}
	return v, e
}
