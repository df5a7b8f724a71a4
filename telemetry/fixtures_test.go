package telemetry

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/tlsterm"
	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

// patience bounds every wait of a test for something that has to happen.
const patience = 20 * time.Second

var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)

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

func id(t testing.TB, s string) workloadid.ID {
	t.Helper()
	return must(workloadid.Parse(s))(t)
}

func origins(t testing.TB, names ...string) (all []workloadid.Origin) {
	t.Helper()
	for _, name := range names {
		all = append(all, must(workloadid.ParseOrigin(name))(t))
	}
	return all
}

// start returns a Telemetry for prod.example and partner.example that ends with
// the test.
func start(t testing.TB, edit func(*Options)) *Telemetry {
	t.Helper()
	o := Options{
		InstanceID:   "gw-1",
		Version:      "1.0.0",
		TrustDomains: origins(t, "spiffe://prod.example", "spiffe://partner.example"),
	}
	if edit != nil {
		edit(&o)
	}
	tel := must(New(o))(t)
	t.Cleanup(func() { shutdown(t, tel) })
	return tel
}

func shutdown(t testing.TB, tel *Telemetry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := tel.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown() = %v, want nil", err)
	}
}

// audited runs f with a Telemetry and returns the audit log that it wrote.
func audited(t testing.TB, edit func(*Options), f func(*Telemetry)) string {
	t.Helper()
	var log buffer
	tel := start(t, func(o *Options) {
		o.Audit.Writer = &log
		if edit != nil {
			edit(o)
		}
	})
	f(tel)
	shutdown(t, tel)
	return log.String()
}

// scrape returns the exposition in the given format.
func scrape(t testing.TB, tel *Telemetry, accept string) string {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("GET /metrics = %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

const (
	textFormat  = "text/plain;version=0.0.4"
	openMetrics = "application/openmetrics-text;version=1.0.0"
)

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// records decodes an audit log and fails the test if a line is not one object.
func records(t testing.TB, log string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(log) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("audit line is not JSON: %v\n%s", err, line)
		}
		all = append(all, r)
	}
	return all
}

// events returns the records of one event.
func events(t testing.TB, log, event string) (found []map[string]any) {
	t.Helper()
	for _, r := range records(t, log) {
		if r["event"] == event {
			found = append(found, r)
		}
	}
	return found
}

// served is a request that went well.
func served(t testing.TB) *Request {
	return &Request{
		Start: noon, ID: "6f1c2a9be0d34c55", Listener: "edge", ConnID: 42, Remote: "192.0.2.7:51514",
		Caller: id(t, "spiffe://prod.example/ns/shop/sa/checkout"),
		Grade:  assurance.Grade{MIAL: assurance.MIAL3, MAAL: assurance.MAAL{assurance.Governance: 3}},
		Method: "POST", Host: "pay.example", Path: "/v1/charges", SNI: "pay.example", Proto: "HTTP/1.1",
		Route: "payments", Rule: "checkout-may-charge", Upstream: "payments-v2", Endpoint: "10.1.0.5:8443",
		UpstreamID: id(t, "spiffe://prod.example/ns/pay/sa/api"),
		Status:     200, Decision: DecisionAllowed,
		BytesIn: 812, BytesOut: 2048,
		Total: 2150 * time.Microsecond, Policy: 410, UpstreamTime: 2100 * time.Microsecond,
		Trace: exampleTrace,
	}
}

var exampleTrace = Trace{
	id:     [16]byte{0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36},
	server: [8]byte{1}, client: [8]byte{2},
}

// accepted is a handshake that went well, with what it proved.
func accepted(t testing.TB) (*tlsterm.Handshake, *evidence) {
	h := &tlsterm.Handshake{
		Listener: "edge", ConnID: 42,
		Remote: netip.MustParseAddrPort("192.0.2.7:51514"), Local: netip.MustParseAddrPort("198.51.100.1:8443"),
		Start: noon, Duration: 1480 * time.Microsecond, QueueWait: 20 * time.Microsecond,
		Outcome: tlsterm.Accepted, SNI: "pay.example", ALPN: "http/1.1",
		Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Curve: tls.X25519MLKEM768,
		Verdict: verifycache.Verdict{
			Path: new(certpath.Path), Outcome: verifycache.Miss,
			IdentifyDuration: 900,
		},
		JudgeTime: 210 * time.Microsecond,
	}
	return h, &evidence{
		id:    id(t, "spiffe://prod.example/ns/shop/sa/checkout"),
		grade: assurance.Grade{MIAL: assurance.MIAL3, MAAL: assurance.MAAL{assurance.Governance: 3}},
		leaf:  [32]byte{0xa1}, issuer: [32]byte{0xb2}, anchor: [32]byte{0xc3},
		serial: [20]byte{18: 0x5e, 19: 0x01}, snapshot: trust.Digest{0xd4},
		expires: noon.Add(time.Hour).Truncate(time.Second),
	}
}

