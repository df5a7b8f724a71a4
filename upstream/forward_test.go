package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/devpki"
	"verigate/policy"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestForwardNeedsAGrantForThisUpstream(t *testing.T) {
	t.Parallel()
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) { t.Error("the backend was connected") })
	u := open(t, plainOptions(ln.addr()))
	for name, grant := range map[string]policy.Grant{
		"the zero grant":         {},
		"one for other upstream": grantFor(t, "accounts"),
	} {
		if _, _, _, err := forwardGranted(u, grant, nil); reasonOf(err) != ReasonGrant {
			t.Errorf("with %s Forward() = %v, want reason %s", name, err, ReasonGrant)
		}
	}
}

// AUTHZ-07, APP-08.
func TestRequestLineIsForwardedOctetForOctet(t *testing.T) {
	t.Parallel()
	lines := make(chan string, 1)
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for {
			head, _ := readRequest(in)
			if head == "" {
				return
			}
			line, _, _ := strings.Cut(head, "\r\n")
			lines <- line
			io.WriteString(c, ok)
		}
	})
	u := open(t, plainOptions(ln.addr()))
	proxy := gateway(t, u)
	c, in := connect(t, proxy)
	for _, target := range []string{
		"/", "//", "//a//b", "/a%2fb", "/a%2Fb", "/%7e", "/~", "/a/../b", "/a/./b", "/a/..", "/?", "/a?", "/a?b=c?d#", "/a?b=%zz",
		"/%zz", "/a;b=c", "/a b"[:2] + "+b", "/%C3%A4", "/a:b@c", "/?http://b/", "/a\\b", "/'\"<>", "/http://other.example/",
	} {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: pay.example\r\n\r\n", target)
		if status, _ := readResponse(t, in); status != 200 {
			t.Fatalf("for %s the gateway answered %d", target, status)
		}
		if got, want := <-lines, "GET "+target+" HTTP/1.1"; got != want {
			t.Errorf("the backend received %q, want %q", got, want)
		}
	}
}

// Framing and targets are forwarded as they were judged.
func TestRequestHeaderIsForwardedWithoutAdditions(t *testing.T) {
	t.Parallel()
	requests := make(chan string, 1)
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for {
			head, body := readRequest(in)
			if head == "" {
				return
			}
			requests <- head + body
			io.WriteString(c, ok)
		}
	})
	u := open(t, plainOptions(ln.addr()))
	for _, tt := range []struct{ name, in, want string }{
		{"nothing is added",
			"GET /a HTTP/1.1\r\nHost: Pay.example:443\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: Pay.example:443\r\n\r\n"},
		{"cookies keep their octets",
			"GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b;c; d=\"e\"\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b;c; d=\"e\"\r\n\r\n"},
		{"Expect stays here",
			"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"},
		{"a POST without a body says so",
			"POST / HTTP/1.1\r\nHost: h\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"},
		{"a GET may have a body",
			"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
			"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"},
		{"a body without a type gets none",
			"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
			"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"},
		{"chunks are made anew and extensions dropped",
			"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n0\r\n\r\n"},
		{"trailers are dropped, and their announcement removes no field",
			"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Id\r\nX-Id: me\r\n\r\n0\r\nX-Id: you\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nX-Id: me\r\n\r\n0\r\n\r\n"},
		{"HTTP/1.0 ends here",
			"GET / HTTP/1.0\r\nHost: h\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"the caller's Connection: close is the caller's",
			"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
	} {
		c, in := connect(t, gateway(t, u))
		io.WriteString(c, tt.in)
		if status, _ := readResponse(t, in); status != 200 {
			t.Fatalf("%s: the gateway answered %d", tt.name, status)
		}
		if got := <-requests; got != tt.want {
			t.Errorf("%s: the backend received\n%q, want\n%q", tt.name, got, tt.want)
		}
	}
	if n := ln.accepted.Load(); n != 1 {
		t.Errorf("%d connections were made to the backend, want 1", n)
	}
}

// ROUTE-03.
func TestCallersShareAConnectionAndKeepTheirIdentity(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), func(ctx *fasthttp.RequestCtx) {
		ctx.SetBody(ctx.Request.Header.Peek("X-Workload-Id"))
	})
	u := open(t, d.options(t, ln.addr()))
	for i, caller := range []string{"spiffe://prod.example/a", "spiffe://prod.example/b", "", "spiffe://prod.example/a"} {
		_, body, result, err := forward(t, u, func(req *fasthttp.Request) {
			if caller != "" {
				req.Header.Set("X-Workload-Id", caller)
			}
		})
		if err != nil || body != caller || result.Reused != (i > 0) {
			t.Errorf("the backend saw %q (reused %v, error %v), want %q on the one connection", body, result.Reused, err, caller)
		}
	}
	if n := ln.accepted.Load(); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
}

