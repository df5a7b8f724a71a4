package certpath

import (
	"crypto/x509"
	"encoding/asn1"
	"net"
	"net/netip"
	"strings"
)

// constraintCheck applies the name constraints of a path (RFC 5280 §4.2.1.10).
//
// Two readings meet here. RFC 5280 takes a URI or email constraint without a
// leading dot for that one host; crypto/x509 takes it for the host and
// everything below it. What is permitted is read in the narrow way and what is
// excluded in the wide one, so that nothing passes which either would refuse
// (PKIX-05, PKIX-06). Like crypto/x509, and unlike RFC 5280, constraints also
// bind self-issued CAs.
type constraintCheck struct {
	path        []*x509.Certificate // leaf first, anchor last
	comparisons int                 // of this path and those judged before it
}

// check returns the first name that a certificate above it does not allow. The
// depth of the fault is that of the name's certificate in the path.
func (k *constraintCheck) check() *Error {
	for above := len(k.path) - 1; above > 0; above-- {
		ca := k.path[above]
		value, _, found := extension(ca, extNameConstraints)
		if !found {
			continue
		}
		if k.comparisons += constraintsOf(ca); k.comparisons > maxNameComparisons {
			return k.fault(ca, above, ca, "", "")
		}
		if !judgeable(value, ca) {
			return &Error{Reason: ReasonNameConstraints, Depth: above, Found: "a constraint that cannot be judged in " + subjectOf(ca), Want: "constraints on DNS, email, URI and IP names, without base distances and host bits"}
		}
		for depth := above - 1; depth >= 0; depth-- {
			if fault := k.checkNames(k.path[depth], depth, ca); fault != nil {
				return fault
			}
		}
	}
	return nil
}

// constraintsOf returns how many constraints c has.
func constraintsOf(c *x509.Certificate) int {
	return len(c.PermittedDNSDomains) + len(c.ExcludedDNSDomains) +
		len(c.PermittedURIDomains) + len(c.ExcludedURIDomains) +
		len(c.PermittedEmailAddresses) + len(c.ExcludedEmailAddresses) +
		len(c.PermittedIPRanges) + len(c.ExcludedIPRanges)
}

// judgeable reports whether every constraint in the extension of ca is of a form
// that is processed here. One that is not critical may lawfully be ignored, but
// a CA that was limited in a way that we do not understand is not one to trust
// further. Base distances are refused because RFC 5280 gives them no meaning.
func judgeable(extension []byte, ca *x509.Certificate) bool {
	_, fields, _, ok := element(extension)
	if !ok {
		return false
	}
	for len(fields) > 0 {
		var subtrees []byte
		if _, subtrees, fields, ok = element(fields); !ok {
			return false
		}
		for len(subtrees) > 0 {
			var subtree []byte
			if _, subtree, subtrees, ok = element(subtrees); !ok {
				return false
			}
			tag, _, distances, ok := element(subtree)
			if !ok || len(distances) > 0 {
				return false
			}
			switch tag {
			case tagEmail, tagDNS, tagURI, tagIP:
			default:
				return false
			}
		}
	}
	for _, networks := range [][]*net.IPNet{ca.PermittedIPRanges, ca.ExcludedIPRanges} {
		for _, network := range networks {
			if !network.IP.Equal(network.IP.Mask(network.Mask)) {
				return false // host bits: crypto/x509's search for such a network depends on its neighbours
			}
		}
	}
	for _, mailboxes := range [][]string{ca.PermittedEmailAddresses, ca.ExcludedEmailAddresses} {
		for _, mailbox := range mailboxes {
			if _, _, plain := cutMailbox(mailbox); strings.Contains(mailbox, "@") && !plain {
				return false // quoted or escaped: the same mailbox has several spellings
			}
		}
	}
	return true
}

// oidEmailAddress is the attribute of a subject that held a mailbox before there
// were subject alternative names.
var oidEmailAddress = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}

