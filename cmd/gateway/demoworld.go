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
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"verigate/devpki"
)

const (
	demoGatewayID = "spiffe://prod.example/edge"
	demoAuditFile = "audit.jsonl"
)

// demoWorld is everything around the gateway: authorities, workloads, impostors
// and backends.
type demoWorld struct {
	dir      string
	prod     *devpki.CA // issuing
	prodRoot *devpki.CA
	partner  *devpki.CA
	lab      *devpki.CA // below a root with a post-quantum key
	leaves   map[string]*devpki.Leaf
	backends []*http.Server
}

// newDemoWorld writes certificates and configuration to dir and starts the
// backends.
func newDemoWorld(dir string) (*demoWorld, error) {
	w := &demoWorld{dir: dir, leaves: map[string]*devpki.Leaf{}}
	var err error
	if w.prodRoot, w.prod, err = w.authority("prod", devpki.P256); err != nil {
		return nil, err
	}
	if _, w.partner, err = w.authority("partner", devpki.P256); err != nil {
		return nil, err
	}
	if _, w.lab, err = w.authority("lab", devpki.MLDSA65); err != nil {
		return nil, err
	}
	hour := time.Now().Add(time.Hour)
	for _, l := range []struct {
		name string
		ca   *devpki.CA
		o    devpki.LeafOptions
	}{
		{"edge", w.prod, devpki.LeafOptions{URIs: []string{demoGatewayID}, DNS: []string{"pay.example", "catalog.example", "localhost"}}},
		{"payments", w.prod, devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/pay/sa/api"}}},
		{"catalog", w.prod, devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/catalog/sa/api"}}},
		{"checkout", w.prod, devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/shop/sa/checkout"}}},
		{"cart", w.prod, devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/shop/sa/cart"}}},
		{"report", w.partner, devpki.LeafOptions{URIs: []string{"spiffe://partner.example/ns/etl/sa/report"}}},
		{"probe", w.lab, devpki.LeafOptions{URIs: []string{"spiffe://lab.example/ns/pq/sa/probe"}}},
		// The impostors.
		{"impostor", w.partner, devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/shop/sa/checkout"}}},
		{"expired", w.prod, devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/shop/sa/checkout"},
			NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}},
		{"twofaced", w.prod, devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/shop/sa/cart", "spiffe://prod.example/ns/shop/sa/checkout"}}},
		{"shouting", w.prod, devpki.LeafOptions{URIs: []string{"SPIFFE://prod.example/ns/shop/sa/checkout"}}},
		{"revoked", w.prod, devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/shop/sa/checkout"}}},
		{"denied", w.prod, devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/shop/sa/compromised"}}},
	} {
		if l.o.NotAfter.IsZero() {
			l.o.NotAfter = hour
		}
		leaf, err := l.ca.Issue(l.o)
		if err != nil {
			return nil, err
		}
		w.leaves[l.name] = leaf
		if err := writeCredential(filepath.Join(dir, l.name+".pem"), filepath.Join(dir, l.name+".key"), leaf); err != nil {
			return nil, err
		}
	}
	// Somebody who has checkout's certificate, which is public, but not its key.
	w.leaves["thief"] = &devpki.Leaf{Chain: w.leaves["checkout"].Chain, Key: w.leaves["cart"].Key}
	if err := w.revoke(); err != nil {
		return nil, err
	}
	return w, w.configure()
}

// revoke writes the revocation lists of prod, one for each of its CAs.
func (w *demoWorld) revoke() error {
	stolen := w.leaves["revoked"].Chain[0].SerialNumber
	for _, l := range []struct {
		name    string
		ca      *devpki.CA
		revoked []*big.Int
	}{{pkiRoot, w.prodRoot, nil}, {pkiIssuing, w.prod, []*big.Int{stolen}}} {
		der, err := l.ca.MakeCRL(devpki.CRLOptions{Revoked: l.revoked})
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(w.dir, "prod", l.name+".crl"), devpki.CRLPEM(der), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// authority makes root and issuing CA of a trust domain.
func (w *demoWorld) authority(name string, rootKey devpki.KeyType) (root, issuing *devpki.CA, err error) {
	if root, err = devpki.NewRoot(devpki.CAOptions{Name: name + " root", Key: rootKey}); err != nil {
		return nil, nil, err
	}
	if issuing, err = root.NewIntermediate(devpki.CAOptions{Name: name + " issuing CA"}); err != nil {
		return nil, nil, err
	}
	folder := filepath.Join(w.dir, name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, nil, err
	}
	return root, issuing, writeFile(filepath.Join(folder, pkiRootCert), devpki.CertificatesPEM(root.Certificate), 0o644)
}

const demoConfig = `# What the demo runs by.
listeners:
  - name: edge
    address: 127.0.0.1:0
    certificate: {cert_file: edge.pem, key_file: edge.key}
    trust_domains: [spiffe://prod.example, spiffe://partner.example, spiffe://lab.example]

trust_domains:
  spiffe://prod.example:
    anchors: {file: prod/root.pem}
    crl: {files: [prod/root.crl, prod/issuing.crl]}
    assurance: [{mial: 2}]          # attested by the platform, the operator says
  spiffe://partner.example:
    anchors: {file: partner/root.pem}
  spiffe://lab.example:
    anchors: {file: lab/root.pem}   # its key is of ML-DSA-65
    algorithms: [ml-dsa-65, ecdsa-p256]

deny:
  - {identity: spiffe://prod.example/ns/shop/sa/compromised}

routes:
  - name: payments
    match: {host: pay.example, path: /v1/}
    allow:
      - {caller: spiffe://prod.example/ns/*/sa/checkout, methods: [GET, HEAD, POST], require: {mial: 2}}
      - {caller: spiffe://partner.example/ns/etl/sa/report, require: {mial: 2}}
    upstream: payments
  - name: catalog
    match: {host: catalog.example}
    allow:
      - {caller: spiffe://prod.example/**}
      - {caller: spiffe://partner.example/**, methods: [GET, HEAD]}
      - {caller: spiffe://lab.example/**, methods: [GET, HEAD]}
    upstream: catalog

upstreams:
  payments:
    endpoints: ["%s"]
    verify: {identity: spiffe://prod.example/ns/pay/sa/api}
    handoff: [client_cert, xfcc, workload]
  catalog:
    endpoints: ["%s"]
    verify: {identity: spiffe://prod.example/ns/catalog/sa/api}
    handoff: [workload]

telemetry: {audit: {file: ` + demoAuditFile + `}}
admin: {address: 127.0.0.1:0}
`

func (w *demoWorld) configure() error {
	var addresses []any
	for _, name := range []string{"payments", "catalog"} {
		address, err := w.backend(name)
		if err != nil {
			return err
		}
		addresses = append(addresses, address)
	}
	return writeFile(filepath.Join(w.dir, "gateway.yaml"), fmt.Appendf(nil, demoConfig, addresses...), 0o600)
}

// backend starts a backend that accepts nobody but the gateway and answers with
// who it was told the caller is.
func (w *demoWorld) backend(name string) (address string, err error) {
	anchors := x509.NewCertPool()
	anchors.AddCert(w.prodRoot.Certificate)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{w.leaves[name].TLS()},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    anchors,
	})
	if err != nil {
		return "", err
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(rw, "%s: hello %s (asserted by %s)\n", name, r.Header.Get("X-Workload-Id"), r.Header.Get("X-Workload-Asserted-By"))
		}),
	}
	w.backends = append(w.backends, server)
	go server.Serve(listener) // ends with Close
	return listener.Addr().String(), nil
}

func (w *demoWorld) close() {
	for _, b := range w.backends {
		_ = b.Close() // the process is about to end
	}
}

// demoCall is one caller's request and how it should fare.
type demoCall struct {
	who, leaf          string // leaf "" shows no certificate
	method, host, path string
	spoof              bool // also sends headers that claim another identity
	wantOutcome        string
	wantReason         string
}

var demoCalls = []demoCall{
	{who: "checkout", leaf: "checkout", method: "GET", host: "pay.example", path: "/v1/charge", wantOutcome: "200"},
	{who: "cart", leaf: "cart", method: "GET", host: "catalog.example", path: "/items", wantOutcome: "200"},
	{who: "report (partner)", leaf: "report", method: "GET", host: "catalog.example", path: "/items", wantOutcome: "200"},
	{who: "probe (lab: post-quantum root)", leaf: "probe", method: "GET", host: "catalog.example", path: "/items", wantOutcome: "200"},
	{who: "cart, claiming to be checkout", leaf: "cart", spoof: true, method: "GET", host: "catalog.example", path: "/items", wantOutcome: "200"},
	{who: "cart", leaf: "cart", method: "GET", host: "pay.example", path: "/v1/charge", wantOutcome: "403", wantReason: "policy_denied"},
	{who: "report (partner)", leaf: "report", method: "POST", host: "catalog.example", path: "/items", wantOutcome: "403", wantReason: "method_not_allowed"},
	{who: "report (partner)", leaf: "report", method: "GET", host: "pay.example", path: "/v1/charge", wantOutcome: "403", wantReason: "assurance_insufficient"},
	{who: "checkout", leaf: "checkout", method: "GET", host: "pay.example", path: "/nowhere", wantOutcome: "404", wantReason: "no_route"},
	{who: "impostor: partner's CA says prod", leaf: "impostor", method: "GET", host: "pay.example", path: "/v1/charge", wantOutcome: "refused", wantReason: "untrusted_chain"},
	{who: "thief: checkout's certificate only", leaf: "thief", method: "GET", host: "pay.example", path: "/v1/charge", wantOutcome: "refused", wantReason: "pop_failed"},
	{who: "expired certificate", leaf: "expired", method: "GET", host: "pay.example", path: "/v1/charge", wantOutcome: "refused", wantReason: "expired"},
	{who: "two identities in one certificate", leaf: "twofaced", method: "GET", host: "pay.example", path: "/v1/charge", wantOutcome: "refused", wantReason: "identifier_count"},
	{who: "SPIFFE:// in capitals", leaf: "shouting", method: "GET", host: "pay.example", path: "/v1/charge", wantOutcome: "refused", wantReason: "identifier_syntax"},
	{who: "revoked certificate", leaf: "revoked", method: "GET", host: "pay.example", path: "/v1/charge", wantOutcome: "refused", wantReason: "revoked"},
	{who: "on the deny-list", leaf: "denied", method: "GET", host: "pay.example", path: "/v1/charge", wantOutcome: "refused", wantReason: "deny_listed"},
	{who: "no certificate", method: "GET", host: "pay.example", path: "/v1/charge", wantOutcome: "refused", wantReason: "no_certificate"},
}

// demoResult is what a call came to. reason is from the audit file, not from the
// caller, who is told nothing about refused handshakes.
type demoResult struct {
	call    demoCall
	outcome string
	reason  string
	seen    string // identity that the backend was told
	local   string // the caller's address, by which the audit record is found
}

func (w *demoWorld) callAll(ctx context.Context, edge string) ([]demoResult, error) {
	var results []demoResult
	for _, call := range demoCalls {
		results = append(results, w.call(ctx, edge, call))
	}
	return results, w.explainRefusals(ctx, results)
}

// call makes one connection and sends one request.
func (w *demoWorld) call(ctx context.Context, edge string, call demoCall) demoResult {
	result := demoResult{call: call, outcome: "refused"}
	client := w.client(edge, call.leaf, func(local string) { result.local = local })
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, call.method, "https://"+call.host+call.path, nil)
	if err != nil {
		return result
	}
	if call.spoof {
		request.Header.Set("X-Workload-Id", "spiffe://prod.example/ns/shop/sa/checkout")
		request.Header.Set("X-Forwarded-Client-Cert", "URI=spiffe://prod.example/ns/shop/sa/checkout")
	}
	response, err := client.Do(request)
	if err != nil {
		return result
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<16)) // a short body shows in the table
	result.outcome = fmt.Sprint(response.StatusCode)
	if response.StatusCode == http.StatusOK {
		_, hello, _ := strings.Cut(string(body), ": hello ")
		result.seen, _, _ = strings.Cut(hello, " ")
		return result
	}
	var problem struct{ Reason string }
	_ = json.Unmarshal(body, &problem) // what is not a problem document has no reason, which shows
	result.reason = problem.Reason
	return result
}

// client connects to the gateway as a workload, whatever host is asked for.
func (w *demoWorld) client(edge, leaf string, connected func(local string)) *http.Client {
	anchors := x509.NewCertPool()
	anchors.AddCert(w.prodRoot.Certificate)
	config := &tls.Config{RootCAs: anchors, MinVersion: tls.VersionTLS13}
	if leaf != "" {
		config.Certificates = []tls.Certificate{w.leaves[leaf].TLS()}
	}
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: config,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, edge)
				if err == nil {
					connected(conn.LocalAddr().String())
				}
				return conn, err
			},
		},
	}
}

