package certpath

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Error reports why a chain was rejected. Reason is for machines (metric label,
// audit field); Error() is for the operator; the peer learns neither.
type Error struct {
	Reason Reason
	// Depth is an index into the presented chain: 0 is the leaf. The length of
	// the chain stands for an anchor that was not presented.
	Depth int
	Found string // what was found, escaped and bounded; may be ""
	Want  string // what was expected; may be ""
	Hint  string // what usually causes it; may be ""
	Err   error  // what crypto/x509 or workloadid said; may be nil
}

// Error returns one line. Octets of the peer appear in it escaped and bounded.
func (e *Error) Error() string {
	var s strings.Builder
	s.WriteString(e.Reason.String())
	fmt.Fprintf(&s, " at depth %d", e.Depth)
	if e.Found != "" {
		s.WriteString(": found ")
		s.WriteString(e.Found)
	}
	if e.Want != "" {
		s.WriteString("; want ")
		s.WriteString(e.Want)
	}
	if e.Err != nil {
		s.WriteString(": ")
		s.WriteString(printable(e.Err.Error()))
	}
	if e.Hint != "" {
		s.WriteString(" (")
		s.WriteString(e.Hint)
		s.WriteString(")")
	}
	return s.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the reason of the [*Error] that err is or wraps, and
// ReasonNone for nil and for errors from elsewhere.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok && e != nil {
		return e.Reason
	}
	return ReasonNone
}

// Bounds on how much of a peer's octets an error repeats.
const (
	maxQuotedBytes = 96
	maxNameBytes   = 1024
)

// quote makes octets of a peer safe to print: ASCII, escaped, bounded.
func quote[T string | []byte](s T) string {
	if len(s) > maxQuotedBytes {
		return strconv.QuoteToASCII(string(s[:maxQuotedBytes])) + "… (" + strconv.Itoa(len(s)) + " octets)"
	}
	return strconv.QuoteToASCII(string(s))
}

// printable is quote for text that is mostly harmless: crypto/x509 repeats what
// it could not parse.
func printable(s string) string {
	unfit := func(c rune) bool { return c < ' ' || c > '~' }
	if len(s) > 2*maxQuotedBytes || strings.ContainsFunc(s, unfit) {
		return quote(s)
	}
	return s
}

// subjectOf names a certificate for an operator. Those of workloads often have
// an empty subject; their serial number stands in for it.
func subjectOf(c *x509.Certificate) string {
	if string(c.RawSubject) == emptyName && c.SerialNumber.BitLen() <= 8*maxSerialBytes {
		return "serial number " + c.SerialNumber.Text(16)
	}
	return nameOf(c.RawSubject, c.Subject.String)
}

// issuerOf names the issuer that a certificate claims.
func issuerOf(c *x509.Certificate) string { return nameOf(c.RawIssuer, c.Issuer.String) }

// nameOf renders a distinguished name. The rendering costs in proportion to the
// name, so an oversized one is only measured.
func nameOf(raw []byte, render func() string) string {
	if len(raw) > maxNameBytes {
		return "a name of " + strconv.Itoa(len(raw)) + " octets"
	}
	return quote(render())
}

// keyIDOf renders a key identifier.
func keyIDOf(id []byte) string {
	switch {
	case len(id) == 0:
		return "none"
	case len(id) > 32:
		return hex.EncodeToString(id[:32]) + "…"
	}
	return hex.EncodeToString(id)
}
