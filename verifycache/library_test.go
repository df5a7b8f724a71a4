package verifycache

import (
	"testing"
	"time"

	"verigate/certpath"
)

// A cache grows with its entries and loses none of them on the way: not those that
// are moved, and not those that come meanwhile.
func TestGrowthLosesNothing(t *testing.T) {
	t.Parallel()
	const clients = 5 * firstEntries
	c := newTraffic(t, 20*firstEntries)
	sizes := map[int]bool{}
	for n := range clients {
		c.connect(n)
		if n%64 == 0 {
			c.cache.accepted.Wait()
			sizes[c.cache.accepted.now.entries] = true
		}
	}
	c.cache.accepted.Wait()
	for n := range clients {
		if !c.connect(n) {
			t.Fatalf("client %d of %d is not known any more", n, clients)
		}
	}
	if got := c.cache.Stats(); got.Entries != clients || got.Evictions != 0 || got.SetsDropped != 0 {
		t.Errorf("Stats() = %+v, want %d entries, none evicted or dropped", got, clients)
	}
	if len(sizes) < 3 {
		t.Errorf("it had the sizes %v, want three", sizes)
	}
}

// Entries that are to be moved are found all the while, and the newer of two stays.
func TestMovingEntriesAreFound(t *testing.T) {
	t.Parallel()
	const clients = 100
	c := newTraffic(t, 20*firstEntries)
	l := c.cache.accepted
	allKnown := func(when string) {
		t.Helper()
		for n := range clients {
			if !c.connect(n) {
				t.Fatalf("client %d is not known %s", n, when)
			}
		}
	}
	for n := range clients {
		c.connect(n)
	}
	l.Wait()
	next, err := l.open(l.max)
	must(t, err)
	old := l.now
	l.before, l.now = old, next
	allKnown("before the move")
	newer := &entry{key: keyOfClient(0), cost: 1}
	newer.live.span.end(time.Now().Add(time.Hour))
	c.cache.Remember(&Verdict{Path: &c.path, fresh: newer})
	l.now.Wait()
	l.move(old, next)
	allKnown("after the move")
	if e, _ := l.Get(newer.key[:]); e != newer {
		t.Error("the move put an older entry in the place of a newer one")
	}
	if got := c.cache.Stats(); got.Entries != clients {
		t.Errorf("Stats().Entries = %d, want %d", got.Entries, clients)
	}
}

// An entry that is moved is kept for what is left of its own time, by the cache's clock.
func TestMovedEntryKeepsItsTime(t *testing.T) {
	t.Parallel()
	clock := newClock()
	c := open(t, Options{MaxEntries: 20 * firstEntries, Now: clock.Now})
	l := c.accepted
	const passed = 2 * time.Hour
	left := map[int]time.Duration{0: 10 * time.Minute, 1: 5 * time.Hour, 2: 300 * time.Hour, 3: -time.Minute}
	var path certpath.Path
	for n := range len(left) {
		e := &entry{key: keyOfClient(n), cost: 1}
		e.live.span.end(clock.Now().Add(passed + left[n]))
		c.Remember(&Verdict{Path: &path, fresh: e})
	}
	l.Wait()
	next, err := l.open(l.max)
	must(t, err)
	old := l.now
	l.before, l.now = old, next
	clock.Advance(passed)
	before := time.Now() // the library's clock
	l.move(old, next)
	for n, want := range left {
		key := keyOfClient(n)
		got, kept := next.GetTTL(key[:])
		switch {
		case want < 0 && kept:
			t.Errorf("an entry whose time is over was moved, and is kept for %v", got)
		case want > 0 && (!kept || got > want || got < want-time.Since(before)):
			t.Errorf("an entry with %v left is kept for %v (%v) after the move, %v later at most", want, got, kept, time.Since(before))
		}
	}
}

// A new cache is small, whatever it is allowed to hold.
func TestNewCacheIsSmall(t *testing.T) { // not parallel: the heap is the process's
	before := heapBytes()
	c := open(t, Options{})
	if held := heapBytes() - before; held > 3<<20 {
		t.Errorf("a new cache for %d entries holds %d octets, want no more than 3 MiB", c.options.MaxEntries, held)
	}
}
