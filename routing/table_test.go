package routing_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"verigate/routing"
	"verigate/workloadid"
)

func mustID(tb testing.TB, s string) workloadid.ID {
	tb.Helper()
	id, err := workloadid.Parse(s)
	if err != nil {
		tb.Fatalf("Parse(%q) = %v", s, err)
	}
	return id
}

func mustPattern(tb testing.TB, s string) workloadid.Pattern {
	tb.Helper()
	p, err := workloadid.ParsePattern(s)
	if err != nil {
		tb.Fatalf("ParsePattern(%q) = %v", s, err)
	}
	return p
}

func mustCompile(tb testing.TB, routes ...routing.Route) *routing.Table {
	tb.Helper()
	table, err := routing.Compile(routes)
	if err != nil {
		tb.Fatalf("Compile() = %v", err)
	}
	return table
}

// faults returns the parts of an error of Compile.
func faults(tb testing.TB, err error) (all []*routing.Error) {
	tb.Helper()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		tb.Fatalf("Compile() = %T %v, want joined errors", err, err)
	}
	for _, e := range joined.Unwrap() {
		fault, ok := errors.AsType[*routing.Error](e)
		if !ok {
			tb.Fatalf("Compile() has a %T %v, want only *routing.Error", e, e)
		}
		all = append(all, fault)
	}
	return all
}

// headers returns a Key.Header over name, value pairs; "Name" with several
// values does not count, as the contract of Key says.
func headers(pairs ...string) func(string) (string, bool) {
	return func(name string) (value string, once bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				if once {
					return "", false
				}
				value, once = pairs[i+1], true
			}
		}
		return value, once
	}
}

// TestMostSpecificRouteWins is the list of the package comment. In every line
// both routes match the key, the first wins, and it does so although the second
// is more specific in everything that comes later in the order.
func TestMostSpecificRouteWins(t *testing.T) {
	t.Parallel()
	exact := mustPattern(t, "spiffe://prod.example/ns/a/sa/b")
	star := mustPattern(t, "spiffe://prod.example/ns/*/sa/b")
	prefix := mustPattern(t, "spiffe://prod.example/ns/**")
	origin := mustPattern(t, "spiffe://prod.example/**")
	get := []string{"GET"}
	one := []routing.HeaderMatch{{Name: "X-A", Value: "1"}}
	two := []routing.HeaderMatch{{Name: "X-A", Value: "1"}, {Name: "X-B", Value: "2"}}
	key := &routing.Key{
		Caller: mustID(t, "spiffe://prod.example/ns/a/sa/b"), SNI: "x.y.example", Host: "x.y.example", Path: "/a/b/c",
		Method: "GET", Header: headers("X-A", "1", "X-B", "2"),
	}
	const host, path = "x.y.example", "/a/b/c"
	type m = routing.Match
	for _, tt := range []struct {
		claim       string
		wins, loses m
	}{
		{"1 host: exact before wildcard", m{Host: host},
			m{Host: "*.y.example", SNI: host, Path: path, PathExact: true, Caller: exact, Methods: get, Headers: two}},
		{"1 host: longer suffix before shorter", m{Host: "*.y.example"},
			m{Host: "*.example", SNI: host, Path: path, PathExact: true, Caller: exact, Methods: get, Headers: two}},
		{"1 host: wildcard before any", m{Host: "*.example"},
			m{SNI: host, Path: path, PathExact: true, Caller: exact, Methods: get, Headers: two}},
		{"2 SNI: exact before wildcard", m{SNI: host},
			m{SNI: "*.y.example", Path: path, PathExact: true, Caller: exact, Methods: get, Headers: two}},
		{"2 SNI: longer suffix before shorter", m{SNI: "*.y.example"},
			m{SNI: "*.example", Path: path, PathExact: true, Caller: exact, Methods: get, Headers: two}},
		{"2 SNI: wildcard before any", m{SNI: "*.example"},
			m{Path: path, PathExact: true, Caller: exact, Methods: get, Headers: two}},
		{"3 path: exact before the same prefix", m{Path: path, PathExact: true},
			m{Path: path, Caller: exact, Methods: get, Headers: two}},
		{"3 path: longer prefix before shorter", m{Path: "/a/b"},
			m{Path: "/a", Caller: exact, Methods: get, Headers: two}},
		{"3 path: prefix before root", m{Path: "/a"},
			m{Path: "/", Caller: exact, Methods: get, Headers: two}},
		{"3 path: root before any", m{Path: "/"},
			m{Caller: exact, Methods: get, Headers: two}},
		{"4 caller: exact before wildcard", m{Caller: exact},
			m{Caller: star, Methods: get, Headers: two}},
		{"4 caller: one segment before the rest", m{Caller: star},
			m{Caller: prefix, Methods: get, Headers: two}},
		{"4 caller: longer prefix before the whole origin", m{Caller: prefix},
			m{Caller: origin, Methods: get, Headers: two}},
		{"4 caller: the whole origin before any", m{Caller: origin},
			m{Methods: get, Headers: two}},
		{"5 methods: a set before any", m{Methods: get},
			m{Headers: two}},
		{"6 headers: more before fewer", m{Headers: two},
			m{Headers: one}},
		{"6 headers: some before none", m{Headers: one},
			m{}},
	} {
		for _, order := range [][]string{{"wins", "loses"}, {"loses", "wins"}} {
			var routes []routing.Route
			for _, role := range order {
				match := tt.wins
				if role == "loses" {
					match = tt.loses
				}
				routes = append(routes, routing.Route{Name: role, Match: match})
			}
			for _, r := range routes {
				if alone := mustCompile(t, r).Match(key); alone == nil {
					t.Errorf("%s: the route that %s does not match at all", tt.claim, r.Name)
				}
			}
			if got := mustCompile(t, routes...).Match(key); name(got) != "wins" {
				t.Errorf("%s: Match() = %q in the order %v, want %q", tt.claim, name(got), order, "wins")
			}
		}
	}
}

