package upstream_test

import (
	"context"
	"fmt"
	"net"

	"github.com/valyala/fasthttp"

	"verigate/policy"
	"verigate/routing"
	"verigate/upstream"
	"verigate/workloadid"
)

// A request is routed, granted and then forwarded; the grant is what opens the
// upstream.
func Example() {
	backend, _ := net.Listen("tcp", "127.0.0.1:0")
	defer backend.Close()
	go fasthttp.Serve(backend, func(ctx *fasthttp.RequestCtx) {
		fmt.Fprintf(ctx, "paid %s", ctx.Request.Header.RequestURI())
	})

	routes, _ := routing.Compile([]routing.Route{{Name: "payments", Upstream: "pay"}})
	callers, _ := workloadid.ParsePattern("spiffe://prod.example/ns/*/sa/checkout")
	rules, _ := policy.Compile(policy.Options{Allow: map[string][]policy.Rule{
		"payments": {{Name: "checkout may pay", Caller: callers}},
	}}, routes)
	pay, err := upstream.New(upstream.Options{
		Name:      "pay",
		Endpoints: []string{backend.Addr().String()},
		Plain:     true, // on the loopback network only
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pay.Close(context.Background())

	var request fasthttp.Request
	var response fasthttp.Response
	request.Header.SetHost("pay.example")
	request.Header.SetRequestURI("/v1/orders?")
	caller, _ := workloadid.Parse("spiffe://prod.example/ns/shop/sa/checkout")
	grant, denial := rules.Authorize(policy.Subject{ID: caller}, routes.Match(&routing.Key{Caller: caller, Path: "/v1/orders", Method: "GET"}), "GET")
	if denial != nil {
		fmt.Println(denial)
		return
	}
	if _, err := pay.Forward(grant, &upstream.Call{Request: &request, Response: &response}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.StatusCode(), string(response.Body()))

	_, err = pay.Forward(policy.Grant{}, &upstream.Call{Request: &request, Response: &response})
	fmt.Println(err)
	// Output:
	// 200 paid /v1/orders?
	// upstream: grant: the request was not granted
}
