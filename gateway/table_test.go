package gateway_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/verifycache"
)

// call is one row of the table: who asks for what, and what becomes of it.
type call struct {
	claim  string
	caller string // see callers
	sni    string // pay.example
	send   string

	status   int
	reason   string
	decision string   // allowed if status is 200 and it is left out
	route    string   // in the record
	backend  string   // who gets it: "pay", "catalog" or nobody
	saw      []string // parts of what the backend got
	missed   []string // what it must not have got
	closed   bool     // the gateway ends the connection
}

func calls() []call {
	const big = "X-Big: "
	return []call{
		{claim: "AUTHZ-01: a valid certificate with a rule is served", caller: "checkout", send: get("pay.example", "/v1/charge"),
			status: 200, route: "payments", backend: "pay", saw: []string{"GET /v1/charge HTTP/1.1\r\n", "Host: pay.example\r\n", "X-Forwarded-Proto: https\r\n", "X-Forwarded-Host: pay.example\r\n", "X-Forwarded-For: 127.0.0.1\r\n"}},
		{claim: "AUTHZ-01: a valid certificate without a rule is not", caller: "cart", send: get("pay.example", "/v1/charge"),
			status: 403, reason: "policy_denied", decision: "denied", route: "payments"},
		{claim: "AUTHZ-01: a route without rules serves nobody", caller: "checkout", sni: "catalog.example", send: get("catalog.example", "/nobody"),
			status: 403, reason: "policy_denied", decision: "denied", route: "nobody"},
		{claim: "AUTHZ-02: the same path of another trust domain is another caller", caller: "partner-checkout", send: get("pay.example", "/v1/charge"),
			status: 403, reason: "policy_denied", decision: "denied", route: "payments"},
		{claim: "AUTHZ-04: what the caller says about itself does not count", caller: "cart", send: get("pay.example", "/v1/charge", "X-Workload-Id: "+checkoutID, "X-Forwarded-Client-Cert: URI="+checkoutID),
			status: 403, reason: "policy_denied", decision: "denied", route: "payments"},
		{claim: "AUTHZ-05: the method counts", caller: "report", sni: "catalog.example", send: request("POST", "catalog.example", "/items", "x"),
			status: 403, reason: "method_not_allowed", decision: "denied", route: "by-caller"},
		{claim: "ASR-11: the assurance counts", caller: "report-assured", sni: "catalog.example", send: get("catalog.example", "/assured"),
			status: 403, reason: "assurance_insufficient", decision: "denied", route: "assured"},
		{claim: "ASR-11: and suffices where the issuer is vouched for", caller: "cart", sni: "catalog.example", send: get("catalog.example", "/assured"),
			status: 200, route: "assured", backend: "catalog", saw: []string{"X-Workload-Assurance: mial=2, "}},
		{claim: "AUTHZ-07: what is routed is forwarded, to the octet", caller: "checkout", send: get("pay.example", "/v1/a%20b;p=1?q=%2e%2e//..&r=[x]"),
			status: 200, route: "payments", backend: "pay", saw: []string{"GET /v1/a%20b;p=1?q=%2e%2e//..&r=[x] HTTP/1.1\r\n"}},
		{claim: "AUTHZ-07: a dot segment is refused", caller: "checkout", send: get("pay.example", "/v1/../admin"),
			status: 400, reason: "ambiguous_path", decision: "refused", closed: true},
		{claim: "AUTHZ-07: an encoded slash is refused", caller: "checkout", send: get("pay.example", "/v1%2fadmin"),
			status: 400, reason: "ambiguous_path", decision: "refused", closed: true},
		{claim: "AUTHZ-07: the path goes before the rest", caller: "checkout", send: get("pay.example", "/v1/admin"),
			status: 403, reason: "policy_denied", decision: "denied", route: "payments-admin"},

		{claim: "ROUTE-01: the caller chooses the upstream", caller: "report", sni: "catalog.example", send: get("catalog.example", "/items"),
			status: 200, route: "by-caller", backend: "pay"},
		{claim: "ROUTE-02: what no route matches goes nowhere", caller: "checkout", send: get("pay.example", "/v2"),
			status: 404, reason: "no_route", decision: "denied"},
		{claim: "ROUTE-02: nor does an unknown host", caller: "checkout", sni: "other.example", send: get("other.example", "/v1"),
			status: 404, reason: "no_route", decision: "denied"},
		{claim: "a header chooses a route", caller: "checkout", send: get("pay.example", "/v1/x", "X-Canary: yes"),
			status: 200, route: "canary", backend: "catalog"},
		{claim: "AUTHZ-07: a header that Connection has removed does not", caller: "checkout", send: get("pay.example", "/v1/x", "X-Canary: yes", "Connection: X-Canary"),
			status: 200, route: "payments", backend: "pay", missed: []string{"X-Canary"}},
		{claim: "nor does one that occurs in another spelling too", caller: "checkout", send: get("pay.example", "/v1/x", "X-Canary: yes", "X_Canary: no"),
			status: 200, route: "payments", backend: "pay"},
		{claim: "AUTHZ-07: parameters do not lead around a route", caller: "checkout", send: get("pay.example", "/v1/admin;x/users"),
			status: 404, reason: "no_route", decision: "denied"},
		{claim: "FWD-02: a dot in a reserved name is refused", caller: "checkout", send: get("pay.example", "/v1/x", "X.Workload.Id: forged"),
			status: 400, reason: "reserved_name", decision: "refused", closed: true},
		{claim: "a header that occurs twice does not", caller: "checkout", send: get("pay.example", "/v1/x", "X-Canary: yes", "X-Canary: no"),
			status: 200, route: "payments", backend: "pay"},
		{claim: "a query with a URL in it is a query", caller: "checkout", send: get("pay.example", "/v1/x?next=https://evil.example/y"),
			status: 200, route: "payments", backend: "pay", saw: []string{"GET /v1/x?next=https://evil.example/y HTTP/1.1\r\n"}},

		{claim: "TLS-10: a connection for one host does not reach another", caller: "cart", send: get("catalog.example", "/items"),
			status: 421, reason: "misdirected", decision: "refused"},
		{claim: "TLS-10: nor does one without SNI", caller: "cart", sni: "-", send: get("catalog.example", "/items"),
			status: 421, reason: "misdirected", decision: "refused"},
		{claim: "the case of a host does not matter", caller: "checkout", send: get("PAY.Example", "/v1/x"),
			status: 200, route: "payments", backend: "pay", saw: []string{"Host: PAY.Example\r\n"}},
		{claim: "nor does a port", caller: "checkout", send: get("pay.example:8443", "/v1/x"),
			status: 200, route: "payments", backend: "pay", saw: []string{"Host: pay.example:8443\r\n"}},
		{claim: "nor does the dot of the root, which the backend does not see", caller: "checkout", send: get("Pay.example.:8443", "/v1/x"),
			status: 200, route: "payments", backend: "pay", saw: []string{"Host: Pay.example:8443\r\n", "X-Forwarded-Host: pay.example\r\n"}},
		{claim: "an absolute target is made one of origin form", caller: "checkout", send: "GET https://pay.example/v1/x?y HTTP/1.1\r\nHost: pay.example\r\n\r\n",
			status: 200, route: "payments", backend: "pay", saw: []string{"GET /v1/x?y HTTP/1.1\r\n", "Host: pay.example\r\n"}},
		{claim: "an absolute target for another host is refused", caller: "checkout", send: "GET https://catalog.example/v1/x HTTP/1.1\r\nHost: pay.example\r\n\r\n",
			status: 400, reason: "host_mismatch", decision: "refused", closed: true},
		{claim: "OPTIONS * is for no upstream", caller: "checkout", send: "OPTIONS * HTTP/1.1\r\nHost: pay.example\r\n\r\n",
			status: 404, reason: "no_route", decision: "denied"},
		{claim: "HTTP/1.0 is served and the connection closed", caller: "checkout", send: "GET /v1/x HTTP/1.0\r\nHost: pay.example\r\n\r\n",
			status: 200, route: "payments", backend: "pay", saw: []string{"GET /v1/x HTTP/1.1\r\n"}, closed: true},
		{claim: "HTTP/1.0 may keep the connection", caller: "checkout", send: "GET /v1/x HTTP/1.0\r\nHost: pay.example\r\nConnection: keep-alive\r\n\r\n",
			status: 200, route: "payments", backend: "pay"},
		{claim: "Connection: close is honoured", caller: "checkout", send: get("pay.example", "/v1/x", "Connection: close"),
			status: 200, route: "payments", backend: "pay", missed: []string{"Connection:"}, closed: true},

		{claim: "FWD-01, FWD-02: what only a gateway may say is dropped, in every case and number", caller: "checkout",
			send: get("pay.example", "/v1/x", "Client-Cert: :Zm9v:", "client-cert: :YmFy:", "CLIENT-CERT-CHAIN: :Zm9v:", "x-forwarded-client-cert: URI=spiffe://prod.example/forged",
				"X-Workload-Id: forged", "X-Forwarded-For: 10.9.8.7", "Forwarded: for=10.9.8.7", "X-Real-Ip: 10.9.8.7", "X-Ssl-Client-Verify: forged", "Ssl-Client-Cert: forged"),
			status: 200, route: "payments", backend: "pay", saw: []string{"X-Workload-Id: " + checkoutID + "\r\n"}, missed: []string{"Zm9v", "YmFy", "forged", "10.9.8.7"}},
		{claim: "FWD-02: an underscore in such a name is refused", caller: "checkout", send: get("pay.example", "/v1/x", "client_cert: :Zm9v:"),
			status: 400, reason: "reserved_name", decision: "refused", closed: true},
		{claim: "an underscore in the name of the request id too", caller: "checkout", send: get("pay.example", "/v1/x", "X_Request_ID: forged"),
			status: 400, reason: "reserved_name", decision: "refused", closed: true},
		{claim: "FWD-03: Connection does not remove what we add", caller: "checkout",
			send:   get("pay.example", "/v1/x", "Connection: close, Client-Cert, X-Workload-Id, X-Request-Id, X-Own", "X-Own: mine"),
			status: 200, route: "payments", backend: "pay", saw: []string{"Client-Cert: :MII", "X-Workload-Id: " + checkoutID, "X-Request-Id: "}, missed: []string{"mine"}, closed: true},
		{claim: "FWD-01: a trailer cannot carry it", caller: "checkout",
			send:   "POST /v1/x HTTP/1.1\r\nHost: pay.example\r\nTransfer-Encoding: chunked\r\nTrailer: Client-Cert\r\n\r\n2\r\nhi\r\n0\r\nClient-Cert: :Zm9v:\r\n\r\n",
			status: 400, reason: "trailer_forbidden", decision: "refused", closed: true},
		{claim: "FWD-13, APP-01: what is end to end passes to the octet", caller: "checkout",
			send:   get("pay.example", "/v1/x", "Workload-Identity-Token: a.b.c", "Workload-Proof-Token: d.e.f", "Signature: sig=:AA==:", "Authorization: Bearer tok", "Txn-Token: same-domain"),
			status: 200, route: "payments", backend: "pay",
			saw: []string{"Workload-Identity-Token: a.b.c\r\n", "Workload-Proof-Token: d.e.f\r\n", "Signature: sig=:AA==:\r\n", "Authorization: Bearer tok\r\n", "Txn-Token: same-domain\r\n"}},
		{claim: "APP-10: a Txn-Token from another trust domain does not", caller: "report", sni: "catalog.example", send: get("catalog.example", "/items", "Txn-Token: foreign"),
			status: 200, route: "by-caller", backend: "pay", missed: []string{"foreign"}},
		{claim: "AUD-09: the trace is continued and baggage dropped", caller: "checkout",
			send:   get("pay.example", "/v1/x", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate: a=1", "baggage: secret=1"),
			status: 200, route: "payments", backend: "pay", saw: []string{"Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-", "Tracestate: a=1\r\n"}, missed: []string{"00f067aa0ba902b7", "secret=1"}},
		{claim: "AUD-09: a state without a trace is dropped", caller: "checkout", send: get("pay.example", "/v1/x", "traceparent: nonsense", "tracestate: a=1"),
			status: 200, route: "payments", backend: "pay", saw: []string{"Traceparent: 00-"}, missed: []string{"a=1", "nonsense"}},
		{claim: "AUD-09: so is one that is too long", caller: "checkout",
			send:   get("pay.example", "/v1/x", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate: a="+strings.Repeat("1", 300), "tracestate: b="+strings.Repeat("2", 300)),
			status: 200, route: "payments", backend: "pay", missed: []string{"a=1", "b=2"}},
		{claim: "AUD-09: two traces are none", caller: "checkout",
			send:   get("pay.example", "/v1/x", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "traceparent: 00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
			status: 200, route: "payments", backend: "pay", missed: []string{"4bf92f", "5bf92f"}},
		{claim: "every request id of the caller is replaced", caller: "checkout", send: get("pay.example", "/v1/x", "X-Request-Id: forged-1", "x-request-id: forged-2"),
			status: 200, route: "payments", backend: "pay", missed: []string{"forged"}},
		{claim: "protocols are not switched", caller: "checkout", send: get("pay.example", "/v1/x", "Connection: Upgrade", "Upgrade: h2c"),
			status: 200, route: "payments", backend: "pay", missed: []string{"h2c"}},

		{claim: "a body is forwarded", caller: "checkout", send: request("POST", "pay.example", "/v1/x", "0123456789"),
			status: 200, route: "payments", backend: "pay", saw: []string{"Content-Length: 10\r\n", "\r\n\r\n0123456789"}},
		{claim: "a body in chunks is forwarded, its extensions are not", caller: "checkout",
			send:   "POST /v1/x HTTP/1.1\r\nHost: pay.example\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n",
			status: 200, route: "payments", backend: "pay", saw: []string{"Transfer-Encoding: chunked\r\n"}, missed: []string{"ext=1", "X-Trailer"}},
		{claim: "a malformed body is refused", caller: "checkout",
			send:   "POST /v1/x HTTP/1.1\r\nHost: pay.example\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
			status: 400, reason: "chunk_size", decision: "refused", route: "payments", closed: true},
		{claim: "a denied body of moderate size does not end the connection", caller: "cart", send: request("POST", "pay.example", "/v1/x", "0123456789"),
			status: 403, reason: "policy_denied", decision: "denied", route: "payments"},
		{claim: "what nobody read of a body is not the next request", caller: "cart",
			send:   "POST /v1/x HTTP/1.1\r\nHost: pay.example\r\nTransfer-Encoding: chunked\r\n\r\n2b\r\nGET /v1/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n0\r\n\r\n",
			status: 403, reason: "policy_denied", decision: "denied", route: "payments", closed: true},
		{claim: "two lengths are refused", caller: "checkout", send: get("pay.example", "/v1/x", "Content-Length: 1", "Content-Length: 1"),
			status: 400, reason: "content_length_duplicate", decision: "refused", closed: true},
		{claim: "a header that is too large is refused, and the client can read why", caller: "checkout", send: get("pay.example", "/v1/x", big+strings.Repeat("x", 17<<10)),
			status: 431, reason: "header_too_large", decision: "refused", closed: true},
	}
}

func TestTableOfCalls(t *testing.T) {
	t.Parallel()
	bothCaches(t, func(t *testing.T, cache verifycache.Options) {
		w := newWorld(t, setting{cache: cache})
		callers := map[string]*devpki.Leaf{
			"checkout": w.issue(checkoutID), "cart": w.issue(cartID),
			"report":           must(w.partner.Issue(devpki.LeafOptions{URIs: []string{reportID}}))(t),
			"report-assured":   must(w.partner.Issue(devpki.LeafOptions{URIs: []string{"spiffe://partner.example/ns/x/sa/y"}}))(t),
			"partner-checkout": must(w.partner.Issue(devpki.LeafOptions{URIs: []string{"spiffe://partner.example/ns/shop/sa/checkout"}}))(t),
		}
		backends := map[string]*backend{"pay": w.pay, "catalog": w.catalog}
		n := 0
		for _, tt := range calls() {
			t.Run(tt.claim, func(t *testing.T) {
				n++
				leaf := callers[tt.caller]
				sni := map[string]string{"": "pay.example", "-": ""}[tt.sni]
				if tt.sni != "" && tt.sni != "-" {
					sni = tt.sni
				}
				c := w.dial(leaf, sni)
				defer c.Close()
				c.t = t
				r := c.do(tt.send)
				if r.StatusCode != tt.status || r.reason() != tt.reason {
					t.Fatalf("%q: %d %q, want %d %q", tt.send, r.StatusCode, r.reason(), tt.status, tt.reason)
				}
				if tt.closed != r.Close {
					t.Errorf("Connection: close is %v, want %v", r.Close, tt.closed)
				}
				if r.Header.Get("Date") == "" {
					t.Errorf("the response has no Date")
				}
				if len(r.Header.Values("X-Request-Id")) != 1 {
					t.Errorf("X-Request-Id: %q, want one", r.Header.Values("X-Request-Id"))
				}
				for name, b := range backends {
					if name != tt.backend {
						if tt.reason != "trailer_forbidden" && tt.reason != "chunk_size" { // begun before it was seen
							b.none(t)
						}
						continue
					}
					s := b.next(t)
					for _, part := range tt.saw {
						if !strings.Contains(s.raw, part) {
							t.Errorf("the backend got\n%s\nwithout %q", s.raw, part)
						}
					}
					for _, part := range tt.missed {
						if strings.Contains(s.raw, part) {
							t.Errorf("the backend got\n%s\nwith %q", s.raw, part)
						}
					}
					if got := s.header(t, "X-Request-Id"); got != r.id() {
						t.Errorf("the backend was told %s, the caller %s", got, r.id())
					}
					if s.peer != edgeID {
						t.Errorf("UP-10: the backend authenticated %s", s.peer)
					}
					if got, want := s.header(t, "X-Workload-Id"), leaf.Chain[0].URIs[0].String(); got != want {
						t.Errorf("the backend was told that %s calls, not %s", got, want)
					}
				}
				decision := tt.decision
				if decision == "" {
					decision = "allowed"
				}
				a := w.audit.request(t, r.id())
				if a.text("decision") != decision || a.text("reason") != tt.reason || a.number("status") != tt.status || a.text("route") != tt.route {
					t.Errorf("the record says %v", a)
				}
				if a.text("identity") != leaf.Chain[0].URIs[0].String() {
					t.Errorf("the record says that %q called", a.text("identity"))
				}
				if tt.closed {
					_ = c.CloseWrite() // a client that was told so says goodbye as well
					c.ended()
					return
				}
				// The connection is as good as before: whatever was left of the request
				// has not become another one.
				if again := c.do(get("pay.example", "/nowhere")); again.StatusCode != 404 && again.StatusCode != 421 {
					t.Errorf("afterwards: %d %s", again.StatusCode, again.body)
				}
				n++
			})
		}
		w.close()
		if got := w.audit.count("request"); got != n {
			t.Errorf("AUD-01: %d requests, %d records", n, got)
		}
	})
}

// refused are handshakes that must not authenticate anybody.
func TestRefusedHandshakes(t *testing.T) {
	t.Parallel()
	bothCaches(t, func(t *testing.T, cache verifycache.Options) {
		w := newWorld(t, setting{cache: cache})
		victim := w.issue(checkoutID)
		thief := must(devpki.NewKey(devpki.P256))(t)
		stolen := victim.TLS()
		stolen.PrivateKey = thief
		uris := func(uris ...string) tls.Certificate {
			return must(w.prod.Issue(devpki.LeafOptions{URIs: uris}))(t).TLS()
		}
		// The victim connects first: that its chain is known must not help the thief.
		if r := w.dial(victim, "pay.example").do(get("pay.example", "/v1/x")); r.StatusCode != 200 {
			t.Fatalf("the victim itself: %d %s", r.StatusCode, r.body)
		}
		w.pay.next(t)
		n := 1
		for _, tt := range []struct {
			claim       string
			certificate tls.Certificate
			reason      string
		}{
			{"test 1: a CA of one domain issues for another",
				must(w.partner.Issue(devpki.LeafOptions{URIs: []string{checkoutID}}))(t).TLS(), "untrusted_chain"},
			{"test 2: a root as a client",
				tls.Certificate{Certificate: [][]byte{w.prodRoot.Certificate.Raw}, PrivateKey: w.prodRoot.Key}, "identifier_count"},
			{"test 3: a scheme in capitals", uris("SPIFFE://prod.example/ns/shop/sa/checkout"), "identifier_syntax"},
			{"test 3: a fragment", uris(checkoutID + "#"), "identifier_syntax"},
			{"test 4: two identifiers", uris(checkoutID, cartID), "identifier_count"},
			{"test 6: somebody else's chain", stolen, "pop_failed"},
		} {
			t.Run(tt.claim, func(t *testing.T) {
				n++
				c := w.dialAs(tt.certificate, "pay.example")
				_, _ = io.WriteString(c.Conn, get("pay.example", "/v1/x"))
				if r, err := c.tryReceive("GET"); err == nil {
					t.Fatalf("it was answered: %d", r.StatusCode)
				}
				a := w.audit.find(t, tt.claim, func(r record) bool { return r.text("event") == "handshake" && r.text("reason") == tt.reason })
				if a["authenticated"] != false || a.text("identity") != "" {
					t.Errorf("AUD-10: the record says %v", a)
				}
				w.pay.none(t)
			})
		}
		// And the victim is none the worse.
		if r := w.dial(victim, "pay.example").do(get("pay.example", "/v1/x")); r.StatusCode != 200 {
			t.Errorf("the victim after the thief: %d %s", r.StatusCode, r.body)
		}
		n++
		w.close()
		if got := w.audit.count("handshake"); got != n {
			t.Errorf("AUD-01: %d handshakes, %d records", n, got)
		}
	})
}

// Test 5: a gateway that has no tickets of its own sends none.
func TestNoTicketIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	config := w.config(w.issue(checkoutID).TLS(), "pay.example")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for range 2 {
		c := must(tls.Dial("tcp", w.address(), config))(t)
		defer c.Close()
		_, _ = io.WriteString(c, get("pay.example", "/v1/x"))
		buffer := make([]byte, 1024)
		must(c.Read(buffer))(t) // a ticket would come before the response
		if c.ConnectionState().DidResume {
			t.Error("the second connection resumed the first")
		}
	}
}

// Test 7: what is conveyed is the path of this chain, not that of the same leaf
// with another.
func TestSameLeafWithOtherIntermediates(t *testing.T) {
	t.Parallel()
	bothCaches(t, func(t *testing.T, cache verifycache.Options) {
		w := newWorld(t, setting{cache: cache})
		leaf := w.issue(checkoutID)
		junk := must(devpki.NewRoot(devpki.CAOptions{Name: "junk"}))(t)
		chains := map[string][]*x509.Certificate{
			"as issued":           leaf.Chain,
			"with a junk CA":      append(append([]*x509.Certificate{}, leaf.Chain...), junk.Certificate),
			"with the anchor too": append(append([]*x509.Certificate{}, leaf.Chain...), w.prodRoot.Certificate),
		}
		var first string
		for range 2 {
			for name, chain := range chains {
				c := w.dialAs((&devpki.Leaf{Chain: chain, Key: leaf.Key}).TLS(), "pay.example")
				if r := c.do(get("pay.example", "/v1/x")); r.StatusCode != 200 {
					t.Fatalf("%s: %d %s", name, r.StatusCode, r.body)
				}
				got := w.pay.next(t).header(t, "Client-Cert-Chain")
				if first == "" {
					first = got
				}
				if got != first || strings.Count(got, ":") != 2 {
					t.Errorf("FWD-05: %s conveys %q, want the one issuer %q", name, got, first)
				}
			}
		}
		// Without its intermediate there is no path, however often there was one.
		c := w.dialAs((&devpki.Leaf{Chain: leaf.Chain[:1], Key: leaf.Key}).TLS(), "pay.example")
		_, _ = io.WriteString(c.Conn, get("pay.example", "/v1/x"))
		if r, err := c.tryReceive("GET"); err == nil {
			t.Errorf("without the intermediate: %d", r.StatusCode)
		}
	})
}

// REV-06: a connection ends with the certificate of the caller.
func TestConnectionEndsWithItsCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	end := time.Now().Add(2 * time.Second)
	leaf := must(w.prod.Issue(devpki.LeafOptions{URIs: []string{checkoutID}, NotAfter: end}))(t)
	c := w.dial(leaf, "pay.example")
	if r := c.do(get("pay.example", "/v1/x")); r.StatusCode != 200 {
		t.Fatalf("before its end: %d %s", r.StatusCode, r.body)
	}
	if _, err := c.in.ReadByte(); err == nil || errors.Is(err, io.ErrNoProgress) {
		t.Errorf("an idle connection got octets")
	}
	if late := time.Since(end); late > 5*time.Second {
		t.Errorf("the connection ended %v after its certificate", late)
	}
}
