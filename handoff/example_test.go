package handoff_test

import (
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"

	"verigate/handoff"
)

// What a caller says about itself is gone before the gateway says anything.
func ExampleStripRequest() {
	var h fasthttp.RequestHeader
	h.Set("Connection", "close, Client-Cert")
	h.Set("Client_Cert", ":AAAA:")
	h.Set("X-Forwarded-For", "127.0.0.1")
	h.Set("Authorization", "Bearer token")

	fmt.Printf("%+v\n", handoff.StripRequest(&h, false))
	for name, value := range h.All() {
		fmt.Printf("%s: %s\n", name, value)
	}
	for line := range strings.Lines(string(handoff.AppendForwarded(nil, "192.0.2.7:49152", "pay.example"))) {
		fmt.Println(strings.TrimSpace(line))
	}
	// Output:
	// {Hop:1 Reserved:2}
	// Authorization: Bearer token
	// X-Forwarded-For: 192.0.2.7
	// X-Forwarded-Proto: https
	// X-Forwarded-Host: pay.example
}
