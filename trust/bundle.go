package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"verigate/assurance"
	"verigate/workloadid"
)

// MaxAnchors is how many anchors a bundle may have. Real trust domains have one
// to five, the web's root programmes 150.
const MaxAnchors = 1024

// BundleOptions is what an origin's peers are judged by. Zero values are the
// strict defaults.
type BundleOptions struct {
	// Anchors may be empty, which revokes everything in the trust domain
	// (BUN-02). Any certificate will do here, version 1, without the CA bit or
	// expired: package certpath judges anchors on the paths that end in them.
	Anchors []*x509.Certificate
	// Sequence is the publisher's spiffe_sequence (BUN-05), nil when there is
	// none. Informative: not part of the digest.
	Sequence *uint64
	// RefreshHint is how often the publisher asks to be polled, 0 when it did not
	// say. Informative: not part of the digest.
	RefreshHint time.Duration
	// MaxCertificateLifetime is how long a leaf may live, from NotBefore to
	// NotAfter; 0 is no limit (REV-01).
	MaxCertificateLifetime time.Duration
	// RequireEKU refuses leaves without an extended key usage (OQ-08).
	RequireEKU bool
	// LenientKeyUsage accepts spiffe leaves whose key usage is absent or not
	// critical.
	LenientKeyUsage bool
	// LenientSubject accepts leaves with an empty subject whose subject
	// alternative name is not critical (OQ-21).
	LenientSubject bool
	// NotBeforeSkew is how far a peer's clock may run ahead (PKIX-13).
	NotBeforeSkew time.Duration
	// SharedAnchor says that this origin knowingly shares an anchor key with
	// other origins, all of which must say so (TD-07). It decides whether a
	// snapshot can be made, not how a peer is judged: not part of the digest.
	SharedAnchor bool
	// Assurance grades the origin's peers; nil grades all of them MIAL-1.
	Assurance *assurance.Profile
	// Algorithms are those that keys and signatures of the origin's paths may use,
	// by the names of certpath.Algorithms; empty is every one that is accepted at all
	// (ALG-05).
	Algorithms []string
	// CRLs are the revocation lists that peers are looked up in; nil asks for none.
	// Not part of the bundle's digest, but of the snapshot's: a verdict is looked up
	// in the current ones whenever it is used (CACHE-03).
	CRLs *CRLSet
	// MinMIAL is the least level that a peer of this origin must have; 0 is any.
	MinMIAL assurance.MIAL
	// Shadow is a variant of this bundle that peers are judged by as well, without
	// any effect but being counted. It is a bundle of the same origin and has no
	// shadow itself. Not part of the bundle's digest, but of the snapshot's.
	Shadow *Bundle
}

// Bundle is the anchors of one origin, with the options that its peers are
// judged by. It is immutable, and no method merges bundles (BUN-07).
type Bundle struct {
	origin  workloadid.Origin
	options BundleOptions
	named   map[string][]*x509.Certificate // by the DER of the subject
	digest  Digest
}

// NewBundle returns a bundle for origin. It copies o.Anchors, drops repetitions,
// and puts the anchors into an order that follows from their content alone.
//
// It fails with an [*Error]: [ReasonOptions] for a zero origin, a nil anchor, a
// negative duration, an unknown level, or a shadow that is of another origin or has
// a shadow itself, [ReasonTooLarge] beyond [MaxAnchors] and
// [ReasonForeignAnchor] for an anchor whose identifier is not of this origin
// (CERT-14).
func NewBundle(origin workloadid.Origin, o BundleOptions) (*Bundle, error) {
	refuse := func(reason Reason, detail string) (*Bundle, error) {
		return nil, &Error{Reason: reason, Name: origin.String(), Detail: detail}
	}
	switch {
	case origin.IsZero():
		return refuse(ReasonOptions, "a bundle needs an origin")
	case len(o.Anchors) > MaxAnchors:
		return refuse(ReasonTooLarge, fmt.Sprintf("%d anchors, at most %d", len(o.Anchors), MaxAnchors))
	case slices.Contains(o.Anchors, nil):
		return refuse(ReasonOptions, "an anchor is nil")
	case o.MaxCertificateLifetime < 0 || o.NotBeforeSkew < 0 || o.RefreshHint < 0:
		return refuse(ReasonOptions, "a duration is negative")
	case o.MinMIAL > assurance.MIAL4:
		return refuse(ReasonOptions, "the least level is none that there is")
	case o.Shadow != nil && o.Shadow.origin != origin:
		return refuse(ReasonOptions, "its shadow is of "+o.Shadow.origin.String())
	case o.Shadow != nil && o.Shadow.Shadow() != nil:
		return refuse(ReasonOptions, "its shadow has a shadow")
	}
	for i, anchor := range o.Anchors {
		if fault := checkAnchorOrigin(anchor, origin); fault != nil {
			fault.Name, fault.Place = origin.String(), fmt.Sprintf("anchor %d", i+1)
			return nil, fault
		}
	}
	o.Anchors = canonicalAnchors(o.Anchors)
	o.Algorithms = slices.Compact(slices.Sorted(slices.Values(o.Algorithms)))
	if o.Sequence != nil {
		o.Sequence = new(*o.Sequence)
	}
	b := &Bundle{origin: origin, options: o, named: make(map[string][]*x509.Certificate, len(o.Anchors))}
	for _, anchor := range o.Anchors {
		name := string(anchor.RawSubject)
		b.named[name] = append(b.named[name], anchor)
	}
	b.digest = b.sum()
	return b, nil
}

