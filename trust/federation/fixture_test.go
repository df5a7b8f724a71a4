package federation_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust/federation"
	"verigate/trust/mirror"
	"verigate/workloadid"
)

var (
	partner = origin("spiffe://partner.example")
	other   = origin("spiffe://other.example")
	server  = identifier("spiffe://partner.example/spire/server")
)

func origin(s string) workloadid.Origin {
	o, err := workloadid.ParseOrigin(s)
	if err != nil {
		panic(err)
	}
	return o
}

func identifier(s string) workloadid.ID {
	id, err := workloadid.Parse(s)
	if err != nil {
		panic(err)
	}
	return id
}

func newRoot(t testing.TB) *devpki.CA {
	t.Helper()
	ca, err := devpki.NewRoot(devpki.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t testing.TB, ca *devpki.CA, o devpki.LeafOptions) tls.Certificate {
	t.Helper()
	leaf, err := ca.Issue(o)
	if err != nil {
		t.Fatal(err)
	}
	return leaf.TLS()
}

// svid is the certificate of an https_spiffe endpoint.
func svid(t testing.TB, ca *devpki.CA, id workloadid.ID) tls.Certificate {
	t.Helper()
	return issue(t, ca, devpki.LeafOptions{URIs: []string{id.String()}})
}

// document is a SPIFFE bundle; sequence and hint are left out if they are 0.
func document(sequence, hint int, anchors ...*devpki.CA) string {
	var b strings.Builder
	b.WriteString(`{"keys":[`)
	for i, anchor := range anchors {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"use":"x509-svid","kty":"EC","x5c":[%q]}`, base64.StdEncoding.EncodeToString(anchor.Certificate.Raw))
	}
	b.WriteString("]")
	if sequence != 0 {
		fmt.Fprintf(&b, `,"spiffe_sequence":%d`, sequence)
	}
	if hint != 0 {
		fmt.Fprintf(&b, `,"spiffe_refresh_hint":%d`, hint)
	}
	return b.String() + "}"
}

// publisher is a bundle endpoint.
type publisher struct {
	*httptest.Server

	mu          sync.Mutex
	certificate tls.Certificate
	handler     http.HandlerFunc
	asked       []*http.Request
}

func publish(t testing.TB, certificate tls.Certificate, body string) *publisher {
	t.Helper()
	p := &publisher{certificate: certificate}
	p.serve(body)
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		handler := p.handler
		p.asked = append(p.asked, r)
		p.mu.Unlock()
		handler(w, r)
	}))
	p.Config.ErrorLog = quiet
	p.TLS = &tls.Config{
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			return new(p.certificate), nil
		},
	}
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) handle(f http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handler = f
}

// serve serves body, with an ETag.
func (p *publisher) serve(body string) {
	tag := fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256([]byte(body))))
	p.handle(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, body)
	})
}

func (p *publisher) present(certificate tls.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.certificate = certificate
}

func (p *publisher) requests() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// transport connects to p whatever the host is called.
func (p *publisher) transport(config *tls.Config) http.RoundTripper {
	t := mirror.NewTransport(config).(*http.Transport)
	t.Proxy = nil
	t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, p.Listener.Addr().String())
	}
	return t
}

// clock is a wall clock that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func writeFile(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pemOf(anchors ...*devpki.CA) []byte {
	var certificates []*x509.Certificate
	for _, anchor := range anchors {
		certificates = append(certificates, anchor.Certificate)
	}
	return devpki.CertificatesPEM(certificates...)
}

// web returns an https_web endpoint that is judged by root.
func web(t testing.TB, root *devpki.CA) federation.Endpoint {
	t.Helper()
	dir := t.TempDir()
	return federation.Endpoint{
		Origin: partner, URL: "https://bundle.partner.example/", Profile: federation.ProfileWeb,
		RootsPath: writeFile(t, filepath.Join(dir, "roots.pem"), pemOf(root)),
		Path:      filepath.Join(dir, "state", "bundle"),
	}
}

// spiffe returns an https_spiffe endpoint of partner that serves itself.
func spiffe(t testing.TB, bootstrap ...*devpki.CA) federation.Endpoint {
	t.Helper()
	dir := t.TempDir()
	return federation.Endpoint{
		Origin: partner, URL: "https://bundle.partner.example/", Profile: federation.ProfileSPIFFE, ID: server,
		BootstrapPath: writeFile(t, filepath.Join(dir, "bootstrap.pem"), pemOf(bootstrap...)),
		Path:          filepath.Join(dir, "state", "bundle"),
	}
}

func open(t testing.TB, o federation.Options) *federation.Source {
	t.Helper()
	s, err := federation.New(o)
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	return s
}

// follow opens a source for one endpoint that p publishes.
func follow(t testing.TB, p *publisher, e federation.Endpoint) *federation.Source {
	t.Helper()
	return open(t, federation.Options{Endpoints: []federation.Endpoint{e}, Transport: p.transport})
}

func refresh(t testing.TB, s *federation.Source) {
	t.Helper()
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatalf("Refresh() = %v", err)
	}
}

func copyOf(t testing.TB, e federation.Endpoint) string {
	t.Helper()
	data, err := os.ReadFile(e.Path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}
