package telemetry

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"verigate/certpath"
	"verigate/tlsterm"
	"verigate/verifycache"
	"verigate/workloadid"
)

func TestShadowDifferences(t *testing.T) {
	t.Parallel()
	const checkout = "spiffe://prod.example/ns/shop/sa/checkout"
	proven := func(why certpath.Reason) (*tlsterm.Handshake, *evidence) {
		h, e := accepted(t)
		return shadowed(h, why), e
	}
	rejected := func(why certpath.Reason) (*tlsterm.Handshake, *evidence) {
		h := shadowed(refused(t), why)
		e := evidenceOf(h)
		return h, &e
	}
	at := noon.Add(1480 * time.Microsecond)
	tests := []struct {
		claim     string
		handshake func() (*tlsterm.Handshake, *evidence)
		want      []ShadowDifference
		member    any // of the audit record
	}{
		{"without a shadow there is nothing to say", func() (*tlsterm.Handshake, *evidence) { return accepted(t) }, nil, nil},
		{"both accept", func() (*tlsterm.Handshake, *evidence) { return proven(certpath.ReasonNone) }, nil, nil},
		{"both refuse", func() (*tlsterm.Handshake, *evidence) { return rejected(certpath.ReasonRevoked) }, nil, nil},
		{"the shadow would refuse", func() (*tlsterm.Handshake, *evidence) { return proven(certpath.ReasonRevoked) },
			[]ShadowDifference{{Identity: checkout, Reason: "revoked", Count: 1, Last: at}}, "would_refuse"},
		{"the shadow would accept", func() (*tlsterm.Handshake, *evidence) { return rejected(certpath.ReasonNone) },
			[]ShadowDifference{{Identity: checkout, Reason: "untrusted_chain", Accepts: true, Count: 1, Last: noon.Add(900 * time.Microsecond)}}, "would_accept"},
		{"who was not proven to be there breaks nothing", func() (*tlsterm.Handshake, *evidence) {
			h, e := proven(certpath.ReasonRevoked)
			h.Outcome, h.Reason = tlsterm.Failed, "pop_failed"
			e.claimed, e.id = e.id, e.claimed
			return h, e
		}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			var got []ShadowDifference
			log := audited(t, nil, func(tel *Telemetry) {
				tel.handshake(tt.handshake())
				got = tel.ShadowDifferences()
			})
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("ShadowDifferences() = %+v, want %+v", got, tt.want)
			}
			if record := events(t, log, "handshake")[0]; record["shadow"] != tt.member {
				t.Errorf("the record has shadow %v, want %v", record["shadow"], tt.member)
			}
		})
	}
}

// "If you switch, these break": those that are seen most come first, and beyond the
// bound the one that was not seen for the longest time goes.
func TestShadowDifferencesAreBounded(t *testing.T) {
	t.Parallel()
	tel := start(t, func(o *Options) { o.ShadowIdentities = 3 })
	h, e := accepted(t)
	shadowed(h, certpath.ReasonRevoked)
	meet := func(name string, times int) {
		e.id = id(t, "spiffe://prod.example/"+name)
		for range times {
			h.Start = h.Start.Add(time.Second)
			tel.handshake(h, e)
		}
	}
	meet("a", 5)
	meet("b", 2)
	meet("c", 7)
	meet("a", 1) // b is now the one that was not seen for the longest time
	meet("d", 1)
	var got []string
	for _, d := range tel.ShadowDifferences() {
		got = append(got, fmt.Sprintf("%s %d", d.Identity, d.Count))
	}
	if want := "[spiffe://prod.example/c 7 spiffe://prod.example/a 6 spiffe://prod.example/d 1]"; fmt.Sprint(got) != want {
		t.Errorf("ShadowDifferences() = %v, want %s", got, want)
	}
	for i := range 1000 {
		meet(fmt.Sprint("worker-", i), 1)
	}
	if n := len(tel.ShadowDifferences()); n != 3 {
		t.Errorf("after a thousand identities %d are remembered, want 3", n)
	}
}

// One identity can differ for several reasons, and in both directions.
func TestShadowDifferencesAreByReason(t *testing.T) {
	t.Parallel()
	tel := start(t, nil)
	for _, why := range []certpath.Reason{certpath.ReasonRevoked, certpath.ReasonExpired, certpath.ReasonRevoked} {
		h, e := accepted(t)
		tel.handshake(shadowed(h, why), e)
	}
	tel.Handshake(shadowed(refused(t), certpath.ReasonNone))
	got := tel.ShadowDifferences()
	if len(got) != 3 || got[0].Reason != "revoked" || got[0].Count != 2 {
		t.Errorf("ShadowDifferences() = %+v, want revoked twice in front of expired and untrusted_chain", got)
	}
}

