package telemetry

import (
	"fmt"
	"testing"
	"time"

	"verigate/tlsterm"
)

func TestConnectionRefusedLeavesARecord(t *testing.T) {
	t.Parallel()
	var recent []RefusedConnection
	log := audited(t, func(o *Options) { o.Now = func() time.Time { return noon } }, func(tel *Telemetry) {
		tel.ConnectionRefused(thrownOut(t))
		recent = tel.RecentConnectionEnds()
	})
	all := events(t, log, "connection_refused")
	if len(all) != 1 {
		t.Fatalf("%d records, want 1:\n%s", len(all), log)
	}
	for name, want := range map[string]any{
		"cause": "trust", "reason": "revoked", "cut": false, "listener": "edge", "connection": 42.0, "remote": "192.0.2.7:51514",
		"identity": "spiffe://prod.example/ns/shop/sa/checkout", "trust_domain": "spiffe://prod.example", "duration_ns": 90e9,
	} {
		if got := all[0][name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	want := RefusedConnection{
		Time: noon, Listener: "edge", ConnID: 42, Remote: "192.0.2.7:51514", Identity: "spiffe://prod.example/ns/shop/sa/checkout",
		Life: 90 * time.Second, Cause: "trust", Reason: "revoked", Error: thrownOut(t).Err.Error(),
	}
	if len(recent) != 1 || recent[0] != want {
		t.Errorf("RecentConnectionEnds() = %+v, want %+v", recent, want)
	}
}

func TestRecentConnectionEndsAreTheLastOnes(t *testing.T) {
	t.Parallel()
	tel := start(t, func(o *Options) { o.RecentRefusals = 2 })
	if got := tel.RecentConnectionEnds(); len(got) != 0 {
		t.Errorf("RecentConnectionEnds() at the beginning = %v, want none", got)
	}
	for i := range 5 {
		e := thrownOut(t)
		e.ConnID = uint64(i)
		tel.ConnectionRefused(e)
	}
	if got := tel.RecentConnectionEnds(); len(got) != 2 || got[0].ConnID != 4 || got[1].ConnID != 3 {
		t.Errorf("RecentConnectionEnds() = %+v, want connections 4 and 3", got)
	}
}

func TestEveryResumptionIsCounted(t *testing.T) {
	t.Parallel()
	want := make(map[string]uint64)
	log := audited(t, nil, func(tel *Telemetry) {
		for i, r := range tlsterm.Resumptions() {
			for _, listener := range []string{"edge", "partners"} {
				for range i + 1 {
					h, e := accepted(t)
					h.Listener, h.Resumption = listener, r
					tel.handshake(h, e)
				}
			}
			want[r.String()] = 2 * uint64(i+1)
		}
		if got := tel.Resumptions(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("Resumptions() = %v, want %v", got, want)
		}
	})
	recorded := make(map[any]uint64)
	for _, r := range events(t, log, "handshake") {
		recorded[r["resumption"]]++
	}
	for name, n := range want {
		member := any(name)
		if name == tlsterm.NotAsked.String() {
			member = nil // nothing is said where nothing was asked
		}
		if recorded[member] != n {
			t.Errorf("%d records have resumption %v, want %d", recorded[member], member, n)
		}
	}
	if got, want := fmt.Sprint(start(t, nil).Resumptions()), "map[foreign:0 none:0 rejected:0 resumed:0 scope:0 too_old:0 unusable:0]"; got != want {
		t.Errorf("Resumptions() at the beginning = %s, want %s", got, want)
	}
}

func TestWhatIsMissingIsInTheRecord(t *testing.T) {
	t.Parallel()
	log := audited(t, nil, func(tel *Telemetry) { tel.Request(understated(t)); tel.Request(served(t)) })
	all := events(t, log, "request")
	if got, want := all[0]["missing"], "mial is 1, 3 required; governance is 0, 2 required"; got != want {
		t.Errorf("missing is %v, want %s", got, want)
	}
	if got, want := all[0]["findings"], "shared_key many_networks"; got != want {
		t.Errorf("findings are %v, want %s", got, want)
	}
	if all[1]["missing"] != nil || all[1]["findings"] != nil {
		t.Errorf("a request that was served has %v, want neither missing nor findings", all[1])
	}
}
