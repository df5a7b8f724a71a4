package assurance_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"verigate/assurance"
	"verigate/internal/race"
)

func detector(t testing.TB, o assurance.DetectorOptions) *assurance.Detector {
	t.Helper()
	d, err := assurance.NewDetector(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// keyOf returns the n-th key of a test.
func keyOf(n int) (key [32]byte) {
	binary.BigEndian.PutUint64(key[:], uint64(n))
	return key
}

func sighting(key int, identity, network string) assurance.Sighting {
	s := assurance.Sighting{Key: keyOf(key), Identity: identity}
	if network != "" {
		s.Network = netip.MustParseAddr(network)
	}
	return s
}

// seen is one observation of a test: what was seen how long after the first.
type seen struct {
	after time.Duration
	what  assurance.Sighting
}

func TestDetector(t *testing.T) {
	t.Parallel()
	const checkout, cart = "spiffe://prod.example/checkout", "spiffe://prod.example/cart"
	shared, spread := assurance.Findings{SharedKey: true}, assurance.Findings{ManyNetworks: true}
	two := assurance.DetectorOptions{MaxIdentitiesPerKey: 2, MaxNetworksPerLeaf: 2, Window: time.Minute}
	one := assurance.DetectorOptions{MaxNetworksPerLeaf: 1, Window: time.Minute}
	tests := []struct {
		claim string
		o     assurance.DetectorOptions
		seen  []seen
		want  assurance.Findings // of the last
	}{
		{"one sighting says nothing", one, []seen{{0, sighting(1, checkout, "192.0.2.1")}}, assurance.Findings{}},
		{"the same again says nothing", one, []seen{{0, sighting(1, checkout, "192.0.2.1")}, {1, sighting(1, checkout, "192.0.2.1")}}, assurance.Findings{}},
		{"one key under two identities is shared (ID-17)", one, []seen{{0, sighting(1, checkout, "192.0.2.1")}, {1, sighting(1, cart, "192.0.2.1")}}, shared},
		{"and stays so for the first of them", one, []seen{{0, sighting(1, checkout, "192.0.2.1")}, {1, sighting(1, cart, "192.0.2.1")}, {2, sighting(1, checkout, "192.0.2.1")}}, shared},
		{"two keys may have one identity", one, []seen{{0, sighting(1, checkout, "192.0.2.1")}, {1, sighting(2, checkout, "192.0.2.1")}}, assurance.Findings{}},
		{"as many identities as allowed", two, []seen{{0, sighting(1, checkout, "")}, {1, sighting(1, cart, "")}}, assurance.Findings{}},
		{"one identity more than allowed", two, []seen{{0, sighting(1, checkout, "")}, {1, sighting(1, cart, "")}, {2, sighting(1, "spiffe://prod.example/third", "")}}, shared},
		{"as many networks as allowed", two, []seen{{0, sighting(1, checkout, "192.0.2.1")}, {1, sighting(1, checkout, "192.0.2.2")}}, assurance.Findings{}},
		{"one network more than allowed (ASR-04)", two, []seen{{0, sighting(1, checkout, "192.0.2.1")}, {1, sighting(1, checkout, "192.0.2.2")}, {2, sighting(1, checkout, "192.0.2.3")}}, spread},
		{"both at once", one, []seen{{0, sighting(1, checkout, "192.0.2.1")}, {1, sighting(1, cart, "192.0.2.2")}}, assurance.Findings{SharedKey: true, ManyNetworks: true}},
		{"an IPv4 address in IPv6 form is the same network", one, []seen{{0, sighting(1, checkout, "192.0.2.1")}, {1, sighting(1, checkout, "::ffff:192.0.2.1")}}, assurance.Findings{}},
		{"addresses of one IPv6 /64 are one network", one, []seen{{0, sighting(1, checkout, "2001:db8::1")}, {1, sighting(1, checkout, "2001:db8::2:3:4:5")}}, assurance.Findings{}},
		{"addresses of two IPv6 /64 are two", one, []seen{{0, sighting(1, checkout, "2001:db8::1")}, {1, sighting(1, checkout, "2001:db8:0:1::1")}}, spread},
		{"a client without an address has no network", one, []seen{{0, sighting(1, checkout, "192.0.2.1")}, {1, sighting(1, checkout, "")}}, assurance.Findings{}},
		{"no identity is no other identity", one, []seen{{0, sighting(1, checkout, "")}, {1, sighting(1, "", "")}}, assurance.Findings{}},
		{"within the window", one, []seen{{0, sighting(1, checkout, "192.0.2.1")}, {time.Minute - 1, sighting(1, checkout, "192.0.2.2")}}, spread},
		{"the window has slid", one, []seen{{0, sighting(1, checkout, "192.0.2.1")}, {time.Minute, sighting(1, checkout, "192.0.2.2")}}, assurance.Findings{}},
		{"seen again, a sighting counts anew", one, []seen{
			{0, sighting(1, checkout, "192.0.2.1")}, {30 * time.Second, sighting(1, checkout, "192.0.2.1")}, {80 * time.Second, sighting(1, checkout, "192.0.2.2")},
		}, spread},
		{"whoever moves house every hour is at home in one place", one, []seen{
			{0, sighting(1, checkout, "192.0.2.1")}, {time.Hour, sighting(1, checkout, "192.0.2.2")}, {2 * time.Hour, sighting(1, checkout, "192.0.2.3")},
		}, assurance.Findings{}},
		{"of many networks the last ones count", two, []seen{
			{0, sighting(1, checkout, "192.0.2.1")}, {1, sighting(1, checkout, "192.0.2.2")}, {2, sighting(1, checkout, "192.0.2.3")},
			{time.Minute + 1, sighting(1, checkout, "192.0.2.3")},
		}, assurance.Findings{}},
		{"a clock that steps back makes nothing up", one, []seen{{time.Hour, sighting(1, checkout, "192.0.2.1")}, {0, sighting(1, checkout, "192.0.2.1")}}, assurance.Findings{}},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			d := detector(t, tt.o)
			var got assurance.Findings
			for _, s := range tt.seen {
				got = d.Observe(s.what, issued.Add(s.after))
			}
			if got != tt.want {
				t.Errorf("the last of %d sightings found %+v, want %+v", len(tt.seen), got, tt.want)
			}
		})
	}
}

