// Command scaling measures how the gateway behaves as things become many: client
// certificates, trust domains, routes, rules, CRL entries, open connections, cores.
// It writes run.json, run.md and run.html, with a curve for each.
//
//	go run ./benchmarks/scaling                        all of it, about ten minutes
//	go run ./benchmarks/scaling -curves routes,rules   some of it
//	go run ./benchmarks/scaling -quick                 whether it works, not how fast
//	go run ./benchmarks/scaling -docs                  then the table of docs/capacity.md too
//
// The gateway is the real program, built here and started anew for each point and
// round, on a core of its own if there are two, with audit, policy and telemetry on.
// Load comes from the generator of the comparison with peers, on the first core. Only
// a million verdicts are not handshakes: see [curveVerdicts].
//
// Run it from the top of the repository, on a machine with nothing else to do. Linux
// only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"verigate/benchmarks/pinned"
	"verigate/benchmarks/report"
)

type options struct {
	out         string
	curves      string
	rounds      int
	duration    time.Duration // of each job
	connections int
	verdicts    int
	quick, keep bool
	docs        bool
}

func main() {
	var o options
	flag.StringVar(&o.out, "out", "build/scaling", "folder for the report")
	flag.StringVar(&o.curves, "curves", "all", "which to measure, of "+strings.Join(curveNames(), ", "))
	flag.IntVar(&o.rounds, "rounds", 3, "how often each point is measured")
	flag.DurationVar(&o.duration, "duration", time.Second, "length of each load")
	flag.IntVar(&o.connections, "connections", 0, "most connections (default: what the descriptors permit)")
	flag.IntVar(&o.verdicts, "verdicts", 1_000_000, "most verdicts; a million takes two minutes and 14 GiB")
	flag.BoolVar(&o.quick, "quick", false, "few and small points, for a fraction of a second each")
	flag.BoolVar(&o.keep, "keep", false, "keep the curves that are not measured now from the run.json in -out")
	flag.BoolVar(&o.docs, "docs", false, "then write the figures into docs/capacity.md, and the run beside this program")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "scaling: %q is no flag\n", flag.Args())
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := measure(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scaling:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	options
	*stage
	*authority
	leaf []byte // the gateway's certificate
	run  *report.Run
}

// subject is the only one.
const subject = "Verigate"

func measure(ctx context.Context, o options) (err error) {
	chosen, err := choose(o.curves)
	if err != nil {
		return err
	}
	if o.quick {
		o.rounds, o.duration = 1, 100*time.Millisecond
	}
	if o.quick && o.docs {
		return errors.New("-docs: the figures of a -quick run are nothing to plan with")
	}
	if o.rounds < 1 || o.duration <= 0 {
		return errors.New("-rounds and -duration have to be positive")
	}
	permitted, err := pinned.RaiseLimit(0)
	if err != nil {
		return err
	}
	most := int(min(permitted, 1<<30))
	const spare = 300 // for all that is no client's connection
	if o.connections == 0 || o.connections > most-spare {
		o.connections = most - spare
	}
	dir, err := os.MkdirTemp("", "verigate-scaling-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o}
	if b.stage, err = newStage(ctx, dir); err != nil {
		return err
	}
	defer b.stop()
	if b.authority, err = newAuthority(); err != nil {
		return err
	}
	if b.leaf, err = b.files(dir); err != nil {
		return err
	}
	b.run = b.newRun()
	var old *report.Run
	if o.keep {
		if old, err = b.earlier(); err != nil {
			return err
		}
	}
	for _, c := range chosen {
		began := time.Now()
		fmt.Fprintf(os.Stderr, "%s …", c.name)
		if err := c.measure(ctx, b); err != nil {
			fmt.Fprintln(os.Stderr)
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(os.Stderr, " %.0f s\n", time.Since(began).Seconds())
	}
	b.keepOthers(old)
	fits(b.run)
	if err := report.Write(o.out, b.run); err != nil {
		return err
	}
	fmt.Println(filepath.Join(o.out, "run.md"))
	if o.docs {
		return writeDocs(b.run)
	}
	return nil
}

func choose(names string) ([]curve, error) {
	if names == "all" {
		return curves, nil
	}
	var chosen []curve
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(curves, func(c curve) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-curves %s: there is no %q, only %s", names, name, strings.Join(curveNames(), ", "))
		}
		chosen = append(chosen, curves[i])
	}
	return chosen, nil
}

func curveNames() []string {
	var names []string
	for _, c := range curves {
		names = append(names, c.name)
	}
	return names
}

// command is what gives these figures again. Where they go to is no part of it.
func command(flags *flag.FlagSet) string {
	words := []string{"go run ./benchmarks/scaling"}
	flags.Visit(func(f *flag.Flag) {
		if !slices.Contains([]string{"out", "keep", "docs"}, f.Name) {
			words = append(words, "-"+f.Name+"="+f.Value.String())
		}
	})
	return strings.Join(words, " ")
}

func (b *bench) newRun() *report.Run {
	run := &report.Run{
		Title: "Scaling", Started: time.Now().UTC(), Commit: report.ThisCommit(), Machine: report.ThisMachine(),
		Command: command(flag.CommandLine),
		Subjects: []report.Subject{{Name: subject,
			Settings: "audit, policy and telemetry on; one core; P-256, two intermediates, X25519"}},
		Notes: []string{
			"CPU time is the gateway's, by the kernel's accounting, in a closed loop that keeps it or the generator busy. " +
				"Latency is from when an operation was due, at half the rate that the closed loop reached.",
			"resident_bytes is the resident set at rest, when every client has come, measured in the first round; peak_resident_bytes is the most until after a reload. " +
				"Sockets are the kernel's and in neither.",
		},
	}
	if len(b.cores) < 2 {
		run.Notes = append(run.Notes, "There is one processor: generator and gateway take it from each other, so latency says nothing here.")
	}
	return run
}

// earlier returns the run in -out, nil if there is none. One of another commit or
// machine is an error: its figures do not belong together with those of this run.
func (b *bench) earlier() (*report.Run, error) {
	old, err := report.Read(filepath.Join(b.out, "run.json"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case old.Commit != b.run.Commit || old.Machine != b.run.Machine:
		return nil, fmt.Errorf("-keep: the run in %s is of another commit or machine", b.out)
	}
	return old, nil
}

// keepOthers takes over what an earlier run, if there is one, has of the curves that
// this one has not measured. The command of the report is that of both.
func (b *bench) keepOthers(old *report.Run) {
	if old == nil {
		return
	}
	measured := map[string]bool{}
	for _, m := range b.run.Measurements {
		measured[m.Scenario] = true
	}
	var kept []report.Measurement
	for _, m := range old.Measurements {
		if !measured[m.Scenario] {
			kept = append(kept, m)
		}
	}
	b.run.Measurements = append(kept, b.run.Measurements...)
	if !strings.Contains(old.Command+";", b.run.Command+";") {
		b.run.Command = old.Command + "; " + b.run.Command
	} else {
		b.run.Command = old.Command
	}
	b.run.Started = old.Started
	for _, note := range old.Notes {
		if !slices.Contains(b.run.Notes, note) {
			b.run.Notes = append(b.run.Notes, note)
		}
	}
}
