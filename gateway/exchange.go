package gateway

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/telemetry"
	"verigate/upstream"
)

// exchange is one request and what becomes of it, from the moment that its header
// is there until its response is out. It is the only place where its record comes
// from, so that there is one of each (AUD-01).
type exchange struct {
	conn     *edgeConn
	ctx      *fasthttp.RequestCtx // while fasthttp has one for it
	program  *Program
	record   telemetry.Request
	question Question

	// The caller as it was judged for this request: the connection's may change while
	// it is answered.
	path  *certpath.Path
	grade assurance.Grade

	verbatim  upstream.Verbatim // the response, if verbatim.Status is not 0
	instead   []byte            // what the next Write sends in place of what it is given
	fields    []byte            // that the backend gets from the gateway itself, or its whole header; the memory is kept
	ids       string            // for this request and those that use the memory after it
	mentions  mentions
	decided   time.Time // the clock when it was; what comes after counts from it
	streaming bool      // the response's body comes from the backend while it is sent
	closing   bool      // the connection ends with this response
}

// exchanges are reused: an idle connection does not carry one.
var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.question.Header = x.headerOnce // made once: a method value is allocated
	x.verbatim.Filter = filterField
	return x
}}

const (
	maxKeptFields = 16 << 10 // enough for a common header, or to convey a chain of four certificates
	maxKeptOctets = 32 << 10 // more than arrives of a response at once, with our own fields
)

// newExchange begins the record of a request that began at start.
func (c *edgeConn) newExchange(start time.Time) *exchange {
	x := exchanges.Get().(*exchange)
	x.conn = c
	r := &x.record
	r.Start = start
	r.ID = x.newID()
	r.Listener = c.listener.name
	r.ConnID = c.tls.ID()
	r.Remote = c.remote
	r.SNI = c.tls.SNI()
	if peer := c.tls.Peer(); peer != nil {
		r.Caller = peer.ID()
		c.mu.Lock()
		r.Grade, r.Findings = c.grade, c.findings
		c.mu.Unlock()
	} else {
		r.ClaimedID = c.tls.Handshake().Verdict.ID // admitted although it was rejected
	}
	c.remember()
	r.Memo = &c.memo.recorded
	c.exchange, c.sent = x, 0
	return x
}

const (
	idBytes    = 32 // of a correlation id
	idsAtATime = 16
)

// newID returns a correlation id: unique, and saying nothing about how many requests
// there are. Ids are made a few at a time, because each would be an allocation.
func (x *exchange) newID() string {
	if x.ids == "" {
		var digits [idsAtATime * idBytes]byte
		for at := 0; at < len(digits); at += idBytes {
			var raw [idBytes / 2]byte
			binary.NativeEndian.PutUint64(raw[:8], rand.Uint64())
			binary.NativeEndian.PutUint64(raw[8:], rand.Uint64())
			hex.Encode(digits[at:], raw[:])
		}
		x.ids = string(digits[:])
	}
	id := x.ids[:idBytes]
	x.ids = x.ids[idBytes:]
	return id
}

// finish completes the record but for what only the end of the response tells.
func (x *exchange) finish(decision string, status int, reason string) {
	x.record.Decision, x.record.Status, x.record.Reason = decision, status, reason
}

// settle emits the record of the request that has ended, if there is one: its
// response is out, or the connection is gone. err is what fasthttp said.
func (c *edgeConn) settle(err error) {
	x := c.exchange
	if x == nil {
		return
	}
	c.exchange = nil
	x.conclude(err)
	c.listener.gateway.options.Telemetry.Request(&x.record)
	x.free()
}

// conclude adds to the record what the end of the response told.
func (x *exchange) conclude(err error) {
	c, r := x.conn, &x.record
	now := time.Now()
	c.memo.now = now // the wait for the next request begins
	r.BytesIn, r.BytesOut = c.received, c.sent
	c.received = 0
	r.Total = now.Sub(r.Start)
	if x.streaming {
		// Until its last octet we waited for the backend, or for the client; in no
		// case it is time that the gateway added.
		r.UpstreamTime = now.Sub(x.decided)
	}
	switch failure, broken := errors.AsType[*upstream.Error](err); {
	case r.Reason != "":
	case c.writeErr != nil:
		x.interrupted(string(c.lost(c.writeErr)))
	case broken && errors.Is(failure, upstream.ErrAborted):
		x.interrupted(string(c.lost(net.ErrClosed)))
	case broken:
		// The response stopped in the middle, and so did ours to the client.
		r.Decision, r.Reason = telemetry.DecisionError, failure.Reason
	case err != nil, x.instead != nil: // that went nowhere
		r.Decision, r.Reason = telemetry.DecisionError, string(ReasonInternal)
	case r.Decision == "":
		// It asked whether to send its body and went away when told to.
		x.interrupted(string(c.lost(c.readErr)))
	}
}

// interrupted notes why a request ended before its response did.
func (x *exchange) interrupted(reason string) {
	x.record.Reason = reason
	if x.record.Decision == "" {
		x.record.Decision = telemetry.DecisionError
	}
}

func (x *exchange) free() {
	header, fields, octets, ids := x.question.Header, x.fields[:0], x.verbatim.Octets[:0], x.ids
	if cap(fields) > maxKeptFields {
		fields = nil
	}
	if cap(octets) > maxKeptOctets {
		octets = nil
	}
	*x = exchange{fields: fields, ids: ids}
	x.question.Header = header
	x.verbatim.Filter, x.verbatim.Octets = filterField, octets
	exchanges.Put(x)
}
