package verifycache

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

// countersPerEntry is how many counters of use ristretto gets for an entry, four
// times its advice. Its four rows of counters differ by a mask alone, so that two
// keys share all of their counters or none: of the strangers who pass by once, those
// who share a busy client's are taken for busy and push out others. A crowd of a
// million costs the busy half of a full cache 1.8 % of its hits with 10 counters for
// each entry, 0.6 % with 20 and 0.2 % with 40, which take 16 MB per 100 000 entries.
const countersPerEntry = 40

const (
	// firstShare of the entries allowed is what there is room for at first, but not
	// less than firstEntries if so many are allowed.
	firstShare   = 16
	firstEntries = 4096
	// growth is how many times larger the next size is.
	growth = 4
	// spare is which part of the room must be left, or the next size is due: as much
	// as may come in while entries are moved.
	spare = 8
)

// library is ristretto in a size that follows use. Its counters take 16 MB for
// 100 000 entries, and since hashes choose among them, a few thousand clients touch
// every page. So there are few at first, and when the room runs out everything moves
// to a larger one. What was counted until then is forgotten and not missed: it decides
// who has to go, and there is room again.
type library struct {
	cache     *Cache
	keyToHash func([]byte) (uint64, uint64)
	max       int // entries

	// mu is held for reading while a generation is in use: it must not be closed then.
	mu     sync.RWMutex
	now    *generation
	before *generation // what now takes the place of; nil once that is empty

	growing atomic.Bool // from when a generation is opened until it has all entries
	moves   sync.WaitGroup
}

// generation is the library in one of its sizes.
type generation struct {
	*ristretto.Cache[[]byte, *entry]
	entries int         // there is room for
	retired atomic.Bool // its entries have moved, and are not evicted when it closes
}

func newLibrary(c *Cache, keyToHash func([]byte) (uint64, uint64)) (*library, error) {
	l := &library{cache: c, keyToHash: keyToHash, max: c.options.MaxEntries}
	var err error
	l.now, err = l.open(max(l.max/firstShare, min(l.max, firstEntries)))
	return l, err
}

func (l *library) open(entries int) (*generation, error) {
	g := &generation{entries: entries}
	var err error
	g.Cache, err = ristretto.NewCache(&ristretto.Config[[]byte, *entry]{
		NumCounters: countersPerEntry * int64(entries),
		MaxCost:     int64(entries),
		BufferItems: 64, // the library's advice
		// Or 56 octets would be added to each cost, and 100 000 entries be 1 754.
		IgnoreInternalCost: true,
		KeyToHash:          l.keyToHash,
		OnEvict: func(item *ristretto.Item[*entry]) {
			if !g.retired.Load() {
				l.cache.evicted(item)
			}
		},
		OnReject: l.cache.refused,
		OnExit:   l.cache.exited,
	})
	if err != nil {
		return nil, fmt.Errorf("verifycache: %w", err)
	}
	return g, nil
}

// Get returns the entry of a key.
func (l *library) Get(key []byte) (*entry, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	e, found := l.now.Get(key)
	if !found && l.before != nil {
		e, found = l.before.Get(key)
	}
	return e, found
}

// Set has e kept for ttl, unless it is dropped: then it returns false.
func (l *library) Set(e *entry, ttl time.Duration) bool {
	l.mu.RLock()
	g := l.now
	taken := g.SetWithTTL(e.key[:], e, e.cost, ttl)
	scarce := g.entries < l.max && g.RemainingCost() < int64(g.entries/spare)
	l.mu.RUnlock()
	if scarce && l.growing.CompareAndSwap(false, true) {
		l.grow(g)
	}
	return taken
}

// grow puts a larger generation in the place of from, unless that has happened. The
// caller has set growing.
func (l *library) grow(from *generation) {
	l.mu.RLock()
	grown := l.now != from
	l.mu.RUnlock()
	if grown {
		l.growing.Store(false)
		return
	}
	// Megabytes are set up before anybody is kept out. It fails for numbers that are not
	// positive, and these are.
	to, err := l.open(min(growth*from.entries, l.max))
	if err != nil {
		l.growing.Store(false)
		return
	}
	l.mu.Lock()
	l.before, l.now = from, to
	l.mu.Unlock()
	l.moves.Go(func() { l.move(from, to) })
}

// move moves the entries from one generation to the next. Until that is done, they
// are found in the old one.
func (l *library) move(from, to *generation) {
	from.Wait() // for what is on its way in
	var entries []*entry
	from.IterValues(func(e *entry) bool {
		entries = append(entries, e)
		return false
	})
	for _, e := range entries {
		if _, newer := to.GetTTL(e.key[:]); newer {
			continue
		}
		ttl := e.live.span.before.Sub(l.cache.now())
		if ttl <= 0 {
			continue
		}
		l.cache.counters.entries.Add(1)
		for !to.SetWithTTL(e.key[:], e, e.cost, ttl) && !l.cache.closed.Load() {
			to.Wait() // its queue was full
		}
	}
	to.Wait()
	l.mu.Lock()
	l.before = nil
	l.mu.Unlock()
	l.growing.Store(false)
	from.retired.Store(true)
	from.Close()
}

// Close ends what goes on in the background. No Get or Set may be under way.
func (l *library) Close() {
	l.moves.Wait()
	l.now.Close()
}
