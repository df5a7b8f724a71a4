package upstream

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// withoutConnection is the filter of these tests: it drops Connection and X-Drop, and X-Special
// needs more than that.
func withoutConnection(name, _ []byte) (keep, verbatim bool) {
	n := strings.ToLower(string(name))
	return n != "connection" && n != "x-drop", n != "x-special"
}

func TestVerbatim(t *testing.T) {
	t.Parallel()
	const date = "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
	now := time.Date(2026, 11, 22, 13, 0, 0, 0, time.FixedZone("", 3600))
	large := strings.Repeat("x", 2000)
	for _, tt := range []struct {
		claim, send string
		want        string // "" if it is not passed on verbatim
	}{
		{"what nothing has to be changed of is passed on", "HTTP/1.1 200 OK\r\n" + date + "x-Spelled:  as it was \r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\n" + date + "x-Spelled:  as it was \r\nContent-Length: 2\r\nX-Id: 7\r\n\r\nok"},
		{"what comes behind it is left", "HTTP/1.1 404 Gone fishing\r\n" + date + "Content-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n",
			"HTTP/1.1 404 Gone fishing\r\n" + date + "Content-Length: 0\r\nX-Id: 7\r\n\r\n"},
		{"a field that is dropped leaves the others", "HTTP/1.1 200 OK\r\nX-Drop: 1\r\n" + date + "Connection: keep-alive\r\nContent-Length: 1\r\nX-Drop: 2\r\n\r\n!",
			"HTTP/1.1 200 OK\r\n" + date + "Content-Length: 1\r\nX-Id: 7\r\n\r\n!"},
		{"without a Date it gets one", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!",
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n" + date + "X-Id: 7\r\n\r\n!"},
		{"names may have '_'", "HTTP/1.1 200 OK\r\n" + date + "X_Y: 1\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\n" + date + "X_Y: 1\r\nContent-Length: 0\r\nX-Id: 7\r\n\r\n"},
		{"a large one", "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 2000\r\n\r\n" + large,
			"HTTP/1.1 200 OK\r\n" + date + "Content-Length: 2000\r\nX-Id: 7\r\n\r\n" + large},

		{"a body that is not there yet", "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 3\r\n\r\nok", ""},
		{"a header that is not there yet", "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 0\r\n", ""},
		{"no length", "HTTP/1.1 200 OK\r\n" + date + "\r\n", ""},
		{"chunks", "HTTP/1.1 200 OK\r\n" + date + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""},
		{"chunks and a length", "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", ""},
		{"the last one on its connection", "HTTP/1.1 200 OK\r\n" + date + "Connection: close\r\nContent-Length: 0\r\n\r\n", ""},
		{"an option that names a field", "HTTP/1.1 200 OK\r\n" + date + "Connection: X-Hop\r\nContent-Length: 0\r\n\r\n", ""},
		{"trailers", "HTTP/1.1 200 OK\r\n" + date + "Trailer: X-Sum\r\nContent-Length: 0\r\n\r\n", ""},
		{"something that has to be changed", "HTTP/1.1 200 OK\r\n" + date + "X-Special: 1\r\nContent-Length: 0\r\n\r\n", ""},
		{"an interim response", "HTTP/1.1 103 Early Hints\r\n" + date + "Content-Length: 0\r\n\r\n", ""},
		{"no body by its status", "HTTP/1.1 204 No Content\r\n" + date + "Content-Length: 0\r\n\r\n", ""},
		{"not modified", "HTTP/1.1 304 Not Modified\r\n" + date + "Content-Length: 0\r\n\r\n", ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n" + date + "Content-Length: 0\r\n\r\n", ""},
		{"no reason phrase and no space", "HTTP/1.1 200\r\n" + date + "Content-Length: 0\r\n\r\n", ""},
		{"a length in another spelling", "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 00\r\n\r\n", ""},
		{"a length with a sign", "HTTP/1.1 200 OK\r\n" + date + "Content-Length: +0\r\n\r\n", ""},
		{"a length that is 0 in 64 bits", "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 18446744073709551616\r\n\r\n", ""},
		{"a length twice", "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", ""},
		{"a type twice", "HTTP/1.1 200 OK\r\n" + date + "Content-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 0\r\n\r\n", ""},
		{"an encoding twice", "HTTP/1.1 200 OK\r\n" + date + "Content-Encoding: gzip\r\nContent-Encoding: br\r\nContent-Length: 0\r\n\r\n", ""},
		{"a server twice", "HTTP/1.1 200 OK\r\n" + date + "Server: a\r\nServer: b\r\nContent-Length: 0\r\n\r\n", ""},
		{"an empty server", "HTTP/1.1 200 OK\r\n" + date + "Server:\r\nContent-Length: 0\r\n\r\n", ""},
		{"a Date twice", "HTTP/1.1 200 OK\r\n" + date + date + "Content-Length: 0\r\n\r\n", ""},
		{"a name with rarer octets", "HTTP/1.1 200 OK\r\n" + date + "X.Y: 1\r\nContent-Length: 0\r\n\r\n", ""},
		{"a DEL", "HTTP/1.1 200 OK\r\n" + date + "X-A: 1\x7f\r\nContent-Length: 0\r\n\r\n", ""},
		{"a folded line", "HTTP/1.1 200 OK\r\n" + date + "X-A: 1\r\n more\r\nContent-Length: 0\r\n\r\n", ""},
		{"a line without a colon", "HTTP/1.1 200 OK\r\n" + date + "X-A\r\nContent-Length: 0\r\n\r\n", ""},
		{"a line without a name", "HTTP/1.1 200 OK\r\n" + date + ": 1\r\nContent-Length: 0\r\n\r\n", ""},
		{"a space before the colon", "HTTP/1.1 200 OK\r\n" + date + "Content-Length : 0\r\n\r\n", ""},
		{"a bare LF", "HTTP/1.1 200 OK\n" + date + "Content-Length: 0\r\n\r\n", ""},
		{"a bare CR", "HTTP/1.1 200 OK\r\n" + date + "X-A: 1\rX-B: 2\r\nContent-Length: 0\r\n\r\n", ""},
		{"a NUL", "HTTP/1.1 200 OK\r\n" + date + "X-A: 1\x00\r\nContent-Length: 0\r\n\r\n", ""},
		{"a control in the status line", "HTTP/1.1 200 O\x01K\r\n" + date + "Content-Length: 0\r\n\r\n", ""},
	} {
		p := Verbatim{Filter: withoutConnection, Fields: []byte("X-Id: 7\r\n")}
		status, head, body := p.take([]byte(tt.send))
		if status == 0 {
			if tt.want != "" || p.Status != 0 {
				t.Errorf("%s: it is not verbatim, and its status %d", tt.claim, p.Status)
			}
			continue
		}
		p.complete(status, []byte(tt.send)[head:head+body], now)
		if string(p.Octets) != tt.want {
			t.Errorf("%s: it is verbatim, as %q, want %q", tt.claim, p.Octets, tt.want)
		}
	}
}

// A Date is that of the response, whatever was appended before.
func TestAppendDate(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		now  time.Time
		want string
	}{
		{noon, "12:00:00"}, {noon.Add(999 * time.Millisecond), "12:00:00"}, {noon.Add(time.Second), "12:00:01"}, {noon, "12:00:00"},
	} {
		want := "Date: Sun, 22 Nov 2026 " + tt.want + " GMT\r\n"
		if got := string(appendDate(nil, tt.now)); got != want {
			t.Errorf("appendDate(%v) = %q, want %q", tt.now, got, want)
		}
	}
}

// said is what a client understands of a response.
type said struct {
	Status int
	Header http.Header
	Body   string
}

func understood(t testing.TB, octets []byte) said {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(octets)), nil)
	if err != nil {
		t.Fatalf("%v in %q", err, octets)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%v in %q", err, octets)
	}
	r.Header.Del("Date") // which fasthttp writes itself
	return said{r.StatusCode, r.Header, string(body)}
}

