package routing

import (
	"net/netip"
	"slices"
	"strings"
)

// check returns the first fault of a single route.
func check(r *Route, a *alphabet) *Error {
	fault := func(reason Reason, value string) *Error {
		return &Error{Reason: reason, Route: r.Name, Index: r.Index, Value: value}
	}
	m := &r.Match
	if r.Name == "" {
		return fault(ReasonNoName, "")
	}
	if m.Host != "" && !isNamePattern(m.Host) && !isAddress(m.Host) {
		return fault(ReasonHost, m.Host)
	}
	if m.SNI != "" && (!isNamePattern(m.SNI) || isAddress(m.SNI)) {
		return fault(ReasonSNI, m.SNI)
	}
	if m.Path != "" && (!a.allows(m.Path) || strings.Contains(m.Path, "%")) || m.Path == "" && m.PathExact {
		return fault(ReasonPath, m.Path)
	}
	for _, method := range m.Methods {
		if !IsMethod(method) {
			return fault(ReasonMethod, method)
		}
	}
	for i, h := range m.Headers {
		if !isToken(h.Name) || h.Name == "Host" || !isFieldValue(h.Value) || i > 0 && m.Headers[i-1].Name == h.Name {
			return fault(ReasonHeader, h.Name+": "+h.Value)
		}
	}
	return nil
}

// maxNameBytes and maxLabelBytes are the limits of a DNS name (RFC 1035 §2.3.4).
const (
	maxNameBytes  = 253
	maxLabelBytes = 63
)

// isNamePattern reports whether s is a host name or "*." and a host name. Other
// octets than these never reach us in a name: international ones are sent as
// A-labels.
func isNamePattern(s string) bool {
	s = strings.TrimPrefix(s, "*.")
	if len(s) > maxNameBytes {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabelBytes || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// isAddress reports whether host is an IP address in the one spelling that it
// has in a request: IPv6 in brackets (RFC 3986 §3.2.2), compressed.
func isAddress(host string) bool {
	inner, ipv6 := strings.CutPrefix(host, "[")
	if ipv6 {
		inner, ipv6 = strings.CutSuffix(inner, "]")
		if !ipv6 {
			return false
		}
	}
	address, err := netip.ParseAddr(inner)
	return err == nil && address.Is6() == ipv6 && address.Zone() == "" && address.String() == inner
}

// IsMethod reports whether s is a method as routes and policies spell it: a
// token (RFC 9110 §9.1) without small letters. Methods are case-sensitive, so
// "get" would be a method that nobody sends.
func IsMethod(s string) bool { return isToken(s) && s == strings.ToUpper(s) }

// isToken implements RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && !(c >= '0' && c <= '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isFieldValue reports whether s can be the value of a header: no controls, and
// no space at either end, which parsers take away (RFC 9110 §5.5).
func isFieldValue(s string) bool {
	return strings.Trim(s, " \t") == s && !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return c < ' ' && c != '\t' || c == 0x7f
	})
}
