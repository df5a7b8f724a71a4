package certpath

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// emptyName is the DER of a distinguished name without attributes.
const emptyName = "\x30\x00"

// checkWorkloadLeaf judges whether leaf may authenticate a workload of id's
// origin in role (CERT-01 to CERT-11). The signature comes later: what is refused
// here has cost nothing.
func checkWorkloadLeaf(leaf *x509.Certificate, id workloadid.ID, bundle *trust.Bundle, options trust.BundleOptions, role Role) *Error {
	refuse := func(found, want string) *Error {
		return &Error{Reason: ReasonLeafProfile, Found: found + " in " + subjectOf(leaf), Want: want, Hint: wrongOrderHint(leaf)}
	}
	switch {
	case leaf.Version != 3: // CERT-16
		return refuse(fmt.Sprintf("X.509 version %d", leaf.Version), "version 3")
	case leaf.BasicConstraintsValid && leaf.IsCA: // CERT-04
		return refuse("cA TRUE", "an end-entity certificate")
	case bundle.Contains(leaf): // CERT-15, also for an anchor that is no CA
		return refuse("a trust anchor", "a certificate issued by one")
	}
	if _, _, found := extension(leaf, extNameConstraints); found { // RFC 5280 §4.2.1.10
		return refuse("name constraints", "none outside CA certificates")
	}
	if fault := checkWorkloadKeyUsage(leaf, id, options.LenientKeyUsage, refuse); fault != nil {
		return fault
	}
	if string(leaf.RawSubject) == emptyName && !options.LenientSubject { // CERT-11, OQ-21
		if _, critical, _ := extension(leaf, extSubjectAltName); !critical {
			return refuse("an empty subject and a subject alternative name that is not critical", "a critical one (RFC 5280 §4.2.1.6)")
		}
	}
	return checkLeafPurpose(leaf, options.RequireEKU, role)
}

// checkWorkloadKeyUsage holds the rules of CERT-04, CERT-06 and CERT-07. An SVID
// must have a critical key usage; a WIC may go without.
func checkWorkloadKeyUsage(leaf *x509.Certificate, id workloadid.ID, lenient bool, refuse func(found, want string) *Error) *Error {
	_, critical, found := extension(leaf, extKeyUsage)
	strict := id.Origin().Scheme() == "spiffe" && !lenient
	switch {
	case !found && strict:
		return refuse("no key usage", "a critical key usage with digitalSignature")
	case !found:
		return nil
	case !critical && strict:
		return refuse("a key usage that is not critical", "a critical one")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return refuse("a key usage without digitalSignature", "digitalSignature")
	case leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return refuse("a key usage with keyCertSign or cRLSign", "neither")
	}
	return nil
}

// checkLeafPurpose holds CERT-08 to CERT-10: purposes may be absent, but those
// that are listed count, and "any" is not one.
func checkLeafPurpose(leaf *x509.Certificate, required bool, role Role) *Error {
	want, known := role.purpose()
	if !known {
		return &Error{Reason: ReasonEKU, Found: role.String(), Want: "a role to judge the key purposes by"}
	}
	if fault := checkPurposeList(leaf, 0); fault != nil {
		return fault
	}
	if _, _, found := extension(leaf, extExtendedKeyUsage); !found && !required {
		return nil
	}
	if slices.Contains(leaf.ExtKeyUsage, want) {
		return nil
	}
	return &Error{
		Reason: ReasonEKU,
		Found:  purposesOf(leaf) + " in " + subjectOf(leaf),
		Want:   purposeName(want),
	}
}

// checkTarget judges the leaf in the pkix profile: what RFC 5280 says of any
// certificate, without what identity adds.
func checkTarget(leaf *x509.Certificate, bundle *trust.Bundle) *Error {
	if leaf.Version != 3 {
		return &Error{Reason: ReasonLeafProfile, Found: fmt.Sprintf("X.509 version %d", leaf.Version), Want: "version 3"}
	}
	if bundle.Contains(leaf) {
		// A path consists of at least one certificate that an anchor issued.
		return &Error{Reason: ReasonLeafProfile, Found: "a trust anchor", Want: "a certificate issued by one"}
	}
	isCA := leaf.BasicConstraintsValid && leaf.IsCA
	if leaf.KeyUsage&x509.KeyUsageCertSign != 0 && !isCA {
		return &Error{Reason: ReasonLeafProfile, Found: "keyCertSign without cA", Want: "both or neither (RFC 5280 §4.2.1.3)"}
	}
	if _, _, found := extension(leaf, extNameConstraints); found && !isCA {
		return &Error{Reason: ReasonLeafProfile, Found: "name constraints", Want: "none outside CA certificates (RFC 5280 §4.2.1.10)"}
	}
	return nil
}

