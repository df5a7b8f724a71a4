package http1gate_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/http1gate"
	"verigate/internal/race"
)

func TestWhatPassesIsWhatWasSent(t *testing.T) {
	t.Parallel()
	post := "POST /a?b HTTP/1.1\r\nHOST:  a \r\nx-Y:\t z\r\nContent-Length: 5\r\n\r\nhello"
	if got := pass(nil, 4096, post+get); got.octets != post+get || got.end != "end" {
		t.Errorf("of %q passed %q (%s)", post+get, got.octets, got.end)
	}
}

func TestExtensionsTrailersAndBlankLinesDoNotPass(t *testing.T) {
	t.Parallel()
	got := pass(nil, 4096, "\r\n"+chunked+"5;a=b\r\nhello\r\n000;c\r\nX-Sum: y\r\n\r\n\r\n"+get)
	if want := chunked + "5\r\nhello\r\n000\r\n\r\n" + get; got.octets != want {
		t.Errorf("passed %q, want %q", got.octets, want)
	}
}

func TestOneReadReturnsOctetsOfOneRequest(t *testing.T) {
	t.Parallel()
	gate := http1gate.New(&script{pieces: []string{get + get + get}}, nil, nil)
	p := make([]byte, 4096)
	for range 3 {
		if n, err := gate.Read(p); string(p[:n]) != get || err != nil {
			t.Fatalf("Read = %q, %v, want one request", p[:n], err)
		}
	}
	if n, err := gate.Read(p); n != 0 || err != io.EOF {
		t.Fatalf("Read = %d, %v, want the end", n, err)
	}
}

func TestEarlierRequestsAreAnsweredBeforeTheRefusal(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, record)
	x := s.send(t, get+get+target("/../admin"))
	if len(x.responses) != 3 || x.responses[0] != 200 || x.responses[1] != 200 || x.responses[2] != 400 {
		t.Errorf("the peer saw %v, want 200, 200 and then 400", x.responses)
	}
	if !strings.HasSuffix(string(x.raw), "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") {
		t.Errorf("the refusal does not end the connection: %q", x.raw)
	}
}

func TestRefuseIsAskedOnceForTheResponse(t *testing.T) {
	t.Parallel()
	conn := &script{pieces: []string{get + host("u@a") + host("u@a")}}
	var asked []string
	gate := http1gate.New(conn, nil, func(v *http1gate.Violation) []byte {
		asked = append(asked, v.Code)
		return []byte("no: " + v.Code)
	})
	if _, err := io.ReadAll(gate); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 1 || asked[0] != http1gate.Userinfo || string(conn.wrote) != "no: userinfo" {
		t.Errorf("refuse was asked about %q and the peer was told %q", asked, conn.wrote)
	}
	if n, err := gate.Read(make([]byte, 1)); n != 0 || err != io.EOF || len(conn.pieces) > 0 && len(asked) != 1 {
		t.Errorf("Read after the refusal = %d, %v, want the end", n, err)
	}
}

func TestRefuseIsNotAskedAboutBodies(t *testing.T) {
	t.Parallel()
	conn := &script{pieces: []string{chunked + "5\r\nhelloXX"}}
	gate := http1gate.New(conn, nil, func(*http1gate.Violation) []byte { t.Error("refuse was called"); return nil })
	_, err := io.ReadAll(gate)
	if v, ok := errors.AsType[*http1gate.Violation](err); !ok || v.Code != http1gate.ChunkData || gate.Violation() != v {
		t.Errorf("reading a broken body gives %v, want chunk_data", err)
	}
	if len(conn.wrote) != 0 {
		t.Errorf("the gate wrote %q into the server's response", conn.wrote)
	}
}

// A handler that answers without reading the body leaves it in fasthttp's
// buffer, where it would be taken for the next request.
func TestSettleKeepsAnUnreadBodyFromBecomingARequest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		pieces []string
		served int
	}{
		{"a chunked body that has arrived", []string{chunked + "23\r\n" + smuggled + "\r\n0\r\n\r\n" + get}, 2},
		{"one that has not", []string{chunked + "100\r\n" + smuggled}, 1},
		{"one whose end is missing", []string{chunked + "23\r\n" + smuggled + "\r\n0\r\n"}, 1},
		{"one that is broken", []string{chunked + "22\r\n" + smuggled + "\r\n0\r\n\r\n"}, 1},
		{"a long body", []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 9000) + smuggled}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil, func(s *server, ctx *fasthttp.RequestCtx) {
				s.mu.Lock()
				s.served = append(s.served, string(ctx.Method())+" "+string(ctx.Path()))
				s.mu.Unlock()
				ctx.SetStatusCode(403)
				ctx.Conn().(*http1gate.Conn).Settle(ctx)
			})
			x := s.send(t, tt.pieces...)
			if len(x.served) != tt.served || strings.Contains(strings.Join(x.served, "|"), "/smuggled") {
				t.Errorf("%q were served, want %d requests and nothing smuggled", x.served, tt.served)
			}
			if len(x.responses) != tt.served {
				t.Errorf("the peer saw %v, want %d responses", x.responses, tt.served)
			}
		})
	}
}

