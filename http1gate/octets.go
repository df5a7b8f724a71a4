package http1gate

import "encoding/binary"

// Classes of octets. A set bit says that the octet may stand there as itself.
const (
	tokenOctet      uint8 = 1 << iota // RFC 9110 §5.6.2
	aliasOctet                        // of a token, neither letter nor digit nor '-', which some backend takes it for
	pathOctet                         // pchar and '/' without those that need a look (RFC 3986 §3.3)
	queryOctet                        // what the WHATWG URL standard leaves unencoded in a query
	regNameOctet                      // of a host name
	unreservedOctet                   // RFC 3986 §2.3
)

const (
	alpha      = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	digit      = "0123456789"
	unreserved = alpha + digit + "-._~"
)

var octets = func() (t [256]uint8) {
	mark := func(class uint8, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= class
		}
	}
	mark(tokenOctet, alpha+digit+"!#$%&'*+-.^_`|~")
	mark(aliasOctet, "!#$%&'*+.^_`|~")
	// '.', '/', ';' and '%' are left to the segment rules.
	mark(pathOctet, alpha+digit+"-_~!$&'()*+,=:@")
	// RFC 3986 has no '[', ']', '{', '}', '|', '\', '^' or '`' in a query, but
	// clients that follow the WHATWG standard send them (?filter[name]=x), and no
	// decision here looks at a query.
	for c := byte(0x21); c < 0x7f; c++ {
		if c != '"' && c != '<' && c != '>' && c != '#' {
			t[c] |= queryOctet
		}
	}
	mark(regNameOctet, alpha+digit+"-._")
	mark(unreservedOctet, unreserved)
	return t
}()

// hexValue has the value of a hexadecimal digit, or 0xff.
var hexValue = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range uint8(10) {
		t['0'+i] = i
	}
	for i := range uint8(6) {
		t['a'+i], t['A'+i] = 10+i, 10+i
	}
	return t
}()

// validValue reports whether v has only the octets of a field value: visible
// ones, obs-text, space and tab (RFC 9110 §5.5). It looks at eight at a time:
// values are most of a header block.
func validValue(v []byte) bool {
	const (
		each  = 0x0101010101010101
		high  = 0x80 * each
		space = 0x20 * each
		del   = 0x7f * each
	)
	for ; len(v) >= 8; v = v[8:] {
		x := binary.LittleEndian.Uint64(v)
		y := x ^ del
		// A high bit is set below the lowest octet that is < 0x20, or is DEL; bits
		// above it may be wrong, so this only decides whether to look closer.
		if ((x-space)&^x|(y-each)&^y)&high != 0 && !validValueOctets(v[:8]) {
			return false
		}
	}
	return validValueOctets(v)
}

func validValueOctets(v []byte) bool {
	for _, c := range v {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// equalFold reports whether b is lower, a string of lower-case letters, digits
// and '-', in any case. b must not have octets below 0x20: a set bit 5 would
// turn them into digits and punctuation.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range len(lower) {
		if b[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}

// isToken reports whether b is a token.
func isToken(b []byte) bool {
	for _, c := range b {
		if octets[c]&tokenOctet == 0 {
			return false
		}
	}
	return len(b) > 0
}
