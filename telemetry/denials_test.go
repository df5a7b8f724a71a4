package telemetry

import (
	"strings"
	"testing"
	"time"

	"verigate/workloadid"
)

func TestRecentDenialsAreTheLastThatWereNotServed(t *testing.T) {
	t.Parallel()
	tel := start(t, func(o *Options) { o.RecentDenials = 3 })
	if got := tel.RecentDenials(); len(got) != 0 {
		t.Errorf("RecentDenials() at the beginning = %v, want none", got)
	}
	for _, decision := range []string{DecisionError, DecisionDenied, DecisionRefused, DecisionError, DecisionDenied} {
		r := served(t)
		r.Decision = decision
		tel.Request(r)
		tel.Request(served(t))
	}
	var decisions []string
	for _, d := range tel.RecentDenials() {
		decisions = append(decisions, d.Decision)
	}
	if got, want := strings.Join(decisions, " "), "denied error refused"; got != want {
		t.Errorf("RecentDenials() are %s, want %s", got, want)
	}
}

func TestADenialSaysWhoWhatAndWhy(t *testing.T) {
	t.Parallel()
	tel := start(t, nil)
	r := served(t)
	r.Decision, r.Reason, r.Status, r.Path = DecisionDenied, "assurance_insufficient", 403, "/v1/charges?token=secret"
	r.Missing = []string{"mial is 1, 3 required", "governance is 0, 2 required"}
	tel.Request(r)
	want := Denial{
		Time: noon.Add(2150 * time.Microsecond), Decision: "denied", Reason: "assurance_insufficient", Status: 403, ID: "6f1c2a9be0d34c55",
		Missing:  "mial is 1, 3 required; governance is 0, 2 required",
		Listener: "edge", ConnID: 42, Remote: "192.0.2.7:51514", Caller: "spiffe://prod.example/ns/shop/sa/checkout",
		Method: "POST", Host: "pay.example", Path: "/v1/charges", Route: "payments", Rule: "checkout-may-charge",
	}
	if got := tel.RecentDenials(); len(got) != 1 || got[0] != want {
		t.Errorf("RecentDenials() = %+v, want %+v", got, want)
	}

	r.ClaimedID, r.Caller = r.Caller, workloadid.ID{}
	tel.Request(r)
	if got := tel.RecentDenials()[0]; got.Caller != "" || got.Claimed != "spiffe://prod.example/ns/shop/sa/checkout" {
		t.Errorf("the denial of an unproven peer has caller %q and claimed %q, want the identity as a claim", got.Caller, got.Claimed)
	}
}

// The gateway uses its buffers again, and a client decides how long a path is.
func TestADenialIsABoundedCopy(t *testing.T) {
	t.Parallel()
	ring := newDenialRing(1)
	path := strings.Repeat("/x", 1<<16)
	ring.add(&Request{Decision: DecisionRefused, Path: path, Host: path, Method: path, ID: path})
	ring.add(&Request{Decision: DecisionDenied, Path: "/short"})
	ring.add(&Request{Decision: DecisionRefused, Path: path, Rule: "last"})
	got := ring.newestFirst()
	if len(got) != 1 || got[0].Path != path[:maxShortField] || got[0].Rule != "last" || got[0].Host != "" {
		t.Errorf("a path of 128 KiB is kept as %+v, want its first %d octets", got, maxShortField)
	}
	if n := cap(ring.slots[0].text); n > 8<<10 {
		t.Errorf("a slot of the ring has grown to %d octets, want at most 8 KiB", n)
	}
	ring.slots[0].text[0] = '#'
	if got[0].Decision != DecisionRefused {
		t.Errorf("a denial changed to %q with the ring, want a copy", got[0].Decision)
	}
}
