package upstream

import (
	"testing"

	"verigate/policy"
	"verigate/routing"
	"verigate/workloadid"
)

// grantFor has policy grant a request for the upstream called name.
func grantFor(t testing.TB, name string) policy.Grant {
	t.Helper()
	table, err := routing.Compile([]routing.Route{{Name: "all", Upstream: name}})
	if err != nil {
		t.Fatal(err)
	}
	const caller = "spiffe://prod.example/caller"
	everyone, err := workloadid.ParsePattern("spiffe://prod.example/**")
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string][]policy.Rule{"all": {{Name: "everyone", Caller: everyone}}}
	p, err := policy.Compile(policy.Options{Allow: rules}, table)
	if err != nil {
		t.Fatal(err)
	}
	id, err := workloadid.Parse(caller)
	if err != nil {
		t.Fatal(err)
	}
	grant, denial := p.Authorize(policy.Subject{ID: id}, table.Routes()[0], "GET")
	if denial != nil {
		t.Fatal(denial)
	}
	return grant
}
