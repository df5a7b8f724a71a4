package config_test

import (
	"testing"

	"verigate/assurance"
	"verigate/config"
	"verigate/policy"
	"verigate/routing"
	"verigate/workloadid"
)

// The deny-list wins over every rule, whatever else lets its identities in.
func TestDenyWinsOverAllow(t *testing.T) {
	t.Parallel()
	c, err := config.Parse("example.yaml", config.Example())
	if err != nil {
		t.Fatal(err)
	}
	routes, rules := c.Rules()
	for _, tt := range []struct {
		id   string
		want policy.Reason
	}{
		{"spiffe://prod.example/ns/shop/sa/checkout", policy.ReasonNone},
		{"spiffe://prod.example/ns/shop/sa/compromised", policy.ReasonPolicyDenied},
	} {
		id, err := workloadid.Parse(tt.id)
		if err != nil {
			t.Fatal(err)
		}
		route := routes.Match(&routing.Key{Caller: id, SNI: "pay.example", Host: "pay.example", Path: "/v1/x", Method: "GET"})
		if route == nil {
			t.Fatalf("no route for %s", tt.id)
		}
		_, denial := rules.Authorize(policy.Subject{ID: id, Grade: assurance.Grade{MIAL: assurance.MIAL4}}, route, "GET")
		switch {
		case denial == nil && tt.want != policy.ReasonNone:
			t.Errorf("Authorize(%s) grants, want %v", tt.id, tt.want)
		case denial != nil && denial.Reason != tt.want:
			t.Errorf("Authorize(%s) = %v by %q, want %v", tt.id, denial.Reason, denial.Rule, tt.want)
		case denial != nil && denial.Rule != tt.id:
			t.Errorf("Authorize(%s) names the rule %q, want the deny entry", tt.id, denial.Rule)
		}
	}
}
