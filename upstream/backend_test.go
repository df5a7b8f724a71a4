package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/devpki"
	"verigate/policy"
	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

const (
	apiID     = "spiffe://prod.example/ns/pay/sa/api"
	gatewayID = "spiffe://prod.example/gateway"
)

// domain is a trust domain with everything that an upstream is made of.
type domain struct {
	ca         *devpki.CA
	bundle     *trust.Bundle
	store      *trust.Store
	cache      *verifycache.Cache
	credential *rotating
	now        atomic.Pointer[time.Time] // nil: the real time
}

func (d *domain) clock() time.Time {
	if now := d.now.Load(); now != nil {
		return *now
	}
	return time.Now()
}

type rotating struct {
	atomic.Pointer[trust.Credential]
}

func (r *rotating) Credential() *trust.Credential { return r.Load() }

func newDomain(t testing.TB) *domain {
	t.Helper()
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "prod root"})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := root.NewIntermediate(devpki.CAOptions{Name: "prod issuing"})
	if err != nil {
		t.Fatal(err)
	}
	d := &domain{ca: ca, store: new(trust.Store), credential: new(rotating)}
	d.bundle = bundleOf(t, "spiffe://prod.example", root)
	d.publish(t, nil, d.bundle)
	d.credential.Store(credentialOf(t, d.leaf(t, devpki.LeafOptions{URIs: []string{gatewayID}})))
	d.cache, err = verifycache.New(verifycache.Options{Now: d.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.cache.Close)
	return d
}