// What is passed on as octets says to a client what it says when fasthttp has taken it
// apart and put it together again.
func FuzzVerbatim(f *testing.F) {
	const date = "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\n" + date + "Content-Length: 2\r\n\r\nok",
		"HTTP/1.1 500 \r\ncontent-length:0\r\n" + date + "\r\n",
		"HTTP/1.1 200 OK\r\nServer: nginx\r\n" + date + "Content-Type: text/plain\r\nContent-Length: 1\r\nConnection: keep-alive\r\nContent-Encoding: gzip\r\n\r\n!",
		"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nX_Y: \r\n" + date + "Set-Cookie: c=d; Path=/\r\nContent-Length: 1\r\nx-y:\tz \r\n\r\n!more",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		p := Verbatim{Filter: withoutConnection, Fields: []byte("X-Id: 7\r\n")}
		status, head, length := p.take(octets)
		if status == 0 {
			return
		}
		n := head + length
		p.complete(status, octets[head:n], time.Now())
		var resp fasthttp.Response
		resp.Header.SetNoDefaultContentType(true)
		in := bufio.NewReaderSize(bytes.NewReader(octets[:n]), max(n, 16))
		if err := resp.Header.Read(in); err != nil {
			t.Fatalf("fasthttp refuses %q: %v", octets[:n], err)
		}
		if !keepsAlive(&resp.Header) || resp.Header.ContentLength() != in.Buffered() || resp.StatusCode() != p.Status {
			t.Fatalf("fasthttp reads %q differently: status %d, length %d", octets[:n], resp.StatusCode(), resp.Header.ContentLength())
		}
		body, _ := in.Peek(in.Buffered())
		resp.SetBody(body)
		resp.Header.Del("Connection")
		resp.Header.Del("X-Drop")
		resp.Header.Add("X-Id", "7")
		var buffer bytes.Buffer
		if _, err := resp.WriteTo(&buffer); err != nil {
			t.Fatal(err)
		}
		if got, want := understood(t, p.Octets), understood(t, buffer.Bytes()); !reflect.DeepEqual(got, want) {
			t.Errorf("%q says %v as octets, and %v taken apart", octets[:n], got, want)
		}
	})
}

