package promtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"verigate/devpki"
)

const configuration = `
listeners:
  - name: edge
    address: 127.0.0.1:0
    certificate: {cert_file: edge.pem, key_file: edge.key}
    trust_domains: [spiffe://prod.example, spiffe://partner.example]
  - name: narrow
    address: 127.0.0.1:0
    certificate: {cert_file: edge.pem, key_file: edge.key}
    trust_domains: [spiffe://prod.example]
    limits: {max_connections_per_client: 1}
trust_domains:
  spiffe://prod.example:
    anchors: {file: prod.pem}
    crl: {files: [prod.crl]}
    # The next root is trusted already, and certificates that live long are not.
    shadow: {anchors: {file: next.pem}, crl: {files: [prod.crl, next.crl]}, max_certificate_lifetime: 30h}
  spiffe://partner.example:
    anchors: {file: partner.pem}
    crl: {files: [partner.crl], when_stale: accept-and-alarm, check: leaf}
shared_credentials: {detect: true}
deny:
  - {identity: spiffe://prod.example/ns/shop/sa/denied}
routes:
  - name: payments
    match: {path: /v1/}
    allow: [{caller: spiffe://prod.example/ns/shop/sa/checkout}]
    upstream: backend
  - name: catalog
    match: {path: /items}
    allow: [{caller: spiffe://prod.example/**, methods: [GET]}]
    upstream: backend
  - name: broken
    match: {path: /broken}
    allow: [{caller: spiffe://prod.example/**}]
    upstream: gone
upstreams:
  backend: {endpoints: ["%s"], plaintext: true}
  gone: {endpoints: ["127.0.0.1:1"], plaintext: true} # a port that nobody is given meanwhile
telemetry: {audit: {file: audit.jsonl}}
admin: {address: 127.0.0.1:0}
`

// world is a gateway process with everything around it.
type world struct {
	dir                 string
	edge, narrow, admin string
	process             *os.Process
	prod, partner, next *devpki.CA // that issue leaves
	roots               map[*devpki.CA]*devpki.CA
	anchors             *x509.CertPool
	leaves              map[string]*devpki.Leaf
	sessions            tls.ClientSessionCache // of the client that resumes
	revoked             []*big.Int             // by prod's issuing CA
}

// newWorld makes certificates, starts a backend and the gateway.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		dir: t.TempDir(), anchors: x509.NewCertPool(), leaves: map[string]*devpki.Leaf{}, roots: map[*devpki.CA]*devpki.CA{},
		sessions: tls.NewLRUClientSessionCache(1),
	}
	w.prod, w.partner, w.next = w.authority(t, "prod"), w.authority(t, "partner"), w.authority(t, "next")
	w.write(t, "next.pem", append(w.read(t, "prod.pem"), w.read(t, "next.pem")...))
	now := time.Now()
	w.write(t, "prod.crl", append(list(w.roots[w.prod], devpki.CRLOptions{}), list(w.prod, devpki.CRLOptions{})...))
	w.write(t, "next.crl", append(list(w.roots[w.next], devpki.CRLOptions{}), list(w.next, devpki.CRLOptions{})...))
	w.write(t, "partner.crl", list(w.partner, devpki.CRLOptions{ThisUpdate: now.Add(-48 * time.Hour), NextUpdate: now.Add(-time.Hour)}))
	const shop = "spiffe://prod.example/ns/shop/sa/"
	for _, l := range []struct {
		name string
		ca   *devpki.CA
		o    devpki.LeafOptions
	}{
		{"edge", w.prod, devpki.LeafOptions{URIs: []string{"spiffe://prod.example/edge"}, DNS: []string{"localhost"}}},
		{"checkout", w.prod, devpki.LeafOptions{URIs: []string{shop + "checkout"}}},
		{"cart", w.prod, devpki.LeafOptions{URIs: []string{shop + "cart"}}},
		{"report", w.partner, devpki.LeafOptions{URIs: []string{"spiffe://partner.example/ns/etl/sa/report"}}},
		{"impostor", w.partner, devpki.LeafOptions{URIs: []string{shop + "checkout"}}},
		{"expired", w.prod, devpki.LeafOptions{URIs: []string{shop + "checkout"}, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}},
		{"twofaced", w.prod, devpki.LeafOptions{URIs: []string{shop + "cart", shop + "checkout"}}},
		{"denied", w.prod, devpki.LeafOptions{URIs: []string{shop + "denied"}}},
		{"longlived", w.prod, devpki.LeafOptions{URIs: []string{shop + "longlived"}, NotAfter: now.Add(40 * time.Hour)}},
		{"early", w.next, devpki.LeafOptions{URIs: []string{shop + "early"}}},
	} {
		leaf, err := l.ca.Issue(l.o)
		if err != nil {
			t.Fatal(err)
		}
		w.leaves[l.name] = leaf
	}
	w.leaves["thief"] = &devpki.Leaf{Chain: w.leaves["checkout"].Chain, Key: w.leaves["cart"].Key}
	w.leaves["copy"] = w.withKeyOf(t, "cart", shop+"copy")
	key, err := devpki.KeyPEM(w.leaves["edge"].Key)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "edge.key", key)
	w.write(t, "edge.pem", devpki.CertificatesPEM(w.leaves["edge"].Chain...))

	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "hello\n") // the gateway notices a short answer
	}))
	t.Cleanup(backend.Close)
	w.write(t, "gateway.yaml", fmt.Appendf(nil, configuration, backend.Listener.Addr()))
	w.run(t)
	return w
}

