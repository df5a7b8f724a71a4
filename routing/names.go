package routing

import (
	"math"
	"strings"
)

// names holds one value for each of many host patterns. It serves hosts, server
// names and scopes alike, so that the three never disagree about what a name
// matches.
type names[V any] struct {
	exact    index[V]
	suffix   index[V] // of "*.suffix", with the leading dot
	longest  int      // octets of the longest suffix
	fallback V        // any name
}

// at returns the place of the value under pattern.
func (n *names[V]) at(pattern string) *V {
	if pattern == "" {
		return &n.fallback
	}
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		n.longest = max(n.longest, len(suffix))
		return n.suffix.at(suffix)
	}
	return n.exact.at(pattern)
}

// next returns the values under the patterns that match name, the most specific
// first and the fallback last, one a call: from is 0 at first and then what the
// call before returned. It returns nil when there are no more.
//
// An iterator with a callback would be prettier; it would also make the key of
// every look-up escape to the heap.
func (n *names[V]) next(name string, from int) (v *V, resume int) {
	const done = math.MaxInt
	if from == 0 {
		// A suffix that is longer than every configured one is not worth hashing:
		// a host of 127 labels costs no more than an honest one. There is at
		// least one octet before the dot.
		from = max(1, len(name)-n.longest)
		if v = n.exact.get(name); v != nil {
			return v, from
		}
	}
	for from < len(name) {
		dot := strings.IndexByte(name[from:], '.')
		if dot < 0 {
			break
		}
		suffix := name[from+dot:]
		from += dot + 1
		if v = n.suffix.get(suffix); v != nil {
			return v, from
		}
	}
	if from == done {
		return nil, done
	}
	return &n.fallback, done
}
