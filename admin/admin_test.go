package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"verigate/telemetry"
	"verigate/tlsterm"
	"verigate/upstream"
	"verigate/verifycache"
	"verigate/workloadid"
)

// start serves o on loopback and returns the address.
func start(t *testing.T, o Options) string {
	t.Helper()
	o.Address = "127.0.0.1:0"
	if o.Metrics == nil {
		o.Metrics = http.NotFoundHandler()
	}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	return s.Addr().String()
}

// ask sends one request and returns status, header and body.
func ask(t *testing.T, method, address, path string, change func(*http.Request)) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(request)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(body)
}

func TestEveryEndpointAnswersGET(t *testing.T) {
	t.Parallel()
	address := start(t, Options{
		Readiness: func() Readiness { return Readiness{} },
		Status:    func() Status { return Status{Version: "v1"} },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "verigate_up 1\n")
		}),
	})
	for path, want := range map[string]string{
		"/":        "/readyz",
		"/livez":   "alive",
		"/readyz":  "ready\n",
		"/metrics": "verigate_up 1",
		"/status":  `"version": "v1"`,
	} {
		status, header, body := ask(t, "GET", address, path, nil)
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s = %d %q, want 200 with %q", path, status, body, want)
		}
		if header.Get("Cache-Control") != "no-store" || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: header %v, want no-store and nosniff", path, header)
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			if status, _, _ := ask(t, method, address, path, nil); status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s = %d, want 405: nothing here changes anything", method, path, status)
			}
		}
	}
	if status, _, _ := ask(t, "GET", address, "/nowhere", nil); status != http.StatusNotFound {
		t.Errorf("GET /nowhere = %d, want 404", status)
	}
}

func TestDegradedIsReady(t *testing.T) {
	t.Parallel()
	address := start(t, Options{Readiness: func() Readiness { return Readiness{Degraded: []string{"bundle: garbled"}} }})
	if status, _, body := ask(t, "GET", address, "/readyz", nil); status != http.StatusOK || body != "ready\ndegraded:\nbundle: garbled\n" {
		t.Errorf("GET /readyz = %d %q, want 200 that names what is wrong", status, body)
	}
}

func TestReadyzSaysEveryReasonWhyNot(t *testing.T) {
	t.Parallel()
	address := start(t, Options{Readiness: func() Readiness {
		return Readiness{NotReady: []string{"draining", "certificate expired"}, Degraded: []string{"audit: disk full"}}
	}})
	status, _, body := ask(t, "GET", address, "/readyz", nil)
	if status != http.StatusServiceUnavailable || body != "not ready:\ndraining\ncertificate expired\ndegraded:\naudit: disk full\n" {
		t.Errorf("GET /readyz = %d %q, want 503 with all reasons", status, body)
	}
	if status, _, _ := ask(t, "GET", address, "/livez", nil); status != http.StatusOK {
		t.Errorf("GET /livez = %d, want 200: it is alive all the same", status)
	}
}

func TestRequestsThatAForeignPageCouldMakeAreRefused(t *testing.T) {
	t.Parallel()
	address := start(t, Options{Readiness: func() Readiness { return Readiness{} }})
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, host, site string
		want             int
	}{
		{"the address", address, "", 200},
		{"the address without port", "127.0.0.1", "", 200},
		{"IPv6", "[::1]:" + port, "", 200},
		{"localhost", "localhost:" + port, "", 200},
		{"a service name of compose", "gateway:9901", "", 200},
		{"a name that was rebound", "attacker.example:" + port, "", 403},
		{"a rebound name without port", "attacker.example", "", 403},
		{"a rebound name with a final dot", "localhost.:" + port, "", 403},
		{"an address inside a name", "127.0.0.1.attacker.example", "", 403},
		{"a name where the port should be", "127.0.0.1:80.attacker.example", "", 403},
		{"typed into the address bar", address, "none", 200},
		{"from the page itself", address, "same-origin", 200},
		{"from another site", address, "cross-site", 403},
		{"from another port of the host", address, "same-site", 403},
	} {
		status, _, body := ask(t, "GET", address, "/readyz", func(r *http.Request) {
			r.Host = tt.host
			if tt.site != "" {
				r.Header.Set("Sec-Fetch-Site", tt.site)
			}
		})
		if status != tt.want {
			t.Errorf("%s: GET /readyz with Host %q, Sec-Fetch-Site %q = %d %q, want %d", tt.name, tt.host, tt.site, status, body, tt.want)
		}
	}
}

func TestRequestWithoutHostIsRefused(t *testing.T) {
	t.Parallel()
	address := start(t, Options{Readiness: func() Readiness { return Readiness{} }})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /readyz HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(answer), " 403 ") {
		t.Errorf("a request without Host was answered with %q (%v), want 403", answer, err)
	}
}

