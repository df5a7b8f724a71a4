package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"time"

	"verigate/telemetry"
	"verigate/workloadid"
)

func Example() {
	prod, err := workloadid.ParseOrigin("spiffe://prod.example")
	if err != nil {
		log.Fatal(err)
	}
	var audit bytes.Buffer
	t, err := telemetry.New(telemetry.Options{
		InstanceID:   "gw-1",
		TrustDomains: []workloadid.Origin{prod},
		Audit:        telemetry.AuditOptions{Writer: &audit},
	})
	if err != nil {
		log.Fatal(err)
	}
	caller, err := workloadid.Parse("spiffe://prod.example/ns/shop/sa/checkout")
	if err != nil {
		log.Fatal(err)
	}

	// When a request arrives, place it in a trace and tell the upstream.
	trace := t.Trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	fmt.Printf("%.36s…\n", trace.AppendTraceParent(nil))

	// When it is over, record it.
	t.Request(&telemetry.Request{
		Start: time.Now(), Trace: trace, Caller: caller,
		Method: "GET", Path: "/v1/charges?token=secret", Route: "payments",
		Status: 200, Decision: telemetry.DecisionAllowed, Total: 2 * time.Millisecond,
	})
	if err := t.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	for line := range bytes.Lines(audit.Bytes()) {
		var record struct {
			Event, Decision, Identity, Path string
			Trace                           string `json:"trace_id"`
		}
		if err := json.Unmarshal(line, &record); err != nil {
			log.Fatal(err)
		}
		if record.Event != "request" {
			continue
		}
		fmt.Println(record.Decision, record.Identity, record.Path, record.Trace)
	}
	// Output:
	// 00-4bf92f3577b34da6a3ce929d0e0e4736-…
	// allowed spiffe://prod.example/ns/shop/sa/checkout /v1/charges 4bf92f3577b34da6a3ce929d0e0e4736
}