// Many callers at once, while trust is published again and again, get their own
// answers. Mostly of use with the race detector.
func TestConcurrentCallersGetTheirOwnAnswers(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), func(ctx *fasthttp.RequestCtx) {
		ctx.SetBodyStream(strings.NewReader(string(ctx.RequestURI())), chunked)
	})
	o := d.options(t, ln.addr(), ln.addr())
	o.Balance = "least_request"
	u := open(t, o)
	grant := grantFor(t, "pay")
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for i := range 25 {
				want := fmt.Sprintf("/%d/%d", caller, i)
				_, body, _, err := forwardGranted(u, grant, func(req *fasthttp.Request) { req.SetRequestURI(want) })
				if body != want || err != nil {
					t.Errorf("the answer to %s is %q, %v", want, body, err)
				}
			}
		})
	}
	for range 25 {
		d.publish(t, nil, d.bundle)
		u.sweep(time.Now())
		u.Status()
	}
	callers.Wait()
	for _, e := range u.Status().Endpoints {
		if e.InFlight != 0 {
			t.Errorf("%d requests are counted as in flight afterwards", e.InFlight)
		}
	}
}

// sized returns a response with body that is n octets long.
func sized(n int, body string) string {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX: ", len(body))
	return head + strings.Repeat("x", n-len(head)-len("\r\n\r\n")-len(body)) + "\r\n\r\n" + body
}

