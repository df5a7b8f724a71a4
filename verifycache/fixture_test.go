package verifycache

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

const (
	prod    = "spiffe://prod.example"
	partner = "spiffe://partner.example"
)

// clock is a wall clock that a test moves.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.nanos.Store(time.Now().Truncate(time.Second).UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) Set(t time.Time)         { c.nanos.Store(t.UnixNano()) }
func (c *clock) Advance(d time.Duration) { c.nanos.Add(int64(d)) }

// hierarchy is root → upper → issuing, with leaves below issuing: what is
// presented are three certificates.
type hierarchy struct {
	root, upper, issuing *devpki.CA
}

func newHierarchy(t testing.TB) hierarchy {
	t.Helper()
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "root"})
	must(t, err)
	upper, err := root.NewIntermediate(devpki.CAOptions{Name: "upper"})
	must(t, err)
	issuing, err := upper.NewIntermediate(devpki.CAOptions{Name: "issuing"})
	must(t, err)
	return hierarchy{root, upper, issuing}
}

func (h hierarchy) leaf(t testing.TB, id string) []*x509.Certificate {
	t.Helper()
	return issue(t, h.issuing, devpki.LeafOptions{URIs: []string{id}})
}

func issue(t testing.TB, ca *devpki.CA, o devpki.LeafOptions) []*x509.Certificate {
	t.Helper()
	leaf, err := ca.Issue(o)
	must(t, err)
	return leaf.Chain
}

func (h hierarchy) bundle(t testing.TB, origin string, edit func(*trust.BundleOptions)) *trust.Bundle {
	t.Helper()
	o := trust.BundleOptions{Anchors: []*x509.Certificate{h.root.Certificate}}
	if edit != nil {
		edit(&o)
	}
	b, err := trust.NewBundle(originOf(t, origin), o)
	must(t, err)
	return b
}

// world is one hierarchy that is trusted for prod, and a cache.
type world struct {
	hierarchy
	clock *clock
	scope *Scope
	snap  *trust.Snapshot
	cache *Cache
}

func newWorld(t testing.TB, o Options) *world {
	t.Helper()
	w := &world{hierarchy: newHierarchy(t), clock: newClock(), scope: scopeOf(t, prod)}
	w.snap = snapshot(t, nil, w.bundle(t, prod, nil))
	if o.Now == nil {
		o.Now = w.clock.Now
	}
	w.cache = open(t, o)
	return w
}

