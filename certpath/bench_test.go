package certpath

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"verigate/devpki"
	"verigate/trust"
)

// benchmarkedKinds are the kinds of keys of the CAs; the leaf's is P-256 where the
// CAs' is of a kind that leaves cannot have.
var benchmarkedKinds = []devpki.KeyType{
	devpki.P256, devpki.P384, devpki.RSA2048, devpki.Ed25519,
	devpki.Ed448, devpki.MLDSA44, devpki.MLDSA65, devpki.MLDSA87,
}

// BenchmarkVerify is the cost of a cache miss, by kind of key and number of
// intermediates. What is left after the signature checks is the price of the
// search itself. Keys of known CAs are ready.
func BenchmarkVerify(b *testing.B) {
	for _, kind := range benchmarkedKinds {
		for intermediates := range 3 {
			b.Run(fmt.Sprintf("%s/intermediates=%d", kind, intermediates), func(b *testing.B) {
				benchmark(b, questionWithKeys(fixture{b}, kind, intermediates))
			})
		}
	}
}

// BenchmarkVerifyKnownIssuer is a new leaf of an issuer whose links are
// remembered: one signature check whatever the length.
func BenchmarkVerifyKnownIssuer(b *testing.B) {
	for _, kind := range benchmarkedKinds {
		b.Run(string(kind), func(b *testing.B) {
			q := questionWithKeys(fixture{b}, kind, 2)
			q.verifier.Links = alwaysLinked{}
			benchmark(b, q)
		})
	}
}

// BenchmarkVerifyTransition is what docs/algorithms.md advises: a root with ML-DSA
// above a classical issuing CA, whose link is remembered or not.
func BenchmarkVerifyTransition(b *testing.B) {
	f := fixture{b}
	root := f.ca(nil, "root", devpki.MLDSA65, nil)
	q := f.below(trust.BundleOptions{}, root, f.ca(root, "issuing", devpki.P256, nil))
	b.Run("cold", func(b *testing.B) { benchmark(b, q) })
	b.Run("known issuer", func(b *testing.B) {
		q.verifier.Links = alwaysLinked{}
		benchmark(b, q)
	})
}

// BenchmarkVerifyProven is the holder of a path being judged anew: no signature
// check.
func BenchmarkVerifyProven(b *testing.B) {
	q := questionWithKeys(fixture{b}, devpki.P256, 2)
	path, err := q.ask()
	if err != nil {
		b.Fatal(err)
	}
	q.verifier.Proven = path
	benchmark(b, q)
}

// BenchmarkHashAfterVerify is what every hash costs that comes after a signature by
// ML-DSA; see leaveAVX. Without it, 6 KB take 440 µs more.
func BenchmarkHashAfterVerify(b *testing.B) {
	octets := make([]byte, 6<<10)
	for _, kind := range benchmarkedKinds[4:] {
		b.Run(string(kind), func(b *testing.B) {
			c := fixture{b}.ca(nil, "root", kind, nil).Certificate
			s, public := schemeOf(c)
			key, err := expand(s, public, spkiOf(c))
			if err != nil {
				b.Fatal(err)
			}
			_, signature := circlSignature(c)
			b.ReportAllocs()
			for b.Loop() {
				if err := key.verify(c.RawTBSCertificate, signature); err != nil {
					b.Fatal(err)
				}
				sha256.Sum256(octets)
			}
		})
	}
}

