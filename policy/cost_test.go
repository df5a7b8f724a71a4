package policy_test

import (
	"fmt"
	"testing"

	"verigate/assurance"
	"verigate/internal/race"
	"verigate/policy"
	"verigate/routing"
)

// shapes are kinds of rules that a route can have very many of.
var shapes = []struct{ name, pattern, caller string }{
	{"exact", "spiffe://prod.example/ns/shop/sa/s%d", "spiffe://prod.example/ns/shop/sa/s%d"},
	{"prefix", "spiffe://prod.example/ns/n%d/**", "spiffe://prod.example/ns/n%d/sa/api"},
	{"wildcard", "spiffe://prod.example/ns/*/sa/s%d", "spiffe://prod.example/ns/shop/sa/s%d"},
}

// build returns a policy of one route with n rules, and a subject for each.
func build(tb testing.TB, pattern, caller string, n int) (*policy.Policy, *routing.Route, []policy.Subject) {
	tb.Helper()
	rules, subjects := make([]policy.Rule, n), make([]policy.Subject, n)
	denied := make([]policy.DenyRule, n)
	for i := range n {
		rules[i] = policy.Rule{
			Name: fmt.Sprint("r", i), Caller: mustPattern(tb, fmt.Sprintf(pattern, i)),
			Methods: []string{"GET", "POST"}, Require: assurance.Requirement{MIAL: assurance.MIAL2},
		}
		denied[i].Caller = mustPattern(tb, fmt.Sprintf(pattern, n+i))
		subjects[i] = policy.Subject{ID: mustID(tb, fmt.Sprintf(caller, i)), Grade: assurance.Grade{MIAL: assurance.MIAL3}}
	}
	// A general rule that is out of reach, so that a search has something to pass.
	rules = append(rules, policy.Rule{Caller: mustPattern(tb, "spiffe://prod.example/**"), Require: assurance.Requirement{MIAL: assurance.MIAL4}})
	routes := table(tb, "pay")
	o := allow(rules...)
	o.Deny = denied
	return mustCompile(tb, o, routes), routes.Routes()[0], subjects
}

func TestAuthorizeDoesNotAllocateWhenItGrants(t *testing.T) {
	if race.Enabled {
		return
	}
	for _, shape := range shapes {
		p, route, subjects := build(t, shape.pattern, shape.caller, 100)
		var grant policy.Grant
		if n := testing.AllocsPerRun(1000, func() { grant, _ = p.Authorize(subjects[7], route, "GET") }); n != 0 || grant.Rule() != "r7" {
			t.Errorf("%s: Authorize allocates %v times and grants by %q, want 0 and r7", shape.name, n, grant.Rule())
		}
	}
	// Rules that are passed over on the way to the one that grants.
	routes := table(t, "pay")
	wide := mustPattern(t, "spiffe://prod.example/**")
	p := mustCompile(t, allow(
		policy.Rule{Name: "short", Caller: mustPattern(t, "spiffe://prod.example/x"), Require: assurance.Requirement{MIAL: assurance.MIAL4}},
		policy.Rule{Name: "method", Caller: wide, Methods: []string{"PUT"}},
		policy.Rule{Name: "grants", Caller: wide, Methods: []string{"GET"}, Require: assurance.Requirement{MIAL: assurance.MIAL1}},
	), routes)
	subject := policy.Subject{ID: mustID(t, "spiffe://prod.example/x"), Grade: assurance.Grade{MIAL: assurance.MIAL1}}
	route := routes.Routes()[0]
	var grant policy.Grant
	if n := testing.AllocsPerRun(1000, func() { grant, _ = p.Authorize(subject, route, "GET") }); n != 0 || grant.Rule() != "grants" {
		t.Errorf("Authorize past two rules allocates %v times and grants by %q, want 0 and grants", n, grant.Rule())
	}
}

// BenchmarkAuthorize measures a grant on a route with n allow rules, under n
// deny rules. Subjects go round in a stride, so that caches see all rules.
func BenchmarkAuthorize(b *testing.B) {
	for _, shape := range shapes {
		for _, n := range []int{10, 1000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", shape.name, n), func(b *testing.B) {
				p, route, subjects := build(b, shape.pattern, shape.caller, n)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					i = (i + 7919) % n // coprime to every n
					if grant, _ := p.Authorize(subjects[i], route, "GET"); grant.IsZero() {
						b.Fatalf("%v is denied", subjects[i].ID)
					}
				}
			})
		}
	}
}

// BenchmarkAuthorizeManyRoutes has the rules spread over routes, ten for each.
func BenchmarkAuthorizeManyRoutes(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var names []string
			o := policy.Options{Allow: map[string][]policy.Rule{}}
			for i := range n / 10 {
				name := fmt.Sprint("route-", i)
				names = append(names, name)
				for j := range 10 {
					shape := shapes[j%len(shapes)]
					o.Allow[name] = append(o.Allow[name], policy.Rule{Caller: mustPattern(b, fmt.Sprintf(shape.pattern, j))})
				}
			}
			table := table(b, names...)
			p, routes := mustCompile(b, o, table), table.Routes()
			subject := policy.Subject{ID: mustID(b, "spiffe://prod.example/ns/shop/sa/s8")}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i = (i + 7919) % len(routes)
				if grant, _ := p.Authorize(subject, routes[i], "GET"); grant.IsZero() {
					b.Fatal("denied")
				}
			}
		})
	}
}

// BenchmarkDeny is the most expensive denial: a rule matches and its explanation
// is written.
func BenchmarkDeny(b *testing.B) {
	p, route, subjects := build(b, shapes[0].pattern, shapes[0].caller, 10_000)
	subject := subjects[7]
	subject.Grade = assurance.Grade{}
	b.ReportAllocs()
	for b.Loop() {
		if _, denial := p.Authorize(subject, route, "GET"); denial == nil {
			b.Fatal("granted")
		}
	}
}
