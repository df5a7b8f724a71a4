package policy_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"verigate/assurance"
	"verigate/policy"
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

// table returns routes of the given names, each with a path of its own.
func table(tb testing.TB, names ...string) *routing.Table {
	tb.Helper()
	var routes []routing.Route
	for _, name := range names {
		routes = append(routes, routing.Route{Name: name, Match: routing.Match{Path: "/" + name}})
	}
	t, err := routing.Compile(routes)
	if err != nil {
		tb.Fatalf("routing.Compile() = %v", err)
	}
	return t
}

func mustCompile(tb testing.TB, o policy.Options, routes *routing.Table) *policy.Policy {
	tb.Helper()
	p, err := policy.Compile(o, routes)
	if err != nil {
		tb.Fatalf("Compile() = %v", err)
	}
	return p
}

func allow(rules ...policy.Rule) policy.Options {
	return policy.Options{Allow: map[string][]policy.Rule{"pay": rules}}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	var (
		checkout  = mustPattern(t, "spiffe://prod.example/ns/shop/sa/checkout")
		shop      = mustPattern(t, "spiffe://prod.example/ns/shop/**")
		anyAPI    = mustPattern(t, "spiffe://prod.example/ns/*/sa/checkout")
		everybody = mustPattern(t, "spiffe://prod.example/**")
		weak      = assurance.Grade{MIAL: assurance.MIAL1}
		strong    = assurance.Grade{MIAL: assurance.MIAL3, MAAL: assurance.MAAL{assurance.Governance: 2}}
		mial      = func(m assurance.MIAL) assurance.Requirement { return assurance.Requirement{MIAL: m} }
		governed  = assurance.Requirement{MIAL: assurance.MIAL2, MAAL: assurance.MAAL{assurance.Governance: 3}}
		get       = []string{"GET"}
		post      = []string{"POST"}
		caller    = "spiffe://prod.example/ns/shop/sa/checkout"
	)
	type rule = policy.Rule
	for _, tt := range []struct {
		claim   string
		allow   []rule
		deny    []policy.DenyRule
		caller  string
		grade   assurance.Grade
		method  string
		granted string // the rule that grants, or
		reason  policy.Reason
		closest string
		missing string
	}{
		{claim: "AUTHZ-01 no rule, no grant", caller: caller, grade: strong, reason: policy.ReasonPolicyDenied},
		{claim: "an exact rule grants", allow: []rule{{Name: "r", Caller: checkout}}, caller: caller, granted: "r"},
		{claim: "AUTHZ-03 a prefix grants", allow: []rule{{Name: "r", Caller: shop}}, caller: caller, granted: "r"},
		{claim: "AUTHZ-03 a wildcard grants", allow: []rule{{Name: "r", Caller: anyAPI}}, caller: caller, granted: "r"},
		{claim: "AUTHZ-03 the whole origin grants", allow: []rule{{Name: "r", Caller: everybody}}, caller: caller, granted: "r"},
		{claim: "another caller is denied", allow: []rule{{Name: "r", Caller: checkout}}, caller: caller + "-v2", grade: strong, reason: policy.ReasonPolicyDenied},
		{claim: "ID-12 another origin is denied", allow: []rule{{Name: "r", Caller: everybody}}, caller: "spiffe://partner.example/ns/shop/sa/checkout", reason: policy.ReasonPolicyDenied},
		{claim: "ID-12 another scheme is denied", allow: []rule{{Name: "r", Caller: everybody}}, caller: "wimse://prod.example/ns/shop/sa/checkout", reason: policy.ReasonPolicyDenied},
		{claim: "no identity is denied", allow: []rule{{Name: "r", Caller: everybody}}, grade: strong, reason: policy.ReasonPolicyDenied},
		{claim: "a rule without name is named by its caller", allow: []rule{{Caller: checkout}}, caller: caller, granted: caller},

		{claim: "a method of the rule", allow: []rule{{Name: "r", Caller: checkout, Methods: []string{"PUT", "GET"}}}, caller: caller, method: "GET", granted: "r"},
		{claim: "another method", allow: []rule{{Name: "r", Caller: checkout, Methods: get}}, caller: caller, method: "POST", reason: policy.ReasonMethodNotAllowed, closest: "r"},
		{claim: "GET does not include HEAD", allow: []rule{{Name: "r", Caller: checkout, Methods: get}}, caller: caller, method: "HEAD", reason: policy.ReasonMethodNotAllowed, closest: "r"},
		{claim: "methods keep their case", allow: []rule{{Name: "r", Caller: checkout, Methods: get}}, caller: caller, method: "get", reason: policy.ReasonMethodNotAllowed, closest: "r"},

		{claim: "ASR-11 the grade meets", allow: []rule{{Name: "r", Caller: checkout, Require: mial(assurance.MIAL3)}}, caller: caller, grade: strong, granted: "r"},
		{claim: "ASR-11 the level is short", allow: []rule{{Name: "r", Caller: checkout, Require: mial(assurance.MIAL2)}}, caller: caller, grade: weak, reason: policy.ReasonAssuranceInsufficient, closest: "r", missing: "mial is 1, 2 required"},
		{claim: "ASR-11 a characteristic is short", allow: []rule{{Name: "r", Caller: checkout, Require: governed}}, caller: caller, grade: strong, reason: policy.ReasonAssuranceInsufficient, closest: "r", missing: "governance is 2, 3 required"},
		{claim: "ASR-11 both are short", allow: []rule{{Name: "r", Caller: checkout, Require: governed}}, caller: caller, grade: weak, reason: policy.ReasonAssuranceInsufficient, closest: "r", missing: "mial is 1, 2 required; governance is 0, 3 required"},

		{claim: "a wide rule grants what a narrow one does not", allow: []rule{{Name: "narrow", Caller: checkout, Require: mial(assurance.MIAL4)}, {Name: "wide", Caller: everybody}}, caller: caller, grade: strong, granted: "wide"},
		{claim: "the most specific of several is named", allow: []rule{{Name: "all", Caller: everybody}, {Name: "api", Caller: anyAPI}, {Name: "shop", Caller: shop}, {Name: "exact", Caller: checkout}}, caller: caller, granted: "exact"},
		{claim: "a literal goes before a wildcard", allow: []rule{{Name: "all", Caller: everybody}, {Name: "api", Caller: anyAPI}, {Name: "shop", Caller: shop}}, caller: caller, granted: "shop"},
		{claim: "of one caller, what requires least is named", allow: []rule{{Name: "much", Caller: checkout, Require: mial(assurance.MIAL3)}, {Name: "little", Caller: checkout, Require: mial(assurance.MIAL2)}}, caller: caller, grade: strong, granted: "little"},
		{claim: "one rule for each method", allow: []rule{{Name: "read", Caller: checkout, Methods: get}, {Name: "write", Caller: checkout, Methods: post, Require: mial(assurance.MIAL2)}}, caller: caller, grade: strong, method: "POST", granted: "write"},
		{claim: "rules do not lend each other their parts", allow: []rule{{Name: "read", Caller: checkout, Methods: get}, {Name: "write", Caller: checkout, Methods: post, Require: mial(assurance.MIAL2)}}, caller: caller, grade: weak, method: "POST", reason: policy.ReasonAssuranceInsufficient, closest: "write", missing: "mial is 1, 2 required"},

		{claim: "assurance is closer than method", allow: []rule{{Name: "method", Caller: checkout, Methods: post}, {Name: "grade", Caller: everybody, Methods: get, Require: mial(assurance.MIAL2)}}, caller: caller, grade: weak, method: "GET", reason: policy.ReasonAssuranceInsufficient, closest: "grade", missing: "mial is 1, 2 required"},
		{claim: "of methods, the more specific rule is closest", allow: []rule{{Name: "wide", Caller: everybody, Methods: post}, {Name: "narrow", Caller: shop, Methods: post}}, caller: caller, method: "GET", reason: policy.ReasonMethodNotAllowed, closest: "narrow"},
		{claim: "of requirements, the least is closest", allow: []rule{{Name: "much", Caller: shop, Require: mial(assurance.MIAL4)}, {Name: "little", Caller: shop, Require: mial(assurance.MIAL2)}}, caller: caller, grade: weak, reason: policy.ReasonAssuranceInsufficient, closest: "little", missing: "mial is 1, 2 required"},

		{claim: "deny wins over an exact rule", allow: []rule{{Name: "r", Caller: checkout}}, deny: []policy.DenyRule{{Name: "d", Caller: everybody}}, caller: caller, grade: strong, reason: policy.ReasonPolicyDenied, closest: "d"},
		{claim: "deny names its most specific rule", deny: []policy.DenyRule{{Name: "wide", Caller: everybody}, {Caller: checkout}}, caller: caller, reason: policy.ReasonPolicyDenied, closest: caller},
		{claim: "deny for others changes nothing", allow: []rule{{Name: "r", Caller: checkout}}, deny: []policy.DenyRule{{Caller: mustPattern(t, caller+"-v2")}, {Caller: mustPattern(t, "wimse://prod.example/**")}}, caller: caller, granted: "r"},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			routes := table(t, "other", "pay")
			route := routes.Routes()[1]
			subject := policy.Subject{Grade: tt.grade}
			if tt.caller != "" {
				subject.ID = mustID(t, tt.caller)
			}
			// In every order of the rules.
			for range 2 {
				o := allow(tt.allow...)
				o.Deny = tt.deny
				grant, denial := mustCompile(t, o, routes).Authorize(subject, route, tt.method)
				slices.Reverse(tt.allow)
				slices.Reverse(tt.deny)
				if tt.granted != "" {
					if denial != nil || grant.IsZero() || grant.Route() != route || grant.Subject() != subject || grant.Rule() != tt.granted {
						t.Fatalf("Authorize() = %+v, %v; want a grant by rule %q", grant, denial, tt.granted)
					}
					continue
				}
				if denial == nil || !grant.IsZero() || grant != (policy.Grant{}) {
					t.Fatalf("Authorize() = %+v, %v; want the zero Grant and a denial", grant, denial)
				}
				if denial.Reason != tt.reason || denial.Rule != tt.closest || strings.Join(denial.Missing, "; ") != tt.missing {
					t.Fatalf("Authorize() denies with %v by rule %q, missing %q; want %v by rule %q, missing %q",
						denial.Reason, denial.Rule, denial.Missing, tt.reason, tt.closest, tt.missing)
				}
			}
		})
	}
}

