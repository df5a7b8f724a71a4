package main

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"verigate/devpki"
)

// depth is a fleet whose trust domain has a CRL, a shadow and a secret for tickets.
type depth struct {
	*fleet
	root *devpki.CA
	shop *devpki.Leaf
}

func newDepth(t *testing.T) *depth {
	t.Helper()
	f := newFleet(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	d := &depth{fleet: f}
	var err error
	if d.root, err = devpki.NewRoot(devpki.CAOptions{Name: "root in depth"}); err != nil {
		t.Fatal(err)
	}
	f.anchors.AddCert(d.root.Certificate)
	f.write(t, "root.pem", string(devpki.CertificatesPEM(d.root.Certificate)))
	edge := d.issue(t, "edge", "spiffe://prod.example/edge", "localhost")
	if err := writeCredential(filepath.Join(f.dir, "edge.pem"), filepath.Join(f.dir, "edge.key"), edge); err != nil {
		t.Fatal(err)
	}
	d.shop = d.issue(t, "shop", "spiffe://prod.example/shop")
	d.revoke(t)
	other, err := devpki.NewRoot(devpki.CAOptions{Name: "next root"})
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, "next.pem", string(devpki.CertificatesPEM(other.Certificate)))
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	f.write(t, "tickets", hex.EncodeToString(secret)+"\n")
	f.write(t, "gateway.yaml", fmt.Sprintf(`listeners:
  - name: edge
    address: 127.0.0.1:0
    certificate: {cert_file: edge.pem, key_file: edge.key}
    trust_domains: [spiffe://prod.example]
resumption: {secret_file: tickets}
trust_domains:
  spiffe://prod.example:
    anchors: {file: root.pem}
    crl: {files: [root.crl]}
    shadow: {anchors: {file: next.pem}}
routes:
  - name: all
    match: {path: /}
    allow: [{caller: spiffe://prod.example/**}]
    upstream: api
upstreams:
  api: {endpoints: [%q], plaintext: true, handoff: [workload]}
telemetry: {audit: {file: audit.jsonl}}
admin: {address: 127.0.0.1:0}
`, f.backend))
	return d
}

func (d *depth) issue(t *testing.T, name, id string, dns ...string) *devpki.Leaf {
	t.Helper()
	leaf, err := d.root.Issue(devpki.LeafOptions{URIs: []string{id}, DNS: dns})
	if err != nil {
		t.Fatalf("issue %s: %v", name, err)
	}
	return leaf
}

// revoke publishes a CRL that lists the serial numbers.
func (d *depth) revoke(t *testing.T, serials ...*big.Int) {
	t.Helper()
	der, err := d.root.MakeCRL(devpki.CRLOptions{Revoked: serials, Number: big.NewInt(int64(1 + len(serials)))})
	if err != nil {
		t.Fatal(err)
	}
	d.write(t, "root.crl", string(devpki.CRLPEM(der)))
}

// dial connects as leaf; sessions may be kept for the next time.
func (d *depth) dial(t *testing.T, p *process, leaf *devpki.Leaf, sessions tls.ClientSessionCache) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", p.edge, &tls.Config{
		RootCAs: d.anchors, ServerName: "localhost", Certificates: []tls.Certificate{leaf.TLS()}, ClientSessionCache: sessions,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// ask sends a request on an open connection.
