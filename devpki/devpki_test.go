package devpki_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"verigate/devpki"

	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var allKinds = []devpki.KeyType{
	devpki.P256, devpki.P384, devpki.RSA2048, devpki.Ed25519,
	devpki.Ed448, devpki.MLDSA44, devpki.MLDSA65, devpki.MLDSA87,
}

// A CA that was written to files and read back issues the chains that it issued
// before: a root sends nothing along, an intermediate itself.
func TestLoadCAReadsBackWhatWasWritten(t *testing.T) {
	t.Parallel()
	for _, kind := range allKinds {
		root := must(devpki.NewRoot(devpki.CAOptions{Key: kind}))(t)
		issuing := must(root.NewIntermediate(devpki.CAOptions{Key: kind}))(t)
		for name, ca := range map[string]*devpki.CA{"root": root, "intermediate": issuing} {
			chain := ca.Chain
			if len(chain) == 0 {
				chain = []*x509.Certificate{ca.Certificate}
			}
			loaded := must(devpki.LoadCA(devpki.CertificatesPEM(chain...), must(devpki.KeyPEM(ca.Key))(t)))(t)
			if !loaded.Certificate.Equal(ca.Certificate) || len(loaded.Chain) != len(ca.Chain) {
				t.Errorf("LoadCA(%s, %s) has a chain of %d, want %d", kind, name, len(loaded.Chain), len(ca.Chain))
			}
			leaf := must(loaded.Issue(devpki.LeafOptions{}))(t)
			if !signed(t, ca, leaf.Chain[0].RawTBSCertificate, leaf.Chain[0].Signature, leaf.Chain[0].SignatureAlgorithm) {
				t.Errorf("a leaf of the loaded %s with a %s key is not the %s's", name, kind, name)
			}
		}
	}
}

// signed verifies without what made the signature.
func signed(t *testing.T, ca *devpki.CA, tbs, signature []byte, algorithm x509.SignatureAlgorithm) bool {
	t.Helper()
	if algorithm != x509.UnknownSignatureAlgorithm {
		return ca.Certificate.CheckSignature(algorithm, tbs, signature) == nil
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}
	if _, err := asn1.Unmarshal(ca.Certificate.RawSubjectPublicKeyInfo, &info); err != nil {
		t.Fatal(err)
	}
	for _, s := range []sign.Scheme{ed448.Scheme(), mldsa44.Scheme(), mldsa65.Scheme(), mldsa87.Scheme()} {
		if info.Algorithm.Algorithm.Equal(s.(interface{ Oid() asn1.ObjectIdentifier }).Oid()) {
			return s.Verify(must(s.UnmarshalBinaryPublicKey(info.PublicKey.Bytes))(t), tbs, signature, nil)
		}
	}
	t.Fatalf("nobody knows the algorithm %v", info.Algorithm)
	return false
}

// Every kind of CA certifies every kind of CA, and makes a CRL.
func TestHierarchiesOfMixedKeys(t *testing.T) {
	t.Parallel()
	for _, above := range allKinds {
		t.Run(string(above), func(t *testing.T) {
			t.Parallel()
			root := must(devpki.NewRoot(devpki.CAOptions{Key: above}))(t)
			for _, below := range allKinds {
				ca := must(root.NewIntermediate(devpki.CAOptions{Name: "issuing", Key: below}))(t)
				c := ca.Certificate
				if !signed(t, root, c.RawTBSCertificate, c.Signature, c.SignatureAlgorithm) {
					t.Errorf("a CA with a %s key is not signed by the one with a %s key", below, above)
				}
				if len(c.SubjectKeyId) == 0 || !bytes.Equal(c.AuthorityKeyId, root.Certificate.SubjectKeyId) {
					t.Errorf("a CA with a %s key has key id %x below %x, want one, below %x", below, c.SubjectKeyId, c.AuthorityKeyId, root.Certificate.SubjectKeyId)
				}
			}
			serial := big.NewInt(4711)
			crl := must(x509.ParseRevocationList(must(root.MakeCRL(devpki.CRLOptions{Revoked: []*big.Int{serial}}))(t)))(t)
			if !signed(t, root, crl.RawTBSRevocationList, crl.Signature, crl.SignatureAlgorithm) {
				t.Error("the CRL is not signed by its CA")
			}
			if entries := crl.RevokedCertificateEntries; len(entries) != 1 || entries[0].SerialNumber.Cmp(serial) != 0 {
				t.Errorf("the CRL revokes %v, want %v alone", entries, serial)
			}
		})
	}
}