func TestRulesAreForOneRoute(t *testing.T) {
	t.Parallel()
	routes := table(t, "pay", "ship")
	everybody := mustPattern(t, "spiffe://prod.example/**")
	p := mustCompile(t, allow(policy.Rule{Caller: everybody}), routes)
	subject := policy.Subject{ID: mustID(t, "spiffe://prod.example/x")}
	if grant, denial := p.Authorize(subject, routes.Routes()[0], "GET"); denial != nil || grant.Route() != routes.Routes()[0] {
		t.Errorf("Authorize() for pay = %+v, %v; want a grant for it", grant, denial)
	}
	if grant, denial := p.Authorize(subject, routes.Routes()[1], "GET"); denial == nil || !grant.IsZero() {
		t.Errorf("Authorize() for ship = %+v, %v; want a denial: only pay has a rule", grant, denial)
	}
}

// A route and a policy of different generations do not belong together, even if
// the route has the same name and index.
func TestForeignRoutesAreDenied(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, allow(policy.Rule{Caller: mustPattern(t, "spiffe://prod.example/**")}), table(t, "pay"))
	subject := policy.Subject{ID: mustID(t, "spiffe://prod.example/x")}
	for claim, route := range map[string]*routing.Route{
		"no route":                      nil,
		"a route of another table":      table(t, "pay").Routes()[0],
		"a route beyond this table":     table(t, "a", "b", "pay").Routes()[2],
		"a route that no table has":     {Name: "pay"},
		"a route with a negative index": {Name: "pay", Index: -1},
	} {
		if grant, denial := p.Authorize(subject, route, "GET"); denial == nil || denial.Reason != policy.ReasonPolicyDenied || !grant.IsZero() {
			t.Errorf("%s: Authorize() = %+v, %v; want policy_denied", claim, grant, denial)
		}
	}
}

