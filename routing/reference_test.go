package routing_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"verigate/routing"
	"verigate/workloadid"
)

// The reference: every route is asked, and the order of the package comment is
// applied line by line. It is slow and has no index to be wrong about.

func referenceMatch(routes []routing.Route, k *routing.Key) (best *routing.Route, tied bool) {
	for i := range routes {
		r := &routes[i]
		if !matches(&r.Match, k) {
			continue
		}
		c := -1
		if best != nil {
			c = compareMatches(&r.Match, &best.Match)
		}
		if c < 0 {
			best, tied = r, false
		} else if c == 0 {
			tied = true
		}
	}
	return best, tied
}

func matches(m *routing.Match, k *routing.Key) bool {
	if !nameMatches(m.Host, k.Host) || !nameMatches(m.SNI, k.SNI) || !pathMatches(m, k.Path) {
		return false
	}
	if !m.Caller.IsZero() && !m.Caller.Match(k.Caller) {
		return false
	}
	if len(m.Methods) > 0 && !slices.Contains(m.Methods, k.Method) {
		return false
	}
	for _, h := range m.Headers {
		if k.Header == nil {
			return false
		}
		if got, once := k.Header(h.Name); !once || got != h.Value {
			return false
		}
	}
	return true
}

func nameMatches(pattern, name string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(name, suffix) && len(name) > len(suffix)
	}
	return pattern == "" || pattern == name
}

func pathMatches(m *routing.Match, path string) bool {
	if m.Path == "" {
		return path == "" || strings.HasPrefix(path, "/")
	}
	if m.PathExact {
		return path == m.Path
	}
	prefix := strings.TrimSuffix(m.Path, "/")
	return path != "" && (path == prefix || strings.HasPrefix(path, prefix+"/"))
}

func compareMatches(a, b *routing.Match) int {
	return cmp.Or(
		compareNames(a.Host, b.Host),
		compareNames(a.SNI, b.SNI),
		compareInts(pathRank(a), pathRank(b)),
		workloadid.ComparePatterns(a.Caller, b.Caller),
		compareInts(min(len(a.Methods), 1), min(len(b.Methods), 1)),
		compareInts(len(a.Headers), len(b.Headers)))
}

// compareNames compares two patterns that match the same name.
func compareNames(a, b string) int {
	rank := func(s string) int {
		switch {
		case s == "":
			return 0
		case s[0] == '*':
			return len(s)
		}
		return 1000
	}
	return compareInts(rank(a), rank(b))
}

// pathRank ranks paths that match the same path.
func pathRank(m *routing.Match) int {
	switch {
	case m.Path == "":
		return 0
	case m.PathExact:
		return 1000
	}
	return 1 + strings.Count(strings.TrimSuffix(m.Path, "/"), "/")
}

// compareInts has the larger first.
func compareInts(a, b int) int { return cmp.Compare(b, a) }

// referenceConflict reports whether neither a nor b is more specific and some
// request could match both.
func referenceConflict(a, b *routing.Match) bool {
	trim := func(m *routing.Match) string {
		if m.PathExact || m.Path == "/" {
			return m.Path
		}
		return strings.TrimSuffix(m.Path, "/")
	}
	if a.Host != b.Host || a.SNI != b.SNI || a.PathExact != b.PathExact || trim(a) != trim(b) || a.Caller != b.Caller {
		return false
	}
	if (len(a.Methods) == 0) != (len(b.Methods) == 0) || len(a.Headers) != len(b.Headers) {
		return false
	}
	if len(a.Methods) > 0 && !slices.ContainsFunc(a.Methods, func(m string) bool { return slices.Contains(b.Methods, m) }) {
		return false
	}
	for _, ha := range a.Headers {
		for _, hb := range b.Headers {
			if ha.Name == hb.Name && ha.Value != hb.Value {
				return false
			}
		}
	}
	return true
}

// sampler draws routes and keys from an alphabet so small that most keys match
// several routes.
type sampler struct {
	*rand.Rand
	callers []workloadid.Pattern
	ids     []workloadid.ID
}

func newSampler(tb testing.TB, seed uint64) *sampler {
	s := &sampler{Rand: rand.New(rand.NewPCG(seed, 0))}
	s.callers = make([]workloadid.Pattern, 4) // any, and often
	for _, p := range []string{
		"spiffe://t/**", "spiffe://t/x", "spiffe://t/x/**", "spiffe://t/*/y", "spiffe://t/x/*", "spiffe://t/x/y", "wimse://t/**",
	} {
		s.callers = append(s.callers, mustPattern(tb, p))
	}
	s.ids = []workloadid.ID{{}}
	for _, id := range []string{"spiffe://t/x", "spiffe://t/x/y", "spiffe://t/z/y", "spiffe://t/x/z", "wimse://t/x/y", "spiffe://u/x"} {
		s.ids = append(s.ids, mustID(tb, id))
	}
	return s
}

func (s *sampler) pick(of ...string) string { return of[s.IntN(len(of))] }

func (s *sampler) route(i int) routing.Route {
	r := routing.Route{Name: fmt.Sprint("r", i), Upstream: "u"}
	m := &r.Match
	m.Host = s.pick("", "", "a", "b.a", "*.a", "*.b.a", "c.b.a")
	m.SNI = s.pick("", "", "", "a", "*.a", "b.a")
	m.Path = s.pick("", "/", "/x", "/x/", "/x/y", "/x/y/z", "/y")
	m.PathExact = m.Path != "" && s.IntN(4) == 0
	m.Caller = s.callers[s.IntN(len(s.callers))]
	for _, method := range []string{"GET", "POST", "GET"} { // at times twice
		if s.IntN(4) == 0 {
			m.Methods = append(m.Methods, method)
		}
	}
	for _, name := range []string{"X-C", "X-A", "X-B"} {
		if s.IntN(4) == 0 {
			m.Headers = append(m.Headers, routing.HeaderMatch{Name: name, Value: s.pick("0", "1")})
		}
	}
	return r
}

