package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"verigate/devpki"
)

// world is a server that wants client certificates, and clients that have some.
type world struct {
	*httptest.Server
	dir string
	ca  *devpki.CA

	mu       sync.Mutex
	callers  map[string]int // requests by the identifier of the certificate
	open     map[string]int // connections by it
	mostOpen int
	shook    atomic.Int64 // handshakes
}

// newWorld starts a server that answers with handler, or with 1 KiB, and writes n
// identities.
func newWorld(t *testing.T, n int, handler http.HandlerFunc, setUp ...func(*httptest.Server)) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), callers: map[string]int{}, open: map[string]int{}}
	var err error
	if w.ca, err = devpki.NewRoot(devpki.CAOptions{}); err != nil {
		t.Fatal(err)
	}
	server, err := w.ca.Issue(devpki.LeafOptions{DNS: []string{"localhost"}, IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "root.pem", devpki.CertificatesPEM(w.ca.Certificate))
	w.identities(t, "bundle.pem", n)
	w.write(t, "x.targets", []byte("GET https://localhost:8443/1k\n"))
	body := bytes.Repeat([]byte{'x'}, 1024)
	if handler == nil {
		handler = func(rw http.ResponseWriter, _ *http.Request) { rw.Write(body) }
	}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.callers[caller(r.TLS)]++
		w.mu.Unlock()
		rw.Header().Set("Caller", caller(r.TLS))
		handler(rw, r)
	}))
	w.Server.EnableHTTP2 = true
	clients := x509.NewCertPool()
	clients.AddCert(w.ca.Certificate)
	w.Server.TLS = &tls.Config{
		Certificates: []tls.Certificate{server.TLS()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		VerifyConnection: func(tls.ConnectionState) error { w.shook.Add(1); return nil },
	}
	w.Server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		w.mu.Lock()
		defer w.mu.Unlock()
		s := c.(*tls.Conn).ConnectionState()
		switch state {
		case http.StateActive:
			if key := c.RemoteAddr().String(); w.open[key] == 0 {
				w.open[key] = 1
				w.open[caller(&s)]++
				w.mostOpen = max(w.mostOpen, w.open[caller(&s)])
			}
		case http.StateNew, http.StateIdle, http.StateHijacked:
		case http.StateClosed:
			if key := c.RemoteAddr().String(); w.open[key] == 1 {
				w.open[key] = 0
				w.open[caller(&s)]--
			}
		}
	}
	for _, f := range setUp {
		f(w.Server)
	}
	w.Server.Config.ErrorLog = discard()
	w.StartTLS()
	t.Cleanup(w.Close)
	return w
}

func (w *world) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// identities writes a bundle as `gateway pki gen` does.
func (w *world) identities(t *testing.T, name string, n int) {
	t.Helper()
	var bundle []byte
	for i := range n {
		leaf, err := w.ca.Issue(devpki.LeafOptions{URIs: []string{fmt.Sprintf("spiffe://load.example/client-%d", i)}})
		if err != nil {
			t.Fatal(err)
		}
		key, err := devpki.KeyPEM(leaf.Key)
		if err != nil {
			t.Fatal(err)
		}
		bundle = append(append(bundle, devpki.CertificatesPEM(leaf.Chain...)...), key...)
	}
	w.write(t, name, bundle)
}

func caller(s *tls.ConnectionState) string {
	if s == nil || len(s.PeerCertificates) == 0 {
		return ""
	}
	return s.PeerCertificates[0].URIs[0].String()
}

