package certpath

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"testing"

	"verigate/devpki"
	"verigate/trust"
)

// TestOctetsAndDigests: what is not a certificate is verified under every algorithm
// that is accepted, from its octets or, where a digest is signed, from that alone;
// and by no other key, kind of key or algorithm.
func TestOctetsAndDigests(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	kinds := []devpki.KeyType{devpki.P256, devpki.P384, devpki.RSA2048, devpki.Ed25519, devpki.Ed448, devpki.MLDSA44, devpki.MLDSA65, devpki.MLDSA87}
	cas := map[devpki.KeyType][2]*devpki.CA{}
	for _, kind := range kinds {
		cas[kind] = [2]*devpki.CA{f.ca(nil, "one", kind, nil), f.ca(nil, "other", kind, nil)}
	}
	type made struct {
		kind      devpki.KeyType
		algorithm trust.SignatureAlgorithm
	}
	var all []made
	for _, algorithm := range []x509.SignatureAlgorithm{
		x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
	} {
		all = append(all, made{devpki.RSA2048, algorithmOf(f, cas[devpki.RSA2048][0], algorithm)})
	}
	for _, algorithm := range []x509.SignatureAlgorithm{x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512} {
		all = append(all, made{devpki.P256, algorithmOf(f, cas[devpki.P256][0], algorithm)}, made{devpki.P384, algorithmOf(f, cas[devpki.P384][0], algorithm)})
	}
	for _, kind := range kinds[3:] {
		all = append(all, made{kind, algorithmOf(f, cas[kind][0], 0)})
	}

	for _, m := range all {
		if m.algorithm == 0 {
			t.Fatalf("an algorithm of %s keys is not accepted", m.kind)
		}
		ca := cas[m.kind][0]
		octets := []byte("what is signed")
		signature := signBy(f, ca.Key, m.algorithm, octets)
		if err := verifyOctets(ca.Certificate, m.algorithm, octets, signature); err != nil {
			t.Errorf("verifyOctets() of a signature by %s, algorithm %d = %v", m.kind, m.algorithm, err)
		}
		if err := verifyOctets(ca.Certificate, m.algorithm, []byte("what was not"), signature); err == nil {
			t.Errorf("verifyOctets() takes a signature by %s, algorithm %d, for one of something else", m.kind, m.algorithm)
		}
		if err := verifyOctets(ca.Certificate, m.algorithm, octets, signature[:len(signature)-1]); err == nil {
			t.Errorf("verifyOctets() takes a short signature by %s, algorithm %d", m.kind, m.algorithm)
		}
		if err := verifyOctets(cas[m.kind][1].Certificate, m.algorithm, octets, signature); err == nil {
			t.Errorf("verifyOctets() takes a signature by %s, algorithm %d, for another key's", m.kind, m.algorithm)
		}
		for _, other := range kinds {
			if other != m.kind {
				if err := verifyOctets(cas[other][0].Certificate, m.algorithm, octets, signature); err == nil {
					t.Errorf("verifyOctets() takes a signature by %s, algorithm %d, for a %s key's", m.kind, m.algorithm, other)
				}
			}
		}
		for _, other := range all {
			if other.algorithm != m.algorithm {
				if err := verifyOctets(ca.Certificate, other.algorithm, octets, signature); err == nil {
					t.Errorf("verifyOctets() takes a signature of algorithm %d for one of %d", m.algorithm, other.algorithm)
				}
			}
		}
		digest := octets
		if hash := m.algorithm.Hash(); hash != 0 {
			h := hash.New()
			h.Write(octets)
			digest = h.Sum(nil)
		}
		if err := verifyDigest(ca.Certificate, m.algorithm, digest, signature); (err == nil) != (m.algorithm.Hash() != 0) {
			t.Errorf("verifyDigest() of a signature by %s, algorithm %d = %v, want it to verify if and only if a digest was signed", m.kind, m.algorithm, err)
		}
	}
	if err := verifyOctets(cas[devpki.P256][0].Certificate, 0, nil, nil); err == nil {
		t.Error("verifyOctets() takes a signature by no algorithm")
	}
}

// algorithmOf returns how a root of ca's key says that it is signed; 0 is the key's
// own choice.
func algorithmOf(f fixture, ca *devpki.CA, algorithm x509.SignatureAlgorithm) trust.SignatureAlgorithm {
	f.Helper()
	raw := ca.Certificate.Raw
	if algorithm != 0 {
		template := *ca.Certificate
		template.SignatureAlgorithm = algorithm
		var err error
		raw, err = x509.CreateCertificate(rand.Reader, &template, &template, ca.Key.Public(), ca.Key)
		f.must(err)
	}
	signed, _ := circlSignature(&x509.Certificate{Raw: raw})
	return signed
}

func signBy(f fixture, key crypto.Signer, algorithm trust.SignatureAlgorithm, octets []byte) []byte {
	f.Helper()
	var opts crypto.SignerOpts = algorithm.Hash()
	if algorithm >= trust.RSAPSSWithSHA256 && algorithm <= trust.RSAPSSWithSHA512 {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: algorithm.Hash()}
	}
	signature, err := crypto.SignMessage(key, rand.Reader, bytes.Clone(octets), opts)
	f.must(err)
	return signature
}