func TestProfilesAreServedOnlyWhenSwitchedOn(t *testing.T) {
	t.Parallel()
	off, on := start(t, Options{}), start(t, Options{Pprof: true})
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline", "/debug/pprof/symbol"} {
		if status, _, _ := ask(t, "GET", off, path, nil); status != http.StatusNotFound {
			t.Errorf("GET %s = %d with profiles off, want 404", path, status)
		}
		if status, _, _ := ask(t, "GET", on, path, nil); status != http.StatusOK {
			t.Errorf("GET %s = %d with profiles on, want 200", path, status)
		}
	}
}

// TestStatusIsSnakeCaseThroughout holds for every object inside, so that nothing
// of a room shows through by accident.
func TestStatusIsSnakeCaseThroughout(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	caller := must(workloadid.Parse("spiffe://prod.example/x"))(t)
	address := start(t, Options{Status: func() Status {
		return Status{
			Listeners:   []ListenerStatus{{Name: "edge"}},
			Trust:       TrustStatus{Bundles: []BundleStatus{{Anchors: []AnchorStatus{{}}}}},
			Sources:     []SourceStatus{{Name: "spiffe://partner.example"}},
			Credentials: []CredentialStatus{{Name: "edge.pem"}},
			Cache:       CacheOf(verifycache.Stats{Hits: 3, Misses: 1}),
			Routes:      []RouteStatus{{Name: "api"}},
			Upstreams: []UpstreamStatus{upstreamOf(upstream.Status{Name: "api", Endpoints: []upstream.EndpointStatus{
				{Address: "10.0.0.1:1", InFlight: 2, LastError: "refused", LastErrorAt: now, PeerID: "spiffe://prod.example/api"},
			}})},
			Audit: AuditOf(telemetry.AuditStatus{Enabled: true, Dropped: 7, LastError: "disk full"}),
			ConnectionEnds: ConnectionEndsOf([]telemetry.ConnectionEnd{{
				Time: now, Listener: "edge", ConnID: 42, Remote: netip.MustParseAddrPort("192.0.2.7:51514"), Identity: caller,
				Start: now.Add(-90 * time.Second), Cause: "trust", Reason: "revoked", Err: errors.New("revoked at depth 0"),
			}}),
			Shadow: ShadowDifferencesOf([]telemetry.ShadowDifference{
				{Identity: "spiffe://prod.example/x", Reason: "eku", Count: 17, Last: now},
				{Identity: "spiffe://prod.example/y", Reason: "expired", Accepts: true, Count: 1, Last: now},
			}),
			Resumption: ResumptionStatus{Enabled: true, SecretLoadedAt: now, SecretAgeSeconds: 60, Handshakes: map[string]uint64{"resumed": 5}},
			Denials: DenialsOf([]telemetry.Denial{{Time: now, ID: "6f1c", Route: "payments", Rule: "no", Status: 403, Decision: "denied", ConnID: 41,
				Missing: "mial is 1, 3 required"}}),
			Refusals: RefusalsOf([]telemetry.Refusal{{
				Time: now, ConnID: 43, Reason: "expired", Claimed: "spiffe://prod.example/x", Hint: "it was not renewed",
				Chain: []tlsterm.ChainSummary{{Subject: "CN=x", Serial: "01", AuthorityKeyID: "0a0b"}},
			}}),
		}
	}})
	_, header, body := ask(t, "GET", address, "/status", nil)
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type = %q, want application/json", got)
	}
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("GET /status = %q: %v", body, err)
	}
	var visit func(at string, v any)
	visit = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, item := range v {
				if key != strings.ToLower(key) {
					t.Errorf("%s.%s is not snake case", at, key)
				}
				visit(at+"."+key, item)
			}
		case []any:
			for _, item := range v {
				visit(at+"[]", item)
			}
		}
	}
	visit("", v)
	for _, want := range []string{
		`"hit_ratio": 0.75`, `"in_flight": 2`, `"last_error_at": "2026-11-22T07:00:00Z"`, `"dropped": 7`,
		`"peer_id": "spiffe://prod.example/api"`, `"reason": "expired"`, `"request_id": "6f1c"`, `"decision": "denied"`, `"subject": "CN=x"`,
		`"connection": 41`, `"connection": 42`, `"connection": 43`, `"missing": "mial is 1, 3 required"`, `"hint": "it was not renewed"`,
		`"authority_key_id": "0a0b"`, `"age_seconds": 90`, `"remote": "192.0.2.7:51514"`, `"error": "revoked at depth 0"`, `"would": "refuse"`, `"would": "accept"`, `"count": 17`, `"secret_age_seconds": 60`, `"resumed": 5`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("GET /status lacks %s:\n%s", want, body)
		}
	}
}