func TestZeroGrantMeansNo(t *testing.T) {
	t.Parallel()
	var g policy.Grant
	if !g.IsZero() || g.Route() != nil || g.Rule() != "" || !g.Subject().ID.IsZero() {
		t.Errorf("the zero Grant is %+v, want it to be zero and for nothing", g)
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	good := policy.Rule{Name: "good", Caller: mustPattern(t, "spiffe://prod.example/**")}
	with := func(change func(*policy.Rule)) policy.Options {
		bad := good
		bad.Name = "bad"
		change(&bad)
		return allow(good, bad)
	}
	for _, tt := range []struct {
		claim string
		o     policy.Options
		want  policy.Error
		says  string
	}{
		{"AUTHZ-02 a rule without caller", with(func(r *policy.Rule) { r.Caller = workloadid.Pattern{} }),
			policy.Error{Fault: policy.FaultNoCaller, Route: "pay", Index: 1, Rule: "bad"}, `allow rule 2 ("bad") of route "pay"`},
		{"a method in small letters", with(func(r *policy.Rule) { r.Methods = []string{"GET", "post"} }),
			policy.Error{Fault: policy.FaultMethod, Route: "pay", Index: 1, Rule: "bad"}, "capitals"},
		{"a level that is none", with(func(r *policy.Rule) { r.Require.MIAL = 5 }),
			policy.Error{Fault: policy.FaultRequirement, Route: "pay", Index: 1, Rule: "bad"}, "at most 4"},
		{"a grade that is none", with(func(r *policy.Rule) { r.Require.MAAL[assurance.Recovery] = 5 }),
			policy.Error{Fault: policy.FaultRequirement, Route: "pay", Index: 1, Rule: "bad"}, "at most 4"},
		{"rules for a route that does not exist", policy.Options{Allow: map[string][]policy.Rule{"pays": {good}}},
			policy.Error{Fault: policy.FaultUnknownRoute, Route: "pays", Index: -1}, `"pays"`},
		{"an empty list for a route that does not exist", policy.Options{Allow: map[string][]policy.Rule{"pays": nil}},
			policy.Error{Fault: policy.FaultUnknownRoute, Route: "pays", Index: -1}, `"pays"`},
		{"a deny rule without caller", policy.Options{Deny: []policy.DenyRule{{Caller: good.Caller}, {Name: "d"}}},
			policy.Error{Fault: policy.FaultNoCaller, Index: 1, Rule: "d"}, `deny rule 2 ("d")`},
	} {
		p, err := policy.Compile(tt.o, table(t, "pay"))
		fault, ok := errors.AsType[*policy.Error](err)
		if !ok || *fault != tt.want || p != nil {
			t.Errorf("%s: Compile() = %v, %v; want no policy and %+v", tt.claim, p, err, tt.want)
			continue
		}
		if !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: Compile() = %q, want it to say %q", tt.claim, err, tt.says)
		}
	}
}

