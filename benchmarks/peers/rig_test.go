package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"verigate/benchmarks/peers/load"
	"verigate/benchmarks/pinned"
	"verigate/benchmarks/report"
	"verigate/devpki"
)

// brief are options for a run that is over in seconds and whose figures mean nothing.
func brief(t *testing.T, show *bytes.Buffer) options {
	t.Helper()
	return options{
		paths: map[string]string{}, peers: []string{"verigate", "nginx", "haproxy"}, out: t.TempDir(), scratch: t.TempDir(), show: show,
		key: devpki.P256, group: groups[0], intermediates: 2, clients: 10, rounds: 1, memoryRounds: 1, connections: []int{20, 40},
		span: 100 * time.Millisecond, warmUp: 50 * time.Millisecond, settle: 50 * time.Millisecond,
		sockets: 8, patience: 400 * time.Millisecond, tries: 1,
	}
}

// compared is the report of a run that went well and left nothing behind.
func compared(t *testing.T, o options) *report.Run {
	t.Helper()
	if err := compare(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, o.show)
	}
	nothingLeft(t, o.scratch)
	run, err := report.Read(filepath.Join(o.out, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// TestEveryScenarioMeasuresEveryPeer is the whole comparison in small: it needs nginx
// and HAProxy (./.ci/setup installs them).
func TestEveryScenarioMeasuresEveryPeer(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	o := brief(t, &said)
	o.vegeta = vegeta(t)
	run := compared(t, o)
	points := map[string]int{"idle": 4, "flood": 2, "newcomers": 2, "goodput": 3} // 1 for all others
	for _, s := range scenarios {
		for _, peer := range []string{"verigate", "nginx", "haproxy"} {
			found := 0
			for _, m := range run.Measurements {
				if m.Scenario != s.name || m.Subject != peer {
					continue
				}
				found++
				if m.Operations == 0 && s.name != "goodput" || m.Failures != 0 && s.name != "goodput" {
					t.Errorf("%s of %s at %v: %d operations, %d failures", s.name, peer, m.Point, m.Operations, m.Failures)
				}
				if s.steady() && m.CPU <= 0 {
					t.Errorf("%s of %s takes no CPU time", s.name, peer)
				}
				if paced := m.Latency != nil && m.Latency.Max > 0; s.steady() && paced == s.vegeta() {
					t.Errorf("%s of %s has the latency %v", s.name, peer, m.Latency)
				}
				// A peer's share of the libraries that others use as well changes as those
				// come and go, by more than twenty connections take.
				if per, ok := m.Values[residentPerConnection]; s.name == "idle" && (!ok || peer == "verigate" && per <= 0) {
					t.Errorf("idle of %s at %v: %v octets per connection", peer, m.Point, m.Values[residentPerConnection])
				}
				if s.name == "goodput" && (m.Values["peak_per_second"] <= 0 || m.Values["offered_per_second"] <= 0 || m.Values[gaugedSpeed] <= 0) {
					t.Errorf("goodput of %s at %v: %v, want a peak, a rate and a speed", peer, m.Point, m.Values)
				}
				if m.Point["offered"] == "1" && (m.Values["goodput_per_second"] <= 0 || m.Values[goodputShare] <= 0) {
					t.Errorf("goodput of %s at the peak: %v, want some and its share", peer, m.Values)
				}
				if m.Point["flood"] == "8" && m.Values["hellos_per_second"] <= 0 {
					t.Errorf("flood of %s: no ClientHello was answered", peer)
				}
			}
			if want := max(1, points[s.name]); found != want {
				t.Errorf("%s has %d measurements of %s, want %d", s.name, found, peer, want)
			}
		}
	}
	if t.Failed() {
		t.Log(said.String())
	}
}

// TestPeerOfOnesOwn measures the script that README.md shows, and nobody else.
func TestPeerOfOnesOwn(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	o := brief(t, &said)
	script, err := filepath.Abs("testdata/peer.sh")
	if err != nil {
		t.Fatal(err)
	}
	o.peers, o.scripts, o.scenarios = []string{"mine"}, []named{{"mine", script}}, []string{"keepalive_1k"}
	o.key, o.intermediates = devpki.RSA2048, 1
	run := compared(t, o)
	if len(run.Measurements) != 1 || run.Measurements[0].Subject != "mine" || run.Measurements[0].Operations == 0 {
		t.Errorf("measurements are %+v, want one of the script", run.Measurements)
	}
}

// TestAnotherGroup: the generator offers no other, so whoever answers has it.
func TestAnotherGroup(t *testing.T) {
	t.Parallel()
	script, err := filepath.Abs("testdata/peer.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		group   group
		peers   []string
		scripts []named
	}{
		{groups[1], []string{"verigate", "nginx", "haproxy", "mine"}, []named{{"mine", script}}},
		{groups[2], []string{"verigate"}, nil}, // Debian's OpenSSL does not have it
	} {
		var said bytes.Buffer
		o := brief(t, &said)
		o.group, o.peers, o.scripts, o.scenarios = tt.group, tt.peers, tt.scripts, []string{"handshake_resumed"}
		run := compared(t, o)
		for _, m := range run.Measurements {
			if m.Operations == 0 || m.Failures != 0 || m.Point["group"] != o.group.name {
				t.Errorf("%s with %s: %d operations, %d failures, at %v", m.Subject, o.group.name, m.Operations, m.Failures, m.Point)
			}
		}
		if len(run.Measurements) != len(tt.peers) {
			t.Errorf("there are %d measurements, want one for each of %q", len(run.Measurements), tt.peers)
		}
	}
}

// TestInterruptLeavesNothingBehind stops a run while a peer is up.
func TestInterruptLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	o := brief(t, &said)
	o.peers, o.span, o.scenarios = []string{"nginx"}, time.Minute, []string{"keepalive_1k"}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
			up, err := filepath.Glob(filepath.Join(o.scratch, "*", "nginx-2", "nginx.pid")) // the first was the control
			if err != nil || len(up) > 0 || ctx.Err() != nil {
				return
			}
		}
	}()
	err := compare(ctx, o)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "what was measured so far is in "+o.out) {
		t.Errorf("compare() = %v after an interrupt, want context.Canceled and where the results are\n%s", err, said.String())
	}
	nothingLeft(t, o.scratch)
	run, err := report.Read(filepath.Join(o.out, "run.json"))
	if err != nil || !slices.ContainsFunc(run.Notes, func(n string) bool { return strings.HasPrefix(n, "Interrupted during keepalive_1k") }) {
		t.Errorf("run.json = %+v, %v after an interrupt, want a note of it", run, err)
	}
}

