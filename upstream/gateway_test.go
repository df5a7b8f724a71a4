package upstream

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// gateway runs a fasthttp server that forwards everything to u, as the real one
// does: the server's own request and response are handed on.
func gateway(t testing.TB, u *Upstream) *countingListener {
	t.Helper()
	grant := grantFor(t, u.Name())
	ln := listen(t)
	server := &fasthttp.Server{
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultDate:                true,
		NoDefaultContentType:         true,
		ReadBufferSize:               16 << 10,
		Logger:                       silent{},
		Handler: func(ctx *fasthttp.RequestCtx) {
			result, err := u.Forward(grant, &Call{Request: &ctx.Request, Response: &ctx.Response})
			if err != nil {
				ctx.Response.Reset()
				ctx.SetStatusCode(err.(*Error).Status())
				if result.BodyUnread {
					ctx.SetConnectionClose()
				}
			}
		},
	}
	go server.Serve(ln)
	return ln
}

func connect(t testing.TB, ln *countingListener) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", ln.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, bufio.NewReader(c)
}

// readResponse reads one response, past interim ones.
func readResponse(t testing.TB, in *bufio.Reader) (status int, body string) {
	t.Helper()
	var resp fasthttp.Response
	if err := resp.Read(in); err != nil {
		t.Fatalf("no response: %v", err)
	}
	return resp.StatusCode(), string(resp.Body())
}

// What the backend does to its connection is not done to the caller's, and what
// it sent reaches the caller unchanged.
func TestCallersConnectionIsItsOwn(t *testing.T) {
	t.Parallel()
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		readRequest(in)
		io.WriteString(c, "HTTP/1.0 200 Fine\r\nX-A: b\r\nConnection: X-A\r\nConnection: close\r\nSet-Cookie: a=b; Path=/\r\n\r\nbody")
	})
	c, in := connect(t, gateway(t, open(t, plainOptions(ln.addr()))))
	for range 2 {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		var resp fasthttp.Response
		resp.Header.SetNoDefaultContentType(true)
		if err := resp.Read(in); err != nil {
			t.Fatal(err)
		}
		if got := string(resp.Header.Protocol()); got != "HTTP/1.1" || resp.ConnectionClose() || string(resp.Body()) != "body" {
			t.Errorf("the caller received %s, close %v, %q", got, resp.ConnectionClose(), resp.Body())
		}
		// The nomination is left for whoever filters responses.
		if got := string(resp.Header.Peek("Connection")); got != "X-A" {
			t.Errorf("the connection options are %q, want X-A", got)
		}
		if got := resp.Header.Peek("Content-Type"); len(got) != 0 {
			t.Errorf("the response gained a content type: %q", got)
		}
	}
}

// A backend's Date is passed on, and one without a clock gets ours (RFC 9110 §6.6.1).
func TestResponseHasADate(t *testing.T) {
	t.Parallel()
	const theirs = "Sun, 06 Nov 1994 08:49:37 GMT"
	for name, tt := range map[string]struct {
		pieces []string
		want   string // "" is ours
	}{
		"theirs":                       {[]string{"HTTP/1.1 200 OK\r\ndate: " + theirs + "\r\nContent-Length: 0\r\n\r\n"}, theirs},
		"theirs, in pieces":            {[]string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDa", "te: " + theirs + "\r\n\r\n"}, theirs},
		"theirs, behind an interim":    {[]string{"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nDate: " + theirs + "\r\nContent-Length: 0\r\n\r\n"}, theirs},
		"none":                         {[]string{ok}, ""},
		"none, in pieces":              {[]string{"HTTP/1.1 200 OK\r\nContent-Le", "ngth: 0\r\n\r\n"}, ""},
		"none, with bare line feeds":   {[]string{"HTTP/1.1 200 OK\nX-A: b\nContent-Length: 0\r\n\r\n"}, ""},
		"none, and one in the content": {[]string{"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ndate: x\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
				readRequest(in)
				for _, piece := range tt.pieces {
					io.WriteString(c, piece)
				}
				readRequest(in) // until the gateway closes
			})
			c, in := connect(t, gateway(t, open(t, plainOptions(ln.addr()))))
			before := time.Now().Truncate(time.Second)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			dates := resp.Header.Values("Date")
			if resp.StatusCode != 200 || len(dates) != 1 || tt.want != "" && dates[0] != tt.want {
				t.Fatalf("%d, Date: %q, want 200 and one, %q", resp.StatusCode, dates, tt.want)
			}
			// fasthttp renews its date every second, on a goroutine that may be late.
			if at, err := http.ParseTime(dates[0]); tt.want == "" && (err != nil || at.Before(before.Add(-time.Minute))) {
				t.Errorf("Date: %q at %v", dates[0], before)
			}
		})
	}
}

// An upload that the backend refuses midway must not leave octets behind that
// would be read as the caller's next request.
func TestUnreadBodyIsNotTheNextRequest(t *testing.T) {
	t.Parallel()
	answered := make(chan struct{})
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		in.ReadString('\n')
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
		close(answered)
		io.Copy(io.Discard, in)
	})
	c, in := connect(t, gateway(t, open(t, plainOptions(ln.addr()))))
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	<-answered
	io.WriteString(c, "3\r\nabc\r\n")
	go io.WriteString(c, "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
	octets, _ := io.ReadAll(in)
	if n := strings.Count(string(octets), "HTTP/1.1 "); n != 1 || !strings.Contains(string(octets), "Connection: close") {
		t.Errorf("the caller received %d responses: %q", n, octets)
	}
}