// drive runs the driver against w as the command line would.
func (w *world) drive(t *testing.T, wantCode int, arguments ...string) (*result, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result.json")
	all := append([]string{
		"-targets", filepath.Join(w.dir, "x.targets"), "-connect-to", "localhost:8443:" + w.Listener.Addr().String(),
		"-root-certs", filepath.Join(w.dir, "root.pem"), "-json", file, "-timeout", "10s",
	}, arguments...)
	var out, errOut strings.Builder
	if code := Main(t.Context(), all, &out, &errOut); code != wantCode {
		t.Fatalf("driver %q ended with code %d, want %d\n%s%s", arguments, code, wantCode, &out, &errOut)
	}
	if wantCode == 2 {
		return nil, errOut.String()
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return &r, out.String() + errOut.String()
}

func TestKeepAliveSpreadsIdentities(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, nil)
	r, text := w.drive(t, 0, "-identities", w.dir, "-connections", "10", "-rate", "400", "-duration", "500ms",
		"-expect", "200", "-expect", "Caller:", "-min-identities", "5")
	if r.Due != 200 || r.Right != 200 || r.Statuses["200"] != 200 || r.BytesIn != 200*1024 {
		t.Errorf("the result is %+v, want 200 right answers of 1 KiB", r)
	}
	if r.Connections.Opened != 10 || r.Connections.Identities != 5 || r.Connections.Chains != 1 || w.shook.Load() != 10 {
		t.Errorf("%d connections of %d identities, %d handshakes at the server; want 10 of 5", r.Connections.Opened, r.Connections.Identities, w.shook.Load())
	}
	// The connection that rested longest is taken, so everybody's turn comes.
	for name, n := range w.callers {
		if n < 10 {
			t.Errorf("%s made %d of 200 requests; five identities take turns", name, n)
		}
	}
	for _, want := range []string{"Requests ", "Latencies ", "200:200", "Driver ", "% of "} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "MISSED") {
		t.Errorf("the report has missed thresholds:\n%s", text)
	}
}

func TestConnectionsOfAnIdentityAreBounded(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"-random=false", "-random=true"} {
		w := newWorld(t, 3, nil)
		w.drive(t, 0, "-identities", w.dir, "-connections", "100", "-per-identity", "2", "-rate", "400", "-duration", "300ms", mode)
		if w.mostOpen > 2 || w.shook.Load() != 6 {
			t.Errorf("%s: %d connections of one identity at a time, %d handshakes; want at most 2, and 6", mode, w.mostOpen, w.shook.Load())
		}
	}
}

func TestRandomIdentities(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, nil)
	w.drive(t, 0, "-identities", w.dir, "-keepalive=false", "-random", "-rate", "100", "-duration", "500ms")
	if len(w.callers) < 3 { // 50 draws of 4: fewer than 3 come once in 10^14
		t.Errorf("only %v came, want about all of four", w.callers)
	}
}

func TestFirstIdentitiesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, nil)
	w.drive(t, 0, "-identities", w.dir, "-first", "2", "-keepalive=false", "-rate", "50", "-duration", "200ms")
	if len(w.callers) != 2 {
		t.Errorf("%v came, want the first two", w.callers)
	}
}

func TestResumptionIsCounted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		arguments       []string
		setUp           func(*httptest.Server)
		code            int
		offered, resume bool
		missed          string
	}{
		{[]string{"-session-tickets", "-min-resumed", "0.99"}, func(*httptest.Server) {}, 0, true, true, ""},
		{nil, func(*httptest.Server) {}, 0, false, false, ""},
		{[]string{"-session-tickets", "-min-resumed", "0.5"}, func(s *httptest.Server) { s.TLS.SessionTicketsDisabled = true }, 1, false, false,
			"0 of 0 handshakes that showed a ticket were resumed, 0.0000; at least 0.5000 is required"},
	} {
		w := newWorld(t, 2, nil, tt.setUp)
		// One after the other, so that everybody but the first of each has a ticket.
		r, text := w.drive(t, tt.code, append([]string{"-identities", w.dir, "-keepalive=false", "-rate", "40", "-duration", "500ms"}, tt.arguments...)...)
		c := r.Connections
		if (c.Offered > 0) != tt.offered || (c.Resumed > 0) != tt.resume || c.Opened != 20 {
			t.Errorf("%q: %+v; want tickets shown: %t, resumed: %t", tt.arguments, c, tt.offered, tt.resume)
		}
		if !strings.Contains(text, tt.missed) {
			t.Errorf("%q: the report lacks %q:\n%s", tt.arguments, tt.missed, text)
		}
		wanted := len(tt.arguments) > 0
		if said := strings.Contains(text, "no session was resumed: "); said != (wanted && !tt.resume) {
			t.Errorf("%q: the report says that no session was resumed: %t\n%s", tt.arguments, said, text)
		}
	}
}

