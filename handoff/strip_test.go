package handoff

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"verigate/internal/race"
)

func TestStripRequest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		lines []string
		keep  bool
		want  []string // sorted
		hop   int
		res   int
	}{
		{"an ordinary request loses nothing",
			[]string{"Accept: */*", "Cookie: a=b;c=d; e", "Authorization: Bearer x", "X-Api_key: k"}, false,
			[]string{"Accept: */*", "Authorization: Bearer x", "Cookie: a=b;c=d; e", "X-Api_key: k"}, 0, 0},
		{"FWD-01: Client-Cert and its chain go, every occurrence of them",
			[]string{"Client-Cert: :AA==:", "Client-Cert: :AB==:", "Client-Cert-Chain: :AA==:", "Client-Cert-Chain: :AC==:", "A: b"}, false,
			[]string{"A: b"}, 0, 4},
		{"FWD-02: reserved names go in every spelling",
			[]string{"client_cert: a", "CLIENT-CERT: b", "cLiEnT_cErT-cHaIn: c", "X_Forwarded-Client_Cert: d", "x-workload_id: e", "X-WORKLOAD-ANYTHING: f"}, false,
			nil, 0, 6},
		{"FWD-02: any punctuation for a hyphen is a spelling of it too",
			[]string{"Client.Cert: a", "X~Workload~Id: b", "X!Forwarded.For: c", "X'Real`Ip: d", "X.Tier: e"}, false,
			[]string{"X.tier: e"}, 0, 4},
		{"names that other gateways use for a client certificate go (4.12)",
			[]string{"X-SSL-Client-Verify: SUCCESS", "X-SSL-Client-S-DN: CN=a", "X-Client-Cert: a", "X-Client-Cert-Subject: a", "SSL-Client-Cert: a", "SSL_CLIENT_VERIFY: a"}, false,
			nil, 0, 6},
		{"what the caller says about its connection goes",
			[]string{"X-Forwarded-For: 1.2.3.4", "X_Forwarded_Proto: https", "X-Forwarded-Host: b", "X-Forwarded-Prefix: /", "Forwarded: for=a", "X-Real-IP: 1.2.3.4"}, false,
			nil, 0, 6},
		{"AUD-09: baggage goes, traceparent stays",
			[]string{"Baggage: user=root", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, false,
			[]string{"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, 0, 1},
		{"APP-10: a Txn-Token from outside the domain goes", []string{"Txn-Token: t", "txn_token: u"}, false, nil, 0, 2},
		{"APP-10: one from inside stays", []string{"Txn-Token: t"}, true, []string{"Txn-Token: t"}, 0, 0},
		{"hop-by-hop fields go",
			[]string{"Connection: keep-alive", "Keep-Alive: timeout=5", "TE: trailers", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__",
				"Proxy-Connection: keep-alive", "Proxy-Authorization: Basic dTo=", "Proxy: http://evil.example"}, false, nil, 8, 0},
		{"FWD-03: every name in Connection goes, in any case and in every Connection field",
			[]string{"Connection: close, x-b,,X_C", "Connection: X-D", "X-A: 1", "X-B: 2", "x-b: 3", "X-C: 4", "X-D: 5"}, false,
			[]string{"X-A: 1"}, 6, 0},
		{"Connection cannot name the framing, nor credentials that pass untouched (APP-01)",
			[]string{"Connection: host, content-length, content-type, authorization, workload-identity-token", "Content-Length: 3",
				"Content-Type: text/plain", "Authorization: Bearer x", "Workload-Identity-Token: w"}, false,
			[]string{"Authorization: Bearer x", "Content-Length: 3", "Content-Type: text/plain", "Workload-Identity-Token: w"}, 1, 0},
		{"APP-01: tokens and signatures pass octet for octet",
			[]string{"Workload-Identity-Token: aaa.bbb.ccc", "Workload-Proof-Token: ddd", `Signature: wimse=:AA==:, x=:BB==:`, `Signature-Input: wimse=("@method");created=1`, "Authorization: Bearer  a b"}, false,
			[]string{"Authorization: Bearer  a b", `Signature-Input: wimse=("@method");created=1`, `Signature: wimse=:AA==:, x=:BB==:`, "Workload-Identity-Token: aaa.bbb.ccc", "Workload-Proof-Token: ddd"}, 0, 0},
		{"names that only begin or end like reserved ones stay",
			[]string{"Client-Certificate: a", "X-Workload: b", "X-Ssl-Client: c", "My-Client-Cert: d", "Tea: e", "Varying: f", "Proxying: g"}, false,
			[]string{"Client-Certificate: a", "My-Client-Cert: d", "Proxying: g", "Tea: e", "Varying: f", "X-Ssl-Client: c", "X-Workload: b"}, 0, 0},
		{"no trailers are announced", []string{"Transfer-Encoding: chunked", "Trailer: X-Sum"}, false, []string{"Transfer-Encoding: chunked"}, 0, 0},
		{"a field announced as trailer does not escape by that", []string{"Trailer: Client-Cert", "Client-Cert: :AA==:"}, false, nil, 0, 1},
	} {
		for _, normalized := range []bool{true, false} {
			h := new(fasthttp.RequestHeader)
			if !normalized {
				h.DisableNormalizing()
			}
			parse(t, h, tt.lines...)
			got := StripRequest(h, tt.keep)
			if want := (Stripped{tt.hop, tt.res}); got != want {
				t.Errorf("%s: StripRequest = %+v, want %+v", tt.name, got, want)
			}
			lines := sent(h)
			slices.Sort(lines)
			if !slices.EqualFunc(lines, tt.want, strings.EqualFold) {
				t.Errorf("%s (names normalised: %v): sends\n\t%q, want\n\t%q", tt.name, normalized, lines, tt.want)
			}
			if string(h.Host()) != "pay.example" {
				t.Errorf("%s: Host became %q", tt.name, h.Host())
			}
		}
	}
}

// What is looked at must be what the backend reads.
func TestSoleIsWhatTheBackendReads(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		lines []string
		field string
		want  bool
	}{
		{"a field that occurs once", []string{"X-Tier: gold", "X-Tiers: iron"}, "X-Tier", true},
		{"none", []string{"X-Tiers: gold"}, "X-Tier", false},
		{"two", []string{"X-Tier: gold", "x-tier: gold"}, "X-Tier", false},
		{"two that a backend may fold into one", []string{"X-Tier: gold", "X_Tier: iron"}, "X-Tier", false},
		{"one that Connection has removed", []string{"X-Tier: gold", "Connection: x-tier"}, "X-Tier", false},
		{"one that the second Connection has removed", []string{"Connection: keep-alive", "X-Tier: gold", "Connection: a, X_TIER"}, "X-Tier", false},
		{"Connection names another", []string{"X-Tier: gold", "Connection: close, X-Tiers"}, "X-Tier", true},
		{"what Connection cannot remove", []string{"Authorization: gold", "Connection: authorization"}, "Authorization", true},
		{"a reserved name", []string{"X-Workload-Id: gold"}, "X-Workload-Id", false},
		{"a hop-by-hop name", []string{"TE: gold"}, "Te", false},
	} {
		h := new(fasthttp.RequestHeader)
		parse(t, h, tt.lines...)
		value, ok := Sole(h, tt.field)
		if ok != tt.want || ok && string(value) != "gold" {
			t.Errorf("%s: Sole = %q, %v, want %v", tt.name, value, ok, tt.want)
		}
	}
}

func TestStripRequestRemovesFieldsThatWereAddedUnderAnyName(t *testing.T) {
	t.Parallel()
	h := request(t)
	h.SetCanonical([]byte("client_cert"), []byte("a"))
	h.Set("X-Workload-Id", "b")
	StripRequest(h, false)
	if lines := sent(h); len(lines) != 0 {
		t.Errorf("after StripRequest the request sends %q", lines)
	}
	if h.Set("a-b", "c"); string(h.Peek("A-B")) != "c" {
		t.Error("StripRequest left name normalisation switched off")
	}
}

// FWD-02 for trailers (test 8 of requirements §7): what a caller sends behind the
// body reaches the backend neither as header field nor as trailer.
func TestTrailersAreNotForwarded(t *testing.T) {
	t.Parallel()
	backend := fasthttputil.NewInmemoryListener()
	raw := make(chan string, 1)
	go func() {
		c, err := backend.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var request []byte
		buf := make([]byte, 4096)
		for !strings.Contains(string(request), "\r\n0\r\n") || !strings.HasSuffix(string(request), "\r\n\r\n") {
			n, err := c.Read(buf)
			request = append(request, buf[:n]...)
			if err != nil {
				break
			}
		}
		raw <- string(request)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}()

	front := fasthttputil.NewInmemoryListener()
	client := &fasthttp.HostClient{Addr: "backend", Dial: func(string) (net.Conn, error) { return backend.Dial() }}
	server := &fasthttp.Server{StreamRequestBody: true, Handler: func(ctx *fasthttp.RequestCtx) {
		StripRequest(&ctx.Request.Header, false)
		req := fasthttp.AcquireRequest()
		ctx.Request.Header.CopyTo(&req.Header)
		req.SetBodyStream(struct{ io.Reader }{ctx.RequestBodyStream()}, -1)
		if err := client.Do(req, &ctx.Response); err != nil {
			t.Errorf("forwarding: %v", err)
		}
	}}
	go server.Serve(front)
	t.Cleanup(func() { front.Close(); backend.Close() })

	c, err := front.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Client-Cert, X-Workload-Id, X-Sum\r\n\r\n"+
		"5\r\nhello\r\n0\r\nClient-Cert: :AA==:\r\nX-Workload-Id: evil\r\nX-Sum: 1\r\n\r\n")
	var resp fasthttp.Response
	if err := resp.Read(bufio.NewReader(c)); err != nil {
		t.Fatal(err)
	}
	got := strings.ToLower(<-raw)
	if !strings.Contains(got, "hello") {
		t.Fatalf("the body did not arrive: %q", got)
	}
	for _, name := range []string{"client-cert", "x-workload-id", "x-sum", "trailer:"} {
		if strings.Contains(got, name) {
			t.Errorf("the backend received %s: %q", name, got)
		}
	}
}

