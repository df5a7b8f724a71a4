package main

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"verigate/benchmarks/report"
)

// TestQuick measures every curve, at a few small points, with the real gateway.
func TestQuick(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	o := options{out: out, curves: "all", quick: true}
	if err := measure(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	run, err := report.Read(filepath.Join(out, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	positions := map[string][]float64{}
	for _, m := range run.Measurements {
		positions[m.Scenario] = append(positions[m.Scenario], m.X)
		if m.Scenario == fit {
			continue
		}
		if m.Operations == 0 || m.Failures != 0 || m.CPU <= 0 || m.Wall <= 0 {
			t.Errorf("%s at %v: %d operations, %d failures, CPU %v in %v; want some, none, and time", m.Scenario, m.Point, m.Operations, m.Failures, m.CPU, m.Wall)
		}
		if m.Scenario != newLeaf && (m.Latency == nil || m.Latency.P50 <= 0 || m.Latency.P99 < m.Latency.P50) {
			t.Errorf("%s at %v: latency %+v", m.Scenario, m.Point, m.Latency)
		}
		for name, v := range m.Values {
			if v <= 0 {
				t.Errorf("%s at %v: %s is %v", m.Scenario, m.Point, name, v)
			}
		}
	}
	for scenario, want := range map[string][]float64{
		fullHandshake: {0}, newLeaf: {0}, resumed: {0}, request1K: {0}, request64K: {0},
		"certificates": {1, 30}, "verdicts": {100, 1000}, "trust_domains": {1, 20}, "routes": {10, 1000}, "rules": {10, 1000},
		"crl_entries": {0, 1000}, "connections": {50, 150, 50, 150}, "cores_handshake": {1}, "cores_request": {1},
	} {
		if got := positions[scenario]; !slices.Equal(got, want) {
			t.Errorf("%s was measured at %v, want %v", scenario, got, want)
		}
	}
	for _, m := range run.Measurements {
		for _, name := range []string{"start_seconds", "reload_seconds", residentBytes, "peak_resident_bytes"} {
			if _, ok := m.Values[name]; !ok && slices.Contains([]string{"trust_domains", "routes", "rules", "crl_entries"}, m.Scenario) {
				t.Errorf("%s at %v lacks %s", m.Scenario, m.Point, name)
			}
		}
	}
	if _, err := modelOf(run); err != nil {
		t.Errorf("the run does not do for docs/capacity.md: %v", err)
	}
}

// TestDocument holds docs/capacity.md to the run that it was made of.
func TestDocument(t *testing.T) {
	t.Parallel()
	run, err := report.Read(filepath.FromSlash("../../" + capacityRun))
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(filepath.FromSlash("../../" + capacityDocument))
	if err != nil {
		t.Fatal(err)
	}
	want, err := fill(document, run)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(document, want) {
		t.Errorf("%s does not say what %s does; go run ./benchmarks/scaling -docs writes both", capacityDocument, capacityRun)
	}
}

func TestUnknownCurve(t *testing.T) {
	t.Parallel()
	err := measure(t.Context(), options{curves: "routes,speed"})
	if err == nil || !strings.Contains(err.Error(), `"speed"`) || !strings.Contains(err.Error(), "crl_entries") {
		t.Errorf("measure() = %v, want an error that names the curve and those that there are", err)
	}
}

func TestQuickFiguresAreNotPublished(t *testing.T) {
	t.Parallel()
	if err := measure(t.Context(), options{curves: "all", quick: true, docs: true}); err == nil || !strings.Contains(err.Error(), "-docs") {
		t.Errorf("measure() = %v, want an error that names -docs", err)
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	flags := flag.NewFlagSet("scaling", flag.ContinueOnError)
	flags.String("out", "", "")
	flags.Bool("keep", false, "")
	flags.String("curves", "all", "")
	flags.Int("rounds", 3, "")
	if err := flags.Parse([]string{"-keep", "-out", "/somewhere", "-rounds", "5"}); err != nil {
		t.Fatal(err)
	}
	if got, want := command(flags), "go run ./benchmarks/scaling -rounds=5"; got != want {
		t.Errorf("command() = %q, want %q", got, want)
	}
}

func TestLeastSquares(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name             string
		x, y             []float64
		slope, intercept float64
	}{
		{"points on a line", []float64{0, 10, 20}, []float64{5, 25, 45}, 2, 5},
		{"points beside one", []float64{0, 1, 2, 3}, []float64{1, 0, 3, 2}, 0.6, 0.6},
		{"one point", []float64{3, 3}, []float64{1, 2}, math.NaN(), math.NaN()},
	} {
		slope, intercept := leastSquares(tt.x, tt.y)
		same := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 || math.IsNaN(a) && math.IsNaN(b) }
		if !same(slope, tt.slope) || !same(intercept, tt.intercept) {
			t.Errorf("%s: leastSquares() = %v, %v, want %v, %v", tt.name, slope, intercept, tt.slope, tt.intercept)
		}
	}
}

// synthetic is a run in which everything costs what the test says.
func synthetic() *report.Run {
	run := &report.Run{Commit: "0123abc", Command: "go run ./benchmarks/scaling"}
	add := func(scenario string, x float64, micro int64, values map[string]float64) {
		run.Measurements = append(run.Measurements, report.Measurement{Scenario: scenario, Subject: subject, Round: 1, X: x,
			Operations: 1000, CPU: time.Duration(micro) * time.Millisecond, Values: values})
	}
	for scenario, micro := range map[string]int64{fullHandshake: 400, newLeaf: 500, resumed: 200, request1K: 20, request64K: 83} {
		add(scenario, 0, micro, nil)
	}
	for _, scenario := range fitted {
		for _, x := range []float64{0, 1000} {
			for _, leaves := range []string{"unique", "shared"} {
				if scenario != "connections" && leaves == "shared" {
					continue
				}
				add(scenario, x, 20, map[string]float64{residentBytes: 20<<20 + 2048*x})
				if scenario == "connections" {
					run.Measurements[len(run.Measurements)-1].Point = map[string]string{"leaves": leaves}
				}
			}
		}
	}
	return run
}

func TestModel(t *testing.T) {
	t.Parallel()
	run := synthetic()
	if _, err := modelOf(run); err == nil {
		t.Error("modelOf() of a run without lines through its points succeeds")
	}
	fits(run)
	once := len(run.Measurements)
	fits(run)
	if len(run.Measurements) != once {
		t.Errorf("fits() again: %d measurements, want %d", len(run.Measurements), once)
	}
	m, err := modelOf(run)
	if err != nil {
		t.Fatal(err)
	}
	for symbol, want := range map[string]float64{
		"full": 400e-6, "new": 500e-6, "resumed": 200e-6, "request": 20e-6, "kib": 1e-6, "base": 20 << 20,
		"connection": 2048, "shared": 2048, "verdict": 2048, "domain": 2048, "route": 2048, "rule": 2048, "crl": 2048,
	} {
		if got := m[symbol].value; math.Abs(got/want-1) > 1e-9 {
			t.Errorf("%s = %v, want %v", symbol, got, want)
		}
	}
	document := []byte("a\n<!-- begin coefficients -->\nstale\n<!-- end coefficients -->\nb\n<!-- begin sizes -->\n<!-- end sizes -->\n" +
		"c\n<!-- begin example -->\n<!-- end example -->\nd\n")
	first, err := fill(document, run)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| `full` | connection with a full handshake, its verdict known, and its first request | 400 µs | one round | full_handshake |",
		"| together | 2.41 |\n| at 60 % utilisation | 5 |", // 1450 · 400 + 50 · 500 + 3500 · 200 + 55 000 · 20 µs
		"So 4 instances of 2 cores.",
		"| routes, requests | 1 000 | 20 µs |",
	} {
		if !bytes.Contains(first, []byte(want)) {
			t.Errorf("the document lacks %q:\n%s", want, first)
		}
	}
	if bytes.Contains(first, []byte("stale")) {
		t.Error("the old table is still there")
	}
	second, err := fill(first, run)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("fill() once more, %v, changes the document to\n%s", err, second)
	}
	if _, err := fill([]byte("no marks"), run); err == nil {
		t.Error("fill() of a document without marks succeeds")
	}
}

// TestKeep: curves of an earlier run stay, unless they are measured anew.
func TestKeep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	earlier := synthetic()
	if err := report.Write(dir, earlier); err != nil {
		t.Fatal(err)
	}
	again := report.Measurement{Scenario: "routes", Subject: subject, Round: 1, Operations: 1}
	b := &bench{options: options{out: dir}, run: &report.Run{Commit: earlier.Commit, Command: "now", Measurements: []report.Measurement{again}}}
	old, err := b.earlier()
	if err != nil {
		t.Fatal(err)
	}
	b.keepOthers(old)
	routes := 0
	for _, m := range b.run.Measurements {
		if m.Scenario == "routes" {
			routes++
		}
	}
	if want := len(earlier.Measurements) - 2 + 1; routes != 1 || len(b.run.Measurements) != want {
		t.Errorf("%d measurements, %d of routes; want %d and the new one", len(b.run.Measurements), routes, want)
	}
	b.run.Commit = "4567def"
	if _, err := b.earlier(); err == nil {
		t.Error("figures of another commit are mixed in")
	}
	b.out = t.TempDir()
	if old, err := b.earlier(); old != nil || err != nil {
		t.Errorf("earlier() = %v, %v where there is none", old, err)
	}
}
