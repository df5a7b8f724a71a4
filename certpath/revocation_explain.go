package certpath

import (
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"verigate/trust"
)

// RevocationStatus is what the CRLs of an origin say of one certificate of a path.
type RevocationStatus struct {
	Depth   int    // in the path
	Subject string // of the certificate, escaped and bounded
	Fault   *Error // nil: known not to be revoked
	// CRLs are all that have the name of the certificate's issuer.
	CRLs []CRLFinding
}

// CRLFinding is what came of one CRL.
type CRLFinding struct {
	CRL  *trust.CRL
	Says string // a phrase for the operator
	// Counts is set if the CRL revokes the certificate or clears it.
	Counts bool
}

// ExplainRevocation is [CheckRevocation] for somebody who wants to know why. It
// returns the status of each certificate that needs one, leaf first, and nil if the
// bundle has no CRLs to ask.
func ExplainRevocation(path *Path, bundle *trust.Bundle, now time.Time) []RevocationStatus {
	if path.IsZero() || bundle == nil || bundle.CRLs() == nil {
		return nil
	}
	r := revocationOf(path, bundle, now)
	r.parsed = path.ParseLeaf()
	explained := make([]RevocationStatus, r.asked())
	for depth := range explained {
		e := &explained[depth]
		e.Depth, e.Subject = depth, subjectOf(r.certificate(depth))
		r.observe = func(crl *trust.CRL, f finding) {
			e.CRLs = append(e.CRLs, CRLFinding{
				CRL:    crl,
				Says:   r.says(crl, depth, f),
				Counts: f == foundClear || f == foundTolerated || f == foundListed,
			})
		}
		if status, crl := r.status(depth); status != statusGood {
			e.Fault = r.fault(status, depth, crl)
		}
	}
	return explained
}

// says puts a finding into words.
func (r *revocation) says(crl *trust.CRL, depth int, f finding) string {
	issuer := r.issuers[depth]
	switch f {
	case foundClear:
		return "does not list it"
	case foundTolerated:
		return "does not list it, and is past its next update, which the options tolerate"
	case foundListed:
		entry, _ := crl.Lookup(r.refs[depth].Serial)
		on := ""
		if !entry.Date.IsZero() {
			on = " on " + entry.Date.Format(time.RFC3339)
		}
		return "lists it as revoked" + on + ", " + entry.Reason.String()
	case foundStale:
		return "does not list it, but is past its next update"
	case foundPartial:
		return "does not list it, but covers it for some reasons only"
	case foundSuperseded:
		return "is superseded by a newer one"
	case foundToCome:
		return "is not in force yet"
	case foundOtherKeyID:
		return "is signed by another key: it names key id " + keyIDOf(crl.AuthorityKeyID()) + ", the issuer has " + keyIDOf(issuer.SubjectKeyId)
	case foundOtherScope:
		return "is of other certificates: of another distribution point, of CAs only or of leaves only"
	case foundNoRight:
		return "cannot be relied on, because the issuer's key usage lacks cRLSign"
	case foundForged:
		return "is not signed by the key that issued the certificate"
	}
	return fmt.Sprintf("certpath.finding(%d)", uint8(f))
}

// certificate is the one at depth, for words about it.
func (r *revocation) certificate(depth int) *x509.Certificate {
	if depth == 0 {
		return r.parsed
	}
	return r.issuers[depth-1]
}

// fault explains a status that is not good, of the certificate at depth. says is the
// CRL that it rests on.
func (r *revocation) fault(s status, depth int, says *trust.CRL) *Error {
	cert := r.certificate(depth)
	switch s {
	case statusRevoked:
		return &Error{
			Reason: s.reason(),
			Depth:  depth,
			Found:  "serial number " + cert.SerialNumber.Text(16) + ", which " + says.String() + " " + r.says(says, depth, foundListed),
			Want:   "a certificate that its issuer has not revoked",
		}
	case statusStale:
		return &Error{
			Reason: s.reason(),
			Depth:  depth,
			Found:  says.String() + ", which covers " + subjectOf(cert),
			Want:   "a CRL that is in force at " + r.now.UTC().Format(time.RFC3339),
			Hint:   "the issuer no longer publishes, or the CRL is no longer fetched",
		}
	case statusGood, statusUnknown:
	}
	return &Error{
		Reason: s.reason(),
		Depth:  depth,
		Found:  r.whyUnknown(depth),
		Want:   "a CRL signed by the key of " + issuerOf(cert) + " that covers " + subjectOf(cert),
	}
}

// whyUnknown tells what is wrong with each CRL that could have helped, or that there
// is none.
func (r *revocation) whyUnknown(depth int) string {
	const most = 3
	var found []string
	left := 0
	again := *r
	again.observe = func(crl *trust.CRL, f finding) {
		if len(found) == most {
			left++
			return
		}
		found = append(found, crl.String()+" "+r.says(crl, depth, f))
	}
	again.status(depth)
	if left > 0 {
		found = append(found, fmt.Sprintf("and %d more", left))
	}
	if len(found) == 0 {
		return "no CRL of that issuer"
	}
	return strings.Join(found, "; ")
}

// traceRevocation tells of what the CRLs said about the path.
func (b *builder) traceRevocation(fault *Error) {
	switch {
	case b.verifier.Trace == nil:
	case fault != nil:
		b.verifier.Trace(Step{Name: "revocation", Depth: b.depthOf(b.path[fault.Depth]), Detail: fault.Error()})
	default:
		b.verifier.Trace(Step{Name: "revocation", OK: true, Detail: "no certificate that needs a status is on a CRL"})
	}
}
