package verifycache

import (
	"sync/atomic"
	"time"
)

// Stats is what happened since the cache was made. Counters only grow; Entries,
// Rejected and Links are what is held now.
type Stats struct {
	// Every Verify and Rejudge counts in exactly one of these, by the outcome of its
	// verdict. So does a Recall that has one.
	Hits, Misses, Coalesced, RejectedHits, Bypassed uint64
	// StaleHits were found and judged afresh all the same: outside the path's
	// validity, too old, denied or revoked by now, or of another bundle. They count in
	// Misses or another outcome too. What only the shadow has to say anew is none.
	StaleHits uint64
	// Evictions are accepted entries that had to make room for others. More than a
	// trickle means that MaxEntries is smaller than the population of clients.
	Evictions uint64
	// SetsDropped are accepted verdicts that the library did not take: its queue
	// was full, or the entries that it would have had to evict are used more often.
	SetsDropped uint64
	// Entries may include verdicts that are on their way in.
	Entries, Rejected, Links uint64
	// VerifyTime was spent on judging afresh, by misses. Shadows are not included.
	VerifyTime time.Duration
	// SavedTime is the sum, over all hits, of what judging that chain had taken.
	SavedTime time.Duration
}

// counters are plain atomics: a hit adds to two of them, which is lost beside the
// hundreds of microseconds that its handshake takes even on many cores.
type counters struct {
	hits, misses, coalesced, rejectedHits, bypassed atomic.Uint64
	staleHits, evictions, setsDropped               atomic.Uint64
	entries                                         atomic.Int64
	verifyTime, savedTime                           atomic.Int64
}

// Stats returns the counters. Each is exact; they are not read at one moment.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	rejected := c.rejected.len()
	c.mu.Unlock()
	n := &c.counters
	return Stats{
		Hits:         n.hits.Load(),
		Misses:       n.misses.Load(),
		Coalesced:    n.coalesced.Load(),
		RejectedHits: n.rejectedHits.Load(),
		Bypassed:     n.bypassed.Load(),
		StaleHits:    n.staleHits.Load(),
		Evictions:    n.evictions.Load(),
		SetsDropped:  n.setsDropped.Load(),
		Entries:      uint64(max(n.entries.Load(), 0)),
		Rejected:     uint64(rejected),
		Links:        uint64(c.links.len()),
		VerifyTime:   time.Duration(n.verifyTime.Load()),
		SavedTime:    time.Duration(n.savedTime.Load()),
	}
}