func TestDetectorDefaults(t *testing.T) {
	t.Parallel()
	d := detector(t, assurance.DetectorOptions{})
	var got assurance.Findings
	for n := range 9 {
		if !got.IsZero() {
			t.Errorf("%d networks were too many, want more than 8", n)
		}
		got = d.Observe(sighting(1, "spiffe://prod.example/checkout", fmt.Sprintf("192.0.2.%d", n)), issued.Add(time.Duration(n)*time.Minute))
	}
	if want := (assurance.Findings{ManyNetworks: true}); got != want {
		t.Errorf("nine networks in eight minutes found %+v, want %+v", got, want)
	}
	if got := d.Observe(sighting(1, "spiffe://prod.example/cart", "192.0.2.1"), issued.Add(8*time.Minute)); !got.SharedKey {
		t.Errorf("a second identity found %+v, want a shared key", got)
	}
}

func TestNilDetectorFindsNothing(t *testing.T) {
	t.Parallel()
	var d *assurance.Detector
	if got := d.Observe(sighting(1, "spiffe://prod.example/checkout", "192.0.2.1"), issued); !got.IsZero() || d.Len() != 0 {
		t.Errorf("(*Detector)(nil).Observe() = %+v, Len() = %d; want nothing", got, d.Len())
	}
}

func TestDetectorOptionsAreBounded(t *testing.T) {
	t.Parallel()
	for claim, o := range map[string]assurance.DetectorOptions{
		"negative identities": {MaxIdentitiesPerKey: -1},
		"65 identities":       {MaxIdentitiesPerKey: 65},
		"negative networks":   {MaxNetworksPerLeaf: -1},
		"257 networks":        {MaxNetworksPerLeaf: 257},
		"a negative window":   {Window: -1},
		"negative keys":       {MaxKeys: -1},
		"17 million keys":     {MaxKeys: 17 << 20},
	} {
		if d, err := assurance.NewDetector(o); err == nil {
			t.Errorf("%s: NewDetector(%+v) = %v, want an error", claim, o, d)
		}
	}
}

// Whatever is thrown at it, it remembers no more than it was told to, and still
// notices what happens in front of its eyes.
func TestDetectorIsBoundedUnderAMillionKeys(t *testing.T) {
	t.Parallel()
	keys := 1_000_000
	if race.Enabled || testing.Short() {
		keys = 50_000
	}
	d := detector(t, assurance.DetectorOptions{MaxKeys: 1 << 12, MaxNetworksPerLeaf: 1})
	for n := range keys {
		d.Observe(assurance.Sighting{Key: keyOf(n), Identity: "spiffe://prod.example/checkout"}, issued.Add(time.Duration(n)))
	}
	if n := d.Len(); n > 1<<12 {
		t.Errorf("after %d keys %d are remembered, want at most %d", keys, n, 1<<12)
	}
	at := issued.Add(time.Duration(keys))
	d.Observe(sighting(keys, "spiffe://prod.example/checkout", "192.0.2.1"), at)
	if got := d.Observe(sighting(keys, "spiffe://prod.example/cart", "192.0.2.2"), at); got != (assurance.Findings{SharedKey: true, ManyNetworks: true}) {
		t.Errorf("a full detector found %+v, want both findings", got)
	}
}

