package assurance

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// DetectorOptions bounds a [Detector]. Zero values get the defaults named.
type DetectorOptions struct {
	// MaxIdentitiesPerKey is how many identities one key may be seen under within
	// Window; 1. At most 64.
	MaxIdentitiesPerKey int
	// MaxNetworksPerLeaf is how many client networks one leaf may be seen from within
	// Window; 8. At most 256. A network is an IPv4 address or an IPv6 /64.
	MaxNetworksPerLeaf int
	// Window is how long a sighting counts; 10 min.
	Window time.Duration
	// MaxKeys bounds what is remembered; 65 536, rounded up to a multiple of 8. At
	// most 16 777 216. A key takes some 240 octets with the other defaults.
	MaxKeys int
}

// Bounds on a [DetectorOptions]: a sighting is compared with everything that is
// remembered of its key.
const (
	maxIdentities = 64
	maxNetworks   = 256
	maxKeys       = 1 << 24
)

// Sighting is one proven use of a credential.
type Sighting struct {
	Key      [32]byte   // SHA-256 of the leaf's SubjectPublicKeyInfo
	Identity string     // empty: says nothing about identities
	Network  netip.Addr // of the client; the zero Addr says nothing about networks
}

// Findings are what sightings say against a credential. The zero Findings is
// nothing.
type Findings struct {
	SharedKey    bool // the key was seen under several identities
	ManyNetworks bool // the leaf was seen from many networks
}

// IsZero reports whether nothing was found.
func (f Findings) IsZero() bool { return f == Findings{} }

// Lower returns g as it is in the light of f: whoever shares a credential cannot be
// told apart (ASR-04), so no more than MIAL-1, and no Reuse.
func (f Findings) Lower(g Grade) Grade {
	if f.IsZero() {
		return g
	}
	g.MIAL = min(g.MIAL, MIAL1)
	g.MAAL[Reuse] = 0
	return g
}

// Detector notices credentials that are shared (ASR-04, ID-17): one key under
// several identities, or in more networks than one workload is at home in. It
// counts what was seen within a window that slides, so a finding ends when what led
// to it has not been seen for so long.
//
// Its memory is bounded, and full it forgets the key of a few that was not seen for
// the longest time. It is a smoke detector, therefore, and not a proof of absence:
// whoever can make enough keys be certified can make it forget. It may be used
// concurrently; a nil *Detector finds nothing.
type Detector struct {
	identities, networks int // places per key: one more than allowed
	window               time.Duration
	seed                 maphash.Seed
	sets                 []keySet
}

// keysPerSet is how many keys compete for the same memory.
const keysPerSet = 8

// keySet remembers the keys that one hash leads to. Which those are depends on a
// seed, so that nobody can pick a key that pushes another one out.
type keySet struct {
	mu     sync.Mutex
	keys   []seenKey // empty until the first sighting
	places []place   // of all keys, one behind the other
}

// seenKey is a key with the time of its last sighting.
type seenKey struct {
	key  [32]byte
	last int64
	used bool
}

// place remembers one identity or one network, by a hash, and when it was last
// seen with its key. A collision would miss a finding, never make one up.
type place struct {
	value uint64 // 0: free
	last  int64  // nanoseconds since 1970
}

// NewDetector returns a detector that has seen nothing, or an error if an option
// is negative or above its bound.
func NewDetector(o DetectorOptions) (*Detector, error) {
	identities, networks := cmp.Or(o.MaxIdentitiesPerKey, 1), cmp.Or(o.MaxNetworksPerLeaf, 8)
	keys, window := cmp.Or(o.MaxKeys, 1<<16), cmp.Or(o.Window, 10*time.Minute)
	for _, bounded := range []struct {
		name         string
		value, bound int
	}{
		{"identities per key", identities, maxIdentities},
		{"networks per leaf", networks, maxNetworks},
		{"keys", keys, maxKeys},
	} {
		if bounded.value < 0 || bounded.value > bounded.bound {
			return nil, fmt.Errorf("assurance: detector: %d %s, want 1 to %d", bounded.value, bounded.name, bounded.bound)
		}
	}
	if window < 0 {
		return nil, errors.New("assurance: detector: negative window")
	}
	return &Detector{
		identities: identities + 1,
		networks:   networks + 1,
		window:     window,
		seed:       maphash.MakeSeed(),
		sets:       make([]keySet, (keys+keysPerSet-1)/keysPerSet),
	}, nil
}