// canonicalAnchors sorts by the hash of the encoding and drops repetitions.
func canonicalAnchors(anchors []*x509.Certificate) []*x509.Certificate {
	type hashed struct {
		sum    [sha256.Size]byte
		anchor *x509.Certificate
	}
	all := make([]hashed, len(anchors))
	for i, anchor := range anchors {
		all[i] = hashed{sha256.Sum256(anchor.Raw), anchor}
	}
	slices.SortStableFunc(all, func(a, b hashed) int { return bytes.Compare(a.sum[:], b.sum[:]) })
	all = slices.CompactFunc(all, func(a, b hashed) bool { return a.sum == b.sum })
	sorted := make([]*x509.Certificate, len(all))
	for i, h := range all {
		sorted[i] = h.anchor
	}
	return sorted
}

func (b *Bundle) sum() Digest {
	c := newContent("verigate bundle 2")
	c.text(b.origin.String())
	c.number(uint64(len(b.options.Anchors)))
	for _, anchor := range b.options.Anchors {
		c.octets(anchor.Raw)
	}
	c.number(uint64(b.options.MaxCertificateLifetime))
	c.flag(b.options.RequireEKU)
	c.flag(b.options.LenientKeyUsage)
	c.flag(b.options.LenientSubject)
	c.number(uint64(b.options.NotBeforeSkew))
	c.octets(b.options.Assurance.AppendDigest(nil))
	c.number(uint64(len(b.options.Algorithms)))
	for _, name := range b.options.Algorithms {
		c.text(name)
	}
	c.number(uint64(b.options.MinMIAL))
	return c.sum()
}

// Origin returns the origin that b has the anchors of.
func (b *Bundle) Origin() workloadid.Origin { return b.origin }

// Options returns what b was made from, with the anchors as [Bundle.Anchors] has
// them and the algorithms in alphabetical order, each once. What it points to is not
// to be modified.
func (b *Bundle) Options() BundleOptions { return b.options }

// Anchors returns the anchors, each once, in an order that follows from their
// content. The slice is not to be modified.
func (b *Bundle) Anchors() []*x509.Certificate { return b.options.Anchors }

// AnchorsNamed returns the anchors whose subject is rawSubject, the DER of a
// Name, octet for octet. The slice is not to be modified. It does not allocate.
func (b *Bundle) AnchorsNamed(rawSubject []byte) []*x509.Certificate {
	return b.named[string(rawSubject)]
}

// CRLs returns the revocation lists of the origin, nil when there are none to
// ask.
func (b *Bundle) CRLs() *CRLSet { return b.options.CRLs }

// RevocationBoundary returns the first moment after now at which the passing of time
// alone can change what the CRLs say about peers of the origin: one comes into force,
// by NotBeforeSkew before its thisUpdate as certificates do (PKIX-13), or one goes
// stale. It is zero if there is none, and without CRLs. It does not allocate.
func (b *Bundle) RevocationBoundary(now time.Time) time.Time {
	return b.options.CRLs.boundary(now, b.options.NotBeforeSkew)
}

// Shadow returns the variant that peers are judged by without effect, or nil.
func (b *Bundle) Shadow() *Bundle { return b.options.Shadow }

// Contains reports whether cert is octet for octet one of the anchors (TD-03).
// It does not allocate.
func (b *Bundle) Contains(cert *x509.Certificate) bool {
	for _, anchor := range b.AnchorsNamed(cert.RawSubject) {
		if bytes.Equal(anchor.Raw, cert.Raw) {
			return true
		}
	}
	return false
}

// Digest covers the origin, the anchors and every option that can change a
// verdict or a grade, but neither CRLs nor shadow. Bundles with the same digest judge
// alike, revocation aside.
func (b *Bundle) Digest() Digest { return b.digest }

// CheckSequence reports whether a document whose spiffe_sequence is offered may
// replace one whose sequence is held: not when it is lower (BUN-05). A document
// without a sequence, nil, is not ordered and may replace any. The error is an
// [*Error] with [ReasonRollback].
func CheckSequence(held, offered *uint64) error {
	if held == nil || offered == nil || *offered >= *held {
		return nil
	}
	return &Error{Reason: ReasonRollback, Detail: fmt.Sprintf("spiffe_sequence is %d, %d is held", *offered, *held)}
}
