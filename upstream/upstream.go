package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/policy"
	"verigate/workloadid"
)

// Upstream forwards requests to the endpoints of one backend. It is made by
// [New]; its methods may be called concurrently.
type Upstream struct {
	o         Options
	endpoints []*endpoint
	judge     *judge // nil when plain
	turn      atomic.Uint64

	inFlight atomic.Int64
	closed   atomic.Bool
	drained  chan struct{} // capacity 1: inFlight reached zero after closed
	stop     chan struct{} // ends the sweeper
	stopOnce sync.Once
}

// New returns an upstream. The error says what is missing or contradictory, and
// what to do. No connection is opened yet. Close it to release its goroutine.
func New(o Options) (*Upstream, error) {
	u := &Upstream{drained: make(chan struct{}, 1), stop: make(chan struct{})}
	var err error
	if u.o, err = o.withDefaults(); err != nil {
		return nil, fmt.Errorf("upstream %s: %w", o.Name, err)
	}
	for _, name := range o.Endpoints {
		e := &endpoint{name: name}
		if e.network, e.address, err = u.o.parseEndpoint(name); err != nil {
			return nil, fmt.Errorf("upstream %s: %w", o.Name, err)
		}
		u.endpoints = append(u.endpoints, e)
	}
	if !o.Plain {
		if u.judge, err = newJudge(&u.o); err != nil {
			return nil, fmt.Errorf("upstream %s: %w", o.Name, err)
		}
	}
	go u.sweepLoop()
	return u, nil
}

// Name returns the name that routes refer to.
func (u *Upstream) Name() string { return u.o.Name }

// Result says how a request was forwarded.
type Result struct {
	Endpoint string        // as configured; the last one tried
	Attempts int           // connections tried, dialled or pooled
	Reused   bool          // the connection had carried a request before
	Duration time.Duration // until the response header
	PeerID   workloadid.ID // of the backend; zero when plain
	// BodyUnread says that octets of the request's body stream were left unread.
	// The caller's connection cannot carry another request then: fasthttp would
	// read the rest of the body as one.
	BodyUnread bool
}

// buffers are what one exchange needs. They are pooled, so that idle connections
// hold none.
type buffers struct {
	in      *bufio.Reader
	request request
}

var bufferPool = sync.Pool{New: func() any {
	return &buffers{
		in:      bufio.NewReaderSize(nil, bufferBytes),
		request: request{memory: make([]byte, 0, bufferBytes)},
	}
}}

func (b *buffers) free() {
	b.in.Reset(nil)
	b.request.out, b.request.stream = nil, nil
	bufferPool.Put(b)
}

// Call is what [Upstream.Forward] is to forward.
type Call struct {
	// Request was stripped. Its target is Header.RequestURI(), octet for octet; the
	// parsed URI is not looked at. What is about the connection in its header is
	// changed (Connection: close, Expect, Trailer, Content-Length), the rest is left
	// as it is. A body stream is read as it is sent and remains the caller's to close.
	// It should fail rather than wait forever for a caller that went silent; that
	// time-out is the listener's.
	Request *fasthttp.Request
	// Fields are field lines, each with its end, that are sent behind those of
	// Request: what the gateway itself has to say. They need not be put into the
	// header, where each would be looked for and copied three times.
	Fields []byte
	// Head, unless it is empty, is the whole header of a request without a body, from the
	// request line to the blank line. It is sent in place of Request's header and of Fields; of
	// Request no more than the method is looked at then.
	Head []byte
	// Response gets the response. It streams its body unless that arrived together
	// with the header. The stream fails if the backend's body is incomplete; it has to
	// be closed, which fasthttp does after it wrote the response.
	Response *fasthttp.Response
	// Verbatim, which may be nil, gets the response in place of Response if that may be passed
	// on as octets.
	Verbatim *Verbatim
	// Abort, which may be nil, ends everything from outside, until the response was
	// read or closed. The error wraps [ErrAborted] then, also that of the stream.
	Abort *Abort
	// Now is a reading of the clock from just now; zero if there is none yet.
	Now time.Time
}

// Forward sends a request to an endpoint and reads the response header. g has to be
// for this upstream. The error is an *[Error]; the response is of no use then. Call is
// not kept, its Request and Response are until the response was read or closed.
//
// A request is tried again
//
//   - at another endpoint, when no connection could be had: nothing was sent,
//   - on a new connection, when the kernel refused a pooled one before it took
//     any octet: nothing was sent, and
//   - on a new connection, when a pooled one was closed before any octet of the
//     response, if the method is idempotent (RFC 9110 §9.2.2) and the request
//     was in one piece, so that it can be repeated (RFC 9112 §9.3.1).
//
// Before a pooled connection is used it is looked at whether the backend closed
// it, so that the last case is rare. Nothing is repeated after a time-out.
//
// The body is sent before the response is read, except that an error response
// (400 and above) ends the sending. A backend that streams both ways at once
// over HTTP/1.1 is not supported.
func (u *Upstream) Forward(g policy.Grant, call *Call) (Result, error) {
	start := call.Now
	if start.IsZero() {
		start = time.Now()
	}
	if call.Verbatim != nil {
		call.Verbatim.Status = 0
	}
	var result Result
	if g.IsZero() {
		return result, &Error{Reason: ReasonGrant, Err: errors.New("the request was not granted")}
	}
	if name := g.Route().Upstream; name != u.o.Name {
		return result, &Error{Reason: ReasonGrant, Err: fmt.Errorf("the grant is for upstream %s, not %s", name, u.o.Name)}
	}
	b := bufferPool.Get().(*buffers)
	if err := b.request.begin(call); err != nil {
		result.BodyUnread = true
		b.free()
		return result, &Error{Reason: ReasonRequestBody, Err: err}
	}
	if err := u.try(b, call, &result, start); err != nil {
		result.Duration = time.Since(start)
		return result, err
	}
	return result, nil
}

