package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// example is a comparison of three subjects in three rounds, and a curve.
func example() *Run {
	run := &Run{
		Title:   "Peers",
		Started: time.Date(2026, 11, 22, 12, 30, 0, 0, time.UTC),
		Commit:  "0123abc",
		Command: "go run ./benchmarks/peers -rounds 3",
		Machine: Machine{CPU: "Some CPU @ 3 GHz", Cores: 2, Kernel: "6.1.0", Go: "go1.26.0"},
		Subjects: []Subject{
			{Name: "Verigate", Version: "1.0"},
			{Name: "nginx", Version: "1.22.1", Settings: "one worker"},
			{Name: "HAProxy", Version: "2.6.12"},
		},
		Targets: []Target{
			{Scenario: "handshake_cached", Figure: CPU, Peer: "nginx", AtMost: 0.25},
			{Scenario: "handshake_cached", Figure: CPU, Peer: "HAProxy", AtMost: 0.1},
			{Scenario: "idle", Point: map[string]string{"leaves": "unique"}, Figure: "resident_bytes_per_connection", Peer: "nginx", AtMost: 0.5},
			{Scenario: "overload", Figure: "goodput_share", AtLeast: 0.9},
			{Scenario: "handshake_cached", Figure: CPU, Peer: "nobody", AtMost: 0.5},                                 // who was not there
			{Scenario: "flood", Point: map[string]string{"flood": "512"}, Figure: P99, Peer: "HAProxy", AtMost: 1.5}, // which was not measured
		},
		Notes: []string{"Generator and subjects share the machine."},
	}
	for round := 1; round <= 3; round++ {
		for i, subject := range run.Subjects {
			factor := []float64{1, 4, 4.5}[i] * (1 + 0.02*float64(round))
			micro := func(v float64) time.Duration { return time.Duration(v * factor * float64(time.Microsecond)) }
			run.Measurements = append(run.Measurements, Measurement{
				Scenario: "handshake_cached", Subject: subject.Name, Round: round, Point: map[string]string{"key": "P-256"},
				Operations: 1000, Wall: micro(400_000), CPU: micro(320_000),
				Latency: &Latency{P50: micro(300), P90: micro(500), P99: micro(900), Max: micro(2500)},
			}, Measurement{
				Scenario: "idle", Subject: subject.Name, Round: round, Point: map[string]string{"leaves": "unique", "connections": "5000"},
				Operations: 5000, Values: map[string]float64{"resident_bytes_per_connection": 16384 * float64(i+1) * (1 + float64(round*round*i)/20)},
			})
		}
		run.Measurements = append(run.Measurements, Measurement{
			Scenario: "overload", Subject: "Verigate", Round: round, Operations: 100, Failures: 3,
			Values: map[string]float64{"goodput_share": 0.88 + 0.01*float64(round)},
		})
		for _, routes := range []float64{0, 10, 1000, 100_000} {
			run.Measurements = append(run.Measurements, Measurement{
				Scenario: "routes", Subject: "Verigate", Round: round, Point: map[string]string{"routes": fmt.Sprint(int(routes))}, X: routes,
				Operations: 1000, CPU: time.Duration(18_000_000 + 100*routes + 200_000*float64(round)),
				Values: map[string]float64{"start_seconds": 0.05 + routes/1e5},
			})
		}
	}
	return run
}

func TestGolden(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Write(dir, example()); err != nil {
		t.Fatal(err)
	}
	after := example()
	after.Commit = "4567def"
	for i := range after.Measurements {
		after.Measurements[i].CPU /= 2
	}
	got := map[string][]byte{
		"ledger.md": []byte(LedgerRow(example())), "compare.md": []byte(Compare(example(), after)),
		"verdicts.txt": []byte(strings.Join(Verdicts(example()), "\n") + "\n"),
	}
	for _, name := range []string{"run.json", "run.md", "run.html"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = data
	}
	for name, data := range got {
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, data, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, want) {
			t.Errorf("%s is not what %s says; run the test with -update and look at the difference. Got:\n%s", name, golden, data)
		}
	}
}

