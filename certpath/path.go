package certpath

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"time"

	"verigate/assurance"
	"verigate/trust"
	"verigate/workloadid"
)

// Path is a validated path: evidence that a chain was accepted for one origin
// and one role. It is made only by [Verifier.Verify], is immutable and may be
// shared. What it proves holds from [Path.NotBefore] to [Path.NotAfter], and
// only while none of [Path.Refs] is on a deny-list.
//
// Of the leaf it keeps the octets and what is asked about again: parsed, it would be the
// larger part of a path, and there may be as many paths as workloads.
type Path struct {
	id         workloadid.ID
	role       Role
	leaf       []byte // in DER
	issuers    []*x509.Certificate
	notBefore  time.Time
	notAfter   time.Time
	refs       []trust.CertRef
	evidence   assurance.Evidence
	leafSHA256 [32]byte
	checks     int

	// What CRLs are asked about of the leaf, besides its issuer and serial number.
	leafIsCA   bool
	leafPoints []byte
}

// IsZero reports whether p proves nothing. It may be called on a nil Path.
func (p *Path) IsZero() bool { return p == nil || len(p.issuers) == 0 }

// ID returns the identifier of the leaf. It is zero in the pkix profile.
func (p *Path) ID() workloadid.ID { return p.id }

// Role returns the role that the path was judged for.
func (p *Path) Role() Role { return p.role }

// RawLeaf returns the certificate of the workload, in DER. It is not to be modified.
func (p *Path) RawLeaf() []byte { return p.leaf }

// ParseLeaf parses the certificate of the workload anew: nothing for each request.
func (p *Path) ParseLeaf() *x509.Certificate {
	leaf, err := x509.ParseCertificate(p.leaf)
	if err != nil {
		panic("certpath: a leaf that was judged cannot be parsed: " + err.Error())
	}
	return leaf
}

// Issuers returns the rest of the path: the issuer of the leaf first, the anchor last,
// at least that. They may be copies of those presented. Neither slice nor certificates
// are to be modified.
func (p *Path) Issuers() []*x509.Certificate { return p.issuers }

// Anchor returns the anchor that the path ends in.
func (p *Path) Anchor() *x509.Certificate { return p.issuers[len(p.issuers)-1] }

// NotBefore returns the first moment at which the path is valid: the latest
// NotBefore of its certificates, less the skew that the bundle allows.
func (p *Path) NotBefore() time.Time { return p.notBefore }

// NotAfter returns the last moment at which the path is valid: the earliest
// NotAfter of its certificates, the anchor's included. The moment belongs to
// the span, as X.509 has it; its resolution is one second.
func (p *Path) NotAfter() time.Time { return p.notAfter }

// Refs describes each certificate as a deny-list does, leaf first and anchor
// last. The slice is not to be modified.
func (p *Path) Refs() []trust.CertRef { return p.refs }

// Evidence returns what the path shows about how well the identity is assured.
// Its slices are not to be modified.
func (p *Path) Evidence() assurance.Evidence { return p.evidence }

// LeafSHA256 returns the fingerprint of the leaf's DER, for XFCC and for audit.
// It must not decide anything: whoever holds an ECDSA-signed certificate can
// make a twin of it with another fingerprint. Decide by [Path.Refs].
func (p *Path) LeafSHA256() [32]byte { return p.leafSHA256 }

// SignatureChecks returns how many public-key operations finding the path took.
// Links that were remembered are not counted.
func (p *Path) SignatureChecks() int { return p.checks }

// links reports whether p has child directly below parent, octet for octet.
func (p *Path) links(child, parent *x509.Certificate) bool {
	if p.IsZero() {
		return false
	}
	below := p.leaf
	for _, issuer := range p.issuers {
		if bytes.Equal(below, child.Raw) && issuer.Equal(parent) {
			return true
		}
		below = issuer.Raw
	}
	return false
}

