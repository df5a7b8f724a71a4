package certpath

import (
	"crypto/x509"
	"fmt"
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// Role is what the peer does in the connection being judged. The zero Role is
// none: no workload is accepted in it.
type Role uint8

// The roles.
const (
	RoleClient Role = 1 + iota // the peer presented the chain as TLS client
	RoleServer                 // the peer presented the chain as TLS server
)

// String returns "client" or "server".
func (r Role) String() string {
	switch r {
	case RoleClient:
		return "client"
	case RoleServer:
		return "server"
	}
	return fmt.Sprintf("certpath.Role(%d)", uint8(r))
}

// purpose returns the extended key usage that r needs.
func (r Role) purpose() (usage x509.ExtKeyUsage, known bool) {
	switch r {
	case RoleClient:
		return x509.ExtKeyUsageClientAuth, true
	case RoleServer:
		return x509.ExtKeyUsageServerAuth, true
	}
	return 0, false
}

// Profile selects the rules. ProfileWorkload is the zero value.
type Profile uint8

// The profiles.
const (
	// ProfileWorkload is RFC 5280 path validation with the leaf rules of WIC and
	// X509-SVID, a key purpose that fits the role, and an anchor that belongs to
	// the origin of the identifier.
	ProfileWorkload Profile = iota
	// ProfilePKIX is RFC 5280 alone: path validation (§6) and what the
	// certificate profile (§4) demands of issuers. There is no identifier, and
	// the role and key purposes are not looked at. It is for judging chains that
	// are no workload's; nothing may be authorized by it.
	ProfilePKIX
)

// String returns "workload" or "pkix".
func (p Profile) String() string {
	switch p {
	case ProfileWorkload:
		return "workload"
	case ProfilePKIX:
		return "pkix"
	}
	return fmt.Sprintf("certpath.Profile(%d)", uint8(p))
}

// Links remembers signatures of CAs on CAs, so that a new leaf of a known issuer
// costs one signature check. Implementations are safe for concurrent use.
//
// Only links of accepted paths are offered for remembering. A remembered link
// spares the signature check alone; everything else is judged afresh.
type Links interface {
	// Verified reports whether the key of parent is known to have signed child.
	// Both are to be compared octet for octet.
	Verified(child, parent *x509.Certificate) bool
	// Remember is told that the key of parent has signed child.
	Remember(child, parent *x509.Certificate)
}

// Verifier holds what may vary between calls. The zero Verifier is ready. It is
// not changed by use and may be used concurrently.
type Verifier struct {
	Profile Profile
	// Policies are the initial inputs of policy processing.
	Policies PolicyInputs
	// Links may be nil: every signature is checked then.
	Links Links
	// Proven is a path that was accepted earlier, for judging its holder anew: the
	// signatures between its certificates, the leaf's included, are known to be good, and
	// a path with the same leaf shares its octets. Everything else is judged afresh. It
	// may be nil.
	Proven *Path
	// Trace, if set, is called with each step of the decision, in order and on
	// the caller's goroutine.
	Trace func(Step)
}

// Step is one line of an explanation.
type Step struct {
	Name   string // "limits", "identifier", "origin", "leaf", "candidate", "revocation", "path", "verdict"
	OK     bool
	Depth  int // as in [Error]
	Detail string
}

// Verify judges chain, which is leaf first as presented, by bundle at now. It is
// pure: no clock, no I/O, nothing kept. chain and bundle are not modified.
//
// The intermediates may come in any order, with duplicates and unrelated
// certificates among them, and the anchor may or may not be there. A nil bundle
// gives [ReasonUnknownTrustDomain]. The error is always an [*Error]; of several
// candidate paths that failed, it tells about the one that came nearest.
//
// The cost is bounded by the limits of this package whatever the chain says: at
// most [MaxSignatureChecks] public-key operations.
func (v *Verifier) Verify(chain []*x509.Certificate, bundle *trust.Bundle, role Role, now time.Time) (*Path, error) {
	path, fault := v.verify(chain, bundle, role, now)
	if v.Trace != nil {
		v.traceVerdict(path, fault)
	}
	if fault != nil {
		return nil, fault
	}
	return path, nil
}

// Verify is (&[Verifier]{}).Verify.
func Verify(chain []*x509.Certificate, bundle *trust.Bundle, role Role, now time.Time) (*Path, error) {
	return (&Verifier{}).Verify(chain, bundle, role, now)
}

// verify asks the cheap questions first and the ones that need public-key
// operations last.
func (v *Verifier) verify(chain []*x509.Certificate, bundle *trust.Bundle, role Role, now time.Time) (*Path, *Error) {
	maxSANs := MaxSANs
	if v.Profile == ProfilePKIX {
		maxSANs = maxSANsPKIX
	}
	fault := checkLimits(chain, maxSANs)
	if fault = v.step("limits", fault, "number, size and names"); fault != nil {
		return nil, fault
	}
	leaf := chain[0]

	var id workloadid.ID
	if v.Profile != ProfilePKIX {
		id, fault = identify(leaf)
		if fault = v.step("identifier", fault, id.String()); fault != nil {
			return nil, fault
		}
	}
	fault = v.checkOrigin(id, bundle)
	if fault = v.step("origin", fault, id.Origin().String()); fault != nil {
		return nil, fault
	}
	options := bundle.Options()
	fault = v.checkLeaf(leaf, id, bundle, options, role, now)
	if fault = v.step("leaf", fault, "profile, key and validity"); fault != nil {
		return nil, fault
	}

	b := &builder{
		verifier:   v,
		bundle:     bundle,
		skew:       options.NotBeforeSkew,
		algorithms: algorithmsNamed(options.Algorithms),
		chain:      chain,
		role:       role,
		now:        now,
	}
	if fault = b.build(); fault != nil {
		return nil, fault
	}
	if fault = b.assertBinding(id); fault != nil {
		return nil, fault
	}
	return b.mint(id), nil
}

// checkOrigin makes sure that bundle speaks for the origin of id (TD-01, TD-05,
// TD-06).
func (v *Verifier) checkOrigin(id workloadid.ID, bundle *trust.Bundle) *Error {
	if bundle == nil {
		found := "no bundle"
		if !id.IsZero() {
			found = "origin " + id.Origin().String()
		}
		return &Error{Reason: ReasonUnknownTrustDomain, Found: found, Want: "a bundle of anchors for it"}
	}
	if v.Profile != ProfilePKIX && id.Origin() != bundle.Origin() {
		return &Error{Reason: ReasonOriginNotAllowed, Found: "origin " + id.Origin().String(), Want: bundle.Origin().String()}
	}
	return nil
}

func (v *Verifier) checkLeaf(leaf *x509.Certificate, id workloadid.ID, bundle *trust.Bundle, options trust.BundleOptions, role Role, now time.Time) *Error {
	var fault *Error
	if v.Profile == ProfilePKIX {
		fault = checkTarget(leaf, bundle)
	} else {
		fault = checkWorkloadLeaf(leaf, id, bundle, options, role)
	}
	if fault != nil {
		return fault
	}
	if fault := checkLeafKey(leaf); fault != nil {
		return fault
	}
	if fault := checkAny(leaf, 0, algorithmsNamed(options.Algorithms), now, options.NotBeforeSkew); fault != nil {
		return fault
	}
	return checkLifetime(leaf, options.MaxCertificateLifetime)
}

// step traces the outcome of one step and passes fault on.
func (v *Verifier) step(name string, fault *Error, detail string) *Error {
	if v.Trace == nil {
		return fault
	}
	if fault != nil {
		v.Trace(Step{Name: name, Depth: fault.Depth, Detail: fault.Error()})
	} else {
		v.Trace(Step{Name: name, OK: true, Detail: detail})
	}
	return fault
}

func (v *Verifier) traceVerdict(path *Path, fault *Error) {
	if fault != nil {
		v.Trace(Step{Name: "verdict", Depth: fault.Depth, Detail: fault.Error()})
		return
	}
	v.Trace(Step{Name: "verdict", OK: true, Detail: fmt.Sprintf(
		"accepted until %s after %d signature checks", path.NotAfter().UTC().Format(time.RFC3339), path.SignatureChecks())})
}
