package routing

import (
	"encoding/binary"
	"slices"
)

// conflicts returns a fault for every route of b that some request could match
// together with another route, of a, while the order of specificity does not tell them
// apart. All routes agree in host, SNI, path and caller; those of a are of one
// form and so are those of b, which may be a itself.
//
// It joins the two by what they would have to have in common, so its cost is
// linear where comparing all pairs would make 100 000 routes a matter of hours.
func conflicts(a, b []*Route) (faults []*Error) {
	if compareRank(a[0], b[0]) != 0 {
		return nil
	}
	shared := sharedHeaders(a[0], b[0])
	met := make(map[string]*Route, len(a))
	if &a[0] != &b[0] {
		for _, r := range a {
			for _, point := range meetingPoints(r, shared) {
				met[point] = r
			}
		}
	}
	for _, r := range b {
		var last *Route
		for _, point := range meetingPoints(r, shared) {
			if other := met[point]; other != nil && other != last {
				faults = append(faults, conflict(r, other))
				last = other
			}
			if &a[0] == &b[0] {
				met[point] = r
			}
		}
	}
	return faults
}

func conflict(r, other *Route) *Error {
	if r.Index < other.Index {
		r, other = other, r
	}
	return &Error{Reason: ReasonConflict, Route: r.Name, Index: r.Index, Other: other.Name}
}

// sharedHeaders returns the names of the headers that both routes ask for.
func sharedHeaders(a, b *Route) (names []string) {
	for _, h := range a.Match.Headers {
		if slices.ContainsFunc(b.Match.Headers, func(o HeaderMatch) bool { return o.Name == h.Name }) {
			names = append(names, h.Name)
		}
	}
	return names
}

// meetingPoints returns one string for each method of r: two routes of the same
// rank can match one request exactly if they have a string in common.
func meetingPoints(r *Route, shared []string) (points []string) {
	var values []byte
	for _, h := range r.Match.Headers {
		if slices.Contains(shared, h.Name) {
			values = binary.AppendUvarint(values, uint64(len(h.Value)))
			values = append(values, h.Value...)
		}
	}
	if len(r.Match.Methods) == 0 {
		return []string{string(values)}
	}
	for _, method := range r.Match.Methods {
		points = append(points, string(values)+method)
	}
	return points
}