// mint makes the Path out of the accepted search, and offers its links for
// remembering: links of a search that failed could be anybody's.
func (b *builder) mint(id workloadid.ID) *Path {
	leaf := b.path[0]
	subject := trust.SubjectOf(leaf)
	p := &Path{
		id:         id,
		role:       b.role,
		leaf:       b.ownOctets(leaf),
		issuers:    slices.Clone(b.path[1:]), // without the rest of the search
		notBefore:  leaf.NotBefore,
		notAfter:   leaf.NotAfter,
		refs:       make([]trust.CertRef, len(b.path)),
		leafSHA256: sha256.Sum256(leaf.Raw),
		checks:     b.spent,
		leafIsCA:   subject.IsCA,
		leafPoints: bytes.Clone(subject.DistributionPoints),
	}
	p.evidence = assurance.Evidence{
		IssuerSPKI:     make([][32]byte, len(b.path)-1),
		PolicyOIDs:     policiesOf(leaf),
		Lifetime:       leaf.NotAfter.Sub(leaf.NotBefore),
		NotBefore:      leaf.NotBefore,
		ExtKeyUsageAny: slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) || !listsPurposes(leaf),
		OtherPurposes:  otherPurposes(leaf),
	}
	p.evidence.KeyAlgorithm, p.evidence.KeyBits = keyOf(leaf)
	for i, c := range b.path {
		spki := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		p.refs[i].SPKI = spki
		p.refs[i].Serial = trust.SerialOf(c.SerialNumber)
		if i == 0 {
			continue
		}
		p.refs[i-1].IssuerSPKI = spki
		p.evidence.IssuerSPKI[i-1] = spki
		if c.NotBefore.After(p.notBefore) {
			p.notBefore = c.NotBefore
		}
		if c.NotAfter.Before(p.notAfter) {
			p.notAfter = c.NotAfter
		}
	}
	p.notBefore = p.notBefore.Add(-b.skew)
	b.rememberLinks()
	b.rememberKeys(p.refs[1:])
	return p
}

// ownOctets returns the DER of the leaf for a path to keep. crypto/tls parses a
// certificate where it lies in the handshake message, with the rest of the chain and
// whatever else the client has put there, and all that would stay.
func (b *builder) ownOctets(leaf *x509.Certificate) []byte {
	if proven := b.verifier.Proven; proven != nil && bytes.Equal(proven.leaf, leaf.Raw) {
		return proven.leaf
	}
	return bytes.Clone(leaf.Raw)
}

// rememberLinks offers the CA-to-CA signatures of the path that were checked
// just now.
func (b *builder) rememberLinks() {
	links := b.verifier.Links
	if links == nil {
		return
	}
	for i := 1; i < len(b.path)-1; i++ {
		if !links.Verified(b.path[i], b.path[i+1]) {
			links.Remember(b.path[i], b.path[i+1])
		}
	}
}

// policiesOf returns the policies that the leaf asserts, nil when there are
// none. Beyond maxPolicies they are left out: they could only raise a grade.
func policiesOf(leaf *x509.Certificate) []string {
	if len(leaf.Policies) == 0 {
		return nil
	}
	oids := make([]string, 0, min(len(leaf.Policies), maxPolicies))
	for _, policy := range leaf.Policies[:cap(oids)] {
		oids = append(oids, policy.String())
	}
	return oids
}

// listsPurposes reports whether the leaf has an extended key usage; without one it
// is good for everything.
func listsPurposes(leaf *x509.Certificate) bool {
	return len(leaf.ExtKeyUsage) > 0 || len(leaf.UnknownExtKeyUsage) > 0
}

// otherPurposes counts those that have nothing to do with mutual TLS.
func otherPurposes(leaf *x509.Certificate) int {
	n := len(leaf.UnknownExtKeyUsage)
	for _, purpose := range leaf.ExtKeyUsage {
		if purpose != x509.ExtKeyUsageClientAuth && purpose != x509.ExtKeyUsageServerAuth {
			n++
		}
	}
	return n
}

// keyOf names the kind and the size of an accepted key.
func keyOf(c *x509.Certificate) (algorithm string, bits int) {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return "RSA", key.N.BitLen()
	case *ecdsa.PublicKey:
		return "ECDSA", key.Curve.Params().BitSize
	case ed25519.PublicKey:
		return "Ed25519", 8 * len(key)
	}
	return "", 0
}
