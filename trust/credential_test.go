package trust_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
)

const gatewayID = "spiffe://prod.example/ns/edge/sa/gateway"

// threeLevels returns an authority below a root.
func threeLevels(t testing.TB, root devpki.CAOptions) (*devpki.CA, *devpki.CA) {
	t.Helper()
	ca := newRoot(t, root)
	issuing, err := ca.NewIntermediate(devpki.CAOptions{Name: "issuing"})
	if err != nil {
		t.Fatal(err)
	}
	return ca, issuing
}

func TestParseCredential(t *testing.T) {
	t.Parallel()
	_, issuing := threeLevels(t, devpki.CAOptions{})
	leaf := issue(t, issuing, devpki.LeafOptions{URIs: []string{gatewayID}, NotAfter: moment().Add(time.Hour)})
	c, err := trust.ParseCredential("c.pem", devpki.CertificatesPEM(leaf.Chain...), "k.pem", keyPEM(t, leaf), moment())
	if err != nil {
		t.Fatalf("ParseCredential() = %v", err)
	}
	if got := c.ID().String(); got != gatewayID {
		t.Errorf("ID() = %q, want %q", got, gatewayID)
	}
	if !c.NotAfter().Equal(leaf.Chain[0].NotAfter) {
		t.Errorf("NotAfter() = %v, want that of the leaf, %v", c.NotAfter(), leaf.Chain[0].NotAfter)
	}
	got := c.TLS()
	if got.Leaf == nil || !got.Leaf.Equal(leaf.Chain[0]) || len(got.Certificate) != 2 || !bytes.Equal(got.Certificate[1], leaf.Chain[1].Raw) {
		t.Error("TLS() is not the chain with its leaf parsed")
	}
	handshake(t, c)
}

// handshake proves that crypto/tls can use c.
func handshake(t *testing.T, c *trust.Credential) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	server := tls.Server(near, &tls.Config{Certificates: []tls.Certificate{*c.TLS()}})
	served := make(chan error, 1)
	go func() { served <- server.Handshake() }()
	client := tls.Client(far, &tls.Config{InsecureSkipVerify: true}) // what is proven is the key
	if err := client.Handshake(); err != nil {
		t.Errorf("client handshake = %v", err)
	}
	near.SetDeadline(moment().Add(-time.Second)) // nobody reads the session tickets
	<-served
}

func TestNotAfterIsTheEarliestOfTheChain(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	soon := moment().Add(time.Minute)
	issuing, err := ca.NewIntermediate(devpki.CAOptions{NotAfter: soon})
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue(t, issuing, devpki.LeafOptions{})
	c, err := trust.ParseCredential("c", devpki.CertificatesPEM(leaf.Chain...), "k", keyPEM(t, leaf), moment())
	if err != nil {
		t.Fatal(err)
	}
	if !c.NotAfter().Equal(issuing.Certificate.NotAfter) {
		t.Errorf("NotAfter() = %v, want that of the issuing CA, %v", c.NotAfter(), issuing.Certificate.NotAfter)
	}
	if !c.ID().IsZero() {
		t.Errorf("ID() = %v of a certificate without an identifier, want zero", c.ID())
	}
}

func TestParseCredentialReadsEveryKindOfKeyFile(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	block := func(kind string, der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	for _, kind := range []devpki.KeyType{devpki.P256, devpki.P384, devpki.RSA2048, devpki.Ed25519} {
		leaf := issue(t, ca, devpki.LeafOptions{Key: kind})
		files := map[string][]byte{"PKCS #8": keyPEM(t, leaf)}
		switch key := leaf.Key.(type) {
		case *ecdsa.PrivateKey:
			der, err := x509.MarshalECPrivateKey(key)
			files["SEC 1"] = block("EC PRIVATE KEY", der, err)
			files["SEC 1 behind parameters"] = append(block("EC PARAMETERS", []byte{6, 1, 1}, nil), files["SEC 1"]...)
		case *rsa.PrivateKey:
			files["PKCS #1"] = block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), nil)
		}
		for form, data := range files {
			if _, err := trust.ParseCredential("c", devpki.CertificatesPEM(leaf.Chain...), "k", data, moment()); err != nil {
				t.Errorf("ParseCredential() with a key %s as %s = %v", kind, form, err)
			}
		}
	}
}

