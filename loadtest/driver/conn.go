package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// request is a target, ready to be sent.
type request struct {
	target
	http1 []byte
	http2 http.Header
}

// conn is a connection. With HTTP/1.1 it has one request at a time, with HTTP/2 as
// many as it has streams.
type conn struct {
	net.Conn
	identity *identity
	answered atomic.Bool // something has come back before
	dead     bool        // kept by pool

	reader   *bufio.Reader // HTTP/1.1
	response fasthttp.Response

	client *http.ClientConn // HTTP/2
}

// maxBodyBytes bounds what is read of an answer.
const maxBodyBytes = 256 << 20

func (c *conn) startHTTP1() { c.reader = bufio.NewReaderSize(c.Conn, 4096) }

// startHTTP2 hands the connection to net/http.
func (c *conn) startHTTP2(streams int, deadline time.Time) error {
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	transport := &http.Transport{
		Protocols:          protocols,
		DisableCompression: true,
		DialTLSContext:     func(context.Context, string, string) (net.Conn, error) { return c.Conn, nil },
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	var err error
	if c.client, err = transport.NewClientConn(ctx, "https", c.RemoteAddr().String()); err != nil {
		return err
	}
	if n := c.client.Available(); n < streams {
		return fmt.Errorf("the server allows %d streams; -streams wants %d", n, streams)
	}
	return nil
}

// do sends r and reads the answer, until deadline. keep reports whether the
// connection can be used again, which after an error only HTTP/2 can.
func (c *conn) do(r *request, deadline time.Time) (a answer, keep bool, err error) {
	if c.client != nil {
		return c.doHTTP2(r, deadline)
	}
	if err := c.SetDeadline(deadline); err != nil {
		return a, false, &failure{c.silent(r), err}
	}
	if !r.repeatable() && c.answered.Load() && c.stale() {
		return a, false, &failure{phaseStale, io.EOF} // nothing was sent: it may be sent elsewhere
	}
	if _, err := c.Write(r.http1); err != nil {
		// The reason for which the other side closed may lie there to be read.
		if _, told := c.reader.Peek(1); told != nil && !errors.Is(told, io.EOF) {
			err = told
		}
		return a, false, &failure{c.silent(r), err}
	}
	if _, err := c.reader.Peek(1); err != nil {
		return a, false, &failure{c.silent(r), err}
	}
	c.answered.Store(true)
	c.response.Reset()
	c.response.SkipBody = r.method == http.MethodHead
	if err := c.response.ReadLimitBody(c.reader, maxBodyBytes); err != nil {
		return a, false, &failure{phaseAnswer, err}
	}
	a = answer{
		status: c.response.StatusCode(),
		header: func(name string) string { return string(c.response.Header.Peek(name)) },
		bytes:  len(c.response.Body()),
	}
	return a, !c.response.ConnectionClose(), nil
}

// stale reports whether the other side has closed a connection that was kept, as
// far as this side knows already. There is nothing else that it could have sent.
func (c *conn) stale() bool {
	inner := c.Conn
	if wrapped, ok := inner.(*tls.Conn); ok {
		inner = wrapped.NetConn()
	}
	socket, ok := inner.(syscall.Conn)
	return c.reader.Buffered() > 0 || ok && readable(socket)
}

// silent is the phase in which a connection ended that did not answer r.
func (c *conn) silent(r *request) phase {
	switch {
	case !c.answered.Load():
		return phaseFirst
	case r.repeatable():
		return phaseStale
	}
	return phaseLost
}

func (c *conn) doHTTP2(r *request, deadline time.Time) (a answer, keep bool, err error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	outgoing := (&http.Request{
		Method: r.method, URL: r.url, Host: r.host(), Header: r.http2,
		Proto: "HTTP/2.0", ProtoMajor: 2, ContentLength: int64(len(r.body)),
	}).WithContext(ctx)
	if len(r.body) > 0 {
		outgoing.Body = io.NopCloser(bytes.NewReader(r.body))
	}
	response, err := c.client.RoundTrip(outgoing)
	if err != nil {
		return a, c.client.Err() == nil, &failure{c.silent(r), timely(err)}
	}
	c.answered.Store(true)
	n, err := io.Copy(io.Discard, response.Body)
	response.Body.Close()
	if err != nil {
		return a, c.client.Err() == nil, &failure{phaseAnswer, timely(err)}
	}
	return answer{status: response.StatusCode, header: response.Header.Get, bytes: int(n)}, c.client.Err() == nil, nil
}

// timely gives time-outs the error that HTTP/1.1 has.
func timely(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	return err
}

// end closes the connection. An HTTP/2 connection waits for its other streams.
func (c *conn) end() {
	if c.client != nil {
		c.client.Close()
		return
	}
	c.Close()
}