func TestCompileReportsAllFaults(t *testing.T) {
	t.Parallel()
	_, err := policy.Compile(policy.Options{
		Allow: map[string][]policy.Rule{"pay": {{}, {}}, "b": nil, "a": nil},
		Deny:  []policy.DenyRule{{}},
	}, table(t, "pay"))
	if err == nil {
		t.Fatal("Compile() = nil, want an error")
	}
	lines := strings.Split(err.Error(), "\n")
	want := []string{`allow rule 1 `, `allow rule 2 `, `allow for route "a"`, `allow for route "b"`, `deny rule 1 `}
	if len(lines) != len(want) {
		t.Fatalf("Compile() = %q, want %d lines", lines, len(want))
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("line %d of the error = %q, want it to begin with %q", i, lines[i], want[i])
		}
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	shop := mustPattern(t, "spiffe://prod.example/ns/shop/**")
	p := mustCompile(t, policy.Options{
		Allow: map[string][]policy.Rule{
			"pay": {
				{Name: "b", Caller: shop, Methods: []string{"GET", "PUT"}},
				{Name: "a", Caller: shop, Methods: []string{"PUT", "GET", "PUT"}},
				{Name: "c", Caller: shop},
				{Name: "d", Caller: shop, Require: assurance.Requirement{MIAL: 2}},
			},
		},
		Deny: []policy.DenyRule{{Name: "y", Caller: shop}, {Name: "x", Caller: shop}},
	}, table(t, "pay", "ship"))
	want := []string{
		`route "pay": rules "b" and "a" are the same`,
		`route "ship" has no allow rule: nobody may use it`,
		`deny rules "y" and "x" are the same`,
	}
	if got := p.Notes(); !slices.Equal(got, want) {
		t.Errorf("Notes() = %q, want %q", got, want)
	}
	// Which of two equal rules is named does not depend on their order.
	routes := table(t, "pay")
	o := allow(policy.Rule{Name: "b", Caller: shop}, policy.Rule{Name: "a", Caller: shop})
	subject := policy.Subject{ID: mustID(t, "spiffe://prod.example/ns/shop/x")}
	if grant, _ := mustCompile(t, o, routes).Authorize(subject, routes.Routes()[0], "GET"); grant.Rule() != "a" {
		t.Errorf("Authorize() by the equal rules b and a names %q, want a", grant.Rule())
	}
	o.Deny = []policy.DenyRule{{Name: "y", Caller: shop}, {Name: "x", Caller: shop}}
	if _, denial := mustCompile(t, o, routes).Authorize(subject, routes.Routes()[0], "GET"); denial == nil || denial.Rule != "x" {
		t.Errorf("Authorize() by the equal deny rules y and x = %v, want a denial by x", denial)
	}
	p.Notes()[0] = "changed"
	if got := p.Notes(); got[0] != want[0] {
		t.Errorf("Notes() = %q after its result was changed, want %q", got, want)
	}
	if got := mustCompile(t, allow(policy.Rule{Caller: shop}), table(t, "pay")).Notes(); len(got) != 0 {
		t.Errorf("Notes() = %q where nothing is odd, want none", got)
	}
}