// A peer that announces a body and does not send it must not keep a refusal from
// being sent.
func TestSettleDoesNotWaitForThePeer(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, func(s *server, ctx *fasthttp.RequestCtx) {
		ctx.SetStatusCode(403)
		ctx.Conn().(*http1gate.Conn).Settle(ctx)
	})
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-s.conns
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, chunked+"5\r\nhel")
	raw, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(raw), "HTTP/1.1 403") || !strings.Contains(string(raw), "Connection: close") {
		t.Errorf("the peer received %q, %v, want a 403 that closes the connection", raw, err)
	}
}

func TestTunnelPassesWhatFollows(t *testing.T) {
	t.Parallel()
	early := "\x81\x05hello\r\n"
	upgrade := field("Connection: Upgrade\r\nUpgrade: websocket")
	gate := http1gate.New(&script{pieces: []string{upgrade + early, "\x00\x01", get}}, nil, nil)
	p := make([]byte, 4096)
	if n, err := gate.Read(p); string(p[:n]) != upgrade || err != nil {
		t.Fatalf("Read = %q, %v, want the request alone", p[:n], err)
	}
	gate.Tunnel()
	rest, err := io.ReadAll(gate)
	if string(rest) != early+"\x00\x01"+get || err != nil || gate.Violation() != nil {
		t.Errorf("through the tunnel came %q, %v", rest, err)
	}
}

func TestTunnelOverFasthttp(t *testing.T) {
	t.Parallel()
	done := make(chan string, 1)
	s := serve(t, nil, func(s *server, ctx *fasthttp.RequestCtx) {
		ctx.SetStatusCode(101)
		ctx.Conn().(*http1gate.Conn).Tunnel()
		ctx.Hijack(func(c net.Conn) {
			octets, _ := io.ReadAll(c)
			done <- string(octets)
		})
	})
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-s.conns
	io.WriteString(c, field("Connection: Upgrade\r\nUpgrade: x")+"early\n")
	if status, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(status, "101") {
		t.Fatalf("the response begins with %q, %v", status, err)
	}
	io.WriteString(c, "late\n\x00")
	c.(*net.TCPConn).CloseWrite()
	if got := <-done; got != "early\nlate\n\x00" {
		t.Errorf("the tunnel carried %q", got)
	}
}

func TestSlowHeaderIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		gate := http1gate.New(conn, &http1gate.Limits{HeaderTimeout: 3 * time.Second}, nil)
		sent := make(chan struct{})
		defer func() {
			client.Close()
			<-sent
		}()
		go func() {
			defer close(sent)
			io.WriteString(client, get)
			time.Sleep(time.Minute) // idle, which is not the gate's business
			for _, octet := range strings.Split(get, "") {
				if _, err := io.WriteString(client, octet); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		answer := make(chan string)
		go func() {
			b, _ := bufio.NewReader(client).ReadString('\n')
			answer <- b
		}()
		gate.SetReadDeadline(time.Now().Add(time.Hour))
		p := make([]byte, 4096)
		if n, err := gate.Read(p); n != len(get) || err != nil {
			t.Fatalf("Read = %d, %v, want a request", n, err)
		}
		start := time.Now()
		if n, err := gate.Read(p); n != 0 || err != io.EOF {
			t.Fatalf("Read = %d, %v, want the end", n, err)
		}
		if took := time.Since(start); took != time.Minute+3*time.Second {
			t.Errorf("refused after %v, want a minute of idling and 3 s", took)
		}
		if code(gate.Violation()) != http1gate.HeaderTimeout {
			t.Errorf("the violation is %s", code(gate.Violation()))
		}
		if status := <-answer; !strings.Contains(status, "408") {
			t.Errorf("the peer was told %q", status)
		}
	})
}

func TestServersDeadlineIsPutBackBehindAHeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		defer client.Close()
		gate := http1gate.New(conn, &http1gate.Limits{HeaderTimeout: 3 * time.Second}, nil)
		go func() {
			request := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
			io.WriteString(client, request[:20])
			io.WriteString(client, request[20:50])
		}()
		start := time.Now()
		gate.SetReadDeadline(start.Add(time.Hour))
		_, err := io.ReadAll(gate)
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() || time.Since(start) != time.Hour {
			t.Errorf("the body ended after %v with %v, want the server's deadline after an hour", time.Since(start), err)
		}
		if gate.Violation() != nil {
			t.Errorf("the violation is %s", code(gate.Violation()))
		}
	})
}

func TestServersEarlierDeadlineGoesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		defer client.Close()
		gate := http1gate.New(conn, nil, nil)
		go io.WriteString(client, "GET / HT")
		start := time.Now()
		gate.SetDeadline(start.Add(time.Second))
		_, err := gate.Read(make([]byte, 100))
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() || time.Since(start) != time.Second {
			t.Errorf("Read failed after %v with %v, want a time-out after a second", time.Since(start), err)
		}
	})
}

func TestLimitsAreLimits(t *testing.T) {
	t.Parallel()
	exact := &http1gate.Limits{MaxHeaderBytes: len(get), MaxFields: 1, MaxTargetBytes: 1, Methods: []string{"GET", "TRACE", "CONNECT"}}
	for _, tt := range []struct {
		name   string
		limits *http1gate.Limits
		raw    string
		code   string
	}{
		{"a block of the size that is allowed", exact, get, "none"},
		{"with a blank line before", exact, "\r\n" + get, "none"},
		{"one octet more", exact, "GET / HTTP/1.1\r\nHost: aa\r\n\r\n", http1gate.HeaderTooLarge},
		{"a method that is not listed", exact, line("POST / HTTP/1.1"), http1gate.MethodNotAllowed},
		{"TRACE is not allowed even if listed", exact, line("TRACE / HTTP/1.1"), http1gate.MethodNotAllowed},
		{"by default 16 KiB pass", nil, field("X: " + strings.Repeat("a", 16000)), "none"},
		{"and not more", nil, field("X: " + strings.Repeat("a", 17000)), http1gate.HeaderTooLarge},
		{"by default 8 KiB of target pass", nil, target("/" + strings.Repeat("a", 8191)), "none"},
		{"and not more", nil, target("/" + strings.Repeat("a", 8300)), http1gate.TargetTooLong},
		{"by default 100 fields pass", nil, field(strings.Repeat("X: y\r\n", 98) + "Z: z"), "none"},
		{"and not more", nil, field(strings.Repeat("X: y\r\n", 99) + "Z: z"), http1gate.TooManyFields},
	} {
		if got := pass(tt.limits, 32<<10, tt.raw); got.code != tt.code {
			t.Errorf("%s: %s, want %s", tt.name, got.code, tt.code)
		}
	}
}

// requestOf300 is a usual request of about 300 octets.
const requestOf300 = "POST /v1/orders/0192837465?expand=items HTTP/1.1\r\nHost: pay.example\r\nUser-Agent: probe/1.0 (linux; amd64)\r\n" +
	"Accept: application/json\r\nAccept-Encoding: gzip\r\nContent-Type: application/json\r\nContent-Length: 2\r\n" +
	"Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789\r\nX-Request-Id: 0b5c1c9e-8a4f\r\n\r\n{}"

// endless is a peer that sends the same request for ever.
type endless struct {
	script
	request string
}

func (e *endless) Read(p []byte) (int, error) { return copy(p, e.request), nil }

func TestReadingARequestDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	for name, request := range map[string]string{
		"a length":  requestOf300,
		"chunked":   chunked + "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"pipelined": get + get,
	} {
		gate := http1gate.New(&endless{request: request}, nil, nil)
		p := make([]byte, 16<<10)
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := gate.Read(p); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("reading a request with %s allocates %v times, want 0", name, n)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, bench := range []struct{ name, request string }{
		{"request of 300 octets", requestOf300},
		{"smallest request", get},
		{"chunked 4 KiB", chunked + "1000\r\n" + strings.Repeat("x", 4096) + "\r\n0\r\n\r\n"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			gate := http1gate.New(&endless{request: bench.request}, nil, nil)
			p := make([]byte, 16<<10)
			b.SetBytes(int64(len(bench.request)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := gate.Read(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReadInTwo has the cost of a header block that arrives in two pieces.
func BenchmarkReadInTwo(b *testing.B) {
	peer := &alternating{pieces: [2]string{requestOf300[:150], requestOf300[150:]}}
	gate := http1gate.New(peer, nil, nil)
	p := make([]byte, 16<<10)
	b.ReportAllocs()
	for b.Loop() {
		for range 2 { // the header block, and the body that waits behind it
			if _, err := gate.Read(p); err != nil {
				b.Fatal(err)
			}
		}
	}
}

type alternating struct {
	script
	pieces [2]string
	next   int
}

func (a *alternating) Read(p []byte) (int, error) {
	n := copy(p, a.pieces[a.next])
	a.next = 1 - a.next
	return n, nil
}