// TestInterruptLeavesNobodyStopped stops a run while one peer has its turn and the other is
// stopped.
func TestInterruptLeavesNobodyStopped(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	o := brief(t, &said)
	o.peers, o.rounds, o.scenarios = []string{"nginx", "haproxy"}, 1000, []string{"keepalive_1k"}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
			up, err := filepath.Glob(filepath.Join(o.scratch, "*", "*", "output.log"))
			if err != nil || len(up) > 1 || ctx.Err() != nil {
				return
			}
		}
	}()
	if err := compare(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("compare() = %v after an interrupt, want context.Canceled\n%s", err, said.String())
	}
	nothingLeft(t, o.scratch)
}

// TestWhoIsNoPeerIsRefused: who verifies no certificates is not measured, and who has
// another key exchange is named before anything is.
func TestWhoIsNoPeerIsRefused(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile("testdata/peer.sh")
	if err != nil {
		t.Fatal(err)
	}
	const verify = "verify required"
	for _, tt := range []struct{ is, becomes, want string }{
		{verify, "verify optional", "mine: it answers a client without a certificate: verify client certificates"},
		{verify, "verify optional crt-ignore-err all", "mine: it answers a client"},
		{verify, "verify none", "mine: it answers a client"},
		{"curves $GROUP", "curves P-256", "mine: it does not answer a client of the root whose only group is x25519"},
	} {
		var said bytes.Buffer
		o := brief(t, &said)
		path := filepath.Join(t.TempDir(), "peer.sh")
		bad := strings.Replace(string(good), tt.is, tt.becomes, 1)
		if err := os.WriteFile(path, []byte(bad), 0o700); err != nil {
			t.Fatal(err)
		}
		o.peers, o.scripts, o.scenarios = []string{"mine"}, []named{{"mine", path}}, []string{"keepalive_1k"}
		if err := compare(t.Context(), o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("compare() = %v for a peer with %q, want an error with %q", err, tt.becomes, tt.want)
		}
		nothingLeft(t, o.scratch)
	}
}

func TestQuickLookJudgesNothing(t *testing.T) {
	t.Parallel()
	for _, quick := range []bool{false, true} {
		r := &rig{options: options{quick: quick}, run: &report.Run{}}
		if run := r.describe(); (len(run.Targets) == 0) != quick || slices.ContainsFunc(run.Notes, func(n string) bool { return strings.Contains(n, "too short to judge") }) != quick {
			t.Errorf("describe() with quick %v has %d targets and says %q", quick, len(run.Targets), run.Notes)
		}
	}
}

