package mtls

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"go.k6.io/k6/lib"
)

// The protocols that a fleet can insist on.
const (
	protocolH1  = "h1"
	protocolH2  = "h2"
	protocolAny = "any"
)

// maxBodyBytes bounds what is read of an answer.
const maxBodyBytes = 64 << 20

// conn is a connection of one identity on which the handshake is over.
type conn struct {
	identity   int
	generation int
	raw        *lingering
	tls        *tls.Conn
	state      tls.ConnectionState
	place      place

	h2     *http.ClientConn // nil with HTTP/1.1
	reader *bufio.Reader    // nil with HTTP/2
	writer *bufio.Writer

	// connecting and handshaking are how long its making took, from began on.
	began                   time.Time
	connecting, handshaking time.Duration
}

// dial makes the connection. The error wraps the server's alert if that is why
// there is none.
func dial(ctx context.Context, dialer lib.DialContexter, address string, config *tls.Config) (*conn, error) {
	c := &conn{began: time.Now()}
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	connected := time.Now()
	c.connecting = connected.Sub(c.began)
	c.raw = &lingering{Conn: raw}
	c.tls = tls.Client(c.raw, config)
	if err := c.tls.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	c.handshaking = time.Since(connected)
	c.state = c.tls.ConnectionState()
	if err := c.speak(ctx, address, config.NextProtos); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// lingerTime is how long a connection of HTTP/2 can be read after it was closed.
const lingerTime = time.Second

// lingering is a connection that can still be read for a moment after it was closed.
// net/http's client of HTTP/2 closes when its first frames run into a connection that
// the server has closed, and would throw away the alert that says why.
type lingering struct {
	net.Conn
	lingers atomic.Bool
}

func (l *lingering) Close() error {
	if !l.lingers.Load() {
		return l.Conn.Close()
	}
	time.AfterFunc(lingerTime, func() { l.Conn.Close() })
	return nil
}

// speak makes ready for the protocol that was agreed on, which must be one of those
// that were offered. A server without ALPN speaks HTTP/1.1.
func (c *conn) speak(ctx context.Context, address string, offered []string) (err error) {
	agreed := c.state.NegotiatedProtocol
	switch {
	case agreed == "h2":
		c.raw.lingers.Store(true)
		c.h2, err = h2Transport.NewClientConn(context.WithValue(ctx, h2Connection{}, c.tls), "https", address)
		if err != nil {
			return errors.Join(c.alert(), err)
		}
		return nil
	case agreed == "" && len(offered) == 1 && offered[0] == "h2":
		return fmt.Errorf("%w: HTTP/2 was offered, and the server agreed on nothing", errProtocol)
	}
	c.reader, c.writer = bufio.NewReader(c.tls), bufio.NewWriter(c.tls)
	return nil
}

// h2Connection is the key of the connection in the context that h2Transport dials with.
type h2Connection struct{}

// h2Transport makes clients of HTTP/2 for connections that are there already.
var h2Transport = func() *http.Transport {
	t := &http.Transport{
		Protocols:          new(http.Protocols),
		DisableCompression: true,
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return ctx.Value(h2Connection{}).(*tls.Conn), nil
		},
	}
	t.Protocols.SetHTTP2(true)
	return t
}()

// exchange is what came of a request.
type exchange struct {
	status int
	proto  string
	header http.Header
	body   []byte
	// again is whether the connection can have another request.
	again bool

	sent, first, done time.Time // when; first is zero if nothing came
}

// roundTrip sends the request and reads the whole answer. It returns as much of the
// exchange as there was.
func (c *conn) roundTrip(ctx context.Context, request *http.Request) (*exchange, error) {
	x := &exchange{}
	var err error
	if c.h2 != nil {
		err = c.roundTripH2(ctx, request, x)
	} else {
		err = c.roundTripH1(ctx, request, x)
	}
	x.done = time.Now()
	return x, err
}

// roundTripH1 is an exchange of HTTP/1.1. net/http's client would answer "broken
// pipe" where the server refused the certificate and the request ran into the closed
// connection; here what the server said last is read in any case.
func (c *conn) roundTripH1(ctx context.Context, request *http.Request, x *exchange) error {
	// Only a connection that is idle again lives on, so that the deadline need not
	// be taken back.
	stop := context.AfterFunc(ctx, func() { c.tls.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	written := request.Write(c.writer)
	if written == nil {
		written = c.writer.Flush()
	}
	x.sent = time.Now()
	if _, err := c.reader.Peek(1); err != nil {
		return c.failure(ctx, written, err)
	}
	x.first = time.Now()
	response, err := c.answer(request)
	if err != nil {
		return c.failure(ctx, written, err)
	}
	if err := x.read(response); err != nil {
		return c.failure(ctx, written, err)
	}
	x.again = stop() && written == nil && !response.Close && !request.Close && c.reader.Buffered() == 0
	return nil
}

// answer reads the head of the answer, after any that only inform.
func (c *conn) answer(request *http.Request) (*http.Response, error) {
	for {
		response, err := http.ReadResponse(c.reader, request)
		if err != nil || response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			return response, err
		}
	}
}

// failure says why an exchange failed: the server's alert, else that time is over,
// else what failed first.
func (c *conn) failure(ctx context.Context, written, read error) error {
	switch {
	case alertOf(read) != "":
		return read
	case ctx.Err() != nil:
		return ctx.Err()
	case written != nil:
		return written
	}
	return read
}

func (c *conn) roundTripH2(ctx context.Context, request *http.Request, x *exchange) error {
	var sent, first atomic.Int64
	trace := &httptrace.ClientTrace{
		WroteRequest:         func(httptrace.WroteRequestInfo) { sent.Store(time.Now().UnixNano()) },
		GotFirstResponseByte: func() { first.Store(time.Now().UnixNano()) },
	}
	response, err := c.h2.RoundTrip(request.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if at := sent.Load(); at != 0 {
		x.sent = time.Unix(0, at)
	}
	if err == nil {
		x.first = time.Unix(0, first.Load())
		err = x.read(response)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c.h2.Err() != nil && alertOf(err) == "" {
			err = errors.Join(c.alert(), err)
		}
		x.again = c.h2.Err() == nil
		return err
	}
	x.again = c.h2.Err() == nil
	return nil
}

// alert returns the alert that ended the connection, nil if none did. crypto/tls
// repeats it on every read.
func (c *conn) alert() error {
	c.tls.SetReadDeadline(time.Now().Add(lingerTime / 2))
	if _, err := c.tls.Read(make([]byte, 1)); alertOf(err) != "" {
		return err
	}
	return nil
}

func (x *exchange) read(response *http.Response) (err error) {
	x.status, x.proto, x.header = response.StatusCode, response.Proto, response.Header
	x.body, err = io.ReadAll(io.LimitReader(response.Body, maxBodyBytes+1))
	if err == nil && len(x.body) > maxBodyBytes {
		err = fmt.Errorf("the answer has more than %d bytes", maxBodyBytes)
	}
	return errors.Join(err, response.Body.Close())
}

func (c *conn) close() {
	c.raw.lingers.Store(false)
	c.tls.SetWriteDeadline(time.Now().Add(time.Second)) // for a close_notify that nobody reads
	if c.h2 != nil {
		c.h2.Close()
	}
	c.tls.Close()
}
