package devpki_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"net/netip"
	"strings"
	"testing"

	"verigate/devpki"
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

// A CA that was written to files and read back issues the chains that it issued
// before: a root sends nothing along, an intermediate itself.
func TestLoadCAReadsBackWhatWasWritten(t *testing.T) {
	t.Parallel()
	root := must(devpki.NewRoot(devpki.CAOptions{}))(t)
	issuing := must(root.NewIntermediate(devpki.CAOptions{Key: devpki.P384}))(t)
	for name, ca := range map[string]*devpki.CA{"root": root, "intermediate": issuing} {
		chain := ca.Chain
		if len(chain) == 0 {
			chain = []*x509.Certificate{ca.Certificate}
		}
		loaded := must(devpki.LoadCA(devpki.CertificatesPEM(chain...), must(devpki.KeyPEM(ca.Key))(t)))(t)
		if !loaded.Certificate.Equal(ca.Certificate) || len(loaded.Chain) != len(ca.Chain) {
			t.Errorf("LoadCA(%s) has a chain of %d, want %d", name, len(loaded.Chain), len(ca.Chain))
		}
		leaf := must(loaded.Issue(devpki.LeafOptions{}))(t)
		if err := leaf.Chain[0].CheckSignatureFrom(ca.Certificate); err != nil {
			t.Errorf("a leaf of the loaded %s is not the %s's: %v", name, name, err)
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