// What has not happened, and what a source does not have, is absent rather than the
// year 1.
func TestRemoteSourcesAreShown(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return time.Date(2026, 11, 22, 7, minute, 0, 0, time.UTC) }
	sequence := uint64(7)
	tests := []struct {
		claim string
		value any
		want  string
	}{
		{"all that there is to a source", SourceStatus{
			Kind: "bundle", Name: "spiffe://partner.example", Source: "https://partner.example/bundle", Path: "/var/lib/verigate/bundle-spiffe-partner.example",
			LastAttempt: at(3), LastSuccess: at(1), LastChange: at(0), LastFailure: at(3), LastError: "there is no answer", Reason: "unreachable", Failures: 2,
			NextAttempt: at(4), IntervalSeconds: 300, Digest: "e5f6", Sequence: &sequence, NotAfter: at(59), Notes: []string{"two keys are not for X.509"},
		}, `{"kind":"bundle","name":"spiffe://partner.example","source":"https://partner.example/bundle","path":"/var/lib/verigate/bundle-spiffe-partner.example",` +
			`"last_attempt":"2026-11-22T07:03:00Z","last_success":"2026-11-22T07:01:00Z","last_change":"2026-11-22T07:00:00Z","last_failure":"2026-11-22T07:03:00Z",` +
			`"last_error":"there is no answer","reason":"unreachable","failures":2,"next_attempt":"2026-11-22T07:04:00Z","interval_seconds":300,` +
			`"digest":"e5f6","sequence":7,"not_after":"2026-11-22T07:59:00Z","notes":["two keys are not for X.509"]}`},
		{"a source that was not asked yet", SourceStatus{Kind: "crl", Name: "http://crl.example/ca.crl", Source: "http://crl.example/ca.crl"},
			`{"kind":"crl","name":"http://crl.example/ca.crl","source":"http://crl.example/ca.crl","failures":0}`},
		{"a bundle that is fetched", BundleStatus{
			Origin: "spiffe://partner.example", Digest: "e5f6", LoadedAt: at(0), WrittenAt: at(1), BelievedUntil: at(31), Anchors: []AnchorStatus{},
		}, `{"origin":"spiffe://partner.example","digest":"e5f6","loaded_at":"2026-11-22T07:00:00Z","written_at":"2026-11-22T07:01:00Z",` +
			`"believed_until":"2026-11-22T07:31:00Z","anchors":[]}`},
		{"a bundle of nothing", BundleStatus{Anchors: []AnchorStatus{}}, `{"origin":"","digest":"","anchors":[]}`},
	}
	for _, tt := range tests {
		if got, err := json.Marshal(tt.value); err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.claim, got, err, tt.want)
		}
	}
	address := start(t, Options{Status: func() Status { return Status{Sources: []SourceStatus{{Kind: "crl", Name: "x", Source: "y"}}} }})
	var shown struct{ Sources []map[string]any }
	_, _, body := ask(t, "GET", address, "/status", nil)
	if err := json.Unmarshal([]byte(body), &shown); err != nil || len(shown.Sources) != 1 || shown.Sources[0]["kind"] != "crl" {
		t.Errorf("GET /status has sources %v (%v), want the one of kind crl", shown.Sources, err)
	}
}

func TestStatusThatCannotBeEncodedIsAnError(t *testing.T) {
	t.Parallel()
	address := start(t, Options{Status: func() Status {
		return Status{Cache: CacheStatus{HitRatio: nan()}}
	}})
	if status, _, body := ask(t, "GET", address, "/status", nil); status != http.StatusInternalServerError {
		t.Errorf("GET /status = %d %q, want 500 rather than half an object", status, body)
	}
}

func nan() float64 {
	zero := 0.0
	return zero / zero
}

func TestListenNamesTheAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	address := start(t, Options{})
	_, err := Listen(Options{Address: address, Metrics: http.NotFoundHandler()})
	if err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("Listen(%s) = %v, want an error that names the address", address, err)
	}
}

func TestCloseFreesTheAddressOfAServerThatNeverServed(t *testing.T) {
	t.Parallel()
	s, err := Listen(Options{Address: "127.0.0.1:0", Metrics: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatalf("Close() = %v", err)
	}
	if conn, err := net.Dial("tcp", s.Addr().String()); err == nil {
		conn.Close()
		t.Error("the address is still bound after Close")
	}
}

func TestCloseCutsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	s, err := Listen(Options{Address: "127.0.0.1:0", Metrics: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done() // its connection is gone
	})})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	asked := make(chan error, 1)
	go func() {
		response, err := http.Get("http://" + s.Addr().String() + "/metrics")
		if err == nil {
			response.Body.Close()
		}
		asked <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close() = %v, want context.Canceled: a request was cut", err)
	}
	if err := <-asked; err == nil {
		t.Error("the request was answered, want it cut")
	}
	if err := <-served; err != nil {
		t.Errorf("Serve() = %v", err)
	}
}

// Clients clean up hosts before they send them; an attacker's would not.
func TestHostsThatNoClientSends(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"[::1%25a.attacker.example]": false,
		"[::1%lo]:9901":              false,
		"127.0.0.1:80.attacker":      false,
		"127.0.0.1:65536":            false,
		"127.0.0.1:9901":             true,
		"[::1]:9901":                 true,
		"prometheus-target:9901":     true,
	} {
		if got := isPrivateHost(host); got != want {
			t.Errorf("isPrivateHost(%q) = %v, want %v", host, got, want)
		}
	}
}
