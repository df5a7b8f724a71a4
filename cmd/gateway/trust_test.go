package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"verigate/devpki"
)

// An exchanged set of anchors decides who may come in, so it leaves a trace in the
// log, the metrics and the audit log, put back or not.
func TestAChangeOfTrustLeavesATrace(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	anchors, err := os.ReadFile(filepath.Join(f.dir, "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	p := f.run(t)
	metric := func(want string) {
		t.Helper()
		if _, body := p.ask(t, "/metrics"); !strings.Contains(body, want+"\n") {
			t.Errorf("GET /metrics lacks %s", want)
		}
	}
	const degraded = `verigate_trust_degraded{kind="bundle",name="spiffe://prod.example"} `
	metric(degraded + "0")

	other, err := devpki.NewRoot(devpki.CAOptions{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, "root.pem", string(anchors)+string(devpki.CertificatesPEM(other.Certificate)))
	line := p.await(t, `msg="trust reloaded" kind=bundle name=spiffe://prod.example`)
	now, before := valueOf(line, "digest"), valueOf(line, "previous")
	if len(now) != 16 || len(before) != 16 || now == before {
		t.Errorf("the log says %q, want the beginnings of two digests", line)
	}

	f.write(t, "root.pem", "garbage")
	if line := p.await(t, "trust not reloaded"); !strings.Contains(line, "level=ERROR") || !strings.Contains(line, "no PEM certificate") || !strings.Contains(line, "name=spiffe://prod.example") {
		t.Errorf("the log says %q, want an error with the item and what is wrong with its file", line)
	}
	metric(degraded + "1")
	metric(`verigate_trust_reload_errors_total{kind="bundle"} 1`)

	f.write(t, "root.pem", string(anchors)+string(devpki.CertificatesPEM(other.Certificate)))
	if line := p.await(t, `msg="trust repaired"`); valueOf(line, "digest") != now {
		t.Errorf("the log says %q, want the digest %s that was held meanwhile", line, now)
	}
	metric(degraded + "0")

	p.signal(t, syscall.SIGTERM)
	if code := p.wait(t); code != exitOK {
		t.Errorf("the gateway ended with %d after SIGTERM, want 0", code)
	}
	content, err := os.ReadFile(filepath.Join(f.dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []string
	for text := range strings.Lines(string(content)) {
		var r struct {
			Event, Kind, Outcome, Digest string
			Previous                     string `json:"previous_digest"`
		}
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatalf("audit line %q: %v", text, err)
		}
		if r.Event == "trust" && r.Kind == "bundle" {
			outcomes = append(outcomes, r.Outcome)
			if len(outcomes) == 2 && (!strings.HasPrefix(r.Digest, now) || !strings.HasPrefix(r.Previous, before)) {
				t.Errorf("the audit log has a change from %s to %s, want from %s… to %s…", r.Previous, r.Digest, before, now)
			}
		}
	}
	if got, want := strings.Join(outcomes, " "), "loaded loaded refused repaired"; got != want {
		t.Errorf("the audit log has the changes %q, want %q", got, want)
	}
}

func TestStatusShowsRequestsThatWereNotServed(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	f.configure(t, "/only")
	p := f.run(t)
	for _, path := range []string{"/only", "/elsewhere?token=secret"} {
		if _, _, err := f.get(p, path); err != nil {
			t.Fatal(err)
		}
	}
	// A record comes a moment after the response.
	denials := p.status(t).Denials
	eventually(t, func() bool { denials = p.status(t).Denials; return len(denials) > 0 })
	if len(denials) != 1 {
		t.Fatalf("GET /status has the denials %+v, want one", denials)
	}
	if d := denials[0]; d.Path != "/elsewhere" || d.Status != 404 || d.Caller != "spiffe://prod.example/shop" || d.Reason == "" || d.RequestID == "" || d.Method != "GET" || d.Host != "localhost" {
		t.Errorf("GET /status has the denial %+v, want who asked for what and why not", d)
	}
}
