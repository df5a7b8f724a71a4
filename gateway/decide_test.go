package gateway

import (
	"testing"

	"verigate/assurance"
	"verigate/policy"
	"verigate/routing"
	"verigate/workloadid"
)

// Whoever was granted something before is granted what he would be without that, and
// nothing else.
func TestGrantIsNotRememberedForAnythingElse(t *testing.T) {
	t.Parallel()
	caller := func(s string) workloadid.ID {
		id, err := workloadid.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	rulesFor := func(table *routing.Table, who string) *policy.Policy {
		pattern, err := workloadid.ParsePattern(who)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := policy.Compile(policy.Options{Allow: map[string][]policy.Rule{
			"read": {{Name: who, Caller: pattern, Methods: []string{"GET"}, Require: assurance.Requirement{MIAL: assurance.MIAL2}}},
			"any":  {{Name: "any " + who, Caller: pattern}},
		}}, table)
		if err != nil {
			t.Fatal(err)
		}
		return rules
	}
	table, err := routing.Compile([]routing.Route{
		{Name: "read", Match: routing.Match{Path: "/read"}, Upstream: "u"},
		{Name: "any", Match: routing.Match{Path: "/any"}, Upstream: "u"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const one, other = "spiffe://prod.example/one", "spiffe://prod.example/other"
	granting, denying := rulesFor(table, one), rulesFor(table, other)

	var questions []Question
	for _, id := range []string{one, other} {
		for _, mial := range []assurance.MIAL{assurance.MIAL1, assurance.MIAL2} {
			for _, path := range []string{"/read", "/any", "/none"} {
				for _, method := range []string{"GET", "PUT"} {
					questions = append(questions, Question{
						Subject: policy.Subject{ID: caller(id), Grade: assurance.Grade{MIAL: mial}}, Path: path, Method: method,
					})
				}
			}
		}
	}
	for _, rules := range []*policy.Policy{granting, denying} {
		for i := range questions {
			for _, next := range []*policy.Policy{granting, denying} {
				for j := range questions {
					var last granted
					decide(table, rules, &questions[i], &last)
					got, want := decide(table, next, &questions[j], &last), Decide(table, next, &questions[j])
					if got.Reason != want.Reason || got.Route != want.Route || got.Grant != want.Grant {
						t.Fatalf("after %+v decide(%+v) = %+v, want %+v", questions[i], questions[j], got, want)
					}
				}
			}
		}
	}
}
