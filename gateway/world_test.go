package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/assurance"
	"verigate/devpki"
	"verigate/gateway"
	"verigate/handoff"
	"verigate/policy"
	"verigate/routing"
	"verigate/telemetry"
	"verigate/tlsterm"
	"verigate/trust"
	"verigate/upstream"
	"verigate/verifycache"
	"verigate/workloadid"
)

// patience bounds every wait of a test for something that has to happen.
const patience = 20 * time.Second

const (
	prodOrigin    = "spiffe://prod.example"
	partnerOrigin = "spiffe://partner.example"
	edgeID        = "spiffe://prod.example/edge"
	checkoutID    = "spiffe://prod.example/ns/shop/sa/checkout"
	cartID        = "spiffe://prod.example/ns/shop/sa/cart"
	reportID      = "spiffe://partner.example/ns/etl/sa/report"
	payID         = "spiffe://prod.example/ns/pay/sa/api"
	catalogID     = "spiffe://prod.example/ns/catalog/sa/api"
)

// must returns a function that fails the test if there is an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// world is a gateway in front of two backends, with two trust domains.
type world struct {
	t                    testing.TB
	prodRoot, prod       *devpki.CA
	partnerRoot, partner *devpki.CA
	store                *trust.Store
	scope                *verifycache.Scope
	cache                *verifycache.Cache
	telemetry            *telemetry.Telemetry
	audit                *auditLog
	own                  credential
	limited              atomic.Int64 // the time for which the gateway's own grade was asked last, in Unix nanoseconds
	pay, catalog         *backend
	gateway              *gateway.Gateway
	options              gateway.Options
	served               chan error
	shutdown             sync.Once
}

type credential struct{ c *trust.Credential }

func (c credential) Credential() *trust.Credential { return c.c }

// setting is what tests change about a world.
type setting struct {
	cache    verifycache.Options
	listener func(*gateway.ListenerOptions)
	upstream func(*upstream.Options)
	options  func(*gateway.Options)
	log      *slog.Logger
	// observer hears of changes of trust before the gateway does.
	observer func(old, new *trust.Snapshot)
	arriving func() // see [gateway.Gateway.OnArrival]
	// through is what the gateway accepts from; see [gateway.Gateway.ListenThrough].
	through func(net.Listener) net.Listener
	server  func(*fasthttp.Server) // changes what is behind the listener
}

func newWorld(t testing.TB, s setting) *world {
	t.Helper()
	w := &world{t: t, store: new(trust.Store), audit: newAuditLog(), served: make(chan error, 1)}
	w.prodRoot = must(devpki.NewRoot(devpki.CAOptions{Name: "prod root"}))(t)
	w.prod = must(w.prodRoot.NewIntermediate(devpki.CAOptions{Name: "prod issuing"}))(t)
	w.partnerRoot = must(devpki.NewRoot(devpki.CAOptions{Name: "partner root"}))(t)
	w.partner = must(w.partnerRoot.NewIntermediate(devpki.CAOptions{Name: "partner issuing"}))(t)
	w.publish(nil)
	if s.observer != nil {
		w.store.OnChange(s.observer)
	}
	w.scope = must(verifycache.NewScope("edge", []workloadid.Origin{origin(t, prodOrigin), origin(t, partnerOrigin)}))(t)
	w.cache = must(verifycache.New(s.cache))(t)
	w.telemetry = must(telemetry.New(telemetry.Options{
		TrustDomains: []workloadid.Origin{origin(t, prodOrigin), origin(t, partnerOrigin)},
		Audit:        telemetry.AuditOptions{Writer: w.audit, FlushInterval: time.Millisecond, OnFull: telemetry.OnFullBlock},
	}))(t)
	edge := must(w.prod.Issue(devpki.LeafOptions{URIs: []string{edgeID}, DNS: []string{"pay.example", "catalog.example", "other.example", "a.test"}}))(t)
	w.own = credential{credentialOf(t, edge)}
	w.pay = w.newBackend(devpki.LeafOptions{URIs: []string{payID}, DNS: []string{"pay.internal"}})
	w.catalog = w.newBackend(devpki.LeafOptions{URIs: []string{catalogID}})

	listener := gateway.ListenerOptions{TLS: tlsterm.Options{
		Name: "edge", Address: "127.0.0.1:0", Scope: w.scope,
		Credentials: map[string]trust.CredentialSource{"": w.own},
		// The machine that runs the tests may be busy.
		FirstByteTimeout: patience, HandshakeTimeout: patience,
	}}
	if s.listener != nil {
		s.listener(&listener)
	}
	w.options = gateway.Options{
		Listeners: []gateway.ListenerOptions{listener},
		Trust:     w.store, Cache: w.cache, Telemetry: w.telemetry, Log: s.log,
		HandshakeTokens: 2,
	}
	if s.options != nil {
		s.options(&w.options)
	}
	w.gateway = must(gateway.New(w.options, w.newProgram(s.upstream)))(t)
	w.gateway.OnArrival(s.arriving)
	if s.server != nil {
		s.server(w.gateway.Server())
	}
	if s.through != nil {
		if err := w.gateway.ListenThrough(s.through); err != nil {
			t.Fatal(err)
		}
	}
	go func() { w.served <- w.gateway.Serve() }()
	t.Cleanup(w.close)
	return w
}