func TestWhatMatches(t *testing.T) {
	t.Parallel()
	shop := mustPattern(t, "spiffe://prod.example/ns/shop/**")
	type m = routing.Match
	type k = routing.Key
	for _, tt := range []struct {
		claim string
		match m
		key   k
		want  bool
	}{
		{"a match without fields matches anything", m{}, k{Host: "a", Path: "/x", Method: "GET"}, true},
		{"an exact host", m{Host: "a.example"}, k{Host: "a.example", Path: "/"}, true},
		{"another host", m{Host: "a.example"}, k{Host: "b.example", Path: "/"}, false},
		{"a host is no suffix", m{Host: "a.example"}, k{Host: "x.a.example", Path: "/"}, false},
		{"a trailing dot is another name", m{Host: "a.example"}, k{Host: "a.example.", Path: "/"}, false},
		{"hosts come in lowercase", m{Host: "a.example"}, k{Host: "A.example", Path: "/"}, false},
		{"a wildcard at one label", m{Host: "*.example"}, k{Host: "a.example", Path: "/"}, true},
		{"a wildcard at any depth", m{Host: "*.example"}, k{Host: "c.b.a.example", Path: "/"}, true},
		{"a wildcard is not its suffix", m{Host: "*.example"}, k{Host: "example", Path: "/"}, false},
		{"a wildcard needs a label", m{Host: "*.example"}, k{Host: ".example", Path: "/"}, false},
		{"a wildcard ends at a dot", m{Host: "*.example"}, k{Host: "badexample", Path: "/"}, false},
		{"a wildcard is no name", m{Host: "*.example"}, k{Host: "*.example.org", Path: "/"}, false},
		{"no host", m{Host: "a.example"}, k{Path: "/"}, false},
		{"an IPv6 address", m{Host: "[::1]"}, k{Host: "[::1]", Path: "/"}, true},
		{"SNI decides beside the host", m{SNI: "a.example"}, k{SNI: "a.example", Host: "b.example", Path: "/"}, true},
		{"another SNI", m{SNI: "a.example"}, k{SNI: "b.example", Host: "a.example", Path: "/"}, false},
		{"no SNI", m{SNI: "*.example"}, k{Host: "a.example", Path: "/"}, false},

		{"a prefix is itself", m{Path: "/pay"}, k{Path: "/pay"}, true},
		{"a prefix with a slash behind", m{Path: "/pay"}, k{Path: "/pay/"}, true},
		{"a prefix of segments", m{Path: "/pay"}, k{Path: "/pay/x/y"}, true},
		{"a prefix ends at a segment", m{Path: "/pay"}, k{Path: "/payroll"}, false},
		{"a prefix is no suffix", m{Path: "/pay"}, k{Path: "/x/pay"}, false},
		{"a prefix keeps its case", m{Path: "/pay"}, k{Path: "/Pay"}, false},
		{"a final slash of a prefix means nothing", m{Path: "/v1/"}, k{Path: "/v1"}, true},
		{"a final slash of a prefix means nothing deeper", m{Path: "/v1/"}, k{Path: "/v1/x"}, true},
		{"a final slash does not open the segment", m{Path: "/v1/"}, k{Path: "/v1x"}, false},
		{"the root is the prefix of all", m{Path: "/"}, k{Path: "/x/y"}, true},
		{"the root is the prefix of itself", m{Path: "/"}, k{Path: "/"}, true},
		{"an exact path", m{Path: "/pay", PathExact: true}, k{Path: "/pay"}, true},
		{"an exact path has nothing behind", m{Path: "/pay", PathExact: true}, k{Path: "/pay/x"}, false},
		{"an exact path has no final slash", m{Path: "/pay", PathExact: true}, k{Path: "/pay/"}, false},
		{"unless it is there", m{Path: "/pay/", PathExact: true}, k{Path: "/pay/"}, true},
		{"and then it is needed", m{Path: "/pay/", PathExact: true}, k{Path: "/pay"}, false},
		{"the exact root", m{Path: "/", PathExact: true}, k{Path: "/x"}, false},
		{"what is not HTTP has no path", m{Host: "a.example"}, k{Host: "a.example"}, true},
		{"and matches no route with one", m{Path: "/"}, k{}, false},

		{"a caller", m{Caller: shop}, k{Caller: mustID(t, "spiffe://prod.example/ns/shop/sa/x"), Path: "/"}, true},
		{"another caller", m{Caller: shop}, k{Caller: mustID(t, "spiffe://prod.example/ns/shopping/sa/x"), Path: "/"}, false},
		{"another origin", m{Caller: shop}, k{Caller: mustID(t, "wimse://prod.example/ns/shop/sa/x"), Path: "/"}, false},
		{"no caller", m{Caller: shop}, k{Path: "/"}, false},

		{"a method of the set", m{Methods: []string{"POST", "GET"}}, k{Path: "/", Method: "GET"}, true},
		{"another method", m{Methods: []string{"POST", "GET"}}, k{Path: "/", Method: "PUT"}, false},
		{"GET does not include HEAD", m{Methods: []string{"GET"}}, k{Path: "/", Method: "HEAD"}, false},
		{"methods keep their case", m{Methods: []string{"GET"}}, k{Path: "/", Method: "get"}, false},
		{"no method", m{Methods: []string{"GET"}}, k{Path: "/"}, false},

		{"a header", m{Headers: []routing.HeaderMatch{{Name: "X-A", Value: "1"}}}, k{Path: "/", Header: headers("X-A", "1")}, true},
		{"names of headers have no case", m{Headers: []routing.HeaderMatch{{Name: "x-a", Value: "1"}}}, k{Path: "/", Header: headers("X-A", "1")}, true},
		{"another value", m{Headers: []routing.HeaderMatch{{Name: "X-A", Value: "1"}}}, k{Path: "/", Header: headers("X-A", "11")}, false},
		{"values keep their case", m{Headers: []routing.HeaderMatch{{Name: "X-A", Value: "a"}}}, k{Path: "/", Header: headers("X-A", "A")}, false},
		{"an empty value has to be there", m{Headers: []routing.HeaderMatch{{Name: "X-A"}}}, k{Path: "/", Header: headers("X-B", "")}, false},
		{"an empty value that is there", m{Headers: []routing.HeaderMatch{{Name: "X-A"}}}, k{Path: "/", Header: headers("X-A", "")}, true},
		{"the same header twice", m{Headers: []routing.HeaderMatch{{Name: "X-A", Value: "1"}}}, k{Path: "/", Header: headers("X-A", "1", "X-A", "1")}, false},
		{"one of two headers", m{Headers: []routing.HeaderMatch{{Name: "X-A", Value: "1"}, {Name: "X-B", Value: "2"}}}, k{Path: "/", Header: headers("X-A", "1")}, false},
		{"no headers at all", m{Headers: []routing.HeaderMatch{{Name: "X-A", Value: "1"}}}, k{Path: "/"}, false},
	} {
		if got := mustCompile(t, routing.Route{Name: "r", Match: tt.match}).Match(&tt.key); (got != nil) != tt.want {
			t.Errorf("%s: %+v matches %+v: %v, want %v", tt.claim, tt.match, tt.key, got != nil, tt.want)
		}
	}
}

