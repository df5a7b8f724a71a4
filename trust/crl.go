package trust

import (
	"crypto/x509"
	"time"
)

// StalePolicy says what is done about a certificate whose only CRLs are past
// their nextUpdate. The zero StalePolicy refuses.
type StalePolicy uint8

// The policies.
const (
	StaleRefuse StalePolicy = iota // status unknown: refused
	StaleGrace                     // as if nextUpdate were CRLOptions.Grace later
	StaleAccept                    // believed for ever, and alarmed about
)

// CRLOptions says how the CRLs of an origin are applied.
type CRLOptions struct {
	WhenStale StalePolicy
	Grace     time.Duration // with StaleGrace
	// LeafOnly asks for the status of leaves alone. Otherwise every certificate of a
	// path but the anchor needs one.
	LeafOnly bool
}

// CRL is one complete certificate revocation list (RFC 5280 §5). It is immutable
// but for what it remembers of signature checks.
type CRL struct{}

// ParseCRLs reads PEM blocks "X509 CRL", one or several, or one DER CRL. name is
// for errors, which are an [*Error].
func ParseCRLs(name string, data []byte) ([]*CRL, error) { return nil, nil }

// RawIssuer returns the DER of the issuer's name.
func (c *CRL) RawIssuer() []byte { return nil }

// CRLSet is the CRLs of one origin and how they are applied. It is immutable. The
// nil *CRLSet says that nobody asks for revocation status.
type CRLSet struct{}

// NewCRLSet puts crls, in any order, together. A set without a CRL is not the nil
// set: every status is unknown.
func NewCRLSet(crls []*CRL, o CRLOptions) (*CRLSet, error) { return &CRLSet{}, nil }

// Options returns how the CRLs are applied.
func (s *CRLSet) Options() CRLOptions { return CRLOptions{} }

// CRLs returns all CRLs. The slice is not to be modified.
func (s *CRLSet) CRLs() []*CRL { return nil }

// Digest covers CRLs and options.
func (s *CRLSet) Digest() Digest { return Digest{} }

// Boundary returns the first moment after now at which the passing of time alone
// can change what the set says: a thisUpdate that comes, a nextUpdate that passes
// (with its grace). It is zero if there is none.
func (s *CRLSet) Boundary(now time.Time) time.Time { return time.Time{} }

// For a judge: see package certpath.
var _ = x509.Certificate{}
