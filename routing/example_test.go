package routing_test

import (
	"fmt"

	"verigate/routing"
	"verigate/workloadid"
)

func Example() {
	canary, err := workloadid.ParsePattern("spiffe://prod.example/ns/canary/**")
	if err != nil {
		panic(err)
	}
	table, err := routing.Compile([]routing.Route{
		{Name: "payments", Match: routing.Match{Host: "pay.example", Path: "/v1/"}, Upstream: "payments-v1"},
		{Name: "payments-canary", Match: routing.Match{Host: "pay.example", Path: "/v1/", Caller: canary}, Upstream: "payments-v2"},
		{Name: "refunds", Match: routing.Match{Host: "pay.example", Path: "/v1/refunds"}, Upstream: "refunds"},
	})
	if err != nil {
		panic(err)
	}
	for _, request := range [][2]string{
		{"spiffe://prod.example/ns/shop/sa/checkout", "/v1/charges"},
		{"spiffe://prod.example/ns/canary/sa/checkout", "/v1/charges"},
		// The path goes before the caller: the canary cannot leave refunds.
		{"spiffe://prod.example/ns/canary/sa/checkout", "/v1/refunds/17"},
		{"spiffe://prod.example/ns/canary/sa/checkout", "/v10/charges"},
	} {
		caller, err := workloadid.Parse(request[0])
		if err != nil {
			panic(err)
		}
		route := table.Match(&routing.Key{
			Caller: caller, SNI: "pay.example", Host: "pay.example", Path: request[1], Method: "POST",
		})
		if route == nil {
			fmt.Println("no route")
			continue
		}
		fmt.Println(route.Name, "to", route.Upstream)
	}
	// Output:
	// payments to payments-v1
	// payments-canary to payments-v2
	// refunds to refunds
	// no route
}

func ExampleCompile() {
	_, err := routing.Compile([]routing.Route{
		{Name: "read", Match: routing.Match{Path: "/v1", Methods: []string{"GET", "HEAD"}}},
		{Name: "probe", Match: routing.Match{Path: "/v1/", Methods: []string{"HEAD"}}},
	})
	fmt.Println(err)
	// Output:
	// routes "read" and "probe": both can match the same request and neither is more specific; make host, SNI, path or caller of one more specific, or their methods disjoint, or ask for different values of one header
}