func TestCertificateAndKeyMayBeInOneFile(t *testing.T) {
	t.Parallel()
	leaf := issue(t, newRoot(t, devpki.CAOptions{}), devpki.LeafOptions{})
	both := append(keyPEM(t, leaf), devpki.CertificatesPEM(leaf.Chain...)...)
	if _, err := trust.ParseCredential("both.pem", both, "both.pem", both, moment()); err != nil {
		t.Errorf("ParseCredential() of one file = %v", err)
	}
	if _, err := trust.ParseCredential("c.pem", both, "k.pem", keyPEM(t, leaf), moment()); trust.ReasonOf(err) != trust.ReasonBlock {
		t.Errorf("ParseCredential() with a key among the certificates = %v, want reason %q", err, trust.ReasonBlock)
	}
}

func TestParseCredentialRefuses(t *testing.T) {
	t.Parallel()
	now := moment()
	root, issuing := threeLevels(t, devpki.CAOptions{Name: "root"})
	// An authority of the same name with another key, as after a re-keying.
	_, impostor := threeLevels(t, devpki.CAOptions{Name: "root"})
	leaf := issue(t, issuing, devpki.LeafOptions{URIs: []string{gatewayID}})
	other := issue(t, issuing, devpki.LeafOptions{URIs: []string{gatewayID}})
	chain := devpki.CertificatesPEM(leaf.Chain...)
	key := keyPEM(t, leaf)
	dates := func(from, until time.Duration) *devpki.Leaf {
		return issue(t, issuing, devpki.LeafOptions{NotBefore: now.Add(from), NotAfter: now.Add(until)})
	}
	expired, early := dates(-2*time.Hour, -time.Hour), dates(time.Hour, 2*time.Hour)
	named := func(uris ...string) ([]byte, []byte) {
		l := issue(t, issuing, devpki.LeafOptions{URIs: uris})
		return devpki.CertificatesPEM(l.Chain...), keyPEM(t, l)
	}
	twoC, twoK := named(gatewayID, "https://gateway.example/")
	badC, badK := named("SPIFFE://prod.example/a")
	domainC, domainK := named("spiffe://prod.example")
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519DER, err := x509.MarshalPKCS8PrivateKey(x25519)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, octets []byte, headers ...string) []byte {
		b := &pem.Block{Type: kind, Bytes: octets}
		if headers != nil {
			b.Headers = map[string]string{headers[0]: headers[1]}
		}
		return pem.EncodeToMemory(b)
	}
	tests := []struct {
		claim     string
		cert, key []byte
		reason    trust.Reason
		text      string
	}{
		{"an empty certificate file", nil, key, trust.ReasonEmpty, "cert.pem: "},
		{"an empty key file", chain, []byte("\n"), trust.ReasonEmpty, "key.pem: "},
		{"a huge certificate file", bytes.Repeat([]byte("x"), trust.MaxDocumentBytes+1), key, trust.ReasonTooLarge, "cert.pem: "},
		{"a huge key file", chain, bytes.Repeat([]byte("x"), trust.MaxDocumentBytes+1), trust.ReasonTooLarge, "key.pem: "},
		{"a certificate file with a key only, in another file", key, key, trust.ReasonBlock, "PRIVATE KEY"},
		{"a key file with certificates", chain, chain, trust.ReasonBlock, "CERTIFICATE"},
		{"a key file with parameters only", chain, block("EC PARAMETERS", []byte{1}), trust.ReasonNoKey, "no PEM private key"},
		{"a certificate file that is something else", []byte("hello\n"), key, trust.ReasonNoCertificate, "cert.pem: there is no PEM certificate in it"},
		{"a key file that is something else", chain, []byte("hello\n"), trust.ReasonNoKey, "key.pem: there is no PEM private key in it"},
		{"a damaged chain", chain[:len(chain)-40], key, trust.ReasonEncoding, "block 2"},
		{"a certificate that is none", block("CERTIFICATE", []byte("x")), key, trust.ReasonCertificate, "block 1"},
		{"a key that is none", chain, block("PRIVATE KEY", []byte("x")), trust.ReasonKey, "key.pem: block 1"},
		{"a DSA key", chain, block("DSA PRIVATE KEY", []byte("x")), trust.ReasonKey, "DSA"},
		{"a key that cannot sign", chain, block("PRIVATE KEY", x25519DER), trust.ReasonKey, "Ed25519"},
		{"two keys", chain, append(bytes.Clone(key), key...), trust.ReasonKey, "second"},
		{"a key under a passphrase", chain, block("ENCRYPTED PRIVATE KEY", []byte("x")), trust.ReasonEncryptedKey, ""},
		{"a key under a passphrase, the old way", chain, block("EC PRIVATE KEY", []byte("x"), "Proc-Type", "4,ENCRYPTED"), trust.ReasonEncryptedKey, ""},
		{"the key of another certificate", chain, keyPEM(t, other), trust.ReasonMismatch, "cert.pem"},
		{"the root before the leaf", devpki.CertificatesPEM(root.Certificate, leaf.Chain[0]), key, trust.ReasonChainOrder, "certificate 1"},
		{"a missing link", devpki.CertificatesPEM(leaf.Chain[0], root.Certificate), key, trust.ReasonChainOrder, `"CN=issuing"`},
		{"an issuer of the right name with another key", devpki.CertificatesPEM(leaf.Chain[0], impostor.Certificate), key, trust.ReasonChainOrder, "another key"},
		{"an expired leaf (KEY-02)", devpki.CertificatesPEM(expired.Chain...), keyPEM(t, expired), trust.ReasonExpired, "certificate 1"},
		{"a leaf from the future", devpki.CertificatesPEM(early.Chain...), keyPEM(t, early), trust.ReasonNotYetValid, "certificate 1"},
		{"two URI names", twoC, twoK, trust.ReasonIdentifier, "2 URI names"},
		{"an identifier in capitals", badC, badK, trust.ReasonIdentifier, "SPIFFE://"},
		{"the identifier of a trust domain", domainC, domainK, trust.ReasonIdentifier, "not a workload"},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			c, err := trust.ParseCredential("cert.pem", tt.cert, "key.pem", tt.key, now)
			if c != nil || trust.ReasonOf(err) != tt.reason || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("ParseCredential() = %v, %v, want reason %q and %q in it", c, err, tt.reason, tt.text)
			}
		})
	}
}

