package verifycache

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"verigate/certpath"
	"verigate/internal/race"
)

// traffic is what a cache sees of very many clients, without certificates: a
// million of them would take minutes to sign. What is looked up and remembered are
// keys, through the same library and by the same Remember as verdicts.
type traffic struct {
	cache  *Cache
	random *rand.Rand
	path   certpath.Path
	writes int
}

func newTraffic(t testing.TB, entries int) *traffic {
	t.Helper()
	return &traffic{cache: open(t, Options{MaxEntries: entries}), random: rand.New(rand.NewPCG(5, 6))}
}

// connect is one handshake of client n, and reports whether it was a hit.
func (c *traffic) connect(n int) bool {
	key := keyOfClient(n)
	// Handshakes leave the library time to take note of each other; it drops what it
	// has no time for.
	runtime.Gosched()
	if e, found := c.cache.accepted.Get(key[:]); found && e.key == key {
		return true
	}
	e := &entry{key: key, cost: 1}
	e.live.span.end(time.Now().Add(time.Hour))
	c.cache.Remember(&Verdict{Path: &c.path, fresh: e})
	if c.writes++; c.writes%64 == 0 {
		c.cache.accepted.Wait()
	}
	return false
}

func keyOfClient(n int) chainKey {
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], uint64(n))
	return sha256.Sum256(number[:])
}

// hotRatio has hot clients reconnect again and again, each round as often as
// strangers of a whole crowd come once each, and returns the ratio of hits among
// the hot ones in the second half.
func (c *traffic) hotRatio(hot, crowd int) float64 {
	for n := range hot {
		c.connect(n)
	}
	hits, asked := 0, 0
	for i := range crowd {
		hit := c.connect(c.random.IntN(hot))
		if i >= crowd/2 {
			asked++
			if hit {
				hits++
			}
		}
		c.connect(hot + i)
	}
	return float64(hits) / float64(asked)
}

// A crowd of clients that come once does not push out those who come all the time,
// although the cache is full many times over. They lose next to nothing, as
// BenchmarkCrowd shows; how much depends on how busy the machine is, because the
// library forgets what it has no time for.
func TestCrowdDoesNotEvictTheBusy(t *testing.T) {
	if race.Enabled {
		t.Log("under the race detector a sync.Pool loses a part of what it is given, and with it the library its count")
		return
	}
	const entries, hot, crowd = 2000, 1000, 50_000
	c := newTraffic(t, entries)
	if ratio := c.hotRatio(hot, crowd); ratio < 0.99 {
		t.Errorf("%d busy clients among %d others hit a cache of %d in %.1f %% of their handshakes, want 99 %% at least", hot, crowd, entries, 100*ratio)
	}
	if n := c.cache.Stats().Entries; n < entries/2 {
		t.Errorf("Stats().Entries = %d, want a full cache", n)
	}
}

// BenchmarkCrowd is the same at the size of the default: a million clients that come
// once, and 50 000 that come again and again, in a cache for 100 000.
func BenchmarkCrowd(b *testing.B) {
	ratio := 0.0
	for b.Loop() {
		ratio = newTraffic(b, 100_000).hotRatio(50_000, 1_000_000)
	}
	b.ReportMetric(100*ratio, "%hits-of-busy")
}
