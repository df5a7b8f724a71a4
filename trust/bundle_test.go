package trust_test

import (
	"bytes"
	"crypto/x509"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"verigate/assurance"
	"verigate/devpki"
	"verigate/internal/race"
	"verigate/trust"
	"verigate/workloadid"
)

func TestBundleDigest(t *testing.T) {
	t.Parallel()
	a, b := newRoot(t, devpki.CAOptions{Name: "a"}).Certificate, newRoot(t, devpki.CAOptions{Name: "b"}).Certificate
	grading := func(statements ...assurance.Statement) *assurance.Profile {
		p, err := assurance.Compile(assurance.Options{Statements: statements})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	base := trust.BundleOptions{Anchors: []*x509.Certificate{a, b}}
	digest := func(o workloadid.Origin, edit ...func(*trust.BundleOptions)) trust.Digest {
		options := base
		for _, f := range edit {
			f(&options)
		}
		return newBundle(t, o, options).Digest()
	}
	want := digest(prod)

	same := map[string]func(*trust.BundleOptions){
		"the order of anchors":   func(o *trust.BundleOptions) { o.Anchors = []*x509.Certificate{b, a} },
		"a repeated anchor":      func(o *trust.BundleOptions) { o.Anchors = []*x509.Certificate{b, a, b} },
		"the sequence":           func(o *trust.BundleOptions) { o.Sequence = new(uint64(7)) },
		"the refresh hint":       func(o *trust.BundleOptions) { o.RefreshHint = time.Minute },
		"consent to shared keys": func(o *trust.BundleOptions) { o.SharedAnchor = true },
		"CRLs":                   func(o *trust.BundleOptions) { o.CRLs = newCRLSet(t, trust.CRLOptions{}) },
		"a shadow":               func(o *trust.BundleOptions) { o.Shadow = newBundle(t, prod, trust.BundleOptions{}) },
	}
	for what, edit := range same {
		if got := digest(prod, edit); got != want {
			t.Errorf("%s changes the digest, want it unchanged", what)
		}
	}

	different := map[string]func(*trust.BundleOptions){
		"fewer anchors":         func(o *trust.BundleOptions) { o.Anchors = o.Anchors[:1] },
		"no anchors":            func(o *trust.BundleOptions) { o.Anchors = nil },
		"the longest lifetime":  func(o *trust.BundleOptions) { o.MaxCertificateLifetime = time.Hour },
		"the skew":              func(o *trust.BundleOptions) { o.NotBeforeSkew = time.Hour },
		"required EKU":          func(o *trust.BundleOptions) { o.RequireEKU = true },
		"lenient key usage":     func(o *trust.BundleOptions) { o.LenientKeyUsage = true },
		"lenient subject":       func(o *trust.BundleOptions) { o.LenientSubject = true },
		"the algorithms":        func(o *trust.BundleOptions) { o.Algorithms = []string{"rsa"} },
		"another algorithm":     func(o *trust.BundleOptions) { o.Algorithms = []string{"ed25519"} },
		"the least level":       func(o *trust.BundleOptions) { o.MinMIAL = assurance.MIAL2 },
		"a profile":             func(o *trust.BundleOptions) { o.Assurance = grading() },
		"a profile's statement": func(o *trust.BundleOptions) { o.Assurance = grading(assurance.Statement{MIAL: 3}) },
		"another statement":     func(o *trust.BundleOptions) { o.Assurance = grading(assurance.Statement{MIAL: 2}) },
	}
	seen := map[trust.Digest]string{want: "nothing", digest(partner): "the trust domain", digest(wimse): "the scheme"}
	if len(seen) != 3 {
		t.Error("the origin does not change the digest")
	}
	for what, edit := range different {
		got := digest(prod, edit)
		if other, ok := seen[got]; ok {
			t.Errorf("changing %s gives the same digest as changing %s", what, other)
		}
		seen[got] = what
	}
}

func TestBundleLooksUp(t *testing.T) {
	t.Parallel()
	// Two anchors of one name: a CA that changed its key.
	before, after := newRoot(t, devpki.CAOptions{Name: "ca"}).Certificate, newRoot(t, devpki.CAOptions{Name: "ca"}).Certificate
	other, stranger := newRoot(t, devpki.CAOptions{Name: "other"}).Certificate, newRoot(t, devpki.CAOptions{Name: "ca"}).Certificate
	b := newBundle(t, prod, trust.BundleOptions{Anchors: []*x509.Certificate{before, other, after}})

	named := b.AnchorsNamed(stranger.RawSubject)
	if len(named) != 2 || !slices.Contains(named, before) || !slices.Contains(named, after) {
		t.Errorf("AnchorsNamed(ca) = %d anchors, want both of that name", len(named))
	}
	if got := b.AnchorsNamed([]byte("nobody")); len(got) != 0 {
		t.Errorf("AnchorsNamed(nobody) = %d anchors, want none", len(got))
	}
	for _, anchor := range b.Anchors() {
		if !b.Contains(anchor) {
			t.Errorf("Contains(%v) = false for an anchor", anchor.Subject)
		}
	}
	reparsed, err := x509.ParseCertificate(bytes.Clone(before.Raw))
	if err != nil {
		t.Fatal(err)
	}
	if !b.Contains(reparsed) {
		t.Error("Contains() = false for another copy of an anchor")
	}
	if b.Contains(stranger) {
		t.Error("Contains() = true for a certificate that has only an anchor's name")
	}
	if b.Origin() != prod {
		t.Errorf("Origin() = %v, want %v", b.Origin(), prod)
	}
}

func TestBundleKeepsItsOwnAnchors(t *testing.T) {
	t.Parallel()
	a, b := newRoot(t, devpki.CAOptions{Name: "a"}).Certificate, newRoot(t, devpki.CAOptions{Name: "b"}).Certificate
	given, sequence := []*x509.Certificate{a}, uint64(7)
	bundle := newBundle(t, prod, trust.BundleOptions{Anchors: given, Sequence: &sequence})
	given[0], sequence = b, 8
	if !bundle.Contains(a) || bundle.Contains(b) || *bundle.Options().Sequence != 7 {
		t.Error("a bundle changes when the options that it was made from do")
	}
}

func TestAnchorsComeInAnOrderOfTheirOwn(t *testing.T) {
	t.Parallel()
	var anchors []*x509.Certificate
	for range 8 {
		anchors = append(anchors, newRoot(t, devpki.CAOptions{Name: "ca"}).Certificate)
	}
	forwards := newBundle(t, prod, trust.BundleOptions{Anchors: anchors})
	slices.Reverse(anchors)
	backwards := newBundle(t, prod, trust.BundleOptions{Anchors: anchors})
	if !slices.Equal(forwards.Anchors(), backwards.Anchors()) {
		t.Error("Anchors() depends on the order that the anchors were given in")
	}
	name := anchors[0].RawSubject
	if !slices.Equal(forwards.AnchorsNamed(name), backwards.AnchorsNamed(name)) {
		t.Error("AnchorsNamed() depends on the order that the anchors were given in")
	}
}

func TestAlgorithmsAreASet(t *testing.T) {
	t.Parallel()
	given := []string{"rsa", "ed25519", "rsa"}
	a := newBundle(t, prod, trust.BundleOptions{Algorithms: given})
	b := newBundle(t, prod, trust.BundleOptions{Algorithms: []string{"ed25519", "rsa"}})
	if got := a.Options().Algorithms; !slices.Equal(got, []string{"ed25519", "rsa"}) || a.Digest() != b.Digest() {
		t.Errorf("Algorithms = %v, want each once, in an order of their own", got)
	}
	if given[0] != "rsa" {
		t.Error("NewBundle sorts what it was given")
	}
}

// certpath says on each path whether an anchor will do; a bundle takes them all.
func TestBundleTakesOddAnchors(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	notCA := issue(t, ca, devpki.LeafOptions{}).Chain[0]
	expired := newRoot(t, devpki.CAOptions{NotBefore: moment().Add(-2 * time.Hour), NotAfter: moment().Add(-time.Hour)}).Certificate
	intermediate, err := ca.NewIntermediate(devpki.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := newBundle(t, prod, trust.BundleOptions{Anchors: []*x509.Certificate{notCA, expired, intermediate.Certificate}})
	if len(b.Anchors()) != 3 {
		t.Errorf("the bundle has %d anchors, want 3", len(b.Anchors()))
	}
}

func TestNewBundleRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		claim  string
		origin workloadid.Origin
		o      trust.BundleOptions
	}{
		{"no origin", workloadid.Origin{}, trust.BundleOptions{}},
		{"a nil anchor", prod, trust.BundleOptions{Anchors: []*x509.Certificate{nil}}},
		{"a negative lifetime", prod, trust.BundleOptions{MaxCertificateLifetime: -1}},
		{"a negative skew", prod, trust.BundleOptions{NotBeforeSkew: -1}},
		{"a negative hint", prod, trust.BundleOptions{RefreshHint: -1}},
		{"a level that is none", prod, trust.BundleOptions{MinMIAL: assurance.MIAL4 + 1}},
		{"another's shadow", prod, trust.BundleOptions{Shadow: newBundle(t, partner, trust.BundleOptions{})}},
		{"a shadow with a shadow", prod, trust.BundleOptions{Shadow: newBundle(t, prod, trust.BundleOptions{Shadow: newBundle(t, prod, trust.BundleOptions{})})}},
	}
	for _, tt := range tests {
		if b, err := trust.NewBundle(tt.origin, tt.o); b != nil || trust.ReasonOf(err) != trust.ReasonOptions {
			t.Errorf("NewBundle with %s = %v, %v, want reason %q", tt.claim, b, err, trust.ReasonOptions)
		}
	}
	if b := newBundle(t, prod, trust.BundleOptions{}); len(b.Anchors()) != 0 {
		t.Errorf("an empty bundle has %d anchors", len(b.Anchors()))
	}
}

