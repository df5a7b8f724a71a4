package gateway_test

import (
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A response that is passed on as octets, with a Date or without, says what the same response
// says that is taken apart because it announces a trailer.
func TestResponsesAsOctets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	checkout := w.issue(checkoutID)
	const date = "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
	for _, tt := range []struct{ claim, fields, body string }{
		{"nothing to change", "Content-Type: text/plain\r\nServer: x\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\nX-Empty:\r\n", "ok"},
		{"no body", "", ""},
		{"FWD-08: the backend's word about identities", "Client-Cert: x\r\nX_Forwarded_Client_Cert: y\r\nX-Other: z\r\n", "ok"},
		{"FWD-08: what varies with the certificate", "Vary: Client-Cert\r\nX-Other: z\r\n", "ok"},
		{"what varies with something else", "Vary: Accept\r\n", "ok"},
		{"an id of its own", "X-Request-ID: theirs\r\nx-request-id: and once more\r\n", "ok"},
		{"FWD-01: hop-by-hop", "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-Other: z\r\n", "ok"},
		{"FWD-01: what Connection names", "Connection: keep-alive, X-Named\r\nX-Named: 1\r\n", "ok"},
		{"the end of the backend's connection", "Connection: close\r\n", "ok"},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			var got []http.Header
			for _, more := range []string{date, "", "Trailer: X-None\r\n"} {
				answer := "HTTP/1.1 200 OK\r\n" + more + tt.fields + "Content-Length: " + string('0'+byte(len(tt.body))) + "\r\n\r\n" + tt.body
				w.pay.answerWith(func(c net.Conn, _ *http.Request) {
					_, _ = io.WriteString(c, answer)
					if strings.Contains(tt.fields, "close") {
						c.Close()
					}
				})
				c := w.dial(checkout, "pay.example")
				c.t = t
				for range 2 { // the connection goes on
					r := c.do(get("pay.example", "/v1/x"))
					if r.StatusCode != 200 || r.body != tt.body || r.Close {
						t.Errorf("%d %q, close %v", r.StatusCode, r.body, r.Close)
					}
					if ids := r.Header.Values("X-Request-Id"); len(ids) != 1 || len(ids[0]) != 32 {
						t.Errorf("ids %q, want ours", ids)
					}
					if dates := r.Header.Values("Date"); len(dates) != 1 {
						t.Errorf("dates %q, want one", dates)
					}
					a := w.audit.request(t, r.id())
					if a.number("status") != 200 || a.text("decision") != "allowed" || a.number("bytes_out") < len(tt.body)+len("HTTP/1.1 200 OK") {
						t.Errorf("the record says %v", a)
					}
					r.Header.Del("X-Request-Id")
					r.Header.Del("Date")
					got = append(got, r.Header)
				}
			}
			for _, h := range got[1:] {
				if !reflect.DeepEqual(h, got[0]) {
					t.Errorf("as octets %v, taken apart %v", got[0], h)
				}
			}
		})
	}
}

// The last response on a connection says so, whoever wanted that.
func TestLastResponseAsOctets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	c := w.dial(w.issue(checkoutID), "pay.example")
	if r := c.do(get("pay.example", "/v1/x", "Connection: close")); r.StatusCode != 200 || !r.Close || r.body != "ok" {
		t.Errorf("%d %q, close %v", r.StatusCode, r.body, r.Close)
	}
	c.ended()
}

