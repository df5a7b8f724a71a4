package routing_test

import (
	"fmt"
	"strings"
	"testing"

	"verigate/internal/race"
	"verigate/routing"
)

// A dominated table has many routes that differ in one key only, which is where
// an index could degrade to asking them one by one.
type dominated struct {
	name  string
	route func(tb testing.TB, i int, m *routing.Match)
	key   func(tb testing.TB, i int, k *routing.Key)
}

var dominations = []dominated{
	{"hosts",
		func(_ testing.TB, i int, m *routing.Match) { m.Host = fmt.Sprintf("shop-%d.prod.example", i) },
		func(_ testing.TB, i int, k *routing.Key) { k.Host = fmt.Sprintf("shop-%d.prod.example", i) }},
	{"wildcard hosts",
		func(_ testing.TB, i int, m *routing.Match) { m.Host = fmt.Sprintf("*.shop-%d.prod.example", i) },
		func(_ testing.TB, i int, k *routing.Key) { k.Host = fmt.Sprintf("api.eu.shop-%d.prod.example", i) }},
	{"server names",
		func(_ testing.TB, i int, m *routing.Match) { m.SNI = fmt.Sprintf("shop-%d.prod.example", i) },
		func(_ testing.TB, i int, k *routing.Key) { k.SNI = fmt.Sprintf("shop-%d.prod.example", i) }},
	{"path prefixes",
		func(_ testing.TB, i int, m *routing.Match) { m.Path = fmt.Sprintf("/v1/shops/shop-%d", i) },
		func(_ testing.TB, i int, k *routing.Key) { k.Path = fmt.Sprintf("/v1/shops/shop-%d/orders/17", i) }},
	{"exact paths",
		func(_ testing.TB, i int, m *routing.Match) {
			m.Path, m.PathExact = fmt.Sprintf("/v1/shops/shop-%d", i), true
		},
		func(_ testing.TB, i int, k *routing.Key) { k.Path = fmt.Sprintf("/v1/shops/shop-%d", i) }},
	{"callers",
		func(tb testing.TB, i int, m *routing.Match) {
			m.Caller = mustPattern(tb, fmt.Sprintf("spiffe://prod.example/ns/shop/sa/s%d", i))
		},
		func(tb testing.TB, i int, k *routing.Key) {
			k.Caller = mustID(tb, fmt.Sprintf("spiffe://prod.example/ns/shop/sa/s%d", i))
		}},
	{"caller prefixes",
		func(tb testing.TB, i int, m *routing.Match) {
			m.Caller = mustPattern(tb, fmt.Sprintf("spiffe://prod.example/ns/n%d/**", i))
		},
		func(tb testing.TB, i int, k *routing.Key) {
			k.Caller = mustID(tb, fmt.Sprintf("spiffe://prod.example/ns/n%d/sa/api", i))
		}},
	{"caller wildcards",
		func(tb testing.TB, i int, m *routing.Match) {
			m.Caller = mustPattern(tb, fmt.Sprintf("spiffe://prod.example/ns/*/sa/s%d", i))
		},
		func(tb testing.TB, i int, k *routing.Key) {
			k.Caller = mustID(tb, fmt.Sprintf("spiffe://prod.example/ns/shop/sa/s%d", i))
		}},
	{"header values",
		func(_ testing.TB, i int, m *routing.Match) {
			m.Headers = []routing.HeaderMatch{{Name: "X-Tenant", Value: fmt.Sprint("tenant-", i)}}
		},
		func(_ testing.TB, i int, k *routing.Key) {
			value := fmt.Sprint("tenant-", i)
			k.Header = func(string) (string, bool) { return value, true }
		}},
}

// build returns a table of n routes and keys[i] for route i.
func (d *dominated) build(tb testing.TB, n int) (*routing.Table, []routing.Key) {
	tb.Helper()
	routes, keys := make([]routing.Route, n), make([]routing.Key, n)
	id := mustID(tb, "spiffe://prod.example/ns/shop/sa/checkout")
	for i := range n {
		routes[i] = routing.Route{Name: fmt.Sprint("r", i), Upstream: "u", Match: routing.Match{Path: "/v1"}}
		keys[i] = routing.Key{Caller: id, SNI: "edge.prod.example", Host: "edge.prod.example", Path: "/v1/shops/17", Method: "GET"}
		d.route(tb, i, &routes[i].Match)
		d.key(tb, i, &keys[i])
	}
	return mustCompile(tb, routes...), keys
}

func TestEveryDominatedTableFindsItsRoutes(t *testing.T) {
	t.Parallel()
	for _, d := range dominations {
		table, keys := d.build(t, 500)
		for i := range keys {
			if got := table.Match(&keys[i]); name(got) != fmt.Sprint("r", i) {
				t.Errorf("%s: Match() of key %d = %s, want r%d", d.name, i, name(got), i)
			}
		}
	}
}