func (w *world) authority(t *testing.T, name string) *devpki.CA {
	t.Helper()
	lifetime := devpki.CAOptions{Name: name + " root", NotAfter: time.Now().Add(48 * time.Hour)}
	root, err := devpki.NewRoot(lifetime)
	if err != nil {
		t.Fatal(err)
	}
	lifetime.Name = name + " issuing CA"
	issuing, err := root.NewIntermediate(lifetime)
	if err != nil {
		t.Fatal(err)
	}
	w.roots[issuing] = root
	w.anchors.AddCert(root.Certificate)
	w.write(t, name+".pem", devpki.CertificatesPEM(root.Certificate))
	return issuing
}

// list returns a CRL of ca in PEM.
func list(ca *devpki.CA, o devpki.CRLOptions) []byte {
	der, err := ca.MakeCRL(o)
	if err != nil {
		panic(err) // the CA of this test is broken
	}
	return devpki.CRLPEM(der)
}

// withKeyOf returns a leaf of another identity with the key of an existing one, as
// somebody makes who copies the key and asks for a certificate.
func (w *world) withKeyOf(t *testing.T, name, id string) *devpki.Leaf {
	t.Helper()
	owner := w.leaves[name]
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	template := *owner.Chain[0]
	template.SerialNumber = new(big.Int).Add(template.SerialNumber, big.NewInt(1))
	template.URIs, template.ExtraExtensions = []*url.URL{uri}, nil
	der, err := x509.CreateCertificate(rand.Reader, &template, w.prod.Certificate, owner.Key.Public(), w.prod.Key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &devpki.Leaf{Chain: append([]*x509.Certificate{leaf}, owner.Chain[1:]...), Key: owner.Key}
}

// write replaces a file at once, so that a watcher never sees half of it.
func (w *world) write(t *testing.T, name string, data []byte) {
	t.Helper()
	target := filepath.Join(w.dir, name)
	if err := errors.Join(os.WriteFile(target+".new", data, 0o600), os.Rename(target+".new", target)); err != nil {
		t.Error(err)
	}
}

func (w *world) read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// built makes the binary once for all tests, in buildDir.
var built = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(buildDir, "gateway")
	if out, err := exec.Command("go", "build", "-o", binary, "verigate/cmd/gateway").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

var buildDir string

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "verigate-promtest-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(buildDir) // a temporary folder
	os.Exit(code)
}

var adminURL = regexp.MustCompile(`=http://([^/\s]+)/`)