// close drains the gateway and writes out what it recorded.
func (w *world) close() {
	w.shutdown.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if !w.gateway.Draining() {
			if err := w.gateway.Drain(ctx); err != nil {
				w.t.Errorf("Drain: %v", err)
			}
		}
		if err := <-w.served; err != nil {
			w.t.Errorf("Serve: %v", err)
		}
		if err := w.telemetry.Shutdown(ctx); err != nil {
			w.t.Errorf("Shutdown: %v", err)
		}
		w.cache.Close()
		w.pay.close()
		w.catalog.close()
	})
}

func origin(t testing.TB, s string) workloadid.Origin {
	t.Helper()
	return must(workloadid.ParseOrigin(s))(t)
}

func pattern(t testing.TB, s string) workloadid.Pattern {
	t.Helper()
	return must(workloadid.ParsePattern(s))(t)
}

func credentialOf(t testing.TB, l *devpki.Leaf) *trust.Credential {
	t.Helper()
	key := must(devpki.KeyPEM(l.Key))(t)
	return must(trust.ParseCredential("own.pem", devpki.CertificatesPEM(l.Chain...), "own.key", key, time.Now()))(t)
}

// publish puts both roots in force, with a deny-list.
func (w *world) publish(deny *trust.DenyList) { w.publishBut(deny, nil) }

// publishBut puts both trust domains in force as edit leaves them: one that it
// leaves without an anchor is removed.
func (w *world) publishBut(deny *trust.DenyList, edit func(origin string, o *trust.BundleOptions)) {
	w.t.Helper()
	prod := trust.BundleOptions{
		Anchors:   []*x509.Certificate{w.prodRoot.Certificate},
		Assurance: must(assurance.Compile(assurance.Options{Statements: []assurance.Statement{{MIAL: 2}}}))(w.t),
	}
	partner := trust.BundleOptions{
		Anchors:   []*x509.Certificate{w.partnerRoot.Certificate},
		Assurance: must(assurance.Compile(assurance.Options{}))(w.t),
	}
	var bundles []*trust.Bundle
	for name, o := range map[string]trust.BundleOptions{prodOrigin: prod, partnerOrigin: partner} {
		if edit != nil {
			edit(name, &o)
		}
		if len(o.Anchors) > 0 {
			bundles = append(bundles, must(trust.NewBundle(origin(w.t, name), o))(w.t))
		}
	}
	w.store.Publish(must(trust.NewSnapshot(bundles, deny))(w.t))
}

// denied is a deny-list with one identity.
func denied(t testing.TB, id string) *trust.DenyList {
	t.Helper()
	return trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{pattern(t, id)}})
}