func ask(c *tls.Conn, in *bufio.Reader) (int, error) {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// REV-05: a CRL that a running gateway is given ends the open connection of whom it
// lists, keeps the session from being resumed and the certificate from the next
// handshake; others do not notice.
func TestRevocationReachesConnectionsTicketsAndTheCache(t *testing.T) {
	t.Parallel()
	d := newDepth(t)
	p := d.run(t)
	cart := d.issue(t, "cart", "spiffe://prod.example/cart")
	sessions := tls.NewLRUClientSessionCache(4)

	idle := d.dial(t, p, d.shop, sessions)
	in := bufio.NewReader(idle)
	if status, err := ask(idle, in); status != 200 || err != nil {
		t.Fatalf("a request before anything is revoked: %d, %v; want 200", status, err)
	}
	other := d.dial(t, p, cart, nil)
	otherIn := bufio.NewReader(other)
	if status, err := ask(other, otherIn); status != 200 || err != nil {
		t.Fatalf("a request of another workload: %d, %v; want 200", status, err)
	}
	again := d.dial(t, p, d.shop, sessions)
	if status, err := ask(again, bufio.NewReader(again)); status != 200 || err != nil || !again.ConnectionState().DidResume {
		t.Fatalf("a second connection: %d, %v, resumed %t; want 200 and a resumed session", status, err, again.ConnectionState().DidResume)
	}

	d.revoke(t, d.shop.Chain[0].SerialNumber)
	// No request: the gateway has to end the connection by itself.
	if _, err := in.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the open connection of a revoked workload: %v; want its end", err)
	}
	refused := d.dial(t, p, d.shop, sessions)
	if status, err := ask(refused, bufio.NewReader(refused)); err == nil {
		t.Errorf("a revoked workload came back: status %d; want a refused handshake", status)
	}
	if refused.ConnectionState().DidResume {
		t.Error("a revoked workload resumed its session")
	}
	if status, err := ask(other, otherIn); status != 200 || err != nil {
		t.Errorf("the other workload's open connection: %d, %v; want 200", status, err)
	}

	// Records come a moment after what clients see.
	s := p.status(t)
	eventually(t, func() bool {
		s = p.status(t)
		return len(s.ConnectionEnds) > 0 && len(s.Refusals) > 0 && s.Resumption.Handshakes["rejected"] > 0
	})
	if len(s.ConnectionEnds) == 0 || s.ConnectionEnds[0].Reason != "revoked" || s.ConnectionEnds[0].Identity != "spiffe://prod.example/shop" {
		t.Errorf("/status has ended connections %+v; want one of spiffe://prod.example/shop, revoked", s.ConnectionEnds)
	}
	if len(s.Refusals) == 0 || s.Refusals[0].Reason != "revoked" || !strings.Contains(s.Refusals[0].Found, "root in depth") {
		t.Errorf("/status has refusals %+v; want one for reason revoked that names the CRL", s.Refusals)
	}
	if s.Resumption.Handshakes["resumed"] == 0 || s.Resumption.Handshakes["rejected"] == 0 {
		t.Errorf("/status has resumptions %v; want some resumed and some rejected", s.Resumption.Handshakes)
	}
	if len(s.Shadow) == 0 || s.Shadow[0].Would != "refuse" {
		t.Errorf("/status has shadow differences %+v; want identities that the next root would refuse", s.Shadow)
	}
}

// A CRL that cannot be read does not replace the good one, and is told about.
func TestAGarbledCRLKeepsTheLastGoodOne(t *testing.T) {
	t.Parallel()
	d := newDepth(t)
	d.revoke(t, d.shop.Chain[0].SerialNumber)
	p := d.run(t)
	d.write(t, "root.crl", "no CRL at all\n")
	p.await(t, "trust not reloaded")
	refused := d.dial(t, p, d.shop, nil)
	if status, err := ask(refused, bufio.NewReader(refused)); err == nil {
		t.Errorf("a revoked workload after the CRL was garbled: status %d; want a refused handshake", status)
	}
	if code, body := p.ask(t, "/readyz"); code != 200 || !strings.Contains(body, "degraded") || !strings.Contains(body, "root.crl") {
		t.Errorf("GET /readyz = %d, %q; want it ready, degraded, and the file named", code, body)
	}
}

// What POST /explain says is what the next handshake will come to.
func TestExplainOnTheAdminListener(t *testing.T) {
	t.Parallel()
	d := newDepth(t)
	d.revoke(t, d.shop.Chain[0].SerialNumber)
	p := d.run(t)
	explain := func(leaf *devpki.Leaf, query string) explanation {
		response, err := http.Post(p.admin+"/explain"+query, "application/pem-certificate-chain",
			strings.NewReader(string(devpki.CertificatesPEM(leaf.Chain...))))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		var e explanation
		if err != nil || response.StatusCode != 200 || json.Unmarshal(body, &e) != nil {
			t.Fatalf("POST /explain = %d, %q, %v", response.StatusCode, body, err)
		}
		return e
	}
	e := explain(d.shop, "")
	if e.Verdict != "reject" || e.Reason != "revoked" || !strings.Contains(e.Found, "root.crl") || !strings.Contains(e.Resumption, "full handshake") {
		t.Errorf("a revoked chain: %+v; want reason revoked, with the file of the CRL", e)
	}
	e = explain(d.issue(t, "cart", "spiffe://prod.example/cart"), "?path=/x&host=localhost")
	if e.Verdict != "accept" || e.Request == nil || e.Request.Decision != "granted" || len(e.Revocation) == 0 || e.Shadow == nil || e.Shadow.Reason != "untrusted_chain" {
		t.Errorf("a good chain: %+v; want it granted, with what the CRL and the shadow say", e)
	}
}

