package handoff

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/workloadid"
)

// Form is a set of ways to convey the caller.
type Form uint8

// The ways to convey the caller; see the package comment for the fields.
const (
	ClientCert      Form = 1 << iota // Client-Cert of RFC 9440
	ClientCertChain                  // Client-Cert-Chain of RFC 9440, and with it Client-Cert
	XFCC                             // X-Forwarded-Client-Cert as Envoy's SANITIZE_SET does it
	Workload                         // X-Workload-Id, -Trust-Domain, -Assurance and -Asserted-By
)

// ParseForm returns the one form that configuration calls client_cert,
// client_cert_chain, xfcc or workload.
func ParseForm(s string) (Form, bool) {
	switch s {
	case "client_cert":
		return ClientCert, true
	case "client_cert_chain":
		return ClientCertChain, true
	case "xfcc":
		return XFCC, true
	case "workload":
		return Workload, true
	}
	return 0, false
}

// Caller is who made a request, as far as it was proven. Grade is the caller's own;
// what is conveyed of it may be less.
type Caller struct {
	Path  *certpath.Path
	Grade assurance.Grade
}

// Handoff conveys callers to one upstream. It may be used concurrently. A nil
// *Handoff conveys nothing.
type Handoff struct {
	forms      Form
	assertedBy string
	limits     []Limit
	memo       memo
}

// Limit returns a grade that no conveyed grade exceeds now, in any characteristic. It
// is called for every request, concurrently: [Own.Grade] and [Hop.Grade] are made
// for it.
type Limit func(now time.Time) assurance.Grade

// New returns a Handoff of the given forms. assertedBy is the gateway's own
// identity; a gateway without one leaves out what would name it. What is conveyed
// about a caller is at most what each of limits says (ASR-08): pass what the gateway
// itself is worth and what the hop to the backend is.
func New(forms Form, assertedBy workloadid.ID, limits ...Limit) *Handoff {
	if forms&ClientCertChain != 0 {
		forms |= ClientCert // the chain is never sent alone (RFC 9440 §2.3)
	}
	return &Handoff{forms: forms, assertedBy: assertedBy.String(), limits: slices.Clone(limits)}
}

// Append appends the field lines that convey c, each with its end, to a header to
// which [StripRequest] was applied. A caller without a path, or a path without an
// identifier, is conveyed as far as there is something to say; a field that has
// nothing to say is absent. now is a reading of the wall clock from just now.
//
// What is sent depends on the path and the conveyed grade only, and is remembered
// for a bounded number of paths; then Append allocates nothing if dst has room.
func (h *Handoff) Append(dst []byte, c Caller, now time.Time) []byte {
	if h == nil || c.Path.IsZero() {
		return dst
	}
	c.Grade = h.limited(c.Grade, now)
	v := h.memo.get(c.Path)
	if v == nil || v.grade != c.Grade {
		v = &values{grade: c.Grade, lines: h.linesOf(c)}
		h.memo.put(c.Path, v)
	}
	return append(dst, v.lines...)
}

// limited returns the part of g that the backend may believe.
func (h *Handoff) limited(g assurance.Grade, now time.Time) assurance.Grade {
	for _, limit := range h.limits {
		g = assurance.Min(g, limit(now))
	}
	return g
}

// values is what is sent for one path.
type values struct {
	grade assurance.Grade
	lines []byte
}

func (h *Handoff) linesOf(c Caller) (lines []byte) {
	if h.forms&ClientCert != 0 {
		lines = appendField(lines, "Client-Cert", appendByteSequence(nil, c.Path.RawLeaf()))
	}
	if h.forms&ClientCertChain != 0 {
		// The path that was validated, not the chain that was sent: what else the
		// caller put into its chain has been vouched for by nobody (FWD-05).
		var chain []byte
		issuers := c.Path.Issuers()
		for _, issuer := range issuers[:len(issuers)-1] {
			if len(chain) > 0 {
				chain = append(chain, ", "...)
			}
			chain = appendByteSequence(chain, issuer.Raw)
		}
		lines = appendField(lines, "Client-Cert-Chain", chain)
	}
	id := c.Path.ID()
	if h.forms&XFCC != 0 {
		hash := c.Path.LeafSHA256()
		element := appendPair(nil, "By", h.assertedBy)
		element = appendPair(element, "Hash", hex.EncodeToString(hash[:]))
		element = appendPair(element, "URI", id.String())
		lines = appendField(lines, "X-Forwarded-Client-Cert", element)
	}
	if h.forms&Workload != 0 && !id.IsZero() {
		lines = appendField(lines, "X-Workload-Id", id.String())
		lines = appendField(lines, "X-Workload-Trust-Domain", id.Origin().String())
		lines = appendField(lines, "X-Workload-Assurance", appendAssurance(nil, c.Grade))
		lines = appendField(lines, "X-Workload-Asserted-By", h.assertedBy)
	}
	return lines
}

// appendField appends a field line, unless value is empty. No value can begin a
// line of its own: what ends a line becomes a space (RFC 9110 §5.5).
func appendField[T string | []byte](dst []byte, name string, value T) []byte {
	if len(value) == 0 {
		return dst
	}
	dst = append(append(dst, name...), ": "...)
	from := len(dst)
	dst = append(dst, value...)
	for i, c := range dst[from:] {
		if c == '\r' || c == '\n' {
			dst[from+i] = ' '
		}
	}
	return append(dst, "\r\n"...)
}

// appendByteSequence appends b as RFC 9651 writes a Byte Sequence.
func appendByteSequence(dst, b []byte) []byte {
	dst = append(dst, ':')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, ':')
}

// appendPair appends a pair to an element of X-Forwarded-Client-Cert; an empty
// value is left out.
//
// Certificate-controlled text must not be able to end its value. Values are
// therefore quoted whenever they have a character that means something, and the
// backslash is escaped too: a value that ends in one would otherwise escape the
// closing quote, and one with a backslash before a quote would open it (FWD-10).
func appendPair(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	if len(dst) > 0 {
		dst = append(dst, ';')
	}
	dst = append(append(dst, key...), '=')
	if !strings.ContainsAny(value, `,;="\`) {
		return append(dst, value...)
	}
	dst = append(dst, '"')
	for i := range len(value) {
		if c := value[i]; c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, value[i])
	}
	return append(dst, '"')
}

// appendAssurance appends g as the dictionary of the package comment.
func appendAssurance(dst []byte, g assurance.Grade) []byte {
	dst = strconv.AppendUint(append(dst, "mial="...), uint64(g.MIAL), 10)
	dst = append(dst, ", maal=("...)
	for i, grade := range g.MAAL {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = strconv.AppendUint(dst, uint64(grade), 10)
	}
	return append(dst, `);profile="`+assurance.MAALProfile+`"`...)
}