// newProgram routes pay.example to pay and catalog.example to catalog.
func (w *world) newProgram(edit func(*upstream.Options)) *gateway.Program {
	w.t.Helper()
	routes := must(routing.Compile([]routing.Route{
		{Name: "payments", Match: routing.Match{Host: "pay.example", Path: "/v1"}, Upstream: "pay"},
		{Name: "payments-admin", Match: routing.Match{Host: "pay.example", Path: "/v1/admin"}, Upstream: "pay"},
		{Name: "canary", Match: routing.Match{Host: "pay.example", Path: "/v1",
			Headers: []routing.HeaderMatch{{Name: "X-Canary", Value: "yes"}}}, Upstream: "catalog"},
		{Name: "catalog", Match: routing.Match{Host: "catalog.example"}, Upstream: "catalog"},
		{Name: "by-caller", Match: routing.Match{Host: "catalog.example", Caller: pattern(w.t, reportID)}, Upstream: "pay"},
		{Name: "assured", Match: routing.Match{Host: "catalog.example", Path: "/assured"}, Upstream: "catalog"},
		{Name: "nobody", Match: routing.Match{Host: "catalog.example", Path: "/nobody"}, Upstream: "catalog"},
	}))(w.t)
	shop := pattern(w.t, "spiffe://prod.example/ns/shop/**")
	everybody := []policy.Rule{{Name: "shop", Caller: shop}, {Name: "partner-reads", Caller: pattern(w.t, reportID), Methods: []string{"GET"}}}
	rules := must(policy.Compile(policy.Options{Allow: map[string][]policy.Rule{
		"payments":       {{Name: "checkout", Caller: pattern(w.t, checkoutID)}},
		"payments-admin": {{Name: "admin", Caller: pattern(w.t, "spiffe://prod.example/ns/ops/sa/admin")}},
		"canary":         {{Name: "checkout-canary", Caller: pattern(w.t, checkoutID)}},
		"catalog":        everybody,
		"by-caller":      everybody,
		"assured":        {{Name: "assured", Caller: pattern(w.t, "spiffe://partner.example/**"), Require: assurance.Requirement{MIAL: 2}}, {Name: "assured-prod", Caller: shop, Require: assurance.Requirement{MIAL: 2}}},
	}}, routes))(w.t)
	backends := map[string]*gateway.Backend{}
	for name, b := range map[string]*backend{"pay": w.pay, "catalog": w.catalog} {
		o := upstream.Options{
			Name: name, Endpoints: []string{b.address()}, Verify: upstream.Verify{Identity: pattern(w.t, b.id)},
			Credential: w.own, Trust: w.store, Cache: w.cache,
			ConnectTimeout: patience, ResponseTimeout: patience,
		}
		if edit != nil {
			edit(&o)
		}
		backends[name] = &gateway.Backend{Upstream: must(upstream.New(o))(w.t), Origin: origin(w.t, prodOrigin)}
		backends[name].Handoff = handoff.New(handoff.ClientCert|handoff.ClientCertChain|handoff.XFCC|handoff.Workload, w.own.c.ID(),
			func(now time.Time) assurance.Grade {
				w.limited.Store(now.UnixNano())
				return handoff.Trusted.Grade(now)
			})
	}
	return must(gateway.NewProgram(routes, rules, backends))(w.t)
}

// issue makes a certificate of prod.example.
func (w *world) issue(uri string) *devpki.Leaf {
	w.t.Helper()
	return must(w.prod.Issue(devpki.LeafOptions{URIs: []string{uri}}))(w.t)
}

// client is a connection to the gateway.
type client struct {
	t testing.TB
	*tls.Conn
	in *bufio.Reader
}

