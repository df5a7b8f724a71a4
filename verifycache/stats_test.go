package verifycache

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"verigate/certpath"
	"verigate/devpki"
)

// A clock that moves by a millisecond per look makes durations exact: a
// validation looks three times, a hit once.
func TestStatsTellWhatWasSpentAndSaved(t *testing.T) {
	t.Parallel()
	var looks atomic.Int64
	start := time.Now()
	w := newWorld(t, Options{Now: func() time.Time { return start.Add(time.Duration(looks.Add(1)) * time.Millisecond) }})
	a, b := w.leaf(t, prod+"/a"), w.leaf(t, prod+"/b")

	v := w.prove(t, a)
	if v.IdentifyDuration != time.Millisecond || v.VerifyDuration != time.Millisecond {
		t.Fatalf("a miss took %v and %v, want 1ms and 1ms", v.IdentifyDuration, v.VerifyDuration)
	}
	w.prove(t, b)
	w.want(t, newHierarchy(t).leaf(t, prod+"/a"), Miss, certpath.ReasonUntrustedChain)
	for range 5 {
		w.want(t, a, Hit, certpath.ReasonNone)
	}
	want := Stats{Hits: 5, Misses: 3, Entries: 2, Rejected: 1, Links: 2, VerifyTime: 6 * time.Millisecond, SavedTime: 10 * time.Millisecond}
	if got := w.cache.Stats(); got != want {
		t.Errorf("Stats() = %+v, want %+v", got, want)
	}
}

// A full cache says so, and Entries is what is really held.
func TestStatsOfAFullCache(t *testing.T) {
	t.Parallel()
	const max, offered = 32, 500
	w := newWorld(t, Options{MaxEntries: max})
	chain, extra := w.leaf(t, prod+"/a"), newHierarchy(t).root.Certificate
	for n := range offered {
		w.prove(t, append(chain[:3:3], forged(t, extra, n)))
	}
	held := uint64(0)
	w.cache.accepted.IterValues(func(*entry) bool { held++; return false })
	s := w.cache.Stats()
	if s.Entries != held || held > max || held < max/2 {
		t.Errorf("Stats().Entries = %d, held are %d, want at most %d and not far below", s.Entries, held, max)
	}
	if s.Evictions+s.SetsDropped != offered-held {
		t.Errorf("%d evictions and %d sets dropped, want %d together", s.Evictions, s.SetsDropped, offered-held)
	}
}

// Entries whose time is over leave by themselves, and that is not an eviction.
func TestExpiredEntriesLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{MaxAge: time.Minute, Now: time.Now})
		w.prove(t, w.leaf(t, prod+"/a"))
		time.Sleep(50 * time.Second)
		if s := w.cache.Stats(); s.Entries != 1 {
			t.Errorf("Stats().Entries = %d before its time, want 1", s.Entries)
		}
		time.Sleep(30 * time.Second)
		if s := w.cache.Stats(); s.Entries != 0 || s.Evictions != 0 {
			t.Errorf("Stats() = %+v after its time, want no entry and no eviction", s)
		}
	})
}

// What an entry can pin in memory is bounded: padding a chain takes the place of
// other entries.
func TestLargeChainsCountForSeveral(t *testing.T) {
	t.Parallel()
	const max = 32
	w := newWorld(t, Options{MaxEntries: max})
	chain := w.leaf(t, prod+"/a")
	padding, err := devpki.NewRoot(devpki.CAOptions{Edit: func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, 36<<10)}}
	}})
	must(t, err)
	for n := range max {
		v := w.prove(t, append(chain[:3:3], forged(t, padding.Certificate, n)))
		if v.fresh.cost != 5 {
			t.Fatalf("an entry for 38 KiB costs %d, want 5", v.fresh.cost)
		}
	}
	if n := w.cache.Stats().Entries; n == 0 || n > max/5 {
		t.Errorf("Stats().Entries = %d, want at most %d of that size", n, max/5)
	}
}

// TestCostIsThatOfTheMessage: a certificate keeps the whole message in memory that
// it came in, which has room for more than certificates.
func TestCostIsThatOfTheMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	small, err := x509.ParseCertificate(slices.Clip(bytes.Clone(chain[0].Raw)))
	must(t, err)
	message := append(make([]byte, 0, 100<<10), chain[0].Raw...)
	large, err := x509.ParseCertificate(message)
	must(t, err)
	for _, tt := range []struct {
		leaf    *x509.Certificate
		cost    int64
		pending int
	}{{large, 13, 0}, {small, 1, 1}} {
		v := w.verify(append([]*x509.Certificate{tt.leaf}, chain[1:]...))
		if !v.Accepted() || v.fresh.cost != tt.cost {
			t.Errorf("an entry that keeps %d octets: %v at a cost of %d, want accepted at %d", cap(tt.leaf.Raw), v.Err, v.fresh.cost, tt.cost)
		}
		if n := w.cache.pending.len(); n != tt.pending {
			t.Errorf("%d entries wait for a proof after one at a cost of %d, want %d", n, tt.cost, tt.pending)
		}
	}
}
