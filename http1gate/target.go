package http1gate

import (
	"bytes"
	"net/netip"
	"unicode/utf8"
)

// judgeTarget judges a request target. authority is the part of an absolute
// target that must equal the Host field; it is empty for the other forms.
//
// The forms that a gateway has a use for are the origin form, the absolute form
// (which servers must accept, RFC 9112 §3.2.2) and "OPTIONS *".
func judgeTarget(method, target []byte) (authority []byte, v *Violation) {
	switch {
	case target[0] == '/':
		return nil, judgePath(target)
	case target[0] == '*':
		if len(target) == 1 && string(method) == "OPTIONS" {
			return nil, nil
		}
		return nil, targetForm
	}
	rest := target
	switch {
	case len(rest) > 7 && equalFold(rest[:7], "http://"):
		rest = rest[7:]
	case len(rest) > 8 && equalFold(rest[:8], "https://"):
		rest = rest[8:]
	default:
		return nil, targetForm
	}
	// An authority is not empty, and a path follows it: with an empty one the
	// servers behind would have to agree on what "http://host" and "http://host?q"
	// ask for.
	path := bytes.IndexByte(rest, '/')
	if path < 0 {
		return nil, ambiguousPath
	}
	authority, rest = rest[:path], rest[path:]
	if bytes.IndexByte(authority, '@') >= 0 {
		return nil, userinfo
	}
	if !validHost(authority) {
		return nil, hostInvalid
	}
	return authority, judgePath(rest)
}

// judgePath judges a path that begins with '/', and the query behind it.
func judgePath(path []byte) *Violation {
	if len(path) > 1 && path[1] == '/' {
		return ambiguousPath // an empty segment
	}
	segment := 1 // where the segment began
	for i := 1; i < len(path); {
		c := path[i]
		if octets[c]&pathOctet != 0 {
			i++
			continue
		}
		switch c {
		case '/':
			if ambiguousSegment(path[segment:i]) {
				return ambiguousPath
			}
			i++
			segment = i
			if i < len(path) && path[i] == '/' {
				return ambiguousPath
			}
		case '.', ';':
			i++
		case '%':
			n, v := judgeEscape(path[i:])
			if v != nil {
				return v
			}
			i += n
		case '?':
			if ambiguousSegment(path[segment:i]) {
				return ambiguousPath
			}
			return judgeQuery(path[i+1:])
		case '#':
			return targetFragment
		case '\\':
			return ambiguousPath
		default:
			return targetOctet
		}
	}
	if ambiguousSegment(path[segment:]) {
		return ambiguousPath
	}
	return nil
}

// ambiguousSegment reports whether a segment is a dot segment, or becomes one or
// vanishes when a server cuts off its parameters: some take /public/..;x/admin
// for /admin, and some unescape before they cut.
func ambiguousSegment(s []byte) bool {
	rest := s
	for len(rest) > 0 && rest[0] == '.' {
		rest = rest[1:]
	}
	if len(s)-len(rest) > len("..") {
		return false
	}
	if len(rest) == 0 {
		return len(s) > 0
	}
	return rest[0] == ';' || len(rest) >= 3 && rest[0] == '%' && rest[1] == '3' && rest[2]|0x20 == 'b'
}

// judgeEscape judges the percent-escape that s begins with, or the several that
// make one UTF-8 character, and returns their length.
func judgeEscape(s []byte) (n int, v *Violation) {
	c, ok := escape(s)
	switch {
	case !ok:
		return 0, ambiguousPath
	case c < 0x20, c == 0x7f, c == '/', c == '\\':
		return 0, ambiguousPath
	case octets[c]&unreservedOctet != 0:
		// RFC 3986 §6.2.2.2: the same resource as without the escape. A rule for
		// /admin must not be passed by /%61dmin, nor one for .. by %2e%2e.
		return 0, ambiguousPath
	case c < utf8.RuneSelf:
		return 3, nil
	}
	// Octets that are not UTF-8 are read differently by every server; the overlong
	// form %c0%af even as a slash.
	var char [utf8.UTFMax]byte
	for i := range char {
		if char[i], ok = escape(s[n:]); !ok {
			return 0, ambiguousPath
		}
		n += 3
		if utf8.FullRune(char[:i+1]) {
			if _, size := utf8.DecodeRune(char[:i+1]); size == 1 {
				return 0, ambiguousPath // not the start of a character
			}
			return n, nil
		}
	}
	return 0, ambiguousPath
}

func escape(s []byte) (c byte, ok bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	hi, lo := hexValue[s[1]], hexValue[s[2]]
	return hi<<4 | lo&0xf, hi != 0xff && lo != 0xff
}

func judgeQuery(query []byte) *Violation {
	for _, c := range query {
		if octets[c]&queryOctet == 0 {
			if c == '#' {
				return targetFragment
			}
			return targetOctet
		}
	}
	return nil
}

// validHost reports whether host is a host name or an IP address, with an
// optional port, in the spelling that all parsers share: no userinfo, no
// percent-escapes, no sub-delims (a comma joins two hosts in some logs and
// proxies), no empty port.
func validHost(host []byte) bool {
	if len(host) > 0 && host[0] == '[' {
		end := bytes.IndexByte(host, ']')
		if end < 0 {
			return false
		}
		// An address with a zone means something on one machine only.
		addr, err := netip.ParseAddr(string(host[1:end]))
		return err == nil && addr.Is6() && addr.Zone() == "" && validPort(host[end+1:])
	}
	n := 0
	for n < len(host) && octets[host[n]]&regNameOctet != 0 {
		n++
	}
	// 253 is the longest name that DNS can have, 254 with the dot of the root.
	if n == 0 || n > 254 || host[0] == '.' || bytes.Contains(host[:n], []byte("..")) {
		return false
	}
	return validPort(host[n:])
}

// validPort reports whether p is empty, or ':' and a port from 1 to 65535.
func validPort(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	if p[0] != ':' || len(p) < 2 || len(p) > 6 || p[1] == '0' {
		return false
	}
	port := 0
	for _, c := range p[1:] {
		if c < '0' || c > '9' {
			return false
		}
		port = port*10 + int(c-'0')
	}
	return port <= 65535
}