// checkAny judges what holds for every certificate of a path, whatever its
// place: what it carries, its key, and its validity at now.
func checkAny(c *x509.Certificate, depth int, allowed algorithmSet, now time.Time, skew time.Duration) *Error {
	if fault := checkExtensions(c, depth); fault != nil {
		return fault
	}
	if fault := checkKey(c, depth, allowed); fault != nil {
		return fault
	}
	return checkValidity(c, depth, now, skew)
}

// checkPurposeList refuses a list of purposes that lists none: crypto/x509 takes
// it for no list at all, and that allows every purpose.
func checkPurposeList(c *x509.Certificate, depth int) *Error {
	if len(c.ExtKeyUsage) > 0 || len(c.UnknownExtKeyUsage) > 0 {
		return nil
	}
	if _, _, found := extension(c, extExtendedKeyUsage); !found {
		return nil
	}
	return &Error{Reason: ReasonMalformed, Depth: depth, Found: "an empty extended key usage in " + subjectOf(c), Want: "at least one purpose"}
}

// checkExtensions refuses critical extensions that nobody here processes
// (PKIX-04).
func checkExtensions(c *x509.Certificate, depth int) *Error {
	if fault := checkPurposeList(c, depth); fault != nil {
		return fault
	}
	if len(c.UnhandledCriticalExtensions) == 0 {
		return nil
	}
	fault := &Error{
		Reason: ReasonUnknownCriticalExtension,
		Depth:  depth,
		Found:  quote(c.UnhandledCriticalExtensions[0].String()) + " in " + subjectOf(c),
		Want:   "no critical extension that is not processed",
	}
	if c.UnhandledCriticalExtensions[0].String() == "2.5.29.30" {
		fault.Reason = ReasonNameConstraints
		fault.Found = "a constraint on a form of name other than DNS, email, URI and IP in " + subjectOf(c)
		fault.Want = "constraints that can be judged"
	}
	return fault
}

// checkValidity compares now with both ends of c's validity, which belong to it
// (PKIX-13). skew moves only the beginning.
func checkValidity(c *x509.Certificate, depth int, now time.Time, skew time.Duration) *Error {
	switch {
	case now.After(c.NotAfter):
		return &Error{
			Reason: ReasonExpired,
			Depth:  depth,
			Found:  "NotAfter " + c.NotAfter.UTC().Format(time.RFC3339) + " of " + subjectOf(c),
			Want:   "valid at " + now.UTC().Format(time.RFC3339),
		}
	case now.Before(c.NotBefore.Add(-skew)):
		return &Error{
			Reason: ReasonNotYetValid,
			Depth:  depth,
			Found:  "NotBefore " + c.NotBefore.UTC().Format(time.RFC3339) + " of " + subjectOf(c),
			Want:   "valid at " + now.UTC().Format(time.RFC3339),
		}
	}
	return nil
}

// checkLifetime bounds how long a stolen key is useful (REV-01).
func checkLifetime(leaf *x509.Certificate, limit time.Duration) *Error {
	lifetime := leaf.NotAfter.Sub(leaf.NotBefore)
	if limit <= 0 || lifetime <= limit {
		return nil
	}
	return &Error{
		Reason: ReasonLifetime,
		Found:  "a lifetime of " + lifetime.String() + " in " + subjectOf(leaf),
		Want:   "at most " + limit.String(),
	}
}

// purposeName names the purposes that matter here.
func purposeName(usage x509.ExtKeyUsage) string {
	switch usage {
	case x509.ExtKeyUsageClientAuth:
		return "clientAuth"
	case x509.ExtKeyUsageServerAuth:
		return "serverAuth"
	case x509.ExtKeyUsageAny:
		return "anyExtendedKeyUsage"
	}
	return "another purpose"
}

// purposesOf lists the key purposes of c, each name once.
func purposesOf(c *x509.Certificate) string {
	var found []string
	for _, usage := range c.ExtKeyUsage {
		if name := purposeName(usage); !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		if len(c.UnknownExtKeyUsage) > 0 {
			return "another purpose"
		}
		return "no extended key usage"
	}
	return strings.Join(found, ", ")
}
