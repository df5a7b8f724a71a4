package certpath

import (
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

const (
	prodOrigin = "spiffe://prod.example"
	checkoutID = "spiffe://prod.example/ns/shop/sa/checkout"
)

// now is the moment at which the tests judge; it is inside every certificate
// that does not say otherwise.
var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

var (
	dayBefore = now.Add(-24 * time.Hour)
	dayAfter  = now.Add(24 * time.Hour)
)

// question is what Verify is asked. Tests begin with one that is answered with
// yes and change one thing.
type question struct {
	root, issuing *devpki.CA
	chain         []*x509.Certificate
	bundle        *trust.Bundle
	role          Role
	now           time.Time
	verifier      Verifier
}

func (q *question) ask() (*Path, error) {
	return q.verifier.Verify(q.chain, q.bundle, q.role, q.now)
}

// fixture makes certificates and fails the test when it cannot.
type fixture struct{ testing.TB }

func (f fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f fixture) root(name string, edit func(*x509.Certificate)) *devpki.CA {
	f.Helper()
	ca, err := devpki.NewRoot(devpki.CAOptions{Name: name, NotBefore: dayBefore, NotAfter: dayAfter, Edit: edit})
	f.must(err)
	return ca
}

func (f fixture) intermediate(parent *devpki.CA, name string, edit func(*x509.Certificate)) *devpki.CA {
	f.Helper()
	ca, err := parent.NewIntermediate(devpki.CAOptions{Name: name, NotBefore: dayBefore, NotAfter: dayAfter, Edit: edit})
	f.must(err)
	return ca
}

// leaf issues a leaf for checkoutID, or for o.URIs.
func (f fixture) leaf(ca *devpki.CA, o devpki.LeafOptions) []*x509.Certificate {
	f.Helper()
	if o.URIs == nil {
		o.URIs = []string{checkoutID}
	}
	if o.NotBefore.IsZero() {
		o.NotBefore, o.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
	}
	leaf, err := ca.Issue(o)
	f.must(err)
	return leaf.Chain
}

func (f fixture) origin(name string) workloadid.Origin {
	f.Helper()
	origin, err := workloadid.ParseOrigin(name)
	f.must(err)
	return origin
}

func (f fixture) bundle(origin string, o trust.BundleOptions, anchors ...*devpki.CA) *trust.Bundle {
	f.Helper()
	for _, ca := range anchors {
		o.Anchors = append(o.Anchors, ca.Certificate)
	}
	bundle, err := trust.NewBundle(f.origin(origin), o)
	f.must(err)
	return bundle
}

// accepted is a question whose answer is yes: leaf, issuing CA, root.
func (f fixture) accepted() *question {
	f.Helper()
	root := f.root("prod root", nil)
	issuing := f.intermediate(root, "prod issuing", nil)
	return &question{
		root: root, issuing: issuing,
		chain:  f.leaf(issuing, devpki.LeafOptions{}),
		bundle: f.bundle(prodOrigin, trust.BundleOptions{}, root),
		role:   RoleClient,
		now:    now,
	}
}

// The parts of a certificate that crypto/x509 would not let anybody choose.
type tbsCertificate struct {
	Raw        asn1.RawContent
	Version    int `asn1:"optional,explicit,default:0,tag:0"`
	Serial     *big.Int
	Algorithm  pkix.AlgorithmIdentifier
	Issuer     asn1.RawValue
	Validity   asn1.RawValue
	Subject    asn1.RawValue
	PublicKey  asn1.RawValue
	Extensions []pkix.Extension `asn1:"omitempty,optional,explicit,tag:3"`
}

type signedCertificate struct {
	TBS       asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

var (
	oidECDSAWithSHA1   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

// forge signs c again after edit has changed it. sign is given the TBS and makes
// the signature of algorithm.
func (f fixture) forge(c *x509.Certificate, algorithm asn1.ObjectIdentifier, sign func([]byte) []byte, edit func(*tbsCertificate)) *x509.Certificate {
	f.Helper()
	return f.forgeBy(c, pkix.AlgorithmIdentifier{Algorithm: algorithm}, sign, edit)
}

func (f fixture) forgeBy(c *x509.Certificate, algorithm pkix.AlgorithmIdentifier, sign func([]byte) []byte, edit func(*tbsCertificate)) *x509.Certificate {
	f.Helper()
	var tbs tbsCertificate
	_, err := asn1.Unmarshal(c.RawTBSCertificate, &tbs)
	f.must(err)
	tbs.Raw = nil
	tbs.Algorithm = algorithm
	if edit != nil {
		edit(&tbs)
	}
	der, err := asn1.Marshal(tbs)
	f.must(err)
	signature := sign(der)
	der, err = asn1.Marshal(signedCertificate{
		TBS:       asn1.RawValue{FullBytes: der},
		Algorithm: tbs.Algorithm,
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	f.must(err)
	forged, err := x509.ParseCertificate(der)
	f.must(err)
	return forged
}

// resign is forge with the P-256 key of ca.
func (f fixture) resign(ca *devpki.CA, c *x509.Certificate, edit func(*tbsCertificate)) *x509.Certificate {
	f.Helper()
	return f.forge(c, oidECDSAWithSHA256, f.ecdsa(ca.Key, crypto.SHA256), edit)
}

func (f fixture) ecdsa(key crypto.Signer, hash crypto.Hash) func([]byte) []byte {
	return func(tbs []byte) []byte {
		var digest []byte
		if hash == crypto.SHA1 {
			sum := sha1.Sum(tbs)
			digest = sum[:]
		} else {
			sum := sha256.Sum256(tbs)
			digest = sum[:]
		}
		signature, err := key.Sign(rand.Reader, digest, hash)
		f.must(err)
		return signature
	}
}

// withKey issues the leaf of chain again for another public key.
func (f fixture) withKey(ca *devpki.CA, chain []*x509.Certificate, public crypto.PublicKey) []*x509.Certificate {
	f.Helper()
	template := *chain[0]
	template.SignatureAlgorithm = 0
	der, err := x509.CreateCertificate(rand.Reader, &template, ca.Certificate, public, ca.Key)
	f.must(err)
	leaf, err := x509.ParseCertificate(der)
	f.must(err)
	return append([]*x509.Certificate{leaf}, chain[1:]...)
}

// uriConstraint permits URIs of the given domains below a CA.
func uriConstraint(domains ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical = true
		c.PermittedURIDomains = domains
	}
}