// explainRefusals fills in the reasons of refused handshakes from the audit file.
func (w *demoWorld) explainRefusals(ctx context.Context, results []demoResult) error {
	missing := 0
	for _, r := range results {
		if r.outcome == "refused" {
			missing++
		}
	}
	return w.followAudit(ctx, func(record auditRecord) (done bool) {
		for i := range results {
			r := &results[i]
			if r.outcome == "refused" && r.reason == "" && record.Event == "handshake" && record.Remote == r.local {
				r.reason = record.Reason
				missing--
			}
		}
		return missing == 0
	})
}

// auditRecord is what the demo reads of an audit record.
type auditRecord struct {
	Event    string `json:"event"`
	Remote   string `json:"remote"`
	Outcome  string `json:"outcome"`
	Reason   string `json:"reason"`
	Identity string `json:"identity"`
	Cache    string `json:"cache"`
	Judged   int64  `json:"verify_ns"`
	raw      string
}

// followAudit reads the audit file from its beginning and goes on as it grows,
// until each says that it has seen enough. Records are written a moment after
// what they tell of.
func (w *demoWorld) followAudit(ctx context.Context, each func(auditRecord) (done bool)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	f, err := os.Open(filepath.Join(w.dir, demoAuditFile))
	if err != nil {
		return err
	}
	defer f.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var partial []byte
	reader := bufio.NewReader(f)
	for {
		line, err := reader.ReadBytes('\n')
		partial = append(partial, line...)
		switch {
		case err == nil:
			record := auditRecord{raw: string(bytes.TrimSpace(partial))}
			if err := json.Unmarshal(partial, &record); err != nil {
				return fmt.Errorf("audit file: %w", err)
			}
			partial = nil
			if each(record) {
				return nil
			}
		case errors.Is(err, io.EOF):
			select {
			case <-ctx.Done():
				return errors.New("the audit file lacks a record that should be there")
			case <-tick.C:
			}
		default:
			return err
		}
	}
}

