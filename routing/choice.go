package routing

import (
	"cmp"
	"slices"
	"strings"

	"verigate/workloadid"
)

// callers are the routes that agree in host, SNI and path, by caller.
type callers struct {
	byPattern workloadid.Index[choices]
	fallback  choices // any caller
}

// at returns the place for the routes with the caller of m.
func (c *callers) at(m *Match) *choices {
	if m.Caller.IsZero() {
		return &c.fallback
	}
	return c.byPattern.At(m.Caller)
}

// find returns the best of the routes that match k.
func (c *callers) find(k *Key) (best *Route) {
	c.byPattern.Search(k.Caller, func(under *choices) bool {
		best = under.find(k)
		return best != nil
	})
	if best == nil {
		best = c.fallback.find(k)
	}
	return best
}

// choices are the routes that differ in methods and headers only.
type choices struct {
	forms    []form // the more specific first
	fallback *Route // any method and no headers
}

// form has the routes that ask for the same headers and that all have methods,
// or have none.
type form struct {
	headers []string // the names, sorted
	values  value
}

// value stands behind one value of each of the first headers of a form.
type value struct {
	next   index[value] // by the value of the next header
	routes []*Route     // behind all headers; no method is in two of them
}

// fill puts routes into c, which is empty, and returns a fault for every one
// that conflicts with another. It reorders routes.
func (c *choices) fill(routes []*Route) (faults []*Error) {
	slices.SortFunc(routes, func(a, b *Route) int {
		return cmp.Or(compareForms(a, b), cmp.Compare(a.Index, b.Index))
	})
	var groups [][]*Route
	for start, end := 0, 0; start < len(routes); start = end {
		for end = start + 1; end < len(routes) && compareForms(routes[start], routes[end]) == 0; {
			end++
		}
		groups = append(groups, routes[start:end])
	}
	for i, group := range groups {
		for _, other := range groups[i:] {
			faults = append(faults, conflicts(group, other)...)
		}
		if m := &group[0].Match; len(m.Methods) == 0 && len(m.Headers) == 0 {
			c.fallback = group[0]
		} else {
			c.forms = append(c.forms, newForm(group))
		}
	}
	return faults
}

func newForm(routes []*Route) (f form) {
	for _, h := range routes[0].Match.Headers {
		f.headers = append(f.headers, h.Name)
	}
	for _, r := range routes {
		v := &f.values
		for _, h := range r.Match.Headers {
			v = v.next.at(h.Value)
		}
		v.routes = append(v.routes, r)
	}
	return f
}

// compareForms orders routes by methods, then by the number of headers. The
// names come last, to have some order: nothing depends on it, since two routes
// that only the names tell apart and that could match one request conflict.
func compareForms(a, b *Route) int {
	return cmp.Or(
		compareRank(a, b),
		slices.CompareFunc(a.Match.Headers, b.Match.Headers, func(a, b HeaderMatch) int {
			return strings.Compare(a.Name, b.Name)
		}))
}

// compareRank is the last two lines of the order of specificity.
func compareRank(a, b *Route) int {
	return cmp.Or(
		cmp.Compare(min(len(b.Match.Methods), 1), min(len(a.Match.Methods), 1)),
		cmp.Compare(len(b.Match.Headers), len(a.Match.Headers)))
}

// find returns the best of the routes that match k.
func (c *choices) find(k *Key) *Route {
	for i := range c.forms {
		if r := c.forms[i].find(k); r != nil {
			return r
		}
	}
	return c.fallback
}

// find returns the only route of f that can match k, if it does.
func (f *form) find(k *Key) *Route {
	v := &f.values
	for _, name := range f.headers {
		if k.Header == nil {
			return nil
		}
		got, once := k.Header(name)
		if !once {
			return nil
		}
		if v = v.next.get(got); v == nil {
			return nil
		}
	}
	for _, r := range v.routes {
		if len(r.Match.Methods) == 0 || slices.Contains(r.Match.Methods, k.Method) {
			return r
		}
	}
	return nil
}