// Replicas and restarts: a session begun at one process is resumed at the next.
func TestASharedSecretOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	d := newDepth(t)
	sessions := tls.NewLRUClientSessionCache(4)
	for round, want := range []bool{false, true} {
		p := d.run(t)
		c := d.dial(t, p, d.shop, sessions) // kept under the server's name, whatever its port
		if status, err := ask(c, bufio.NewReader(c)); status != 200 || err != nil {
			t.Fatalf("round %d: %d, %v; want 200", round, status, err)
		}
		if got := c.ConnectionState().DidResume; got != want {
			t.Errorf("round %d: resumed %t, want %t", round, got, want)
		}
		p.signal(t, os.Interrupt)
		p.wait(t)
	}
}

// A bundle endpoint feeds a running gateway, whose copy outlives both of them.
func TestABundleEndpointFeedsTheGatewayAndItsCopyOutlivesIt(t *testing.T) {
	t.Parallel()
	d := newDepth(t)
	endpoint := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []map[string]any{{
			"use": "x509-svid", "kty": "EC", "crv": "P-256", "x": "", "y": "", "x5c": [][]byte{d.root.Certificate.Raw},
		}}, "spiffe_sequence": 7, "spiffe_refresh_hint": 300})
	}))
	defer endpoint.Close()
	d.write(t, "web.pem", string(devpki.CertificatesPEM(endpoint.Certificate())))
	data, err := os.ReadFile(filepath.Join(d.dir, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(data), "trust_domains:\n  spiffe")
	_, after, _ = strings.Cut(after, "routes:")
	d.write(t, "gateway.yaml", fmt.Sprintf(`%sstate_dir: state
trust_domains:
  spiffe://prod.example:
    anchors: {federation: {url: %q, profile: https_web, roots_file: web.pem}}
routes:%s`, before, endpoint.URL, after))

	d.client = d.shop.TLS()
	reach := func(p *process) bool {
		status, _, err := d.get(p, "/")
		return err == nil && status == 200
	}
	p := d.run(t)
	if !eventually(t, func() bool { return reach(p) }) {
		t.Fatal("the workload is still refused, want it accepted once its bundle was fetched")
	}
	p.signal(t, os.Interrupt)
	p.wait(t)

	endpoint.Close()
	p = d.run(t)
	if !reach(p) {
		t.Error("after a restart without the endpoint the workload is refused, want the copy to be in force")
	}
	if !eventually(t, func() bool {
		code, body := p.ask(t, "/readyz")
		return code == 200 && strings.Contains(body, "degraded:\nfederation spiffe://prod.example")
	}) {
		_, body := p.ask(t, "/readyz")
		t.Errorf("GET /readyz = %q; want it ready and the endpoint named", body)
	}
}

// FED-09: a reload can change whom a listener admits. Who is not admitted any more is
// sent away, and whoever is admitted now gets in.
func TestAReloadChangesWhomAListenerAdmits(t *testing.T) {
	t.Parallel()
	d := newDepth(t)
	partner, err := devpki.NewRoot(devpki.CAOptions{Name: "partner root"})
	if err != nil {
		t.Fatal(err)
	}
	d.write(t, "partner.pem", string(devpki.CertificatesPEM(partner.Certificate)))
	p := d.run(t)
	idle := d.dial(t, p, d.shop, nil)
	in := bufio.NewReader(idle)
	if status, err := ask(idle, in); status != 200 || err != nil {
		t.Fatalf("a request before the reload: %d, %v; want 200", status, err)
	}
	file := filepath.Join(d.dir, "gateway.yaml")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d.write(t, "gateway.yaml", strings.NewReplacer(
		"trust_domains: [spiffe://prod.example]", "trust_domains: [spiffe://partner.example]",
		"routes:", "  spiffe://partner.example: {anchors: {file: partner.pem}}\nroutes:",
	).Replace(string(before)))
	p.signal(t, syscall.SIGHUP)
	if _, err := in.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the open connection of a workload that is not admitted any more: %v; want its end", err)
	}
	refused := d.dial(t, p, d.shop, nil)
	if status, err := ask(refused, bufio.NewReader(refused)); err == nil {
		t.Errorf("a new connection of it: %d, want a refused handshake", status)
	}
	d.write(t, "gateway.yaml", string(before))
	p.signal(t, syscall.SIGHUP)
	d.client = d.shop.TLS()
	if !eventually(t, func() bool { status, _, err := d.get(p, "/"); return err == nil && status == 200 }) {
		t.Error("after the list was put back the workload is still refused")
	}
}

// eventually asks done now and then until it is, and reports whether it was in time.
func eventually(t *testing.T, done func() bool) bool {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			return false
		}
	}
	return true
}
