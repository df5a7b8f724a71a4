package certpath

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"

	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
)

// circlKinds are the kinds of keys that crypto/x509 lacks, as their messages name
// them.
var circlKinds = map[devpki.KeyType]string{
	devpki.Ed448: "Ed448", devpki.MLDSA44: "ML-DSA-44", devpki.MLDSA65: "ML-DSA-65", devpki.MLDSA87: "ML-DSA-87",
}

// ca makes a CA with a key of the given kind, a root if parent is nil.
func (f fixture) ca(parent *devpki.CA, name string, kind devpki.KeyType, edit func(*x509.Certificate)) *devpki.CA {
	f.Helper()
	o := devpki.CAOptions{Name: name, Key: kind, NotBefore: dayBefore, NotAfter: dayAfter, Edit: edit}
	var ca *devpki.CA
	var err error
	if parent == nil {
		ca, err = devpki.NewRoot(o)
	} else {
		ca, err = parent.NewIntermediate(o)
	}
	f.must(err)
	return ca
}

// below asks about a leaf with a P-256 key of the last of cas, the first of which is
// the anchor.
func (f fixture) below(o trust.BundleOptions, cas ...*devpki.CA) *question {
	f.Helper()
	issuing := cas[len(cas)-1]
	return &question{
		root: cas[0], issuing: issuing,
		chain:  f.leaf(issuing, devpki.LeafOptions{}),
		bundle: f.bundle(prodOrigin, o, cas[0]),
		role:   RoleClient, now: now,
	}
}

// TestAlgorithmsThatStdLacks: in the root alone, in all CAs, and between classical
// ones (ALG-01, ALG-02, ALG-04).
func TestAlgorithmsThatStdLacks(t *testing.T) {
	t.Parallel()
	for kind := range circlKinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			f := fixture{t}
			for _, kinds := range [][]devpki.KeyType{
				{kind}, {kind, devpki.P256}, {kind, kind, kind}, {devpki.P256, kind, devpki.P256}, {devpki.RSA2048, kind},
			} {
				cas := []*devpki.CA{f.ca(nil, "root", kinds[0], nil)}
				for i, k := range kinds[1:] {
					cas = append(cas, f.ca(cas[i], fmt.Sprint("CA ", i), k, nil))
				}
				q := f.below(trust.BundleOptions{}, cas...)
				path, err := q.ask()
				if err != nil {
					t.Errorf("Verify() below %v = %v, want a path", kinds, err)
				} else if path.SignatureChecks() != len(kinds) {
					t.Errorf("Verify() below %v took %d signature checks, want %d", kinds, path.SignatureChecks(), len(kinds))
				}
			}
		})
	}
}

// TestOtherRulesHoldForThem: what a CA may do is judged apart from what its key is
// (PKIX-02 to PKIX-06).
func TestOtherRulesHoldForThem(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	for _, tt := range []struct {
		name string
		want Reason
		edit func(*x509.Certificate)
	}{
		{"not a CA", ReasonNotCA, func(c *x509.Certificate) { c.IsCA = false }},
		{"no keyCertSign", ReasonNotCA, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }},
		{"path length", ReasonPathLength, func(c *x509.Certificate) { c.MaxPathLenZero = true }},
		{"expired", ReasonExpired, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }},
		{"name constraints", ReasonNameConstraints, uriConstraint("other.example")},
		{"key purposes", ReasonEKU, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }},
		{"unknown critical extension", ReasonUnknownCriticalExtension, unknownCritical},
	} {
		for _, place := range []string{"anchor", "below the anchor"} {
			var cas []*devpki.CA
			if place == "anchor" {
				cas = append(cas, f.ca(nil, "root", devpki.MLDSA65, tt.edit))
			} else {
				cas = append(cas, f.ca(nil, "root", devpki.P256, nil))
				cas = append(cas, f.ca(cas[0], "upper", devpki.MLDSA65, tt.edit))
			}
			cas = append(cas, f.ca(cas[len(cas)-1], "issuing", devpki.P256, nil))
			if _, err := f.below(trust.BundleOptions{}, cas...).ask(); ReasonOf(err) != tt.want {
				t.Errorf("%s: Verify() with a faulty %s = %v, want %v", tt.name, place, err, tt.want)
			}
		}
	}
}