func TestWhyNoSessionWasResumed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of   connections
		want string
	}{
		{connections{Opened: 9, Identities: 3, Offered: 6, Resumed: 1}, ""},
		{connections{Opened: 9, Identities: 3, Offered: 6}, "the server took none of the 6 tickets"},
		{connections{Failed: 4, Identities: 3}, "no connection was opened"},
		{connections{Opened: 3, Identities: 3}, "none of 3 identities connected twice"},
		{connections{Opened: 9, Identities: 3}, "in 9 connections of 3 identities nobody had a ticket"},
	} {
		if got := (&result{Connections: tt.of}).unresumed(); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("unresumed() of %+v = %q, want %q", tt.of, got, tt.want)
		}
	}
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	var protocols sync.Map
	w := newWorld(t, 2, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		protocols.Store(r.Proto+" "+r.Host+" "+r.Header.Get("X-A")+" "+string(body), true)
	})
	w.write(t, "hello", []byte("hello"))
	w.write(t, "x.targets", []byte("POST https://localhost:8443/\nX-A: b\n@hello\n"))
	r, _ := w.drive(t, 0, "-identities", w.dir, "-http2", "-connections", "2", "-streams", "4", "-rate", "200", "-duration", "300ms")
	if r.Right != 60 || r.Connections.Opened != 2 || r.Connections.Identities != 2 {
		t.Errorf("%d right, %+v; want 60 over two connections", r.Right, r.Connections)
	}
	if _, ok := protocols.Load("HTTP/2.0 localhost:8443 b hello"); !ok {
		protocols.Range(func(key, _ any) bool { t.Errorf("the server saw %q, want the target over HTTP/2", key); return true })
	}
	other := newWorld(t, 1, nil, func(s *httptest.Server) { s.EnableHTTP2 = false; s.TLS.NextProtos = []string{"http/1.1"} })
	if _, text := other.drive(t, 1, "-identities", other.dir, "-http2", "-rate", "20", "-duration", "100ms"); !strings.Contains(text, "alert: no application protocol") {
		t.Errorf("a server without HTTP/2 gives\n%s", text)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nil)
	stranger := newWorld(t, 1, nil)
	none := []string{"-rate", "40", "-duration", "100ms"}
	wrong := append([]string{"-identities", stranger.dir}, none...)
	right := append([]string{"-identities", w.dir}, none...)
	for _, tt := range []struct {
		name   string
		code   int
		args   []string
		expect string
		want   string
	}{
		{"nobody is refused as expected", 0, none, "alert certificate required", ""},
		{"any alert", 0, none, "alert", ""},
		{"any refusal", 0, none, "refused", ""},
		{"another alert is wrong", 1, none, "alert bad certificate", "alert: certificate required:4"},
		{"a stranger", 0, wrong, "alert unknown certificate authority", ""},
		{"a refusal where an answer is wanted", 1, wrong, "200", "alert: unknown certificate authority:4"},
		{"an answer where a refusal is wanted", 1, right, "refused", "not refused: status 200:4"},
		{"another status", 1, right, "403,5xx", "status 200:4"},
		{"a header that is missing", 1, right, "X-Missing:", `header X-Missing: "":4`},
		{"a header that differs", 1, right, "Caller: somebody", `header Caller: "spiffe://load.example/client-0":4`},
	} {
		r, text := w.drive(t, tt.code, append([]string{"-expect", tt.expect}, tt.args...)...)
		if !strings.Contains(text, tt.want) || (r.Right == 4) != (tt.code == 0) {
			t.Errorf("%s: %d right, want %q in\n%s", tt.name, r.Right, tt.want, text)
		}
	}
}

// Whom nobody answers has not been refused: the gateway may be down.
func TestAClosedPortIsNoRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nil)
	// A port of the kernel's choice might be given to another test.
	_, text := w.drive(t, 1, "-expect", "refused", "-rate", "40", "-duration", "100ms", "-connect-to", "localhost:8443:127.0.0.1:1")
	if !strings.Contains(text, "connect: connection refused:4") {
		t.Errorf("the report does not say that nobody listens:\n%s", text)
	}
}

func TestServersCertificateIsVerified(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t, 1, nil), newWorld(t, 1, nil)
	_, text := w.drive(t, 1, "-identities", w.dir, "-rate", "40", "-duration", "100ms", "-root-certs", filepath.Join(other.dir, "root.pem"))
	if !strings.Contains(text, "unknown authority") {
		t.Errorf("a server of another CA is believed:\n%s", text)
	}
	w.write(t, "x.targets", []byte("GET https://elsewhere.example:8443/\n"))
	_, text = w.drive(t, 1, "-identities", w.dir, "-rate", "40", "-duration", "100ms", "-connect-to", "elsewhere.example:8443:"+w.Listener.Addr().String())
	if !strings.Contains(text, "not elsewhere.example") {
		t.Errorf("a server of another name is believed:\n%s", text)
	}
}