// checkNames holds every name of c against the constraints of ca.
func (k *constraintCheck) checkNames(c *x509.Certificate, depth int, ca *x509.Certificate) *Error {
	hasEmail := false
	names := namesOf(c)
	for names.next() {
		fault := ""
		switch names.tag {
		case tagDNS:
			fault = k.checkDNS(string(names.value), ca)
		case tagURI:
			fault = k.checkURI(string(names.value), ca)
		case tagEmail:
			hasEmail = true
			fault = k.checkEmail(string(names.value), ca)
		case tagIP:
			fault = k.checkIP(net.IP(names.value), ca)
		}
		if fault != "" {
			return k.fault(c, depth, ca, quote(names.value), fault)
		}
	}
	if names.broken {
		return k.fault(c, depth, ca, "a subject alternative name that is not DER", "unreadable")
	}
	if hasEmail || len(ca.PermittedEmailAddresses)+len(ca.ExcludedEmailAddresses) == 0 {
		return nil
	}
	// Without an email SAN the constraint binds the legacy attribute of the
	// subject (RFC 5280 §4.2.1.10).
	for _, attribute := range c.Subject.Names {
		if !attribute.Type.Equal(oidEmailAddress) {
			continue
		}
		mailbox, _ := attribute.Value.(string)
		if fault := k.checkEmail(mailbox, ca); fault != "" {
			return k.fault(c, depth, ca, quote(mailbox), fault)
		}
	}
	return nil
}

func (k *constraintCheck) fault(c *x509.Certificate, depth int, ca *x509.Certificate, name, fault string) *Error {
	if k.comparisons > maxNameComparisons {
		return &Error{Reason: ReasonLimitsExceeded, Depth: depth, Found: "more than 50000 comparisons of names with name constraints", Want: "fewer names or constraints"}
	}
	return &Error{
		Reason: ReasonNameConstraints,
		Depth:  depth,
		Found:  name + " in " + subjectOf(c) + ", which is " + fault,
		Want:   "a name that " + subjectOf(ca) + " may vouch for",
	}
}

// What is wrong with a name under constraints.
const (
	notPermitted = "within no permitted subtree"
	isExcluded   = "within an excluded subtree"
	isUnclear    = "not of a kind that a constraint can be applied to"
)

// verdict applies the constraints on one form of name: excluded beats permitted,
// and a form without permitted subtrees is permitted.
func verdict[T any](k *constraintCheck, permitted, excluded []T, permits, excludes func(T) bool) string {
	for _, constraint := range excluded {
		if k.comparisons++; k.comparisons > maxNameComparisons || excludes(constraint) {
			return isExcluded
		}
	}
	if len(permitted) == 0 {
		return ""
	}
	for _, constraint := range permitted {
		if k.comparisons++; k.comparisons > maxNameComparisons {
			return notPermitted
		}
		if permits(constraint) {
			return ""
		}
	}
	return notPermitted
}

func (k *constraintCheck) checkDNS(name string, ca *x509.Certificate) string {
	if !isHost(strings.TrimPrefix(name, "*.")) {
		return isUnclear
	}
	return verdict(k, ca.PermittedDNSDomains, ca.ExcludedDNSDomains,
		func(c string) bool { return isWithin(name, c) },
		func(c string) bool { return isWithin(name, c) || wildcardCovers(name, c) })
}

// checkURI judges the host of a URI. A constraint on URIs is about fully
// qualified names, so a trust domain that is none fails under one (OQ-19).
func (k *constraintCheck) checkURI(uri string, ca *x509.Certificate) string {
	host, ok := hostOf(uri)
	if !ok {
		return isUnclear
	}
	if len(ca.PermittedURIDomains)+len(ca.ExcludedURIDomains) > 0 && !isFullyQualified(host) {
		return isUnclear
	}
	return verdict(k, ca.PermittedURIDomains, ca.ExcludedURIDomains,
		func(c string) bool { return isExactlyWithin(host, c) },
		func(c string) bool { return isWithin(host, c) })
}