// TestCirclSignatures: what does not verify is refused, whatever is wrong with it.
func TestCirclSignatures(t *testing.T) {
	t.Parallel()
	for kind, name := range circlKinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			f := fixture{t}
			root := f.ca(nil, "root", kind, nil)
			q := f.below(trust.BundleOptions{}, root, f.ca(root, "issuing", devpki.P256, nil))
			other := f.ca(nil, "root", kind, nil)
			oid := schemeNamed(t, name).objectIdentifier()
			genuine := q.chain[1]
			by := func(ca *devpki.CA) func([]byte) []byte {
				return func(tbs []byte) []byte {
					signature, err := ca.Key.Sign(rand.Reader, tbs, crypto.Hash(0))
					f.must(err)
					return signature
				}
			}
			for _, tt := range []struct {
				name      string
				algorithm pkix.AlgorithmIdentifier
				sign      func([]byte) []byte
				want      Reason
			}{
				{"signed again", pkix.AlgorithmIdentifier{Algorithm: oid}, by(root), ReasonNone},
				{"by another key", pkix.AlgorithmIdentifier{Algorithm: oid}, by(other), ReasonBadSignature},
				{"of something else", pkix.AlgorithmIdentifier{Algorithm: oid}, func([]byte) []byte { return by(root)([]byte("else")) }, ReasonBadSignature},
				{"an octet short", pkix.AlgorithmIdentifier{Algorithm: oid}, func(tbs []byte) []byte { s := by(root)(tbs); return s[:len(s)-1] }, ReasonBadSignature},
				{"an octet long", pkix.AlgorithmIdentifier{Algorithm: oid}, func(tbs []byte) []byte { return append(by(root)(tbs), 0) }, ReasonBadSignature},
				{"empty", pkix.AlgorithmIdentifier{Algorithm: oid}, func([]byte) []byte { return nil }, ReasonBadSignature},
				{"by a classical name", pkix.AlgorithmIdentifier{Algorithm: oidECDSAWithSHA256}, by(root), ReasonBadSignature},
				{"with NULL for parameters", pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.NullRawValue}, by(root), ReasonUnsupportedAlgorithm},
				// ML-DSA with a digest of the message, id-hash-ml-dsa-44-with-sha512 and so
				// on; for Ed448 it is something else that is not it.
				{"prehashed", pkix.AlgorithmIdentifier{Algorithm: append(oid[:len(oid)-1:len(oid)-1], oid[len(oid)-1]+15)}, by(root), ReasonUnsupportedAlgorithm},
			} {
				q.chain[1] = f.forgeBy(genuine, tt.algorithm, tt.sign, nil)
				if _, err := q.ask(); ReasonOf(err) != tt.want {
					t.Errorf("%s: Verify() = %v, want reason %q", tt.name, err, tt.want)
				}
			}

			signature := bytes.Clone(genuine.Raw)
			for _, at := range []int{1, len(genuine.Signature) / 2, len(genuine.Signature)} {
				signature[len(signature)-at] ^= 1
				c, err := x509.ParseCertificate(signature)
				f.must(err)
				q.chain[1] = c
				if _, err := q.ask(); ReasonOf(err) != ReasonBadSignature {
					t.Errorf("Verify() with a bit flipped at %d octets from the end = %v, want %v", at, err, ReasonBadSignature)
				}
				signature[len(signature)-at] ^= 1
			}
		})
	}
}