func TestReadReturnsWhatWriteWrote(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "folder")
	if err := Write(dir, example()); err != nil {
		t.Fatal(err)
	}
	again := example()
	again.Title = "Once more"
	if err := Write(dir, again); err != nil {
		t.Fatalf("Write() over a former run: %v", err)
	}
	got, err := Read(filepath.Join(dir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, again) {
		t.Errorf("Read() = %+v, want what was written, %+v", got, again)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 3 {
		t.Errorf("the folder holds %v, want the three files alone", left)
	}
}

func TestReadRefusesWhatIsNoRun(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "run.json")
	if _, err := Read(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Read() of no file = %v, want os.ErrNotExist", err)
	}
	if err := os.WriteFile(path, []byte(`{"title": 5}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("Read() takes a title that is a number")
	}
}

// TestFiguresThatAreNoNumbers: a figure that was divided by zero costs itself, not
// the run.
func TestFiguresThatAreNoNumbers(t *testing.T) {
	t.Parallel()
	run := example()
	run.Measurements[0].Values = map[string]float64{"bad": math.NaN(), "worse": math.Inf(1), "good": 1}
	run.Measurements[1].X = math.NaN()
	dir := t.TempDir()
	if err := Write(dir, run); err != nil {
		t.Fatal(err)
	}
	got, err := Read(filepath.Join(dir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]float64{"good": 1}; !reflect.DeepEqual(got.Measurements[0].Values, want) {
		t.Errorf("values = %v, want %v", got.Measurements[0].Values, want)
	}
	if last := got.Notes[len(got.Notes)-1]; last != "3 figures were no numbers and are left out." {
		t.Errorf("last note = %q", last)
	}
	if len(run.Notes) != 1 || len(run.Measurements[0].Values) != 3 {
		t.Error("Write() changed the run of its caller")
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		values []float64
		median float64
		text   string
	}{
		{"no round", nil, math.NaN(), ""},
		{"one round tells nothing", []float64{5}, 5, "one round"},
		{"the same each time", []float64{5, 5, 5}, 5, "0 %"},
		{"three rounds", []float64{90, 100, 104}, 100, "7 %"},
		{"five rounds, one of them disturbed", []float64{100, 101, 300, 99, 100}, 100, "1 %"},
		{"five rounds of a machine that wanders", []float64{100, 120, 140, 160, 180}, 140, "29 % (wide)"},
		{"just not wide", []float64{90, 100, 110}, 100, "10 %"},
		{"two rounds", []float64{100, 200}, 150, "33 % (wide)"},
		{"around zero", []float64{-1, 0, 1}, 0, "–"},
	} {
		var s sample
		for i, v := range tt.values {
			s = append(s, roundValue{i + 1, v})
		}
		if got := s.median(); got != tt.median && !(math.IsNaN(got) && math.IsNaN(tt.median)) {
			t.Errorf("%s: median = %v, want %v", tt.name, got, tt.median)
		}
		if got := spreadOf(s); got != tt.text {
			t.Errorf("%s: spread = %q, want %q", tt.name, got, tt.text)
		}
	}
}

// TestRatiosArePaired: a machine that becomes slower from round to round changes
// every figure and no ratio.
func TestRatiosArePaired(t *testing.T) {
	t.Parallel()
	own := sample{{1, 10}, {2, 20}, {3, 30}, {4, 7}}
	peer := sample{{3, 120}, {1, 40}, {2, 80}, {5, 9}, {4, 0}}
	if got := own.over(peer); !reflect.DeepEqual(got, sample{{1, 0.25}, {2, 0.25}, {3, 0.25}}) {
		t.Errorf("over() = %v, want 0.25 in the three rounds that both have", got)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		target Target
		values []float64
		want   string
	}{
		{Target{AtMost: 0.25, Peer: "nginx"}, []float64{0.2, 0.21}, "≤ 0.25 met"},
		{Target{AtMost: 0.25, Peer: "nginx"}, []float64{0.3, 0.31}, "≤ 0.25 missed"},
		{Target{AtMost: 0.25, Peer: "nginx"}, []float64{0.2, 0.21, 0.3}, "≤ 0.25 met by the median"},
		{Target{AtMost: 0.25, Peer: "nginx"}, []float64{0.2, 0.26, 0.3}, "≤ 0.25 missed by the median"},
		{Target{AtLeast: 0.9, Peer: "nginx"}, []float64{0.95, 0.96}, "≥ 0.9 met"},
		{Target{AtMost: 0.003, Figure: P99}, []float64{0.002}, "≤ 3 ms met in one round"},
		{Target{AtMost: 1, AtLeast: 0.5, Peer: "nginx"}, []float64{0.4}, "≤ 1, ≥ 0.5 missed in one round"},
		{Target{AtMost: 1, Peer: "nginx"}, nil, "≤ 1 not measured"},
	} {
		o := outcome{target: tt.target}
		for i, v := range tt.values {
			o.value = append(o.value, roundValue{i, v})
		}
		if got := o.bound() + " " + o.verdict(); got != tt.want {
			t.Errorf("%+v of %v: %q, want %q", tt.target, tt.values, got, tt.want)
		}
	}
}

// A percentile of too few operations would be their maximum by another name.
func TestPercentilesOfFewOperations(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		count    int64
		p90, p99 bool
	}{{0, true, true}, {9, false, false}, {10, true, false}, {99, true, false}, {100, true, true}} {
		m := Measurement{Latency: &Latency{P50: 1, P90: 2, P99: 3, Max: 4, Count: tt.count}}
		_, p50 := m.figure(P50)
		_, p90 := m.figure(P90)
		_, p99 := m.figure(P99)
		_, longest := m.figure(Max)
		if !p50 || p90 != tt.p90 || p99 != tt.p99 || !longest {
			t.Errorf("of %d operations: p50 %t, p90 %t, p99 %t, max %t", tt.count, p50, p90, p99, longest)
		}
	}
}

// TestDisturbed: others on the core and a core that stands still disturb, up to a bound neither.
func TestDisturbed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		foreign, still float64
		want           bool
	}{
		{0, 0, false},
		{TooForeign, TooStill, false},
		{2 * TooForeign, 0, true},
		{0, 2 * TooStill, true},
	} {
		m := Measurement{Values: map[string]float64{ForeignShare: tt.foreign, Standstill: tt.still}}
		if got := m.Disturbed(); got != tt.want {
			t.Errorf("with %v of the core used by others, which stood still for %v s: disturbed %t, want %t", tt.foreign, tt.still, got, tt.want)
		}
	}
}

// TestWarnings: what a reader must know before the figures stands before them.
func TestWarnings(t *testing.T) {
	t.Parallel()
	quiet := func() *Run {
		run := example()
		run.Measurements = slices.DeleteFunc(run.Measurements, func(m Measurement) bool { return m.Scenario != "handshake_cached" })
		return run
	}
	if got := Warnings(quiet()); got != nil {
		t.Errorf("warnings of a quiet run = %q, want none", got)
	}
	for _, tt := range []struct {
		name   string
		change func(*Run)
		want   string
	}{
		{"CPU time that spreads", func(r *Run) { r.Measurements[0].CPU *= 2; r.Measurements[3].CPU *= 3 },
			"The machine was not quiet: 1 of 3 figures have a spread of more than 10 %. Run it again before believing them. " +
				"handshake_cached, key P-256, Verigate, CPU per operation: "},
		{"a single round", func(r *Run) { r.Measurements = r.Measurements[:3] }, "3 of 3 figures come from a single round"},
		{"others on the core", func(r *Run) {
			for i, share := range []float64{0.05, 0.2, 0.1, 0.3} {
				r.Measurements[i].Values = map[string]float64{ForeignShare: share}
			}
		}, "Others used the subject's core in 3 of 4 measurements, for more than 5 % of the time: median 20 %, worst 30 % (handshake_cached 30 %)."},
		{"a core that stands still", func(r *Run) {
			for i, seconds := range []float64{0.005, 0.02, 0.001, 0.008} {
				r.Measurements[i].Values = map[string]float64{Standstill: seconds}
			}
		}, "The subject's core stood still for everybody in 2 of 4 measurements, for more than 5 ms at a time: median 14 ms, worst 20 ms (handshake_cached 20 ms)."},
		{"failures", func(r *Run) { r.Measurements[0].Failures = 1500 }, "1 500 operations failed"},
		{"changes in the tree", func(r *Run) { r.Commit += "-dirty" }, "The tree had changes"},
	} {
		run := quiet()
		tt.change(run)
		got := Warnings(run)
		if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) {
			t.Errorf("%s: warnings = %q, want one that begins with %q", tt.name, got, tt.want)
			continue
		}
		before, _, _ := strings.Cut(Markdown(run), "## ")
		if !strings.Contains(before, escape(got[0])) {
			t.Errorf("%s: the warning does not stand before the first table", tt.name)
		}
	}
	run := quiet()
	run.Measurements[0].CPU *= 2
	run.Measurements[3].CPU *= 3
	if table := Markdown(run); !strings.Contains(table, "% (wide)") {
		t.Errorf("the figure itself is not marked:\n%s", table)
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		figure string
		v      float64
		want   string
	}{
		{CPU, 0.000320, "320 µs"},
		{CPU, 0.00149, "1.49 ms"},
		{CPU, 9.999e-4, "1 ms"},
		{CPU, 0, "0"},
		{P99, 12.345, "12.3 s"},
		{"start_seconds", 0.5, "500 ms"},
		{"resident_bytes_per_connection", 16384, "16 KiB"},
		{"resident_bytes", 3 << 30, "3 GiB"},
		{"goodput_per_second", 12345.6, "12 346"},
		{"share", 0.98765, "0.988"},
		{"share", 0.00001, "1e-05"},
		{"slope", -1234567, "-1 234 567"},
		{"slope", math.NaN(), "–"},
		{"requests_per_second", 999.9, "1 000"},
	} {
		if got := Format(tt.figure, tt.v); got != tt.want {
			t.Errorf("Format(%q, %v) = %q, want %q", tt.figure, tt.v, got, tt.want)
		}
	}
}

// TestHostileNames: whatever others call themselves stays text.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	const evil = "</title></svg><script>alert(1)</script>|`*[a](javascript:b)\n# x \"' onload=\"c"
	run := example()
	run.Title, run.Commit, run.Command, run.Notes = evil, evil, evil, []string{evil}
	run.Machine = Machine{CPU: evil, Kernel: evil, Go: evil}
	for i := range run.Subjects {
		old := run.Subjects[i].Name
		name := fmt.Sprint(i, evil)
		for j := range run.Measurements {
			if m := &run.Measurements[j]; m.Subject == old {
				m.Subject = name
			}
		}
		run.Subjects[i] = Subject{Name: name, Version: evil, Settings: evil}
	}
	for j := range run.Measurements {
		m := &run.Measurements[j]
		m.Scenario += evil
		m.Point = map[string]string{evil: evil}
		m.Values = map[string]float64{evil: 1}
	}
	page, err := HTML(run)
	if err != nil {
		t.Fatal(err)
	}
	for _, markup := range []string{"<script", "</title></svg>", `" onload="`} {
		if bytes.Contains(page, []byte(markup)) {
			t.Errorf("the page contains %q as markup", markup)
		}
	}
	for name, text := range map[string]string{"Markdown": Markdown(run), "LedgerRow": LedgerRow(run), "Compare": Compare(run, run)} {
		columns := 0
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "# x") || strings.Contains(line, "<script") && !strings.HasPrefix(line, "`") && !strings.Contains(line, "· `") {
				t.Errorf("%s has a line of markup that is a name: %q", name, line)
			}
			if !strings.HasPrefix(line, "|") {
				columns = 0
				continue
			}
			n := strings.Count(strings.ReplaceAll(strings.ReplaceAll(line, `\\`, ""), `\|`, ""), "|")
			if columns != 0 && n != columns {
				t.Errorf("%s: a row of %d columns in a table of %d: %q", name, n-1, columns-1, line)
			}
			columns = n
		}
	}
}

