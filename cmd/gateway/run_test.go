package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"verigate/admin"
	"verigate/devpki"
)

// patience bounds what should take milliseconds; on its end the test has failed.
const patience = 20 * time.Second

// fleet is certificates, a configuration and a backend on loopback.
type fleet struct {
	dir     string
	anchors *x509.CertPool
	client  tls.Certificate
	backend string
}

// newFleet starts a backend that answers with handle.
func newFleet(t *testing.T, handle http.HandlerFunc) *fleet {
	t.Helper()
	f := &fleet{dir: t.TempDir(), anchors: x509.NewCertPool()}
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "root"})
	if err != nil {
		t.Fatal(err)
	}
	f.anchors.AddCert(root.Certificate)
	issue := func(name, id string, dns ...string) *devpki.Leaf {
		leaf, err := root.Issue(devpki.LeafOptions{URIs: []string{id}, DNS: dns})
		if err != nil {
			t.Fatal(err)
		}
		if err := writeCredential(filepath.Join(f.dir, name+".pem"), filepath.Join(f.dir, name+".key"), leaf); err != nil {
			t.Fatal(err)
		}
		return leaf
	}
	issue("edge", "spiffe://prod.example/edge", "localhost")
	f.client = issue("shop", "spiffe://prod.example/shop").TLS()
	f.write(t, "root.pem", string(devpki.CertificatesPEM(root.Certificate)))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.backend = listener.Addr().String()
	server := &http.Server{Handler: handle}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	f.configure(t, "/")
	return f
}

func (f *fleet) write(t *testing.T, name, content string) {
	t.Helper()
	if err := writeFile(filepath.Join(f.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// configure writes a configuration whose only route is for path.
func (f *fleet) configure(t *testing.T, path string) {
	t.Helper()
	f.write(t, "gateway.yaml", fmt.Sprintf(`listeners:
  - name: edge
    address: 127.0.0.1:0
    certificate: {cert_file: edge.pem, key_file: edge.key}
    trust_domains: [spiffe://prod.example]
trust_domains:
  spiffe://prod.example: {anchors: {file: root.pem}}
routes:
  - name: all
    match: {path: %s}
    allow: [{caller: spiffe://prod.example/**}]
    upstream: api
upstreams:
  api: {endpoints: [%q], plaintext: true}
telemetry: {audit: {file: audit.jsonl}}
admin: {address: 127.0.0.1:0}
`, path, f.backend))
}

// edit changes the configuration.
func (f *fleet) edit(t *testing.T, from, to string) {
	t.Helper()
	written, err := os.ReadFile(filepath.Join(f.dir, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(written), from) {
		t.Fatalf("the configuration has no %q", from)
	}
	f.write(t, "gateway.yaml", strings.Replace(string(written), from, to, 1))
}

// process is a gateway in a process of its own.
type process struct {
	cmd         *exec.Cmd
	lines       chan string // of its log, as they come
	edge, admin string
	exit        chan error

	mu  sync.Mutex
	log bytes.Buffer
}

// command calls gateway as TestMain has put it on the path.
func command(args ...string) *exec.Cmd { return exec.Command("gateway", args...) }

// run starts `gateway run` and waits until it listens.
func (f *fleet) run(t *testing.T) *process {
	t.Helper()
	p := start(t, command("run", "-c", filepath.Join(f.dir, "gateway.yaml")))
	p.listens(t)
	return p
}

// start starts a gateway and follows its log.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, lines: make(chan string, 1024), exit: make(chan error, 1)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for scanner := bufio.NewScanner(stderr); scanner.Scan(); {
			p.mu.Lock()
			p.log.WriteString(scanner.Text() + "\n")
			p.mu.Unlock()
			p.lines <- scanner.Text()
		}
	}()
	go func() {
		<-read
		p.exit <- p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", p.logged())
		}
	})
	return p
}

// listens waits until p listens.
func (p *process) listens(t *testing.T) {
	t.Helper()
	p.edge = valueOf(p.await(t, "msg=listening"), "address")
	p.admin = strings.TrimSuffix(valueOf(p.await(t, `msg="admin listening"`), "url"), "/")
}