// verificationTimes connects as many new workloads, then as often as one that is
// known, and returns how long the gateway took to verify their chains, sorted.
func (w *demoWorld) verificationTimes(ctx context.Context, edge string) (cold, cached durations, err error) {
	const handshakes = 100
	fresh, err := w.issueMany(handshakes)
	if err != nil {
		return nil, nil, err
	}
	remotes := map[string]bool{}
	for i := range 2 * handshakes {
		leaf := "checkout"
		if i < handshakes {
			leaf = fresh[i]
		}
		r := w.call(ctx, edge, demoCall{leaf: leaf, method: "GET", host: "catalog.example", path: "/"})
		if r.outcome != "200" {
			return nil, nil, fmt.Errorf("a handshake for the measurement was answered with %s %s", r.outcome, r.reason)
		}
		remotes[r.local] = true
	}
	err = w.followAudit(ctx, func(record auditRecord) bool {
		if record.Event == "handshake" && remotes[record.Remote] {
			delete(remotes, record.Remote)
			switch record.Cache {
			case "hit":
				cached = append(cached, time.Duration(record.Judged))
			case "miss":
				cold = append(cold, time.Duration(record.Judged))
			}
		}
		return len(remotes) == 0
	})
	slices.Sort(cold)
	slices.Sort(cached)
	return cold, cached, err
}

