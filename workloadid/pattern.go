package workloadid

import (
	"cmp"
	"strings"
)

// Pattern selects identifiers of one origin (ID-16). A pattern is an
// identifier in which
//
//   - a segment "*" stands for exactly one segment, whatever it is, and
//   - a final segment "**" stands for one or more segments.
//
// So spiffe://prod.example/** is every workload of an origin, which has to be
// spelled out, and spiffe://prod.example/ns/*/sa/api is one service account in
// every namespace. A "*" never stands for a part of a segment. The trust domain
// has no wildcards: a pattern never matches outside its origin.
//
// Patterns are equal exactly when their octets are. The zero Pattern matches
// nothing.
type Pattern struct {
	raw  string
	path uint16
	kind patternKind
}

type patternKind uint8

const (
	matchNothing  patternKind = iota
	matchExact                // no wildcard: one comparison
	matchPrefix               // literal segments, then "**"
	matchSegments             // a "*" somewhere
)

// ParsePattern returns the pattern that s spells, or an [*Error].
func ParsePattern(s string) (Pattern, error) {
	if len(s) > MaxIDBytes {
		return Pattern{}, &Error{Reason: ReasonTooLong, Offset: MaxIDBytes}
	}
	path, fault := scanAuthority(s)
	if fault != nil {
		return Pattern{}, fault
	}
	if path == len(s) {
		// "Everything" must be said, never be what is left when nothing is.
		return Pattern{}, &Error{Reason: ReasonNoPath, Offset: path}
	}
	segment := uint8(inSpiffeSegment)
	if s[0] == 'w' {
		segment = inWimseSegment
	}
	kind := matchExact
	for at := path; at < len(s); {
		end := at + 1
		for end < len(s) && s[end] != '/' {
			end++
		}
		switch part := s[at:end]; {
		case part == "/*":
			kind = matchSegments
		case part == "/**" && end == len(s):
			if kind == matchExact {
				kind = matchPrefix
			}
		case strings.Contains(part, "*"):
			return Pattern{}, &Error{Reason: ReasonPatternWildcard, Offset: at + strings.IndexByte(part, '*')}
		default:
			if fault := scanPath(s[:end], at, segment); fault != nil {
				return Pattern{}, fault
			}
		}
		at = end
	}
	return Pattern{raw: s, path: uint16(path), kind: kind}, nil
}

// Match reports whether p selects id. It does not allocate; its cost is linear
// in the length of id.
func (p Pattern) Match(id ID) bool {
	if p.path != id.path {
		return false
	}
	switch p.kind {
	case matchExact:
		return p.raw == id.raw
	case matchPrefix:
		prefix := p.raw[:len(p.raw)-len("**")] // ends in a slash, so "at least one more" is len >
		return len(id.raw) > len(prefix) && id.raw[:len(prefix)] == prefix
	case matchSegments:
		return p.raw[:p.path] == id.raw[:id.path] && matchPath(p.raw[p.path:], id.raw[id.path:])
	}
	return false
}

// matchPath compares segment by segment. Both begin with a slash.
func matchPath(pattern, path string) bool {
	for pattern != "" && path != "" {
		if pattern == "/**" {
			return true
		}
		var want, got string
		want, pattern = cutSegment(pattern)
		got, path = cutSegment(path)
		if want != "*" && want != got {
			return false
		}
	}
	return pattern == "" && path == ""
}

// cutSegment returns the first segment of path, which begins with a slash, and
// the rest, which is empty or begins with one.
func cutSegment(path string) (segment, rest string) {
	path = path[1:]
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// String returns the pattern as it was parsed.
func (p Pattern) String() string { return p.raw }

// IsZero reports whether p is the pattern that matches nothing.
func (p Pattern) IsZero() bool { return p.raw == "" }

// Origin returns the only origin that p can match in.
func (p Pattern) Origin() Origin { return Origin{raw: p.raw[:p.path]} }

// Exact returns the one identifier that p matches, if p has no wildcard.
func (p Pattern) Exact() (ID, bool) {
	if p.kind != matchExact {
		return ID{}, false
	}
	return ID{raw: p.raw, path: p.path}, true
}

// ComparePatterns orders patterns from the most to the least specific. Segment
// by segment from the left, a literal comes before "*" and "*" before "**"; of
// two that agree so far, the longer comes first. What is left is ordered by
// octets, so that only equal patterns compare as 0. The zero Pattern comes last.
func ComparePatterns(a, b Pattern) int {
	if a.IsZero() || b.IsZero() {
		return cmp.Compare(len(b.raw), len(a.raw))
	}
	pa, pb := a.raw[a.path:], b.raw[b.path:]
	for pa != "" && pb != "" {
		var sa, sb string
		sa, pa = cutSegment(pa)
		sb, pb = cutSegment(pb)
		if c := cmp.Compare(breadth(sa), breadth(sb)); c != 0 {
			return c
		}
	}
	if c := cmp.Compare(len(pb), len(pa)); c != 0 {
		return c
	}
	return strings.Compare(a.raw, b.raw)
}

func breadth(segment string) int {
	switch segment {
	case "*":
		return 1
	case "**":
		return 2
	}
	return 0
}