// table returns up to n routes without conflicts.
func (s *sampler) table(n int) []routing.Route {
	var routes []routing.Route
	for i := range n {
		r := s.route(i)
		if !slices.ContainsFunc(routes, func(o routing.Route) bool { return referenceConflict(&o.Match, &r.Match) }) {
			routes = append(routes, r)
		}
	}
	return routes
}

func (s *sampler) key() *routing.Key {
	k := &routing.Key{
		Caller: s.ids[s.IntN(len(s.ids))],
		SNI:    s.pick("", "a", "b.a", "c.b.a", "z"),
		Host:   s.pick("", "a", "b.a", "c.b.a", "d.c.b.a", ".a", "a.", "ba", "z"),
		Path:   s.pick("", "/", "/x", "/x/", "/x/y", "/x/y/", "/x/y/z", "/x/y/z/0", "/xy", "/y", "/z", "*", "x"),
		Method: s.pick("GET", "POST", "PUT", ""),
	}
	if s.IntN(8) > 0 {
		values := map[string]string{}
		for _, name := range []string{"X-A", "X-B", "X-C"} {
			if s.IntN(3) > 0 {
				values[name] = s.pick("0", "1", "2")
			}
		}
		k.Header = func(name string) (string, bool) { v, ok := values[name]; return v, ok }
	}
	return k
}

func TestMatchAgreesWithAskingEveryRoute(t *testing.T) {
	t.Parallel()
	s := newSampler(t, 1)
	matched, contested := 0, 0
	for range 400 {
		routes := s.table(1 + s.IntN(60))
		table := mustCompile(t, routes...)
		for range 100 {
			k := s.key()
			want, tied := referenceMatch(routes, k)
			got := table.Match(k)
			if tied {
				t.Fatalf("Match(%+v): the order cannot tell two routes apart, and Compile did not say so:\n%s", k, dump(routes))
			}
			if name(got) != name(want) {
				t.Fatalf("Match(%+v) = %s, want %s among\n%s", k, name(got), name(want), dump(routes))
			}
			if want == nil {
				continue
			}
			matched++
			if slices.ContainsFunc(routes, func(r routing.Route) bool { return r.Name != want.Name && matches(&r.Match, k) }) {
				contested++
			}
		}
	}
	if matched < 10_000 || contested < 3_000 {
		t.Errorf("%d keys matched and %d of them several routes: the test proves little", matched, contested)
	}
}

func TestOrderOfConfigurationDoesNotMatter(t *testing.T) {
	t.Parallel()
	s := newSampler(t, 2)
	for range 100 {
		routes := s.table(40)
		shuffled := slices.Clone(routes)
		s.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		one, other := mustCompile(t, routes...), mustCompile(t, shuffled...)
		for range 50 {
			k := s.key()
			if a, b := one.Match(k), other.Match(k); name(a) != name(b) {
				t.Fatalf("Match(%+v) = %s, and %s in another order of configuration:\n%s", k, name(a), name(b), dump(routes))
			}
		}
	}
}

func TestCompileFindsExactlyTheConflicts(t *testing.T) {
	t.Parallel()
	s := newSampler(t, 3)
	conflicting := 0
	for range 3000 {
		routes := make([]routing.Route, 2+s.IntN(6))
		for i := range routes {
			routes[i] = s.route(i)
			// Few hosts and callers, so that methods and headers decide.
			routes[i].Match.Host, routes[i].Match.SNI, routes[i].Match.Caller = "", "", workloadid.Pattern{}
			routes[i].Match.Path, routes[i].Match.PathExact = s.pick("/x", "/x/", "/y"), false
		}
		_, err := routing.Compile(routes)
		named := map[string]bool{}
		for _, fault := range faults(t, err) {
			if fault.Reason != routing.ReasonConflict {
				t.Fatalf("Compile() = %v, want conflicts only", fault)
			}
			a, b := find(t, routes, fault.Route), find(t, routes, fault.Other)
			if !referenceConflict(&a.Match, &b.Match) {
				t.Fatalf("Compile() = %v, but the two do not conflict:\n%s", fault, dump(routes))
			}
			named[fault.Route], named[fault.Other] = true, true
		}
		for i := range routes {
			for j := range i {
				a, b := &routes[i], &routes[j]
				if referenceConflict(&a.Match, &b.Match) && !named[a.Name] && !named[b.Name] {
					t.Fatalf("Compile() = %v names neither %s nor %s, which conflict:\n%s", err, a.Name, b.Name, dump(routes))
				}
			}
		}
		if err != nil {
			conflicting++
		}
	}
	if conflicting < 500 || conflicting > 2900 {
		t.Errorf("%d of 3000 tables had conflicts: the test proves little", conflicting)
	}
}

func find(t *testing.T, routes []routing.Route, name string) *routing.Route {
	t.Helper()
	i := slices.IndexFunc(routes, func(r routing.Route) bool { return r.Name == name })
	if i < 0 {
		t.Fatalf("a fault names route %q, which does not exist", name)
	}
	return &routes[i]
}

func name(r *routing.Route) string {
	if r == nil {
		return "no route"
	}
	return r.Name
}

func dump(routes []routing.Route) string {
	var b strings.Builder
	for _, r := range routes {
		fmt.Fprintf(&b, "%s: %+v\n", r.Name, r.Match)
	}
	return b.String()
}
