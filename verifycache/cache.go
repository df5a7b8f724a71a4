package verifycache

import (
	"cmp"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"verigate/certpath"
	"verigate/trust"
)

// Options configures a [Cache]. Zero values get the defaults named.
type Options struct {
	// Disabled makes every verdict a [Bypass]: nothing is kept, not even CA
	// signatures. The verdicts are the same.
	Disabled bool
	// MaxEntries is how many accepted chains are kept; 100 000. Make it at least
	// twice the population of clients: a full cache starves newcomers. A chain of
	// more than 8 KiB counts once per 8 KiB begun, so that what an entry can pin in
	// memory is bounded too.
	MaxEntries int
	// MaxAge is how long an accepted verdict is used; 15 min. Expiry, the bundle, CRLs
	// and the deny-list are looked at on every hit whatever MaxAge is.
	MaxAge time.Duration
	// MaxRejected is how many rejections are kept; 4 096.
	MaxRejected int
	// RejectedAge is how long a rejection is used; 5 s.
	RejectedAge time.Duration
	// MaxLinks is how many signatures between CAs are kept; 4 096.
	MaxLinks int
	// Now is the clock; time.Now.
	Now func() time.Time
}

// Accepted verdicts that wait for their Remember. Enough for every handshake that
// can be under way on a few cores within pendingAge; an evicted one costs a
// validation.
const (
	maxPending = 1024
	pendingAge = time.Second
)

// costUnit is how many octets of DER count as one entry. Three certificates have
// about 2 KiB with P-256, 4 KiB with RSA and 12 to 20 KiB with ML-DSA. It bounds
// what a workload of bad will can pin by padding its chain to the limit: the
// certificate of a CA that was not known yet, parsed by crypto/tls, refers to the
// whole handshake message.
const costUnit = 8 << 10

// maxPendingCost is what an entry may cost to wait for its Remember. Whoever has
// seen a workload's certificate can make many that are large, without its key, and
// they stay until others take their place. A larger chain is validated once more
// if its handshakes overlap.
const maxPendingCost = 4

// costOf returns the cost of an entry for chain, which has that many octets of DER.
// What crypto/tls parsed refers to the message that it came in, in which a client
// can put far more than certificates, such as a stapled response of 60 KiB that
// nobody asked for. The first certificate's capacity ends where the message does.
func costOf(chain []*x509.Certificate, bytes int) int64 {
	bytes = max(bytes, cap(chain[0].Raw))
	return int64((bytes + costUnit - 1) / costUnit)
}

// Cache remembers verdicts. Its methods may be called concurrently, with the
// exception of [Cache.Close].
type Cache struct {
	options  Options
	now      func() time.Time
	accepted *library // nil when disabled
	links    *links
	closed   atomic.Bool
	counters counters

	mu       sync.Mutex
	flights  map[flightKey]*flight
	pending  table[chainKey, *entry]
	rejected table[chainKey, *entry]
}

// New returns an empty cache. It fails if an option is negative.
func New(o Options) (*Cache, error) { return newCache(o, words) }

// newCache lets a test choose what the library finds entries by.
func newCache(o Options, keyToHash func([]byte) (uint64, uint64)) (*Cache, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c := &Cache{
		options:  o,
		now:      o.Now,
		links:    newLinks(o.MaxLinks),
		flights:  make(map[flightKey]*flight),
		pending:  newTable[chainKey, *entry](maxPending),
		rejected: newTable[chainKey, *entry](o.MaxRejected),
	}
	if o.Disabled {
		return c, nil
	}
	accepted, err := newLibrary(c, keyToHash)
	if err != nil {
		return nil, err
	}
	c.accepted = accepted
	return c, nil
}

