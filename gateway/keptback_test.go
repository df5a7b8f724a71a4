package gateway_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"verigate/gateway"
)

// turns is a connection on which requests come one by one, as the gate hands them out, and
// which notes what fasthttp does to it.
type turns struct {
	net.Conn // of which nothing else is used
	requests []string
	events   []string // what was read and written, in order
}

func (c *turns) Read(p []byte) (int, error) {
	if len(c.requests) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.requests[0])
	if c.requests[0] = c.requests[0][n:]; c.requests[0] == "" {
		c.requests = c.requests[1:]
	}
	c.events = append(c.events, "read")
	return n, nil
}

func (c *turns) Write(p []byte) (int, error) {
	c.events = append(c.events, string(p))
	return len(p), nil
}

func (c *turns) Close() error         { return nil }
func (c *turns) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (c *turns) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// What responses as octets rest on: the server writes an empty response in one Write that has
// nothing else, and before it reads on or says that the connection is idle. A fasthttp of
// which this is not so cannot be used (ADR 0024).
func TestServerWritesAnEmptyResponseAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	g := must(gateway.New(w.options, w.newProgram(nil)))(t)
	t.Cleanup(func() {
		if err := g.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
	c := &turns{requests: []string{
		get("pay.example", "/v1/1"),
		request("POST", "pay.example", "/v1/2", strings.Repeat("x", 40<<10)),
		request("POST", "pay.example", "/v1/3", "", "Transfer-Encoding: chunked") + "1\r\nx\r\n0\r\n\r\n",
		get("pay.example", "/v1/4", "Cookie: "+strings.Repeat("x", 8<<10)),
		get("pay.example", "/v1/5", "Connection: close"),
	}}
	served := len(c.requests)
	server := g.Server()
	server.ExpectHandler, server.ErrorHandler = nil, nil
	server.ConnState = func(_ net.Conn, s fasthttp.ConnState) {
		if s == fasthttp.StateIdle {
			c.events = append(c.events, "idle")
		}
	}
	server.Handler = func(ctx *fasthttp.RequestCtx) {
		if body := ctx.RequestBodyStream(); body != nil {
			_, _ = io.Copy(io.Discard, body)
		}
		c.events = append(c.events, "handled")
	}
	if err := server.ServeConn(c); err != nil {
		t.Fatal(err)
	}
	handled := 0
	for i, event := range c.events {
		if event != "handled" {
			continue
		}
		handled++
		got := c.events[i+1:]
		if len(got) == 0 || !strings.HasPrefix(got[0], "HTTP/1.1 200 ") || !strings.HasSuffix(got[0], "\r\n\r\n") || strings.Count(got[0], "\r\n\r\n") != 1 {
			t.Fatalf("behind request %d comes %q, want its empty response", handled, got)
		}
		if len(got) > 1 && got[1] != "idle" {
			t.Errorf("behind response %d comes %q, want nothing more of it", handled, got[1])
		}
	}
	if handled != served {
		t.Errorf("%d requests were served, want %d", handled, served)
	}
}

// If the server does not write the empty response as it should, the client gets nothing at all:
// neither that, nor a response of another request, nor its own behind octets that are none.
func TestResponseThatIsKeptBackEndsTheConnection(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fasthttp.Server, *fasthttp.RequestCtx){
		"something else in the response": func(_ *fasthttp.Server, ctx *fasthttp.RequestCtx) {
			ctx.Response.SetBodyString("placeholder")
		},
		"the response in two writes": func(_ *fasthttp.Server, ctx *fasthttp.RequestCtx) {
			ctx.Response.SetBodyString(strings.Repeat("x", 20<<10))
		},
		"the header in two writes": func(_ *fasthttp.Server, ctx *fasthttp.RequestCtx) {
			writeAndEnd(ctx, func(empty []byte) []byte { return empty[:len(empty)/2] })
		},
		"another status": func(_ *fasthttp.Server, ctx *fasthttp.RequestCtx) {
			ctx.SetStatusCode(500)
		},
		"idle before it is written": func(s *fasthttp.Server, ctx *fasthttp.RequestCtx) {
			s.ConnState(ctx.Conn(), fasthttp.StateIdle)
		},
		"never written": func(_ *fasthttp.Server, ctx *fasthttp.RequestCtx) {
			ctx.HijackSetNoResponse(true)
			ctx.Hijack(func(net.Conn) {})
		},
		"written with the next": func(s *fasthttp.Server, ctx *fasthttp.RequestCtx) {
			writeAndEnd(ctx, func(empty []byte) []byte { return bytes.Repeat(empty, 2) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setting{log: slog.New(slog.DiscardHandler), server: func(s *fasthttp.Server) {
				serve := s.Handler
				s.Handler = func(ctx *fasthttp.RequestCtx) {
					serve(ctx)
					if string(ctx.Path()) == "/v1/second" {
						change(s, ctx)
					}
				}
			}})
			w.pay.answerWith(func(c net.Conn, r *http.Request) {
				answer := strings.Replace(plainAnswer, "ok", r.URL.Path[len("/v1/"):][:2], 1)
				_, _ = io.WriteString(c, answer)
			})
			c := w.dial(w.issue(checkoutID), "pay.example")
			c.send(get("pay.example", "/v1/first") + get("pay.example", "/v1/second") + get("pay.example", "/v1/third"))
			if r := c.receive("GET"); r.StatusCode != 200 || r.body != "fi" {
				t.Errorf("the first response is %d %q", r.StatusCode, r.body)
			}
			if rest, _ := io.ReadAll(c.in); len(rest) > 0 {
				t.Errorf("the client got %q", rest)
			}
			a := w.audit.find(t, "the second request", func(r record) bool { return r.text("path") == "/v1/second" })
			if a.text("decision") != "error" || a.text("reason") != "internal" || a.number("bytes_out") != 0 {
				t.Errorf("the record says %v", a)
			}
			w.close()
			if got := w.audit.count("request"); got != 2 {
				t.Errorf("AUD-01: 2 requests were served, %d records", got)
			}
		})
	}
}

// writeAndEnd writes what edit makes of the empty response, and then ends the connection as
// fasthttp does when a Write fails.
func writeAndEnd(ctx *fasthttp.RequestCtx, edit func(empty []byte) []byte) {
	var empty bytes.Buffer
	_, _ = ctx.Response.WriteTo(&empty)
	if _, err := ctx.Conn().Write(edit(empty.Bytes())); err != nil {
		panic(err)
	}
}
