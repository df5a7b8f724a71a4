package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/gateway"
	"verigate/policy"
	"verigate/trust"
	"verigate/upstream"
	"verigate/workloadid"
)

// ROUTE-03 (test 9): who calls travels with the request, not with the connection.
func TestTwoCallersShareAnUpstreamConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	cart, other := w.dial(w.issue(cartID), "catalog.example"), w.dial(w.issue(checkoutID), "catalog.example")
	for range 3 {
		for _, call := range []struct {
			c  *client
			id string
		}{{cart, cartID}, {other, checkoutID}} {
			call.c.do(get("catalog.example", "/x"))
			s := w.catalog.next(t)
			if got := s.header(t, "X-Workload-Id"); got != call.id || s.conn != 1 {
				t.Errorf("connection %d carried a call by %s, want %s on connection 1", s.conn, got, call.id)
			}
		}
	}
}

// UP-01 (test 10): both the identity and the name of a backend have to be right.
func TestUpstreamThatIsSomebodyElse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		claim  string
		edit   func(*upstream.Options)
		reason string
	}{
		{"the right name with the wrong identity", func(o *upstream.Options) {
			o.Verify = upstream.Verify{Identity: must(workloadid.ParsePattern(catalogID))(t), DNSName: "pay.internal"}
		}, "upstream_identity"},
		{"the right identity with the wrong name", func(o *upstream.Options) { o.Verify.DNSName = "catalog.internal" }, "upstream_name"},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setting{upstream: tt.edit})
			c := w.dial(w.issue(checkoutID), "pay.example")
			r := c.do(get("pay.example", "/v1/x"))
			if r.StatusCode != 502 || r.reason() != tt.reason {
				t.Errorf("%d %s, want 502 %s", r.StatusCode, r.body, tt.reason)
			}
			w.pay.none(t)
			if a := w.audit.request(t, r.id()); a.text("decision") != "error" || a.text("reason") != tt.reason {
				t.Errorf("the record says %v", a)
			}
			if r.Close {
				t.Error("the caller's connection ends for what the backend did")
			}
		})
	}
}

// AUD-03, AUD-08: neither the audit log nor a metric has secrets or identities
// that do not belong there.
func TestNothingSecretIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	c := w.dial(w.issue(checkoutID), "pay.example")
	const canary = "c4n4ry"
	for _, send := range []string{
		request("POST", "pay.example", "/v1/x?token="+canary, "body="+canary, "Authorization: Bearer "+canary, "Workload-Identity-Token: "+canary,
			"Cookie: session="+canary, "Txn-Token: "+canary, "Traceparent: "+canary),
		get("pay.example", "/v2?token="+canary, "Proxy-Authorization: "+canary),
		get("pay.example", "/v1/../x?"+canary, "X-"+canary+": 1"),
	} {
		c.do(send)
	}
	w.close()
	if text := w.audit.text(); strings.Contains(text, canary) || !strings.Contains(text, checkoutID) {
		t.Errorf("the audit log has a secret, or lacks the caller:\n%s", text)
	}
	if metrics := w.metrics(); strings.Contains(metrics, canary) || strings.Contains(metrics, "checkout") && strings.Contains(metrics, "/sa/") {
		t.Errorf("the metrics have a secret or an identity:\n%s", metrics)
	}
}

// A listener that admits rejected callers tells them why and forwards nothing.
func TestAdmittedCallersAreToldWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{listener: func(o *gateway.ListenerOptions) { o.TLS.AdmitRejected = true }})
	impostor := must(w.partner.Issue(devpki.LeafOptions{URIs: []string{checkoutID}}))(t)
	for _, send := range []string{get("pay.example", "/v1/x"), request("POST", "pay.example", "/v1/x", "body", "Expect: 100-continue")} {
		c := w.dial(impostor, "pay.example")
		r := c.do(send)
		if r.StatusCode != 403 || r.reason() != "untrusted_chain" || !r.Close {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		a := w.audit.request(t, r.id())
		if a["authenticated"] != false || a.text("identity") != "" || a.text("claimed_identity") != checkoutID {
			t.Errorf("the record says %v", a)
		}
	}
	w.pay.none(t)
}