// TestPageIsSelfContained: nothing is fetched, nothing runs, and every drawing can be
// read aloud.
func TestPageIsSelfContained(t *testing.T) {
	t.Parallel()
	page, err := HTML(example())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(page), `xmlns="http://www.w3.org/2000/svg"`, "")
	for _, reference := range []string{"http:", "https:", "src=", "url(", "@import", "<script", "<link"} {
		if strings.Contains(text, reference) {
			t.Errorf("the page contains %q", reference)
		}
	}
	if strings.Contains(text, "ZgotmplZ") || strings.Contains(text, "NaN") {
		t.Error("the template could not place a value")
	}
	drawings := strings.Split(text, "<svg")[1:]
	if len(drawings) == 0 {
		t.Fatal("there is no drawing")
	}
	for _, d := range drawings {
		d, _, _ = strings.Cut(d, "</svg>")
		if !strings.Contains(d, `role="img"`) || !strings.Contains(d, "<title>") || strings.Contains(d, "<desc></desc>") || !strings.Contains(d, "<desc>") {
			t.Errorf("a drawing lacks role, title or description: %s", d)
		}
		decoder := xml.NewDecoder(strings.NewReader("<svg" + d + "</svg>"))
		for {
			if _, err := decoder.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Errorf("a drawing is no XML: %v\n%s", err, d)
				break
			}
		}
	}
}

