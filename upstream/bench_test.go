package upstream

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/devpki"
)

// BenchmarkForward measures a whole exchange over loopback with a backend in the
// same process, on one kept connection: the backend's work and the kernel's are
// part of it. cpu-ns/op is user and system time of the process, which a busy
// machine disturbs less than ns/op. HostClient is fasthttp's own client in the
// same position.
func BenchmarkForward(b *testing.B) {
	body := strings.Repeat("x", 1024)
	handler := func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(body) }
	d := newDomain(b)
	plain := serve(b, nil, handler)
	mtls := serve(b, d.serverTLS(d.leaf(b, devpki.LeafOptions{URIs: []string{apiID}})), handler)

	b.Run("plain", func(b *testing.B) { benchForward(b, open(b, plainOptions(plain.addr())), "GET") })
	b.Run("plain-POST", func(b *testing.B) { benchForward(b, open(b, plainOptions(plain.addr())), "POST") })
	b.Run("mTLS", func(b *testing.B) { benchForward(b, open(b, d.options(b, mtls.addr())), "GET") })
	b.Run("HostClient-plain", func(b *testing.B) {
		client := &fasthttp.HostClient{Addr: plain.addr(), MaxIdemponentCallAttempts: 1, ConnPoolStrategy: fasthttp.LIFO, StreamResponseBody: true}
		var req fasthttp.Request
		var resp fasthttp.Response
		req.SetRequestURI("http://" + plain.addr() + "/a")
		defer reportCPU(b)()
		for b.Loop() {
			if err := client.Do(&req, &resp); err != nil {
				b.Fatal(err)
			}
			resp.Body()
		}
	})
}

func benchForward(b *testing.B, u *Upstream, method string) {
	grant := grantFor(b, u.Name())
	var req fasthttp.Request
	var resp fasthttp.Response
	req.Header.SetHost("pay.example")
	req.Header.SetMethod(method)
	req.Header.SetRequestURI("/a")
	if method == "POST" {
		req.SetBodyString(strings.Repeat("y", 512))
	}
	defer reportCPU(b)()
	for b.Loop() {
		if _, err := u.Forward(grant, &Call{Request: &req, Response: &resp}); err != nil {
			b.Fatal(err)
		}
		if resp.IsBodyStream() {
			resp.Body()
		}
	}
}

func reportCPU(b *testing.B) (stop func()) {
	b.ReportAllocs()
	used := func() time.Duration {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}
