package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// CRL is one complete certificate revocation list (RFC 5280 §5), signed by the
// issuer of the certificates that it lists. It is immutable but for what it
// remembers of signature checks, and may be used concurrently.
//
// It does not keep the octets that it was read from: whatever shares it shares one
// table of serial numbers, which is smaller than they were.
type CRL struct {
	name       string // of the file
	rawIssuer  []byte
	issuer     string
	number     [20]byte
	thisUpdate time.Time
	nextUpdate time.Time
	keyID      []byte
	scope      crlScope
	serials    revokedSerials
	entries    int
	digest     Digest

	algorithm SignatureAlgorithm
	signed    []byte // the digest that is signed, or all of it where there is none
	signature []byte

	verifying sync.Mutex
	verified  atomic.Pointer[[]signatureCheck]
}

// signatureCheck is the outcome of checking the signature by one key.
type signatureCheck struct {
	key Digest
	err error
}

// maxSignatureChecks bounds what a CRL remembers. One CA name has one key, and a
// few while it changes them.
const maxSignatureChecks = 16

// Name returns what [ParseCRLs] was told, and which CRL of several it is.
func (c *CRL) Name() string { return c.name }

// RawIssuer returns the DER of the issuer's name. It is not to be modified.
func (c *CRL) RawIssuer() []byte { return c.rawIssuer }

// Issuer returns the issuer's name for an operator, escaped and bounded.
func (c *CRL) Issuer() string { return c.issuer }

// Number returns the CRL number (RFC 5280 §5.2.3) in decimal.
func (c *CRL) Number() string { return new(big.Int).SetBytes(c.number[:]).String() }

// ThisUpdate returns when the CRL was issued, in UTC.
func (c *CRL) ThisUpdate() time.Time { return c.thisUpdate }

// NextUpdate returns when the next CRL will be issued at the latest, in UTC. The
// moment itself still belongs to this one.
func (c *CRL) NextUpdate() time.Time { return c.nextUpdate }

// AuthorityKeyID returns the identifier of the key that signed the CRL, nil if it
// does not say. It is not to be modified.
func (c *CRL) AuthorityKeyID() []byte { return c.keyID }

// Algorithm returns how the CRL is signed.
func (c *CRL) Algorithm() SignatureAlgorithm { return c.algorithm }

// Entries returns how many certificates the CRL lists.
func (c *CRL) Entries() int { return c.entries }

// Digest returns the SHA-256 of the CRL's DER.
func (c *CRL) Digest() Digest { return c.digest }

// Series returns what the lists have in common that replace one another: issuer,
// signing key as far as they say, and issuing distribution point.
func (c *CRL) Series() Digest {
	series := newContent("verigate CRL series 1")
	series.octets(c.rawIssuer)
	series.octets(c.keyID)
	series.text(c.scope.raw)
	return series.sum()
}

// Lookup returns what the CRL says of the certificate with the given serial number,
// in the form of [CertRef], and whether it says anything. Whether the certificate is
// one that the CRL speaks of is for the caller to know. It does not allocate.
func (c *CRL) Lookup(serial [20]byte) (Revocation, bool) { return c.serials.find(&serial) }

// Checked returns what [CRL.CheckSignature] found for key before; known is false if
// it was not asked or has forgotten. It does not allocate or block.
func (c *CRL) Checked(key Digest) (known bool, err error) {
	if checks := c.verified.Load(); checks != nil {
		for i := range *checks {
			if check := &(*checks)[i]; check.key == key {
				return true, check.err
			}
		}
	}
	return false, nil
}

// CheckSignature returns what verify says about the CRL's signature, and remembers
// it under key, the digest of the SubjectPublicKeyInfo that verify verifies with:
// a signature is checked once for each of them, also when many ask at once. signed
// is the digest that the algorithm's hash makes or, when it has none, the octets
// that are signed.
func (c *CRL) CheckSignature(key Digest, verify func(algorithm SignatureAlgorithm, signed, signature []byte) error) error {
	if known, err := c.Checked(key); known {
		return err
	}
	// Held across a public-key operation on purpose: whoever waits here would do the
	// same one, over what may be many megabytes.
	c.verifying.Lock()
	defer c.verifying.Unlock()
	if known, err := c.Checked(key); known {
		return err
	}
	err := verify(c.algorithm, c.signed, c.signature)
	var checks []signatureCheck
	if held := c.verified.Load(); held != nil {
		checks = append(checks, *held...)
	}
	if len(checks) == maxSignatureChecks {
		// A CA that is forever given new keys does not make this forget the one that
		// signed.
		oldest := max(0, slices.IndexFunc(checks, func(s signatureCheck) bool { return s.err != nil }))
		checks = slices.Delete(checks, oldest, oldest+1)
	}
	checks = append(checks, signatureCheck{key, err})
	c.verified.Store(&checks)
	return err
}

// Verified reports whether the key of some issuer was found to have signed c.
func (c *CRL) Verified() bool {
	checks := c.verified.Load()
	return checks != nil && slices.ContainsFunc(*checks, func(s signatureCheck) bool { return s.err == nil })
}

// Refuted reports whether issuers of the CRL's name were met and the key of none of
// them has signed c: it is forged, damaged, or of another CA of the same name.
func (c *CRL) Refuted() bool {
	checks := c.verified.Load()
	return checks != nil && len(*checks) > 0 && !c.Verified()
}

// SameKeyID reports whether issuer may have signed c as far as key identifiers tell:
// they are the same, or one of the two has none.
func (c *CRL) SameKeyID(issuer *x509.Certificate) bool {
	return len(c.keyID) == 0 || len(issuer.SubjectKeyId) == 0 || bytes.Equal(c.keyID, issuer.SubjectKeyId)
}

// Supersedes reports whether c, of the same issuer and scope as other, is to be
// believed instead of it. Both the number and the date have to say so: if they
// contradict each other, as they do after a CA was set up again and counts from 1,
// neither list supersedes the other.
func (c *CRL) Supersedes(other *CRL) bool {
	number := bytes.Compare(c.number[:], other.number[:])
	date := c.thisUpdate.Compare(other.thisUpdate)
	return number >= 0 && date >= 0 && (number > 0 || date > 0)
}

// String names the CRL for an operator.
func (c *CRL) String() string {
	return "CRL " + c.Number() + " of " + c.issuer + " from " + c.name +
		" (this update " + c.thisUpdate.Format(time.RFC3339) + ", next update " + c.nextUpdate.Format(time.RFC3339) +
		", sha256 " + hex.EncodeToString(c.digest[:4]) + "…)"
}
