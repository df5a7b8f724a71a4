package gateway_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/gateway"
	"verigate/upstream"
)

// ways are what makes the gateway pass headers on as octets or take them apart: a field of the
// request, and one of the response, that are of no other consequence.
var ways = map[string]struct{ request, response string }{
	"octets":      {},
	"taken apart": {"Tracestate: a=b\r\n", "Trailer: X-None\r\n"},
}

// bothWays runs a claim with headers as octets and taken apart.
func bothWays(t *testing.T, claim func(t *testing.T, way string)) {
	for _, way := range slices.Sorted(maps.Keys(ways)) {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			claim(t, way)
		})
	}
}

// inWay has a request go the way.
func inWay(way, request string) string {
	return strings.Replace(request, "\r\nHost:", "\r\n"+ways[way].request+"Host:", 1)
}

// answering returns a backend's answer that goes the way: MORE stands for a line of its header.
func answering(way string, pieces ...string) func(net.Conn, *http.Request) {
	return func(c net.Conn, _ *http.Request) {
		for _, piece := range pieces {
			_, _ = io.WriteString(c, strings.ReplaceAll(piece, "MORE\r\n", ways[way].response))
		}
	}
}

const (
	dateLine  = "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
	wayAnswer = "HTTP/1.1 200 OK\r\n" + dateLine + "MORE\r\nContent-Length: 2\r\n\r\nok"
)