func bundleOf(t testing.TB, origin string, root *devpki.CA) *trust.Bundle {
	t.Helper()
	o, err := workloadid.ParseOrigin(origin)
	if err != nil {
		t.Fatal(err)
	}
	b, err := trust.NewBundle(o, trust.BundleOptions{Anchors: []*x509.Certificate{root.Certificate}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (d *domain) publish(t testing.TB, deny *trust.DenyList, bundles ...*trust.Bundle) {
	t.Helper()
	snapshot, err := trust.NewSnapshot(bundles, deny)
	if err != nil {
		t.Fatal(err)
	}
	d.store.Publish(snapshot)
}

func (d *domain) leaf(t testing.TB, o devpki.LeafOptions) *devpki.Leaf {
	t.Helper()
	leaf, err := d.ca.Issue(o)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func credentialOf(t testing.TB, leaf *devpki.Leaf) *trust.Credential {
	t.Helper()
	key, err := devpki.KeyPEM(leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := trust.ParseCredential("gateway.pem", devpki.CertificatesPEM(leaf.Chain...), "gateway.key", key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// options are those of an upstream that expects apiID at the endpoints.
func (d *domain) options(t testing.TB, endpoints ...string) Options {
	return Options{
		Name:       "pay",
		Endpoints:  endpoints,
		Verify:     Verify{Identity: pattern(t, apiID)},
		Credential: d.credential,
		Trust:      d.store,
		Cache:      d.cache,
		Now:        d.clock,
	}
}

func plainOptions(endpoints ...string) Options {
	return Options{Name: "pay", Endpoints: endpoints, Plain: true}
}

func pattern(t testing.TB, s string) workloadid.Pattern {
	t.Helper()
	p, err := workloadid.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func open(t testing.TB, o Options) *Upstream {
	t.Helper()
	u, err := New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		u.Close(now)
	})
	return u
}

// serverTLS is a backend's configuration that requires a client certificate.
func (d *domain) serverTLS(leaf *devpki.Leaf) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{leaf.TLS()},
		ClientAuth:   tls.RequireAnyClientCert,
		NextProtos:   []string{"http/1.1"},
	}
}

// listen returns a loopback listener that counts what it accepts.
func listen(t testing.TB) *countingListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return &countingListener{Listener: ln}
}

type countingListener struct {
	net.Listener
	accepted atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return c, err
}

func (l *countingListener) addr() string { return l.Listener.Addr().String() }

// serve runs a fasthttp backend, with TLS if config is given.
func serve(t testing.TB, config *tls.Config, handler fasthttp.RequestHandler) *countingListener {
	t.Helper()
	ln := listen(t)
	server := &fasthttp.Server{Handler: handler, StreamRequestBody: true, NoDefaultServerHeader: true, Logger: silent{}}
	var l net.Listener = ln
	if config != nil {
		l = tls.NewListener(ln, config)
	}
	var done sync.WaitGroup
	done.Go(func() { server.Serve(l) })
	t.Cleanup(func() {
		ln.Close()
		done.Wait()
	})
	return ln
}

type silent struct{}

func (silent) Printf(string, ...any) {}

// script runs a backend that does with each connection what handle says; n
// counts connections from 0. A connection is closed when handle returns.
func script(t testing.TB, handle func(n int, c net.Conn, in *bufio.Reader)) *countingListener {
	t.Helper()
	ln := listen(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	all.Go(func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				handle(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return ln
}

// readRequest reads one request with its body and returns it as it came, header
// and body. It returns "" at the end of the connection.
func readRequest(in *bufio.Reader) (head, body string) {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", ""
		}
		head += line
		if line == "\r\n" {
			break
		}
	}
	var h fasthttp.RequestHeader
	if h.Read(bufio.NewReaderSize(strings.NewReader(head), len(head)+1)) != nil {
		return head, ""
	}
	if n := h.ContentLength(); n > 0 {
		b := make([]byte, n)
		if _, err := io.ReadFull(in, b); err != nil {
			return head, "<cut off>"
		}
		return head, string(b)
	} else if n == chunked {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return head, body + "<cut off>"
			}
			body += line
			if line == "0\r\n" {
				line, _ := in.ReadString('\n')
				return head, body + line
			}
		}
	}
	return head, ""
}

// forward sends a request made by edit and returns what came back, with the body
// read to its end.
func forward(t testing.TB, u *Upstream, edit func(*fasthttp.Request)) (status int, body string, result Result, err error) {
	t.Helper()
	return forwardGranted(u, grantFor(t, u.Name()), edit)
}

// answered returns the response to a request, its body perhaps unread.
func answered(t testing.TB, u *Upstream) *fasthttp.Response {
	t.Helper()
	var req fasthttp.Request
	var resp fasthttp.Response
	req.Header.SetHost("h")
	if _, err := u.Forward(grantFor(t, "pay"), &Call{Request: &req, Response: &resp}); err != nil {
		t.Fatal(err)
	}
	return &resp
}

func forwardGranted(u *Upstream, g policy.Grant, edit func(*fasthttp.Request)) (status int, body string, result Result, err error) {
	return forwardCall(u, g, edit, nil)
}

func forwardCall(u *Upstream, g policy.Grant, edit func(*fasthttp.Request), verbatim *Verbatim) (status int, body string, result Result, err error) {
	var req fasthttp.Request
	var resp fasthttp.Response
	req.Header.SetHost("pay.example")
	req.Header.SetRequestURI("/")
	if edit != nil {
		edit(&req)
	}
	call := Call{Request: &req, Response: &resp, Verbatim: verbatim}
	if verbatim != nil && (req.Header.IsGet() || req.Header.IsHead()) {
		call.Head = req.Header.Header()
	}
	result, err = u.Forward(g, &call)
	if err != nil {
		return 0, "", result, err
	}
	defer resp.CloseBodyStream()
	var octets []byte
	if stream := resp.BodyStream(); stream != nil {
		octets, err = io.ReadAll(stream)
	} else {
		octets = resp.Body()
	}
	return resp.StatusCode(), string(octets), result, err
}

func reasonOf(err error) string {
	if e, ok := err.(*Error); ok {
		return e.Reason
	}
	if err != nil {
		return "not an *Error: " + err.Error()
	}
	return ""
}