// BUN-05.
func TestCheckSequence(t *testing.T) {
	t.Parallel()
	n := func(n uint64) *uint64 { return &n }
	tests := []struct {
		claim         string
		held, offered *uint64
		want          trust.Reason
	}{
		{"a higher sequence replaces", n(1), n(2), trust.ReasonNone},
		{"an equal sequence replaces", n(2), n(2), trust.ReasonNone},
		{"a lower sequence does not", n(2), n(1), trust.ReasonRollback},
		{"the order is that of 64 bits", n(1<<63 + 1), n(1 << 63), trust.ReasonRollback},
		{"no sequence replaces any", n(2), nil, trust.ReasonNone},
		{"any sequence replaces none", nil, n(0), trust.ReasonNone},
	}
	for _, tt := range tests {
		if err := trust.CheckSequence(tt.held, tt.offered); trust.ReasonOf(err) != tt.want {
			t.Errorf("%s: CheckSequence() = %v, want reason %q", tt.claim, err, tt.want)
		}
	}
}

func TestRefOf(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	leaf := issue(t, ca, devpki.LeafOptions{Edit: func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0x0102) }}).Chain[0]
	anchor, ref := trust.RefOf(ca.Certificate, nil), trust.RefOf(leaf, ca.Certificate)
	if anchor.IssuerSPKI != (trust.Digest{}) {
		t.Errorf("an anchor's IssuerSPKI = %v, want zero", anchor.IssuerSPKI)
	}
	if ref.IssuerSPKI != anchor.SPKI || ref.SPKI == anchor.SPKI {
		t.Errorf("RefOf(leaf) = %+v, want the issuer's key %v and its own", ref, anchor.SPKI)
	}
	if want := [20]byte{18: 1, 19: 2}; ref.Serial != want {
		t.Errorf("Serial = %x, want %x", ref.Serial, want)
	}
}

