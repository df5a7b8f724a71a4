package trust_test

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

func TestSnapshotHasOneBundlePerOrigin(t *testing.T) {
	t.Parallel()
	a, b, c := newBundle(t, prod, trust.BundleOptions{}), newBundle(t, partner, trust.BundleOptions{}), newBundle(t, wimse, trust.BundleOptions{})
	deny := trust.NewDenyList(trust.DenyOptions{})
	s := newSnapshot(t, deny, a, c, b)
	for _, bundle := range []*trust.Bundle{a, b, c} {
		if s.Bundle(bundle.Origin()) != bundle {
			t.Errorf("Bundle(%v) is not the one that was put in", bundle.Origin())
		}
	}
	if s.Bundle(origin("spiffe://other.example")) != nil {
		t.Error("Bundle() of an unknown trust domain is not nil (TD-05)")
	}
	if got := s.Bundles(); !slices.Equal(got, []*trust.Bundle{b, a, c}) {
		t.Errorf("Bundles() = %v, want them by origin", got)
	}
	if s.Deny() != deny {
		t.Error("Deny() is not the list that was put in")
	}
	if _, err := trust.NewSnapshot([]*trust.Bundle{a, b, newBundle(t, prod, trust.BundleOptions{RequireEKU: true})}, nil); trust.ReasonOf(err) != trust.ReasonDuplicateOrigin {
		t.Errorf("NewSnapshot() with two bundles of an origin = %v, want reason %q", err, trust.ReasonDuplicateOrigin)
	}
	if _, err := trust.NewSnapshot([]*trust.Bundle{a, nil}, nil); trust.ReasonOf(err) != trust.ReasonOptions {
		t.Errorf("NewSnapshot() with a nil bundle = %v, want reason %q", err, trust.ReasonOptions)
	}
}

// TD-07.
func TestSharedAnchorNeedsConsentOfAll(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{Name: "one"})
	// The same key in another certificate: a re-issued anchor.
	again, err := x509.CreateCertificate(rand.Reader, ca.Certificate, ca.Certificate, ca.Key.Public(), ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	twin, err := x509.ParseCertificate(again)
	if err != nil {
		t.Fatal(err)
	}
	own := newRoot(t, devpki.CAOptions{}).Certificate
	bundle := func(o workloadid.Origin, consent bool, anchors ...*x509.Certificate) *trust.Bundle {
		return newBundle(t, o, trust.BundleOptions{Anchors: anchors, SharedAnchor: consent})
	}
	shadowed := func(o workloadid.Origin, shadow *trust.Bundle, anchors ...*x509.Certificate) *trust.Bundle {
		return newBundle(t, o, trust.BundleOptions{Anchors: anchors, Shadow: shadow})
	}
	tests := []struct {
		claim   string
		bundles []*trust.Bundle
		ok      bool
	}{
		{"no consent", []*trust.Bundle{bundle(prod, false, ca.Certificate), bundle(partner, false, ca.Certificate)}, false},
		{"consent of one", []*trust.Bundle{bundle(prod, true, ca.Certificate), bundle(partner, false, ca.Certificate)}, false},
		{"consent of the other", []*trust.Bundle{bundle(prod, false, ca.Certificate), bundle(partner, true, ca.Certificate)}, false},
		{"consent of both", []*trust.Bundle{bundle(prod, true, ca.Certificate), bundle(partner, true, ca.Certificate)}, true},
		{"two of three consent", []*trust.Bundle{bundle(prod, true, ca.Certificate), bundle(partner, true, ca.Certificate), bundle(wimse, false, ca.Certificate)}, false},
		{"the same key in another certificate", []*trust.Bundle{bundle(prod, false, ca.Certificate), bundle(partner, false, twin)}, false},
		{"the same trust domain under two schemes", []*trust.Bundle{bundle(prod, false, ca.Certificate), bundle(wimse, false, ca.Certificate)}, false},
		{"a shadow with an anchor of its own bundle", []*trust.Bundle{shadowed(prod, bundle(prod, false, ca.Certificate), ca.Certificate), bundle(partner, false, own)}, true},
		{"a shadow with an anchor of another's", []*trust.Bundle{shadowed(prod, bundle(prod, false, own), ca.Certificate), bundle(partner, false, own)}, false},
		{"a bundle with an anchor of another's shadow", []*trust.Bundle{bundle(partner, false, twin), shadowed(prod, bundle(prod, false, ca.Certificate))}, false},
		{"two shadows with one anchor", []*trust.Bundle{shadowed(prod, bundle(prod, false, own)), shadowed(partner, bundle(partner, false, own))}, false},
		{"one key twice in one bundle", []*trust.Bundle{bundle(prod, false, ca.Certificate, twin), bundle(partner, false, own)}, true},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			_, err := trust.NewSnapshot(tt.bundles, nil)
			want := trust.ReasonSharedAnchor
			if tt.ok {
				want = trust.ReasonNone
			}
			if trust.ReasonOf(err) != want || tt.ok != (err == nil) {
				t.Errorf("NewSnapshot() = %v, want reason %q", err, want)
			}
		})
	}
}

