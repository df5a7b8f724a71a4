package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// k6Module is our extension, which lets every request choose among many identities.
const k6Module = "k6/x/mtls"

// k6Binary is where the k6 with the extension is built to.
var k6Binary = filepath.Join(".cache", "k6-verigate")

// findK6 returns the k6 to run, and whether it has the extension. Without -k6 it is
// built, which takes minutes the first time and seconds from then on.
func (s *stage) findK6(ctx context.Context) (path string, extended bool, err error) {
	if s.k6 == "" {
		if s.k6, err = filepath.Abs(k6Binary); err != nil {
			return "", false, err
		}
		if err := os.MkdirAll(filepath.Dir(s.k6), 0o755); err != nil {
			return "", false, err
		}
		if err := command(ctx, "go", "build", "-C", filepath.Join("loadtest", "k6", "ext"), "-o", s.k6, "./cmd/k6"); err != nil {
			return "", false, err
		}
	}
	version, err := exec.CommandContext(ctx, s.k6, "version").Output()
	if err != nil {
		return "", false, fmt.Errorf("there is no k6 at %q: leave -k6 out and one is built, or name yours: %w", s.k6, err)
	}
	return s.k6, strings.Contains(string(version), k6Module), nil
}

// script is one run of k6.
type script struct {
	name     string
	file     string // below loadtest/k6
	extended bool   // it needs the extension
	env      []string
	beside   func(*stage, context.Context) error // what happens meanwhile
}

// k6Scenarios are all that k6 plays.
func k6Scenarios() []scenario {
	var list []scenario
	for _, sc := range []script{
		{name: "k6-keepalive", file: "keepalive.js"},
		{name: "k6-handshake", file: "handshake.js"},
		{name: "k6-matrix-keepalive", file: "matrix/matrix.js", extended: true, env: []string{"MODE=keepalive", "RATE=500"}},
		{name: "k6-matrix-full", file: "matrix/matrix.js", extended: true, env: []string{"MODE=full"}},
		{name: "k6-matrix-resumed", file: "matrix/matrix.js", extended: true, env: []string{"MODE=resumed"}},
		{name: "k6-matrix-revoked", file: "matrix/matrix.js", extended: true, env: []string{"MODE=full", "KIND=revoked", "IDENTITIES=1", "RATE=50"}},
		{name: "k6-matrix-none", file: "matrix/matrix.js", extended: true, env: []string{"MODE=full", "KIND=none", "IDENTITIES=1", "RATE=50"}},
		{name: "k6-rotation", file: "matrix/rotation.js", extended: true, env: []string{"SERVER_CERTIFICATES=2"}, beside: (*stage).rotateServer},
	} {
		list = append(list, scenario{sc.name, func(s *stage, ctx context.Context) ([]measured, error) { return s.playK6(ctx, sc) }})
	}
	return list
}

func (s *stage) playK6(ctx context.Context, sc script) ([]measured, error) {
	k6, extended, err := s.findK6(ctx)
	if err != nil {
		return nil, err
	}
	if sc.extended && !extended {
		fmt.Printf("%s: left out, for %s has no %s; leave -k6 out, and one that has is built\n\n", sc.name, k6, k6Module)
		return nil, nil
	}
	length := s.k6Length(sc.beside != nil)
	summary := filepath.Join(s.out, sc.name+".json")
	// Without an address k6 opens no port for its own API, which several would fight for.
	run := exec.CommandContext(ctx, k6, "run", "--quiet", "--no-usage-report", "--address", "", filepath.Join("loadtest", "k6", filepath.FromSlash(sc.file)))
	run.Env = append(os.Environ(),
		"SSL_CERT_FILE="+s.pki("root.pem"), "ADDRESS="+s.edge, "CLIENT="+s.clientFile(0), "PKI="+s.pki(),
		"IDENTITIES="+strconv.Itoa(min(s.clients, 100)), "DURATION="+seconds(length), "P99_MS=500", "ECHO=Caller", "SUMMARY="+summary)
	if length >= k6ReportFrom {
		run.Env = append(run.Env, "K6_WEB_DASHBOARD=true", "K6_WEB_DASHBOARD_PORT=-1", "K6_WEB_DASHBOARD_PERIOD=1s",
			"K6_WEB_DASHBOARD_EXPORT="+filepath.Join(s.out, sc.name+".html"))
	}
	run.Env = append(run.Env, sc.env...) // the last one of a name counts
	run.Cancel = func() error { return run.Process.Signal(syscall.SIGTERM) }
	run.WaitDelay = stopTimeout
	beside := make(chan error, 1)
	go func() {
		var err error
		if sc.beside != nil {
			err = sc.beside(s, ctx)
		}
		beside <- err
	}()
	said, err := run.CombinedOutput()
	fmt.Printf("%s: %s\n", sc.name, said)
	if err != nil {
		err = fmt.Errorf("k6: %w", err)
	}
	if err := errors.Join(err, <-beside); err != nil {
		return nil, err
	}
	m, err := readK6(summary)
	m.name, m.wall = sc.name, length
	return []measured{m}, err
}

// k6ReportFrom is how long a run must be for a curve of a point each second to show
// anything.
const k6ReportFrom = 6 * time.Second

// k6Length is how long a script runs.
func (s *stage) k6Length(changes bool) time.Duration {
	if changes {
		return max(6*s.duration, 6*time.Second)
	}
	return max(2*s.duration, time.Second)
}

// seconds is a duration as the scripts take it.
func seconds(d time.Duration) string { return strconv.Itoa(int(d.Round(time.Second).Seconds())) + "s" }

// readK6 reads what a script measured. Wrong answers do not get so far: they miss
// the script's own thresholds.
func readK6(file string) (measured, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return measured{}, err
	}
	var summary struct {
		Metrics map[string]struct {
			Values map[string]float64 `json:"values"`
		} `json:"metrics"`
	}
	if err := json.Unmarshal(data, &summary); err != nil {
		return measured{}, fmt.Errorf("%s: %w", file, err)
	}
	value := func(metric, name string) float64 { return summary.Metrics[metric].Values[name] }
	ms := func(name string) time.Duration {
		return time.Duration(value("http_req_duration", name) * float64(time.Millisecond))
	}
	m := measured{
		generator: "k6", operations: int64(max(value("http_reqs", "count"), value("mtls_refused", "count"))),
		// k6 measures from when it sent a request, not from when it was due.
		values: map[string]float64{"k6_p50_seconds": ms("med").Seconds(), "k6_p99_seconds": ms("p(99)").Seconds()},
	}
	if n := max(value("tls_handshakes", "count"), value("mtls_handshakes", "count")); n > 0 {
		m.values["handshakes"] = n
	}
	if m.operations == 0 {
		return m, fmt.Errorf("%s: k6 made no request", file)
	}
	return m, nil
}

// rotateServer replaces the gateway's certificate and then its configuration while
// k6 changes its clients.
func (s *stage) rotateServer(ctx context.Context) error {
	length := s.k6Length(true)
	if err := pause(ctx, length/4); err != nil {
		return err
	}
	if err := s.renewServer(ctx); err != nil {
		return err
	}
	if err := pause(ctx, length/2); err != nil {
		return err
	}
	return s.reconfigure(ctx, 0)
}
