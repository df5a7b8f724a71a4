package certpath

import (
	"bytes"
	"crypto/x509"
	"strings"
)

// checkProfile judges what RFC 5280 §4 demands of those who issue certificates,
// where its §6 does not ask for it: such rules help to find paths and to keep
// other software safe, and breaking them gives nobody a right. The pkix profile
// applies them, because it answers whether a chain conforms. The workload
// profile does not: many CAs that are otherwise sound leave out key identifiers.
//
// Anchors are excused from what serves to find or to name their own issuer,
// since nobody asks for that; the corpora have anchors without an authority key
// identifier (limbo cve-2024-0567) and with serial number 0 (a public root). On
// the other hand only they are held to critical basic constraints: they are the
// operator's own choice, while NIST expects an intermediate without to pass
// (PKITS 4.6.4).
//
// path is leaf first, anchor last.
func checkProfile(path []*x509.Certificate) *Error {
	for depth, c := range path {
		if fault := breach(c, depth > 0, depth == len(path)-1); fault != "" {
			return &Error{Reason: ReasonCertificateProfile, Depth: depth, Found: fault + " in " + subjectOf(c)}
		}
	}
	return nil
}

// breach returns the first rule of RFC 5280 §4 that c breaks, or "".
func breach(c *x509.Certificate, issuer, anchor bool) string {
	critical := func(arc int) (is, found bool) {
		_, is, found = extension(c, arc)
		return is, found
	}
	if string(c.RawIssuer) == emptyName {
		return "an empty issuer (§4.1.2.4)"
	}
	if !anchor {
		if c.SerialNumber.Sign() <= 0 {
			return "a serial number that is not positive (§4.1.2.2)"
		}
		if len(c.AuthorityKeyId) == 0 && !bytes.Equal(c.RawIssuer, c.RawSubject) {
			return "no authority key identifier (§4.2.1.1)"
		}
	} else if is, _ := critical(extBasicConstraints); !is {
		return "basic constraints that are not critical (§4.2.1.9)"
	}
	if issuer {
		if string(c.RawSubject) == emptyName {
			return "an empty subject of a CA (§4.1.2.6)"
		}
		if len(c.SubjectKeyId) == 0 {
			return "no subject key identifier (§4.2.1.2)"
		}
	}
	if is, _ := critical(extSubjectAltName); !is && string(c.RawSubject) == emptyName {
		return "an empty subject and a subject alternative name that is not critical (§4.2.1.6)"
	}
	if is, found := critical(extNameConstraints); found && !is {
		return "name constraints that are not critical (§4.2.1.10)"
	}
	for _, constraints := range [][]string{c.PermittedDNSDomains, c.ExcludedDNSDomains} {
		for _, constraint := range constraints {
			if strings.HasPrefix(constraint, ".") {
				return "a DNS name constraint with a leading dot (§4.2.1.10)"
			}
		}
	}
	for _, name := range c.DNSNames {
		if !isPreferredName(name) {
			return "a DNS name not in preferred syntax, " + quote(name) + " (§4.2.1.6)"
		}
	}
	return ""
}

// isPreferredName reports whether name is a host name as RFC 1123 §2.1 has it,
// perhaps with a wildcard for its first label.
func isPreferredName(name string) bool {
	name = strings.TrimPrefix(name, "*.")
	if !isHost(name) || strings.Contains(name, "_") || isAddress(name) {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}
