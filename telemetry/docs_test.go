package telemetry

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/metrics.md, and the example of docs/audit-record.md, anew")

const (
	metricsDoc = "../docs/metrics.md"
	auditDoc   = "../docs/audit-record.md"
)

// The catalogue is the source of docs/metrics.md; -update writes it anew.
func TestMetricsDocumentIsGenerated(t *testing.T) {
	t.Parallel()
	want := metricsDocument()
	if *update {
		if err := os.WriteFile(metricsDoc, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := must(os.ReadFile(metricsDoc))(t); !bytes.Equal(got, want) {
		t.Errorf("%s is not what the catalogue says: run go test ./telemetry -run Document -update", metricsDoc)
	}
}

func metricsDocument() []byte {
	var b bytes.Buffer
	b.WriteString(`# Metrics

Generated from ` + "`telemetry/names.go`" + ` by ` + "`go test ./telemetry -run Document -update`" + `; do not edit.

The admin listener serves these at ` + "`/metrics`" + ` in the Prometheus text format, as OpenMetrics (which carries exemplars) or as
protobuf; with ` + "`telemetry.otlp`" + ` set they are pushed to a collector as well. OpenTelemetry names have dots, Prometheus names
underscores, the unit and ` + "`_total`" + `. Histograms are cumulative with explicit buckets. Beside them there are the Go runtime's and the
process's own metrics (` + "`go_*`, `process_*`" + `); ` + "`go_sched_latencies_seconds`" + ` is the earliest sign of overload.

No label carries an identity, a serial number, an address, a server name or a path: those are in the
[audit record](audit-record.md) and in spans. Each instrument has at most ` + fmt.Sprintf("%d", defaultSeries) + ` series; what comes beyond goes to one
with ` + "`otel_metric_overflow=\"true\"`" + `, which should never appear.

## Instruments

| OpenTelemetry | Prometheus | kind | unit | labels | what it says |
|---|---|---|---|---|---|
`)
	used := make(map[string]bool)
	for _, i := range Instruments() {
		labels := make([]string, len(i.Labels))
		for n, l := range i.Labels {
			labels[n] = "`" + l + "`"
			used[l] = true
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %v | `%s` | %s | %s |\n", i.Name, i.PrometheusName(), i.Kind, i.Unit, strings.Join(labels, ", "), i.Help)
	}
	b.WriteString("\n## Labels\n\n| label | Prometheus | values |\n|---|---|---|\n")
	for _, l := range slices.Sorted(maps.Keys(used)) {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", l, strings.ReplaceAll(l, ".", "_"), labelHelp[l])
	}
	b.WriteString("\n## Buckets\n\nUpper bounds, inclusive.\n\n| instrument | bounds |\n|---|---|\n")
	for _, i := range Instruments() {
		if i.Kind != Histogram {
			continue
		}
		bounds := make([]string, len(i.Bounds))
		for n, d := range i.Bounds {
			bounds[n] = d.String()
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", i.Name, strings.Join(bounds, " "))
	}
	return b.Bytes()
}

// examples returns the records that docs/audit-record.md begins with.
func examples(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	add := func(f func(*line)) {
		var l line
		f(&l)
		b.Write(l.b)
	}
	b.Write(instance{service: "verigate", id: "gw-1", version: "1.0.0"}.record(func() time.Time { return noon })(eventStart))
	h, e := accepted(t)
	add(func(l *line) { l.handshake(h, e, Trace{}) })
	bad := refused(t)
	claimed := evidenceOf(bad)
	add(func(l *line) { l.handshake(bad, &claimed, Trace{}) })
	add(func(l *line) { l.request(served(t), exampleTrace) })
	again, provenAgain := resumed(t)
	add(func(l *line) { l.handshake(again, provenAgain, Trace{}) })
	add(func(l *line) { l.request(understated(t), exampleTrace) })
	add(func(l *line) { l.end(thrownOut(t)) })
	replaced, broken := changed(), refusedChange()
	add(func(l *line) { l.trust(&replaced, noon) })
	add(func(l *line) { l.trust(&broken, noon) })
	add(func(l *line) { l.open(noon, eventSuppressed); l.unsigned("count", 8714); l.close() })
	add(func(l *line) { l.open(noon, eventLost); l.unsigned("count", 21); l.close() })
	s := newSealer()
	s.write([]byte(b.String()))
	record, _ := s.record(noon)
	b.Write(record)
	return b.String()
}

var exampleBlock = regexp.MustCompile("(?s)```json\n(.*?)```\n")

func TestAuditDocumentShowsRealRecords(t *testing.T) {
	t.Parallel()
	document := string(must(os.ReadFile(auditDoc))(t))
	found := exampleBlock.FindStringSubmatchIndex(document)
	if found == nil {
		t.Fatalf("%s has no ```json block", auditDoc)
	}
	want := examples(t)
	if *update {
		document = document[:found[2]] + want + document[found[3]:]
		if err := os.WriteFile(auditDoc, []byte(document), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := document[found[2]:found[3]]; got != want {
		t.Errorf("the example in %s is\n%s\nwant\n%s", auditDoc, got, want)
	}
	if got, err := VerifySeals(strings.NewReader(want)); err != nil || got.Count != 1 || got.Unsealed != 0 {
		t.Errorf("VerifySeals() of the example = %+v, %v, want one seal over all", got, err)
	}
}

// The tables of docs/audit-record.md list the members of each record, all of them,
// in the order in which they are written.
func TestAuditDocumentListsEveryMemberInOrder(t *testing.T) {
	t.Parallel()
	document := string(must(os.ReadFile(auditDoc))(t))
	h, e := accepted(t)
	bad := refused(t)
	stolen := refused(t)
	stolen.Verdict.Err, stolen.Err = nil, errDisk
	claimed := evidenceOf(bad)
	stolenEvidence := claimed
	stolenEvidence.claimedLeaf = [32]byte{1}
	anonymous := served(t)
	anonymous.ClaimedID, anonymous.Caller = anonymous.Caller, claimed.id
	anonymous.Decision, anonymous.Reason = DecisionDenied, "policy_denied"
	long := longest(t)
	longClaim := evidenceOf(long)
	again, provenAgain := resumed(t)
	broken := refusedChange()
	s := newSealer()
	s.prev = [32]byte{1}
	s.write([]byte("\n"))

	for event, lines := range map[string][]func(*line){
		eventStart:  {func(l *line) { l.b = instance{"a", "b", "c"}.record(time.Now)(eventStart) }},
		eventReopen: {func(l *line) { l.b = instance{"a", "b", "c"}.record(time.Now)(eventReopen) }},
		eventHandshake: {
			func(l *line) { l.handshake(h, e, exampleTrace) },
			func(l *line) { l.handshake(bad, &claimed, exampleTrace) },
			func(l *line) { l.handshake(stolen, &stolenEvidence, exampleTrace) },
			func(l *line) { l.handshake(long, &longClaim, exampleTrace) },
			func(l *line) { l.handshake(again, provenAgain, exampleTrace) },
		},
		eventRequest: {
			func(l *line) { l.request(served(t), exampleTrace) },
			func(l *line) { l.request(anonymous, exampleTrace) },
			func(l *line) { l.request(understated(t), exampleTrace) },
		},
		eventEnd:        {func(l *line) { l.end(thrownOut(t)) }},
		eventTrust:      {func(l *line) { l.trust(&broken, noon) }},
		eventSuppressed: {func(l *line) { l.open(noon, eventSuppressed); l.unsigned("count", 1); l.close() }},
		eventLost:       {func(l *line) { l.open(noon, eventLost); l.unsigned("count", 1); l.close() }},
		eventSeal:       {func(l *line) { l.b, _ = s.record(noon) }},
	} {
		documented := members(t, document, event)
		written := make(map[string]bool)
		for _, f := range lines {
			var l line
			f(&l)
			at := -1
			for _, name := range keys(t, l.b) {
				next := slices.Index(documented, name)
				if next <= at {
					t.Errorf("%s: member %s is undocumented or out of order: %v", event, name, documented)
				}
				at = next
				written[name] = true
			}
		}
		for _, name := range documented {
			if !written[name] && name != "truncated" {
				t.Errorf("%s: documented member %s was never written", event, name)
			}
		}
	}
}

// members returns the first column of the tables that apply to event: the common
// one and its own.
func members(t *testing.T, document, event string) (names []string) {
	t.Helper()
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|")
	for _, heading := range []string{"### Every record", "### `" + event + "`"} {
		_, section, ok := strings.Cut(document, heading+"\n")
		if !ok {
			t.Fatalf("%s has no section %q", auditDoc, heading)
		}
		section, _, _ = strings.Cut(section, "\n#")
		for _, m := range row.FindAllStringSubmatch(section, -1) {
			names = append(names, m[1])
		}
	}
	// The one common member that comes last.
	if i := slices.Index(names, "truncated"); i >= 0 {
		names = append(slices.Delete(names, i, i+1), "truncated")
	}
	return names
}

// keys returns the members of the outer object of a record, in order.
func keys(t *testing.T, record []byte) (names []string) {
	t.Helper()
	checkLine(t, record)
	outer := regexp.MustCompile(`\[\{.*\}\]`).ReplaceAll(record, []byte("0"))
	for _, m := range regexp.MustCompile(`[{,]"([a-z0-9_]+)":`).FindAllSubmatch(outer, -1) {
		names = append(names, string(m[1]))
	}
	return names
}