func TestSerialOfTellsLongSerialsApart(t *testing.T) {
	t.Parallel()
	long := new(big.Int).Lsh(big.NewInt(1), 160)
	longer := new(big.Int).Lsh(big.NewInt(1), 168)
	serials := []*big.Int{big.NewInt(0), big.NewInt(1), long, longer, new(big.Int).Sub(long, big.NewInt(1))}
	seen := make(map[[20]byte]*big.Int)
	for _, n := range serials {
		s := trust.SerialOf(n)
		if other, ok := seen[s]; ok {
			t.Errorf("SerialOf(%x) = SerialOf(%x)", n, other)
		}
		seen[s] = n
	}
}

func TestDigestsAndSerialsHaveOneSpelling(t *testing.T) {
	t.Parallel()
	plain := strings.Repeat("0aB9", 16)
	d, ok := trust.ParseDigest(plain)
	if !ok || d.String() != strings.ToLower(plain) {
		t.Fatalf("ParseDigest(%q) = %v, %v", plain, d, ok)
	}
	colons := strings.TrimSuffix(strings.Repeat("0a:B9:", 16), ":")
	if e, ok := trust.ParseDigest(colons); !ok || e != d {
		t.Errorf("ParseDigest(%q) = %v, %v, want %v", colons, e, ok, d)
	}
	for _, s := range []string{"", plain[1:], plain + "00", strings.Replace(plain, "0", "g", 1), ":" + colons[1:], strings.ReplaceAll(colons, ":", "-"), strings.Replace(colons, ":B9", "B9:", 1), strings.Repeat(":", 95)} {
		if d, ok := trust.ParseDigest(s); ok {
			t.Errorf("ParseDigest(%q) = %v, want a refusal", s, d)
		}
	}
	for want, is := range map[string]trust.IssuerSerial{
		d.String() + "/0120": {IssuerSPKI: d, Serial: [20]byte{18: 1, 19: 0x20}},
		d.String() + "/00":   {IssuerSPKI: d},
		trust.Digest{}.String() + "/ff" + strings.Repeat("00", 19): {Serial: [20]byte{0: 0xff}},
	} {
		if got := is.String(); got != want {
			t.Errorf("IssuerSerial.String() = %s, want %s", got, want)
		}
	}
}

func TestBundleLookupsDoNotAllocate(t *testing.T) {
	if race.Enabled {
		return // instrumentation allocates; the claim is tested without it
	}
	a := newRoot(t, devpki.CAOptions{}).Certificate
	b := newBundle(t, prod, trust.BundleOptions{Anchors: []*x509.Certificate{a}})
	s := newSnapshot(t, nil, b)
	n := testing.AllocsPerRun(1000, func() {
		if !s.Bundle(prod).Contains(a) {
			t.Error("the anchor is not contained")
		}
	})
	if n != 0 {
		t.Errorf("Snapshot.Bundle and Bundle.Contains allocate %v times, want 0", n)
	}
}
