package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/certpath"
	"verigate/handoff"
	"verigate/http1gate"
	"verigate/tlsterm"
)

// ListenerOptions describes one listener: how it terminates TLS and how it speaks
// HTTP. Zero values get the defaults named.
type ListenerOptions struct {
	// TLS is the listener's TLS side. Cache, Trust, Observer and Limiter are filled
	// in by [New].
	TLS tlsterm.Options
	// HTTP1 bounds requests. Reserved is filled in by [New].
	HTTP1 http1gate.Limits
	// IdleTimeout is how long a connection may wait for its next request; 75 s.
	IdleTimeout time.Duration
	// BodyTimeout is how long a request's body may make no progress; 30 s.
	BodyTimeout time.Duration
	// WriteTimeout is how long one write to a client may make no progress; 30 s.
	WriteTimeout time.Duration
}

// listener is one address with the HTTP server behind it.
type listener struct {
	gateway *Gateway
	name    string
	options ListenerOptions // complete
	limits  http1gate.Limits
	tls     *tlsterm.Listener
	server  *fasthttp.Server
}

// Sizes of the buffers that a connection holds while a request is being served,
// and for a moment after. fasthttp refuses a header block larger than its read
// buffer; the gate, with its clearer answer, is to refuse first.
const (
	readBufferBytes   = 32 << 10
	readBufferReserve = 4 << 10
	writeBufferBytes  = 16 << 10
)

func (g *Gateway) listen(o ListenerOptions) (*listener, error) {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&o.IdleTimeout, 75 * time.Second}, {&o.BodyTimeout, 30 * time.Second}, {&o.WriteTimeout, 30 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	o.HTTP1.Reserved = Reserved
	o.TLS.Cache, o.TLS.Trust, o.TLS.Limiter = g.options.Cache, g.options.Trust, g.limiter
	o.TLS.NextProtos = []string{"http/1.1", "http/1.0"} // one server speaks both; `curl --http1.0` offers the second alone
	o.TLS.Observer = g.observer(o.TLS.Name)
	l := &listener{gateway: g, name: o.TLS.Name, options: o, limits: o.HTTP1}
	l.server = &fasthttp.Server{
		Handler:       l.serveHTTP1,
		ExpectHandler: l.expectHTTP1,
		ErrorHandler:  l.failHTTP1,
		ConnState: func(c net.Conn, s fasthttp.ConnState) {
			c.(*edgeConn).state(s)
		},
		// The gate has read the same octets more strictly; what fasthttp adds is
		// speed, not judgement, so everything it would do on its own is off.
		NoDefaultServerHeader:        true,
		NoDefaultDate:                true, // the backend's is forwarded; package upstream takes this back where there is none
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		StreamRequestBody:            true,
		SecureErrorLogMessage:        true,
		ReadBufferSize:               max(readBufferBytes, o.HTTP1.MaxHeaderBytes+readBufferReserve),
		WriteBufferSize:              writeBufferBytes,
		Concurrency:                  1 << 30, // tlsterm counts connections
		Logger:                       serverLog{g.options.Log},
	}
	var err error
	l.tls, err = tlsterm.Listen(o.TLS)
	return l, err
}

// observer tells telemetry of everything, and the owner of the gateway of issuers
// that nobody knows.
func (g *Gateway) observer(name string) tlsterm.Observer {
	o := g.options.Telemetry.Observer(name)
	tell := g.options.UnknownIssuer
	if tell == nil {
		return o
	}
	record := o.Handshake
	o.Handshake = func(h *tlsterm.Handshake) {
		record(h)
		if fault := h.Verdict.Err; fault != nil && (fault.Reason == certpath.ReasonUntrustedChain || fault.Reason == certpath.ReasonBadSignature) {
			tell(h.Verdict.ID.Origin())
		}
	}
	return o
}

// serve serves connections, each on a goroutine of its own, until the listener
// is closed. It does not wait for them; the drain does.
func (l *listener) serve() error {
	err := l.tls.Serve(func(conn *tlsterm.Conn) {
		c := l.newEdgeConn(conn)
		if l.gateway.arriving != nil {
			l.gateway.arriving()
		}
		if !l.gateway.register(c) {
			conn.Close()
			return
		}
		c.serve()
	})
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("listener %q: %w", l.name, err)
}

// Reserved reports whether a field name must not come in a spelling that hides
// it from us: what conveys the caller, and the number by which this request is
// found in the logs of several systems. The gate of every listener asks it.
func Reserved(name []byte) bool {
	return handoff.Reserved(name) || isRequestID(name)
}

// isRequestID reports whether name is X-Request-Id, in any case and with any
// punctuation for '-'.
func isRequestID(name []byte) bool {
	const want = "x-request-id"
	if len(name) != len(want) {
		return false
	}
	for i := range len(want) {
		c := name[i] | 0x20
		if letter, digit := 'a' <= c && c <= 'z', '0' <= c && c <= '9'; !letter && !digit {
			c = '-'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

// serverLog takes fasthttp's complaints. What matters of a request is in its
// record; these lines are for the developer.
type serverLog struct{ log *slog.Logger }

func (s serverLog) Printf(format string, args ...any) { s.log.Debug(fmt.Sprintf(format, args...)) }