// A verdict is remembered for the chain and the name that it was about, and no
// longer than the chain is valid.
func TestVerifierRemembers(t *testing.T) {
	t.Parallel()
	root, err := devpki.NewRoot(devpki.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := root.Issue(devpki.LeafOptions{DNS: []string{"a.example"}})
	if err != nil {
		t.Fatal(err)
	}
	v := &verifier{roots: x509.NewCertPool(), known: map[verdict]time.Time{}}
	v.roots.AddCert(root.Certificate)
	state := tls.ConnectionState{ServerName: "a.example", PeerCertificates: leaf.Chain}
	if err := v.verify(state); err != nil {
		t.Fatal(err)
	}
	v.roots = x509.NewCertPool()
	if err := v.verify(state); err != nil {
		t.Errorf("verify() = %v for a chain that was accepted before", err)
	}
	if err := v.verify(tls.ConnectionState{ServerName: "b.example", PeerCertificates: leaf.Chain}); err == nil {
		t.Error("a verdict for a.example was used for b.example")
	}
	for key, until := range v.known {
		if !until.Equal(leaf.Chain[0].NotAfter) && !until.Equal(root.Certificate.NotAfter) {
			t.Errorf("the verdict holds until %v", until)
		}
		v.known[key] = time.Now().Add(-time.Second)
	}
	if err := v.verify(state); err == nil {
		t.Error("a verdict that is over was used")
	}
}

// closer is a server that closes every connection after its first answer, and does
// not say so: what every server does to connections that are idle for too long.
func closer(t *testing.T) (address string, requests *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	requests = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				io.Copy(io.Discard, r.Body)
				requests.Add(1)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}()
		}
	}()
	return l.Addr().String(), requests
}

