// Command run drives load at a gateway: it builds the gateway, makes throwaway
// certificates, starts the gateway with a backend behind it, plays scenarios with
// our own driver and with k6, keeps what they measured, and stops what it started.
// It fails if a threshold is missed.
//
//	go run ./loadtest/run                        all scenarios, about a minute
//	go run ./loadtest/run -scenarios rotation    some of them
//	go run ./loadtest/run -soak 10m              a mix for a long time, looking for growth
//	go run ./loadtest/run -serve -dir /tmp/load  only start gateway and backend
//
// Run it from the top of the repository.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"verigate/benchmarks/report"
)

type options struct {
	k6, out, dir  string
	address       string
	serve         bool
	clients       int
	duration      time.Duration
	keepaliveRate int
	handshakeRate int
	scenarios     string
	soak          time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.k6, "k6", "", "k6 to run (default: built from loadtest/k6/ext, with per-client identities; without those the matrix is left out)")
	flag.StringVar(&o.out, "out", "build/loadtest", "folder for summaries")
	flag.StringVar(&o.dir, "dir", "", "folder for certificates and binaries, new or of an earlier run (default: a temporary one, removed at the end)")
	flag.StringVar(&o.address, "address", "", "address of the gateway (default: a free port; with -serve 127.0.0.1:8443)")
	flag.BoolVar(&o.serve, "serve", false, "start gateway and backend, and leave the load to others")
	flag.IntVar(&o.clients, "clients", 1000, "identities")
	flag.DurationVar(&o.duration, "duration", time.Second, "length of each scenario; those that change something meanwhile take four times as long")
	flag.IntVar(&o.keepaliveRate, "keepalive-rate", 1000, "requests per second over open connections")
	flag.IntVar(&o.handshakeRate, "handshake-rate", 100, "connections per second")
	flag.StringVar(&o.scenarios, "scenarios", ".", "regular expression of the scenarios to play")
	flag.DurationVar(&o.soak, "soak", 0, "play a mix for so long instead, and fail if the gateway grows")
	flag.Parse()

	// What was started is in process groups of its own, so nobody else ends it when the
	// terminal is closed.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

// errInterrupted is all that is to be said of a run that was ended from outside:
// whatever failed then, failed for that.
var errInterrupted = errors.New("interrupted")

// run does what o asks for. It stops what it started when ctx is done, which is an
// error unless all that was asked for is to serve.
func run(ctx context.Context, o options) (err error) {
	if o.clients < 2 {
		return fmt.Errorf("-clients %d: expected at least 2, one of whom is revoked", o.clients)
	}
	if o.keepaliveRate < 8 || o.handshakeRate < 8 || o.duration <= 0 {
		return errors.New("-keepalive-rate, -handshake-rate and -duration: expected at least 8 arrivals a second, for some time")
	}
	if o.soak < 0 || o.soak > 0 && o.soak < minSoak {
		return fmt.Errorf("-soak %v: in less than %v nothing shows", o.soak, minSoak)
	}
	chosen, err := regexp.Compile(o.scenarios)
	if err != nil {
		return fmt.Errorf("-scenarios: %w", err)
	}
	if o.address == "" {
		o.address = "127.0.0.1:0"
		if o.serve {
			o.address = "127.0.0.1:8443"
		}
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "verigate-load-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir) // it holds nothing but binaries and throwaway keys
	}
	for _, folder := range []*string{&o.dir, &o.out} {
		if *folder, err = filepath.Abs(*folder); err != nil {
			return err
		}
	}
	folder, err := claim(o.dir)
	if err != nil {
		return err
	}
	defer folder.release()
	s := &stage{options: o}
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = errInterrupted
		}
		err = errors.Join(err, s.stop())
	}()
	if err := s.build(ctx); err != nil {
		return err
	}
	if err := s.certify(ctx); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	if o.serve {
		fmt.Printf("gateway   https://%s\nadmin     http://%s/\nclients   %s\n\nCtrl-C ends it.\n",
			s.edge, s.admin, s.pki("clients"))
		<-ctx.Done()
		return nil
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	fmt.Printf("client and gateway share this machine: %d processors, %s/%s\n\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	if o.soak > 0 {
		return s.play(ctx, []scenario{{"soak", (*stage).soakAll}})
	}
	var list []scenario
	for _, sc := range append(driverScenarios(o), k6Scenarios()...) {
		if chosen.MatchString(sc.name) {
			list = append(list, sc)
		}
	}
	if len(list) == 0 {
		return fmt.Errorf("-scenarios %q: none has such a name", o.scenarios)
	}
	return s.play(ctx, list)
}

// scenario is one thing that is tried. Its function returns what it measured, also
// with an error, which is a threshold that was missed or a load that never was.
type scenario struct {
	name string
	play func(*stage, context.Context) ([]measured, error)
}

// measured is what one load generator saw of a scenario.
type measured struct {
	name       string
	generator  string
	operations int64
	failures   int64
	wall       time.Duration
	latency    *report.Latency
	values     map[string]float64
}

// cpuFrom is the CPU time below which it is not stated: it is counted in ticks of
// 10 ms.
const cpuFrom = 100 * time.Millisecond

// play plays the scenarios one after the other and writes the reports.
func (s *stage) play(ctx context.Context, list []scenario) error {
	out := &report.Run{
		Title: "Load test", Started: time.Now(), Commit: report.ThisCommit(), Command: strings.Join(append([]string{"go run ./loadtest/run"}, os.Args[1:]...), " "), Machine: report.ThisMachine(),
		Notes: []string{"Load generators, gateway and backend share this machine's processors: latencies contain waiting for them.",
			"CPU time is the gateway's alone, of the whole scenario: opening the connections and the uncounted warm-up are in it."},
	}
	var errs []error
	generators := map[string]bool{}
	for _, sc := range list {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		before, err := s.cpuTime(ctx)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("%s: %w", sc.name, err))...)
		}
		all, err := sc.play(s, ctx)
		if ctx.Err() != nil { // it is not whole
			errs = append(errs, ctx.Err())
			break
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", sc.name, err))
		}
		after, err := s.cpuTime(ctx)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("%s: the gateway is gone: %w", sc.name, err))...)
		}
		for i, m := range all {
			if subject := "Verigate, by " + m.generator; !generators[subject] {
				generators[subject] = true
				out.Subjects = append(out.Subjects, report.Subject{Name: subject, Version: "this tree"})
			}
			one := report.Measurement{
				Scenario: m.name, Subject: "Verigate, by " + m.generator, Round: 1,
				Operations: m.operations, Failures: m.failures, Wall: m.wall, Latency: m.latency, Values: m.values,
			}
			if i == 0 && len(all) == 1 && after-before >= cpuFrom { // several at a time share it, nobody knows how
				one.CPU = after - before
				fmt.Printf("%s: the gateway used %.1f µs of CPU time per request\n\n", sc.name,
					float64(one.CPU.Microseconds())/float64(max(m.operations+m.failures, 1)))
			}
			out.Measurements = append(out.Measurements, one)
		}
	}
	exposition, err := s.metrics(context.WithoutCancel(ctx))
	errs = append(errs, err, os.WriteFile(filepath.Join(s.out, "metrics.txt"), exposition, 0o644), report.Write(s.out, out))
	err = errors.Join(errs...)
	if err == nil {
		fmt.Printf("passed: every threshold of %d scenarios was kept; results in %s\n", len(list), s.out)
	}
	return err
}