// resumed is the handshake of accepted with a session of before, which the shadow
// of its trust domain would not have accepted.
func resumed(t testing.TB) (*tlsterm.Handshake, *evidence) {
	h, e := accepted(t)
	h.Resumed, h.Resumption = true, tlsterm.Resumed
	return shadowed(h, certpath.ReasonRevoked), e
}

// refused is a handshake whose chain was rejected.
func refused(t testing.TB) *tlsterm.Handshake {
	return &tlsterm.Handshake{
		Listener: "edge", ConnID: 43,
		Remote: netip.MustParseAddrPort("203.0.113.9:40000"), Local: netip.MustParseAddrPort("198.51.100.1:8443"),
		Start: noon, Duration: 900 * time.Microsecond, QueueWait: 10 * time.Microsecond,
		Outcome: tlsterm.Failed, Reason: certpath.ReasonUntrustedChain.String(), SNI: "pay.example",
		Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Curve: tls.X25519,
		JudgeTime: 30 * time.Microsecond,
		Verdict: verifycache.Verdict{
			ID: id(t, "spiffe://prod.example/ns/shop/sa/checkout"), Outcome: verifycache.Miss,
			IdentifyDuration: 900,
			Err: &certpath.Error{
				Reason: certpath.ReasonUntrustedChain, Found: `issuer "CN=prod issuing"`, Want: "an anchor of spiffe://prod.example",
				Hint: "the client sent no intermediate certificate",
			},
		},
		Chain: []tlsterm.ChainSummary{{
			Subject: "CN=checkout", Issuer: "CN=prod issuing", Serial: "5e01", AuthorityKeyID: "0a0b", SubjectKeyID: "0c0d",
			NotAfter: noon.Add(time.Hour).Truncate(time.Second),
		}},
	}
}

// changed is a bundle that was replaced, refusedChange a credential that could not
// be.
func changed() TrustChange {
	return TrustChange{
		Outcome: TrustLoaded, Kind: KindBundle, Name: "spiffe://prod.example",
		Digest: trust.Digest{0xe5}, Previous: trust.Digest{0xf6},
	}
}

func refusedChange() TrustChange {
	return TrustChange{
		Outcome: TrustRefused, Kind: KindCredential, Name: "/etc/verigate/edge.pem",
		Digest: trust.Digest{0x17}, Previous: trust.Digest{0x17},
		Err: &trust.Error{Reason: trust.ReasonNoCertificate, Name: "/etc/verigate/edge.pem"},
	}
}

// thrownOut is a live connection whose caller is not accepted any more.
func thrownOut(t testing.TB) *ConnectionEnd {
	return &ConnectionEnd{
		Time: noon, Listener: "edge", ConnID: 42, Remote: netip.MustParseAddrPort("192.0.2.7:51514"),
		Start:    noon.Add(-90 * time.Second),
		Identity: id(t, "spiffe://prod.example/ns/shop/sa/checkout"),
		Cause:    CauseTrust, Reason: certpath.ReasonRevoked.String(),
		Err: &certpath.Error{Reason: certpath.ReasonRevoked, Found: "serial number 5e01 on the CRL of CN=prod issuing"},
	}
}

// understated is a request that was denied for want of assurance.
func understated(t testing.TB) *Request {
	r := served(t)
	r.Grade = assurance.Grade{MIAL: assurance.MIAL1}
	r.Findings = assurance.Findings{SharedKey: true, ManyNetworks: true}
	r.Decision, r.Reason, r.Status = DecisionDenied, "assurance_insufficient", 403
	r.Missing = []string{"mial is 1, 3 required", "governance is 0, 2 required"}
	r.Endpoint, r.UpstreamID, r.UpstreamTime = "", workloadid.ID{}, 0
	return r
}

// shadowed adds the verdict of a shadow to h; none accepts it.
func shadowed(h *tlsterm.Handshake, why certpath.Reason) *tlsterm.Handshake {
	h.Verdict.Shadow = new(verifycache.Shadow)
	if why == certpath.ReasonNone {
		h.Verdict.Shadow.Path = new(certpath.Path)
	} else {
		h.Verdict.Shadow.Err = &certpath.Error{Reason: why}
	}
	return h
}

var _ io.Writer = (*buffer)(nil)
