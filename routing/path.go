package routing

import "strings"

// paths are the routes that agree in host and SNI, by path.
type paths struct {
	exact    index[callers]
	prefixes prefix
	fallback callers // any path
}

// prefix stands behind one segment of all prefixes that begin alike.
type prefix struct {
	here callers // the prefix ends here
	next index[prefix]
}

// at returns the place for the routes with the path of m.
func (p *paths) at(m *Match) *callers {
	switch {
	case m.Path == "":
		return &p.fallback
	case m.PathExact:
		return p.exact.at(m.Path)
	}
	node := &p.prefixes
	for rest := m.Path; rest != "/"; {
		var segment string
		segment, rest = cutSegment(rest)
		node = node.next.at(segment)
	}
	return &node.here
}

// find returns the best of the routes that match k.
func (p *paths) find(k *Key) *Route {
	if k.Path != "" {
		if c := p.exact.get(k.Path); c != nil {
			if r := c.find(k); r != nil {
				return r
			}
		}
		if r := p.prefixes.find(k.Path, k); r != nil {
			return r
		}
	}
	return p.fallback.find(k)
}

// find looks behind n for what is left of the path, the longest prefix first. It
// goes no deeper than the longest prefix of the table, however long the path.
func (n *prefix) find(rest string, k *Key) *Route {
	if rest != "/" {
		segment, rest := cutSegment(rest)
		if next := n.next.get(segment); next != nil {
			if r := next.find(rest, k); r != nil {
				return r
			}
		}
	}
	return n.here.find(k)
}

// cutSegment returns the first segment of path, which begins with a slash, and
// what follows it. "/" follows the last segment, whether it was there or not: as
// a prefix, /pay and /pay/ are the same.
func cutSegment(path string) (segment, rest string) {
	path = path[1:]
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, "/"
}

// alphabet is what octets may stand in the paths that a table can judge.
type alphabet [256]octet

type octet uint8

const (
	inPath  octet = 1 << iota // may stand there as it is (RFC 3986 §3.3)
	noAlias                   // may not be hidden in a percent-escape
)

// newAlphabet returns the alphabet of a table without paths. To escape an
// unreserved octet is another spelling of the same path (RFC 3986 §6.2.2.2); to
// escape a slash, a backslash or a control is an attempt to have two parties see
// different segments.
func newAlphabet() *alphabet {
	a := new(alphabet)
	for c := range a {
		switch c := byte(c); {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			a[c] = inPath | noAlias
		case strings.IndexByte("!$&'()*+,;=:@", c) >= 0:
			a[c] = inPath
		case c < ' ', c == 0x7f, c == '\\':
			a[c] = noAlias
		}
	}
	return a
}

// reserve has the octets of a route's path be literal. Otherwise /v1/x:sell would
// be reached as /v1/x%3Asell under the rules of a route for /v1.
func (a *alphabet) reserve(path string) {
	for i := range len(path) {
		a[path[i]] |= noAlias
	}
}

// allows reports whether path is absolute and nobody could read it as a path
// with other segments.
func (a *alphabet) allows(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	start := 1 // of the segment
	for i := 1; i < len(path); i++ {
		switch c := path[i]; {
		case c == '/':
			if isDots(path[start:i]) || i == start {
				return false
			}
			start = i + 1
		case a[c]&inPath != 0:
		case c == '%':
			if i+2 >= len(path) {
				return false
			}
			high, low := unhex(path[i+1]), unhex(path[i+2])
			if high > 15 || low > 15 || a[high<<4|low]&noAlias != 0 {
				return false
			}
			i += 2
		default:
			return false
		}
	}
	return !isDots(path[start:])
}

// withoutParameters returns path as a server sees it that cuts parameters off its
// segments (RFC 3986 §3.3), as servlet containers do, also those whose semicolon
// is escaped. had says that there were any.
func withoutParameters(path string) (plain string, had bool) {
	if strings.IndexByte(path, ';') < 0 && !strings.Contains(path, "%3") {
		return path, false
	}
	var b strings.Builder
	inside := false // of a parameter
	for i := 0; i < len(path); i++ {
		switch {
		case path[i] == '/':
			inside = false
		case path[i] == ';', path[i] == '%' && i+2 < len(path) && path[i+1] == '3' && path[i+2]|0x20 == 'b':
			inside, had = true, true
		}
		if !inside {
			b.WriteByte(path[i])
		}
	}
	return b.String(), had
}

func isDots(segment string) bool { return segment == "." || segment == ".." }

// unhex returns the value of a hexadecimal digit, or 255.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}