// AUTHZ-07: the path that is routed is the path that the backend sees, so one
// that the two could read differently has no route, not even a general one.
func TestAmbiguousPathsHaveNoRoute(t *testing.T) {
	t.Parallel()
	table := mustCompile(t,
		routing.Route{Name: "all", Match: routing.Match{Path: "/"}},
		routing.Route{Name: "rest"},
		routing.Route{Name: "sell", Match: routing.Match{Path: "/v1/x:sell"}},
	)
	for _, path := range []string{
		"/..", "/../admin", "/a/../admin", "/a/..", "/.", "/a/./b", "/./a", // dot segments
		"//", "//admin", "/a//b", "/a//", // empty segments
		"/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb", "/%2e%2e/admin", "/a/%2E", // another party may see other segments
		"/%61dmin", "/%41dmin", "/a%7eb", "/a%2db", // another spelling of an unreserved octet
		"/v1/x%3asell", "/v1/x%3Asell", "/other%3A", // ":" is literal in this table
		"/a%00", "/a%0a", "/a%0D", "/a%7f", "/a%1f", // controls
		"/%", "/%4", "/%zz", "/a%4g", "/a%g4", "/a%", "/a%2", // no escapes at all
		"/a\\b", "/a#b", "/a?b", "/a b", "/a\x00", "/a\tb", "/a\x7f", "/\xff", "/caf\u00e9", `/a"b`, "/a|b", "/[a]", "/a^b", "/{a}", "/<a>", "/a`b", // no octets of a path
		"*", "admin", "a/b", "http://a/b", "?", ".", "..", " /a", // not absolute (CVE-2026-33186)
	} {
		if got := table.Match(&routing.Key{Path: path}); got != nil {
			t.Errorf("Match() of the path %q = %q, want no route", path, got.Name)
		}
	}
	for _, path := range []string{
		"/", "/a", "/a/", "/a/b/", "/...", "/.a", "/a.", "/..a", "/a..b", "/a%20b", "/caf%C3%A9", "/caf%c3%a9", "/a%2B", "/a%25", "/a+b!$&'()*,;=:@~-._", "/a%3Fb",
	} {
		if got := table.Match(&routing.Key{Path: path}); name(got) != "all" {
			t.Errorf("Match() of the path %q = %q, want %q", path, name(got), "all")
		}
	}
	if got := table.Match(&routing.Key{Path: "/v1/x:sell"}); name(got) != "sell" {
		t.Errorf("Match() of the path /v1/x:sell = %q, want %q", name(got), "sell")
	}
	without := mustCompile(t, routing.Route{Name: "all", Match: routing.Match{Path: "/"}})
	if got := without.Match(&routing.Key{Path: "/v1/x%3Asell"}); name(got) != "all" {
		t.Errorf("Match() of /v1/x%%3Asell = %q in a table without that colon, want %q", name(got), "all")
	}
}