// A conversation on one connection is the same with headers as octets and taken apart: what the
// client reads, what is recorded, and what the backend is asked.
func TestConversationsAreAlikeBothWays(t *testing.T) {
	t.Parallel()
	const ok = wayAnswer
	plain := get("pay.example", "/v1/x")
	last := get("pay.example", "/v1/x", "Connection: close")
	http10 := func(fields string) string { return "GET /v1/x HTTP/1.0\r\nHost: pay.example\r\n" + fields + "\r\n" }
	chunked := request("POST", "pay.example", "/v1/x", "", "Transfer-Encoding: chunked")
	status := func(status string) []string { return []string{strings.Replace(ok, "200 OK", status, 1)} }
	filled := func(lines int) []string {
		return []string{strings.Replace(ok, "MORE", strings.Repeat("X-Y: "+strings.Repeat("z", 95)+"\r\n", lines)+"MORE", 1)}
	}
	long := func(n int) []string {
		return []string{fmt.Sprintf("HTTP/1.1 200 OK\r\n"+dateLine+"MORE\r\nContent-Length: %d\r\n\r\n%s", n, strings.Repeat("x", n))}
	}
	const (
		open  = iota
		ends  // the backend says goodbye behind its answer
		fails // it resets the connection
		cuts  // it ends without a goodbye
		waits // it says no more, and is waited for briefly
	)
	for name, tt := range map[string]struct {
		requests []string
		answer   []string
		then     int
	}{
		"HTTP/1.0":                       {requests: []string{http10(""), plain}, answer: []string{ok}},
		"HTTP/1.0 with keep-alive":       {requests: []string{http10("Connection: keep-alive\r\n"), plain, http10("Connection: keep-alive\r\n"), http10(""), plain}, answer: []string{ok}},
		"HTTP/1.0 with close":            {requests: []string{http10("Connection: close\r\n"), plain}, answer: []string{ok}},
		"keep-alive":                     {requests: []string{get("pay.example", "/v1/x", "Connection: keep-alive"), plain}, answer: []string{ok}},
		"close in a list":                {requests: []string{get("pay.example", "/v1/x", "Connection: keep-alive, close"), plain}, answer: []string{ok}},
		"close in capitals":              {requests: []string{get("pay.example", "/v1/x", "Connection: CLOSE"), plain}, answer: []string{ok}},
		"close in a second line":         {requests: []string{get("pay.example", "/v1/x", "Connection: keep-alive", "Connection: close"), plain}, answer: []string{ok}},
		"Expect without a body":          {requests: []string{get("pay.example", "/v1/x", "Expect: 100-continue"), plain}, answer: []string{ok}},
		"Expect without a body, refused": {requests: []string{get("pay.example", "/none", "Expect: 100-continue"), plain}, answer: []string{ok}},
		"HEAD":                           {requests: []string{request("HEAD", "pay.example", "/v1/x", "")}, answer: []string{strings.TrimSuffix(ok, "ok")}},
		"HEAD with a body":               {requests: []string{request("HEAD", "pay.example", "/v1/x", ""), plain}, answer: []string{ok}},
		"204 with a body":                {requests: []string{plain, plain}, answer: status("204 No Content")},
		"304 with a body":                {requests: []string{plain, plain}, answer: status("304 Not Modified")},
		"205 with a body":                {requests: []string{plain, plain}, answer: status("205 Reset Content")},
		"999":                            {requests: []string{plain, plain}, answer: status("999 Odd")},
		"404":                            {requests: []string{plain, plain}, answer: status("404 Not Found")},
		"101":                            {requests: []string{plain, plain}, answer: []string{"HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n" + ok}},
		"199":                            {requests: []string{plain, plain}, answer: []string{"HTTP/1.1 199 Odd\r\n\r\n" + ok}},
		"interim responses":              {requests: []string{plain, plain}, answer: []string{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ok}},
		"interim and close":              {requests: []string{plain, plain}, answer: []string{"HTTP/1.1 103 Early\r\nConnection: close\r\n\r\n" + ok}},
		"interim and close, in pieces":   {requests: []string{plain, plain}, answer: []string{"HTTP/1.1 103 Early\r\nConnection: close\r\n\r\n", ok}},
		"interim with everything":        {requests: []string{plain, plain}, answer: []string{"HTTP/1.1 103 Early\r\nDate: x\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\r\n" + ok}},
		"a header in pieces":             {requests: []string{plain, plain}, answer: []string{ok[:20], ok[20:60], ok[60:]}},
		"a body in pieces":               {requests: []string{plain, plain}, answer: []string{ok[:len(ok)-2], "o", "k"}},
		"octets behind the body":         {requests: []string{plain, plain}, answer: []string{ok + "more"}},
		"a second response":              {requests: []string{plain, plain, plain}, answer: []string{ok + strings.TrimSuffix(ok, "ok") + "no"}},
		"the end in the header":          {requests: []string{plain, plain}, answer: []string{ok[:30]}, then: ends},
		"the end behind the body":        {requests: []string{plain, plain, plain}, answer: []string{ok}, then: ends},
		"the end at once":                {requests: []string{plain, plain}, then: ends},
		"a reset in the header":          {requests: []string{plain, plain}, answer: []string{ok[:30]}, then: fails},
		"an end in the header, cut off":  {requests: []string{plain, plain}, answer: []string{ok[:30]}, then: cuts},
		"a stop in the header":           {requests: []string{plain, plain}, answer: []string{ok[:30]}, then: waits},
		"a header of 16 KiB":             {requests: []string{plain, plain}, answer: filled(157)},
		"a header beyond 16 KiB":         {requests: []string{plain, plain}, answer: filled(165)},
		"a body of 15 KiB":               {requests: []string{plain, plain, last, plain}, answer: long(15 << 10)},
		"a body beyond the buffer":       {requests: []string{plain, plain, last, plain}, answer: long(20 << 10)},
		"one way and the other": {requests: []string{plain, request("POST", "pay.example", "/v1/x", "body"), get("pay.example", "/none"), plain,
			request("HEAD", "pay.example", "/none", ""), http10("Connection: keep-alive\r\n"), chunked + "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n", plain,
			get("pay.example", "/v1/admin"), request("PUT", "pay.example", "/v1/x", strings.Repeat("x", 70000)), plain, last, plain}, answer: []string{ok}},
		"a malformed header behind": {requests: []string{plain, "GET /v1/x HTTP/1.1\r\nHost: pay.example\r\nX y: z\r\n\r\n", plain}, answer: []string{ok}},
		"a malformed body behind":   {requests: []string{plain, chunked + "3\r\nabcX\r\n0\r\n\r\n", plain}, answer: []string{ok}},
		"fields in HTTP/1.0":        {requests: []string{http10("Connection: X-Named\r\nX-Named: 1\r\nKeep-Alive: 5\r\nX-Forwarded-For: 1\r\nCookie: a=b\r\n"), plain}, answer: []string{ok}},
		"an absolute target":        {requests: []string{"GET https://pay.example./v1/x?y HTTP/1.1\r\nHost: pay.example.\r\n\r\n", plain}, answer: []string{ok}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			converse := func(way string) (seen []string) {
				w := newWorld(t, setting{upstream: func(o *upstream.Options) {
					if tt.then == waits {
						o.ResponseTimeout = 100 * time.Millisecond
					}
				}})
				var asked atomic.Int64
				w.pay.answerWith(func(c net.Conn, r *http.Request) {
					asked.Add(1)
					answering(way, tt.answer...)(c, r)
					raw := c.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn)
					switch tt.then {
					case ends:
						c.Close()
					case fails:
						_ = raw.SetLinger(0)
						raw.Close()
					case cuts:
						raw.Close()
					}
				})
				c := w.dial(w.issue(checkoutID), "pay.example")
				for _, r := range tt.requests {
					c.send(inWay(way, r))
				}
				for _, sent := range tt.requests {
					method, _, _ := strings.Cut(sent, " ")
					r, err := c.tryReceive(method)
					for err == nil && r.StatusCode == http.StatusContinue {
						r, err = c.tryReceive(method)
					}
					if r.Response == nil {
						seen = append(seen, "nothing")
						break
					}
					reason, a := r.reason(), w.audit.request(t, r.id())
					if reason != "" {
						r.body = reason
					}
					seen = append(seen, fmt.Sprintf("%s %s %d octets, last %q, broken %v, close %v, %d dates, %d ids; recorded %s %s %v", r.Proto, r.Status, len(r.body),
						r.body[max(0, len(r.body)-20):], err != nil, r.Close, len(r.Header.Values("Date")), len(r.Header.Values("X-Request-Id")), a.text("decision"), a.text("reason"), a["status"]))
					if r.Close || err != nil {
						c.ended()
						break
					}
				}
				c.Close()
				w.close()
				if tt.then == waits {
					return seen // a backend that is late need not have read what nobody waits for
				}
				for range asked.Load() {
					s := w.pay.next(t)
					line, _, _ := strings.Cut(s.raw, "\r\n")
					fields := fieldsOf(s)
					maps.DeleteFunc(fields, func(name string, _ []string) bool { return strings.Contains(name, "client-cert") }) // each world has its own
					seen = append(seen, fmt.Sprintf("sent %s %v and %d octets", line, fields, len(s.body)))
				}
				return append(seen, fmt.Sprintf("asked %d, records %d", asked.Load(), w.audit.count("request")))
			}
			if octets, apart := converse("octets"), converse("taken apart"); !slices.Equal(octets, apart) {
				t.Errorf("as octets\n\t%s\ntaken apart\n\t%s", strings.Join(octets, "\n\t"), strings.Join(apart, "\n\t"))
			}
		})
	}
}

