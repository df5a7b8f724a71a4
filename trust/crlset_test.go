package trust_test

import (
	"bytes"
	"math/big"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
)

func TestNewCRLSetRefuses(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	many := make([]*trust.CRL, trust.MaxCRLs+1)
	for i := range many {
		c := newCRLDER(ca)
		c.entries = entryDER([]byte{1, byte(i >> 8), byte(i)})
		many[i] = parseCRL(t, c.encode(t, ca.Key))
	}
	tests := []struct {
		claim  string
		crls   []*trust.CRL
		o      trust.CRLOptions
		reason trust.Reason
	}{
		{"no CRL", nil, trust.CRLOptions{}, trust.ReasonNone},
		{"as many CRLs as there may be, some of them twice", append(many[1:], many[1], many[2]), trust.CRLOptions{}, trust.ReasonNone},
		{"one CRL more", many, trust.CRLOptions{}, trust.ReasonTooLarge},
		{"a nil CRL", []*trust.CRL{nil}, trust.CRLOptions{}, trust.ReasonOptions},
		{"a policy that is none", nil, trust.CRLOptions{WhenStale: trust.StaleAccept + 1}, trust.ReasonOptions},
		{"a negative grace", nil, trust.CRLOptions{WhenStale: trust.StaleGrace, Grace: -1}, trust.ReasonOptions},
	}
	for _, tt := range tests {
		set, err := trust.NewCRLSet(tt.crls, tt.o)
		if trust.ReasonOf(err) != tt.reason || (err == nil) != (set != nil) {
			t.Errorf("NewCRLSet with %s = %v, want reason %q", tt.claim, err, tt.reason)
		}
	}
}

// TestCRLSetGroups puts lists of one issuer and scope together, the newest first.
// Only the first list of a file was used elsewhere (crowdsecurity/crowdsec#2991).
func TestCRLSetGroups(t *testing.T) {
	t.Parallel()
	ca, other := newRoot(t, devpki.CAOptions{Name: "a"}), newRoot(t, devpki.CAOptions{Name: "b"})
	at := func(ca *devpki.CA, number int64, hours int) *trust.CRL {
		return makeCRL(t, ca, devpki.CRLOptions{Number: big.NewInt(number), ThisUpdate: issued.Add(time.Duration(hours) * time.Hour)})
	}
	first, second, third := at(ca, 1, 0), at(ca, 2, 0), at(ca, 1, 1)
	scoped := newCRLDER(ca)
	scoped.extensions = append(bytes.Clone(number), idp(tlv(0x81, []byte{0xff}))...)
	users, elsewhere := parseCRL(t, scoped.encode(t, ca.Key)), at(other, 9, 9)

	set := newCRLSet(t, trust.CRLOptions{}, first, users, second, elsewhere, third, first)
	if got := len(set.CRLs()); got != 5 {
		t.Errorf("CRLs() has %d lists, want 5, each once", got)
	}
	found := map[*trust.CRL][]*trust.CRL{}
	for _, scope := range set.Of(ca.Certificate.RawSubject) {
		found[scope[0]] = scope
	}
	if all := found[third]; len(found) != 2 || len(found[users]) != 1 || len(all) != 3 || all[1] != second || all[2] != first {
		t.Errorf("Of() = %v, want the list of users, and the others with the latest and then the highest first", found)
	}
	if set.Of([]byte("nobody")) != nil {
		t.Error("Of(nobody) finds a list")
	}
}