func (k *constraintCheck) checkEmail(mailbox string, ca *x509.Certificate) string {
	local, host, plain := cutMailbox(mailbox)
	if !plain || !isHost(host) {
		return isUnclear
	}
	same := func(c string) bool {
		l, h, _ := cutMailbox(c)
		return l == local && strings.EqualFold(h, host)
	}
	return verdict(k, ca.PermittedEmailAddresses, ca.ExcludedEmailAddresses,
		func(c string) bool {
			if strings.Contains(c, "@") {
				return same(c)
			}
			return isExactlyWithin(host, c)
		},
		func(c string) bool {
			if strings.Contains(c, "@") {
				return same(c)
			}
			return isWithin(host, c)
		})
}

func (k *constraintCheck) checkIP(address net.IP, ca *x509.Certificate) string {
	ip, ok := netip.AddrFromSlice(address)
	if !ok || ip.Is4In6() { // two spellings of one address: refused rather than folded
		return isUnclear
	}
	contains := func(c *net.IPNet) bool { return len(c.IP) == len(address) && c.Contains(address) }
	return verdict(k, ca.PermittedIPRanges, ca.ExcludedIPRanges, contains, contains)
}

// isWithin reports whether name is base or below it. A leading dot in base
// means below only; the empty base holds every name. Both are ASCII.
func isWithin(name, base string) bool {
	if base == "" || strings.EqualFold(name, base) {
		return true
	}
	if base[0] != '.' {
		base = "." + base
	}
	return len(name) > len(base) && strings.EqualFold(name[len(name)-len(base):], base)
}

// isExactlyWithin is isWithin as RFC 5280 reads URI and email constraints:
// without a leading dot, base is one host.
func isExactlyWithin(name, base string) bool {
	if base == "" || base[0] == '.' {
		return isWithin(name, base)
	}
	return strings.EqualFold(name, base)
}

// wildcardCovers reports whether name, a wildcard such as *.example.com, stands
// among others for base, such as www.example.com: who must not have the one must
// not have the other.
func wildcardCovers(name, base string) bool {
	if !strings.HasPrefix(name, "*.") {
		return false
	}
	dot := strings.IndexByte(base, '.')
	return dot >= 0 && strings.EqualFold(base[dot:], name[1:])
}

// isHost reports whether s consists of labels of letters, digits, "-" and "_"
// and is no longer than DNS allows.
func isHost(s string) bool {
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	label := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			if label++; label > 63 {
				return false
			}
		case c == '.' && label > 0:
			label = 0
		default:
			return false
		}
	}
	return label > 0
}

// isFullyQualified reports whether host is a DNS name of at least two labels
// rather than a single label, an address, or something with underscores.
func isFullyQualified(host string) bool {
	return strings.Contains(host, ".") && !strings.Contains(host, "_") && !isAddress(host)
}

// isAddress reports whether host is an IPv4 address, or so like one (a last
// label of digits) that some resolver takes it for one.
func isAddress(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return strings.Trim(last, "0123456789") == ""
}

// hostOf returns the host of a URI if it has one that needs no interpretation:
// no user, no brackets, no escapes, and no address.
func hostOf(uri string) (host string, ok bool) {
	_, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return "", false
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	host, port, _ := strings.Cut(rest, ":")
	if strings.Trim(port, "0123456789") != "" || !isHost(host) || isAddress(host) {
		return "", false
	}
	return host, true
}

// cutMailbox splits a mailbox. plain reports whether its local part consists of
// atoms, so that octets can be compared.
func cutMailbox(s string) (local, host string, plain bool) {
	local, host, found := strings.Cut(s, "@")
	if !found || local == "" || local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return "", "", false
	}
	for i := range len(local) {
		c := local[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),:;<>@[\]`, c) >= 0 {
			return "", "", false
		}
	}
	return local, host, host != ""
}
