// Command run measures the gateway with k6: it builds the gateway, makes
// throwaway certificates, starts the gateway with a backend behind it, runs both
// scenarios at a fixed arrival rate, keeps their summaries, and stops what it
// started. It fails if a threshold is missed.
//
//	go run ./loadtest/run -k6 .cache/bin/k6
//
// With -serve it only starts gateway and backend, for k6 or vegeta by hand:
//
//	go run ./loadtest/run -serve -dir /tmp/verigate-load
//
// Run it from the top of the repository.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

type options struct {
	k6, out, dir  string
	address       string
	serve         bool
	clients       int
	duration      time.Duration
	keepaliveRate int
	handshakeRate int
}

func main() {
	var o options
	flag.StringVar(&o.k6, "k6", "k6", "k6 to run")
	flag.StringVar(&o.out, "out", "build/loadtest", "folder for summaries")
	flag.StringVar(&o.dir, "dir", "", "folder for certificates and binaries (default: a temporary one, removed at the end)")
	flag.StringVar(&o.address, "address", "", "address of the gateway (default: a free port; with -serve 127.0.0.1:8443)")
	flag.BoolVar(&o.serve, "serve", false, "start gateway and backend, and leave the load to others")
	flag.IntVar(&o.clients, "clients", 2, "identities; each is a k6 of its own, with its part of the rate")
	flag.DurationVar(&o.duration, "duration", 10*time.Second, "length of each scenario")
	flag.IntVar(&o.keepaliveRate, "keepalive-rate", 1000, "requests per second over open connections")
	flag.IntVar(&o.handshakeRate, "handshake-rate", 100, "connections per second")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.clients < 1 || o.keepaliveRate < o.clients || o.handshakeRate < o.clients {
		return fmt.Errorf("-clients %d: each needs at least one arrival a second", o.clients)
	}
	if !o.serve { // before anything is built
		if _, err := exec.LookPath(o.k6); err != nil {
			return fmt.Errorf("there is no k6 at %q: `make loadtest` builds one and runs this with it, or name yours with -k6; -serve needs none", o.k6)
		}
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
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	s := &stage{options: o}
	defer func() { err = errors.Join(err, s.stop()) }()
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
			s.edge, s.admin, filepath.Join(o.dir, "client-*.pem"))
		<-ctx.Done()
		return nil
	}
	return s.measure(ctx)
}

// scenario is one of the scripts and the rate of all its clients together.
type scenario struct {
	name string
	rate int
}

// result is what a scenario came to.
type result struct {
	Scenario   string  `json:"scenario"`
	Clients    int     `json:"clients"`
	Rate       int     `json:"arrivals_per_second"`
	Seconds    float64 `json:"seconds"`
	Requests   int     `json:"requests"`
	Handshakes int     `json:"handshakes"`
	// CPU is user and system time of the gateway's process alone.
	CPUSeconds      float64 `json:"gateway_cpu_seconds"`
	CPUMicroseconds float64 `json:"gateway_cpu_us_per_request"`
	P50             float64 `json:"worst_client_p50_ms"`
	P99             float64 `json:"worst_client_p99_ms"`
}

// measure runs both scenarios, one after the other.
func (s *stage) measure(ctx context.Context) error {
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	fmt.Printf("client and gateway share this machine: %d processors, %s/%s\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	var results []result
	var errs []error
	for _, sc := range []scenario{{"keepalive", s.keepaliveRate}, {"handshake", s.handshakeRate}} {
		r, err := s.play(ctx, sc)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", sc.name, err))
		}
		if r.Requests == 0 {
			continue // there is nothing to keep
		}
		fmt.Printf("%s: gateway used %.1f µs of CPU time per request\n\n", sc.name, r.CPUMicroseconds)
		results = append(results, r)
	}
	data, err := json.MarshalIndent(results, "", "  ")
	errs = append(errs, err, os.WriteFile(filepath.Join(s.out, "results.json"), append(data, '\n'), 0o644))
	exposition, err := s.metrics(ctx)
	errs = append(errs, err, os.WriteFile(filepath.Join(s.out, "metrics.txt"), exposition, 0o644))
	return errors.Join(errs...)
}