// A mistake behind a response that is there, or behind one that is made ready, ends the
// connection, says so in the record, and leaves nothing for anybody else.
func TestPanicBehindAResponse(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, way string) {
		var w *world
		ready := make(chan struct{})
		w = newWorld(t, setting{log: slog.New(slog.DiscardHandler), server: func(s *fasthttp.Server) {
			serve := s.Handler
			s.Handler = func(ctx *fasthttp.RequestCtx) {
				<-ready
				switch string(ctx.Path()) {
				case "/v1/there":
					w.gateway.ServeThen(ctx, func() { panic("a mistake") })
				case "/v1/ready":
					serve(ctx)
					panic("a mistake")
				default:
					serve(ctx)
				}
			}
		}})
		close(ready)
		w.pay.answerWith(func(c net.Conn, r *http.Request) {
			answering(way, strings.Replace(wayAnswer, "\r\n\r\nok", "\r\nX-Path: "+r.URL.Path+"\r\n\r\nok", 1))(c, r)
		})
		checkout := w.issue(checkoutID)
		good := inWay(way, get("pay.example", "/v1/good"))

		c := w.dial(checkout, "pay.example")
		c.t = t
		r := c.do(inWay(way, get("pay.example", "/v1/there")) + good)
		if r.StatusCode != 500 || r.reason() != "internal" || !r.Close || r.Header.Get("X-Path") != "" {
			t.Errorf("%d %v %s", r.StatusCode, r.Header, r.body)
		}
		c.ended()
		if a := w.audit.request(t, r.id()); a.text("reason") != "internal" || a.text("decision") != "error" || a.number("status") != 500 {
			t.Errorf("the record says %v", a)
		}

		c = w.dial(checkout, "pay.example")
		c.t = t
		c.send(inWay(way, get("pay.example", "/v1/ready")) + good)
		c.ended()
		a := w.audit.find(t, "the second request", func(r record) bool { return r.text("path") == "/v1/ready" })
		if a.text("reason") != "internal" || a.text("decision") != "error" || a.number("bytes_out") != 0 {
			t.Errorf("the record says %v", a)
		}

		for range 4 { // the memory of those is used again
			c = w.dial(checkout, "pay.example")
			c.t = t
			if r := c.do(good); r.StatusCode != 200 || r.body != "ok" || r.Header.Get("X-Path") != "/v1/good" {
				t.Errorf("%d %v %s", r.StatusCode, r.Header, r.body)
			}
			if r := c.do(get("pay.example", "/none")); r.StatusCode != 404 || r.reason() != "no_route" {
				t.Errorf("%d %v %s", r.StatusCode, r.Header, r.body)
			}
		}
	})
}