// A CRL that is made later replaces the earlier one, and lasts as long as asked.
func TestCRLOptions(t *testing.T) {
	t.Parallel()
	ca := must(devpki.NewRoot(devpki.CAOptions{}))(t)
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	first := must(x509.ParseRevocationList(must(ca.MakeCRL(devpki.CRLOptions{ThisUpdate: at}))(t)))(t)
	second := must(x509.ParseRevocationList(must(ca.MakeCRL(devpki.CRLOptions{
		ThisUpdate: at.Add(time.Second), NextUpdate: at.Add(time.Hour),
	}))(t)))(t)
	if second.Number.Cmp(first.Number) <= 0 {
		t.Errorf("the later CRL has number %v, want more than %v", second.Number, first.Number)
	}
	if !first.NextUpdate.Equal(at.Add(devpki.DefaultLifetime)) || !second.NextUpdate.Equal(at.Add(time.Hour)) {
		t.Errorf("the next updates are %v and %v, want a day and an hour after %v", first.NextUpdate, second.NextUpdate, at)
	}
	block, _ := pem.Decode(devpki.CRLPEM(first.Raw))
	if block == nil || block.Type != "X509 CRL" || !bytes.Equal(block.Bytes, first.Raw) {
		t.Errorf("CRLPEM() is %v, want a block X509 CRL", block)
	}
	notCA := &devpki.CA{Certificate: must(ca.Issue(devpki.LeafOptions{}))(t).Chain[0], Key: ca.Key}
	if _, err := notCA.MakeCRL(devpki.CRLOptions{}); err == nil {
		t.Error("MakeCRL() by something without cRLSign makes a CRL, want a refusal")
	}
}

// Private keys that crypto/x509 lacks are written as their seed (RFC 9881 §6, RFC
// 8410 §7), which other programs read, and no other form is taken for one.
func TestSeedForm(t *testing.T) {
	t.Parallel()
	for kind, want := range map[devpki.KeyType]string{
		devpki.Ed448:   "\x30\x47\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x71\x04\x3b\x04\x39",
		devpki.MLDSA65: "\x30\x34\x02\x01\x00\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12\x04\x22\x80\x20",
	} {
		ca := must(devpki.NewRoot(devpki.CAOptions{Key: kind}))(t)
		block, _ := pem.Decode(must(devpki.KeyPEM(ca.Key))(t))
		if !bytes.HasPrefix(block.Bytes, []byte(want)) {
			t.Errorf("a %s key begins with %x, want %x", kind, block.Bytes[:len(want)], want)
		}
		block.Bytes[len(want)-1]--
		if _, err := devpki.LoadCA(devpki.CertificatesPEM(ca.Certificate), pem.EncodeToMemory(block)); err == nil {
			t.Errorf("LoadCA() takes a %s key whose seed has another length", kind)
		}
	}
}

func TestLoadCARefusesAKeyOfAnother(t *testing.T) {
	t.Parallel()
	a, b := must(devpki.NewRoot(devpki.CAOptions{}))(t), must(devpki.NewRoot(devpki.CAOptions{}))(t)
	_, err := devpki.LoadCA(devpki.CertificatesPEM(a.Certificate), must(devpki.KeyPEM(b.Key))(t))
	if err == nil || !strings.HasPrefix(err.Error(), "devpki: ") {
		t.Errorf("LoadCA() of a certificate and another's key = %v, want a refusal", err)
	}
}

// Tests of identifiers rest on this: what is asked for is what is signed.
func TestURIsAreSignedOctetForOctet(t *testing.T) {
	t.Parallel()
	const odd = "spiffe://prod.example/%2e%2E//a"
	leaf := must(must(devpki.NewRoot(devpki.CAOptions{}))(t).Issue(devpki.LeafOptions{
		URIs: []string{odd}, DNS: []string{"pay.example"}, IPs: []netip.Addr{netip.MustParseAddr("::1")},
	}))(t).Chain[0]
	if !bytes.Contains(leaf.Raw, []byte(odd)) {
		t.Errorf("the certificate does not have %q", odd)
	}
	if len(leaf.DNSNames) != 1 || len(leaf.IPAddresses) != 1 {
		t.Errorf("the certificate is for %v and %v, want one of each", leaf.DNSNames, leaf.IPAddresses)
	}
}

func TestEditHasTheLastWord(t *testing.T) {
	t.Parallel()
	root := must(devpki.NewRoot(devpki.CAOptions{Edit: func(c *x509.Certificate) { c.MaxPathLenZero = true }}))(t)
	leaf := must(root.Issue(devpki.LeafOptions{NoExtKeyUsage: true, Edit: func(c *x509.Certificate) { c.KeyUsage = 0 }}))(t).Chain[0]
	if root.Certificate.MaxPathLen != 0 || leaf.KeyUsage != 0 || leaf.ExtKeyUsage != nil {
		t.Errorf("path length %d, key usage %b, extended %v; want what Edit made of them", root.Certificate.MaxPathLen, leaf.KeyUsage, leaf.ExtKeyUsage)
	}
}

func TestLeavesMayHaveEveryKindOfKey(t *testing.T) {
	t.Parallel()
	root := must(devpki.NewRoot(devpki.CAOptions{}))(t)
	for _, kind := range []devpki.KeyType{"", devpki.P256, devpki.P384, devpki.RSA2048, devpki.Ed25519} {
		leaf := must(root.Issue(devpki.LeafOptions{Key: kind}))(t)
		public, ok := leaf.Key.Public().(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !public.Equal(leaf.Chain[0].PublicKey) {
			t.Errorf("the certificate of a leaf with a %q key has another key", kind)
		}
	}
	if _, err := devpki.NewKey("dsa"); err == nil {
		t.Error("NewKey(dsa) makes a key, want a refusal that lists the kinds")
	}
}