// When the routes of the most specific bucket turn out not to match, the next
// bucket is asked, in every dimension.
func TestFallback(t *testing.T) {
	t.Parallel()
	caller := mustPattern(t, "spiffe://t/x")
	table := mustCompile(t,
		routing.Route{Name: "deep", Match: routing.Match{Host: "a.example", SNI: "a.example", Path: "/x/y", PathExact: true, Caller: caller, Methods: []string{"GET"}}},
		routing.Route{Name: "path", Match: routing.Match{Host: "a.example", SNI: "a.example", Path: "/x", Methods: []string{"PUT"}}},
		routing.Route{Name: "sni", Match: routing.Match{Host: "a.example", Methods: []string{"POST"}}},
		routing.Route{Name: "wild", Match: routing.Match{Host: "*.example", Methods: []string{"HEAD"}}},
		routing.Route{Name: "any", Match: routing.Match{Methods: []string{"PATCH"}}},
	)
	for method, want := range map[string]string{
		"GET": "deep", "PUT": "path", "POST": "sni", "HEAD": "wild", "PATCH": "any", "DELETE": "no route",
	} {
		k := &routing.Key{Host: "a.example", SNI: "a.example", Path: "/x/y", Method: method, Caller: mustID(t, "spiffe://t/x")}
		if got := table.Match(k); name(got) != want {
			t.Errorf("Match() of method %s = %s, want %s", method, name(got), want)
		}
	}
}

func TestATableOfNoRoutesMatchesNothing(t *testing.T) {
	t.Parallel()
	table := mustCompile(t)
	if got := table.Match(&routing.Key{Host: "a", Path: "/"}); got != nil {
		t.Errorf("Match() = %q, want no route: there is no default (ROUTE-02)", got.Name)
	}
	if got := table.Routes(); len(got) != 0 {
		t.Errorf("Routes() = %v, want none", got)
	}
}

