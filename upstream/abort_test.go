package upstream

import (
	"bufio"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

// call forwards a GET that abort can end, and reads the response to its end.
func call(t testing.TB, u *Upstream, abort *Abort) (Result, error) {
	t.Helper()
	var req fasthttp.Request
	var resp fasthttp.Response
	req.Header.SetHost("pay.example")
	result, err := u.Forward(grantFor(t, u.Name()), &Call{Request: &req, Response: &resp, Abort: abort})
	if err != nil {
		return result, err
	}
	defer resp.CloseBodyStream()
	if stream := resp.BodyStream(); stream != nil {
		_, err = io.Copy(io.Discard, stream)
	}
	return result, err
}

// Wherever a request waits, an Abort ends it and hangs up on the backend.
func TestAbort(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ claim, answer string }{
		{"for a response", ""},
		{"for the rest of a body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"},
		{"for another chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			waiting, hungUp := make(chan struct{}), make(chan struct{})
			ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
				readRequest(in)
				io.WriteString(c, tt.answer)
				close(waiting)
				io.Copy(io.Discard, in)
				close(hungUp)
			})
			u := open(t, plainOptions(ln.addr()))
			var abort Abort
			go func() {
				<-waiting
				abort.Abort()
			}()
			result, err := call(t, u, &abort)
			if !errors.Is(err, ErrAborted) || reasonOf(err) != ReasonClosed {
				t.Errorf("Forward() = %v, want %v", err, ErrAborted)
			}
			<-hungUp
			if result.Attempts != 1 || ln.accepted.Load() != 1 {
				t.Errorf("%d attempts on %d connections, want 1: an aborted request is not repeated", result.Attempts, ln.accepted.Load())
			}
			if s := u.Status().Endpoints[0]; s.Errors != 0 || s.CoolingDown || s.InFlight != 0 || s.Idle != 0 {
				t.Errorf("the endpoint is blamed, or still in use: %+v", s)
			}
			// It stays aborted, and nobody is called for it any more.
			if _, err := call(t, u, &abort); !errors.Is(err, ErrAborted) {
				t.Errorf("the next Forward() = %v, want %v", err, ErrAborted)
			}
			if s := u.Status().Endpoints[0]; s.Errors != 0 || s.CoolingDown || s.InFlight != 0 {
				t.Errorf("the endpoint is blamed, or still in use: %+v", s)
			}
		})
	}
}

// A dial in progress ends as well: here in the handshake, in which the backend keeps
// silent.
func TestAbortEndsAHandshake(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	began := make(chan struct{})
	ln := script(t, func(_ int, _ net.Conn, in *bufio.Reader) {
		in.Peek(1)
		close(began)
		io.Copy(io.Discard, in)
	})
	o := d.options(t, ln.addr())
	o.ConnectTimeout = time.Hour
	var abort Abort
	go func() {
		<-began
		abort.Abort()
	}()
	if _, err := call(t, open(t, o), &abort); !errors.Is(err, ErrAborted) {
		t.Errorf("Forward() = %v, want %v", err, ErrAborted)
	}
}

// An Abort that comes too late closes nothing: the connection is somebody else's by
// then.
func TestLateAbortHarmsNobody(t *testing.T) {
	t.Parallel()
	ln := serve(t, nil, func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("ok") })
	u := open(t, plainOptions(ln.addr()))
	for range 3 {
		var abort Abort
		if _, err := call(t, u, &abort); err != nil {
			t.Fatal(err)
		}
		abort.Abort()
		if !abort.Aborted() {
			t.Error("Aborted() = false after Abort")
		}
	}
	if got := ln.accepted.Load(); got != 1 {
		t.Errorf("%d connections, want one that was used three times", got)
	}
}

// A connection that failed leaves the Abort for what follows: the same request on another
// connection, and the next one.
func TestAbortServesWhatFollowsAFailure(t *testing.T) {
	t.Parallel()
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		readRequest(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		readRequest(in) // and hangs up
	})
	u := open(t, plainOptions(ln.addr()))
	var abort Abort
	for i := range 3 {
		result, err := call(t, u, &abort)
		if err != nil || abort.Aborted() {
			t.Fatalf("request %d: Forward() = %v after %d attempts, want an answer", i, err, result.Attempts)
		}
		if want := min(i, 1) + 1; result.Attempts != want || int(ln.accepted.Load()) != i+1 {
			t.Errorf("request %d: %d attempts, %d connections, want %d and %d", i, result.Attempts, ln.accepted.Load(), want, i+1)
		}
	}
}

// Whenever an Abort comes, the next caller gets an answer: no aborted connection
// goes back to the pool.
func TestAbortAtAnyMoment(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 100<<10)
	ln := serve(t, nil, func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(body) })
	u := open(t, plainOptions(ln.addr()))
	for spin := range 300 {
		var abort Abort
		var aborting sync.WaitGroup
		aborting.Go(func() {
			for range spin {
				runtime.Gosched()
			}
			abort.Abort()
		})
		if _, err := call(t, u, &abort); err != nil && !errors.Is(err, ErrAborted) {
			t.Fatalf("Forward() = %v, want none or %v", err, ErrAborted)
		}
		aborting.Wait()
		if result, err := call(t, u, nil); err != nil || result.Attempts != 1 {
			t.Fatalf("the next caller got %v after %d attempts", err, result.Attempts)
		}
	}
}

// REV-05: whoever knows that trust has changed need not wait for the sweep.
func TestRejudgeEndsIdleConnections(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	handler := func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("ok") }
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), handler)
	u := open(t, d.options(t, ln.addr()))
	if _, _, _, err := forward(t, u, nil); err != nil {
		t.Fatal(err)
	}
	idle := func() int { return u.Status().Endpoints[0].Idle }
	d.publish(t, trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{pattern(t, gatewayID)}}), d.bundle)
	u.Rejudge()
	if n := idle(); n != 1 {
		t.Errorf("somebody else was denied, and %d connections are idle, want 1", n)
	}
	d.publish(t, trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{pattern(t, apiID)}}), d.bundle)
	u.Rejudge()
	if n := idle(); n != 0 {
		t.Errorf("the backend was denied, and %d connections are idle, want 0", n)
	}
}

// UP-12: what a backend says after trust in it was lost is not passed on, also when
// it was asked before.
func TestAnswerOfADeniedBackendIsDropped(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	deny := trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{pattern(t, apiID)}})
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), func(ctx *fasthttp.RequestCtx) {
		d.publish(t, deny, d.bundle)
		ctx.SetBodyString("ok")
	})
	if _, body, result, err := forward(t, open(t, d.options(t, ln.addr())), nil); reasonOf(err) != ReasonUntrusted || result.Attempts != 1 {
		t.Errorf("Forward() = %q, %v after %d attempts, want reason %s after 1", body, err, result.Attempts, ReasonUntrusted)
	}
}
