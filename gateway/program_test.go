package gateway

import (
	"testing"

	"verigate/policy"
	"verigate/routing"
)

// The upstreams of a replaced program stay open until the last request that began
// by it has been forwarded: closed earlier, they would refuse it.
func TestReplacedProgramIsKeptWhileInUse(t *testing.T) {
	t.Parallel()
	empty := func() *Program {
		table, err := routing.Compile(nil)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := policy.Compile(policy.Options{}, table)
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewProgram(table, rules, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, second := empty(), empty()
	g := new(Gateway)
	g.program.Store(first)

	used, also := g.use(), g.use()
	g.Swap(second)
	for i, p := range []*Program{used, also} {
		select {
		case <-first.unused:
			t.Fatalf("the program is given up with %d requests to go", 2-i)
		default:
		}
		p.release()
	}
	<-first.unused
	if got := g.use(); got != second {
		t.Error("a new request is decided by the old program")
	}
	g.Swap(first) // a mistake, but no reason to panic
	second.release()
	<-second.unused
}

// What fasthttp and the gate agree to be one host is one to routes, and the
// backend is told the name that was routed.
func TestCanonicalHost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ field, host, sent string }{
		{"pay.example", "pay.example", ""},
		{"PAY.example:8443", "pay.example", ""},
		{"pay.example.", "pay.example", "pay.example"},
		{"Pay.example.:8443", "pay.example", "Pay.example:8443"},
		{"192.0.2.7:80", "192.0.2.7", ""},
		{"[::1]", "[::1]", ""},
		{"[2001:DB8:0:0::1]:443", "[2001:db8::1]", ""},
		{"[", "[", ""}, // the gate refuses it
	} {
		if host, sent := canonicalHost(tt.field); host != tt.host || sent != tt.sent {
			t.Errorf("canonicalHost(%q) = %q, %q, want %q, %q", tt.field, host, sent, tt.host, tt.sent)
		}
	}
}
