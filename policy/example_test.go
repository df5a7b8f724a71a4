package policy_test

import (
	"fmt"

	"verigate/assurance"
	"verigate/policy"
	"verigate/routing"
	"verigate/workloadid"
)

func Example() {
	routes, err := routing.Compile([]routing.Route{{Name: "payments", Match: routing.Match{Path: "/v1"}}})
	if err != nil {
		panic(err)
	}
	checkout, err := workloadid.ParsePattern("spiffe://prod.example/ns/*/sa/checkout")
	if err != nil {
		panic(err)
	}
	p, err := policy.Compile(policy.Options{
		Allow: map[string][]policy.Rule{"payments": {{
			Name:    "checkout reads",
			Caller:  checkout,
			Methods: []string{"GET"},
			Require: assurance.Requirement{MIAL: assurance.MIAL2},
		}}},
	}, routes)
	if err != nil {
		panic(err)
	}
	caller, err := workloadid.Parse("spiffe://prod.example/ns/shop/sa/checkout")
	if err != nil {
		panic(err)
	}
	payments := routes.Routes()[0]
	attested := policy.Subject{ID: caller, Grade: assurance.Grade{MIAL: assurance.MIAL2}}

	grant, _ := p.Authorize(attested, payments, "GET")
	fmt.Println(grant.Route().Name, "granted by", grant.Rule())
	_, denial := p.Authorize(attested, payments, "POST")
	fmt.Println(denial)
	_, denial = p.Authorize(policy.Subject{ID: caller, Grade: assurance.Grade{MIAL: assurance.MIAL1}}, payments, "GET")
	fmt.Println(denial)
	// Output:
	// payments granted by checkout reads
	// method_not_allowed by rule "checkout reads"
	// assurance_insufficient by rule "checkout reads": mial is 1, 2 required
}
