package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"verigate/workloadid"
)

// Credential is the gateway's own certificate chain and private key. It is
// immutable.
type Credential struct {
	certificate *tls.Certificate
	id          workloadid.ID
	notAfter    time.Time
	digest      Digest
}

// CredentialSource yields the current credential; never nil.
type CredentialSource interface{ Credential() *Credential }

// ParseCredential reads a chain, leaf first, and the key of its leaf, and
// verifies that a peer could make sense of them at now: the key belongs to the
// leaf, every certificate is issued by the one behind it, all of them are valid
// (KEY-02), and a leaf that has an identifier has it alone and in canonical form.
// What a peer will think of the issuer is not judged. The names are used in
// errors only; if they are equal, certificates and key may be in one file.
//
// The key is PKCS #8, PKCS #1 or SEC 1, without a passphrase. The error is an
// [*Error]; it never has any part of the key in it.
func ParseCredential(certName string, certPEM []byte, keyName string, keyPEM []byte, now time.Time) (*Credential, error) {
	oneFile := certName == keyName
	chain, fault := parseChain(certPEM, oneFile)
	if fault == nil {
		fault = checkOwnChain(chain, now)
	}
	if fault != nil {
		fault.Name = certName
		return nil, fault
	}
	id, fault := workloadID(chain[0])
	if fault != nil {
		fault.Name, fault.Place = certName, "certificate 1"
		return nil, fault
	}
	key, fault := parseKey(keyPEM, oneFile)
	if fault != nil {
		fault.Name = keyName
		return nil, fault
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(chain[0].PublicKey) {
		return nil, &Error{Reason: ReasonMismatch, Name: keyName, Detail: "the certificate is in " + certName}
	}
	c := &Credential{
		certificate: &tls.Certificate{PrivateKey: key, Leaf: chain[0]},
		id:          id,
		notAfter:    chain[0].NotAfter,
	}
	digest := newContent("verigate credential 1")
	for _, certificate := range chain {
		c.certificate.Certificate = append(c.certificate.Certificate, certificate.Raw)
		digest.octets(certificate.Raw)
		if certificate.NotAfter.Before(c.notAfter) {
			c.notAfter = certificate.NotAfter
		}
	}
	c.digest = digest.sum()
	return c, nil
}

func parseChain(data []byte, keyToo bool) ([]*x509.Certificate, *Error) {
	blocks, fault := boundedBlocks(data)
	if fault != nil {
		return nil, fault
	}
	var chain []*x509.Certificate
	for i, block := range blocks {
		place := fmt.Sprintf("block %d", i+1)
		switch {
		case block.Type == "CERTIFICATE":
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, &Error{Reason: ReasonCertificate, Place: place, Err: err}
			}
			chain = append(chain, certificate)
		case keyToo && isKeyBlock(block):
		default:
			return nil, &Error{Reason: ReasonBlock, Place: place, Detail: quote(block.Type)}
		}
	}
	if chain == nil {
		return nil, &Error{Reason: ReasonNoCertificate}
	}
	return chain, nil
}

// checkOwnChain catches here what otherwise every single peer would refuse.
func checkOwnChain(chain []*x509.Certificate, now time.Time) *Error {
	for i, certificate := range chain {
		place := fmt.Sprintf("certificate %d", i+1)
		switch {
		case now.After(certificate.NotAfter):
			return &Error{Reason: ReasonExpired, Place: place, Detail: "on " + certificate.NotAfter.UTC().Format(time.DateTime)}
		case now.Before(certificate.NotBefore):
			return &Error{Reason: ReasonNotYetValid, Place: place, Detail: "not before " + certificate.NotBefore.UTC().Format(time.DateTime)}
		}
		if i+1 == len(chain) {
			break
		}
		issuer := chain[i+1]
		if !bytes.Equal(certificate.RawIssuer, issuer.RawSubject) {
			return &Error{Reason: ReasonChainOrder, Place: place, Detail: fmt.Sprintf("its issuer is %s, the next certificate is %s",
				quote(certificate.Issuer.String()), quote(issuer.Subject.String()))}
		}
		err := issuer.CheckSignature(certificate.SignatureAlgorithm, certificate.RawTBSCertificate, certificate.Signature)
		// Peers may verify algorithms that crypto/x509 does not know.
		if err != nil && !errors.Is(err, x509.ErrUnsupportedAlgorithm) {
			return &Error{Reason: ReasonChainOrder, Place: place, Detail: "the next certificate has its issuer's name and another key", Err: err}
		}
	}
	return nil
}

// parseKey finds the one private key. openssl puts EC PARAMETERS before it.
func parseKey(data []byte, chainToo bool) (crypto.Signer, *Error) {
	blocks, fault := boundedBlocks(data)
	if fault != nil {
		return nil, fault
	}
	var key crypto.Signer
	for i, block := range blocks {
		place := fmt.Sprintf("block %d", i+1)
		switch {
		case isKeyBlock(block) && key != nil:
			return nil, &Error{Reason: ReasonKey, Place: place, Detail: "a second private key"}
		case isKeyBlock(block):
			if key, fault = decodeKey(block); fault != nil {
				fault.Place = place
				return nil, fault
			}
		case block.Type == "EC PARAMETERS", chainToo && block.Type == "CERTIFICATE":
		default:
			return nil, &Error{Reason: ReasonBlock, Place: place, Detail: quote(block.Type)}
		}
	}
	if key == nil {
		return nil, &Error{Reason: ReasonNoKey}
	}
	return key, nil
}

func decodeKey(block *pem.Block) (crypto.Signer, *Error) {
	if block.Type == "ENCRYPTED PRIVATE KEY" || len(block.Headers) > 0 {
		return nil, &Error{Reason: ReasonEncryptedKey}
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, &Error{Reason: ReasonKey, Detail: "of kind " + quote(block.Type)}
	}
	if err != nil {
		return nil, &Error{Reason: ReasonKey, Err: err}
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, &Error{Reason: ReasonKey, Detail: "TLS signs with RSA, ECDSA or Ed25519"}
}

func isKeyBlock(block *pem.Block) bool { return strings.HasSuffix(block.Type, "PRIVATE KEY") }

func boundedBlocks(data []byte) ([]*pem.Block, *Error) {
	data = bytes.TrimPrefix(data, utf8BOM)
	switch {
	case len(data) > MaxDocumentBytes:
		return nil, &Error{Reason: ReasonTooLarge, Detail: fmt.Sprintf("over %d octets", MaxDocumentBytes)}
	case len(bytes.TrimSpace(data)) == 0:
		return nil, &Error{Reason: ReasonEmpty}
	}
	return pemBlocks(data)
}

// TLS returns the credential in the form that crypto/tls takes, with Leaf set.
// It is not to be modified.
func (c *Credential) TLS() *tls.Certificate { return c.certificate }

// ID returns the identifier of the leaf, the zero ID when it has none.
func (c *Credential) ID() workloadid.ID { return c.id }

// NotAfter returns the earliest end of the chain. The credential must not be
// used after it (KEY-02).
func (c *Credential) NotAfter() time.Time { return c.notAfter }

// Digest covers the chain. A renewed certificate has another digest even when
// its key is the same.
func (c *Credential) Digest() Digest { return c.digest }

// String names the credential without any part of its key, whatever verb it is
// printed with.
func (c *Credential) String() string {
	return fmt.Sprintf("credential %s… of %q until %s", c.digest.String()[:16], c.id.String(), c.notAfter.UTC().Format(time.RFC3339))
}

// GoString is [Credential.String], so that %#v shows no key either.
func (c *Credential) GoString() string { return c.String() }