// TestWhatIsShown: figures have their unit, and what the report warns of is said where the
// run ends as well.
func TestWhatIsShown(t *testing.T) {
	t.Parallel()
	var shown bytes.Buffer
	r := &rig{options: options{group: groups[0], out: "folder", show: &shown}, run: &report.Run{
		Subjects: []report.Subject{{Name: "mine"}},
		Targets:  []report.Target{{Scenario: "idle", Figure: residentPerConnection, AtMost: 32 << 10}, {Scenario: "goodput", Figure: goodputShare, AtLeast: 0.9}},
	}}
	for round, cpu := range []time.Duration{time.Millisecond, 3 * time.Millisecond} {
		r.keep(report.Measurement{Scenario: "idle", Subject: "mine", Round: round + 1, CPU: cpu, Operations: 1, Values: map[string]float64{
			residentPerConnection: 31744, "throughput_per_second": 40_450, report.ForeignShare: 0.2}})
	}
	r.conclude()
	for _, want := range []string{
		"resident bytes per connection 31 KiB", "throughput per second 40 450",
		"idle, resident bytes per connection: 31 KiB, wanted ≤ 32 KiB: met",
		"The machine was not quiet", "Others used the subject's core", "folder: run.html",
	} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("nothing says %q:\n%s", want, shown.String())
		}
	}
	if strings.Contains(shown.String(), "not measured") {
		t.Errorf("what was not asked for has a verdict:\n%s", shown.String())
	}
}

func TestVersionNamesTheTLSLibrary(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.20 7 Apr 2026 (running with OpenSSL 3.0.19 27 Jan 2026)\nTLS SNI support enabled\n": "1.22.1, OpenSSL 3.0.19 27 Jan 2026",
		"nginx version: nginx/1.28.0\nbuilt by gcc 14\nbuilt with OpenSSL 3.5.1 1 Jul 2025\n":                                                    "1.28.0, OpenSSL 3.5.1 1 Jul 2025",
		"HAProxy version 2.6.12-1 2025/10/03\nBuilt with OpenSSL version : OpenSSL 3.0.17\nRunning on OpenSSL version : OpenSSL 3.0.19\n":        "2.6.12-1 2025/10/03, OpenSSL 3.0.19",
		"ghostunnel 1.8.4\n": "1.8.4",
	} {
		if got := versionIn(said); got != want {
			t.Errorf("versionIn(%q) = %q, want %q", said, got, want)
		}
	}
}