// await returns the next line of the log that has text.
func (p *process) await(t *testing.T, text string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line := <-p.lines:
			if strings.Contains(line, text) {
				return line
			}
		case err := <-p.exit:
			t.Fatalf("the gateway ended with %v before it logged %s", err, text)
		case <-timeout:
			t.Fatalf("the gateway did not log %s", text)
		}
	}
}

// logged returns the log so far.
func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// wait returns the exit code.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exit:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatal("the gateway did not end")
		return -1
	}
}

// valueOf returns the value of a key in a line of the log.
func valueOf(line, key string) string {
	_, rest, _ := strings.Cut(line, key+"=")
	value, _, _ := strings.Cut(rest, " ")
	return strings.Trim(value, `"`)
}

func (p *process) ask(t *testing.T, path string) (int, string) {
	t.Helper()
	response, err := http.Get(p.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (p *process) status(t *testing.T) admin.Status {
	t.Helper()
	_, body := p.ask(t, "/status")
	var s admin.Status
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("GET /status = %q: %v", body, err)
	}
	return s
}

// get sends one request to the gateway as the workload shop.
func (f *fleet) get(p *process, path string) (int, string, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: f.anchors, ServerName: "localhost", Certificates: []tls.Certificate{f.client}},
	}
	request, err := http.NewRequest("GET", "https://"+p.edge+path, nil)
	if err != nil {
		return 0, "", err
	}
	request.Host = "localhost"
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func TestClientsUseTheGroupsOfTheListener(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(http.ResponseWriter, *http.Request) {})
	f.edit(t, "    trust_domains:", "    tls_groups: [secp256r1, SecP256r1MLKEM768]\n    trust_domains:")
	p := f.run(t)
	shake := func(groups ...tls.CurveID) (tls.CurveID, error) {
		conn, err := tls.Dial("tcp", p.edge, &tls.Config{
			RootCAs: f.anchors, ServerName: "localhost", Certificates: []tls.Certificate{f.client}, CurvePreferences: groups,
		})
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		return conn.ConnectionState().CurveID, nil
	}
	if got, err := shake(tls.X25519, tls.CurveP256); got != tls.CurveP256 || err != nil {
		t.Errorf("a client of x25519 and secp256r1 uses %v, %v, want secp256r1", got, err)
	}
	if got, err := shake(tls.CurveP256, tls.SecP256r1MLKEM768); got != tls.SecP256r1MLKEM768 || err != nil {
		t.Errorf("a client of secp256r1 and its hybrid uses %v, %v, want the hybrid", got, err)
	}
	if got, err := shake(tls.X25519MLKEM768, tls.X25519); err == nil || !strings.Contains(err.Error(), "handshake failure") {
		t.Errorf("a client of x25519 and its hybrid uses %v, %v, want alert handshake_failure", got, err)
	}
}