func TestReserved(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"Client-Cert": true, "client_cert": true, "CLIENT_CERT_CHAIN": true, "x-forwarded-client-cert": true,
		"X-Workload-Id": true, "x_workload_": true, "X-SSL-Client-Cert": true, "X-Client-Cert-Chain": true, "ssl_client_s_dn": true,
		"X-Forwarded-For": true, "Forwarded": true, "X-Real_IP": true,
		"": false, "C": false, "Connection": false, "Baggage": false, "Txn-Token": false, "Authorization": false,
		"Client-Cer": false, "Client-Certs": false, "X-Workloads": false, "Content-Length": false,
	} {
		if got := Reserved([]byte(name)); got != want {
			t.Errorf("Reserved(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestSetForwarded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ remote, host, address string }{
		{"192.0.2.7:49152", "pay.example", "192.0.2.7"},
		{"192.0.2.7", "pay.example", "192.0.2.7"},
		{"[2001:db8::1]:443", "pay.example", "2001:db8::1"},
		{"2001:db8::1", "", "2001:db8::1"},
		{"", "pay.example", ""},
	} {
		h := request(t, "X-Forwarded-For: 1.2.3.4, 5.6.7.8", "x_forwarded_for: 9.9.9.9", "X-Forwarded-Proto: http", "X-Forwarded-Host: evil")
		StripRequest(h, false)
		followed(h, AppendForwarded(nil, tt.remote, tt.host))
		for name, want := range map[string]string{"X-Forwarded-For": tt.address, "X-Forwarded-Proto": "https", "X-Forwarded-Host": tt.host} {
			if got := string(h.Peek(name)); got != want {
				t.Errorf("SetForwarded(%q, %q): %s = %q, want %q", tt.remote, tt.host, name, got, want)
			}
		}
		if strings.Contains(string(h.Header()), "9.9.9.9") {
			t.Errorf("SetForwarded(%q, %q): the caller's own address is sent", tt.remote, tt.host)
		}
	}
}

func TestFilterResponse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"an ordinary response loses nothing", []string{"Content-Type: text/plain", "Set-Cookie: a=b", "Set-Cookie: c=d", "Vary: Accept"},
			[]string{"Content-Type: text/plain", "Set-Cookie: a=b", "Set-Cookie: c=d", "Vary: Accept"}},
		{"FWD-08: reserved names never go back", []string{"Client-Cert: a", "client_cert_chain: b", "X-Forwarded-Client-Cert: c", "X-Workload-Id: d", "A: b"}, []string{"A: b"}},
		{"hop-by-hop fields go, with what Connection names", []string{"Connection: X-A", "X-A: b", "Keep-Alive: timeout=5", "Upgrade: h2c", "Proxy-Authenticate: Basic", "X-B: c"}, []string{"X-B: c"}},
		{"FWD-08: Vary on the certificate becomes Vary on everything", []string{"Vary: Accept, client-cert", "Vary: Cookie"}, []string{"Vary: *"}},
		{"FWD-08: and on its chain", []string{"Vary: Accept", "Vary: Client-Cert-Chain"}, []string{"Vary: *"}},
		{"Vary on names like it does not", []string{"Vary: Client-Certificate"}, []string{"Vary: Client-Certificate"}},
		{"trailers are not announced", []string{"Trailer: X-Sum"}, nil},
	} {
		h := new(fasthttp.ResponseHeader)
		h.SetNoDefaultContentType(true)
		raw := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + strings.Join(tt.lines, "\r\n") + "\r\n\r\n"
		if err := h.Read(bufio.NewReader(strings.NewReader(raw))); err != nil {
			t.Fatal(err)
		}
		FilterResponse(h)
		var lines []string
		for _, line := range sent(h) {
			if !strings.HasPrefix(line, "Content-Length:") && !strings.HasPrefix(line, "Date:") {
				lines = append(lines, line)
			}
		}
		slices.Sort(lines)
		if !slices.Equal(lines, tt.want) {
			t.Errorf("%s: sends\n\t%q, want\n\t%q", tt.name, lines, tt.want)
		}
	}
}