func TestCRLSetDigest(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	a, b := makeCRL(t, ca, devpki.CRLOptions{}), makeCRL(t, ca, devpki.CRLOptions{Number: big.NewInt(1)})
	want := newCRLSet(t, trust.CRLOptions{}, a, b).Digest()
	if newCRLSet(t, trust.CRLOptions{Grace: time.Hour}, b, a, b).Digest() != want {
		t.Error("the digest depends on order, on repetitions or on a grace that nobody asks for")
	}
	grace := trust.CRLOptions{WhenStale: trust.StaleGrace, Grace: time.Hour}
	seen := map[trust.Digest]string{want: "nothing", (*trust.CRLSet)(nil).Digest(): "the set to nil"}
	for what, set := range map[string]*trust.CRLSet{
		"the lists":      newCRLSet(t, trust.CRLOptions{}, a),
		"all lists":      newCRLSet(t, trust.CRLOptions{}),
		"the policy":     newCRLSet(t, trust.CRLOptions{WhenStale: trust.StaleAccept}, a, b),
		"the grace":      newCRLSet(t, grace, a, b),
		"whose status":   newCRLSet(t, trust.CRLOptions{LeafOnly: true}, a, b),
		"the next grace": newCRLSet(t, trust.CRLOptions{WhenStale: trust.StaleGrace, Grace: 2 * time.Hour}, a, b),
	} {
		if other, ok := seen[set.Digest()]; ok {
			t.Errorf("changing %s gives the same digest as changing %s", what, other)
		}
		seen[set.Digest()] = what
	}
	if o := (*trust.CRLSet)(nil).Options(); o != (trust.CRLOptions{}) {
		t.Errorf("Options() of the nil set = %v, want zero", o)
	}
}

// TestCRLFreshness walks through the life of a list under each policy. Boundary has
// to name every step before it comes, and no other.
func TestCRLFreshness(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	const day, grace = 24 * time.Hour, time.Hour
	crl := makeCRL(t, ca, devpki.CRLOptions{NextUpdate: issued.Add(day)})
	steps := []struct {
		after  time.Duration // since thisUpdate
		refuse trust.Freshness
		grace  trust.Freshness
		accept trust.Freshness
	}{
		{-1, trust.CRLToCome, trust.CRLToCome, trust.CRLToCome},
		{0, trust.CRLCurrent, trust.CRLCurrent, trust.CRLCurrent},
		{day, trust.CRLCurrent, trust.CRLCurrent, trust.CRLCurrent},
		{day + 1, trust.CRLStale, trust.CRLTolerated, trust.CRLTolerated},
		{day + grace, trust.CRLStale, trust.CRLTolerated, trust.CRLTolerated},
		{day + grace + 1, trust.CRLStale, trust.CRLStale, trust.CRLTolerated},
	}
	refuse := newCRLSet(t, trust.CRLOptions{}, crl)
	tolerant := newCRLSet(t, trust.CRLOptions{WhenStale: trust.StaleGrace, Grace: grace}, crl)
	accept := newCRLSet(t, trust.CRLOptions{WhenStale: trust.StaleAccept}, crl)
	for _, step := range steps {
		now := issued.Add(step.after)
		for _, tt := range []struct {
			set  *trust.CRLSet
			want trust.Freshness
		}{{refuse, step.refuse}, {tolerant, step.grace}, {accept, step.accept}} {
			if got := tt.set.Freshness(crl, now); got != tt.want {
				t.Errorf("policy %d, %v after thisUpdate: Freshness() = %v, want %v", tt.set.Options().WhenStale, step.after, got, tt.want)
			}
		}
	}
	for _, tt := range []struct {
		name string
		set  *trust.CRLSet
		want []time.Duration
	}{
		{"refuse", refuse, []time.Duration{0, day + 1}},
		{"grace", tolerant, []time.Duration{0, day + grace + 1}},
		{"accept", accept, []time.Duration{0}},
		{"no list", newCRLSet(t, trust.CRLOptions{}), nil},
		{"nil", nil, nil},
		{"two lists", newCRLSet(t, trust.CRLOptions{}, crl, makeCRL(t, ca, devpki.CRLOptions{ThisUpdate: issued.Add(time.Hour), NextUpdate: issued.Add(2 * day)})),
			[]time.Duration{0, time.Hour, day + 1, 2*day + 1}},
	} {
		now := issued.Add(-time.Hour)
		for _, want := range tt.want {
			if now = tt.set.Boundary(now); !now.Equal(issued.Add(want)) {
				t.Fatalf("%s: Boundary() = %v, want %v", tt.name, now, issued.Add(want))
			}
		}
		if got := tt.set.Boundary(now); !got.IsZero() {
			t.Errorf("%s: Boundary() = %v after the last, want none", tt.name, got)
		}
	}
}

