package tlsterm

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"sync"
)

const (
	// maxIssuers is how many certificates of CAs are kept. A fleet has a few; one that has
	// more loses no session but the odd resumption.
	maxIssuers = 512
	// maxIssuerBytes is how large each may be. With ML-DSA-87 a certificate has 7.5 KiB.
	maxIssuerBytes = 16 << 10
)

// issuerName stands for a certificate of a CA in a ticket: the first half of the SHA-256
// of its DER. Two certificates with the same name would take a CA some 2⁶⁴ attempts, and
// all that came of it is a chain that is judged like any other.
type issuerName [16]byte

// issuers knows the certificates of CAs that tickets refer to. They come from accepted
// paths whose leaf was proven, so nobody fills the table but CAs that are trusted; being
// in it makes nobody so. The zero table is ready to use.
type issuers struct {
	mu    sync.RWMutex
	known map[issuerName]*x509.Certificate
}

// learn makes sure that c is known. It returns false if c is too large for that.
func (t *issuers) learn(c *x509.Certificate) (issuerName, bool) {
	if len(c.Raw) > maxIssuerBytes {
		return issuerName{}, false
	}
	sum := sha256.Sum256(c.Raw)
	name := issuerName(sum[:])
	if t.find(name) != nil {
		return name, true
	}
	// An exact copy: c may be a part of the handshake message that it came in.
	own, err := x509.ParseCertificate(bytes.Clone(c.Raw))
	if err != nil {
		return issuerName{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = make(map[issuerName]*x509.Certificate)
	}
	if len(t.known) >= maxIssuers && t.known[name] == nil {
		for any := range t.known {
			delete(t.known, any)
			break
		}
	}
	t.known[name] = own
	return name, true
}

// find returns the certificate with that name, nil if it is not known.
func (t *issuers) find(name issuerName) *x509.Certificate {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.known[name]
}