func TestRoutesAreCopiesInConfigurationOrder(t *testing.T) {
	t.Parallel()
	methods := []string{"PUT", "GET", "PUT"}
	asked := []routing.HeaderMatch{{Name: "x-b", Value: "2"}, {Name: "x-a", Value: "1"}}
	in := []routing.Route{
		{Name: "b", Upstream: "ub", Index: 7, Match: routing.Match{Path: "/b/", Methods: methods, Headers: asked}},
		{Name: "a", Upstream: "ua", Match: routing.Match{Path: "/"}},
	}
	table := mustCompile(t, in...)
	if methods[0] != "PUT" || asked[0] != (routing.HeaderMatch{Name: "x-b", Value: "2"}) {
		t.Errorf("Compile changed its argument: methods %q, headers %q", methods, asked)
	}
	methods[0], asked[0].Value, in[0].Name = "DELETE", "changed", "changed"
	routes := table.Routes()
	if len(routes) != 2 || routes[0].Name != "b" || routes[1].Name != "a" || routes[0].Index != 0 || routes[1].Index != 1 {
		t.Fatalf("Routes() = %+v, %+v; want b and a with the indices 0 and 1", routes[0], routes[1])
	}
	if m := routes[0].Match; m.Path != "/b/" || !slices.Equal(m.Methods, []string{"GET", "PUT"}) {
		t.Errorf("Routes()[0] matches path %q and methods %q, want /b/ and GET, PUT", m.Path, m.Methods)
	}
	if got := table.Match(&routing.Key{Path: "/b/x", Method: "PUT", Header: headers("X-A", "1", "X-B", "2")}); got != routes[0] || got.Upstream != "ub" {
		t.Errorf("Match() = %p, want the very route of Routes(), %p", got, routes[0])
	}
	routes[0] = nil
	if table.Routes()[0] == nil {
		t.Error("a change of the slice that Routes returned changed the table")
	}
}

func TestCompileRefuses(t *testing.T) {
	type m = routing.Match
	one := func(name, value string) m {
		return m{Headers: []routing.HeaderMatch{{Name: name, Value: value}}}
	}
	label := strings.Repeat("a", 64)
	for _, tt := range []struct {
		claim string
		match m
		want  routing.Reason
		value string
	}{
		{"a host in capitals", m{Host: "A.example"}, routing.ReasonHost, "A.example"},
		{"a host with port", m{Host: "a.example:443"}, routing.ReasonHost, "a.example:443"},
		{"a host with final dot", m{Host: "a.example."}, routing.ReasonHost, "a.example."},
		{"a host with empty label", m{Host: "a..example"}, routing.ReasonHost, "a..example"},
		{"a host with long label", m{Host: label}, routing.ReasonHost, label},
		{"a host that is too long", m{Host: strings.Repeat("a.", 127) + "a"}, routing.ReasonHost, strings.Repeat("a.", 127) + "a"},
		{"a host that is no ASCII", m{Host: "b\u00fccher.example"}, routing.ReasonHost, "b\u00fccher.example"},
		{"a lone star", m{Host: "*"}, routing.ReasonHost, "*"},
		{"a star and a dot", m{Host: "*."}, routing.ReasonHost, "*."},
		{"a star in the middle", m{Host: "a.*.example"}, routing.ReasonHost, "a.*.example"},
		{"a star in a label", m{Host: "a*.example"}, routing.ReasonHost, "a*.example"},
		{"two stars", m{Host: "*.*.example"}, routing.ReasonHost, "*.*.example"},
		{"IPv6 without brackets", m{Host: "::1"}, routing.ReasonHost, "::1"},
		{"IPv6 in another spelling", m{Host: "[0:0::1]"}, routing.ReasonHost, "[0:0::1]"},
		{"IPv6 with zone", m{Host: "[fe80::1%1]"}, routing.ReasonHost, "[fe80::1%1]"},
		{"IPv4 in brackets", m{Host: "[10.0.0.1]"}, routing.ReasonHost, "[10.0.0.1]"},
		{"a bracket that is open", m{Host: "[::1"}, routing.ReasonHost, "[::1"},
		{"a server name that is an address", m{SNI: "10.0.0.1"}, routing.ReasonSNI, "10.0.0.1"},
		{"a server name in capitals", m{SNI: "A.example"}, routing.ReasonSNI, "A.example"},
		{"a server name that is IPv6", m{SNI: "[::1]"}, routing.ReasonSNI, "[::1]"},
		{"a path without slash", m{Path: "pay"}, routing.ReasonPath, "pay"},
		{"a path with a wildcard host", m{Path: "*"}, routing.ReasonPath, "*"},
		{"a path with empty segment", m{Path: "/a//b"}, routing.ReasonPath, "/a//b"},
		{"a path of slashes", m{Path: "//"}, routing.ReasonPath, "//"},
		{"a path with dot segment", m{Path: "/a/./b"}, routing.ReasonPath, "/a/./b"},
		{"a path that goes up", m{Path: "/a/.."}, routing.ReasonPath, "/a/.."},
		{"a path with query", m{Path: "/a?b"}, routing.ReasonPath, "/a?b"},
		{"a path with escape", m{Path: "/a%20b"}, routing.ReasonPath, "/a%20b"},
		{"a path with space", m{Path: "/a b"}, routing.ReasonPath, "/a b"},
		{"an exact path without path", m{PathExact: true}, routing.ReasonPath, ""},
		{"a method in small letters", m{Methods: []string{"get"}}, routing.ReasonMethod, "get"},
		{"an empty method", m{Methods: []string{""}}, routing.ReasonMethod, ""},
		{"a method that is no token", m{Methods: []string{"GET POST"}}, routing.ReasonMethod, "GET POST"},
		{"a header without name", one("", "x"), routing.ReasonHeader, ": x"},
		{"a header that is no token", one("x y", "x"), routing.ReasonHeader, "x y: x"},
		{"a pseudo-header", one(":path", "x"), routing.ReasonHeader, ":path: x"},
		{"the host as a header", one("host", "x"), routing.ReasonHeader, "Host: x"},
		{"a value with control", one("X-A", "x\n"), routing.ReasonHeader, "X-A: x\n"},
		{"a value with space around", one("X-A", " x"), routing.ReasonHeader, "X-A:  x"},
		{"a header twice", m{Headers: []routing.HeaderMatch{{Name: "X-A", Value: "1"}, {Name: "x-a", Value: "2"}}}, routing.ReasonHeader, "X-A: 2"},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			table, err := routing.Compile([]routing.Route{{Name: "good"}, {Name: "bad", Match: tt.match}})
			all := faults(t, err)
			if len(all) != 1 || all[0].Reason != tt.want || all[0].Route != "bad" || all[0].Index != 1 || all[0].Value != tt.value || table != nil {
				t.Fatalf("Compile() = %v, want no table and reason %q of %q", err, tt.want, tt.value)
			}
			if s := err.Error(); !strings.Contains(s, `"bad"`) || !strings.Contains(s, fmt.Sprintf("%q", tt.value)) {
				t.Errorf("Compile() = %q, want it to name the route and %q", s, tt.value)
			}
		})
	}
}