// try finds a connection and makes the exchange, again where that is allowed. b
// is disposed of.
func (u *Upstream) try(b *buffers, call *Call, result *Result, start time.Time) *Error {
	r, abort, now := &b.request, call.Abort, start
	var tried triedSet
	var last *Error
	fresh := false
	for {
		at := u.pick(&tried, now)
		if at < 0 {
			result.BodyUnread = r.stream != nil
			b.free()
			if last == nil {
				last = &Error{Reason: ReasonNoEndpoint, Err: errors.New("every endpoint is at its connection limit")}
			}
			return last
		}
		e := u.endpoints[at]
		result.Endpoint = e.name
		if !u.enter(e) {
			result.BodyUnread = r.stream != nil
			b.free()
			return &Error{Reason: ReasonNoEndpoint, Err: errors.New("the upstream is closed")}
		}
		c, err := e.take(u, b.in, abort, now, fresh)
		if c == nil || !c.reused {
			now = time.Now() // dialling took a while
		}
		if c == nil {
			u.leave(e)
			tried.add(at)
			if abort.Aborted() {
				result.BodyUnread = r.stream != nil
				b.free()
				return &Error{Reason: ReasonClosed, Endpoint: e.name, Err: ErrAborted}
			}
			if err != nil {
				result.Attempts++
				e.failed(err)
				last = err
			}
			continue
		}
		result.Attempts++
		result.Reused = c.reused
		if c.peer != nil {
			result.PeerID = c.peer.id
		}
		e.requests.Add(1)
		unread, again, answered, err := c.exchange(b, call, now)
		if err == nil {
			result.BodyUnread = unread
			result.Duration = answered.Sub(start)
			return nil
		}
		now = time.Now()
		if abort.Aborted() {
			again, err = false, c.fault(ReasonClosed, ErrAborted)
		}
		if again && !fresh {
			fresh = true // what else is pooled is likely to be as stale
			continue
		}
		if err.Reason != ReasonRequestBody && err.Err != ErrAborted { // which are the caller's failures
			e.failed(err)
		}
		result.BodyUnread = unread
		b.free()
		return err
	}
}

// enter counts a request in, unless the upstream is closed.
func (u *Upstream) enter(e *endpoint) bool {
	u.inFlight.Add(1)
	if u.closed.Load() {
		u.done()
		return false
	}
	e.inFlight.Add(1)
	return true
}

func (u *Upstream) leave(e *endpoint) {
	e.inFlight.Add(-1)
	u.done()
}

func (u *Upstream) done() {
	if u.inFlight.Add(-1) == 0 && u.closed.Load() {
		select {
		case u.drained <- struct{}{}:
		default:
		}
	}
}

// clock returns what certificates are judged by.
func (u *Upstream) clock(now time.Time) time.Time {
	if u.o.Now != nil {
		return u.o.Now()
	}
	return now
}

// sweepEvery is how soon at the latest an idle connection is closed that may not
// be used any more.
const sweepEvery = time.Second

func (u *Upstream) sweepLoop() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-u.stop:
			return
		case now := <-ticker.C:
			u.sweep(now)
		}
	}
}

// Rejudge judges the backends of idle connections anew and closes those that no
// request may use any more. That happens every second anyway; whoever learns that
// trust has changed need not wait for it (REV-05).
func (u *Upstream) Rejudge() { u.sweep(time.Now()) }

func (u *Upstream) sweep(now time.Time) {
	for _, e := range u.endpoints {
		e.sweep(now.Add(-u.o.IdleTimeout), now)
	}
}

// Close refuses new requests with [ReasonNoEndpoint], closes idle connections and
// waits for the requests in flight, whose responses have to be read or closed,
// until ctx is done. It may be called more than once.
func (u *Upstream) Close(ctx context.Context) {
	u.stopOnce.Do(func() { close(u.stop) })
	u.closed.Store(true)
	for _, e := range u.endpoints {
		for c := e.pop(); c != nil; c = e.pop() {
			c.close()
		}
	}
	for u.inFlight.Load() > 0 {
		select {
		case <-u.drained:
		case <-ctx.Done():
			return
		}
	}
}