func TestLookUpsDoNotAllocate(t *testing.T) {
	if race.Enabled {
		return
	}
	for _, d := range dominations {
		table, keys := d.build(t, 100)
		id, header := keys[7].Caller, keys[7].Header
		var got *routing.Route
		var same bool
		if n := testing.AllocsPerRun(1000, func() {
			// As the gateway calls it: the key must stay on the stack.
			k := keys[7]
			got = table.Match(&routing.Key{Caller: id, SNI: k.SNI, Host: k.Host, Path: k.Path, Method: k.Method, Header: header})
		}); n != 0 || name(got) != "r7" {
			t.Errorf("%s: Match allocates %v times and finds %s, want 0 and r7", d.name, n, name(got))
		}
		if n := testing.AllocsPerRun(1000, func() { got = table.Match(&routing.Key{Host: "z", Path: "/z/../z"}) }); n != 0 || got != nil {
			t.Errorf("%s: Match allocates %v times to find no route, want 0", d.name, n)
		}
		if n := testing.AllocsPerRun(1000, func() { same = table.SameScope(keys[7].SNI, "other.example") }); n != 0 {
			t.Errorf("%s: SameScope allocates %v times, want 0 (it said %v)", d.name, n, same)
		}
	}
}

// Hostile names, paths and callers are bounded by the table, not by the request.
func TestHostileKeysFindNothing(t *testing.T) {
	t.Parallel()
	deepCaller := mustID(t, "spiffe://prod.example"+strings.Repeat("/a", 1000))
	table := mustCompile(t,
		routing.Route{Name: "a", Match: routing.Match{Host: "*.example", Path: "/a/a"}},
		routing.Route{Name: "b", Match: routing.Match{Path: "/b", Caller: mustPattern(t, "spiffe://prod.example/*/a/**")}},
	)
	for _, k := range []routing.Key{
		{Host: strings.Repeat("a.", 50_000), Path: "/a/a"},
		{Host: strings.Repeat(".", 50_000), Path: "/a/a"},
		{Host: "a.example", Path: strings.Repeat("/b", 50_000)},
		{Host: "a.example", Path: strings.Repeat("/", 50_000)},
		{Path: "/a", Caller: deepCaller},
		{Host: "\x00\xff", SNI: "\x00\xff", Path: "/\x00\xff", Method: "\x00"},
	} {
		if got := table.Match(&k); name(got) != "no route" {
			t.Errorf("Match() of a hostile key = %s, want no route: %.80q", name(got), fmt.Sprint(k))
		}
	}
	if got := table.Match(&routing.Key{Path: "/b", Caller: deepCaller}); name(got) != "b" {
		t.Errorf("Match() of a caller with 1000 segments = %s, want b", name(got))
	}
}

var benchSizes = []int{10, 1000, 100_000}

// BenchmarkMatch measures one hit in a table whose routes differ in one key. The
// keys go round in a stride, so that caches see all of the table.
func BenchmarkMatch(b *testing.B) {
	for _, d := range dominations {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/%d", d.name, n), func(b *testing.B) {
				table, keys := d.build(b, n)
				routes := table.Routes()
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					i = (i + 7919) % n // coprime to every n
					if table.Match(&keys[i]) != routes[i] {
						b.Fatalf("key %d does not find its route", i)
					}
				}
			})
		}
	}
}

// BenchmarkMatchMiss is a request for a name that no route is for.
func BenchmarkMatchMiss(b *testing.B) {
	table, _ := dominations[0].build(b, 100_000)
	k := &routing.Key{Host: "nobody.prod.example", SNI: "nobody.prod.example", Path: "/v1/shops/17", Method: "GET"}
	b.ReportAllocs()
	for b.Loop() {
		if table.Match(k) != nil {
			b.Fatal("a route was found")
		}
	}
}

// BenchmarkMatchHostile is the longest name that DNS has, label by label.
func BenchmarkMatchHostile(b *testing.B) {
	table, _ := dominations[1].build(b, 100_000)
	k := &routing.Key{Host: strings.Repeat("a.", 126) + "a", Path: "/v1/shops/17", Method: "GET"}
	b.ReportAllocs()
	for b.Loop() {
		if table.Match(k) != nil {
			b.Fatal("a route was found")
		}
	}
}

// BenchmarkSameScope is what every request pays whose host is not its SNI.
func BenchmarkSameScope(b *testing.B) {
	for _, n := range benchSizes {
		table, keys := dominations[1].build(b, n)
		host := keys[1].Host
		other := "other" + host
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !table.SameScope(other, host) {
					b.Fatal("two names of one wildcard are different scopes")
				}
			}
		})
	}
}

// BenchmarkCompile is what a reload pays.
func BenchmarkCompile(b *testing.B) {
	for _, d := range dominations {
		routes := make([]routing.Route, 100_000)
		for i := range routes {
			routes[i] = routing.Route{Name: fmt.Sprint("r", i)}
			d.route(b, i, &routes[i].Match)
		}
		b.Run(fmt.Sprintf("%s/%d", d.name, len(routes)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := routing.Compile(routes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
