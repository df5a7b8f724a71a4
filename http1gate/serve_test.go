package http1gate_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/http1gate"
)

// exchange is what came of one connection.
type exchange struct {
	served    []string // method, target and body of each request that was served whole
	broken    int      // requests whose body could not be read
	responses []int    // status codes as the peer saw them, 100 included
	raw       []byte
	violation *http1gate.Violation
}

// gated listens like the gateway does: every connection it accepts has a gate.
type gated struct {
	net.Listener
	limits *http1gate.Limits
	refuse func(*http1gate.Violation) []byte
	conns  chan *http1gate.Conn
}

func (l gated) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := http1gate.New(c, l.limits, l.refuse)
	l.conns <- g
	return g, nil
}

// server is a fasthttp server behind gates, configured as the gateway does it.
type server struct {
	addr  string
	conns chan *http1gate.Conn

	mu     sync.Mutex
	served []string
	broken int
}

func serve(t testing.TB, limits *http1gate.Limits, handler func(*server, *fasthttp.RequestCtx)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: ln.Addr().String(), conns: make(chan *http1gate.Conn, 1)}
	fs := &fasthttp.Server{
		Handler:                       func(ctx *fasthttp.RequestCtx) { handler(s, ctx) },
		StreamRequestBody:             true,
		DisablePreParseMultipartForm:  true,
		DisableHeaderNamesNormalizing: true,
		ReadBufferSize:                17 << 10,
		MaxRequestBodySize:            1 << 20,
		ReadTimeout:                   20 * time.Second,
		Logger:                        silent{},
		NoDefaultServerHeader:         true,
	}
	go fs.Serve(gated{ln, limits, nil, s.conns})
	t.Cleanup(func() { ln.Close() })
	return s
}

type silent struct{}

func (silent) Printf(string, ...any) {}

// record reads the body to its end and remembers the request.
func record(s *server, ctx *fasthttp.RequestCtx) {
	var body []byte
	var err error
	if stream := ctx.RequestBodyStream(); stream != nil {
		body, err = io.ReadAll(stream)
	}
	s.mu.Lock()
	if err != nil {
		s.broken++
		ctx.SetStatusCode(400)
	} else {
		s.served = append(s.served, string(ctx.Method())+" "+string(ctx.Request.Header.RequestURI())+" "+string(body))
	}
	s.mu.Unlock()
	ctx.Conn().(*http1gate.Conn).Settle(ctx)
}

// send opens a connection, writes the pieces one after the other, says that
// there is no more, and waits for the end.
func (s *server) send(t testing.TB, pieces ...string) exchange {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	gate := <-s.conns
	go func() {
		for _, p := range pieces {
			io.WriteString(c, p)
		}
		c.(*net.TCPConn).CloseWrite()
	}()
	// A server that refuses early closes with octets unread, so that the end may be
	// a reset.
	raw, err := io.ReadAll(c)
	if ne := (net.Error)(nil); errors.As(err, &ne) && ne.Timeout() {
		t.Fatalf("the server neither answered nor closed; it sent %q", raw)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := exchange{served: s.served, broken: s.broken, raw: raw, responses: statuses(raw), violation: gate.Violation()}
	s.served, s.broken = nil, 0
	return x
}

func statuses(raw []byte) (codes []int) {
	for {
		i := bytes.Index(raw, []byte("HTTP/1.1 "))
		if i < 0 || len(raw) < i+12 {
			return codes
		}
		code, _ := strconv.Atoi(string(raw[i+9 : i+12]))
		codes, raw = append(codes, code), raw[i+12:]
	}
}

func code(v *http1gate.Violation) string {
	if v == nil {
		return "none"
	}
	return v.Code
}
