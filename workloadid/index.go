package workloadid

// Index holds values under patterns and finds those whose pattern matches an
// identifier, the most specific first. It is how many rules are asked at once:
// a search walks the segments of the identifier, so its cost does not follow the
// number of patterns, unless many of them differ in where they have a "*".
//
// The zero Index is empty and ready for use. It is built by one goroutine and
// may then be searched by many.
type Index[V any] struct {
	exact   map[string]*V            // by pattern: those without a wildcard
	origins map[string]*indexNode[V] // by origin: all others
}

// indexNode stands behind one segment of all patterns that begin alike.
type indexNode[V any] struct {
	literal map[string]*indexNode[V]
	one     *indexNode[V] // "*"
	rest    *V            // "**"
	end     *V            // nothing: a pattern ends here
}

// At returns the place of the value under p. A new place holds the zero value.
// At panics for the zero Pattern: it matches nothing, so what is put there could
// never be found.
func (x *Index[V]) At(p Pattern) *V {
	switch p.kind {
	case matchNothing:
		panic("workloadid: Index.At of the zero Pattern")
	case matchExact:
		return entry(&x.exact, p.raw)
	}
	node := entry(&x.origins, p.raw[:p.path])
	for path := p.raw[p.path:]; path != ""; {
		var segment string
		segment, path = cutSegment(path)
		switch segment {
		case "**":
			return place(&node.rest)
		case "*":
			node = place(&node.one)
		default:
			node = entry(&node.literal, segment)
		}
	}
	return place(&node.end)
}

// Search calls found with the value of every pattern that matches id, in the
// order of [ComparePatterns], until found returns true. It reports whether found
// did. It does not allocate.
func (x *Index[V]) Search(id ID, found func(*V) bool) bool {
	if v := x.exact[id.raw]; v != nil && found(v) {
		return true
	}
	node := x.origins[id.raw[:id.path]]
	return node != nil && node.search(id.raw[id.path:], found)
}

// search goes on behind node with what is left of a path. Among the patterns
// that match one identifier, the order of [ComparePatterns] is the order of
// their leftmost difference: a literal, then "*", then "**".
func (n *indexNode[V]) search(path string, found func(*V) bool) bool {
	if path == "" {
		return n.end != nil && found(n.end)
	}
	segment, rest := cutSegment(path)
	if next := n.literal[segment]; next != nil && next.search(rest, found) {
		return true
	}
	if n.one != nil && n.one.search(rest, found) {
		return true
	}
	return n.rest != nil && found(n.rest)
}

// entry returns the value under key, made when it is missing.
func entry[V any](m *map[string]*V, key string) *V {
	v := (*m)[key]
	if v == nil {
		if *m == nil {
			*m = make(map[string]*V)
		}
		v = new(V)
		(*m)[key] = v
	}
	return v
}

// place returns what *p points to, made when it is missing.
func place[V any](p **V) *V {
	if *p == nil {
		*p = new(V)
	}
	return *p
}