// run starts the gateway. Its log tells where the admin listener is, which tells
// the rest.
func (w *world) run(t *testing.T) {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(binary, "run", "-c", filepath.Join(w.dir, "gateway.yaml"))
	log, written := io.Pipe()
	t.Cleanup(func() { written.Close() }) // when the process has ended
	command.Stderr = written
	start(t, command)
	w.process = command.Process
	var said tail
	admin := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(log); lines.Scan(); {
			fmt.Fprintln(&said, lines.Text())
			if m := adminURL.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case admin <- m[1]:
				default: // told already
				}
			}
		}
	}()
	select {
	case w.admin = <-admin:
	case <-time.After(patience):
		t.Fatalf("the gateway does not start:\n%s", said.String())
	}
	var status struct {
		Listeners []struct{ Name, Address string }
	}
	if !poll(t.Context(), func() bool {
		response, err := http.Get("http://" + w.admin + "/status")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return json.NewDecoder(response.Body).Decode(&status) == nil
	}) {
		t.Fatalf("the gateway does not tell its status:\n%s", said.String())
	}
	for _, l := range status.Listeners {
		switch l.Name {
		case "edge":
			w.edge = l.Address
		case "narrow":
			w.narrow = l.Address
		}
	}
	if w.edge == "" || w.narrow == "" {
		t.Fatalf("the gateway listens at %+v, want edge and narrow", status.Listeners)
	}
}