// A body that nobody will read is not asked for.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	head := "POST /v1/x HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"

	denied := w.dial(w.issue(cartID), "pay.example")
	if r := denied.do(head); r.StatusCode != 403 || !r.Close {
		t.Errorf("denied: %d %s", r.StatusCode, r.body)
	}
	granted := w.dial(w.issue(checkoutID), "pay.example")
	if r := granted.do(head); r.StatusCode != 100 {
		t.Fatalf("granted: %d %s", r.StatusCode, r.body)
	}
	granted.send("body")
	if r := granted.receive("POST"); r.StatusCode != 200 {
		t.Errorf("with its body: %d %s", r.StatusCode, r.body)
	}
	if s := w.pay.next(t); s.body != "body" || strings.Contains(s.raw, "Expect") {
		t.Errorf("the backend got %q", s.raw)
	}
	gone := w.dial(w.issue(checkoutID), "pay.example")
	if r := gone.do(head); r.StatusCode != 100 {
		t.Fatalf("granted: %d %s", r.StatusCode, r.body)
	}
	gone.Close()
	if a := w.audit.because(t, "client_gone"); a.text("identity") != checkoutID {
		t.Errorf("the record says %v", a)
	}
	w.close()
	if got := w.audit.count("request"); got != 3 {
		t.Errorf("AUD-01: 3 requests, %d records", got)
	}
}

