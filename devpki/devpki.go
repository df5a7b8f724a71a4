// Package devpki is an in-memory certification authority for development: the
// gateway's demo, its pki command and the tests make their certificates with
// it. It makes certificates of any shape on request, broken ones included, so
// it must never issue for production.
//
//	root, err := devpki.NewRoot(devpki.CAOptions{Name: "prod root"})
//	issuing, err := root.NewIntermediate(devpki.CAOptions{Name: "prod issuing"})
//	leaf, err := issuing.Issue(devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/shop/sa/checkout"}})
//	config := &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}}
package devpki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"time"
)

// KeyType names a kind of key pair.
type KeyType string

// The kinds of keys that certificates can have here.
const (
	P256    KeyType = "p256" // the default
	P384    KeyType = "p384"
	RSA2048 KeyType = "rsa2048"
	RSA1024 KeyType = "rsa1024" // too weak on purpose, for tests (Go makes such keys only with GODEBUG=rsa1024min=0)
	Ed25519 KeyType = "ed25519"

	// Kinds that crypto/x509 and crypto/tls lack: for CAs. A leaf can be made with
	// one, and is good for being refused.
	Ed448   KeyType = "ed448"
	MLDSA44 KeyType = "ml-dsa-44"
	MLDSA65 KeyType = "ml-dsa-65"
	MLDSA87 KeyType = "ml-dsa-87"
)

// NewKey makes a key pair.
func NewKey(t KeyType) (crypto.Signer, error) {
	switch t {
	case "", P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA1024:
		return rsa.GenerateKey(rand.Reader, 1024)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case Ed448, MLDSA44, MLDSA65, MLDSA87:
		return schemes[t].newKey()
	}
	return nil, fmt.Errorf("devpki: key type %q is none of p256, p384, rsa2048, ed25519, ed448, ml-dsa-44, ml-dsa-65, ml-dsa-87", t)
}

// DefaultLifetime is how long certificates live that do not say otherwise, from
// the beginning of their validity to its end.
const DefaultLifetime = 24 * time.Hour

// Backdate is how long ago the validity of a fresh certificate begins that does not
// say otherwise. It keeps it valid for a peer whose clock is behind.
const Backdate = 5 * time.Minute

// CAOptions describes a certification authority. The zero value gives one with
// a P-256 key that lives for [DefaultLifetime].
type CAOptions struct {
	Name      string // common name; "Verigate development CA" by default
	Key       KeyType
	NotBefore time.Time // five minutes ago by default
	NotAfter  time.Time // NotBefore + DefaultLifetime by default
	// Edit, if set, changes the template last of all.
	Edit func(*x509.Certificate)
}

// CA is a certification authority: a certificate, its key, and the
// intermediates that lead from it to the root.
type CA struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	// Chain is what a leaf of this CA has to send along: this CA's certificate
	// and the ones above it, without the root. It is empty for a root.
	Chain []*x509.Certificate
}

// NewRoot makes a self-signed authority.
func NewRoot(o CAOptions) (*CA, error) { return newCA(nil, o) }

// NewIntermediate makes an authority below ca.
func (ca *CA) NewIntermediate(o CAOptions) (*CA, error) { return newCA(ca, o) }

func newCA(parent *CA, o CAOptions) (*CA, error) {
	if o.Name == "" {
		o.Name = "Verigate development CA"
	}
	key, err := NewKey(o.Key)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: o.Name},
		NotBefore:             o.NotBefore,
		NotAfter:              o.NotAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if o.Edit != nil {
		o.Edit(template)
	}
	certificate, err := issue(parent, template, key)
	if err != nil {
		return nil, err
	}
	ca := &CA{Certificate: certificate, Key: key}
	if parent != nil {
		ca.Chain = append([]*x509.Certificate{certificate}, parent.Chain...)
	}
	return ca, nil
}

// LeafOptions describes an end-entity certificate. The zero value gives one
// without any name; URIs is what makes it a workload's.
type LeafOptions struct {
	// URIs go into the subject alternative name octet for octet, so that tests
	// can present identifiers that no URL library would produce.
	URIs []string
	DNS  []string
	IPs  []netip.Addr
	// Subject is empty by default, as SPIRE's are; the SAN is critical then
	// (RFC 5280 §4.2.1.6).
	Subject   pkix.Name
	Key       KeyType
	NotBefore time.Time // five minutes ago by default
	NotAfter  time.Time // NotBefore + DefaultLifetime by default
	// ExtKeyUsage is clientAuth and serverAuth by default. NoExtKeyUsage leaves
	// the extension out.
	ExtKeyUsage   []x509.ExtKeyUsage
	NoExtKeyUsage bool
	// Edit, if set, changes the template last of all.
	Edit func(*x509.Certificate)
}

// Leaf is an end-entity certificate with its key.
type Leaf struct {
	Chain []*x509.Certificate // leaf first, intermediates behind it, no root
	Key   crypto.Signer
}