// Full, it forgets what was not seen for the longest time: a key in use stays.
func TestFullDetectorKeepsKeysInUse(t *testing.T) {
	t.Parallel()
	d := detector(t, assurance.DetectorOptions{MaxKeys: 8})
	d.Observe(sighting(0, "spiffe://prod.example/checkout", ""), issued)
	for n := range 100 {
		at := issued.Add(time.Duration(n+1) * time.Second)
		d.Observe(sighting(0, "spiffe://prod.example/checkout", ""), at)
		d.Observe(sighting(n+1, "spiffe://prod.example/cart", ""), at)
	}
	if got := d.Observe(sighting(0, "spiffe://prod.example/cart", ""), issued.Add(101*time.Second)); !got.SharedKey {
		t.Errorf("after 100 other keys Observe() = %+v, want the identity of the busy key remembered", got)
	}
}

func TestDetectorDoesNotAllocate(t *testing.T) { // not in parallel: it counts allocations
	if race.Enabled {
		t.Log("race instrumentation allocates; the claim is tested without it")
		return
	}
	d := detector(t, assurance.DetectorOptions{MaxKeys: 64})
	for n := range 10_000 {
		d.Observe(sighting(n, "spiffe://prod.example/checkout", "192.0.2.1"), issued)
	}
	s, n := sighting(0, "spiffe://prod.example/checkout", "2001:db8::1"), 0
	if allocations := testing.AllocsPerRun(1000, func() {
		n++
		binary.BigEndian.PutUint64(s.Key[:], uint64(n)) // new keys and known ones
		d.Observe(s, issued)
		d.Observe(s, issued)
	}); allocations != 0 {
		t.Errorf("Observe allocates %v times in a detector that is full, want 0", allocations)
	}
}

func TestFindingsLower(t *testing.T) {
	t.Parallel()
	g := assurance.Grade{MIAL: 3, MAAL: all(4)}
	want := assurance.Grade{MIAL: 1, MAAL: all(4)}
	want.MAAL[assurance.Reuse] = 0
	for _, f := range []assurance.Findings{{SharedKey: true}, {ManyNetworks: true}, {SharedKey: true, ManyNetworks: true}} {
		if got := f.Lower(g); got != want {
			t.Errorf("%+v.Lower(%+v) = %+v, want %+v", f, g, got, want)
		}
		if got := f.Lower(assurance.Grade{}); got != (assurance.Grade{}) {
			t.Errorf("%+v.Lower(MIAL-0) = %+v, want MIAL-0", f, got)
		}
	}
	if got := (assurance.Findings{}).Lower(g); got != g {
		t.Errorf("no findings lower %+v to %+v", g, got)
	}
}

func TestDetectorIsConcurrent(t *testing.T) {
	t.Parallel()
	d := detector(t, assurance.DetectorOptions{MaxKeys: 16})
	var running sync.WaitGroup
	for worker := range 4 {
		running.Go(func() {
			for n := range 2000 {
				d.Observe(sighting(n%50, fmt.Sprintf("spiffe://prod.example/%d", worker), ""), issued)
				if n%500 == 0 {
					d.Len()
				}
			}
		})
	}
	running.Wait()
	if n := d.Len(); n == 0 || n > 16 {
		t.Errorf("Len() = %d, want 1 to 16", n)
	}
}

func BenchmarkDetector(b *testing.B) {
	for name, keys := range map[string]int{"known key": 1, "new key in a full detector": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			d := detector(b, assurance.DetectorOptions{MaxKeys: 1 << 12})
			s, n := sighting(0, "spiffe://prod.example/ns/shop/sa/checkout", "192.0.2.1"), 0
			for range 1 << 14 {
				n++
				binary.BigEndian.PutUint64(s.Key[:], uint64(n%keys))
				d.Observe(s, issued)
			}
			for b.Loop() {
				n++
				binary.BigEndian.PutUint64(s.Key[:], uint64(n%keys))
				d.Observe(s, issued)
			}
		})
	}
}