func TestKeptConnectionsThatWereClosed(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST"} {
		address, requests := closer(t)
		file := filepath.Join(t.TempDir(), "x.targets")
		if err := os.WriteFile(file, []byte(method+" http://"+address+"/\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := parseOptions([]string{"-targets", file, "-rate", "50", "-duration", "400ms", "-connections", "1"}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		r, err := run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		// Between the look at the connection and the request it can still be closed: then
		// a POST is lost, rather than sent twice.
		if r.Right+r.Wrongs["lost: EOF"]+r.Wrongs["lost: connection reset by peer"] != 20 || method == "GET" && r.Right != 20 ||
			r.Retried == 0 || requests.Load() != r.Right {
			t.Errorf("%s: %d right, %d sent again, %d at the server, %v; want all right, and each at the server once", method, r.Right, r.Retried, requests.Load(), r.Wrongs)
		}
	}
}

func TestThresholds(t *testing.T) {
	t.Parallel()
	good := func() *result {
		r := &result{Due: 100, Right: 100, Rate: 10, RightRate: 9.95}
		r.Latency = percentiles{P50: 1, P99: 20, P999: 30, Max: 40}
		r.Connections = connections{Offered: 50, Resumed: 49, Identities: 5}
		return r
	}
	for _, tt := range []struct {
		name   string
		t      thresholds
		change func(*result)
		want   string
	}{
		{"all kept", thresholds{p50: time.Millisecond, p99: 20 * time.Millisecond, p999: 30 * time.Millisecond, max: 40 * time.Millisecond, minRate: 0.99, minResumed: 0.9, minIdentities: 5}, nil, ""},
		{"p50", thresholds{p50: 900 * time.Microsecond}, nil, "p50 of the latency is 1.000 ms; at most 0.900 ms are allowed"},
		{"p99", thresholds{p99: 19 * time.Millisecond}, nil, "p99 of the latency is 20.000 ms; at most 19.000 ms are allowed"},
		{"p99.9", thresholds{p999: 19 * time.Millisecond}, nil, "p99.9 of the latency is 30.000 ms"},
		{"the longest", thresholds{max: 19 * time.Millisecond}, nil, "the longest of the latency is 40.000 ms"},
		{"a wrong answer", thresholds{}, func(r *result) { r.Wrong = 1 }, "1 requests failed (1 wrong, 0 dropped); at most 0 are allowed"},
		{"a dropped arrival", thresholds{}, func(r *result) { r.Dropped = 2 }, "2 requests failed (0 wrong, 2 dropped)"},
		{"as many as allowed", thresholds{maxFailures: 3}, func(r *result) { r.Wrong, r.Dropped = 1, 2 }, ""},
		{"any number", thresholds{maxFailures: -1}, func(r *result) { r.Wrong = 100 }, ""},
		{"the rate", thresholds{minRate: 0.999}, nil, "9.9 right answers a second are 0.9950 of the rate of 10.0; at least 0.9990 is required"},
		{"resumption", thresholds{minResumed: 0.99}, nil, "49 of 50 handshakes that showed a ticket were resumed, 0.9800; at least 0.9900 is required"},
		{"identities", thresholds{minIdentities: 6}, nil, "5 identities had a connection; at least 6 are required"},
		{"nothing was due", thresholds{}, func(r *result) { r.Due, r.Right = 0, 0 }, "no request was due"},
		{"interrupted", thresholds{}, func(r *result) { r.Interrupted = true }, "interrupted"},
		{"slow ones", thresholds{maxSlowLife: time.Second}, func(r *result) { r.Slow = &slowResult{Opened: 1, Longest: 1001} }, "a slow connection lived for 1001 ms; at most 1000 ms are allowed"},
		{"no slow ones", thresholds{maxSlowLife: time.Second}, func(r *result) { r.Slow = &slowResult{} }, "no slow connection could be opened"},
	} {
		r := good()
		if tt.change != nil {
			tt.change(r)
		}
		tt.t.apply(r)
		if got := strings.Join(r.Missed, "; "); (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: missed %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestOutputFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nil)
	hgrm, csv := filepath.Join(w.dir, "x.hgrm"), filepath.Join(w.dir, "x.csv")
	r, _ := w.drive(t, 0, "-identities", w.dir, "-rate", "100", "-duration", "300ms", "-warmup", "100ms", "-hgrm", hgrm, "-timeline", csv, "-name", "files")
	if r.Name != "files" || r.Due != 30 || r.Latency.Count != 30 || r.Latency.P50 <= 0 || r.Driver.CPUSeconds <= 0 || r.Driver.Cores < 1 {
		t.Errorf("the result is %+v, want 30 requests after the warm-up, with latencies and the driver's CPU time", r)
	}
	data, err := os.ReadFile(hgrm)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	last := 0.0
	points := 0
	for _, line := range lines[2:] {
		if fields := strings.Fields(line); len(fields) == 4 && fields[0][0] != '#' {
			percentile, err := strconv.ParseFloat(fields[1], 64)
			if err != nil || percentile < last {
				t.Errorf("%q is no later percentile: %v", line, err)
			}
			last = percentile
			points++
		}
	}
	if strings.Join(strings.Fields(lines[0]), " ") != "Value Percentile TotalCount 1/(1-Percentile)" || last != 1 || points < 5 || !strings.Contains(string(data), "#[Max     =") {
		t.Errorf("the file of percentiles is not what plotters read:\n%s", data)
	}
	if data, err = os.ReadFile(csv); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(rows) != 4 || rows[0] != "seconds,right,wrong,dropped,longest_ms" || !strings.HasPrefix(rows[1], "0.0,10,0,0,") {
		t.Errorf("the timeline is\n%s\nwant three tenths of ten requests", data)
	}
}

func TestCommandLineThatCannotBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nil)
	w.write(t, "broken.targets", []byte("GET https://localhost:8443/\nX\n"))
	w.write(t, "keyless.pem", devpki.CertificatesPEM(w.ca.Certificate))
	w.write(t, "garbage.pem", []byte("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"))
	file := func(name string) string { return filepath.Join(w.dir, name) }
	// long is a file, with nothing on the disk, that is longer than it may be.
	long := func(maxBytes int64) string {
		name := file(fmt.Sprint(maxBytes, ".pem"))
		w.write(t, filepath.Base(name), nil)
		if err := os.Truncate(name, maxBytes+1); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-targets", ""}, "-targets is missing"},
		{[]string{"-targets", file("none")}, "no such file"},
		{[]string{"-targets", file("broken.targets")}, "broken.targets:2: header"},
		{[]string{"-format", "xml"}, `-format "xml": expected http or json`},
		{[]string{"-rate", "0"}, `-rate "0": expected arrivals per second`},
		{[]string{"-rate", "10..x"}, `-rate "10..x"`},
		{[]string{"-duration", "0s"}, "-duration 0s"},
		{[]string{"-warmup", "-1s"}, "-warmup -1s"},
		{[]string{"-timeout", "0s"}, "-timeout 0s"},
		{[]string{"-connections", "0"}, "expected at least 1"},
		{[]string{"-first", "-1"}, "expected 0 or more"},
		{[]string{"-slow", "1", "-slow-interval", "0s"}, "-slow-interval 0s"},
		{[]string{"-identities", w.dir, "-cert", "x", "-key", "y"}, "name one of them"},
		{[]string{"-cert", "x"}, "-cert and -key: name both"},
		{[]string{"-cert", file("none"), "-key", file("none")}, "-cert: "},
		{[]string{"-identities", file("none")}, "make some with `gateway pki gen`"},
		{[]string{"-identities", file("keyless.pem")}, "identity 0 has no private key"},
		{[]string{"-identities", file("garbage.pem")}, "identity 0: tls:"},
		{[]string{"-identities", file("x.targets")}, "has no private key"},
		{[]string{"-root-certs", file("none")}, "-root-certs: "},
		{[]string{"-root-certs", file("x.targets")}, "there is no certificate in PEM"},
		{[]string{"-root-certs", long(maxAnchorsBytes)}, "is longer than 16777216 octets"},
		{[]string{"-root-certs", "/dev/zero"}, "-root-certs: /dev/zero is no regular file"},
		{[]string{"-identities", long(maxIdentitiesBytes)}, "is longer than 4294967296 octets"},
		{[]string{"-identities", "/dev/zero"}, "identities: /dev/zero is no regular file"},
		{[]string{"-cert", "/dev/zero", "-key", "/dev/zero"}, "-cert: /dev/zero is no regular file"},
		{[]string{"-connect-to", "localhost:8443"}, "expected HOST:PORT:HOST:PORT"},
		{[]string{"-expect", "maybe"}, `-expect "maybe": expected a status`},
		{[]string{"-expect", "200", "-expect", "alert"}, "a client that is refused gets neither"},
		{[]string{"-min-resumed", "0.5"}, "-min-resumed asks for what"},
		{[]string{"stray"}, `"stray" is no flag`},
		{[]string{"-unknown"}, "flag provided but not defined"},
	} {
		if _, text := w.drive(t, 2, tt.args...); !strings.Contains(text, tt.want) {
			t.Errorf("%q: the error is %q, want %q", tt.args, text, tt.want)
		}
	}
}