func TestCompileRefusesNames(t *testing.T) {
	t.Parallel()
	_, err := routing.Compile([]routing.Route{
		{Name: "a", Match: routing.Match{Path: "/1"}}, {Match: routing.Match{Path: "/2"}}, {Name: "a", Match: routing.Match{Path: "/3"}},
		{Name: "b", Match: routing.Match{Path: "4"}},
	})
	var got []string
	for _, fault := range faults(t, err) {
		got = append(got, fmt.Sprint(fault.Index, " ", uint8(fault.Reason)))
	}
	want := []string{
		fmt.Sprint(1, " ", uint8(routing.ReasonNoName)), fmt.Sprint(2, " ", uint8(routing.ReasonDuplicateName)), fmt.Sprint(3, " ", uint8(routing.ReasonPath)),
	}
	if !slices.Equal(got, want) {
		t.Errorf("Compile() = %v with faults %q, want all of %q", err, got, want)
	}
}

func TestCompileRefusesWhatTheOrderCannotTellApart(t *testing.T) {
	t.Parallel()
	type m = routing.Match
	type h = routing.HeaderMatch
	caller := mustPattern(t, "spiffe://t/**")
	for _, tt := range []struct {
		claim string
		a, b  m
		want  bool
	}{
		{"the same in everything", m{Host: "a", SNI: "a", Path: "/x", Caller: caller}, m{Host: "a", SNI: "a", Path: "/x", Caller: caller}, true},
		{"two that match anything", m{}, m{}, true},
		{"a prefix and itself with a slash", m{Path: "/x"}, m{Path: "/x/"}, true},
		{"a prefix and an exact path", m{Path: "/x"}, m{Path: "/x", PathExact: true}, false},
		{"exact paths with and without slash", m{Path: "/x", PathExact: true}, m{Path: "/x/", PathExact: true}, false},
		{"the root and any path", m{Path: "/"}, m{}, false},
		{"different hosts", m{Host: "a"}, m{Host: "b"}, false},
		{"methods that overlap", m{Methods: []string{"GET", "PUT"}}, m{Methods: []string{"PUT", "POST"}}, true},
		{"methods within others", m{Methods: []string{"GET", "PUT"}}, m{Methods: []string{"GET"}}, true},
		{"methods that are disjoint", m{Methods: []string{"GET"}}, m{Methods: []string{"PUT"}}, false},
		{"methods and none", m{Methods: []string{"GET"}}, m{}, false},
		{"different headers", m{Headers: []h{{"X-A", "1"}}}, m{Headers: []h{{"X-B", "1"}}}, true},
		{"one header with two values", m{Headers: []h{{"X-A", "1"}}}, m{Headers: []h{{"X-A", "2"}}}, false},
		{"one header in two spellings", m{Headers: []h{{"X-A", "1"}}}, m{Headers: []h{{"x-a", "1"}}}, true},
		{"the same headers in another order", m{Headers: []h{{"X-A", "1"}, {"X-B", "2"}}}, m{Headers: []h{{"X-B", "2"}, {"X-A", "1"}}}, true},
		{"a shared header that differs", m{Headers: []h{{"X-A", "1"}, {"X-B", "1"}}}, m{Headers: []h{{"X-A", "2"}, {"X-C", "1"}}}, false},
		{"a shared header that does not", m{Headers: []h{{"X-A", "1"}, {"X-B", "1"}}}, m{Headers: []h{{"X-A", "1"}, {"X-C", "1"}}}, true},
		{"more headers and fewer", m{Headers: []h{{"X-A", "1"}, {"X-B", "1"}}}, m{Headers: []h{{"X-C", "1"}}}, false},
		{"different headers with disjoint methods", m{Methods: []string{"GET"}, Headers: []h{{"X-A", "1"}}}, m{Methods: []string{"PUT"}, Headers: []h{{"X-B", "1"}}}, false},
		{"values that would run together", m{Headers: []h{{"X-A", "12"}, {"X-B", "3"}}}, m{Headers: []h{{"X-A", "1"}, {"X-B", "23"}}}, false},
	} {
		for _, pair := range [][2]m{{tt.a, tt.b}, {tt.b, tt.a}} {
			_, err := routing.Compile([]routing.Route{{Name: "first", Match: pair[0]}, {Name: "second", Match: pair[1]}})
			all := faults(t, err)
			if !tt.want {
				if err != nil {
					t.Errorf("%s: Compile() = %v, want no error", tt.claim, err)
				}
				continue
			}
			if len(all) != 1 || all[0].Reason != routing.ReasonConflict || all[0].Route != "second" || all[0].Other != "first" || all[0].Index != 1 {
				t.Errorf("%s: Compile() = %v, want one conflict of second with first", tt.claim, err)
				continue
			}
			if s := err.Error(); !strings.Contains(s, `"first"`) || !strings.Contains(s, `"second"`) || !strings.Contains(s, "more specific") {
				t.Errorf("%s: Compile() = %q, want it to name both and say what to change", tt.claim, s)
			}
		}
	}
}