func TestReloadTakesUpWhatIsGoodAndKeepsTheOldStateOtherwise(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	p := f.run(t)
	expect := func(path string, want int) {
		t.Helper()
		if status, _, err := f.get(p, path); err != nil || status != want {
			t.Errorf("GET %s = %d, %v; want %d", path, status, err, want)
		}
	}
	expect("/old", 200)
	if status, body := p.ask(t, "/readyz"); status != 200 {
		t.Errorf("GET /readyz = %d %q after the start, want 200", status, body)
	}

	f.configure(t, "/new")
	p.signal(t, syscall.SIGHUP)
	p.await(t, `msg="configuration reloaded"`)
	expect("/new", 200)
	expect("/old", 404)

	f.write(t, "gateway.yaml", "listeners: []\nnonsense: 1\n")
	audit := filepath.Join(f.dir, "audit.jsonl")
	if err := os.Rename(audit, audit+".1"); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP)
	line := p.await(t, "configuration not reloaded")
	if content, err := os.ReadFile(audit); err != nil || !strings.Contains(string(content), `"event":"reopen"`) {
		t.Errorf("the audit log that was rotated has not begun anew: %q, %v", content, err)
	}
	if !strings.Contains(line, "unknown field") {
		t.Errorf("the log says %q, want the problem with the file", line)
	}
	expect("/new", 200) // the old state is in force
	if status, body := p.ask(t, "/readyz"); status != 200 || !strings.Contains(body, "the last reload was refused") || !strings.Contains(body, "gateway.yaml:1:1") {
		t.Errorf("GET /readyz = %d %q after a bad reload, want 200 that names the problem", status, body)
	}
	s := p.status(t)
	if !strings.Contains(s.Config.LastError, "unknown field") || s.Config.LastErrorAt.IsZero() || !s.Ready || s.Config.Reloads != 1 {
		t.Errorf("GET /status has the config %+v, ready %v; want the error of the second reload", s.Config, s.Ready)
	}
	if _, body := p.ask(t, "/metrics"); !strings.Contains(body, "reload") {
		t.Errorf("GET /metrics says nothing about reloads")
	}

	// What needs a new process is refused by name.
	f.configure(t, "/newer")
	content, err := os.ReadFile(filepath.Join(f.dir, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, "gateway.yaml", string(content)+"cache: {max_entries: 7}\n")
	p.signal(t, syscall.SIGHUP)
	if line := p.await(t, "configuration not reloaded"); !strings.Contains(line, "cache.max_entries: differs from what is in force") {
		t.Errorf("the log says %q, want the section that cannot be reloaded", line)
	}
	expect("/new", 200)

	// A garbled bundle changes nothing either.
	f.configure(t, "/newer")
	anchors, err := os.ReadFile(filepath.Join(f.dir, "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, "root.pem", "garbage")
	p.signal(t, syscall.SIGHUP)
	if line := p.await(t, "configuration not reloaded"); !strings.Contains(line, "root.pem") {
		t.Errorf("the log says %q, want the file", line)
	}
	expect("/new", 200)

	f.write(t, "root.pem", string(anchors))
	p.signal(t, syscall.SIGHUP)
	p.await(t, `msg="configuration reloaded"`)
	expect("/newer", 200)
	s = p.status(t)
	if s.Config.LastError != "" || s.Config.Reloads != 2 || len(s.Routes) != 1 || s.Routes[0].Path != "/newer" {
		t.Errorf("GET /status has the config %+v and routes %+v; want no error and /newer", s.Config, s.Routes)
	}
	p.signal(t, syscall.SIGTERM)
	if code := p.wait(t); code != exitOK {
		t.Errorf("the gateway ended with %d after SIGTERM, want 0", code)
	}
}

func TestDrainLetsRequestsInFlightFinish(t *testing.T) {
	t.Parallel()
	entered, finish := make(chan struct{}), make(chan struct{})
	f := newFleet(t, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-finish
		io.WriteString(w, "finished")
	})
	p := f.run(t)
	type answer struct {
		status int
		body   string
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		status, body, err := f.get(p, "/slow")
		answered <- answer{status, body, err}
	}()
	<-entered
	p.signal(t, syscall.SIGTERM)
	p.await(t, "msg=draining")
	if status, body := p.ask(t, "/readyz"); status != 503 || !strings.Contains(body, "draining") {
		t.Errorf("GET /readyz = %d %q while draining, want 503 with the reason", status, body)
	}
	select {
	case err := <-p.exit:
		t.Fatalf("the gateway ended (%v) with a request in flight", err)
	default:
	}
	close(finish)
	if a := <-answered; a.err != nil || a.status != 200 || a.body != "finished" {
		t.Errorf("the request in flight was answered with %d %q, %v; want 200 finished", a.status, a.body, a.err)
	}
	if code := p.wait(t); code != exitOK {
		t.Errorf("the gateway ended with %d, want 0", code)
	}
}

func TestASecondStartOnTheSamePortSaysSo(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(http.ResponseWriter, *http.Request) {})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	content, err := os.ReadFile(filepath.Join(f.dir, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"    address: 127.0.0.1:0", "admin: {address: 127.0.0.1:0"} {
		f.write(t, "gateway.yaml", strings.Replace(string(content), field, strings.Replace(field, "127.0.0.1:0", taken.Addr().String(), 1), 1))
		cmd := command("run", "-c", filepath.Join(f.dir, "gateway.yaml"))
		out, err := cmd.CombinedOutput()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != exitFailed {
			t.Errorf("gateway run on a port that is taken ended with %v, want exit code 1", err)
		}
		if text := string(out); !strings.Contains(text, taken.Addr().String()) || !strings.Contains(text, "in use") {
			t.Errorf("gateway run on a port that is taken said %q, want the address and what is wrong", text)
		}
	}
}

// TestOpenReleasesWhatItBoundWhenItFails makes the last step of opening fail.
func TestOpenReleasesWhatItBoundWhenItFails(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(http.ResponseWriter, *http.Request) {})
	local := "127.0.0.1:0"
	if runtime.GOOS == "linux" {
		local = "127.0.0.2:0" // where no other test is given the port that is free again
	}
	free, err := net.Listen("tcp", local)
	if err != nil {
		t.Fatal(err)
	}
	edge := free.Addr().String()
	free.Close()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	content, err := os.ReadFile(filepath.Join(f.dir, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(content), "    address: 127.0.0.1:0", "    address: "+edge, 1)
	text = strings.Replace(text, "admin: {address: 127.0.0.1:0", "admin: {address: "+taken.Addr().String(), 1)
	f.write(t, "gateway.yaml", text)
	if _, err := open(filepath.Join(f.dir, "gateway.yaml"), logger(false)); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Fatalf("open() = %v with the admin address taken, want an error that names it", err)
	}
	if conn, err := net.Dial("tcp", edge); err == nil {
		conn.Close()
		t.Error("the listener stayed bound after open failed")
	}
}

func TestBatchAnswersEachLineAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "gateway", "explain", "--batch")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	for i := range 3 {
		fmt.Fprintf(in, `{"id":"case-%d","leaf":"AAAA"}`+"\n", i)
		line, err := answers.ReadString('\n') // blocks for ever if answers were held back
		if err != nil || !strings.Contains(line, fmt.Sprintf(`"id":"case-%d"`, i)) {
			t.Fatalf("case %d was answered with %q, %v", i, line, err)
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("gateway explain --batch ended with %v at the end of its input", err)
	}
}

func TestBatchGoesOnAfterALineThatIsTooLong(t *testing.T) {
	t.Parallel()
	long := `{"id":"long","leaf":"` + strings.Repeat("A", maxCaseBytes) + `"}`
	var out bytes.Buffer
	if err := explainBatch(strings.NewReader(long+"\n"+`{"id":"next","leaf":"AAAA"}`+"\n"+long), &out, true); err != nil {
		t.Fatalf("explainBatch() = %v", err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		var a caseAnswer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("answer %q: %v", line, err)
		}
		got = append(got, a.ID+" "+a.Reason)
	}
	want := []string{" malformed_case", "next malformed_certificate", " malformed_case"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("explainBatch() answers %q, want %q", got, want)
	}
}

// ASR-08, from the file to the backend: the fleet's gateway and its callers are of one
// trust domain, and of one grade if the operator says no more.
func TestNobodyIsConveyedAsBetterThanGatewayAndHop(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ claim, own, upstream, want string }{
		{"loopback is MIAL-1", "", "", "mial=1,"},
		{"a hop that the operator trusts takes nothing away", "", ", trusted_hop: true", "mial=3,"},
		{"nor does it raise the gateway", "own_assurance: {mial: 2}\n", ", trusted_hop: true", "mial=2,"},
		{"a gateway that its domain refuses vouches for nobody", "deny: [{identity: spiffe://prod.example/edge}]\n", ", trusted_hop: true", "mial=0,"},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.Header.Get("X-Workload-Assurance"))
			})
			f.edit(t, "plaintext: true", "plaintext: true, handoff: [workload]"+tt.upstream)
			f.edit(t, "{file: root.pem}", "{file: root.pem}, assurance: [{mial: 3}]")
			f.edit(t, "listeners:", tt.own+"listeners:")
			if status, got, err := f.get(f.run(t), "/"); err != nil || status != 200 || !strings.HasPrefix(got, tt.want) {
				t.Errorf("the backend got %d %q, %v; want %s…", status, got, err, tt.want)
			}
		})
	}
}

// With profiles, allocations are sampled as Go does it. The first line has twice the rate.
func TestHeapProfileHasSamples(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(http.ResponseWriter, *http.Request) {})
	f.edit(t, "admin: {", "admin: {pprof: true, ")
	_, profile := f.run(t).ask(t, "/debug/pprof/heap?debug=1")
	first, _, _ := strings.Cut(profile, "\n")
	if want := fmt.Sprintf("@ heap/%d", 2*runtime.MemProfileRate); !strings.HasSuffix(first, want) {
		t.Errorf("the heap profile begins with %q, want …%s", first, want)
	}
}
