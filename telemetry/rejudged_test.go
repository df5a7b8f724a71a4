package telemetry

import (
	"testing"
	"time"
)

func TestConnectionRefusedLeavesARecord(t *testing.T) {
	t.Parallel()
	e := thrownOut(t)
	ended := e.Time.Add(time.Minute) // what the clock says counts, not who reports it
	var recent []ConnectionEnd
	log := audited(t, func(o *Options) { o.Now = func() time.Time { return ended } }, func(tel *Telemetry) {
		tel.ConnectionRefused(e)
		recent = tel.RecentConnectionEnds()
	})
	all := events(t, log, "connection_refused")
	if len(all) != 1 {
		t.Fatalf("%d records, want 1:\n%s", len(all), log)
	}
	for name, want := range map[string]any{
		"cause": "trust", "reason": "revoked", "cut": false, "listener": "edge", "connection": 42.0, "remote": "192.0.2.7:51514",
		"identity": "spiffe://prod.example/ns/shop/sa/checkout", "trust_domain": "spiffe://prod.example", "duration_ns": 150e9,
	} {
		if got := all[0][name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	want := *e
	want.Time = ended
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

func TestLifeOfAConnectionWhoseBeginningIsUnknown(t *testing.T) {
	t.Parallel()
	e := thrownOut(t)
	if got := e.Life(); got != 90*time.Second {
		t.Errorf("Life() = %v, want 1m30s", got)
	}
	e.Start = time.Time{}
	if got := e.Life(); got != 0 {
		t.Errorf("Life() = %v without a beginning, want 0", got)
	}
}