// play runs one k6 for each client, at the same time. A threshold that is missed
// is an error, but the result is complete nevertheless.
func (s *stage) play(ctx context.Context, sc scenario) (result, error) {
	before, err := s.cpuSeconds(ctx)
	if err != nil {
		return result{}, err
	}
	began := time.Now()
	errs := make([]error, s.clients)
	var running sync.WaitGroup
	for i := range s.clients {
		running.Go(func() { errs[i] = s.client(ctx, sc, i) })
	}
	running.Wait()
	r := result{Scenario: sc.name, Clients: s.clients, Rate: sc.rate, Seconds: time.Since(began).Seconds()}
	after, err := s.cpuSeconds(ctx)
	if err != nil {
		return r, errors.Join(append(errs, err)...)
	}
	for i := range s.clients {
		errs = append(errs, r.add(s.summary(sc, i)))
	}
	r.CPUSeconds = after - before
	r.CPUMicroseconds = 1e6 * r.CPUSeconds / float64(max(r.Requests, 1))
	return r, errors.Join(errs...)
}

// client runs the k6 of one identity with its part of the rate.
func (s *stage) client(ctx context.Context, sc scenario, i int) error {
	rate := sc.rate / s.clients
	if i < sc.rate%s.clients {
		rate++
	}
	summary, err := filepath.Abs(s.summary(sc, i))
	if err != nil {
		return err
	}
	// Without an address k6 opens no port for its own API, which several would fight for.
	k6 := exec.CommandContext(ctx, s.k6, "run", "--quiet", "--no-usage-report", "--address", "",
		filepath.Join("loadtest", "k6", sc.name+".js"))
	k6.Env = append(os.Environ(),
		"SSL_CERT_FILE="+filepath.Join(s.dir, "root.pem"),
		"ADDRESS="+s.edge, "CLIENT="+filepath.Join(s.dir, fmt.Sprintf("client-%d", i)),
		fmt.Sprintf("RATE=%d", rate), "DURATION="+s.duration.String(), "SUMMARY="+summary)
	k6.Cancel = func() error { return k6.Process.Signal(syscall.SIGTERM) }
	k6.WaitDelay = 10 * time.Second
	out, err := k6.CombinedOutput()
	if _, err := os.Stdout.Write(out); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("k6 of client %d: %w", i, err)
	}
	return nil
}

func (s *stage) summary(sc scenario, i int) string {
	return filepath.Join(s.out, fmt.Sprintf("%s-client-%d.json", sc.name, i))
}

// add takes in what one k6 wrote. Percentiles of several clients cannot be added
// up; the worst is kept.
func (r *result) add(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var summary struct {
		Metrics map[string]struct {
			Values map[string]float64 `json:"values"`
		} `json:"metrics"`
	}
	if err := json.Unmarshal(data, &summary); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	of := func(metric, value string) float64 { return summary.Metrics[metric].Values[value] }
	duration := "http_req_duration"
	if r.Scenario == "handshake" {
		duration = "tls_handshake_duration"
	}
	r.Requests += int(of("http_reqs", "count"))
	r.Handshakes += int(of("tls_handshakes", "count"))
	r.P50 = max(r.P50, of(duration, "med"))
	r.P99 = max(r.P99, of(duration, "p(99)"))
	return nil
}

// cpuSeconds is the CPU time that the gateway has used so far.
func (s *stage) cpuSeconds(ctx context.Context) (float64, error) {
	exposition, err := s.metrics(ctx)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(exposition)) {
		var seconds float64
		if n, _ := fmt.Sscanf(line, "process_cpu_seconds_total %g", &seconds); n == 1 {
			return seconds, nil
		}
	}
	return 0, errors.New("the gateway does not say how much CPU time it used")
}

// metrics returns the gateway's exposition.
func (s *stage) metrics(ctx context.Context) ([]byte, error) {
	response, err := s.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}
