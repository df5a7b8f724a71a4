package footprint

import (
	"runtime/metrics"
	"time"
)

// sample is what the runtime says of its heap, in octets.
type sample struct {
	allocated uint64 // since the process began
	live      uint64 // that the last collection found
	held      uint64 // alive, dead, and free but not returned yet
	free      uint64 // of that, in no span
	ready     uint64 // of all memory, the part that counts for GOMEMLIMIT

	collections uint64 // how many there were
}

// names are those of a sample's parts in runtime/metrics: allocated, live, collections,
// then two with ready as their difference, and what adds up to held, with free first.
var names = [...]string{
	"/gc/heap/allocs:bytes",
	"/gc/heap/live:bytes",
	"/gc/cycles/total:gc-cycles",
	"/memory/classes/total:bytes",
	"/memory/classes/heap/released:bytes",
	"/memory/classes/heap/free:bytes",
	"/memory/classes/heap/objects:bytes",
	"/memory/classes/heap/unused:bytes",
}

func read() sample {
	var all [len(names)]metrics.Sample
	for i, name := range names {
		all[i].Name = name
	}
	metrics.Read(all[:])
	s := sample{
		allocated:   all[0].Value.Uint64(),
		live:        all[1].Value.Uint64(),
		collections: all[2].Value.Uint64(),
		ready:       all[3].Value.Uint64() - all[4].Value.Uint64(),
		free:        all[5].Value.Uint64(),
	}
	for _, part := range all[5:] {
		s.held += part.Value.Uint64()
	}
	return s
}

const (
	// calmBytes is how much a calm process allocates between two looks at most: what
	// 60 handshakes do, or 20 000 requests.
	calmBytes = 4 << 20
	// calmFor is how many looks in a row must find it calm.
	calmFor = 2
	// worth is how much must have been allocated since the last trim, because no more
	// can have become garbage; and a fifth of what is held, because a collection costs
	// more, the more is alive.
	worth = 16 << 20
	// rest is the least time between two trims. Load that comes in waves would have
	// its memory taken away between any two of them.
	rest = 4 * time.Second
)

// watch decides when to trim.
type watch struct {
	allocated uint64 // at the last look
	calm      int    // looks in a row
	trimmed   uint64 // allocated at the last trim
	last      time.Time
}

// due reports whether to trim now, and counts on it that it is done.
func (w *watch) due(now time.Time, s sample) bool {
	if s.allocated-w.allocated > calmBytes {
		w.calm = 0
	} else {
		w.calm++
	}
	w.allocated = s.allocated
	if w.calm < calmFor || now.Sub(w.last) < rest || s.allocated-w.trimmed < max(worth, s.held/5) {
		return false
	}
	w.last, w.trimmed = now, s.allocated
	return true
}

// growth decides when enough connections have come and stayed. Each has a goroutine.
type growth struct {
	collections uint64
	goroutines  int       // at the last collection
	allocated   uint64    // the same
	next        time.Time // not before
}

const (
	// stayed is how many goroutines there must be more than at the last collection at
	// least, and a twentieth of all: a collection looks at all of them, and the work for
	// each that comes is to be bounded.
	stayed    = 250
	twentieth = 20
	// eighth of what is alive must have been allocated since. Handshakes that were
	// done leave as much; goroutines of strangers who only connect do not, and cannot
	// make the process look through everything that is alive.
	eighth = 8
	// pause is how long not to collect again, as a multiple of how long it took. A
	// collection has a quarter of the processors where they are busy, so an eighth of
	// them at most is spent on this when everybody connects anew at once.
	pause = 1
)

// due reports whether to collect now, with so many goroutines.
func (g *growth) due(now time.Time, s sample, goroutines int) bool {
	if s.collections != g.collections {
		g.collections, g.goroutines, g.allocated = s.collections, goroutines, s.allocated
	}
	g.goroutines = min(g.goroutines, goroutines)
	return !now.Before(g.next) &&
		goroutines-g.goroutines > max(stayed, g.goroutines/twentieth) &&
		s.allocated-g.allocated >= s.live/eighth
}

// collected takes note of a collection that was due and took so long until now.
func (g *growth) collected(now time.Time, took time.Duration) { g.next = now.Add(pause * took) }