// TestEveryOctetCounts: no octet of a CA's certificate can be changed without losing
// the path, wherever it is; there is one encoding of each signature.
func TestEveryOctetCounts(t *testing.T) {
	t.Parallel()
	for _, kind := range []devpki.KeyType{devpki.Ed448, devpki.MLDSA44} {
		f := fixture{t}
		root := f.ca(nil, "root", kind, nil)
		q := f.below(trust.BundleOptions{}, root, f.ca(root, "issuing", devpki.P256, nil))
		if _, err := q.ask(); err != nil {
			t.Fatal(err)
		}
		raw := bytes.Clone(q.chain[1].Raw)
		for i := range raw {
			raw[i] ^= byte(1 << (i % 8))
			if c, err := x509.ParseCertificate(raw); err == nil {
				q.chain[1] = c
				if _, err := q.ask(); err == nil {
					t.Errorf("%s: Verify() accepts a CA's certificate with octet %d of %d changed", kind, i, len(raw))
				}
			}
			raw[i] ^= byte(1 << (i % 8))
		}
	}
}

// TestContextIsEmpty: a signature with a context is for something else (ALG-01).
func TestContextIsEmpty(t *testing.T) {
	t.Parallel()
	for _, s := range schemes {
		f := fixture{t}
		public, private, err := s.GenerateKey()
		f.must(err)
		octets, err := public.MarshalBinary()
		f.must(err)
		q := f.accepted()
		q.root.Certificate = f.forgeBy(q.root.Certificate, pkix.AlgorithmIdentifier{Algorithm: s.objectIdentifier()}, func([]byte) []byte { return []byte{1} }, withKeyOf(f, s.algorithmIdentifier(), octets))
		q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, q.root)
		for context, want := range map[string]Reason{"": ReasonNone, "certificates": ReasonBadSignature} {
			q.chain[1] = f.forgeBy(q.chain[1], s.algorithmIdentifier(), func(tbs []byte) []byte {
				return s.Sign(private, tbs, &sign.SignatureOpts{Context: context})
			}, nil)
			if _, err := q.ask(); ReasonOf(err) != want {
				t.Errorf("%s: Verify() with context %q = %v, want reason %q", s.Name(), context, err, want)
			}
		}
	}
}

// TestCirclKeys: keys are encoded as RFC 9881 §4 and RFC 8410 §4 have it, or not
// looked at.
func TestCirclKeys(t *testing.T) {
	t.Parallel()
	for _, s := range schemes {
		f := fixture{t}
		octets := make([]byte, s.PublicKeySize())
		withNull := s.algorithmIdentifier()
		withNull.Parameters = asn1.NullRawValue
		for _, tt := range []struct {
			name string
			edit func(*tbsCertificate)
			want Reason
		}{
			{"octets that are no key of anybody", withKeyOf(f, s.algorithmIdentifier(), octets), ReasonBadSignature},
			{"an octet short", withKeyOf(f, s.algorithmIdentifier(), octets[1:]), ReasonMalformed},
			{"an octet long", withKeyOf(f, s.algorithmIdentifier(), append(octets, 0)), ReasonMalformed},
			{"empty", withKeyOf(f, s.algorithmIdentifier(), nil), ReasonMalformed},
			{"with NULL for parameters", withKeyOf(f, withNull, octets), ReasonMalformed},
		} {
			q := f.accepted()
			sign := func([]byte) []byte { return make([]byte, s.SignatureSize()) }
			q.root.Certificate = f.forgeBy(q.root.Certificate, s.algorithmIdentifier(), sign, tt.edit)
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, q.root)
			q.chain[1] = f.forgeBy(q.chain[1], s.algorithmIdentifier(), sign, nil)
			if _, err := q.ask(); ReasonOf(err) != tt.want {
				t.Errorf("%s, %s: Verify() = %v, want %v", s.Name(), tt.name, err, tt.want)
			}
		}
	}
}