// TestFullIsBusyAndLate: a share of goodput needs a peer that had more to do than it could.
func TestFullIsBusyAndLate(t *testing.T) {
	t.Parallel()
	job := load.Job{Duration: 3 * time.Second, From: time.Second, Until: 3 * time.Second}
	slow, soon := &report.Latency{P99: time.Second}, &report.Latency{P99: 10 * time.Millisecond}
	for _, tt := range []struct {
		name     string
		cpu      time.Duration
		failures int64
		latency  *report.Latency
		want     bool
	}{
		{"busy, and some failed", 3 * time.Second, 1, soon, true},
		{"busy, and all waited", 3 * time.Second, 0, slow, true},
		{"busy, and nobody noticed", 3 * time.Second, 0, soon, false},
		{"idle, and the generator was late", time.Second, 100, slow, false},
	} {
		m := report.Measurement{CPU: tt.cpu, Wall: 4 * time.Second, Failures: tt.failures, Latency: tt.latency}
		if got := full(m, job); got != tt.want {
			t.Errorf("%s: full() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestPeaksCountAtTheSpeedOfTheCore: what a core half as fast can do is half as much.
func TestPeaksCountAtTheSpeedOfTheCore(t *testing.T) {
	t.Parallel()
	began := time.Unix(1_000_000, 0)
	var samples []pinned.Sample
	for n, took := range []time.Duration{9, 1, 4, 9} {
		samples = append(samples, pinned.Sample{At: began.Add(time.Duration(n) * time.Second), Took: took * time.Millisecond})
	}
	// By time: a core that does 1000 a second and then 250 has done 625 a second.
	speed := meanSpeed(samples, began.Add(time.Second), began.Add(2*time.Second))
	if speed != 625 {
		t.Errorf("meanSpeed() = %v between the second sample and the third, want 625", speed)
	}
	job := load.Job{From: time.Second, Until: 2 * time.Second, Duration: 3 * time.Second}
	got := rateOf(load.Result{Began: began, Operations: 500, Within: 300, Wall: 4 * time.Second, CPU: time.Second, Core: 3 * time.Second}, job, samples, time.Second)
	if got.perSecond != 300 || got.coreSpeed != 625 {
		t.Errorf("rateOf() = %v a second at a speed of %v, want 300 at 625: of the second that counts", got.perSecond, got.coreSpeed)
	}
	if got.Foreign() != 0.25 {
		t.Errorf("foreign is %v, want 0.25: neither the peer nor the gauge", got.Foreign())
	}
	// 50 and 150 at the speed of the overload.
	if peak := got.peakFrom(rated{perSecond: 100, coreSpeed: 1250}, rated{perSecond: 75, coreSpeed: 312.5}); peak != 100 {
		t.Errorf("the peak is %v, want 100", peak)
	}
	if got := meanSpeed(samples[1:2], began, began); got != 1000 {
		t.Errorf("meanSpeed() = %v where there is no sample in between, want that of all: 1000", got)
	}
}

// nothingLeft fails the test if a process of the run lives or a file of it is there.
func nothingLeft(t *testing.T, scratch string) {
	t.Helper()
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range commands {
		if command, err := os.ReadFile(file); err == nil && bytes.Contains(command, []byte(scratch)) {
			t.Errorf("%s is left: %q", filepath.Base(filepath.Dir(file)), command)
		}
	}
}

func TestPeerThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	gateway, err := os.Executable() // something that is there
	if err != nil {
		t.Fatal(err)
	}
	o := options{paths: map[string]string{"verigate": gateway, "caddy": "/nowhere/caddy"}}
	if _, _, err := choose(o); err == nil || !strings.Contains(err.Error(), "caddy is not measured") {
		t.Errorf("choose() = %v for a path where nothing is, want an error that names caddy", err)
	}
	o = options{paths: map[string]string{"verigate": gateway}, peers: []string{"verigate", "envoy"}}
	if _, _, err := choose(o); err == nil || !strings.Contains(err.Error(), "envoy") {
		t.Errorf("choose() = %v for a name that nobody knows, want an error that has it", err)
	}
	o.peers = nil
	chosen, missing, err := choose(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(chosen)+len(missing) != len(known) || chosen[0].name != "verigate" {
		t.Errorf("choose() = %d chosen, %q missing: want every known peer to be one of both", len(chosen), missing)
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{
		"-key p384", "-intermediates 3", "-clients 0", "-clients 100001", "-rounds 0", "-seconds 0", "-connections 5000,10",
		"-connections many", "-scenarios handshakes", "-sockets 0", "-nice 11", "-peer mine", "extra",
		"-scenarios vegeta_handshake", "-group x448", "-group secp256r1 -vegeta /b -scenarios vegeta_handshake", "-occupied -scenarios idle", "-occupied -scenarios keepalive_1k,goodput",
		"-peer nginx=/b", "-variant verigate=/b", "-peer a=/b -peer a=/c", "-peer a=/b -variant a=/c",
	} {
		if _, err := parse(strings.Fields(flags)); err == nil {
			t.Errorf("parse(%s) is accepted", flags)
		}
	}
	o, err := parse(strings.Fields("-group secp256r1 -vegeta /b"))
	if err != nil || o.group.id != tls.CurveP256 {
		t.Errorf("parse(-group secp256r1 …) = %+v, %v; want that group", o.group, err)
	}
	for _, s := range scenarios {
		if o.includes(s) == s.vegeta() {
			t.Errorf("with -group secp256r1, %s is included: %v; want all but vegeta's", s.name, o.includes(s))
		}
	}
	o, err = parse([]string{"-quick", "-rounds", "7", "-peer", "a=/b", "-variant", "c=/d"})
	if err != nil {
		t.Fatal(err)
	}
	if o.settle != 5*time.Second {
		t.Errorf("parse(-quick …) leaves connections alone for %v; a shorter time than without reads memory that is about to be given back", o.settle)
	}
	if o.rounds != 7 || o.tries != 1 || !o.quick || o.span >= 3*time.Second || fmt.Sprint(o.scripts, o.variants) != "[{a /b}] [{c /d}]" {
		t.Errorf("parse(-quick -rounds 7 …) = %+v: want the rounds that were asked for, and otherwise less of everything", o)
	}
}
