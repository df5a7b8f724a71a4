package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"verigate/benchmarks/pinned"
	"verigate/benchmarks/report"
)

// describe is the head of the report: who, where, how. Notes that are there already
// stay.
func (r *rig) describe() *report.Run {
	judged := targets
	if r.quick {
		judged = nil
		r.run.Notes = append(r.run.Notes, "This was a quick look, too short to judge: no targets are applied.")
	}
	paced := "Latencies are of a second run at half the rate of the slowest peer, the same for all, " +
		"and at most 1 000 a second where certificates are used once. Flood, newcomers and goodput have rates of their own. " +
		"Failures of goodput are expected: of twice the peak half cannot succeed, of three times the peak two thirds."
	if r.occupied {
		paced = "A busy loop shares the peer's core. Where it had no more than about a half of it (occupant_busy_share), the peer was full. Latencies are not measured."
	}
	if stop, err := pinned.Watch(r.cores.peer); err == nil {
		stop()
	} else {
		r.run.Notes = append(r.run.Notes, fmt.Sprintf("Whether the peer's core stood still is not known: %v.", err))
	}
	run := &report.Run{
		Title:   "Verigate and its peers",
		Started: time.Now().UTC().Truncate(time.Second),
		Commit:  report.ThisCommit(),
		Command: strings.Join(append([]string{"go run ./benchmarks/peers"}, os.Args[1:]...), " "),
		Machine: report.ThisMachine(),
		Targets: judged,
		Notes: append(r.run.Notes,
			fmt.Sprintf("%s keys, %d intermediates, %d distinct clients; TLS 1.3, %s.", r.key, r.intermediates, r.clients, r.group.name),
			fmt.Sprintf("Peer on core %d, generator on core %d, backend on core %d; each measurement has a fresh process of the peer, after a warm-up; for CPU per operation, peers take turns in slices, of %v unless vegeta plays, and are stopped in between.",
				r.cores.peer, r.cores.load, r.cores.backend, slice),
			fmt.Sprintf("CPU per operation is of a closed loop of %d. ", closedWorkers)+paced,
		),
	}
	for _, p := range r.peers {
		run.Subjects = append(run.Subjects, report.Subject{Name: p.name, Version: p.version, Settings: p.settings})
	}
	return run
}

// targets are what the gateway is held to in this comparison.
var targets = []report.Target{
	{Scenario: "handshake_cached", Figure: report.CPU, Peer: "nginx", AtMost: 0.25},
	{Scenario: "handshake_cached", Figure: report.CPU, Peer: "ghostunnel", AtMost: 0.55},
	{Scenario: "handshake_resumed", Figure: report.CPU, Peer: "nginx", AtMost: 0.35},
	{Scenario: "keepalive_1k", Figure: report.CPU, Peer: "nginx", AtMost: 1.0},
	{Scenario: "keepalive_1k", Figure: report.CPU, Peer: "haproxy", AtMost: 1.0},
	{Scenario: byVegeta + "handshake", Figure: report.CPU, Peer: "nginx", AtMost: 0.25},
	{Scenario: byVegeta + "resumed", Figure: report.CPU, Peer: "nginx", AtMost: 0.35},
	{Scenario: byVegeta + "keepalive", Figure: report.CPU, Peer: "nginx", AtMost: 1.0},
	{Scenario: "idle", Point: map[string]string{"leaves": "unique"}, Figure: residentPerConnection, Peer: "nginx", AtMost: 0.7},
	{Scenario: "idle", Point: map[string]string{"leaves": "shared"}, Figure: residentPerConnection, Peer: "nginx", AtMost: 0.5},
	{Scenario: "flood", Point: map[string]string{"flood": "512"}, Figure: report.P99, Peer: "haproxy", AtMost: 1.5},
	{Scenario: "newcomers", Point: map[string]string{"flood": "512"}, Figure: report.P99, Peer: "haproxy", AtMost: 1.5},
	{Scenario: "goodput", Point: map[string]string{"offered": "3"}, Figure: goodputShare, AtLeast: 0.9},
}