// TestLeafKeysThatStdLacks: the handshake could not prove such a key (ALG-03), and
// the refusal says what to do.
func TestLeafKeysThatStdLacks(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	for kind, name := range circlKinds {
		q.chain = f.leaf(q.issuing, devpki.LeafOptions{Key: kind})
		for _, profile := range []Profile{ProfileWorkload, ProfilePKIX} {
			q.verifier.Profile = profile
			_, err := q.ask()
			if ReasonOf(err) != ReasonUnsupportedAlgorithm || err.(*Error).Depth != 0 || !strings.Contains(err.Error(), name+" key in a leaf") || err.(*Error).Hint == "" {
				t.Errorf("%v: Verify() = %v, want %v at depth 0 that names the %s key and says what to do", profile, err, ReasonUnsupportedAlgorithm, name)
			}
		}
	}
}

// TestSignerUsage: keys that can only sign are certified for signing alone (ALG-01,
// ALG-02).
func TestSignerUsage(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	const signing = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	foreign := []x509.KeyUsage{x509.KeyUsageKeyEncipherment, x509.KeyUsageDataEncipherment, x509.KeyUsageKeyAgreement,
		x509.KeyUsageEncipherOnly, x509.KeyUsageDecipherOnly}
	for _, kind := range []devpki.KeyType{devpki.Ed25519, devpki.Ed448, devpki.MLDSA44, devpki.MLDSA65, devpki.MLDSA87, devpki.P256} {
		ask := func(usage x509.KeyUsage) error {
			root := f.ca(nil, "root", kind, func(c *x509.Certificate) { c.KeyUsage = usage })
			_, err := f.below(trust.BundleOptions{}, root).ask()
			return err
		}
		for _, usage := range []x509.KeyUsage{0, x509.KeyUsageCertSign, signing} {
			if err := ask(usage); err != nil {
				t.Errorf("%s CA with key usage %b: Verify() = %v, want a path", kind, usage, err)
			}
		}
		want := ReasonUnsupportedAlgorithm
		if kind == devpki.P256 {
			want = ReasonNone // could agree on keys
		}
		for _, usage := range foreign {
			if err := ask(usage | x509.KeyUsageCertSign); ReasonOf(err) != want {
				t.Errorf("%s CA with key usage %b: Verify() = %v, want reason %q", kind, usage, err, want)
			}
		}
	}
	// A leaf is let off.
	q := f.accepted()
	q.chain = f.leaf(q.issuing, devpki.LeafOptions{Key: devpki.Ed25519, Edit: func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyEncipherment }})
	if _, err := q.ask(); err != nil {
		t.Errorf("Verify() of an Ed25519 leaf with keyEncipherment = %v, want a path", err)
	}
}

// TestParserComparesAlgorithms: that the algorithm inside of what is signed is the
// one outside is left to crypto/x509. Should it stop looking, this fails.
func TestParserComparesAlgorithms(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	root := f.ca(nil, "root", devpki.MLDSA44, nil).Certificate
	inside := root.RawTBSCertificate
	oid := []byte("\x60\x86\x48\x01\x65\x03\x04\x03\x11")
	for name, der := range map[string][]byte{"inside": inside, "outside": root.Raw[len(root.Raw)-len(root.Signature)-32:]} {
		at := bytes.Index(der, oid) + len(oid) - 1
		der[at]++
		if _, err := x509.ParseCertificate(root.Raw); err == nil {
			t.Errorf("x509.ParseCertificate() takes a certificate with another algorithm %s", name)
		}
		der[at]--
	}
	if _, err := x509.ParseCertificate(root.Raw); err != nil {
		t.Errorf("the test has broken the certificate: %v", err)
	}
}