// Whatever breaks off in the middle looks broken to the other side, and the record
// says whose fault it was.
func TestWhatBreaksOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{listener: func(o *gateway.ListenerOptions) { o.BodyTimeout = 300 * time.Millisecond }})
	checkout := w.issue(checkoutID)

	t.Run("a response of known length", func(t *testing.T) {
		w.pay.answerWith(func(c net.Conn, _ *http.Request) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 50000))
			c.Close()
		})
		c := w.dial(checkout, "pay.example")
		c.send(get("pay.example", "/v1/x"))
		r, err := c.tryReceive("GET")
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the client read %d octets and %v", len(r.body), err)
		}
		if a := w.audit.request(t, r.id()); a.text("reason") != "upstream_closed" || a.text("decision") != "error" || a.number("status") != 200 {
			t.Errorf("the record says %v", a)
		}
	})
	t.Run("a response in chunks", func(t *testing.T) {
		w.pay.answerWith(func(c net.Conn, _ *http.Request) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
			c.Close()
		})
		c := w.dial(checkout, "pay.example")
		c.send(get("pay.example", "/v1/x"))
		r, err := c.tryReceive("GET")
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the client read %q and %v", r.body, err)
		}
		if a := w.audit.request(t, r.id()); a.text("reason") != "upstream_closed" {
			t.Errorf("the record says %v", a)
		}
	})
	w.pay.answerWith(nil)
	t.Run("a request whose body stops", func(t *testing.T) {
		c := w.dial(checkout, "pay.example")
		r := c.do("POST /v1/x HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 15000))
		if r.StatusCode != 408 || r.reason() != "request_timeout" || !r.Close {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		if a := w.audit.request(t, r.id()); a.text("reason") != "request_timeout" || a.text("route") != "payments" {
			t.Errorf("the record says %v", a)
		}
	})
	t.Run("a request whose body stops early", func(t *testing.T) {
		c := w.dial(checkout, "pay.example")
		r := c.do("POST /v1/x HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 20\r\n\r\nx")
		if r.StatusCode != 408 || r.reason() != "request_timeout" {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		if a := w.audit.request(t, r.id()); a.text("identity") != checkoutID {
			t.Errorf("the record says %v", a)
		}
	})
	t.Run("a request whose client goes", func(t *testing.T) {
		c := w.dial(checkout, "pay.example")
		c.send("POST /v1/x HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 15000))
		c.Close()
		if a := w.audit.because(t, "client_gone"); a.text("route") != "payments" {
			t.Errorf("the record says %v", a)
		}
	})
	t.Run("a panic", func(t *testing.T) {
		broken := must(gateway.NewProgram(w.gateway.Program().Routes(), (*policy.Policy)(nil), backendsOf(w.newProgram(nil))))(t)
		w.gateway.Swap(broken)
		r := w.dial(checkout, "pay.example").do(get("pay.example", "/v1/x"))
		if r.StatusCode != 500 || r.reason() != "internal" || !r.Close {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		if a := w.audit.request(t, r.id()); a.text("reason") != "internal" || a.text("decision") != "error" {
			t.Errorf("the record says %v", a)
		}
	})
}

func backendsOf(p *gateway.Program) map[string]*gateway.Backend {
	all := map[string]*gateway.Backend{}
	for _, b := range p.Backends() {
		all[b.Upstream.Name()] = b
	}
	return all
}

// A client that is denied while it sends may go on for a while: were the
// connection closed at once, its next write would fail before it read why.
func TestDeniedUploadIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	c := w.dial(w.issue(cartID), "pay.example")
	const piece, pieces = 4 << 10, 40
	c.send("POST /v1/x HTTP/1.1\r\nHost: pay.example\r\nContent-Length: "+strconv.Itoa(piece*pieces)+"\r\n\r\n",
		strings.Repeat("x", 3*piece))
	if _, err := c.in.Peek(1); err != nil {
		t.Fatal(err)
	}
	for range pieces - 3 {
		c.send(strings.Repeat("x", piece))
	}
	if r := c.receive("POST"); r.StatusCode != 403 || !r.Close {
		t.Errorf("%d, close %v", r.StatusCode, r.Close)
	}
}

// What a client gets is what the backend said, by the rules of the version that
// the client speaks.
func TestForwardedResponses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	checkout := w.issue(checkoutID)
	large := strings.Repeat("0123456789abcdef", 64<<10)
	for _, tt := range []struct {
		claim, send, answer string
		status              int
		body                string
		encoding            []string
	}{
		{"HEAD has a length and no body", "HEAD /v1/x HTTP/1.1\r\nHost: pay.example\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", 200, "", nil},
		{"204 has no body", get("pay.example", "/v1/x"), "HTTP/1.1 204 No Content\r\n\r\n", 204, "", nil},
		{"304 has no body", get("pay.example", "/v1/x"), "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", 304, "", nil},
		{"a mebibyte", get("pay.example", "/v1/x"), fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(large), large), 200, large, nil},
		{"chunks", get("pay.example", "/v1/x"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, "abcde", []string{"chunked"}},
		{"chunks for HTTP/1.0 have a length", "GET /v1/x HTTP/1.0\r\nHost: pay.example\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, "abcde", nil},
		{"too many of them do not", "GET /v1/x HTTP/1.0\r\nHost: pay.example\r\n\r\n", fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n1\r\nx\r\n0\r\n\r\n", len(large), large), 505, "*", nil},
		{"nor does HTTP/1.0 hear of chunks where there is no body", "HEAD /v1/x HTTP/1.0\r\nHost: pay.example\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", nil},
		{"nor where nothing was modified", "GET /v1/x HTTP/1.0\r\nHost: pay.example\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, "", nil},
		{"HTTP/1.1 does", "HEAD /v1/x HTTP/1.1\r\nHost: pay.example\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", []string{"chunked"}},
		{"FWD-08: what varies with the certificate varies with everything", get("pay.example", "/v1/x"), "HTTP/1.1 200 OK\r\nVary: Client-Cert\r\nClient-Cert: x\r\nX-Request-Id: theirs\r\nContent-Length: 0\r\n\r\n", 200, "", nil},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			w.pay.answerWith(func(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, tt.answer) })
			c := w.dial(checkout, "pay.example")
			c.t = t
			r := c.do(tt.send)
			if r.StatusCode != tt.status || r.body != tt.body && tt.body != "*" {
				t.Errorf("%d with %d octets, want %d with %d", r.StatusCode, len(r.body), tt.status, len(tt.body))
			}
			if strings.Join(r.TransferEncoding, ",") != strings.Join(tt.encoding, ",") {
				t.Errorf("Transfer-Encoding %q, want %q", r.TransferEncoding, tt.encoding)
			}
			if strings.HasPrefix(tt.claim, "FWD-08") && (r.Header.Get("Vary") != "*" || r.Header.Get("Client-Cert") != "" || len(r.Header.Values("X-Request-Id")) != 1) {
				t.Errorf("the response has %v", r.Header)
			}
			if a := w.audit.request(t, r.id()); a.number("status") != tt.status || a.number("bytes_out") < len(tt.body) {
				t.Errorf("the record says %v", a)
			}
		})
	}
}

// TLS-18: what is served can be agreed on, and nothing else. Clients that say that they speak
// HTTP/1.0 alone, as `curl --http1.0` does, are served, too.
func TestApplicationProtocols(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	checkout := w.issue(checkoutID)
	const version10 = "GET /v1/x HTTP/1.0\r\nHost: pay.example\r\n\r\n"
	for _, tt := range []struct {
		offered []string
		agreed  string
		send    string // "" if the client is refused
	}{
		{nil, "", get("pay.example", "/v1/x")},
		{[]string{"http/1.1"}, "http/1.1", get("pay.example", "/v1/x")},
		{[]string{"http/1.0"}, "http/1.0", version10},
		{[]string{"http/1.0", "http/1.1"}, "http/1.1", get("pay.example", "/v1/x")},
		{[]string{"h2", "http/1.0"}, "http/1.0", version10},
		{[]string{"h2"}, "", ""},
		{[]string{"http/0.9"}, "", ""},
		{[]string{"ftp", "imap"}, "", ""}, // as another server's client offers (RFC 7301 §3.2)
	} {
		raw := must(net.Dial("tcp", w.address()))(t)
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(patience))
		config := w.config(checkout.TLS(), "pay.example")
		config.NextProtos = tt.offered
		c := &client{t, tls.Client(raw, config), nil}
		c.in = bufio.NewReader(c.Conn)
		err := c.Handshake()
		if tt.send == "" {
			if err == nil || !strings.Contains(err.Error(), "no application protocol") {
				t.Errorf("a client that offers %q: %v, want no application protocol", tt.offered, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("a client that offers %q is refused: %v", tt.offered, err)
			continue
		}
		if agreed := c.ConnectionState().NegotiatedProtocol; agreed != tt.agreed {
			t.Errorf("a client that offers %q gets %q, want %q", tt.offered, agreed, tt.agreed)
		}
		if r := c.do(tt.send); r.StatusCode != 200 {
			t.Errorf("a client that offers %q is answered with %d, want 200", tt.offered, r.StatusCode)
		}
	}
}

// Requests that come before their turn are answered in order.
func TestPipelining(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	c := w.dial(w.issue(checkoutID), "pay.example")
	c.send(get("pay.example", "/v1/1") + request("POST", "pay.example", "/v1/2", "two") + get("pay.example", "/none") + get("pay.example", "/v1/4"))
	for i, want := range []int{200, 200, 404, 200} {
		if r := c.receive("GET"); r.StatusCode != want {
			t.Errorf("response %d is %d, want %d", i+1, r.StatusCode, want)
		}
	}
	w.close()
	if got := w.audit.count("request"); got != 4 {
		t.Errorf("AUD-01: 4 requests, %d records", got)
	}
}

// A connection that waits gives up its buffers and is served again.
func TestParkedConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{listener: func(o *gateway.ListenerOptions) { o.IdleTimeout = time.Second }})
	c := w.dial(w.issue(checkoutID), "pay.example")
	for range 2 {
		timer := time.NewTimer(400 * time.Millisecond) // longer than a connection keeps its buffers
		if r := c.do(get("pay.example", "/v1/x")); r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		<-timer.C
	}
	if r := c.do(request("POST", "pay.example", "/v1/x", "body")); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	c.ended() // and ends, without a word, when nothing comes any more
}

// A drain ends idle connections at once, lets requests finish and cuts the rest.
func TestDrain(t *testing.T) {
	t.Parallel()
	t.Run("in flight and idle", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, setting{})
		release := make(chan struct{})
		w.pay.answerWith(func(c net.Conn, _ *http.Request) { <-release; _, _ = io.WriteString(c, plainAnswer) })
		idle, fresh, busy := w.dial(w.issue(cartID), "catalog.example"), w.dial(w.issue(cartID), "catalog.example"), w.dial(w.issue(checkoutID), "pay.example")
		idle.do(get("catalog.example", "/x"))
		busy.send(get("pay.example", "/v1/x"))
		w.pay.next(t)
		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			done <- w.gateway.Drain(ctx)
		}()
		idle.ended()
		fresh.ended()
		close(release)
		if r := busy.receive("GET"); r.StatusCode != 200 || !r.Close {
			t.Errorf("the request in flight: %d, close %v", r.StatusCode, r.Close)
		}
		if err := <-done; err != nil {
			t.Errorf("Drain: %v", err)
		}
		if c, err := net.Dial("tcp", w.address()); err == nil {
			c.Close()
			t.Error("it still accepts")
		}
	})
	t.Run("stuck", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, setting{})
		release := make(chan struct{})
		w.pay.answerWith(func(c net.Conn, _ *http.Request) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
			<-release
		})
		stuck := w.dial(w.issue(checkoutID), "pay.example")
		stuck.send(get("pay.example", "/v1/x"))
		w.pay.next(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := w.gateway.Drain(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Drain = %v, want %v", err, context.Canceled)
		}
		close(release)
		w.close()
		if got := w.audit.count("request"); got != 1 {
			t.Errorf("AUD-01: one request, %d records", got)
		}
	})
}