// What the backend gets of a header that is passed on as octets is what it gets of one that is
// taken apart because it has the state of no trace.
func TestRequestsAsOctets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	checkout := w.issue(checkoutID)
	for _, tt := range []struct {
		claim, host string
		method      string
		fields      []string
	}{
		{"nothing to change", "pay.example", "GET", []string{"User-Agent: x", "accept: */*", "Accept:  text/html ", "Cookie: a=b; c=d", "Content-Type: a/b", "X-Empty:"}},
		{"HEAD", "pay.example", "HEAD", []string{"User-Agent: x"}},
		{"a host with a port", "Pay.example:443", "GET", nil},
		{"a host with a dot", "pay.example.", "GET", nil},
		{"FWD-02: the caller's word about itself", "pay.example", "GET", []string{"Client-Cert: x", "X-Forwarded-For: 192.0.2.1", "X-Workload-Id: spiffe://prod.example/admin", "Forwarded: for=1", "X-Other: z"}},
		{"FWD-01: what Connection names", "pay.example", "GET", []string{"Connection: X-Named, keep-alive", "X-Named: 1", "X-Other: z"}},
		{"FWD-01: what Connection always says", "pay.example", "GET", []string{"connection: keep-alive", "Keep-Alive: 5", "TE: trailers", "Proxy-Authorization: Basic x", "X-Other: z"}},
		{"FWD-01: an upgrade", "pay.example", "GET", []string{"Connection: Upgrade, X-Named", "Upgrade: websocket", "x-named: 1", "X-Other: z"}},
		{"APP-10: a token for transactions", "pay.example", "GET", []string{"Txn-Token: x", "X-Other: z"}},
		{"APP-01: Connection names what must stay", "pay.example", "GET", []string{"Connection: Authorization, Host", "Authorization: Bearer x"}},
		{"FWD-02: every spelling", "pay.example", "GET", []string{"CLIENT-CERT-CHAIN: x", "x-ssl-client-verify: y", "SSL-Client-Cert: z", "x-forwarded-client-cert: w", "Proxy: p", "X-Real-IP: 192.0.2.1", "X-Other: z"}},
		{"AUD-09: baggage", "pay.example", "GET", []string{"Baggage: a=b", "X-Other: z"}},
		{"an id of its own", "pay.example", "GET", []string{"x-request-id: theirs"}},
		{"a trace", "pay.example", "GET", []string{"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}},
		{"a state without a trace", "pay.example", "GET", []string{"Tracestate: a=b"}},
		{"a length of nothing", "pay.example", "GET", []string{"Content-Length: 0"}},
		{"a method with a length of nothing", "pay.example", "POST", nil},
		{"a body", "pay.example", "GET", []string{"Content-Length: 4"}},
		{"a body in chunks", "pay.example", "GET", []string{"Transfer-Encoding: chunked"}},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			c := w.dial(checkout, "pay.example")
			c.t = t
			var got []map[string][]string
			for _, more := range [][]string{nil, {"Tracestate: a=b"}} {
				body, sent := "", ""
				switch {
				case slices.Contains(tt.fields, "Content-Length: 4"):
					body, sent = "body", "body"
				case slices.Contains(tt.fields, "Transfer-Encoding: chunked"):
					body, sent = "body", "4\r\nbody\r\n0\r\n\r\n"
				}
				if r := c.do(request(tt.method, tt.host, "/v1/x?a=%20b", "", append(more, tt.fields...)...) + sent); r.StatusCode != 200 {
					t.Fatalf("%d %s", r.StatusCode, r.body)
				}
				s := w.pay.next(t)
				if line, _, _ := strings.Cut(s.raw, "\r\n"); line != tt.method+" /v1/x?a=%20b HTTP/1.1" || s.body != body {
					t.Errorf("the backend got %q with %q", line, s.body)
				}
				if s.header(t, "X-Request-Id") == "theirs" || len(s.header(t, "Traceparent")) != 55 {
					t.Errorf("the backend got %q", s.raw)
				}
				got = append(got, fieldsOf(s))
			}
			if !maps.EqualFunc(got[0], got[1], slices.Equal) {
				t.Errorf("as octets  %q\ntaken apart %q", got[0], got[1])
			}
		})
	}
}

// fieldsOf returns the fields of a request by their names in lower case, without those that
// differ from one request to the next, and without what makes the gateway take it apart.
func fieldsOf(s seen) map[string][]string {
	fields := map[string][]string{}
	head, _, _ := strings.Cut(s.raw, "\r\n\r\n")
	for i, line := range strings.Split(head, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		name = strings.ToLower(name)
		if i > 0 && name != "x-request-id" && name != "traceparent" && name != "tracestate" {
			fields[name] = append(fields[name], strings.TrimSpace(value))
		}
	}
	return fields
}