func TestOtherURIsAreNoIdentifier(t *testing.T) {
	t.Parallel()
	leaf := issue(t, newRoot(t, devpki.CAOptions{}), devpki.LeafOptions{URIs: []string{"https://a.example/", "https://b.example/"}, DNS: []string{"a.example"}})
	c, err := trust.ParseCredential("c", devpki.CertificatesPEM(leaf.Chain...), "k", keyPEM(t, leaf), moment())
	if err != nil || !c.ID().IsZero() {
		t.Errorf("ParseCredential() = %v, %v, want a credential without identifier", c, err)
	}
}

func TestCredentialDigestFollowsTheChain(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	parse := func(leaf *devpki.Leaf) *trust.Credential {
		c, err := trust.ParseCredential("c", devpki.CertificatesPEM(leaf.Chain...), "k", keyPEM(t, leaf), moment())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	leaf := issue(t, ca, devpki.LeafOptions{})
	if first, second := parse(leaf), parse(leaf); first.Digest() != second.Digest() {
		t.Error("the same credential has two digests")
	}
	if parse(leaf).Digest() == parse(issue(t, ca, devpki.LeafOptions{})).Digest() {
		t.Error("two credentials have the same digest")
	}
}

// KEY-01: a credential that ends up in a log line shows no key.
func TestPrintingACredentialShowsNoKey(t *testing.T) {
	t.Parallel()
	leaf := issue(t, newRoot(t, devpki.CAOptions{}), devpki.LeafOptions{Key: devpki.Ed25519, URIs: []string{gatewayID}})
	c, err := trust.ParseCredential("c", devpki.CertificatesPEM(leaf.Chain...), "k", keyPEM(t, leaf), moment())
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		got := fmt.Sprintf(verb, c)
		if !strings.Contains(got, gatewayID) || len(got) > 200 {
			t.Errorf("Sprintf(%q) = %s, want the short form", verb, got)
		}
	}
}

// ParseCredential never panics, and what it accepts is usable.
func FuzzParseCredential(f *testing.F) {
	leaf := issue(f, newRoot(f, devpki.CAOptions{}), devpki.LeafOptions{URIs: []string{gatewayID}})
	chain, key := devpki.CertificatesPEM(leaf.Chain...), keyPEM(f, leaf)
	now := moment()
	f.Add(chain, key)
	f.Add(append(bytes.Clone(chain), key...), append(bytes.Clone(chain), key...))
	f.Add(chain[:len(chain)/2], key)
	f.Add(key, chain)
	f.Fuzz(func(t *testing.T, certificate, key []byte) {
		c, err := trust.ParseCredential("c", certificate, "k", key, now)
		switch {
		case err != nil && (c != nil || trust.ReasonOf(err) == trust.ReasonNone):
			t.Fatalf("ParseCredential() = %v, %v, want a *trust.Error alone", c, err)
		case err == nil && (c.TLS().Leaf == nil || c.TLS().PrivateKey == nil || c.NotAfter().Before(now)):
			t.Fatalf("ParseCredential() = %v, which is not usable", c)
		}
	})
}
