package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"verigate/benchmarks/peers/load"
	"verigate/benchmarks/peers/pki"
	"verigate/benchmarks/pinned"
	"verigate/devpki"
)

// vegetaModule is the version that `make bench-peers` builds.
const vegetaModule = "github.com/tsenart/vegeta/v12@v12.13.0"

// vegeta builds it, apart from go.mod.
func vegeta(t *testing.T) (path string) {
	t.Helper()
	dir := t.TempDir()
	install := exec.CommandContext(t.Context(), "go", "install", vegetaModule)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", install, err, out)
	}
	return filepath.Join(dir, "vegeta")
}

func TestMakeBuildsTheSameVegeta(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(makefile), "go install "+vegetaModule+"\n") {
		t.Errorf("the Makefile does not build %s", vegetaModule)
	}
	_, target, _ := strings.Cut(vegetaWanted, "`make ")
	target, _, _ = strings.Cut(target, "`")
	if name, ok := strings.CutPrefix(target, ".cache/"); !ok || !strings.Contains(string(makefile), "$(CACHE)/"+name+"\n") {
		t.Errorf("who has no vegeta is told to make %q, which the Makefile does not build", target)
	}
}

// By what it is called with, vegeta keeps connections, shakes hands in full or resumes, by
// X25519 and with its certificate, until it is stopped, and writes what is read here.
func TestVegetaDoesWhatItIsCalledFor(t *testing.T) {
	t.Parallel()
	path := vegeta(t)
	authority, err := pki.New(devpki.P256, 1)
	if err != nil {
		t.Fatal(err)
	}
	server, err := authority.Serve(t.TempDir(), devpki.P256)
	if err != nil {
		t.Fatal(err)
	}
	caller, err := authority.Call(t.TempDir(), vegetaName)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []load.Kind{load.Handshake, load.Resume, load.KeepAlive} {
		enough := int64(8 * closedWorkers) // requests
		if kind == load.KeepAlive {
			enough *= 4 // net/http opens more connections at first than it keeps
		}
		seen := listen(t, server, enough)
		s := site{dir: t.TempDir(), address: seen.address}
		began := time.Now()
		c, err := s.attackBy(path, caller.Root, caller.Certificate, caller.Key, kind, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(c.Env, "GODEBUG=tlsmlkem=0") { // this vegeta's go.mod implies it
			t.Errorf("%s: vegeta's environment lets Go offer X25519MLKEM768", kind)
		}
		cores, err := pinned.Cores()
		if err != nil {
			t.Fatal(err)
		}
		attack, err := pinned.Start(c, cores, 0)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-seen.enough:
		case <-time.After(attackMost):
			t.Errorf("%s: %d requests came in %v, want %d", kind, seen.requests.Load(), attackMost, enough)
		}
		attack.Stop(attackMost)
		if !attack.ProcessState.Success() {
			t.Errorf("%s: stopped, vegeta ends with %v", kind, attack.ProcessState)
		}
		connections, resumed, requests := seen.connections.Load(), seen.resumed.Load(), seen.requests.Load()
		switch {
		case kind == load.KeepAlive && connections > requests/4,
			kind != load.KeepAlive && connections < requests,
			kind == load.Resume && resumed < requests/2,
			kind != load.Resume && resumed > 0:
			t.Errorf("%s: %d requests took %d connections, of which %d were resumed", kind, requests, connections, resumed)
		}
		if wrong := seen.wrong.Load(); wrong != nil {
			t.Errorf("%s: %s", kind, *wrong)
		}
		result := load.Result{Began: began, Wall: time.Since(began)}
		if err := countAttack(&result, s.results(), false); err == nil || !strings.Contains(err.Error(), "first operation") {
			t.Errorf("%s: countAttack() = %v from the first operation on, want an error", kind, err)
		}
	}
}

// seen is what a server sees of an attack.
type seen struct {
	address                        string
	connections, resumed, requests atomic.Int64
	enough                         chan struct{} // closed after so many requests
	wrong                          atomic.Pointer[string]
}

// listen answers requests as a backend does behind a peer.
func listen(t *testing.T, files pki.Files, enough int64) *seen {
	t.Helper()
	own, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	anchor, err := os.ReadFile(files.Root)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(anchor)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &seen{address: l.Addr().String(), enough: make(chan struct{})}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c.(*tls.Conn), enough)
		}
	}()
	return s
}

func (s *seen) serve(c *tls.Conn, enough int64) {
	defer c.Close()
	if c.Handshake() != nil {
		return // vegeta has been stopped
	}
	state := c.ConnectionState()
	s.connections.Add(1)
	if state.DidResume {
		s.resumed.Add(1)
	}
	if name := state.PeerCertificates[0].Subject.CommonName; name != vegetaName || state.CurveID != tls.X25519 {
		wrong := fmt.Sprintf("%s comes with the key exchange %v", name, state.CurveID)
		s.wrong.Store(&wrong)
	}
	for in := bufio.NewReader(c); ; {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if s.requests.Add(1) == enough {
			close(s.enough)
		}
		answer := http.Response{ProtoMajor: 1, ProtoMinor: 1, StatusCode: 200, Close: r.Close, ContentLength: 1024,
			Header: http.Header{"X-Caller": {vegetaName}}, Body: io.NopCloser(bytes.NewReader(make([]byte, 1024)))}
		if answer.Write(c) != nil || r.Close {
			return
		}
	}
}