// Observe takes note of s, which happened at now, and returns what is known against
// its credential. It compares s with what is remembered of one key, and allocates
// only while its memory grows.
func (d *Detector) Observe(s Sighting, now time.Time) Findings {
	if d == nil {
		return Findings{}
	}
	at := now.UnixNano()
	set := &d.sets[maphash.Bytes(d.seed, s.Key[:])%uint64(len(d.sets))]
	set.mu.Lock()
	defer set.mu.Unlock()
	places := set.placesOf(s.Key, at, d.identities+d.networks)
	identities, networks := places[:d.identities], places[d.identities:]
	if s.Identity != "" {
		note(identities, maphash.String(d.seed, s.Identity), at)
	}
	if network, ok := networkOf(s.Network); ok {
		note(networks, maphash.Bytes(d.seed, network[:]), at)
	}
	since := at - int64(d.window)
	return Findings{SharedKey: allSeen(identities, since), ManyNetworks: allSeen(networks, since)}
}

// placesOf returns the places of key, which are empty if it was not remembered. If
// need be it takes those of the key that was not seen for the longest time.
func (s *keySet) placesOf(key [32]byte, at int64, perKey int) []place {
	if s.keys == nil {
		s.keys, s.places = make([]seenKey, keysPerSet), make([]place, keysPerSet*perKey)
	}
	oldest := 0
	for i := range s.keys {
		k := &s.keys[i]
		if k.used && k.key == key {
			k.last = max(k.last, at)
			return s.places[i*perKey : (i+1)*perKey]
		}
		if first := &s.keys[oldest]; first.used && (!k.used || k.last < first.last) {
			oldest = i
		}
	}
	s.keys[oldest] = seenKey{key: key, last: at, used: true}
	places := s.places[oldest*perKey : (oldest+1)*perKey]
	clear(places)
	return places
}

// note remembers that value was seen at the given time, in place of what was not
// seen for the longest time. Places for one value more than allowed are therefore
// enough to know whether more than allowed were seen in any window.
func note(places []place, value uint64, at int64) {
	value = max(value, 1) // 0 is a free place
	oldest := 0
	for i := range places {
		p := &places[i]
		if p.value == value {
			p.last = max(p.last, at)
			return
		}
		if first := &places[oldest]; first.value != 0 && (p.value == 0 || p.last < first.last) {
			oldest = i
		}
	}
	places[oldest] = place{value: value, last: at}
}

// allSeen reports whether every place has a value that was seen after since.
func allSeen(places []place, since int64) bool {
	for _, p := range places {
		if p.value == 0 || p.last <= since {
			return false
		}
	}
	return true
}

// networkOf returns what counts as one network: an IPv4 address, in whichever form
// it comes, or the first 64 bits of an IPv6 address, since what follows is the
// client's to choose.
func networkOf(a netip.Addr) (network [17]byte, ok bool) {
	if !a.IsValid() {
		return network, false
	}
	a = a.Unmap()
	octets := a.As16()
	copy(network[:16], octets[:])
	if a.Is4() {
		network[16] = 4
	} else {
		binary.BigEndian.PutUint64(network[8:16], 0)
		network[16] = 6
	}
	return network, true
}

// Len returns how many keys are remembered. It is for tests and for operators, as
// it looks at everything.
func (d *Detector) Len() (n int) {
	if d == nil {
		return 0
	}
	for i := range d.sets {
		set := &d.sets[i]
		set.mu.Lock()
		for j := range set.keys {
			if set.keys[j].used {
				n++
			}
		}
		set.mu.Unlock()
	}
	return n
}