func TestEveryReasonHasItsSentence(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for r := routing.ReasonNone; r <= routing.ReasonConflict; r++ {
		s := r.String()
		if seen[s] || s == "" || strings.HasPrefix(s, "routing.") {
			t.Errorf("Reason(%d).String() = %q, want a sentence of its own", r, s)
		}
		seen[s] = true
	}
	if got, want := routing.Reason(200).String(), "routing.Reason(200)"; got != want {
		t.Errorf("Reason(200).String() = %q, want %q", got, want)
	}
}

// TLS-10, with the examples of the package comment.
func TestSameScope(t *testing.T) {
	t.Parallel()
	route := func(sni, host string) routing.Route {
		return routing.Route{Name: sni + " " + host, Match: routing.Match{SNI: sni, Host: host}}
	}
	plain := mustCompile(t, route("", "a.example"), route("", "b.example"), route("", "*.dev.example"), route("", "*.eu.dev.example"))
	edge := mustCompile(t, route("", "b.example"), route("edge.example", "b.example"), route("front.example", ""), route("", "c.example"),
		route("*.mesh.example", "*.svc.example"), route("", "own.svc.example"))
	address := mustCompile(t, route("", "10.0.0.1"), route("", "[::1]"), route("", "a.example"))
	none := mustCompile(t)
	for _, tt := range []struct {
		claim     string
		table     *routing.Table
		sni, host string
		want      bool
	}{
		{"equal names", plain, "a.example", "a.example", true},
		{"equal names that no route mentions", plain, "z.example", "z.example", true},
		{"another host", plain, "a.example", "b.example", false},
		{"one wildcard serves both", plain, "x.dev.example", "y.dev.example", true},
		{"at any depth", plain, "x.dev.example", "x.y.dev.example", true},
		{"the more specific wildcard is a scope of its own", plain, "x.dev.example", "x.eu.dev.example", false},
		{"and the other way", plain, "x.eu.dev.example", "x.dev.example", false},
		{"the suffix is not under its wildcard", plain, "x.dev.example", "dev.example", false},
		{"a name without routes does not reach one with", plain, "z.example", "a.example", false},
		{"nor the other way", plain, "a.example", "z.example", false},
		{"names that no route mentions", plain, "y.example", "z.example", true},
		{"no SNI and a host with routes", plain, "", "a.example", false},
		{"no SNI and a host under a wildcard", plain, "", "x.dev.example", false},
		{"no SNI and a host that no route mentions", plain, "", "z.example", true},
		{"a trailing dot is another name", plain, "a.example", "a.example.", false},
		{"no host", plain, "a.example", "", false},
		{"no host where nothing is mentioned", plain, "z.example", "", true},

		{"a route names both", edge, "edge.example", "b.example", true},
		{"in that direction only", edge, "b.example", "edge.example", false},
		{"and no other host", edge, "edge.example", "c.example", false},
		{"nor unmentioned hosts", edge, "edge.example", "z.example", false},
		{"a route with SNI and any host", edge, "front.example", "z.example", true},
		{"any host is not one with routes of its own", edge, "front.example", "b.example", false},
		{"nothing else reaches b", edge, "z.example", "b.example", false},
		{"a route names two wildcards", edge, "x.mesh.example", "y.svc.example", true},
		{"a wildcard does not take what has routes of its own", edge, "x.mesh.example", "own.svc.example", false},

		{"no client sends an address as SNI", address, "", "10.0.0.1", true},
		{"IPv6 likewise", address, "", "[::1]", true},
		{"that opens no other host", address, "", "a.example", false},
		{"nor addresses to other names", address, "a.example", "10.0.0.1", false},
		{"nor to names that no route mentions", address, "z.example", "10.0.0.1", false},

		{"without routes nothing is separate", none, "a.example", "b.example", true},
	} {
		if got := tt.table.SameScope(tt.sni, tt.host); got != tt.want {
			t.Errorf("%s: SameScope(%q, %q) = %v, want %v", tt.claim, tt.sni, tt.host, got, tt.want)
		}
	}
}