// TestEmptyRun: a run that was interrupted before anything was measured can be kept.
func TestEmptyRun(t *testing.T) {
	t.Parallel()
	run := new(Run)
	if err := Write(t.TempDir(), run); err != nil {
		t.Error(err)
	}
	LedgerRow(run)
	Compare(run, run)
}

func TestThisMachine(t *testing.T) {
	t.Parallel()
	m := ThisMachine()
	if m.CPU == "" || m.Cores < 1 || m.Kernel == "" || m.Kernel == "unknown" || !strings.HasPrefix(m.Go, "go") {
		t.Errorf("ThisMachine() = %+v", m)
	}
}

// TestThisCommit makes a repository and changes what is in it.
func TestThisCommit(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(dir))
	if got := ThisCommit(); got != "unknown" {
		t.Errorf("ThisCommit() = %q where there is no repository", got)
	}
	git := func(args ...string) {
		t.Helper()
		command := exec.Command("git", append([]string{"-c", "user.name=n", "-c", "user.email=e@example.com"}, args...)...)
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.go", "package a\n")
	write("a.md", "# A\n")
	git("init", "--quiet")
	git("add", ".")
	git("commit", "--quiet", "--message", "first")
	clean := ThisCommit()
	if clean == "" || strings.HasSuffix(clean, "-dirty") {
		t.Errorf("ThisCommit() = %q of a clean tree", clean)
	}
	write("a.md", "# B\n")
	if got := ThisCommit(); got != clean {
		t.Errorf("ThisCommit() = %q with a changed document, want %q", got, clean)
	}
	write("a.pgo", "")
	if got := ThisCommit(); got != clean+"-dirty" {
		t.Errorf("ThisCommit() = %q with a profile that is in no commit, want %q", got, clean+"-dirty")
	}
	git("add", ".")
	git("commit", "--quiet", "--message", "second")
	clean = ThisCommit()
	write("a.go", "package b\n")
	if got := ThisCommit(); got != clean+"-dirty" {
		t.Errorf("ThisCommit() = %q with changed Go, want %q", got, clean+"-dirty")
	}
}