// Issue makes an end-entity certificate.
func (ca *CA) Issue(o LeafOptions) (*Leaf, error) {
	key, err := NewKey(o.Key)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               o.Subject,
		NotBefore:             o.NotBefore,
		NotAfter:              o.NotAfter,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           o.ExtKeyUsage,
	}
	if o.ExtKeyUsage == nil && !o.NoExtKeyUsage {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	}
	san, ok, err := subjectAltName(o)
	if err != nil {
		return nil, err
	}
	if ok {
		template.ExtraExtensions = append(template.ExtraExtensions, san)
	}
	if o.Edit != nil {
		o.Edit(template)
	}
	certificate, err := issue(ca, template, key)
	if err != nil {
		return nil, err
	}
	return &Leaf{Chain: append([]*x509.Certificate{certificate}, ca.Chain...), Key: key}, nil
}

// issue fills in what every certificate has and signs template, with its own key
// if there is no issuer.
func issue(issuer *CA, template *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	if template.SerialNumber == nil {
		serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
		if err != nil {
			return nil, err
		}
		template.SerialNumber = serial
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-Backdate)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = template.NotBefore.Add(DefaultLifetime)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Certificate, issuer.Key
	}
	der, err := createCertificate(template, parent, key, signer)
	if err != nil {
		return nil, fmt.Errorf("devpki: sign %q: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// subjectAltName encodes the names of o (RFC 5280 §4.2.1.6). crypto/x509 would
// take URIs only as parsed URLs, which cannot carry most malformed identifiers.
func subjectAltName(o LeafOptions) (extension pkix.Extension, ok bool, err error) {
	const (
		tagDNS = 2
		tagURI = 6
		tagIP  = 7
	)
	var names []asn1.RawValue
	add := func(tag int, octets []byte) {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: octets})
	}
	for _, name := range o.URIs {
		add(tagURI, []byte(name))
	}
	for _, name := range o.DNS {
		add(tagDNS, []byte(name))
	}
	for _, address := range o.IPs {
		add(tagIP, address.AsSlice())
	}
	if names == nil {
		return pkix.Extension{}, false, nil
	}
	value, err := asn1.Marshal(names)
	return pkix.Extension{
		Id:       asn1.ObjectIdentifier{2, 5, 29, 17},
		Critical: len(o.Subject.ToRDNSequence()) == 0,
		Value:    value,
	}, true, err
}

// TLS returns the leaf in the form that crypto/tls takes.
func (l *Leaf) TLS() tls.Certificate {
	certificate := tls.Certificate{PrivateKey: l.Key, Leaf: l.Chain[0]}
	for _, c := range l.Chain {
		certificate.Certificate = append(certificate.Certificate, c.Raw)
	}
	return certificate
}

// CertificatesPEM encodes certificates in their order.
func CertificatesPEM(certificates ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// KeyPEM encodes a private key as PKCS #8.
func KeyPEM(key crypto.Signer) ([]byte, error) {
	der, err := marshalPKCS8(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func marshalPKCS8(key crypto.Signer) ([]byte, error) {
	if k, ok := key.(*circlKey); ok {
		return k.pkcs8()
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

// LoadCA reads back a CA from the PEM of its chain (its own certificate first,
// alone for a root) and of its PKCS #8 key.
func LoadCA(chainPEM, keyPEM []byte) (*CA, error) {
	ca := &CA{}
	for block, rest := pem.Decode(chainPEM); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("devpki: %w", err)
		}
		ca.Chain = append(ca.Chain, c)
	}
	if ca.Chain == nil {
		return nil, errors.New("devpki: there is no certificate in PEM")
	}
	ca.Certificate = ca.Chain[0]
	block, _ := pem.Decode(keyPEM)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("devpki: there is no PKCS #8 private key in PEM")
	}
	var err error
	if ca.Key, err = parsePKCS8(block.Bytes); err != nil {
		return nil, err
	}
	spki, err := marshalPublicKey(ca.Key)
	if err != nil {
		return nil, fmt.Errorf("devpki: %w", err)
	}
	if !bytes.Equal(spki, ca.Certificate.RawSubjectPublicKeyInfo) {
		return nil, errors.New("devpki: the private key is not the certificate's")
	}
	if ca.selfSigned() {
		ca.Chain = nil // a root is not sent along
	}
	return ca, nil
}

func marshalPublicKey(key crypto.Signer) ([]byte, error) {
	if k, ok := key.(*circlKey); ok {
		return k.subjectPublicKeyInfo()
	}
	return x509.MarshalPKIXPublicKey(key.Public())
}

func (ca *CA) selfSigned() bool {
	if k, ok := ca.Key.(*circlKey); ok {
		return k.signed(ca.Certificate)
	}
	return ca.Certificate.CheckSignatureFrom(ca.Certificate) == nil
}