// A caller that is refused, and a gateway that is drained, between a response and its sending:
// it is sent, and the last one.
func TestEndBetweenAResponseAndItsSending(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*world){
		"refused": func(w *world) { w.publish(denied(w.t, checkoutID)) },
		"drained": func(w *world) {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_ = w.gateway.Drain(ctx)
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, way string) {
				var w *world
				ready := make(chan struct{})
				w = newWorld(t, setting{server: func(s *fasthttp.Server) {
					s.Handler = func(ctx *fasthttp.RequestCtx) {
						<-ready
						w.gateway.ServeThen(ctx, func() {
							end(w)
							for !gateway.Ending(ctx.Conn()) {
								runtime.Gosched()
							}
						})
					}
				}})
				close(ready)
				w.pay.answerWith(answering(way, wayAnswer))
				c := w.dial(w.issue(checkoutID), "pay.example")
				c.t = t
				r := c.do(inWay(way, get("pay.example", "/v1/x")+get("pay.example", "/v1/x")))
				if r.StatusCode != 200 || r.body != "ok" || !r.Close {
					t.Errorf("%d %q, close %v", r.StatusCode, r.body, r.Close)
				}
				c.ended()
				w.pay.next(t)
				w.pay.none(t)
				if a := w.audit.request(t, r.id()); a.text("decision") != "allowed" || a.text("reason") != "" {
					t.Errorf("the record says %v", a)
				}
			})
		})
	}
}

// A body that nobody read ends the connection, and its response says so.
func TestResponseInFrontOfAnUnreadBody(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, way string) {
		w := newWorld(t, setting{server: func(s *fasthttp.Server) {
			serve := s.Handler
			s.Handler = func(ctx *fasthttp.RequestCtx) {
				ctx.Request.SetBodyRaw(nil)
				serve(ctx)
			}
		}})
		w.pay.answerWith(answering(way, wayAnswer))
		c := w.dial(w.issue(checkoutID), "pay.example")
		c.t = t
		c.send("POST /v1/x HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 10000), get("pay.example", "/v1/smuggled"))
		if r := c.receive("POST"); r.StatusCode != 200 || r.body != "ok" || !r.Close {
			t.Errorf("%d %q, close %v", r.StatusCode, r.body, r.Close)
		}
		c.ended()
		w.pay.next(t)
		w.pay.none(t)
	})
}

// A client that does not read ends its connection when the gateway has waited for long enough,
// and what it has got until then is whole responses and a part of one.
func TestClientThatDoesNotReadResponses(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, way string) {
		w := newWorld(t, setting{listener: func(o *gateway.ListenerOptions) { o.WriteTimeout = 300 * time.Millisecond }})
		body := strings.Repeat("0123456789abcde\n", 900)
		w.pay.answerWith(answering(way, fmt.Sprintf("HTTP/1.1 200 OK\r\n"+dateLine+"MORE\r\nContent-Length: %d\r\n\r\n%s", len(body), body)))
		c := w.dial(w.issue(checkoutID), "pay.example")
		c.t = t
		_ = c.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10)
		var sending sync.WaitGroup
		sending.Go(func() {
			for { // far more than the kernel keeps
				if _, err := io.WriteString(c.Conn, inWay(way, get("pay.example", "/v1/x"))); err != nil {
					return
				}
			}
		})
		a := w.audit.because(t, "client_gone")
		if a.text("decision") != "allowed" || a.number("status") != 200 || a.number("bytes_out") > len(body)+1000 {
			t.Errorf("the record says %v", a)
		}
		whole := 0
		for {
			r, err := c.tryReceive("GET")
			if r.Response == nil {
				break
			}
			if err != nil {
				if !strings.HasPrefix(body, r.body) {
					t.Errorf("the last response, which is cut off, ends in %q", r.body[max(0, len(r.body)-100):])
				}
				break
			}
			if r.StatusCode != 200 || r.body != body {
				t.Fatalf("response %d is %d with %d octets", whole, r.StatusCode, len(r.body))
			}
			whole++
		}
		c.NetConn().Close()
		sending.Wait()
		if whole == 0 {
			t.Error("there was no whole response")
		}
	})
}

// A request that another program overtakes ends by its own, and the connection goes on with the
// new one.
func TestReloadBetweenAResponseAndItsSending(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, way string) {
		var w *world
		var next *gateway.Program
		ready := make(chan struct{})
		w = newWorld(t, setting{server: func(s *fasthttp.Server) {
			serve := s.Handler
			s.Handler = func(ctx *fasthttp.RequestCtx) {
				<-ready
				if string(ctx.Path()) == "/v1/reload" {
					w.gateway.ServeThen(ctx, func() { w.gateway.Swap(next) })
					return
				}
				serve(ctx)
			}
		}})
		next = w.newProgram(nil)
		close(ready)
		w.pay.answerWith(answering(way, wayAnswer))
		c := w.dial(w.issue(checkoutID), "pay.example")
		c.t = t
		c.send(inWay(way, get("pay.example", "/v1/reload")) + inWay(way, get("pay.example", "/v1/x")))
		for range 2 {
			if r := c.receive("GET"); r.StatusCode != 200 || r.body != "ok" || r.Close {
				t.Errorf("%d %q, close %v", r.StatusCode, r.body, r.Close)
			}
		}
		if first, second := w.pay.next(t), w.pay.next(t); first.conn == second.conn {
			t.Error("the new program used a connection of the old one")
		}
	})
}