// TestExampleOfRFC9881 makes the certificate for ML-DSA-44 of RFC 9881 appendix C
// from what is said about it, with the private key 00 01 02 … 1f. Signatures there
// are deterministic, so the same one comes out.
func TestExampleOfRFC9881(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	unhex := func(s string) []byte {
		octets, err := hex.DecodeString(s)
		f.must(err)
		return octets
	}
	var seed [mldsa44.SeedSize]byte
	for i := range seed {
		seed[i] = byte(i)
	}
	public, private := mldsa44.NewKeyFromSeed(&seed)
	s := schemeNamed(t, "ML-DSA-44")
	template := f.root("any", func(c *x509.Certificate) {
		c.SerialNumber = new(big.Int).SetBytes(unhex("159ffe6f22fd5cc42c524df6fd5e28d0de38f34e"))
		c.Subject = pkix.Name{Organization: []string{"IETF"}, CommonName: "LAMPS WG"}
		c.NotBefore = time.Date(2020, 2, 3, 4, 32, 10, 0, time.UTC)
		c.NotAfter = time.Date(2040, 1, 29, 4, 32, 10, 0, time.UTC)
		c.SubjectKeyId = unhex("329a07b1fabb48f52a309f11a1898f848e2322ff")
	})
	root := f.forgeBy(template.Certificate, s.algorithmIdentifier(), func(tbs []byte) []byte {
		signature, err := private.Sign(nil, tbs, crypto.Hash(0))
		f.must(err)
		return signature
	}, withKeyOf(f, s.algorithmIdentifier(), public.Bytes()))
	if got, want := root.Signature[:12], unhex("fcb12defc1319cfe2c6acd0c"); !bytes.Equal(got, want) {
		t.Errorf("the signature begins with %x, in the RFC with %x", got, want)
	}
	if got, want := root.Signature[len(root.Signature)-5:], unhex("0013213142"); !bytes.Equal(got, want) {
		t.Errorf("the signature ends in %x, in the RFC in %x", got, want)
	}

	b := &builder{bundle: f.bundle(prodOrigin, trust.BundleOptions{})}
	if err := b.verifySignature(root, root); err != nil {
		t.Errorf("verifySignature() = %v, want the example to be self-signed", err)
	}
}

// TestChainOfOpenSSL: what another program has signed by Ed448 verifies here.
func TestChainOfOpenSSL(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	read := func(name string) *x509.Certificate {
		data, err := os.ReadFile("testdata/ed448/" + name)
		f.must(err)
		block, _ := pem.Decode(data)
		c, err := x509.ParseCertificate(block.Bytes)
		f.must(err)
		return c
	}
	root, leaf := read("root.pem"), read("leaf.pem")
	bundle := f.bundle(prodOrigin, trust.BundleOptions{Anchors: []*x509.Certificate{root}})
	path, err := Verify([]*x509.Certificate{leaf, read("issuing.pem")}, bundle, RoleClient, leaf.NotBefore.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if path.ID().String() != checkoutID || path.SignatureChecks() != 2 {
		t.Errorf("the path is of %v after %d signature checks, want %s after 2", path.ID(), path.SignatureChecks(), checkoutID)
	}
}

func schemeNamed(t *testing.T, name string) *scheme {
	t.Helper()
	for i := range schemes {
		if schemes[i].Name() == name {
			return &schemes[i]
		}
	}
	t.Fatalf("there is no scheme %s", name)
	return nil
}

func (s *scheme) algorithmIdentifier() pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: s.objectIdentifier()}
}

func (s *scheme) objectIdentifier() asn1.ObjectIdentifier {
	var identifier pkix.AlgorithmIdentifier
	if _, err := asn1.Unmarshal(s.identifier, &identifier); err != nil {
		panic(err)
	}
	return identifier.Algorithm
}

// withKeyOf puts a public key in.
func withKeyOf(f fixture, algorithm pkix.AlgorithmIdentifier, octets []byte) func(*tbsCertificate) {
	f.Helper()
	spki, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}{algorithm, asn1.BitString{Bytes: octets, BitLength: 8 * len(octets)}})
	f.must(err)
	return func(tbs *tbsCertificate) { tbs.PublicKey = asn1.RawValue{FullBytes: spki} }
}