func TestFilterResponseKeepsTheGatewaysWishToClose(t *testing.T) {
	t.Parallel()
	h := new(fasthttp.ResponseHeader)
	h.SetConnectionClose()
	FilterResponse(h)
	if !h.ConnectionClose() {
		t.Error("the connection would be kept open")
	}
}

func TestStripAndFilterDoNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	usual := request(t, "User-Agent: probe/1.0", "Accept: application/json", "Content-Type: application/json", "Authorization: Bearer abcdef",
		"Accept-Encoding: gzip", "Cookie: session=abc", "X-Request-Id: 7")
	response := new(fasthttp.ResponseHeader)
	response.Set("Content-Type", "application/json")
	response.Set("Cache-Control", "no-store")
	fields := make([]byte, 0, 256)
	for name, f := range map[string]func(){
		"StripRequest":    func() { StripRequest(usual, false) },
		"FilterResponse":  func() { FilterResponse(response) },
		"AppendForwarded": func() { AppendForwarded(fields, "192.0.2.7:49152", "pay.example") },
		"StripRequest with something to strip": func() {
			usual.Set("Connection", "x-a")
			usual.Set("X-A", "b")
			StripRequest(usual, false)
		},
	} {
		if n := testing.AllocsPerRun(500, f); n != 0 {
			t.Errorf("%s allocates %v times, want 0", name, n)
		}
	}
}