// AUTHZ-07: some servers take /admin;x/users for /admin/users. A route for /admin
// must not be left that way, nor with the semicolon escaped.
func TestParametersDoNotLeaveARoute(t *testing.T) {
	t.Parallel()
	table := mustCompile(t,
		routing.Route{Name: "admin", Match: routing.Match{Path: "/admin"}},
		routing.Route{Name: "login", Match: routing.Match{Path: "/v1/login", PathExact: true}},
		routing.Route{Name: "v1", Match: routing.Match{Path: "/v1"}},
		routing.Route{Name: "all", Match: routing.Match{Path: "/"}},
	)
	for _, tt := range []struct{ path, want string }{
		{"/admin;x/users", ""},
		{"/admin;/users", ""},
		{"/admin;x", ""},
		{"/admin%3bx/users", ""},
		{"/admin%3Bx", ""},
		{"/v1/login;jsessionid=1", ""},
		{"/x/..;/admin", ""},
		{"/;x/admin", ""},
		{"/admin/users;x", "admin"},
		{"/v1/x;a=1/y;b=2", "v1"},
		{"/v1/x%3ba/y%3F", "v1"},
		{"/x;y", "all"},
		{"/administrator;x", "all"},
	} {
		var got string
		if r := table.Match(&routing.Key{Path: tt.path}); r != nil {
			got = r.Name
		}
		if got != tt.want {
			t.Errorf("Match(%s) = %q, want %q", tt.path, got, tt.want)
		}
	}
	literal := mustCompile(t, routing.Route{Name: "literal", Match: routing.Match{Path: "/v1/x;a"}}, routing.Route{Name: "v1", Match: routing.Match{Path: "/v1"}})
	if r := literal.Match(&routing.Key{Path: "/v1/x;a/y"}); r == nil || r.Name != "literal" {
		t.Errorf("a route with a semicolon of its own does not match itself: %v", r)
	}
}