func (w *world) config(certificate tls.Certificate, sni string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(w.prodRoot.Certificate)
	return &tls.Config{
		RootCAs: roots, ServerName: sni, NextProtos: []string{"http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
	}
}

func (w *world) address() string { return w.gateway.Addr("edge").String() }

// dial connects as leaf. In TLS 1.3 that succeeds for a client that is refused.
func (w *world) dial(leaf *devpki.Leaf, sni string) *client { return w.dialAs(leaf.TLS(), sni) }

func (w *world) dialAs(certificate tls.Certificate, sni string) *client {
	w.t.Helper()
	raw := must(net.Dial("tcp", w.address()))(w.t)
	_ = raw.SetDeadline(time.Now().Add(patience))
	c := tls.Client(raw, w.config(certificate, sni))
	if sni == "" {
		c = tls.Client(raw, func() *tls.Config {
			config := w.config(certificate, "")
			config.InsecureSkipVerify = true // there is no name to verify
			return config
		}())
	}
	if err := c.Handshake(); err != nil {
		raw.Close()
		w.t.Fatalf("handshake: %v", err)
	}
	w.t.Cleanup(func() { raw.Close() })
	return &client{w.t, c, bufio.NewReader(c)}
}

// response is what a client got.
type response struct {
	*http.Response
	body string
}

func (r response) id() string { return r.Header.Get("X-Request-Id") }

// reason returns the code in a problem document.
func (r response) reason() string {
	var p struct{ Reason string }
	_ = json.Unmarshal([]byte(r.body), &p)
	return p.Reason
}

func (c *client) send(parts ...string) {
	c.t.Helper()
	for _, p := range parts {
		if _, err := io.WriteString(c.Conn, p); err != nil {
			c.t.Fatalf("send: %v", err)
		}
	}
}

// receive reads one response.
func (c *client) receive(method string) response {
	c.t.Helper()
	r, err := c.tryReceive(method)
	if err != nil {
		c.t.Fatalf("receive: %v", err)
	}
	return r
}

func (c *client) tryReceive(method string) (response, error) {
	r, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return response{}, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return response{r, string(body)}, err
}

// do sends a whole request and reads its response.
func (c *client) do(request string) response {
	c.t.Helper()
	c.send(request)
	method, _, _ := strings.Cut(request, " ")
	return c.receive(method)
}

// ended fails the test unless the gateway closes the connection.
func (c *client) ended() {
	c.t.Helper()
	if b, err := c.in.ReadByte(); err == nil {
		c.t.Errorf("the connection is open and carries %q", b)
	} else if failure, ok := errors.AsType[net.Error](err); ok && failure.Timeout() {
		c.t.Errorf("the connection is still open")
	}
}

func get(host, path string, fields ...string) string {
	return request("GET", host, path, "", fields...)
}

// request writes a request; a body gets a Content-Length.
func request(method, host, path, body string, fields ...string) string {
	s := method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\n"
	for _, f := range fields {
		s += f + "\r\n"
	}
	if body != "" {
		s += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return s + "\r\n" + body
}

// seen is a request as a backend got it.
type seen struct {
	raw  string // to the octet
	body string
	conn int
	peer string
	err  error // of the body
}

// header returns the value of the field, once.
func (s seen) header(t testing.TB, name string) string {
	t.Helper()
	values := s.values(name)
	if len(values) != 1 {
		t.Fatalf("the backend saw %d fields %s: %q", len(values), name, values)
	}
	return values[0]
}

func (s seen) values(name string) (values []string) {
	head, _, _ := strings.Cut(s.raw, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, v, ok := strings.Cut(line, ": "); ok && strings.EqualFold(strings.ReplaceAll(n, "_", "-"), name) {
			values = append(values, v)
		}
	}
	return values
}

// backend is an mTLS server that keeps every request to the octet.
type backend struct {
	id       string
	listener net.Listener
	requests chan seen
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	number int
	answer func(net.Conn, *http.Request) // nil: 200
}

const plainAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\n\r\nok"

func (w *world) newBackend(o devpki.LeafOptions) *backend {
	w.t.Helper()
	leaf := must(w.prod.Issue(o))(w.t)
	ln := must(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{leaf.TLS()}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13,
	}))(w.t)
	b := &backend{id: o.URIs[0], listener: ln, requests: make(chan seen, 1<<16), conns: map[net.Conn]struct{}{}}
	b.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.number++
			number := b.number
			b.conns[c] = struct{}{}
			b.mu.Unlock()
			b.wg.Go(func() { b.serve(c, number) })
		}
	})
	return b
}

func (b *backend) address() string { return b.listener.Addr().String() }

func (b *backend) answerWith(f func(net.Conn, *http.Request)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = f
}

