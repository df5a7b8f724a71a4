package gateway

import (
	"net"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"

	"verigate/tlsterm"
)

// ListenThrough has every listener accept from what wrap makes of a TCP listener on a
// port of the kernel's choice. To be called before [Gateway.Serve].
func (g *Gateway) ListenThrough(wrap func(net.Listener) net.Listener) error {
	for _, l := range g.listeners {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		other, err := tlsterm.ListenOn(wrap(inner), l.options.TLS)
		if err != nil {
			inner.Close()
			return err
		}
		_ = l.tls.Close()
		l.tls = other
	}
	return nil
}

// OnArrival has f called for every connection whose handshake is done, before it is
// registered. To be set before [Gateway.Serve].
func (g *Gateway) OnArrival(f func()) { g.arriving = f }

// Server is the HTTP server behind the first listener. It may be changed before
// [Gateway.Serve].
func (g *Gateway) Server() *fasthttp.Server { return g.listeners[0].server }

// ConnectionBytes is the size of what the gateway itself keeps of a connection.
const ConnectionBytes = unsafe.Sizeof(edgeConn{})

// SetPaddedBudget sets how long callers with padded chains may be judged in one look.
// To be set before the first connection.
func (g *Gateway) SetPaddedBudget(d time.Duration) { g.rejudger.budget = d }

// ServeThen serves a request as the listener does, and calls between when the response is
// there and nothing of it has been sent.
func (g *Gateway) ServeThen(ctx *fasthttp.RequestCtx, between func()) {
	x := g.listeners[0].begin(ctx)
	defer x.end()
	if decision := x.judge(); decision.Granted() {
		x.forward(&decision)
	}
	between()
}

// Ending reports whether a connection that the HTTP server has is to end.
func Ending(c net.Conn) bool { return c.(*edgeConn).ending() }

// EndVerdicts has the verdicts about all callers end at a moment of which the rejudger
// has not been told, and returns what tells whether all of them were judged since.
func (g *Gateway) EndVerdicts(at time.Time) (judged func() bool) {
	var all []*edgeConn
	for _, d := range g.live.all() {
		all = append(all, g.live.conns(d, nil)...)
	}
	for _, c := range all {
		c.mu.Lock()
		c.until = at.UnixNano()
		c.mu.Unlock()
	}
	return func() bool {
		for _, c := range all {
			c.mu.Lock()
			same := c.until == at.UnixNano()
			c.mu.Unlock()
			if same {
				return false
			}
		}
		return true
	}
}
