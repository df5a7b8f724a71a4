package telemetry

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"verigate/trust"
)

func TestEveryChangeOfTrustIsInTheAuditLog(t *testing.T) {
	t.Parallel()
	log := audited(t, nil, func(tel *Telemetry) {
		tel.TrustChanged(changed())
		tel.TrustChanged(TrustChange{
			Outcome: TrustRefused, Kind: KindBundle, Name: "spiffe://prod.example", Digest: trust.Digest{0xe5}, Previous: trust.Digest{0xe5},
			Err: errors.New("bundle\n\u202e\x1b[31m " + strings.Repeat("long ", 1000)),
		})
		tel.TrustChanged(TrustChange{Outcome: TrustRemoved, Kind: KindBundle, Name: "spiffe://prod.example", Previous: trust.Digest{0xe5}})
	})
	got := events(t, log, eventTrust)
	if len(got) != 3 {
		t.Fatalf("%d trust records in the log, want 3:\n%s", len(got), log)
	}
	digest := func(first string) string { return first + strings.Repeat("0", 62) }
	for i, want := range []map[string]any{
		{"outcome": "loaded", "kind": "bundle", "name": "spiffe://prod.example", "digest": digest("e5"), "previous_digest": digest("f6"), "error": nil},
		{"outcome": "refused", "digest": digest("e5"), "previous_digest": digest("e5"), "truncated": true},
		{"outcome": "removed", "digest": nil, "previous_digest": digest("e5"), "error": nil},
	} {
		for member, value := range want {
			if got[i][member] != value {
				t.Errorf("trust record %d: %s = %v, want %v", i, member, got[i][member], value)
			}
		}
	}
	if fault, _ := got[1]["error"].(string); !strings.HasPrefix(fault, "bundle\n\u202e") || len(fault) > maxShortField {
		t.Errorf("the error is recorded as %q, want at most %d octets of it", fault, maxShortField)
	}
	for line := range strings.Lines(log) {
		checkLine(t, []byte(line))
	}
}

// A fault is counted when it is refused; the other changes are no faults.
func TestOnlyRefusalsAreReloadErrors(t *testing.T) {
	t.Parallel()
	tel := start(t, func(o *Options) { o.Audit.Writer = io.Discard })
	for _, outcome := range []string{TrustLoaded, TrustRepaired, TrustRemoved} {
		tel.TrustChanged(TrustChange{Outcome: outcome, Kind: KindBundle, Name: "spiffe://prod.example"})
	}
	tel.TrustChanged(TrustChange{Outcome: TrustRefused, Kind: KindBundle, Name: "spiffe://prod.example", Err: errDisk})
	if text := scrape(t, tel, textFormat); !strings.Contains(text, `verigate_trust_reload_errors_total{kind="bundle"} 1`+"\n") {
		t.Errorf("one refusal among four changes is not counted as 1:\n%s", text)
	}
}

func TestADegradedItemIsOneUntilItIsRepairedOrRemoved(t *testing.T) {
	t.Parallel()
	tel := start(t, nil)
	item := TrustItem{Kind: KindBundle, Name: "spiffe://prod.example", LoadedAt: time.Unix(1_700_000_000, 0), Degraded: true}
	items := []TrustItem{item}
	tel.ObserveTrustItems(func() []TrustItem { return items })
	const series = `verigate_trust_degraded{kind="bundle",name="spiffe://prod.example"}`
	for _, step := range []struct {
		claim string
		edit  func()
		want  string
	}{
		{"while it is degraded", func() {}, series + " 1\n"},
		{"at the next scrape", func() {}, series + " 1\n"},
		{"when it is repaired", func() { items[0].Degraded = false }, series + " 0\n"},
		{"when it is removed", func() { items = nil }, ""},
	} {
		step.edit()
		text := scrape(t, tel, textFormat)
		if step.want == "" && strings.Contains(text, series) || !strings.Contains(text, step.want) {
			t.Errorf("%s the exposition lacks %q, or has the series", step.claim, step.want)
		}
	}
}
