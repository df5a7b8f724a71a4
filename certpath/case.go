package certpath

import (
	"crypto/x509"
	"fmt"
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// Case is one question to a path validator in the form that corpora have, a line
// of JSON each: certificates as DER in base64. Members that are not listed here
// are ignored.
type Case struct {
	ID     string   `json:"id"`
	Kind   string   `json:"kind"`   // "client" or "server"; anything else is judged as a client
	Roots  [][]byte `json:"roots"`  // the anchors
	Inters [][]byte `json:"inters"` // presented behind the leaf
	Leaf   []byte   `json:"leaf"`
	// CRLs take the place of those that the caller gives. With any, and none by the
	// caller to say otherwise, every certificate of the path but the anchor needs a
	// status that is known.
	CRLs [][]byte `json:"crls"`
	Time string   `json:"time"` // RFC 3339; "" is the time that the caller gives
	// TrustDomain is the origin that the anchors belong to, such as
	// spiffe://prod.example. A name without a scheme is a spiffe one. Without a
	// TrustDomain the case is judged in the pkix profile.
	TrustDomain string `json:"trust_domain"`
	// Profile is "workload" or "pkix"; "" follows from TrustDomain.
	Profile string `json:"profile"`

	// The initial inputs of policy processing (RFC 5280 §6.1.1).
	Policies   []string `json:"policies"` // dotted
	Explicit   bool     `json:"explicit"`
	InhibitMap bool     `json:"inhibit_map"`
	InhibitAny bool     `json:"inhibit_any"`
}

// pkixOrigin is the origin of bundles for cases that have none. Nothing can be
// issued in it (RFC 6761 §6.4).
const pkixOrigin = "spiffe://pkix.invalid"

// Verify judges c by a bundle made of its roots alone and options; now is the
// time for a case without one. The verifier's profile and policies are replaced
// by those of the case.
//
// An [*Error] is a verdict. Any other error says that the case cannot be put:
// its time, trust domain, profile or policies are not well formed, or its roots
// make no bundle.
func (c *Case) Verify(v Verifier, options trust.BundleOptions, now time.Time) (*Path, error) {
	q, err := c.Question(options, now)
	if err != nil {
		return nil, err
	}
	v.Profile, v.Policies = q.Verifier.Profile, q.Verifier.Policies
	return v.Verify(q.Chain, q.Bundle, q.Role, q.Now)
}

// Question is a case as [Verifier.Verify] takes it.
type Question struct {
	Verifier Verifier // profile and policies of the case
	Chain    []*x509.Certificate
	Bundle   *trust.Bundle
	Role     Role
	Now      time.Time
}

// Question parses c; options and now are as for [Case.Verify], and so is the
// error.
func (c *Case) Question(options trust.BundleOptions, now time.Time) (*Question, error) {
	q := &Question{Role: RoleClient, Now: now}
	if c.Time != "" {
		t, err := time.Parse(time.RFC3339, c.Time)
		if err != nil {
			return nil, fmt.Errorf("certpath: time of case: %w", err)
		}
		q.Now = t
	}
	origin, err := c.configure(&q.Verifier)
	if err != nil {
		return nil, err
	}
	q.Chain, err = parseAll(0, append([][]byte{c.Leaf}, c.Inters...))
	if err != nil {
		return nil, err
	}
	options.Anchors, err = parseAll(len(q.Chain), c.Roots)
	if err != nil {
		return nil, err
	}
	if len(c.CRLs) > 0 {
		if options.CRLs, err = parseCRLs(c.CRLs, options.CRLs.Options()); err != nil {
			return nil, err
		}
	}
	q.Bundle, err = trust.NewBundle(origin, options)
	if err != nil {
		return nil, fmt.Errorf("certpath: roots of case: %w", err)
	}
	if c.Kind == RoleServer.String() {
		q.Role = RoleServer
	}
	return q, nil
}

// configure sets v to what c asks for and returns the origin of its roots.
func (c *Case) configure(v *Verifier) (workloadid.Origin, error) {
	name := c.TrustDomain
	switch {
	case c.Profile == ProfilePKIX.String(), c.Profile == "" && name == "":
		v.Profile = ProfilePKIX
	case c.Profile == ProfileWorkload.String(), c.Profile == "":
		v.Profile = ProfileWorkload
	default:
		return workloadid.Origin{}, fmt.Errorf("certpath: profile of case is %s, want workload or pkix", quote(c.Profile))
	}
	if name == "" && v.Profile == ProfilePKIX {
		name = pkixOrigin
	}
	origin, err := workloadid.ParseOrigin(name)
	if err != nil {
		var scheme error
		if origin, scheme = workloadid.ParseOrigin("spiffe://" + name); scheme != nil {
			return workloadid.Origin{}, fmt.Errorf("certpath: trust domain of case: %w", err)
		}
	}
	v.Policies = PolicyInputs{RequireExplicit: c.Explicit, InhibitMapping: c.InhibitMap, InhibitAny: c.InhibitAny}
	for _, dotted := range c.Policies {
		oid, err := x509.ParseOID(dotted)
		if err != nil {
			return workloadid.Origin{}, fmt.Errorf("certpath: policy of case: %w", err)
		}
		v.Policies.Acceptable = append(v.Policies.Acceptable, oid)
	}
	return origin, nil
}

// parseAll parses certificates, the first of which is at depth.
func parseAll(depth int, ders [][]byte) ([]*x509.Certificate, error) {
	certificates := make([]*x509.Certificate, 0, len(ders))
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, &Error{Reason: ReasonMalformed, Depth: depth + len(certificates), Err: err}
		}
		certificates = append(certificates, c)
	}
	return certificates, nil
}

// parseCRLs parses CRLs. One that trust refuses makes the status of everything
// unknown: a gateway would not start with it, and what it says is not known.
func parseCRLs(ders [][]byte, o trust.CRLOptions) (*trust.CRLSet, error) {
	var crls []*trust.CRL
	for i, der := range ders {
		parsed, err := trust.ParseCRLs(fmt.Sprintf("crls[%d]", i), der)
		if err != nil {
			return nil, &Error{Reason: ReasonRevocationUnknown, Want: "CRLs that can be relied on", Err: err}
		}
		crls = append(crls, parsed...)
	}
	set, err := trust.NewCRLSet(crls, o)
	if err != nil {
		return nil, &Error{Reason: ReasonRevocationUnknown, Want: "CRLs that can be relied on", Err: err}
	}
	return set, nil
}