func TestSnapshotDigest(t *testing.T) {
	t.Parallel()
	a, b := newBundle(t, prod, trust.BundleOptions{}), newBundle(t, partner, trust.BundleOptions{})
	want := newSnapshot(t, nil, a, b).Digest()
	if got := newSnapshot(t, trust.NewDenyList(trust.DenyOptions{}), b, a).Digest(); got != want {
		t.Error("the digest depends on the order of bundles or tells an empty deny-list from none")
	}
	crl := makeCRL(t, newRoot(t, devpki.CAOptions{}), devpki.CRLOptions{})
	with := func(o trust.BundleOptions) *trust.Snapshot { return newSnapshot(t, nil, newBundle(t, prod, o), b) }
	shadow := newBundle(t, prod, trust.BundleOptions{})
	asked := newBundle(t, prod, trust.BundleOptions{CRLs: newCRLSet(t, trust.CRLOptions{}, crl)})
	changed := []*trust.Snapshot{
		with(trust.BundleOptions{CRLs: newCRLSet(t, trust.CRLOptions{})}),
		with(trust.BundleOptions{CRLs: newCRLSet(t, trust.CRLOptions{}, crl)}),
		with(trust.BundleOptions{CRLs: newCRLSet(t, trust.CRLOptions{LeafOnly: true}, crl)}),
		with(trust.BundleOptions{Shadow: shadow}),
		with(trust.BundleOptions{Shadow: asked}),
		newSnapshot(t, nil, a),
		newSnapshot(t, nil, a, newBundle(t, partner, trust.BundleOptions{RequireEKU: true})),
		newSnapshot(t, trust.NewDenyList(trust.DenyOptions{Keys: []trust.Digest{{}}}), a, b),
		newSnapshot(t, nil),
	}
	seen := map[trust.Digest]bool{want: true}
	for i, s := range changed {
		if seen[s.Digest()] {
			t.Errorf("snapshot %d has the digest of one of other content", i)
		}
		seen[s.Digest()] = true
	}
}

func TestNilSnapshotTrustsNothing(t *testing.T) {
	t.Parallel()
	var s *trust.Snapshot
	if s.Bundle(prod) != nil || s.Bundles() != nil || s.Deny() != nil || s.Digest() != newSnapshot(t, nil).Digest() {
		t.Error("the nil snapshot is not like an empty one")
	}
}

// numbered makes a snapshot of which the tests can tell the order.
func numbered(t testing.TB, n int) *trust.Snapshot {
	return newSnapshot(t, nil, newBundle(t, prod, trust.BundleOptions{NotBeforeSkew: time.Duration(n)}))
}

func numberOf(s *trust.Snapshot) int {
	if b := s.Bundle(prod); b != nil {
		return int(b.Options().NotBeforeSkew)
	}
	return -1
}