// What ends in the slice counts, and only if the answer is right in every respect.
func TestAttacksAreCounted(t *testing.T) {
	t.Parallel()
	began := time.Unix(1_000_000, 0)
	header := func(length, caller string) http.Header {
		return http.Header{"Content-Length": {length}, "X-Caller": {caller}}
	}
	right := header("1024", "spiffe://bench.example/ns/load/sa/"+vegetaName)
	for _, tt := range []struct {
		claim                string
		due, latency         time.Duration
		code                 uint16
		failed               string
		header               http.Header
		noCaller             bool
		operations, failures int64
	}{
		{"right", 100 * time.Millisecond, time.Millisecond, 200, "", right, false, 1, 0},
		{"begun before the slice", -time.Millisecond, 2 * time.Millisecond, 200, "", right, false, 1, 0},
		{"ended before the slice", -3 * time.Millisecond, 2 * time.Millisecond, 200, "", right, false, 0, 0},
		{"ended after the slice", 999 * time.Millisecond, 2 * time.Millisecond, 200, "", right, false, 0, 0},
		{"another status", 0, time.Millisecond, 503, "503 Service Unavailable", right, false, 0, 1},
		{"no answer", 0, time.Millisecond, 0, "connection refused", nil, false, 0, 1},
		{"another length", 0, time.Millisecond, 200, "", header("1023", vegetaName), false, 0, 1},
		{"no length", 0, time.Millisecond, 200, "", http.Header{"X-Caller": {vegetaName}}, false, 0, 1},
		{"another caller", 0, time.Millisecond, 200, "", header("1024", "client-000001"), false, 0, 1},
		{"no caller, by a peer that cannot tell", 0, time.Millisecond, 200, "", header("1024", ""), true, 1, 0},
		{"after the slice, wrong", time.Second, time.Millisecond, 503, "", right, false, 0, 0},
	} {
		file := filepath.Join(t.TempDir(), "results")
		write(t, file, hit{Seq: closedWorkers, Code: tt.code, Timestamp: began.Add(tt.due), Latency: tt.latency, Error: tt.failed, Headers: tt.header})
		result := load.Result{Began: began, Wall: time.Second}
		if err := countAttack(&result, file, tt.noCaller); (err == nil) != (tt.operations+tt.failures > 0) {
			t.Errorf("%s: countAttack() = %v; want an error if nothing ended in the slice", tt.claim, err)
		}
		if result.Operations != tt.operations || result.Failures != tt.failures || (result.Failure != "") != (tt.failures > 0) {
			t.Errorf("%s: %d operations, %d failures (%s); want %d, %d", tt.claim, result.Operations, result.Failures, result.Failure, tt.operations, tt.failures)
		}
	}
	file := filepath.Join(t.TempDir(), "results")
	for _, end := range []time.Duration{0, time.Hour} {
		write(t, file, hit{Seq: closedWorkers, Code: 200, Timestamp: began, Headers: right}, hit{Seq: closedWorkers - 1, Code: 200, Timestamp: began.Add(end), Headers: right})
		if err := countAttack(&load.Result{Began: began, Wall: time.Second}, file, false); err == nil || !strings.Contains(err.Error(), "first operation") {
			t.Errorf("countAttack() = %v where a worker's first operation ended %v after the begin of the slice, want an error", err, end)
		}
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := eachHit(file, func(*hit) bool { return false }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("eachHit() = %v for half a file, want %v", err, io.ErrUnexpectedEOF)
	}
}

func write(t *testing.T, file string, hits ...hit) {
	t.Helper()
	var b bytes.Buffer
	for e := gob.NewEncoder(&b); len(hits) > 0; hits = hits[1:] {
		if err := e.Encode(hits[0]); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A peer that resumes nothing is left out, with one note however many rounds there are.
func TestWhoResumesNothingIsNotAttacked(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile("testdata/peer.sh")
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	o := brief(t, &said)
	path := filepath.Join(t.TempDir(), "peer.sh")
	forgetful := strings.NewReplacer("  nbthread 1\n", "  nbthread 1\n  tune.ssl.cachesize 0\n", "curves $GROUP", "curves $GROUP no-tls-tickets").Replace(string(good))
	if err := os.WriteFile(path, []byte(forgetful), 0o700); err != nil {
		t.Fatal(err)
	}
	o.peers, o.scripts, o.scenarios, o.vegeta, o.rounds = []string{"mine"}, []named{{"mine", path}}, []string{byVegeta + "resumed"}, vegeta(t), 2
	run := compared(t, o)
	notes := strings.Count(strings.Join(run.Notes, "\n"), "mine is not in vegeta_resumed")
	if len(run.Measurements) != 0 || notes != 1 {
		t.Errorf("there are %d measurements and %d notes, want none and one", len(run.Measurements), notes)
	}
}

func TestVegetaThatIsNotThereIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "vegeta"), "Makefile", own} {
		var said bytes.Buffer
		o := brief(t, &said)
		o.vegeta = path
		if err := compare(t.Context(), o); err == nil || !strings.Contains(err.Error(), "-vegeta: ") || said.Len() > 0 {
			t.Errorf("compare() = %v after %q for %s, want an error that names the flag, at once", err, said.String(), path)
		}
	}
}