// Forward gives a response that can be passed on verbatim to Verbatim, and every other one to Response. The connection is
// used again unless something is left on it.
func TestForwardVerbatim(t *testing.T) {
	t.Parallel()
	const whole = "HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
	answers := map[string]string{
		"/whole": whole, "/upload": whole, "/stream": whole, "/interim": "HTTP/1.1 103 Early Hints\r\nConnection: close\r\nLink: x\r\n\r\n" + whole,
		"/head":     whole, // which has a body that it must not have
		"/trailers": "HTTP/1.1 200 OK\r\nTrailer: X\r\nContent-Length: 2\r\n\r\nok",
	}
	ln := script(t, func(n int, c net.Conn, in *bufio.Reader) {
		for head, _ := readRequest(in); head != ""; head, _ = readRequest(in) {
			_, _ = io.WriteString(c, answers[strings.Fields(head)[1]])
		}
	})
	u := open(t, plainOptions(ln.addr()))
	p := &Verbatim{Filter: withoutConnection, Fields: []byte("X-Id: 7\r\n")}
	for i, path := range []string{"/interim", "/whole", "/trailers", "/upload", "/stream", "/whole", "/head"} {
		var req fasthttp.Request
		var resp fasthttp.Response
		req.Header.SetHost("pay.example")
		req.Header.SetRequestURI(path)
		switch path {
		case "/head":
			req.Header.SetMethod("HEAD")
		case "/upload":
			req.Header.SetMethod("POST")
			req.SetBodyString("body")
		case "/stream":
			req.Header.SetMethod("POST")
			req.SetBodyStream(strings.NewReader("body"), 4)
		}
		result, err := u.Forward(grantFor(t, "pay"), &Call{Request: &req, Response: &resp, Verbatim: p})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if result.Reused != (i > 0) {
			t.Errorf("%s: a connection was used again: %v", path, result.Reused)
		}
		if path == "/head" || path == "/trailers" {
			if p.Status != 0 || resp.StatusCode() != 200 || resp.Header.ContentLength() != 2 {
				t.Errorf("%s: the response is in Verbatim, with status %d", path, p.Status)
			}
			continue
		}
		want := fmt.Sprintf("%sX-Id: 7\r\n\r\nok", strings.TrimSuffix(whole, "\r\nok"))
		if p.Status != 200 || string(p.Octets) != want {
			t.Errorf("%s: Verbatim has %d, %q, want %q", path, p.Status, p.Octets, want)
		}
		if resp.ConnectionClose() || resp.StatusCode() != 200 {
			t.Errorf("%s: the response is in Verbatim, and Response has %q", path, resp.Header.String())
		}
	}
}

// A response of 1 KiB as octets, also where a Date is added, and what it costs to take it apart
// and put it together.
func BenchmarkVerbatim(b *testing.B) {
	const date = "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
	octets := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\n" + date + "Content-Type: text/plain\r\n" +
		"Cache-Control: no-store\r\nX-Caller: spiffe://prod.example/ns/shop/sa/checkout\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024))
	take := func(b *testing.B, octets []byte) {
		p := Verbatim{Filter: func([]byte, []byte) (bool, bool) { return true, true }, Fields: []byte("X-Id: 7\r\n")}
		now := time.Now()
		b.ReportAllocs()
		for b.Loop() {
			status, head, body := p.take(octets)
			p.complete(status, octets[head:head+body], now)
		}
	}
	b.Run("octets", func(b *testing.B) { take(b, octets) })
	b.Run("octets without a Date", func(b *testing.B) { take(b, bytes.Replace(octets, []byte(date), nil, 1)) })
	b.Run("taken apart", func(b *testing.B) {
		var resp fasthttp.Response
		source := bytes.NewReader(nil)
		in, out := bufio.NewReaderSize(nil, bufferBytes), bufio.NewWriterSize(io.Discard, bufferBytes)
		b.ReportAllocs()
		for b.Loop() {
			source.Reset(octets)
			in.Reset(source)
			if err := resp.Header.Read(in); err != nil {
				b.Fatal(err)
			}
			body, _ := in.Peek(in.Buffered())
			resp.SetBody(body)
			resp.Header.Set("X-Id", "7")
			if err := resp.Write(out); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Head is sent as it is.
func TestForwardHead(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		head, _ := readRequest(in)
		got <- head
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	u := open(t, plainOptions(ln.addr()))
	var req fasthttp.Request
	var resp fasthttp.Response
	req.Header.SetRequestURI("/other")
	const head = "GET /a?b HTTP/1.1\r\nhOST: pay.example\r\nX_Y:z\r\n\r\n"
	if _, err := u.Forward(grantFor(t, "pay"), &Call{Request: &req, Response: &resp, Head: []byte(head), Fields: []byte("X: y\r\n")}); err != nil {
		t.Fatal(err)
	}
	if sent := <-got; sent != head {
		t.Errorf("the backend got %q, want %q", sent, head)
	}
}
