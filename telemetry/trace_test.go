package telemetry

import (
	"strings"
	"testing"
)

const (
	callersID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan   = "00f067aa0ba902b7"
	callersParent = "00-" + callersID + "-" + callersSpan + "-01"
)

func TestTraceParentIsTakenOnlyIfWellFormed(t *testing.T) {
	t.Parallel()
	tel := start(t, nil)
	for _, tt := range []struct {
		name, in string
		linked   bool
	}{
		{"sampled", callersParent, true},
		{"not sampled", "00-" + callersID + "-" + callersSpan + "-00", true},
		{"unknown flags", "00-" + callersID + "-" + callersSpan + "-ff", true},
		{"a later version", "cc-" + callersID + "-" + callersSpan + "-01", true},
		{"a later version with more fields", "cc-" + callersID + "-" + callersSpan + "-01-what", true},
		{"nothing", "", false},
		{"version 00 with more fields", callersParent + "-what", false},
		{"a later version with something else behind", "cc-" + callersID + "-" + callersSpan + "-01.what", false},
		{"version ff", "ff-" + callersID + "-" + callersSpan + "-01", false},
		{"upper case", strings.ToUpper(callersParent), false},
		{"no trace", "00-" + strings.Repeat("0", 32) + "-" + callersSpan + "-01", false},
		{"no parent", "00-" + callersID + "-" + strings.Repeat("0", 16) + "-01", false},
		{"too short", callersParent[:54], false},
		{"wrong separator", strings.Replace(callersParent, "-", "_", 1), false},
		{"no hexadecimal digit", strings.Replace(callersParent, "4b", "4g", 1), false},
		{"a space before", " " + callersParent, false},
		{"two values", callersParent + "," + callersParent, false},
	} {
		for _, tr := range []Trace{tel.Trace(tt.in), tel.TraceBytes([]byte(tt.in))} {
			if tr.IsZero() {
				t.Errorf("%s: Trace(%q) is zero, want a trace in any case", tt.name, tt.in)
			}
			if got := string(tr.AppendID(nil)); (got == callersID) != tt.linked {
				t.Errorf("%s: Trace(%q) is in trace %s, want the caller's: %v", tt.name, tt.in, got, tt.linked)
			}
		}
	}
}

func TestOutgoingTraceParentIsOurOwnChild(t *testing.T) {
	t.Parallel()
	tel := start(t, nil)
	got := string(tel.Trace(callersParent).AppendTraceParent(nil))
	back := parseTraceParent(got)
	if len(got) != 55 || back.IsZero() || !strings.HasPrefix(got, "00-"+callersID+"-") || strings.Contains(got, callersSpan) {
		t.Errorf("outgoing traceparent = %q, want a well-formed one in the caller's trace and another parent", got)
	}
	if back.sampled {
		t.Errorf("outgoing traceparent = %q, want it not sampled without a collector", got)
	}
	if again := string(tel.Trace(callersParent).AppendTraceParent(nil)); again == got {
		t.Errorf("two requests have the same span %q", got)
	}
	if got := (Trace{}).AppendTraceParent(nil); len(got) != 0 {
		t.Errorf("the zero Trace yields %q, want nothing", got)
	}
}

// AUD-09: callers that all ask to be sampled get no more than the ratio twice over.
func TestCallersCannotForceSampling(t *testing.T) {
	t.Parallel()
	const requests, ratio = 200_000, 0.01
	count := func(hint bool) (n float64) {
		s := newSampler(ratio)
		for range requests {
			if s.sample(hint) {
				n++
			}
		}
		return n / requests
	}
	if got := count(false); got < 0.8*ratio || got > 1.2*ratio {
		t.Errorf("without hints %v of the requests are sampled, want about %v", got, ratio)
	}
	if got := count(true); got < 1.6*ratio || got > 2.4*ratio {
		t.Errorf("with a hint on each %v of the requests are sampled, want about twice %v", got, ratio)
	}
}

func TestRareHintsAreFollowed(t *testing.T) {
	t.Parallel()
	s := newSampler(0.05)
	followed := 0
	for i := range 100_000 {
		if hint := i%1000 == 999; s.sample(hint) && hint {
			followed++
		}
	}
	if followed < 95 {
		t.Errorf("%d of 100 hints followed, want nearly all: they are far below the ratio", followed)
	}
}

// What is accepted is what the grammar says, and reads back as itself.
func FuzzTraceParent(f *testing.F) {
	f.Add(callersParent)
	f.Add("cc-" + callersID + "-" + callersSpan + "-01-x")
	f.Add(strings.Repeat("-", 55))
	f.Fuzz(func(t *testing.T, s string) {
		tr := parseTraceParent(s)
		if tr != parseTraceParent([]byte(s)) {
			t.Fatalf("parseTraceParent(%q) differs between string and octets", s)
		}
		if tr.IsZero() {
			return
		}
		tr.client = tr.parent
		got := string(tr.AppendTraceParent(nil))
		if got[2:53] != s[2:53] {
			t.Errorf("parseTraceParent(%q) is written as %q", s, got)
		}
	})
}
