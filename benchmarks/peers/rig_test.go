package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verigate/benchmarks/report"
	"verigate/devpki"
)

// brief are options for a run that is over in seconds and whose figures mean nothing.
func brief(t *testing.T, show *bytes.Buffer) options {
	t.Helper()
	return options{
		paths: map[string]string{}, peers: []string{"verigate", "nginx", "haproxy"}, out: t.TempDir(), scratch: t.TempDir(), show: show,
		key: devpki.P256, intermediates: 2, clients: 10, rounds: 1, memoryRounds: 1, connections: []int{20, 40},
		span: 60 * time.Millisecond, warmUp: 50 * time.Millisecond, settle: 50 * time.Millisecond,
		sockets: 8, patience: 200 * time.Millisecond, tries: 1,
	}
}

// TestEveryScenarioMeasuresEveryPeer is the whole comparison in small: it needs nginx
// and HAProxy (./.ci/setup installs them).
func TestEveryScenarioMeasuresEveryPeer(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	o := brief(t, &said)
	if err := compare(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	nothingLeft(t, o.scratch)
	run, err := report.Read(filepath.Join(o.out, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	points := map[string]int{"idle": 4, "flood": 2, "goodput": 3} // 1 for all others
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
				if steady := s.job.Kind != ""; steady && (m.CPU <= 0 || m.Latency == nil || m.Latency.Max <= 0) {
					t.Errorf("%s of %s: CPU %v, latency %v; want both", s.name, peer, m.CPU, m.Latency)
				}
				if s.name == "idle" && m.Values[residentPerConnection] <= 0 {
					t.Errorf("idle of %s at %v: %v octets per connection", peer, m.Point, m.Values[residentPerConnection])
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
	if err := compare(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	run, err := report.Read(filepath.Join(o.out, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Measurements) != 1 || run.Measurements[0].Subject != "mine" || run.Measurements[0].Operations == 0 {
		t.Errorf("measurements are %+v, want one of the script", run.Measurements)
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
			up, err := filepath.Glob(filepath.Join(o.scratch, "*", "nginx-*", "nginx.pid"))
			if err != nil || len(up) > 0 || ctx.Err() != nil {
				return
			}
		}
	}()
	if err := compare(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("compare() = %v after an interrupt, want context.Canceled\n%s", err, said.String())
	}
	nothingLeft(t, o.scratch)
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
	} {
		if _, err := parse(strings.Fields(flags)); err == nil {
			t.Errorf("parse(%s) is accepted", flags)
		}
	}
	o, err := parse([]string{"-quick", "-rounds", "7", "-peer", "a=/b", "-variant", "c=/d"})
	if err != nil {
		t.Fatal(err)
	}
	if o.rounds != 7 || o.span >= 3*time.Second || fmt.Sprint(o.scripts, o.variants) != "[{a /b}] [{c /d}]" {
		t.Errorf("parse(-quick -rounds 7 …) = %+v: want the rounds that were asked for, and otherwise less of everything", o)
	}
}
