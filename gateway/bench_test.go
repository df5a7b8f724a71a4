package gateway_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"verigate/assurance"
	"verigate/gateway"
	"verigate/handoff"
	"verigate/internal/race"
	"verigate/policy"
	"verigate/routing"
	"verigate/upstream"
	"verigate/workloadid"
)

// decider is what `n` routes and as many rules decide.
func decider(t testing.TB, n int) (*gateway.Program, *gateway.Question) {
	t.Helper()
	var routes []routing.Route
	allow := map[string][]policy.Rule{}
	for i := range n {
		name := fmt.Sprintf("route-%d", i)
		routes = append(routes, routing.Route{Name: name, Match: routing.Match{Host: fmt.Sprintf("h%d.example", i), Path: "/v1"}, Upstream: "pay"})
		allow[name] = []policy.Rule{{Name: "rule", Caller: pattern(t, checkoutID)}}
	}
	table := must(routing.Compile(routes))(t)
	rules := must(policy.Compile(policy.Options{Allow: allow}, table))(t)
	up := must(upstream.New(upstream.Options{Name: "pay", Endpoints: []string{"127.0.0.1:1"}, Plain: true}))(t)
	program := must(gateway.NewProgram(table, rules, map[string]*gateway.Backend{"pay": {Upstream: up}}))(t)
	t.Cleanup(func() { program.Close(t.Context()) })
	host := fmt.Sprintf("h%d.example", n/2)
	return program, &gateway.Question{
		Subject: policy.Subject{ID: must(workloadid.Parse(checkoutID))(t), Grade: assurance.Grade{MIAL: 1}},
		SNI:     host, Host: host, Path: "/v1/charge", Method: "GET",
		Header: func(string) (string, bool) { return "", false },
	}
}

func TestDecidingDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		return
	}
	program, question := decider(t, 100)
	if n := testing.AllocsPerRun(1000, func() {
		if d := program.Decide(question); !d.Granted() {
			t.Error("not granted")
		}
	}); n != 0 {
		t.Errorf("Decide allocates %v times when it grants, want 0", n)
	}
}

// BenchmarkDecide is scope, route and policy together, without HTTP.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			program, question := decider(b, n)
			b.ReportAllocs()
			for b.Loop() {
				if d := program.Decide(question); !d.Granted() {
					b.Fatal("not granted")
				}
			}
		})
	}
}

// plainBackend answers every request with the same 1 KiB and allocates nothing.
func plainBackend(b *testing.B) string {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))(b)
	b.Cleanup(func() { ln.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 1024\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\n\r\n" + strings.Repeat("x", 1024))
	end := []byte("\r\n\r\n")
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buffer := make([]byte, 16<<10)
				for n := 0; ; {
					m, err := c.Read(buffer[n:])
					if err != nil {
						return
					}
					if n += m; bytes.HasSuffix(buffer[:n], end) { // requests have no body
						if _, err := c.Write(answer); err != nil {
							return
						}
						n = 0
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// exchangeLoop sends one request after the other on one keep-alive connection.
func exchangeLoop(b *testing.B, w *world, host, send string, status int) {
	c := w.dial(w.issue(checkoutID), host)
	_ = c.NetConn().SetDeadline(time.Time{})
	w.audit.discard.Store(true)
	b.ReportAllocs()
	line := []byte(fmt.Sprintf("HTTP/1.1 %d ", status))
	request := []byte(send)
	for b.Loop() {
		if _, err := c.Conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if err := skipResponse(c.in, line); err != nil {
			b.Fatal(err)
		}
	}
}

// skipResponse reads a response with a Content-Length and allocates nothing.
func skipResponse(in *bufio.Reader, status []byte) error {
	length := 0
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && !bytes.HasPrefix(line, status):
			return fmt.Errorf("response %q", line)
		case len(line) == 2:
			_, err := in.Discard(length)
			return err
		}
		if digits, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			for _, d := range bytes.TrimSpace(digits) {
				length = length*10 + int(d-'0')
			}
		}
	}
}

// BenchmarkProxiedRequest is a request for 1 KiB on a keep-alive connection over
// TLS, forwarded to a plain backend on loopback, with telemetry, audit and all
// forms of handoff. Client and backend are in this process and neither allocates:
// the allocations are the gateway's, the time is of all three.
func BenchmarkProxiedRequest(b *testing.B) {
	w := newWorld(b, setting{})
	w.swapPlain(b, plainBackend(b))
	exchangeLoop(b, w, "pay.example", get("pay.example", "/v1/charge", "User-Agent: bench", "Accept: */*"), http.StatusOK)
}

// BenchmarkRefused is a request that policy denies: what is left is the client,
// TLS and the gateway itself.
func BenchmarkRefused(b *testing.B) {
	w := newWorld(b, setting{})
	exchangeLoop(b, w, "pay.example", get("pay.example", "/v1/admin", "User-Agent: bench", "Accept: */*"), http.StatusForbidden)
}

// swapPlain has payments go to a backend without TLS.
func (w *world) swapPlain(t testing.TB, address string) {
	t.Helper()
	routes := must(routing.Compile([]routing.Route{{Name: "payments", Match: routing.Match{Host: "pay.example", Path: "/v1"}, Upstream: "pay"}}))(t)
	rules := must(policy.Compile(policy.Options{Allow: map[string][]policy.Rule{"payments": {{Name: "checkout", Caller: pattern(t, checkoutID)}}}}, routes))(t)
	up := must(upstream.New(upstream.Options{Name: "pay", Endpoints: []string{address}, Plain: true}))(t)
	w.gateway.Swap(must(gateway.NewProgram(routes, rules, map[string]*gateway.Backend{"pay": {
		Upstream: up, Handoff: handoff.New(handoff.ClientCert|handoff.ClientCertChain|handoff.XFCC|handoff.Workload, w.own.c.ID()),
	}}))(t))
}
