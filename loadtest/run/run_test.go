package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verigate/config"
)

func TestConfigurationIsValid(t *testing.T) {
	t.Parallel()
	c, err := config.Parse("gateway.yaml", fmt.Appendf(nil, configuration, "127.0.0.1:0", "127.0.0.1:8080"))
	if err != nil {
		t.Fatal(err)
	}
	if notes := c.Notes(); len(notes) > 0 {
		t.Errorf("the configuration has notes: %q", notes)
	}
}

func TestAdminAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ line, want string }{
		{`time=x level=INFO msg="admin listening" url=http://127.0.0.1:4712/`, "127.0.0.1:4712"},
		{`time=x level=INFO msg=listening listener=edge address=127.0.0.1:4711`, ""},
	} {
		if got, ok := adminAddress(tt.line); got != tt.want || ok != (tt.want != "") {
			t.Errorf("adminAddress(%q) = %q, %t, want %q", tt.line, got, ok, tt.want)
		}
	}
}

func TestAwaitTellsWhatWasSaidInstead(t *testing.T) {
	t.Parallel()
	lines := make(chan string, 1)
	lines <- "the port is taken"
	close(lines)
	if _, err := await(t.Context(), lines, adminAddress); err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("await() = %v, want an error with what the process said", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := await(ctx, make(chan string), adminAddress); err == nil {
		t.Error("await() found something although nothing was said")
	}
}

func TestAddKeepsTheWorstClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := result{Scenario: "handshake"}
	for i, p99 := range []float64{5, 7, 6} {
		file := filepath.Join(dir, fmt.Sprint(i))
		text := fmt.Sprintf(`{"metrics": {
			"http_reqs": {"values": {"count": 100}},
			"tls_handshakes": {"values": {"count": 90}},
			"http_req_duration": {"values": {"med": 99, "p(99)": 99}},
			"tls_handshake_duration": {"values": {"med": 1, "p(99)": %g}}}}`, p99)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.add(file); err != nil {
			t.Fatal(err)
		}
	}
	if r.Requests != 300 || r.Handshakes != 270 || r.P50 != 1 || r.P99 != 7 {
		t.Errorf("three clients came to %+v, want 300 requests, 270 handshakes, p50 1, p99 7", r)
	}
	if err := r.add(filepath.Join(dir, "missing")); err == nil {
		t.Error("a summary that k6 did not write was added")
	}
}

func TestRunWantsAnArrivalPerClient(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), options{clients: 0}); err == nil {
		t.Error("run() without clients measures something")
	}
}

func TestRunSaysHowToGetK6(t *testing.T) {
	t.Parallel()
	o := options{clients: 1, keepaliveRate: 1, handshakeRate: 1, k6: filepath.Join(t.TempDir(), "k6"), dir: filepath.Join(t.TempDir(), "dir")}
	err := run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "make loadtest") || strings.Contains(err.Error(), "\n") {
		t.Errorf("run() = %v without k6, want one line that says how to get it", err)
	}
	if _, err := os.Stat(o.dir); err == nil {
		t.Error("run() made a folder before it looked for k6")
	}
}