func (o *Options) complete() error {
	if o.MaxEntries < 0 || o.MaxAge < 0 || o.MaxRejected < 0 || o.RejectedAge < 0 || o.MaxLinks < 0 {
		return errors.New("verifycache: a negative limit; leave it zero for the default")
	}
	o.MaxEntries = cmp.Or(o.MaxEntries, 100_000)
	o.MaxAge = cmp.Or(o.MaxAge, 15*time.Minute)
	o.MaxRejected = cmp.Or(o.MaxRejected, 4096)
	o.RejectedAge = cmp.Or(o.RejectedAge, 5*time.Second)
	o.MaxLinks = cmp.Or(o.MaxLinks, 4096)
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// Verify judges chain, leaf first as presented, by snap: its limits, the
// identifier, whether scope admits its origin, the path to an anchor of that origin
// that no CRL speaks against, the deny-list, and whether the grade is what the origin
// demands. A nil snap trusts nobody and a nil scope admits nobody. If the bundle of
// the origin has a shadow, the verdict has what that says as well.
//
// It is a gate only, to be called before the peer has proven its key: nothing that
// it keeps is trusted later without being compared with what is presented then.
// Hand an accepted verdict to [Cache.Remember] after the proof.
//
// A hit takes one to two microseconds and does not allocate. Otherwise Verify takes
// as long as the path validation, its own or a concurrent one of the same chain
// that it waits for. chain is not modified; its certificates must not be modified
// afterwards.
func (c *Cache) Verify(chain []*x509.Certificate, role certpath.Role, scope *Scope, snap *trust.Snapshot) Verdict {
	return c.verify(query{chain: chain, role: role, scope: scope, snap: snap})
}

// Rejudge is [Cache.Verify] for a peer whose connection is open. proven is the path
// that it was accepted by before: signatures between its certificates are not
// checked once more, so that a round over all connections after a change of trust
// costs a fraction of their handshakes. It may be nil. If there is one, chain may have
// nil in the place of the leaf, which is proven's then.
//
// The key was proven when the connection began, so the verdict may be handed to
// [Cache.Remember] at once.
func (c *Cache) Rejudge(proven *certpath.Path, chain []*x509.Certificate, role certpath.Role, scope *Scope, snap *trust.Snapshot) Verdict {
	q := query{chain: chain, role: role, scope: scope, snap: snap, proven: proven, rejudged: true}
	if proven != nil && len(chain) > 0 && chain[0] == nil {
		if v, known := c.Recall(proven.RawLeaf(), chain, role, scope, snap); known {
			return v
		}
		q = q.holding(proven)
	}
	return c.verify(q)
}

func (c *Cache) verify(q query) Verdict {
	if c.accepted == nil || c.closed.Load() {
		c.counters.bypassed.Add(1)
		v, _ := c.judge(q, Bypass, c.now())
		return v
	}
	bytes, ok := keyable(q.chain)
	if !ok {
		c.counters.misses.Add(1)
		v, _ := c.judge(q, Miss, c.now())
		return v
	}

	q.known = c.links
	h := hashers.Get().(*hasher)
	h.sum(q.chain, q.role, q.scope)
	key, e := c.find(h)
	if e != nil {
		now, bundle := c.now(), q.snap.Bundle(e.origin)
		if e.live.current(bundle, q.snap, now) {
			return c.hit(e, q, bundle, now)
		}
		c.counters.staleHits.Add(1)
		// The same octets: what was signed then is signed now.
		q.proven = e.live.Path
	}
	return c.coalesce(q, key, bytes)
}

// Recall is [Cache.Verify] for a chain that was presented before, if what is kept has
// the answer: then it is a hit like any other, and the leaf, which takes longer to
// parse than to look up, need not be parsed.
//
// leaf is the leaf in DER, and chain the whole of what was presented with nil in the
// place of the leaf. It returns false, and has done nothing, if there is no hit: the
// leaf has to be parsed then, and Verify be asked.
func (c *Cache) Recall(leaf []byte, chain []*x509.Certificate, role certpath.Role, scope *Scope, snap *trust.Snapshot) (Verdict, bool) {
	if c.accepted == nil || c.closed.Load() {
		return Verdict{}, false
	}
	issuers := chain[1:]
	if _, ok := keyableWith(leaf, issuers); !ok {
		return Verdict{}, false
	}
	h := hashers.Get().(*hasher)
	h.sumWith(leaf, issuers, role, scope)
	_, e := c.find(h)
	if e == nil {
		return Verdict{}, false
	}
	now, bundle := c.now(), snap.Bundle(e.origin)
	if !e.live.current(bundle, snap, now) {
		return Verdict{}, false
	}
	return c.hit(e, query{chain: chain, role: role, scope: scope, snap: snap, known: c.links}, bundle, now), true
}

// find returns the accepted entry with the key that h has computed, nil if there is
// none, and puts h back.
func (c *Cache) find(h *hasher) (chainKey, *entry) {
	e, found := c.accepted.Get(h.key[:])
	key := h.key
	hashers.Put(h)
	if !found || e.key != key {
		return key, nil
	}
	return key, e
}

// hit counts e, which is current, and returns what it says.
func (c *Cache) hit(e *entry, q query, bundle *trust.Bundle, now time.Time) Verdict {
	c.counters.hits.Add(1)
	c.counters.savedTime.Add(int64(e.took))
	return e.verdict(q, bundle, Hit, now)
}

// Remember keeps an accepted verdict of this cache's Verify. It is to be called
// when the peer has proven that it holds the key of the leaf, and not before
// (TLS-13). It does nothing for a verdict that is kept already, and for one that
// must not be: rejected, or given by a cache that is disabled.
//
// It is cheap and does not wait: a following Verify may still judge afresh, and
// so may later ones when the cache is too small or too busy.
func (c *Cache) Remember(v *Verdict) {
	if !v.Accepted() || v.fresh == nil || c.accepted == nil || c.closed.Load() {
		return
	}
	e := v.fresh
	// All who shared one validation come here with the same entry.
	if !e.remembered.CompareAndSwap(false, true) {
		return
	}
	// The library's own clock only tidies up; each hit is judged by ours. It takes
	// a TTL of zero for "forever".
	ttl := e.live.span.before.Sub(c.now())
	if ttl <= 0 {
		return
	}
	c.counters.entries.Add(1)
	if !c.accepted.Set(e, ttl) {
		c.counters.entries.Add(-1)
		c.counters.setsDropped.Add(1)
		e.remembered.Store(false)
	}
}

// Close releases the goroutines. No Verify or Remember may be under way; later
// ones are bypasses.
func (c *Cache) Close() {
	if c.closed.Swap(true) || c.accepted == nil {
		return
	}
	c.accepted.Close()
}

// evicted is told of entries that made room for others, and of entries whose time
// was over: these have an expiration.
func (c *Cache) evicted(item *ristretto.Item[*entry]) {
	if item.Expiration.IsZero() && !c.closed.Load() {
		c.counters.evictions.Add(1)
	}
}

// refused is told of entries that were not worth evicting others for.
func (c *Cache) refused(*ristretto.Item[*entry]) { c.counters.setsDropped.Add(1) }

// exited is told of every entry that is not held any longer, or was never.
func (c *Cache) exited(e *entry) {
	if e != nil {
		c.counters.entries.Add(-1)
	}
}
