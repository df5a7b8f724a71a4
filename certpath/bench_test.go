package certpath

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"testing"

	"verigate/devpki"
	"verigate/trust"
)

// BenchmarkVerify is the cost of a cache miss, by kind of key and number of
// intermediates. What is left after the signature checks is the price of the
// search itself.
func BenchmarkVerify(b *testing.B) {
	for _, kind := range []devpki.KeyType{devpki.P256, devpki.P384, devpki.RSA2048, devpki.Ed25519} {
		for intermediates := range 3 {
			b.Run(fmt.Sprintf("%s/intermediates=%d", kind, intermediates), func(b *testing.B) {
				q := questionWithKeys(fixture{b}, kind, intermediates)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := q.ask(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkVerifyKnownIssuer is a new leaf of an issuer whose links are
// remembered: one signature check whatever the length.
func BenchmarkVerifyKnownIssuer(b *testing.B) {
	q := questionWithKeys(fixture{b}, devpki.P256, 2)
	q.verifier.Links = alwaysLinked{}
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
// for: CAs of one name without key identifiers, each of which has to be tried.
// The bound is ten milliseconds.
func BenchmarkHostile(b *testing.B) {
	f := fixture{b}
	b.Run("p384", func(b *testing.B) {
		q := f.accepted()
		q.chain = hostileChain(f, devpki.P384)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := q.ask(); ReasonOf(err) != ReasonLimitsExceeded {
				b.Fatal(err)
			}
		}
	})
	b.Run("rsa4096", func(b *testing.B) {
		q := f.accepted()
		q.chain = hostileRSA(f, q.chain)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := q.ask(); ReasonOf(err) != ReasonLimitsExceeded {
				b.Fatal(err)
			}
		}
	})
	b.Run("p256", func(b *testing.B) {
		q := f.accepted()
		q.chain = hostileChain(f, devpki.P256)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := q.ask(); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}

// hostileChain is a leaf and nine CAs of one name that have all signed each
// other, as far as one certificate each can say so: each is self-issued by the
// next one's key, and none has a key identifier.
func hostileChain(f fixture, kind devpki.KeyType) []*x509.Certificate {
	f.Helper()
	authorities := make([]*devpki.CA, MaxChainCertificates-1)
	for i := range authorities {
		ca, err := devpki.NewRoot(devpki.CAOptions{Name: "cluster", Key: kind, NotBefore: dayBefore, NotAfter: dayAfter})
		f.must(err)
		authorities[i] = ca
	}
	reissue := func(c *x509.Certificate, by *devpki.CA) *x509.Certificate {
		template := *c
		template.SubjectKeyId, template.AuthorityKeyId, template.SignatureAlgorithm = nil, nil, 0
		der, err := x509.CreateCertificate(rand.Reader, &template, &x509.Certificate{Subject: by.Certificate.Subject, RawSubject: by.Certificate.RawSubject}, c.PublicKey, by.Key)
		f.must(err)
		out, err := x509.ParseCertificate(der)
		f.must(err)
		return out
	}
	chain := []*x509.Certificate{reissue(f.leaf(authorities[0], devpki.LeafOptions{Key: kind})[0], authorities[0])}
	for i, ca := range authorities {
		chain = append(chain, reissue(ca.Certificate, authorities[(i+1)%len(authorities)]))
	}
	return chain
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
