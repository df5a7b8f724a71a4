package routing

import (
	"cmp"
	"errors"
	"net/textproto"
	"slices"
	"strings"
)

// Table finds routes. It is immutable and may be used concurrently.
type Table struct {
	routes   []*Route // configuration order
	hosts    names[names[paths]]
	alphabet *alphabet
	scopes   scopes
}

// Compile checks routes and returns the table that finds them. Neither routes
// nor what it refers to is kept. The error joins an [*Error] for every fault;
// faults between routes are looked for when every single route is sound.
//
// A table of no routes is valid and matches nothing.
func Compile(routes []Route) (*Table, error) {
	t := &Table{alphabet: newAlphabet(), scopes: newScopes()}
	var faults []error
	known := make(map[string]bool, len(routes))
	for i := range routes {
		r := canonical(routes[i], i)
		if fault := check(r, t.alphabet); fault != nil {
			faults = append(faults, fault)
		} else if known[r.Name] {
			faults = append(faults, &Error{Reason: ReasonDuplicateName, Route: r.Name, Index: i, Other: r.Name})
		}
		known[r.Name] = true
		t.routes = append(t.routes, r)
	}
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	if faults := t.fill(); faults != nil {
		return nil, errors.Join(faults...)
	}
	return t, nil
}

// fill builds the index. It returns the conflicts, in configuration order.
func (t *Table) fill() (faults []error) {
	alike := make(map[*choices][]*Route, len(t.routes))
	for _, r := range t.routes {
		m := &r.Match
		c := t.hosts.at(m.Host).at(m.SNI).at(m).at(m)
		alike[c] = append(alike[c], r)
		t.alphabet.reserve(m.Path)
		t.scopes.add(m)
	}
	var conflicts []*Error
	for c, routes := range alike {
		conflicts = append(conflicts, c.fill(routes)...)
	}
	slices.SortFunc(conflicts, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), strings.Compare(a.Other, b.Other))
	})
	for _, c := range conflicts {
		faults = append(faults, c)
	}
	return faults
}

// canonical returns a copy of r, at position index, that shares nothing with it
// and in which what matches the same is spelled the same.
func canonical(r Route, index int) *Route {
	r.Index = index
	m := &r.Match
	m.Methods = slices.Clone(m.Methods)
	slices.Sort(m.Methods)
	m.Methods = slices.Compact(m.Methods)
	m.Headers = slices.Clone(m.Headers)
	for i := range m.Headers {
		m.Headers[i].Name = textproto.CanonicalMIMEHeaderKey(m.Headers[i].Name)
	}
	slices.SortFunc(m.Headers, func(a, b HeaderMatch) int { return strings.Compare(a.Name, b.Name) })
	return &r
}

// Match returns the most specific of the routes that match k, or nil. It does
// not keep k or call anything but k.Header, and it allocates only for a path with
// parameters.
//
// Fallback is complete: when the routes of the most specific host match in no
// path, or those of the longest path in no caller, the next are tried. With
// sensible tables this is a handful of map look-ups whatever the number of
// routes.
func (t *Table) Match(k *Key) *Route {
	r := t.match(k)
	if r == nil {
		return nil
	}
	plain, had := withoutParameters(k.Path)
	if !had || strings.IndexByte(r.Match.Path, ';') >= 0 {
		return r // whoever writes parameters into a route knows how they are read
	}
	other := *k
	other.Path = plain
	if t.match(&other) != r {
		return nil
	}
	return r
}

// match is Match for a path that everybody reads alike.
func (t *Table) match(k *Key) *Route {
	if k.Path != "" && !t.alphabet.allows(k.Path) {
		return nil
	}
	for bySNI, h := t.hosts.next(k.Host, 0); bySNI != nil; bySNI, h = t.hosts.next(k.Host, h) {
		for paths, s := bySNI.next(k.SNI, 0); paths != nil; paths, s = bySNI.next(k.SNI, s) {
			if r := paths.find(k); r != nil {
				return r
			}
		}
	}
	return nil
}

// Routes returns the routes in configuration order, with their methods and
// headers sorted. The slice is the caller's; the routes are the table's and must
// not be changed.
func (t *Table) Routes() []*Route { return slices.Clone(t.routes) }