// Replacing the program under load costs no request, and every request has one
// record.
func TestSwapUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	leaf := w.issue(checkoutID)
	const clients, each = 8, 60
	var wg sync.WaitGroup
	var done atomic.Int64
	for range clients {
		c := w.dial(leaf, "pay.example")
		wg.Go(func() {
			for range each {
				if _, err := io.WriteString(c.Conn, request("POST", "pay.example", "/v1/x", "body")); err != nil {
					t.Errorf("send: %v", err)
					return
				}
				r, err := c.tryReceive("POST")
				if err != nil || r.StatusCode != 200 {
					t.Errorf("%v %v %s", err, r.Response, r.body)
					return
				}
				done.Add(1)
			}
		})
	}
	stop := make(chan struct{})
	var swaps sync.WaitGroup
	swaps.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				w.gateway.Swap(w.newProgram(nil))
				w.publish(trust.NewDenyList(trust.DenyOptions{Keys: []trust.Digest{{byte(done.Load())}}}))
			}
		}
	})
	wg.Wait()
	close(stop)
	swaps.Wait()
	w.close()
	if got := w.audit.count("request"); got != clients*each {
		t.Errorf("AUD-01: %d requests, %d records", clients*each, got)
	}
}

// Every code that a record can carry is in the list, once.
func TestReasons(t *testing.T) {
	t.Parallel()
	all := gateway.Reasons()
	for i, r := range all {
		if r == "" || i > 0 && all[i-1] >= r {
			t.Errorf("Reasons()[%d] = %q behind %q", i, r, all[max(0, i-1)])
		}
	}
	for _, tt := range calls() {
		if tt.reason != "" && !strings.Contains("\n"+strings.Join(all, "\n")+"\n", "\n"+tt.reason+"\n") {
			t.Errorf("%s is not among the reasons", tt.reason)
		}
	}
}

// Nothing is left of a gateway that was drained. Not parallel: it counts
// goroutines.
func TestNoGoroutineIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	w := newWorld(t, setting{})
	for range 4 {
		w.dial(w.issue(checkoutID), "pay.example").do(get("pay.example", "/v1/x"))
	}
	w.gateway.Swap(w.newProgram(nil))
	w.close()
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}
