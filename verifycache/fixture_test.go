package verifycache

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
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