func TestResponses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method, response string
		status                 int
		body                   string
		reason                 string // from Forward
		broken                 string // reason from the body stream
		pooled                 bool   // the connection serves another request
	}{
		{name: "a length", response: ok, status: 200, body: "ok", pooled: true},
		{name: "length zero", response: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200, pooled: true},
		{name: "chunks", response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n",
			status: 200, body: "abc0123456789", pooled: true},
		{name: "chunks with a trailer", response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n",
			status: 200, body: "ab", pooled: true},
		{name: "until the end of the connection", response: "HTTP/1.1 200 OK\r\n\r\nall of it", status: 200, body: "all of it"},
		{name: "HTTP/1.0", response: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		{name: "the backend wants to close", response: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		{name: "in capitals, in a list", response: "HTTP/1.1 200 OK\r\nConnection: X-A, Close\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		{name: "no content", response: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, pooled: true},
		{name: "no content, and a length all the same", response: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", status: 204, pooled: true},
		{name: "not modified, with the length it would have", response: "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", status: 304, pooled: true},
		{name: "HEAD", method: "HEAD", response: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", status: 200, pooled: true},
		{name: "interim responses are dropped", response: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok, status: 200, body: "ok", pooled: true},
		{name: "a second response that nobody asked for", response: ok + ok, status: 200, body: "ok"},
		{name: "octets behind the body", response: ok + "!", status: 200, body: "ok"},
		{name: "HEAD and a body all the same", method: "HEAD", response: ok, status: 200},
		{name: "no content, and a body all the same", response: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", status: 204},
		{name: "not modified, and a body all the same", response: "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok", status: 304},
		{name: "reset content", response: "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", status: 205, pooled: true},
		{name: "a status nobody knows", response: "HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok", status: 999, body: "ok", pooled: true},
		{name: "an interim response that says close", response: "HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n" + ok, status: 200, body: "ok", pooled: true},
		{name: "an interim response with a length", response: "HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n" + ok, status: 200, body: "ok", pooled: true},
		{name: "an interim response before the last one", response: "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		{name: "as many interim responses as may be", response: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", maxInterim-1) + ok, status: 200, body: "ok", pooled: true},
		{name: "a status between", response: "HTTP/1.1 199 Odd\r\n\r\n" + ok, status: 200, body: "ok", pooled: true},
		{name: "a header that fills the buffer", response: sized(bufferBytes, ""), status: 200, pooled: true},
		{name: "a response that fills the buffer", response: sized(bufferBytes, "ok"), status: 200, body: "ok", pooled: true},
		{name: "a body that does not fit behind its header", response: sized(bufferBytes+1, "ok"), status: 200, body: "ok", pooled: true},
		{name: "an interim response and one that fills the buffer", response: "HTTP/1.1 102 Processing\r\n\r\n" + sized(bufferBytes, "ok"), status: 200, body: "ok", pooled: true},
		{name: "a body larger than the buffer", response: "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 20000), status: 200, body: strings.Repeat("x", 20000), pooled: true},

		{name: "switching protocols", response: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", reason: ReasonProtocol},
		{name: "interim responses without end", response: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", maxInterim+1), reason: ReasonProtocol},
		{name: "a header that is too large", response: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", bufferBytes) + "\r\n\r\n", reason: ReasonProtocol},
		{name: "a header that is too large by one", response: sized(bufferBytes+1, ""), reason: ReasonProtocol},
		{name: "as many interim responses as may not be", response: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", maxInterim) + ok, reason: ReasonProtocol},
		{name: "an interim response with a body", response: "HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nok" + ok, reason: ReasonProtocol},
		{name: "a header that ends in bare line feeds", response: "HTTP/1.1 200 OK\nContent-Length: 0\n\n", reason: ReasonProtocol},
		{name: "a header that ends in one bare line feed", response: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\nok\r\n\r\nmore", reason: ReasonProtocol},
		{name: "an interim response that ends in a bare line feed", response: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\n" + ok, reason: ReasonProtocol},
		{name: "bare line feeds throughout", response: "HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok", reason: ReasonProtocol},
		{name: "no HTTP", response: "SSH-2.0-OpenSSH_9.0\r\n\r\n", reason: ReasonProtocol},
		{name: "a status below 100", response: "HTTP/1.1 099 Odd\r\n\r\n", reason: ReasonProtocol},
		{name: "two lengths", response: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", reason: ReasonProtocol},
		{name: "an unknown coding", response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", reason: ReasonProtocol},
		{name: "nothing", response: "", reason: ReasonClosed},
		{name: "half a header", response: "HTTP/1.1 200 OK\r\nContent-Le", reason: ReasonClosed},
		{name: "an interim response and nothing more", response: "HTTP/1.1 100 Continue\r\n\r\n", reason: ReasonClosed},

		{name: "less than the length", response: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", status: 200, broken: ReasonClosed},
		{name: "a chunk that is cut off", response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", status: 200, broken: ReasonClosed},
		{name: "no last chunk", response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", status: 200, broken: ReasonClosed},
		{name: "no end of the trailer", response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n", status: 200, broken: ReasonClosed},
		{name: "a chunk longer than its size", response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", status: 200, broken: ReasonProtocol},
		{name: "a chunk size that is none", response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", status: 200, broken: ReasonProtocol},
		{name: "no chunk size", response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", status: 200, broken: ReasonProtocol},
		{name: "a chunk size beyond all bounds", response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello\r\n0\r\n\r\n", status: 200, broken: ReasonProtocol},
		{name: "a bare line feed", response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", status: 200, broken: ReasonProtocol},
		{name: "a trailer without bounds", response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 20) + "\r\n",
			status: 200, broken: ReasonProtocol},
	} {
		bothWays(t, tt.name, func(t *testing.T, forward way) {
			ln := script(t, func(n int, c net.Conn, in *bufio.Reader) {
				readRequest(in)
				io.WriteString(c, tt.response)
				if tt.pooled {
					if head, _ := readRequest(in); head != "" {
						io.WriteString(c, ok)
					}
				}
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, in) // a reset could overtake what was sent
			})
			u := open(t, plainOptions(ln.addr()))
			status, body, _, err := forward(t, u, func(req *fasthttp.Request) {
				if tt.method != "" {
					req.Header.SetMethod(tt.method)
				}
			})
			if want := tt.reason + tt.broken; reasonOf(err) != want || status != tt.status {
				t.Fatalf("Forward() = %d, %q, %v, want %d, reason %q", status, body, err, tt.status, want)
			}
			if err == nil && body != tt.body {
				t.Errorf("the body is %q, want %q", body, tt.body)
			}
			idle := u.Status().Endpoints[0].Idle
			if want := map[bool]int{true: 1}[tt.pooled]; idle != want {
				t.Errorf("%d connections are idle afterwards, want %d", idle, want)
			}
			if tt.pooled {
				if _, body, result, err := forward(t, u, nil); body != "ok" || !result.Reused || err != nil {
					t.Errorf("the next request got %q, reused %v, %v", body, result.Reused, err)
				}
			}
		})
	}
}

// A body that broke off never looks complete to the caller.
func TestBrokenResponseBodyBreaksTheCallersConnection(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]string{
		"length": "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\npart",
		"chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
		"syntax": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npartial\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
				readRequest(in)
				io.WriteString(c, response)
			})
			c, in := connect(t, gateway(t, open(t, plainOptions(ln.addr()))))
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			octets, err := io.ReadAll(in) // ends only because the gateway closes
			if err != nil {
				t.Fatal(err)
			}
			if got := string(octets); strings.HasSuffix(got, "0\r\n\r\n") {
				t.Errorf("the caller received a complete body: %q", got)
			}
		})
	}
}

// FWD-03: a body that broke off never looks complete to the backend.
func TestBrokenRequestBodyNeverLooksComplete(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 40<<10)
	failing := func(octets string) io.Reader {
		return io.MultiReader(strings.NewReader(octets), iotest.ErrReader(errors.New("malformed chunk")))
	}
	for _, tt := range []struct {
		name   string
		body   io.Reader
		length int
	}{
		{"chunks that fail at once", failing(""), chunked},
		{"chunks that fail after the first", failing("hello"), chunked},
		{"chunks that fail late", failing(large), chunked},
		{"an error next to octets, and more afterwards", &forgetful{first: "hello", rest: "world"}, chunked},
		{"a length that is not reached", strings.NewReader("hello"), 9},
		{"a large length that is not reached", strings.NewReader(large), 50 << 10},
		{"a length and an error", failing("hello"), 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			received := make(chan string, 1)
			ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
				_, body := readRequest(in)
				received <- body
				io.WriteString(c, ok)
			})
			u := open(t, plainOptions(ln.addr()))
			_, _, result, err := forward(t, u, func(req *fasthttp.Request) {
				req.Header.SetMethod("POST")
				req.SetBodyStream(tt.body, tt.length)
			})
			if reasonOf(err) != ReasonRequestBody || !result.BodyUnread {
				t.Errorf("Forward() = unread %v, %v, want unread, reason %s", result.BodyUnread, err, ReasonRequestBody)
			}
			if ln.accepted.Load() > 0 {
				if body := <-received; body != "" && !strings.HasSuffix(body, "<cut off>") {
					t.Errorf("the backend received a complete body of %d octets", len(body))
				}
			}
			if idle := u.Status().Endpoints[0].Idle; idle != 0 {
				t.Errorf("%d connections were pooled", idle)
			}
		})
	}
}

// forgetful returns octets together with an error, then goes on as if nothing had
// happened, like fasthttp's stream.
type forgetful struct {
	first, rest string
	calls       int
}

func (f *forgetful) Read(p []byte) (int, error) {
	f.calls++
	switch f.calls {
	case 1:
		return copy(p, f.first), nil
	case 2:
		return copy(p, f.first), errors.New("malformed chunk")
	case 3:
		return copy(p, f.rest), nil
	}
	return 0, io.EOF
}

// A pooled connection that the backend closed costs nobody anything.
func TestStaleConnectionIsNoticed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		leave func(c net.Conn)
	}{
		"closed":          {func(c net.Conn) {}},
		"reset":           {func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }},
		"said something":  {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n") }},
		"forged response": {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad") }},
	} {
		for _, method := range []string{"GET", "POST"} {
			bothWays(t, name+" "+method, func(t *testing.T, forward way) {
				gone := make(chan struct{})
				var posts atomic.Int64
				ln := script(t, func(n int, c net.Conn, in *bufio.Reader) {
					if head, _ := readRequest(in); strings.HasPrefix(head, method) {
						posts.Add(1)
					}
					io.WriteString(c, ok)
					if n == 0 {
						tt.leave(c)
						c.Close()
						close(gone)
						return
					}
					readRequest(in)
				})
				u := open(t, plainOptions(ln.addr()))
				if _, _, _, err := forward(t, u, nil); err != nil {
					t.Fatal(err)
				}
				<-gone
				posts.Store(0)
				status, body, result, err := forward(t, u, func(req *fasthttp.Request) {
					req.Header.SetMethod(method)
					if method == "POST" {
						req.SetBodyStream(strings.NewReader("pay"), 3)
					}
				})
				if status != 200 || body != "ok" || err != nil || result.Reused {
					t.Errorf("Forward() = %d, %q, reused %v, %v, want 200 on a new connection", status, body, result.Reused, err)
				}
				if n := posts.Load(); n != 1 {
					t.Errorf("the backend received the request %d times", n)
				}
			})
		}
	}
}

// RFC 9110 §9.2.2, RFC 9112 §9.3.1: a backend that reads the request and closes
// may have carried it out.
func TestOnlyIdempotentRequestsAreRepeated(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method string
		body   string
		reused bool
		times  int64
	}{
		{method: "GET", reused: true, times: 2},
		{method: "PUT", body: "whole", reused: true, times: 2},
		{method: "PUT", body: strings.Repeat("x", 40<<10), reused: true, times: 1},
		{method: "POST", reused: true, times: 1},
		{method: "POST", body: "pay", reused: true, times: 1},
		{method: "PATCH", body: "pay", reused: true, times: 1},
		{method: "GET", reused: false, times: 1}, // a new connection was not stale
	} {
		bothWays(t, fmt.Sprintf("%s %d reused=%v", tt.method, len(tt.body), tt.reused), func(t *testing.T, forward way) {
			var received atomic.Int64
			ln := script(t, func(n int, c net.Conn, in *bufio.Reader) {
				for {
					head, _ := readRequest(in)
					switch {
					case head == "":
						return
					case strings.Contains(head, "/warm"):
						io.WriteString(c, ok)
						continue
					}
					if received.Add(1) == 1 {
						return // read, perhaps carried out, never answered
					}
					io.WriteString(c, ok)
				}
			})
			u := open(t, plainOptions(ln.addr()))
			if tt.reused {
				if _, _, _, err := forward(t, u, func(req *fasthttp.Request) { req.SetRequestURI("/warm") }); err != nil {
					t.Fatal(err)
				}
			}
			_, _, _, err := forward(t, u, func(req *fasthttp.Request) {
				req.Header.SetMethod(tt.method)
				if tt.body != "" {
					req.SetBodyStream(strings.NewReader(tt.body), len(tt.body))
				}
			})
			if want := map[bool]string{true: "", false: ReasonClosed}[tt.times == 2]; reasonOf(err) != want {
				t.Errorf("Forward() = %v, want reason %q", err, want)
			}
			if n := received.Load(); n != tt.times {
				t.Errorf("the backend received the request %d times, want %d", n, tt.times)
			}
		})
	}
}

// Nothing of a request was sent if the kernel took no octet of it; then even a
// POST goes to a new connection.
func TestRequestThatWasNotSentIsRepeated(t *testing.T) {
	t.Parallel()
	var received atomic.Int64
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for {
			if head, _ := readRequest(in); head == "" {
				io.Copy(io.Discard, c)
				<-t.Context().Done() // keep this end open
				return
			} else if strings.HasPrefix(head, "POST") {
				received.Add(1)
			}
			io.WriteString(c, ok)
		}
	})
	u := open(t, plainOptions(ln.addr()))
	if _, _, _, err := forward(t, u, nil); err != nil {
		t.Fatal(err)
	}
	u.endpoints[0].idle[0].wire.Conn.(*net.TCPConn).CloseWrite() // every write fails, and nothing can be read
	status, _, result, err := forward(t, u, func(req *fasthttp.Request) {
		req.Header.SetMethod("POST")
		req.SetBodyStream(strings.NewReader("pay"), 3)
	})
	if status != 200 || err != nil || result.Reused || result.Attempts != 2 {
		t.Errorf("Forward() = %d, %d attempts, reused %v, %v, want 200 at the second attempt, on a new connection",
			status, result.Attempts, result.Reused, err)
	}
	if n := received.Load(); n != 1 {
		t.Errorf("the backend received the request %d times, want 1", n)
	}
}

func TestTimeOuts(t *testing.T) {
	t.Parallel()
	const brief = 20 * time.Millisecond
	for _, tt := range []struct {
		name     string
		response string // then silence
		edit     func(*Options)
	}{
		{"no response", "", func(o *Options) { o.ResponseTimeout = brief }},
		{"half a header", "HTTP/1.1 200 OK\r\n", func(o *Options) { o.ResponseTimeout = brief }},
		{"interim responses only", "HTTP/1.1 100 Continue\r\n\r\n", func(o *Options) { o.ResponseTimeout = brief }},
		{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", func(o *Options) { o.BodyIdleTimeout = brief }},
	} {
		bothWays(t, tt.name, func(t *testing.T, forward way) {
			var received atomic.Int64
			ln := script(t, func(n int, c net.Conn, in *bufio.Reader) {
				for {
					if head, _ := readRequest(in); head == "" {
						return
					} else if strings.Contains(head, "/warm") {
						io.WriteString(c, ok)
						continue
					}
					received.Add(1)
					io.WriteString(c, tt.response)
				}
			})
			u := open(t, plainOptions(ln.addr()))
			if _, _, _, err := forward(t, u, func(req *fasthttp.Request) { req.SetRequestURI("/warm") }); err != nil {
				t.Fatal(err)
			}
			tt.edit(&u.o)
			// Also an idempotent request on a pooled connection is not repeated.
			if _, _, _, err := forward(t, u, nil); reasonOf(err) != ReasonTimeout {
				t.Errorf("Forward() = %v, want reason %s", err, ReasonTimeout)
			}
			if n := received.Load(); n > 1 { // on a busy machine it may not have got there yet
				t.Errorf("the backend received the request %d times, want 1", n)
			}
		})
	}

	t.Run("an upload that the backend does not read", func(t *testing.T) {
		t.Parallel()
		stop := make(chan struct{})
		ln := script(t, func(_ int, c net.Conn, _ *bufio.Reader) { <-stop })
		t.Cleanup(func() { close(stop) })
		o := plainOptions(ln.addr())
		o.BodyIdleTimeout = brief
		_, _, _, err := forward(t, open(t, o), func(req *fasthttp.Request) {
			req.Header.SetMethod("POST")
			req.SetBodyStream(zeroes{}, chunked)
		})
		if reasonOf(err) != ReasonTimeout {
			t.Errorf("Forward() = %v, want reason %s", err, ReasonTimeout)
		}
	})

	t.Run("a TLS handshake that never ends", func(t *testing.T) {
		t.Parallel()
		d := newDomain(t)
		ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) { io.Copy(io.Discard, in) })
		o := d.options(t, ln.addr())
		o.ConnectTimeout = brief
		if _, _, _, err := forward(t, open(t, o), nil); reasonOf(err) != ReasonConnect || !isTimeout(err) {
			t.Errorf("Forward() = %v, want reason %s because of a time-out", err, ReasonConnect)
		}
	})
}

// A stream lives as long as octets move, however long that is.
func TestStreamOutlivesEveryTimeOut(t *testing.T) {
	t.Parallel()
	const brief = 200 * time.Millisecond
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		readRequest(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		ticker := time.NewTicker(brief / 4)
		defer ticker.Stop()
		for range 10 { // more than twice each time-out
			<-ticker.C
			io.WriteString(c, "4\r\ntick\r\n")
		}
		io.WriteString(c, "0\r\n\r\n")
	})
	o := plainOptions(ln.addr())
	o.ResponseTimeout, o.BodyIdleTimeout, o.ConnectTimeout, o.IdleTimeout = brief, brief, brief, brief
	_, body, _, err := forward(t, open(t, o), nil)
	if want := strings.Repeat("tick", 10); body != want || err != nil {
		t.Errorf("the stream is %q, %v, want %q", body, err, want)
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { return len(p), nil }

// RFC 9112 §9.5.
func TestEarlyErrorResponseEndsAnUpload(t *testing.T) {
	t.Parallel()
	answered := make(chan struct{})
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")
		close(answered)
		io.Copy(io.Discard, in)
	})
	u := open(t, plainOptions(ln.addr()))
	upload := io.MultiReader(strings.NewReader(strings.Repeat("x", bufferBytes)), readerFunc(func(p []byte) (int, error) {
		<-answered
		return len(p), nil
	}))
	status, body, result, err := forward(t, u, func(req *fasthttp.Request) {
		req.Header.SetMethod("POST")
		req.SetBodyStream(upload, chunked)
	})
	if status != 413 || body != "large" || err != nil || !result.BodyUnread {
		t.Errorf("Forward() = %d, %q, unread %v, %v, want 413 while the body is unread", status, body, result.BodyUnread, err)
	}
	if idle := u.Status().Endpoints[0].Idle; idle != 0 {
		t.Errorf("the connection was pooled in the middle of a request")
	}
}

// A backend that sends an interim response waits for the rest of the body all the
// same: whoever waits for its final response meanwhile waits forever.
func TestInterimResponseDoesNotEndAnUpload(t *testing.T) {
	t.Parallel()
	hinted := make(chan struct{})
	received := make(chan string, 1)
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
		close(hinted)
		_, wire := readRequest(in)
		received <- wire
		io.WriteString(c, ok)
	})
	rest := 3
	upload := io.MultiReader(strings.NewReader("first"), readerFunc(func(p []byte) (int, error) {
		<-hinted
		if rest == 0 {
			return 0, io.EOF
		}
		rest--
		return copy(p, "more"), nil
	}))
	u := open(t, plainOptions(ln.addr()))
	status, body, _, err := forward(t, u, func(req *fasthttp.Request) {
		req.Header.SetMethod("POST")
		req.SetBodyStream(upload, chunked)
	})
	if status != 200 || body != "ok" || err != nil {
		t.Fatalf("Forward() = %d, %q, %v, want 200", status, body, err)
	}
	if got, _, err := dechunk([]byte(<-received)); string(got) != "firstmoremoremore" || err != nil {
		t.Errorf("the backend received %q, %v, want the whole body", got, err)
	}
	if idle := u.Status().Endpoints[0].Idle; idle != 1 {
		t.Errorf("%d idle connections, want the one that is in order", idle)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestFailover(t *testing.T) {
	t.Parallel()
	const dead, deadToo = "127.0.0.1:1", "127.0.0.1:2" // a port of the kernel's choice might be given to another test
	ln := serve(t, nil, func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("alive") })
	u := open(t, plainOptions(dead, ln.addr()))
	attempts := 0
	for range 8 {
		_, body, result, err := forward(t, u, func(req *fasthttp.Request) {
			req.Header.SetMethod("POST")
			req.SetBodyStream(strings.NewReader("pay"), 3)
		})
		if body != "alive" || err != nil || result.Endpoint != ln.addr() {
			t.Fatalf("Forward() = %q, %v from %s", body, err, result.Endpoint)
		}
		attempts += result.Attempts
	}
	if attempts != 9 {
		t.Errorf("8 requests took %d attempts, want 9: an endpoint that failed is left alone for a while", attempts)
	}
	status := u.Status().Endpoints[0]
	if status.Errors != 1 || !status.CoolingDown || !strings.HasPrefix(status.LastError, ReasonConnect) || status.LastErrorAt.IsZero() {
		t.Errorf("the dead endpoint's status is %+v", status)
	}

	both := open(t, plainOptions(dead, deadToo))
	if _, _, result, err := forward(t, both, nil); reasonOf(err) != ReasonConnect || result.Attempts != 2 {
		t.Errorf("without any endpoint Forward() = %d attempts, %v, want 2, reason %s", result.Attempts, err, ReasonConnect)
	}
	if _, _, result, err := forward(t, both, nil); reasonOf(err) != ReasonConnect || result.Attempts != 2 {
		t.Errorf("while all cool down Forward() = %d attempts, %v, want 2, reason %s", result.Attempts, err, ReasonConnect)
	}
}

func TestBalance(t *testing.T) {
	t.Parallel()
	a := serve(t, nil, func(ctx *fasthttp.RequestCtx) {})
	b := serve(t, nil, func(ctx *fasthttp.RequestCtx) {})
	o := plainOptions(a.addr(), b.addr())
	share := func(u *Upstream) (n int) {
		for range 100 {
			if _, _, result, err := forward(t, u, nil); err != nil {
				t.Fatal(err)
			} else if result.Endpoint == a.addr() {
				n++
			}
		}
		return n
	}
	if n := share(open(t, o)); n != 50 {
		t.Errorf("round_robin sent %d of 100 requests to the first of two endpoints, want 50", n)
	}
	o.Balance = "least_request"
	u := open(t, o)
	u.endpoints[1].inFlight.Add(1)
	if n := share(u); n != 100 {
		t.Errorf("least_request sent %d of 100 requests to the idle one of two endpoints, want 100", n)
	}
}

// A programmer's mistake, which the gateway survives, costs the upstream no place.
func TestPanicGivesEverythingBack(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	answer := func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("ok") }
	backend := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), answer)
	for _, tt := range []struct {
		claim  string
		set    func(o *Options, wrong *atomic.Bool) // for a mistake while wrong is set
		filter bool                                 // the mistake is in the caller's look at the response
		want   string                               // reason; "" if the panic is the caller's
	}{
		{"in the handshake", func(o *Options, wrong *atomic.Bool) {
			o.Now = func() time.Time {
				if wrong.Load() {
					panic("a mistake")
				}
				return time.Now()
			}
		}, false, ReasonConnect},
		{"in the exchange", nil, true, ""},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			var wrong atomic.Bool
			o := d.options(t, backend.addr())
			o.MaxConns = 1
			if tt.set != nil {
				tt.set(&o, &wrong)
			}
			u := open(t, o)
			verbatim := &Verbatim{Filter: func(_, _ []byte) (keep, verbatim bool) {
				if tt.filter && wrong.Load() {
					panic("a mistake")
				}
				return true, true
			}}
			wrong.Store(true)
			for range 2 { // with a place less, the second would find no connection
				mistake, err := func() (mistake any, err error) {
					defer func() { mistake = recover() }()
					_, _, _, err = forwardCall(u, grantFor(t, "pay"), nil, verbatim)
					return nil, err
				}()
				if (mistake != nil) != (tt.want == "") || reasonOf(err) != tt.want {
					t.Errorf("Forward() = %v, panic %v, want reason %q", err, mistake, tt.want)
				}
				if s := u.Status().Endpoints[0]; s.InFlight != 0 || u.endpoints[0].open != 0 || u.inFlight.Load() != 0 {
					t.Errorf("afterwards %d requests and %d connections are open, %d are waited for", s.InFlight, u.endpoints[0].open, u.inFlight.Load())
				}
			}
			wrong.Store(false)
			if _, _, _, err := forwardCall(u, grantFor(t, "pay"), nil, verbatim); err != nil {
				t.Errorf("afterwards Forward() = %v", err)
			}
		})
	}
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for {
			if head, _ := readRequest(in); head == "" {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
		}
	})
	o := plainOptions(ln.addr())
	o.MaxConns = 1
	u := open(t, o)
	resp := answered(t, u)
	_, _, _, err := forward(t, u, nil)
	if reasonOf(err) != ReasonNoEndpoint || err.(*Error).Status() != 503 {
		t.Errorf("at the limit Forward() = %v, want reason %s", err, ReasonNoEndpoint)
	}
	resp.CloseBodyStream()
	resp = answered(t, u) // below the limit again
	resp.CloseBodyStream()
	resp.CloseBodyStream()
	if s := u.Status().Endpoints[0]; s.InFlight != 0 || u.endpoints[0].open != 0 {
		t.Errorf("afterwards %d requests and %d connections are open", s.InFlight, u.endpoints[0].open)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go fasthttp.Serve(ln, func(ctx *fasthttp.RequestCtx) { ctx.SetBody(ctx.Host()) })
	u := open(t, plainOptions("unix:"+path))
	for i := range 2 {
		if _, body, result, err := forward(t, u, nil); body != "pay.example" || err != nil || result.Reused != (i == 1) {
			t.Errorf("Forward() = %q, reused %v, %v", body, result.Reused, err)
		}
	}
}

func TestCloseLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		readRequest(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
		<-release
		io.WriteString(c, "done")
		readRequest(in)
	})
	u := open(t, plainOptions(ln.addr()))
	resp := answered(t, u)
	expired, cancel := context.WithCancel(t.Context())
	cancel()
	u.Close(expired) // does not wait
	if _, _, _, err := forward(t, u, nil); reasonOf(err) != ReasonNoEndpoint {
		t.Errorf("after Close Forward() = %v, want reason %s", err, ReasonNoEndpoint)
	}
	var closed sync.WaitGroup
	closed.Go(func() { u.Close(t.Context()) })
	close(release)
	if body, err := io.ReadAll(resp.BodyStream()); string(body) != "done" || err != nil {
		t.Errorf("the request in flight got %q, %v", body, err)
	}
	closed.Wait()
	if s := u.Status().Endpoints[0]; s.Idle != 0 {
		t.Errorf("%d connections are idle after Close", s.Idle)
	}
}

func TestReasonsAreKnownToStatus(t *testing.T) {
	t.Parallel()
	for _, reason := range Reasons() {
		e := &Error{Reason: reason, Endpoint: "10.0.0.1:443", Err: io.EOF}
		if s := e.Status(); s < 400 || s > 599 {
			t.Errorf("%s has status %d", reason, s)
		}
		if !strings.Contains(e.Error(), reason) || !errors.Is(e, io.EOF) {
			t.Errorf("%v does not tell its reason or its cause", e)
		}
	}
}