func TestZeroStoreTrustsNothing(t *testing.T) {
	t.Parallel()
	var s trust.Store
	if got := s.Load(); got == nil || len(got.Bundles()) != 0 {
		t.Fatalf("Load() of a zero store = %v, want an empty snapshot", got)
	}
	s.Publish(numbered(t, 1))
	s.Publish(nil)
	if got := s.Load(); got == nil || len(got.Bundles()) != 0 {
		t.Errorf("Load() after Publish(nil) = %v, want an empty snapshot", got)
	}
}

func TestPublishTellsOfChangesOnly(t *testing.T) {
	t.Parallel()
	var s trust.Store
	var told []string
	s.OnChange(func(old, new *trust.Snapshot) {
		told = append(told, fmt.Sprintf("%d→%d", numberOf(old), numberOf(new)))
	})
	first := numbered(t, 1)
	s.Publish(first)
	s.Publish(numbered(t, 1))
	if s.Load() != first {
		t.Error("publishing equal content replaced the pointer")
	}
	s.Publish(numbered(t, 2))
	s.Publish(first)
	if want := []string{"-1→1", "1→2", "2→1"}; !slices.Equal(told, want) {
		t.Errorf("observers were told %v, want %v", told, want)
	}
}

func TestObserversMayUseTheStore(t *testing.T) {
	t.Parallel()
	var s trust.Store
	var told []int
	s.OnChange(func(_, new *trust.Snapshot) {
		told = append(told, numberOf(new))
		defer func() { told = append(told, -numberOf(new)) }() // it has returned
		if numberOf(new) == 1 {
			s.Publish(numbered(t, 2))
			s.OnChange(func(_, new *trust.Snapshot) { told = append(told, 100+numberOf(new)) })
		}
	})
	s.Publish(numbered(t, 1))
	s.Publish(numbered(t, 3))
	// The observer that came second hears of what was published after it came.
	if want := []int{1, -1, 2, -2, 3, -3, 103}; !slices.Equal(told, want) {
		t.Errorf("observers were told %v, want %v", told, want)
	}
}

func TestAPanickingObserverDoesNotBlockTheStore(t *testing.T) {
	t.Parallel()
	var s trust.Store
	calls := 0
	s.OnChange(func(_, _ *trust.Snapshot) {
		if calls++; calls == 1 {
			panic("observer")
		}
	})
	func() {
		defer func() { recover() }()
		s.Publish(numbered(t, 1))
	}()
	s.Publish(numbered(t, 2))
	if calls != 2 || numberOf(s.Load()) != 2 {
		t.Errorf("after a panic the store made %d calls and holds %d, want 2 and 2", calls, numberOf(s.Load()))
	}
}

func TestConcurrentPublishersAreToldInOrder(t *testing.T) {
	t.Parallel()
	var s trust.Store
	var busy atomic.Int32
	last, changes := -1, 0
	s.OnChange(func(old, new *trust.Snapshot) {
		if busy.Add(1) != 1 {
			t.Error("two observer calls at once")
		}
		if numberOf(old) != last {
			t.Errorf("told of %d→%d after %d", numberOf(old), numberOf(new), last)
		}
		last = numberOf(new)
		changes++
		busy.Add(-1)
	})
	const publishers, each = 4, 50
	snapshots := make([]*trust.Snapshot, publishers*each)
	for i := range snapshots {
		snapshots[i] = numbered(t, i)
	}
	var group sync.WaitGroup
	for p := range publishers {
		group.Go(func() {
			for i := range each {
				s.Publish(snapshots[p*each+i])
				s.Load()
			}
		})
	}
	group.Wait()
	// Whoever delivered last returned after everything was delivered.
	if changes != publishers*each || last != numberOf(s.Load()) {
		t.Errorf("%d changes told up to %d, want %d up to %d", changes, last, publishers*each, numberOf(s.Load()))
	}
}

func BenchmarkStoreLoad(b *testing.B) {
	var s trust.Store
	s.Publish(numbered(b, 1))
	b.ReportAllocs()
	for b.Loop() {
		s.Load()
	}
}