func TestDenialExplainsItself(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		denial policy.Denial
		want   string
	}{
		{policy.Denial{Reason: policy.ReasonPolicyDenied}, "policy_denied"},
		{policy.Denial{Reason: policy.ReasonMethodNotAllowed, Rule: "r"}, `method_not_allowed by rule "r"`},
		{policy.Denial{Reason: policy.ReasonAssuranceInsufficient, Rule: "r", Missing: []string{"a", "b"}}, `assurance_insufficient by rule "r": a; b`},
	} {
		if got := tt.denial.Error(); got != tt.want {
			t.Errorf("Error() = %q, want %q", got, tt.want)
		}
	}
	if got, want := policy.ReasonNone.String(), "none"; got != want {
		t.Errorf("ReasonNone.String() = %q, want %q", got, want)
	}
	if got, want := policy.Reason(200).String(), "policy.Reason(200)"; got != want {
		t.Errorf("Reason(200).String() = %q, want %q", got, want)
	}
	if got, want := policy.Fault(200).String(), "policy.Fault(200)"; got != want {
		t.Errorf("Fault(200).String() = %q, want %q", got, want)
	}
	for f := policy.FaultNone; f <= policy.FaultRequirement; f++ {
		if s := f.String(); s == "" || strings.HasPrefix(s, "policy.") {
			t.Errorf("Fault(%d).String() = %q, want a sentence", f, s)
		}
	}
}