func TestConnectTo(t *testing.T) {
	t.Parallel()
	got, err := parseConnectTo([]string{"localhost:8443:127.0.0.1:9000", "a.example:443:[::1]:1", "[::1]:2:b.example:3"})
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"localhost:8443": "127.0.0.1:9000", "a.example:443": "[::1]:1", "[::1]:2": "b.example:3"} {
		if got[from] != to {
			t.Errorf("%s is connected to %q, want %q", from, got[from], to)
		}
	}
}

func TestSlowConnectionsAreTimed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nil, func(s *httptest.Server) { s.Config.ReadHeaderTimeout = 200 * time.Millisecond })
	r, text := w.drive(t, 1, "-identities", w.dir, "-rate", "20", "-duration", "1s", "-max-failures", "-1",
		"-slow", "4", "-slow-interval", "20ms", "-max-slow-life", "1ms")
	if r.Slow.Closed == 0 || r.Slow.Opened < r.Slow.Closed || r.Slow.Longest < 150 {
		t.Errorf("slow %+v; want connections that the server closed after a while", r.Slow)
	}
	if !strings.Contains(text, "a slow connection lived for") {
		t.Errorf("the report does not say that slow connections lived too long:\n%s", text)
	}
}

func TestAnInterruptEndsTheRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var seen atomic.Int64
	w := newWorld(t, 1, func(http.ResponseWriter, *http.Request) {
		if seen.Add(1) == 5 {
			cancel()
		}
	})
	var out, errOut strings.Builder
	code := Main(ctx, []string{"-targets", filepath.Join(w.dir, "x.targets"), "-connect-to", "localhost:8443:" + w.Listener.Addr().String(),
		"-root-certs", filepath.Join(w.dir, "root.pem"), "-identities", w.dir, "-rate", "100", "-duration", "1h"}, &out, &errOut)
	// Once: whoever reads both would take it for two.
	if code != 1 || strings.Count(out.String(), "MISSED: the run was interrupted") != 1 || errOut.Len() > 0 || !strings.Contains(out.String(), "Latencies") {
		t.Errorf("code %d, %q; want 1, a report of what there is, and that it was interrupted:\n%s", code, errOut.String(), out.String())
	}
}