// A live connection that is judged anew counts like a handshake, and leaves no record
// of one.
func TestShadowOfLiveConnectionsCounts(t *testing.T) {
	t.Parallel()
	const checkout = "spiffe://prod.example/ns/shop/sa/checkout"
	accepts := func(why certpath.Reason) *verifycache.Verdict {
		h, _ := accepted(t)
		return &shadowed(h, why).Verdict
	}
	refuses := func(why certpath.Reason) *verifycache.Verdict { return &shadowed(refused(t), why).Verdict }
	unshadowed, _ := accepted(t)
	tests := []struct {
		claim   string
		verdict *verifycache.Verdict
		want    []ShadowDifference
		series  string // without its name; empty: none
	}{
		{"without a shadow there is nothing to count", &unshadowed.Verdict, nil, ""},
		{"both accept", accepts(certpath.ReasonNone), nil, `outcome="agrees"`},
		{"both refuse", refuses(certpath.ReasonRevoked), nil, `outcome="agrees"`},
		{"the shadow would refuse who may stay", accepts(certpath.ReasonRevoked),
			[]ShadowDifference{{Identity: checkout, Reason: "revoked", Count: 2, Last: noon}}, `error_type="revoked",outcome="would_refuse"`},
		{"the shadow would keep who is refused now", refuses(certpath.ReasonNone),
			[]ShadowDifference{{Identity: checkout, Reason: "untrusted_chain", Accepts: true, Count: 2, Last: noon}},
			`error_type="untrusted_chain",outcome="would_accept"`},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			var got []ShadowDifference
			var text string
			log := audited(t, func(o *Options) { o.Now = func() time.Time { return noon } }, func(tel *Telemetry) {
				for range 2 {
					tel.ShadowJudged(id(t, checkout), tt.verdict)
				}
				got, text = tel.ShadowDifferences(), scrape(t, tel, textFormat)
			})
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("ShadowDifferences() = %+v, want %+v", got, tt.want)
			}
			const metric = "\nverigate_shadow_verdicts_total{"
			want := metric + tt.series + `,trust_domain="spiffe://prod.example"} 2` + "\n"
			if tt.series == "" && strings.Contains(text, metric) || tt.series != "" && !strings.Contains(text, want) {
				t.Errorf("the series is not {%s} 2:\n%s", tt.series, text)
			}
			if records := events(t, log, "handshake"); len(records) != 0 {
				t.Errorf("%d handshakes on record, want none: %s", len(records), log)
			}
		})
	}
}

// Live connections and handshakes add to the same series and the same differences.
func TestShadowOfLiveConnectionsAddsToThatOfHandshakes(t *testing.T) {
	t.Parallel()
	tel := start(t, nil)
	h, e := accepted(t)
	shadowed(h, certpath.ReasonRevoked)
	tel.handshake(h, e)
	tel.ShadowJudged(e.id, &h.Verdict)
	if got := tel.ShadowDifferences(); len(got) != 1 || got[0].Count != 2 {
		t.Errorf("ShadowDifferences() = %+v, want one, counted twice", got)
	}
	want := `verigate_shadow_verdicts_total{error_type="revoked",outcome="would_refuse",trust_domain="spiffe://prod.example"} 2`
	if text := scrape(t, tel, textFormat); !strings.Contains(text, want+"\n") {
		t.Errorf("exposition lacks %s:\n%s", want, text)
	}
}

// The list answers who still breaks, so it begins anew when a shadow is another one.
func TestDifferencesOfAShadowThatIsGoneAreForgotten(t *testing.T) {
	t.Parallel()
	s := newShadowTable(8)
	for _, name := range []string{"spiffe://prod.example/a", "spiffe://prod.example/b", "spiffe://prod.example.org/c", "wimse://prod.example/d"} {
		s.note(id(t, name), shadowWouldRefuse, certpath.ReasonRevoked, noon)
	}
	prod, err := workloadid.ParseOrigin("spiffe://prod.example")
	if err != nil {
		t.Fatal(err)
	}
	(&Telemetry{shadows: s}).ForgetShadow(prod)
	var left []string
	for _, d := range s.mostFrequentFirst() {
		left = append(left, d.Identity)
	}
	slices.Sort(left)
	if want := []string{"spiffe://prod.example.org/c", "wimse://prod.example/d"}; !slices.Equal(left, want) {
		t.Errorf("after the shadow of spiffe://prod.example was replaced the list has %q, want %q", left, want)
	}
	s.note(id(t, "spiffe://prod.example/a"), shadowWouldRefuse, certpath.ReasonRevoked, noon)
	if n := s.mostFrequentFirst()[0].Count; n != 1 {
		t.Errorf("a difference that was forgotten goes on at %d, want it to begin at 1", n)
	}
}