// TestRevocationBoundary compares the binary search with what it stands for: a CRL
// counts from its thisUpdate on, sooner by what clocks may differ by (PKIX-13), and
// ceases to when it has gone stale. Nothing that happens in between is a boundary,
// and none is missed, whichever way the clock goes (CACHE-03).
func TestRevocationBoundary(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	var crls []*trust.CRL
	for i := range 20 {
		begin := issued.Add(time.Duration(i*i) * time.Second)
		crls = append(crls, makeCRL(t, ca, devpki.CRLOptions{Number: big.NewInt(int64(i)), ThisUpdate: begin, NextUpdate: begin.Add(time.Duration(i%5+1) * time.Minute)}))
	}
	for _, o := range []trust.CRLOptions{{}, {WhenStale: trust.StaleGrace, Grace: time.Minute}, {WhenStale: trust.StaleAccept}} {
		set := newCRLSet(t, o, crls...)
		for _, skew := range []time.Duration{0, 5 * time.Second, time.Hour} {
			bundle := newBundle(t, prod, trust.BundleOptions{CRLs: set, NotBeforeSkew: skew})
			var moments []time.Time
			for _, crl := range crls {
				moments = append(moments, crl.ThisUpdate().Add(-skew))
				if o.WhenStale != trust.StaleAccept {
					moments = append(moments, crl.NextUpdate().Add(o.Grace+1))
				}
			}
			next := func(now time.Time) (first time.Time) {
				for _, m := range moments {
					if m.After(now) && (first.IsZero() || m.Before(first)) {
						first = m
					}
				}
				return first
			}
			for _, m := range moments {
				for _, now := range []time.Time{m.Add(-time.Second), m.Add(-1), m, m.Add(1)} {
					if got, want := bundle.RevocationBoundary(now), next(now); !got.Equal(want) {
						t.Errorf("policy %d, skew %v: RevocationBoundary(%v) = %v, want %v", o.WhenStale, skew, now, got, want)
					}
				}
			}
			if skew == 0 {
				if got, want := set.Boundary(issued), bundle.RevocationBoundary(issued); !got.Equal(want) {
					t.Errorf("policy %d: Boundary() = %v, want the bundle's %v if clocks do not differ", o.WhenStale, got, want)
				}
			}
		}
	}
	if got := newBundle(t, prod, trust.BundleOptions{NotBeforeSkew: time.Hour}).RevocationBoundary(issued); !got.IsZero() {
		t.Errorf("RevocationBoundary() without CRLs = %v, want none", got)
	}
}

// TestNilCRLSet is what a bundle that asks for no status has, and whoever looks at it
// need not know.
func TestNilCRLSet(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	crl := makeCRL(t, ca, devpki.CRLOptions{NextUpdate: issued.Add(time.Hour)})
	var none *trust.CRLSet
	if none.CRLs() != nil || none.Of(ca.Certificate.RawSubject) != nil || none.Options() != (trust.CRLOptions{}) || !none.Digest().IsZero() || !none.Boundary(issued).IsZero() {
		t.Error("the nil set has CRLs, options, a digest or a boundary")
	}
	for after, want := range map[time.Duration]trust.Freshness{-1: trust.CRLToCome, 0: trust.CRLCurrent, time.Hour + 1: trust.CRLStale} {
		if got := none.Freshness(crl, issued.Add(after)); got != want {
			t.Errorf("Freshness() of the nil set %v after thisUpdate = %v, want %v", after, got, want)
		}
	}
}