func open(t testing.TB, o Options) *Cache {
	t.Helper()
	c, err := New(o)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// Wait returns when all that was set so far is in its place, or dropped. Nothing may
// be set meanwhile.
func (l *library) Wait() {
	l.moves.Wait()
	l.now.Wait()
}

// IterValues calls f for every entry that is in its place.
func (l *library) IterValues(f func(*entry) (stop bool)) { l.now.IterValues(f) }

func (w *world) verify(chain []*x509.Certificate) Verdict {
	return w.cache.Verify(chain, certpath.RoleClient, w.scope, w.snap)
}

// prove verifies chain, proves its key and waits until the verdict is kept.
func (w *world) prove(t testing.TB, chain []*x509.Certificate) Verdict {
	t.Helper()
	v := w.verify(chain)
	if !v.Accepted() {
		t.Fatalf("Verify() = %v, want acceptance", v.Err)
	}
	w.cache.Remember(&v)
	w.cache.accepted.Wait()
	return v
}

// want fails unless chain gets the outcome and reason.
func (w *world) want(t testing.TB, chain []*x509.Certificate, outcome Outcome, reason certpath.Reason) Verdict {
	t.Helper()
	v := w.verify(chain)
	if v.Outcome != outcome || reasonOf(v) != reason || v.Accepted() != (reason == certpath.ReasonNone) {
		t.Fatalf("Verify() = %v by %v (%v), want %q by %v", reasonOf(v), v.Outcome, v.Err, reason, outcome)
	}
	return v
}

func reasonOf(v Verdict) certpath.Reason {
	if v.Err == nil {
		return certpath.ReasonNone
	}
	return v.Err.Reason
}

func snapshot(t testing.TB, deny *trust.DenyList, bundles ...*trust.Bundle) *trust.Snapshot {
	t.Helper()
	s, err := trust.NewSnapshot(bundles, deny)
	must(t, err)
	return s
}

// listing is a CRL of one CA, as a test wants it.
type listing struct {
	issuer      *devpki.CA
	from, until time.Time
	revoked     []*x509.Certificate
}

var crlNumber atomic.Int64

func (l listing) sign(t testing.TB) *trust.CRL {
	t.Helper()
	o := devpki.CRLOptions{Number: big.NewInt(crlNumber.Add(1)), ThisUpdate: l.from, NextUpdate: l.until}
	for _, c := range l.revoked {
		o.Revoked = append(o.Revoked, c.SerialNumber)
	}
	der, err := l.issuer.MakeCRL(o)
	must(t, err)
	crls, err := trust.ParseCRLs("test", der)
	must(t, err)
	return crls[0]
}

func crls(t testing.TB, o trust.CRLOptions, listings ...listing) *trust.CRLSet {
	t.Helper()
	var all []*trust.CRL
	for _, l := range listings {
		all = append(all, l.sign(t))
	}
	set, err := trust.NewCRLSet(all, o)
	must(t, err)
	return set
}

// crls revokes certificates of w by fresh CRLs of every CA, which are good from an
// hour ago until an hour from now.
func (w *world) crls(t testing.TB, o trust.CRLOptions, revoked ...*x509.Certificate) *trust.CRLSet {
	t.Helper()
	var listings []listing
	for _, ca := range []*devpki.CA{w.root, w.upper, w.issuing} {
		l := listing{issuer: ca, from: w.clock.Now().Add(-time.Hour), until: w.clock.Now().Add(time.Hour)}
		for _, c := range revoked {
			if bytes.Equal(c.RawIssuer, ca.Certificate.RawSubject) {
				l.revoked = append(l.revoked, c)
			}
		}
		listings = append(listings, l)
	}
	return crls(t, o, listings...)
}

// trusting makes w judge by its hierarchy, with the options edited.
func (w *world) trusting(t testing.TB, edit func(*trust.BundleOptions)) {
	t.Helper()
	w.snap = snapshot(t, nil, w.bundle(t, prod, edit))
}

// difference says in what got differs from want, a verdict that was judged afresh
// at the same moment, and "" if in nothing that a verdict says about a peer.
func difference(got, want Verdict) string {
	refs := func(p *certpath.Path) []trust.CertRef {
		if p == nil {
			return nil
		}
		return p.Refs()
	}
	switch {
	case got.Accepted() != want.Accepted():
		return "acceptance"
	case reasonOf(got) != reasonOf(want):
		return "reason"
	case got.Err != nil && (got.Err.Depth != want.Err.Depth || got.Err.Found != want.Err.Found):
		return "finding"
	case !slices.Equal(refs(got.Path), refs(want.Path)):
		return "path"
	case got.ID != want.ID:
		return "identifier"
	case got.Grade != want.Grade:
		return "grade"
	case !got.Until.Equal(want.Until):
		return "until"
	}
	return ""
}

// shadowDifference is difference for what the shadows say.
func shadowDifference(got, want *Shadow) string {
	if (got == nil) != (want == nil) {
		return "being there"
	}
	if got == nil {
		return ""
	}
	return difference(Verdict{Path: got.Path, Grade: got.Grade, Err: got.Err}, Verdict{Path: want.Path, Grade: want.Grade, Err: want.Err})
}

func describe(v Verdict) string {
	s := fmt.Sprintf("%v by %v for %q, grade %v, until %v", v.Err, v.Outcome, v.ID, v.Grade, v.Until)
	if v.Shadow != nil {
		s += fmt.Sprintf("; shadow: %v, grade %v", v.Shadow.Err, v.Shadow.Grade)
	}
	return s
}

func scopeOf(t testing.TB, origins ...string) *Scope {
	t.Helper()
	var list []workloadid.Origin
	for _, o := range origins {
		list = append(list, originOf(t, o))
	}
	s, err := NewScope("edge", list)
	must(t, err)
	return s
}

func originOf(t testing.TB, s string) workloadid.Origin {
	t.Helper()
	o, err := workloadid.ParseOrigin(s)
	must(t, err)
	return o
}

func patternOf(t testing.TB, s string) workloadid.Pattern {
	t.Helper()
	p, err := workloadid.ParsePattern(s)
	must(t, err)
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// withSignature returns c with other signature octets. Anyone can make one.
func withSignature(t testing.TB, c *x509.Certificate, signature []byte) *x509.Certificate {
	t.Helper()
	var outer struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	_, err := asn1.Unmarshal(c.Raw, &outer)
	must(t, err)
	outer.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	der, err := asn1.Marshal(outer)
	must(t, err)
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	return parsed
}

// forged returns the n-th variant of c whose signature is wrong.
func forged(t testing.TB, c *x509.Certificate, n int) *x509.Certificate {
	t.Helper()
	var sig struct{ R, S *big.Int }
	_, err := asn1.Unmarshal(c.Signature, &sig)
	must(t, err)
	sig.S = big.NewInt(int64(1 + n))
	signature, err := asn1.Marshal(sig)
	must(t, err)
	return withSignature(t, c, signature)
}

// twin returns c with (r, n-s) for (r, s): other octets, and as valid.
func twin(t testing.TB, c *x509.Certificate, issuer *x509.Certificate) *x509.Certificate {
	t.Helper()
	if issuer.PublicKey.(*ecdsa.PublicKey).Curve != elliptic.P256() {
		t.Fatal("the issuer is not on P-256")
	}
	var sig struct{ R, S *big.Int }
	_, err := asn1.Unmarshal(c.Signature, &sig)
	must(t, err)
	sig.S.Sub(elliptic.P256().Params().N, sig.S)
	signature, err := asn1.Marshal(sig)
	must(t, err)
	return withSignature(t, c, signature)
}

// denied are patterns that deny nobody in the tests.
func denied(t testing.TB) []workloadid.Pattern {
	t.Helper()
	return []workloadid.Pattern{patternOf(t, prod+"/denied"), patternOf(t, prod+"/denied/**"), patternOf(t, prod+"/*/denied")}
}

// crossSigned returns another certificate for ca, by another issuer.
func crossSigned(t testing.TB, ca, issuer *devpki.CA, notBefore time.Time) *x509.Certificate {
	t.Helper()
	template := *ca.Certificate
	template.SerialNumber = big.NewInt(notBefore.UnixNano())
	template.NotBefore = notBefore
	template.AuthorityKeyId = nil
	der, err := x509.CreateCertificate(rand.Reader, &template, issuer.Certificate, ca.Key.Public(), issuer.Key)
	must(t, err)
	c, err := x509.ParseCertificate(der)
	must(t, err)
	return c
}