func (b *backend) serve(c net.Conn, number int) {
	defer c.Close()
	var raw bytes.Buffer
	in := bufio.NewReader(io.TeeReader(c, &raw))
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		b.mu.Lock()
		answer := b.answer
		b.mu.Unlock()
		body, err := io.ReadAll(r.Body)
		peer := ""
		if tc, ok := c.(*tls.Conn); ok {
			peer = tc.ConnectionState().PeerCertificates[0].URIs[0].String()
		}
		b.requests <- seen{raw.String(), string(body), number, peer, err}
		raw.Reset()
		if err != nil {
			return
		}
		if answer != nil {
			answer(c, r)
		} else if _, err := io.WriteString(c, plainAnswer); err != nil {
			return
		}
	}
}

func (b *backend) close() {
	b.listener.Close()
	b.mu.Lock()
	for c := range b.conns {
		c.Close()
	}
	b.mu.Unlock()
	b.wg.Wait()
}

// next returns the request that the backend got next.
func (b *backend) next(t testing.TB) seen {
	t.Helper()
	select {
	case s := <-b.requests:
		return s
	case <-time.After(patience):
		t.Fatal("the backend got no request")
		panic("unreachable")
	}
}

// none fails the test if the backend got a request.
func (b *backend) none(t testing.TB) {
	t.Helper()
	select {
	case s := <-b.requests:
		t.Errorf("the backend got a request:\n%s", s.raw)
	default:
	}
}

// record is a line of the audit log.
type record map[string]any

func (r record) text(member string) string { s, _ := r[member].(string); return s }

func (r record) number(member string) int { n, _ := r[member].(float64); return int(n) }

// auditLog keeps what telemetry writes.
type auditLog struct {
	discard   atomic.Bool  // benchmarks write more than anybody reads
	discarded atomic.Int64 // of these, the ends of refused connections

	mu      sync.Mutex
	arrived *sync.Cond
	raw     bytes.Buffer
	records []record
}

func newAuditLog() *auditLog {
	a := new(auditLog)
	a.arrived = sync.NewCond(&a.mu)
	return a
}

func (a *auditLog) Write(p []byte) (int, error) {
	if a.discard.Load() {
		a.discarded.Add(int64(bytes.Count(p, []byte(`"connection_refused"`))))
		return len(p), nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.raw.Write(p)
	for line := range bytes.Lines(p) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return 0, err
		}
		a.records = append(a.records, r)
	}
	a.arrived.Broadcast()
	return len(p), nil
}

// find waits for a record that matches.
func (a *auditLog) find(t testing.TB, what string, match func(record) bool) record {
	t.Helper()
	timer := time.AfterFunc(patience, a.arrived.Broadcast)
	defer timer.Stop()
	deadline := time.Now().Add(patience)
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		if i := slices.IndexFunc(a.records, match); i >= 0 {
			return a.records[i]
		}
		if time.Now().After(deadline) {
			t.Fatalf("no record of %s", what)
		}
		a.arrived.Wait()
	}
}

// request waits for the record of the request with that id.
func (a *auditLog) request(t testing.TB, id string) record {
	t.Helper()
	if id == "" {
		t.Fatal("the response has no X-Request-Id")
	}
	return a.find(t, "request "+id, func(r record) bool { return r.text("event") == "request" && r.text("request_id") == id })
}

// because waits for the record of a request that ended for reason.
func (a *auditLog) because(t testing.TB, reason string) record {
	t.Helper()
	return a.find(t, "a request that ended for "+reason, func(r record) bool { return r.text("event") == "request" && r.text("reason") == reason })
}

// count returns how many records there are of an event.
func (a *auditLog) count(event string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.records {
		if r.text("event") == event {
			n++
		}
	}
	return n
}

func (a *auditLog) text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.raw.String()
}

// metrics returns what Prometheus would scrape.
func (w *world) metrics() string {
	recorder := httptest.NewRecorder()
	w.telemetry.Handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	return recorder.Body.String()
}

// bothCaches runs a claim with the verification cache and without: it may not
// make a difference.
func bothCaches(t *testing.T, claim func(*testing.T, verifycache.Options)) {
	options := map[string]verifycache.Options{"cached": {}, "uncached": {Disabled: true}}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claim(t, options[name])
		})
	}
}

// until waits for what has no event to wait for.
func (w *world) until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("it never happened that %s", what)
		}
	}
}