func (w *world) metrics(t *testing.T) []byte {
	t.Helper()
	response, err := http.Get("http://" + w.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// reached reports whether the exposition has a line that begins so and whose
// value is not 0.
func (w *world) reached(t *testing.T, prefix string) bool {
	for line := range bytes.Lines(w.metrics(t)) {
		if bytes.HasPrefix(line, []byte(prefix)) && !bytes.HasSuffix(line, []byte(" 0\n")) {
			return true
		}
	}
	return false
}

// hold is how long broken files stay broken, and good ones good: longer than two
// scrapes and the watcher's delay, so that no scrape rhythm misses either state.
const hold = 3 * time.Second

// misbehave breaks a bundle and the configuration while the gateway runs, sees
// both refused, and mends them again. It goes on doing so, because a rate shows
// only what happens between two scrapes.
func (w *world) misbehave(t *testing.T) {
	t.Helper()
	good, bundle := w.read(t, "gateway.yaml"), w.read(t, "partner.pem")
	w.repeat(t, hold, func(_ context.Context, n int) {
		if n%2 == 0 {
			w.write(t, "gateway.yaml", []byte("listeners: nonsense\n"))
			w.write(t, "partner.pem", []byte("not a bundle\n"))
		} else {
			w.write(t, "partner.pem", bundle)
			w.write(t, "gateway.yaml", good)
		}
		if err := w.process.Signal(syscall.SIGHUP); err != nil {
			t.Errorf("reload: %v", err)
		}
	})
	if !poll(t.Context(), func() bool { return w.reached(t, `verigate_config_reloads_total{outcome="failure"}`) }) {
		t.Error("a broken configuration does not show in the metrics")
	}
}

// traffic sends good and bad requests until the test ends.
func (w *world) traffic(t *testing.T) {
	t.Helper()
	// One connection stays open, so that there is one to count.
	open, err := tls.Dial("tcp", w.edge, w.client("checkout"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { open.Close() })
	w.repeat(t, 100*time.Millisecond, w.round)
	// Cleanups run last in, first out: this one comes when nobody sets doomed any more.
	var doomed *tls.Conn
	t.Cleanup(func() {
		if doomed != nil {
			doomed.Close()
		}
	})
	w.repeat(t, hold, func(_ context.Context, n int) { doomed = w.revoke(t, doomed, n) })
}

// revoke revokes a workload while it is connected, which the gateway has to notice,
// and returns the connection. before is that of the last time.
func (w *world) revoke(t *testing.T, before *tls.Conn, n int) *tls.Conn {
	if before != nil {
		before.Close()
	}
	leaf, err := w.prod.Issue(devpki.LeafOptions{URIs: []string{fmt.Sprintf("spiffe://prod.example/ns/batch/sa/doomed-%d", n)}})
	if err != nil {
		panic(err) // the CA of this test is broken
	}
	c := w.client("")
	c.Certificates = certificate(leaf)
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: hold}, "tcp", w.edge, c)
	if err != nil {
		return nil // the machine is busy; there will be another one
	}
	_ = conn.SetDeadline(time.Now().Add(hold))
	fmt.Fprint(conn, "GET /items HTTP/1.1\r\nHost: localhost\r\n\r\n")
	_, _ = conn.Read(make([]byte, 512)) // the response: it is established
	w.revoked = append(w.revoked, leaf.Chain[0].SerialNumber)
	now := time.Now()
	w.write(t, "prod.crl", append(list(w.roots[w.prod], devpki.CRLOptions{}), list(w.prod, devpki.CRLOptions{
		Revoked: w.revoked, ThisUpdate: now.Add(-time.Second), NextUpdate: now.Add(time.Hour), Number: big.NewInt(now.UnixNano()),
	})...))
	return conn
}

// repeat calls each again and again in the background until the test ends.
func (w *world) repeat(t *testing.T, every time.Duration, each func(ctx context.Context, n int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			each(ctx, n)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// round is one of everything. What becomes of each call shows in the metrics.
func (w *world) round(ctx context.Context, n int) {
	fresh, err := w.prod.Issue(devpki.LeafOptions{URIs: []string{fmt.Sprintf("spiffe://prod.example/ns/batch/sa/worker-%d", n)}})
	if err != nil {
		panic(err) // the CA of this test is broken
	}
	w.call(ctx, certificate(fresh), "GET", "/items")
	for _, c := range []struct{ leaf, method, path string }{
		{"checkout", "GET", "/v1/charge"},
		{"cart", "GET", "/items"},
		{"cart", "GET", "/v1/charge"},
		{"cart", "POST", "/items"},
		{"cart", "GET", "/nowhere"},
		{"cart", "GET", "/broken"},
		{"report", "GET", "/items"},
		{"impostor", "GET", "/items"},
		{"expired", "GET", "/items"},
		{"twofaced", "GET", "/items"},
		{"denied", "GET", "/items"},
		{"thief", "GET", "/items"},
		{"longlived", "GET", "/items"},
		{"early", "GET", "/items"},
		{"copy", "GET", "/items"},
		{"", "GET", "/items"},
	} {
		w.call(ctx, w.client(c.leaf).Certificates, c.method, c.path)
	}
	returning := w.client("checkout")
	returning.ClientSessionCache = w.sessions
	w.request(ctx, returning, "GET", "/v1/charge")
	w.smuggle()
	w.crowd()
}

func certificate(l *devpki.Leaf) []tls.Certificate { return []tls.Certificate{l.TLS()} }

// client is how a workload connects; without a name it shows no certificate.
func (w *world) client(leaf string) *tls.Config {
	c := &tls.Config{RootCAs: w.anchors, ServerName: "localhost", MinVersion: tls.VersionTLS13}
	if leaf != "" {
		c.Certificates = certificate(w.leaves[leaf])
	}
	return c
}

// call makes one connection and one request.
func (w *world) call(ctx context.Context, who []tls.Certificate, method, path string) {
	c := w.client("")
	c.Certificates = who
	w.request(ctx, c, method, path)
}

// request makes one connection by c and one request.
func (w *world) request(ctx context.Context, c *tls.Config, method, path string) {
	transport := &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, method, "https://"+w.edge+path, nil)
	if err != nil {
		panic(err) // method and path are constants
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return // refused, as most callers here
	}
	_, _ = io.Copy(io.Discard, response.Body) // so that the gateway sees the end
	response.Body.Close()
}

// smuggle sends what no honest client sends.
func (w *world) smuggle() {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", w.edge, w.client("cart"))
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprint(c, "GET /items HTTP/1.1\r\nHost: one.example\r\nHost: two.example\r\n\r\n")
	_, _ = c.Read(make([]byte, 512)) // the refusal
}

// crowd opens more connections than the narrow listener lets one client have.
func (w *world) crowd() {
	for range 3 {
		c, err := net.DialTimeout("tcp", w.narrow, time.Second)
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, "\x16") // wakes the listener up, which waits for the first octet
	}
}

// tail keeps what a process said last.
type tail struct {
	mu   sync.Mutex
	said []byte
}

const tailBytes = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said = append(t.said, p...)
	t.said = t.said[max(0, len(t.said)-tailBytes):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.said)
}
