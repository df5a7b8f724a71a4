package gateway

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
)

// names remembers how the last request of a connection spelled what seldom
// changes, so that the next one need not put it together anew.
type names struct {
	field string // the Host field
	host  string // its canonical form
	sent  string // what the backend is told instead; "" when the field itself
	path  string
}

// maxRememberedPath bounds what an idle connection keeps.
const maxRememberedPath = 256

// hostOf returns the canonical form of a Host field.
func (n *names) hostOf(field []byte) string {
	if n.field == "" || string(field) != n.field {
		n.field = string(field)
		n.host, n.sent = canonicalHost(n.field)
	}
	return n.host
}

// pathOf returns the path as a string.
func (n *names) pathOf(path []byte) string {
	if string(path) == n.path {
		return n.path
	}
	s := string(path)
	if len(s) <= maxRememberedPath {
		n.path = s
	}
	return s
}

// canonicalHost returns the host of a Host field in the one spelling that routes
// have: in lowercase, without its port and without the dot of the DNS root, an
// IPv6 address in brackets and compressed.
//
// "a.example." is the host that "a.example" is, and clients that write the one
// send the other as SNI (RFC 6066 §3). A backend may think otherwise and have a
// default for names that it does not know; so it is sent the name that was
// routed: sent is the field without the dot, or "" if there is none.
//
// The gate has made sure that field is a host with an optional port.
func canonicalHost(field string) (host, sent string) {
	lower := strings.ToLower(field)
	if inner, ipv6 := strings.CutPrefix(lower, "["); ipv6 {
		inner, _, _ = strings.Cut(inner, "]")
		address, err := netip.ParseAddr(inner)
		if err != nil {
			return lower, "" // matches no route
		}
		return "[" + address.String() + "]", ""
	}
	host, _, _ = strings.Cut(lower, ":")
	if dotless, dotted := strings.CutSuffix(host, "."); dotted {
		return dotless, field[:len(dotless)] + field[len(host):]
	}
	return host, ""
}

// toOriginForm rewrites an absolute target, which servers must accept, into the
// form that origin servers expect (RFC 9112 §3.2.1). The gate has made sure that
// the authority it drops is the Host field's and that a path follows.
func toOriginForm(header *fasthttp.RequestHeader) {
	target := header.RequestURI()
	if len(target) == 0 || target[0] == '/' || target[0] == '*' {
		return
	}
	_, rest, _ := bytes.Cut(target, []byte("://"))
	if i := bytes.IndexByte(rest, '/'); i >= 0 {
		header.SetRequestURIBytes(bytes.Clone(rest[i:]))
	}
}

// targetPath returns the path octets of a request target: what is routed is
// exactly what is forwarded (AUTHZ-07).
func targetPath(target []byte) []byte {
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		target = target[:i]
	}
	return target
}

// methodName turns the usual methods into constants without allocating.
func methodName(method []byte) string {
	switch string(method) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "PATCH":
		return "PATCH"
	case "DELETE":
		return "DELETE"
	case "OPTIONS":
		return "OPTIONS"
	}
	return string(method)
}

func protocolName(header *fasthttp.RequestHeader) string {
	if header.IsHTTP11() {
		return "HTTP/1.1"
	}
	return "HTTP/1.0"
}