// issueMany issues certificates to workloads that nobody has seen yet.
func (w *demoWorld) issueMany(n int) ([]string, error) {
	names := make([]string, n)
	errs := make([]error, n)
	leaves := make([]*devpki.Leaf, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			names[i] = fmt.Sprintf("worker-%d", i)
			leaves[i], errs[i] = w.prod.Issue(devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/batch/sa/" + names[i]}})
		})
	}
	wg.Wait()
	for i, leaf := range leaves {
		w.leaves[names[i]] = leaf
	}
	return names, errors.Join(errs...)
}

// scrape returns the lines of an exposition that begin with one of the prefixes.
func (w *demoWorld) scrape(ctx context.Context, url string, prefixes []string) ([]string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var found []string
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		for _, prefix := range prefixes {
			if strings.HasPrefix(lines.Text(), prefix) && !strings.HasSuffix(lines.Text(), " 0") {
				found = append(found, lines.Text())
			}
		}
	}
	return found, lines.Err()
}

// auditSample returns one record of each kind.
func (w *demoWorld) auditSample() ([]string, error) {
	data, err := os.ReadFile(filepath.Join(w.dir, demoAuditFile))
	if err != nil {
		return nil, err
	}
	var sample []string
	seen := map[string]bool{}
	for line := range bytes.Lines(data) {
		var r auditRecord
		if json.Unmarshal(line, &r) != nil {
			continue
		}
		kind := r.Event + r.Outcome
		if (r.Event == "handshake" || r.Event == "request") && !seen[kind] {
			seen[kind] = true
			sample = append(sample, string(bytes.TrimSpace(line)))
		}
	}
	return sample, nil
}
