package certpath

import (
	"crypto/x509"
	"strconv"

	"verigate/workloadid"
)

// Identify returns the identifier of a leaf: that of its only URI subject
// alternative name, which must be canonical and have a path (CERT-01, CERT-02,
// CERT-05, ID-01 to ID-11). A second URI is refused whatever it says (OQ-06).
//
// The octets are read from the extension as the issuer signed them; the URIs
// that crypto/x509 offers have been through a URL parser that folds several
// spellings into one. The error is an [*Error] at depth 0. Identify allocates
// only the identifier.
func Identify(leaf *x509.Certificate) (workloadid.ID, error) {
	id, fault := identify(leaf)
	if fault != nil {
		return workloadid.ID{}, fault
	}
	return id, nil
}

func identify(leaf *x509.Certificate) (workloadid.ID, *Error) {
	if leaf == nil {
		return workloadid.ID{}, &Error{Reason: ReasonMalformed, Found: "no certificate"}
	}
	var octets []byte
	uris := 0
	names := namesOf(leaf)
	for names.next() {
		if names.tag == tagURI {
			octets = names.value
			uris++
		}
	}
	if names.broken {
		return workloadid.ID{}, &Error{Reason: ReasonMalformed, Found: "a subject alternative name that is not DER"}
	}
	if uris != 1 {
		return workloadid.ID{}, &Error{
			Reason: ReasonIdentifierCount,
			Found:  strconv.Itoa(uris) + " URI names in " + subjectOf(leaf),
			Want:   "exactly one",
			Hint:   wrongOrderHint(leaf),
		}
	}
	id, err := workloadid.ParseBytes(octets)
	if err == nil && !id.HasPath() {
		err = &workloadid.Error{Reason: workloadid.ReasonNoPath, Offset: len(octets)}
	}
	if err != nil {
		return workloadid.ID{}, &Error{
			Reason: ReasonIdentifierSyntax,
			Found:  quote(octets),
			Want:   "a canonical workload identifier with a path",
			Hint:   wrongOrderHint(leaf),
			Err:    err,
		}
	}
	return id, nil
}

// wrongOrderHint recognises the most common slip of those who assemble chains.
func wrongOrderHint(leaf *x509.Certificate) string {
	if leaf.BasicConstraintsValid && leaf.IsCA {
		return "the first certificate is a CA's: the leaf has to come first, and an anchor is not sent at all"
	}
	return ""
}

// names iterates over a subject alternative name extension. The zero value has
// no names.
type names struct {
	tag    byte
	value  []byte
	rest   []byte
	broken bool
}

// namesOf returns the names of c in their order.
func namesOf(c *x509.Certificate) names {
	value, _, found := extension(c, extSubjectAltName)
	if !found {
		return names{}
	}
	tag, content, rest, ok := element(value)
	if !ok || tag != tagSequence || len(rest) != 0 {
		return names{broken: true}
	}
	return names{rest: content}
}

// next reports whether tag and value hold another name.
func (n *names) next() bool {
	if n.broken || len(n.rest) == 0 {
		return false
	}
	tag, value, rest, ok := element(n.rest)
	if !ok || !isGeneralName(tag) {
		n.broken = true
		return false
	}
	n.tag, n.value, n.rest = tag, value, rest
	return true
}

// isGeneralName reports whether tag is one of a GeneralName's in DER (RFC 5280
// §4.2.1.6), which leaves no choice between primitive and constructed. Whoever
// reads BER, as backends that are shown the certificate may, would otherwise find
// a URI where none was counted here.
func isGeneralName(tag byte) bool {
	switch tag {
	case tagEmail, tagDNS, tagURI, tagIP, 0x88, // registeredID
		0xa0, 0xa3, 0xa4, 0xa5: // otherName, x400Address, directoryName, ediPartyName
		return true
	}
	return false
}