// BenchmarkExpand is making a key ready, which is spared for CAs that are known.
func BenchmarkExpand(b *testing.B) {
	for _, kind := range benchmarkedKinds[4:] {
		b.Run(string(kind), func(b *testing.B) {
			s, octets := schemeOf(fixture{b}.ca(nil, "root", kind, nil).Certificate)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := expand(s, octets, [32]byte{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchmark(b *testing.B, q *question) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := q.ask(); err != nil {
			b.Fatal(err)
		}
	}
}

type alwaysLinked struct{}

func (alwaysLinked) Verified(_, _ *x509.Certificate) bool { return true }
func (alwaysLinked) Remember(_, _ *x509.Certificate)      {}

// BenchmarkUntrusted is a rejection after two good signatures, the words for the
// operator included.
func BenchmarkUntrusted(b *testing.B) {
	f := fixture{b}
	q := questionWithKeys(f, devpki.P256, 2)
	q.bundle = f.bundle(prodOrigin, trust.BundleOptions{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := q.ask(); ReasonOf(err) != ReasonUntrustedChain {
			b.Fatal(err)
		}
	}
}

// BenchmarkStd is x509.Certificate.Verify on the same chains, for comparison. It
// judges less.
func BenchmarkStd(b *testing.B) {
	for intermediates := range 3 {
		b.Run(fmt.Sprintf("p256/intermediates=%d", intermediates), func(b *testing.B) {
			q := questionWithKeys(fixture{b}, devpki.P256, intermediates)
			options := x509.VerifyOptions{
				Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
				CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			}
			options.Roots.AddCert(q.root.Certificate)
			for _, c := range q.chain[1:] {
				options.Intermediates.AddCert(c)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := q.chain[0].Verify(options); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkIdentify(b *testing.B) {
	q := fixture{b}.accepted()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Identify(q.chain[0]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHostile is the dearest that an attacker without any anchor can ask
// for: CAs of one name without key identifiers, each of which has to be tried. The
// heavy ones fill what MaxChainBytes allows with a leaf that has to be hashed for
// each. The bound is ten milliseconds.
func BenchmarkHostile(b *testing.B) {
	f := fixture{b}
	good := f.accepted().chain
	for _, c := range []struct {
		name  string
		chain []*x509.Certificate
	}{
		{"p256", hostileChain(f, devpki.P256, MaxChainCertificates, 0)},
		{"p256 heavy", hostileChain(f, devpki.P256, MaxChainCertificates, 58<<10)},
		{"p384", hostileChain(f, devpki.P384, MaxChainCertificates, 0)},
		{"rsa4096", hostileRSA(f, good)},
		{"ed448", hostileChain(f, devpki.Ed448, MaxChainCertificates, 0)},
		{"ed448 heavy", hostileChain(f, devpki.Ed448, MaxChainCertificates, 58<<10)},
		{"ml-dsa-44", hostileChain(f, devpki.MLDSA44, MaxChainCertificates, 0)},
		{"ml-dsa-44 heavy", hostileChain(f, devpki.MLDSA44, MaxChainCertificates, 20<<10)},
		{"ml-dsa-65", hostileChain(f, devpki.MLDSA65, MaxChainCertificates, 0)},
		{"ml-dsa-87", hostileChain(f, devpki.MLDSA87, 8, 0)},
		{"mixed", hostileMix(f)},
	} {
		b.Run(c.name, func(b *testing.B) {
			q := f.accepted()
			q.chain = c.chain
			b.ReportAllocs()
			for b.Loop() {
				if _, err := q.ask(); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

// hostileChain is a leaf and CAs of one name that have all signed each other, as far
// as one certificate each can say so: each is issued by the next one's key, and none
// has a key identifier. ballast makes the leaf larger, and has another CA of that name
// issue it, so that it has to be hashed for all of them.
func hostileChain(f fixture, kind devpki.KeyType, length, ballast int) []*x509.Certificate {
	f.Helper()
	authorities := make([]*devpki.CA, length-1)
	for i := range authorities {
		authorities[i] = f.ca(nil, "cluster", kind, nil)
	}
	issuer := authorities[0]
	if ballast > 0 {
		issuer = f.ca(nil, "cluster", kind, nil) // who is not there
	}
	chain := []*x509.Certificate{f.anonymous(f.leaf(issuer, devpki.LeafOptions{})[0], issuer, ballast)}
	for i, ca := range authorities {
		chain = append(chain, f.anonymous(ca.Certificate, authorities[(i+1)%len(authorities)], 0))
	}
	return chain
}

// hostileMix is a cluster in which dear keys take turns with cheap ones that sign by
// the same algorithm, so that all of them have to be tried.
func hostileMix(f fixture) []*x509.Certificate {
	f.Helper()
	var authorities []*devpki.CA
	for i := range MaxChainCertificates - 1 {
		authorities = append(authorities, f.ca(nil, "cluster", []devpki.KeyType{devpki.P384, devpki.P256}[i%2], nil))
	}
	chain := []*x509.Certificate{f.anonymous(f.leaf(authorities[0], devpki.LeafOptions{})[0], authorities[0], 50<<10)}
	for i, ca := range authorities {
		chain = append(chain, f.anonymous(ca.Certificate, authorities[(i+1)%len(authorities)], 0))
	}
	return chain
}

// anonymous issues c again by the key of another CA, without key identifiers and with
// an extension of so many octets.
func (f fixture) anonymous(c *x509.Certificate, by *devpki.CA, ballast int) *x509.Certificate {
	f.Helper()
	algorithm, hash := pkix.AlgorithmIdentifier{Algorithm: oidECDSAWithSHA256}, crypto.SHA256
	if s, _ := schemeOf(by.Certificate); s != nil {
		algorithm, hash = s.algorithmIdentifier(), 0
	}
	sign := func(tbs []byte) []byte {
		signature, err := crypto.SignMessage(by.Key, rand.Reader, tbs, hash)
		f.must(err)
		return signature
	}
	return f.forgeBy(c, algorithm, sign, func(tbs *tbsCertificate) {
		tbs.Issuer = asn1.RawValue{FullBytes: by.Certificate.RawSubject}
		tbs.Extensions = slices.DeleteFunc(tbs.Extensions, func(e pkix.Extension) bool {
			return e.Id.String() == "2.5.29.14" || e.Id.String() == "2.5.29.35"
		})
		if ballast > 0 {
			tbs.Extensions = append(tbs.Extensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, ballast)})
		}
	})
}

// hostileRSA is a leaf with candidate issuers that have the largest keys which
// are accepted.
func hostileRSA(f fixture, good []*x509.Certificate) []*x509.Certificate {
	f.Helper()
	chain := []*x509.Certificate{nil}
	for i := range MaxChainCertificates - 1 {
		n := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), maxRSABits), big.NewInt(int64(2*i+1)))
		ca := f.root("cluster", nil)
		template := *ca.Certificate
		template.SubjectKeyId, template.SignatureAlgorithm = []byte{1}, 0
		der, err := x509.CreateCertificate(rand.Reader, &template, ca.Certificate, &rsa.PublicKey{N: n, E: maxRSAExponent}, ca.Key)
		f.must(err)
		c, err := x509.ParseCertificate(der)
		f.must(err)
		chain = append(chain, c)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	f.must(err)
	// The leaf claims a signature of that length, so that each of them is computed.
	leaf := *good[0]
	leaf.SignatureAlgorithm, leaf.AuthorityKeyId = 0, nil
	der, err := x509.CreateCertificate(rand.Reader, &leaf, &x509.Certificate{Subject: chain[1].Subject, RawSubject: chain[1].RawSubject, SubjectKeyId: []byte{1}}, good[0].PublicKey, key)
	f.must(err)
	chain[0], err = x509.ParseCertificate(der)
	f.must(err)
	chain[0].Signature = make([]byte, maxRSABits/8)
	chain[0].Signature[1] = 1
	return chain
}
