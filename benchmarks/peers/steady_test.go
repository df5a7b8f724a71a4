package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verigate/benchmarks/peers/load"
	"verigate/benchmarks/report"
)

// The slices of a round are as long together as was asked for, and no identity that is used
// once is in two of them, or in what is paced.
func TestSlicesAreThePartsOfARound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		span   time.Duration
		once   bool
		slices int
	}{{time.Second, false, 5}, {time.Second, true, 5}, {500 * time.Millisecond, true, 3}, {50 * time.Millisecond, true, 1}} {
		r := &rig{options: options{span: tt.span, clients: 10}, sets: map[string]string{"client": "clients", "leaf": "leaves"}}
		closed, paced, err := r.jobs(scenario{set: "leaf", job: load.Job{Kind: load.Handshake, Once: tt.once}}, 100)
		if err != nil {
			t.Fatal(err)
		}
		var together time.Duration
		used := 0
		for _, job := range closed {
			together += job.Duration
			if job.Rate != 0 || tt.once && job.First != used {
				t.Errorf("%v: a slice is of the rate %v and begins with identity %d, want 0 and %d", tt.span, job.Rate, job.First, used)
			}
			used = job.Last
		}
		if len(closed) != tt.slices || together < tt.span-time.Microsecond || together > tt.span {
			t.Errorf("%v: %d slices take %v, want %d and all of it", tt.span, len(closed), together, tt.slices)
		}
		if paced.Rate != 100 || paced.Duration != tt.span {
			t.Errorf("%v: what is paced has the rate %v for %v", tt.span, paced.Rate, paced.Duration)
		}
		if tt.once && (paced.First != used || paced.Last <= used) || !tt.once && (paced.Last != 0 || used != 0) {
			t.Errorf("%v: what is paced has the identities %d to %d, after %d", tt.span, paced.First, paced.Last, used)
		}
	}
}

// All slices of a round count, and whose turn it is not does not run.
func TestPeersTakeTurns(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	o := brief(t, &said)
	o.peers, o.scenarios, o.span = []string{"nginx", "haproxy"}, []string{"keepalive_1k"}, 3*slice
	stopped, end := map[string]bool{}, make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
			for _, peer := range o.peers {
				stopped[peer] = stopped[peer] || isStopped(o.scratch, "/"+peer+"-")
			}
			select {
			case <-end:
				return
			default:
			}
		}
	}()
	err := compare(t.Context(), o)
	close(end)
	<-watched
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	nothingLeft(t, o.scratch)
	run, err := report.Read(filepath.Join(o.out, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Measurements) != len(o.peers) {
		t.Errorf("there are %d measurements, want one for each of %q", len(run.Measurements), o.peers)
	}
	for _, m := range run.Measurements {
		if m.Wall < o.span || m.Operations == 0 || m.CPU > m.Wall {
			t.Errorf("%s was measured for %v with %d operations and %v of CPU time, want %v at least", m.Subject, m.Wall, m.Operations, m.CPU, o.span)
		}
		if !stopped[m.Subject] {
			t.Errorf("%s was never stopped", m.Subject)
		}
	}
}

// With a busy loop beside it, a peer has a part of its core only, the loop is nobody foreign,
// and there are no latencies.
func TestOccupiedPeersShareTheirCore(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	o := brief(t, &said)
	o.peers, o.scenarios, o.occupied = []string{"nginx", "haproxy"}, []string{"keepalive_1k"}, true
	run := compared(t, o)
	if len(run.Measurements) != len(o.peers) {
		t.Errorf("there are %d measurements, want one for each of %q", len(run.Measurements), o.peers)
	}
	for _, m := range run.Measurements {
		if occupant := m.Values["occupant_busy_share"]; m.Operations == 0 || occupant <= 0 {
			t.Errorf("%s did %d operations beside an occupant with %v of its core, want some of each", m.Subject, m.Operations, occupant)
		}
		if m.Latency != nil {
			t.Errorf("%s has latencies, of half a core", m.Subject)
		}
	}
}

// A peer that was able to resume is measured, though it does not always: what it does not
// resume are failures, and if that is all of it, it is said whose.
func TestSessionsThatAreNotResumedAreFailures(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile("testdata/peer.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		claim string
		cache int // sessions that it remembers when it is measured, more or less
		want  string
	}{
		{"some are", 160, ""},
		{"none is", 0, "mine: nothing succeeded: full handshakes, where a session was offered"},
	} {
		var said bytes.Buffer
		o := brief(t, &said)
		// The first launch is the control, the second finds the rate.
		count := fmt.Sprintf("set -eu\nsize=20000\n[ ! -e ../second ] || size=%d\n[ ! -e ../first ] || touch ../second\ntouch ../first\n", tt.cache)
		path := filepath.Join(t.TempDir(), "peer.sh")
		forgetful := strings.NewReplacer("set -eu\n", count, "  nbthread 1\n", "  nbthread 1\n  tune.ssl.cachesize $size\n",
			"curves $GROUP", "curves $GROUP no-tls-tickets").Replace(string(good))
		if err := os.WriteFile(path, []byte(forgetful), 0o700); err != nil {
			t.Fatal(err)
		}
		o.peers, o.scripts, o.scenarios = []string{"mine"}, []named{{"mine", path}}, []string{"handshake_resumed"}
		err := compare(t.Context(), o)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: compare() = %v, want an error with %q", tt.claim, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", tt.claim, err, said.String())
			continue
		}
		run, err := report.Read(filepath.Join(o.out, "run.json"))
		if err != nil {
			t.Fatal(err)
		}
		if len(run.Measurements) != 1 || run.Measurements[0].Operations == 0 || run.Measurements[0].Failures == 0 {
			t.Errorf("%s: the measurements are %+v, want one with operations and failures", tt.claim, run.Measurements)
		}
	}
}

// isStopped reports whether a process whose command line has all of the words is stopped.
func isStopped(words ...string) bool {
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
next:
	for _, file := range commands {
		command, _ := os.ReadFile(file)
		for _, word := range words {
			if !bytes.Contains(command, []byte(word)) {
				continue next
			}
		}
		stat, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "stat"))
		if _, state, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(state, "T") {
			return true
		}
	}
	return false
}