// The compiled policy has to agree with asking every rule.
func TestAuthorizeAgreesWithAskingEveryRule(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	var patterns []workloadid.Pattern
	for _, s := range []string{
		"spiffe://t/**", "spiffe://t/x", "spiffe://t/x/**", "spiffe://t/*/y", "spiffe://t/x/*", "spiffe://t/x/y", "wimse://t/**", "spiffe://t/z/**",
	} {
		patterns = append(patterns, mustPattern(t, s))
	}
	var ids []workloadid.ID
	for _, s := range []string{"spiffe://t/x", "spiffe://t/x/y", "spiffe://t/z/y", "spiffe://t/x/z", "wimse://t/x/y", "spiffe://u/x"} {
		ids = append(ids, mustID(t, s))
	}
	grades := func() (m assurance.MIAL, v assurance.MAAL) {
		v[assurance.Governance], v[assurance.Provenance] = uint8(r.IntN(3)), uint8(r.IntN(2))
		return assurance.MIAL(r.IntN(4)), v
	}
	outcomes := make(map[policy.Reason]int)
	for range 500 {
		routes := table(t, "a", "b")
		o := policy.Options{Allow: map[string][]policy.Rule{}}
		for i := range r.IntN(20) {
			rule := policy.Rule{Name: fmt.Sprint("r", i), Caller: patterns[r.IntN(len(patterns))]}
			for _, m := range []string{"GET", "PUT"} {
				if r.IntN(3) == 0 {
					rule.Methods = append(rule.Methods, m)
				}
			}
			if r.IntN(2) == 0 {
				rule.Require.MIAL, rule.Require.MAAL = grades()
			}
			name := []string{"a", "b"}[r.IntN(2)]
			o.Allow[name] = append(o.Allow[name], rule)
		}
		for range r.IntN(3) * r.IntN(2) {
			o.Deny = append(o.Deny, policy.DenyRule{Caller: patterns[1+r.IntN(len(patterns)-1)]})
		}
		p := mustCompile(t, o, routes)
		for range 40 {
			subject := policy.Subject{ID: ids[r.IntN(len(ids))]}
			subject.Grade.MIAL, subject.Grade.MAAL = grades()
			route, method := routes.Routes()[r.IntN(2)], []string{"GET", "PUT", "POST"}[r.IntN(3)]
			want := reference(o, subject, route.Name, method)
			grant, denial := p.Authorize(subject, route, method)
			got := policy.ReasonNone
			if denial != nil {
				got = denial.Reason
			}
			outcomes[want]++
			if got != want || grant.IsZero() != (want != policy.ReasonNone) {
				t.Fatalf("Authorize(%+v, %s, %s) = %+v, %v; want %v of the rules %+v", subject, route.Name, method, grant, denial, want, o)
			}
			if (got == policy.ReasonAssuranceInsufficient) != (denial != nil && len(denial.Missing) > 0) {
				t.Fatalf("Authorize() = %+v, want what is missing exactly when assurance is", denial)
			}
		}
	}
	for reason := policy.ReasonNone; reason <= policy.ReasonAssuranceInsufficient; reason++ {
		if outcomes[reason] < 500 {
			t.Errorf("the outcome %v came up %d times only: the test proves little", reason, outcomes[reason])
		}
	}
}

// reference returns the reason of the package comment, or ReasonNone for a grant.
func reference(o policy.Options, s policy.Subject, route, method string) policy.Reason {
	for _, d := range o.Deny {
		if d.Caller.Match(s.ID) {
			return policy.ReasonPolicyDenied
		}
	}
	reason := policy.ReasonPolicyDenied
	for _, r := range o.Allow[route] {
		if !r.Caller.Match(s.ID) {
			continue
		}
		if len(r.Methods) > 0 && !slices.Contains(r.Methods, method) {
			reason = max(reason, policy.ReasonMethodNotAllowed)
			continue
		}
		if s.Grade.Meets(r.Require) != nil {
			reason = policy.ReasonAssuranceInsufficient
			continue
		}
		return policy.ReasonNone
	}
	return reason
}
