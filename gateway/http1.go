package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/handoff"
	"verigate/http1gate"
	"verigate/policy"
	"verigate/telemetry"
	"verigate/upstream"
)

const (
	requestIDName   = "X-Request-Id"
	traceParentName = "Traceparent"
	traceStateName  = "Tracestate"

	// maxTraceState bounds what of a caller's tracestate is passed on: W3C Trace
	// Context §3.3.1.5 asks for 512 octets at least, and nobody needs more (AUD-09).
	maxTraceState = 512

	// maxHeld bounds the responses without a length that are held to be sent to
	// clients of HTTP/1.0.
	maxHeld = 1 << 20
)

// serveHTTP1 answers one request. It reads as the flow does: judged, then
// forwarded; every way out leaves exactly one record.
func (l *listener) serveHTTP1(ctx *fasthttp.RequestCtx) {
	x := l.begin(ctx)
	defer x.end()
	if decision := x.judge(); decision.Granted() {
		x.forward(&decision)
	}
}

// expectHTTP1 decides about a request that waits for "100 Continue" before it
// sends its body, so that the body of a refused one is never read. A granted one
// is decided once more when its body comes; that is cheaper than carrying state,
// and right if the client takes its time.
func (l *listener) expectHTTP1(ctx *fasthttp.RequestCtx) (status int) {
	x := l.begin(ctx)
	defer func() {
		if mistake := recover(); mistake != nil {
			x.panicked(mistake)
			status = ctx.Response.StatusCode()
		}
		x.program.release()
		x.ctx = nil
	}()
	if decision := x.judge(); decision.Granted() {
		return fasthttp.StatusContinue
	}
	x.conn.unread = true // it may send the body all the same
	return ctx.Response.StatusCode()
}

// failHTTP1 answers a request of which fasthttp could not read the header or what
// it reads of a body beforehand. The request is lost by then.
func (l *listener) failHTTP1(ctx *fasthttp.RequestCtx, err error) {
	conn := ctx.Conn().(*edgeConn)
	x := conn.exchange
	if x == nil {
		x = conn.newExchange(conn.began)
	}
	x.ctx = ctx
	x.unreadable(err)
	x.ctx = nil
}

// begin collects what is known of a request before anything is decided.
func (l *listener) begin(ctx *fasthttp.RequestCtx) *exchange {
	conn := ctx.Conn().(*edgeConn)
	x := conn.exchange
	if x == nil { // otherwise it was told to continue
		x = conn.newExchange(conn.began)
	}
	x.ctx, x.program = ctx, l.gateway.use()
	header := &ctx.Request.Header
	toOriginForm(header)
	r := &x.record
	r.Method = methodName(header.Method())
	r.Host = conn.spelled.hostOf(header.Host())
	r.Path = conn.spelled.pathOf(targetPath(header.RequestURI()))
	r.Proto = protocolName(header)
	x.mentions = mentioned(header)
	x.closing = x.mentions.connection && asksToClose(header)
	if r.Trace.IsZero() {
		r.Trace = l.gateway.options.Telemetry.TraceBytes(x.receivedTrace())
	}
	return x
}

// mentions says which fields a request came with, of those that are looked for one by
// one. Most requests have none of them, and to look for one costs as much as to look
// over all. stripped says that there are fields, these or others, that are not for the backend,
// special that it takes more than to leave them out.
type mentions struct{ connection, requestID, traceParent, traceState, stripped, special bool }

func mentioned(header *fasthttp.RequestHeader) (m mentions) {
	// As received: fasthttp's own iteration takes cookies apart and spells them anew. The
	// gate has made sure that every line is a name, a colon and a value.
	for rest := header.RawHeaders(); len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		name, value, _ := bytes.Cut(line, []byte{':'})
		keep, verbatim := stripField(name, value)
		m.stripped, m.special = m.stripped || !keep, m.special || !verbatim
		switch len(name) {
		case len(fasthttp.HeaderConnection), len(traceParentName), len(requestIDName):
			m.connection = m.connection || bytes.EqualFold(name, []byte(fasthttp.HeaderConnection))
			m.requestID = m.requestID || bytes.EqualFold(name, []byte(requestIDName))
			m.traceParent = m.traceParent || bytes.EqualFold(name, []byte(traceParentName))
			m.traceState = m.traceState || bytes.EqualFold(name, []byte(traceStateName))
		}
	}
	return m
}

// stripField is what becomes of a field of a request that is passed on as octets. Whether
// there is a body and how it is framed, and whether the caller's trace is continued, takes
// more than that; the ids of the request and the trace are the gateway's to tell.
func stripField(name, value []byte) (keep, verbatim bool) {
	is := func(other string) bool { return bytes.EqualFold(name, []byte(other)) }
	switch len(name) {
	case len(fasthttp.HeaderExpect), len(fasthttp.HeaderContentLength), len(fasthttp.HeaderTransferEncoding):
		if is(fasthttp.HeaderExpect) || is(fasthttp.HeaderContentLength) || is(fasthttp.HeaderTransferEncoding) {
			return true, false
		}
	case len(traceStateName):
		if is(traceStateName) {
			return true, false
		}
	case len(traceParentName), len(requestIDName):
		if is(traceParentName) || is(requestIDName) {
			return false, true
		}
	}
	return handoff.StripField(name, value)
}

// asksToClose reports whether a Connection field has the option "close" next to
// others, which fasthttp does not notice: the client is to be told that it gets
// its way, because the gate lets nothing more of it through.
func asksToClose(header *fasthttp.RequestHeader) bool {
	for _, value := range header.PeekAll(fasthttp.HeaderConnection) {
		for option := range bytes.SplitSeq(value, []byte{','}) {
			if bytes.EqualFold(bytes.TrimSpace(option), []byte("close")) {
				return true
			}
		}
	}
	return false
}

// end prepares the end of the response, whatever the handler made of it.
func (x *exchange) end() {
	if mistake := recover(); mistake != nil {
		x.panicked(mistake)
	}
	x.program.release()
	conn, ctx := x.conn, x.ctx
	x.ctx = nil
	closing := x.closing || ctx.Response.ConnectionClose() || conn.ending()
	ctx.Response.Header.ResetConnectionClose()
	conn.gate.Settle(ctx) // what nobody read of the body must not become a request
	if ctx.Response.ConnectionClose() {
		conn.unread = true
	}
	if x.verbatim.Status != 0 {
		if closing || conn.unread {
			x.verbatim.Octets = withClose(x.verbatim.Octets)
		}
		x.instead = x.verbatim.Octets
	}
	if closing {
		ctx.SetConnectionClose()
		if !x.streaming {
			conn.tls.Hold() // this response leaves with the goodbye
		}
	}
}

// withClose adds to a response that it is the last one on its connection.
func withClose(response []byte) []byte {
	end := bytes.Index(response, []byte("\r\n\r\n")) + len("\r\n")
	return slices.Insert(response, end, []byte(fasthttp.HeaderConnection+": close\r\n")...)
}

// panicked keeps a programmer's mistake in one request from ending the process:
// fasthttp has no recover of its own.
func (x *exchange) panicked(mistake any) {
	x.conn.listener.gateway.options.Log.Error("panic while serving a request", "panic", mistake, "request_id", x.record.ID)
	x.closing = true
	x.refuse(ReasonInternal)
}

// judge decides about the request. If the decision is not to grant, it has been
// answered.
func (x *exchange) judge() Decision {
	// The clock of now, not that of the beginning: the body may have taken its time.
	now := time.Now()
	if x.admittedOnly() || !x.stillTrusted(now) {
		return Decision{}
	}
	decision := x.decide(now)
	if !decision.Granted() {
		x.refuse(decision.Reason)
	}
	return decision
}

// admittedOnly answers a caller whose certificate was refused and who was let in
// only to be told so (the listener's admit_rejected). Nobody without a path gets
// any further.
func (x *exchange) admittedOnly() bool {
	if x.conn.tls.Peer() != nil {
		return false
	}
	code, help := string(ReasonInternal), ""
	if rejection := x.conn.tls.Rejection(); rejection != nil {
		code, help = rejection.Reason.String(), rejection.Reason.Help()
	}
	x.closing = true
	x.finish(telemetry.DecisionDenied, fasthttp.StatusForbidden, code)
	x.answer(problem{Status: fasthttp.StatusForbidden, Reason: code,
		Title: "the client certificate was not accepted", Detail: help})
	return true
}

// stillTrusted answers a caller that would not be accepted any more.
func (x *exchange) stillTrusted(now time.Time) bool {
	path, grade, refused := x.conn.current(now)
	x.path, x.grade, x.record.Grade = path, grade, grade
	if refused == nil {
		return true
	}
	x.closing = true
	x.refuse(ReasonTrustChanged)
	return false
}

// decide asks the program. now is what its time is counted from, with that of the
// look at the caller's standing.
func (x *exchange) decide(now time.Time) Decision {
	q, r := &x.question, &x.record
	q.Subject = policy.Subject{ID: x.path.ID(), Grade: x.grade}
	q.SNI, q.Host, q.Path, q.Method = r.SNI, r.Host, r.Path, r.Method
	decision := decide(x.program.routes, x.program.policy, q, &x.conn.memo.granted)
	x.decided = time.Now()
	r.Policy = x.decided.Sub(now)
	if decision.Route != nil {
		r.Route, r.Upstream = decision.Route.Name, decision.Route.Upstream
	}
	if decision.Denial != nil {
		r.Rule, r.Missing = decision.Denial.Rule, decision.Denial.Missing
	}
	return decision
}

// headerOnce returns the value of a field that the backend will see exactly once:
// a route must not be chosen by what the backend does not read.
func (x *exchange) headerOnce(name string) (string, bool) {
	value, ok := handoff.Sole(&x.ctx.Request.Header, name)
	return string(value), ok
}

// forward sends a granted request to its upstream and prepares the response.
func (x *exchange) forward(decision *Decision) {
	backend := x.program.backends[decision.Route.Upstream]
	response := &x.ctx.Response
	x.record.Rule = decision.Grant.Rule()
	call := upstream.Call{Request: &x.ctx.Request, Response: response, Abort: &x.conn.abort, Now: x.decided}
	x.convey(backend, &call)
	if x.record.Proto == "HTTP/1.1" {
		call.Verbatim = &x.verbatim
	}
	result, err := backend.Upstream.Forward(decision.Grant, &call)
	x.record.Endpoint = result.Endpoint
	x.record.UpstreamID = result.PeerID
	x.record.UpstreamTime = result.Duration
	if result.BodyUnread {
		x.closing, x.conn.unread = true, true
	}
	if err != nil {
		x.failed(err)
		return
	}
	if !response.IsBodyStream() {
		x.conn.memo.now = x.decided.Add(result.Duration) // what is left to do takes a microsecond or two
	}
	if x.verbatim.Status != 0 {
		x.finish(telemetry.DecisionAllowed, x.verbatim.Status, "")
		return
	}
	handoff.FilterResponse(&response.Header)
	if x.record.Proto == "HTTP/1.0" && !x.held() {
		return
	}
	x.streaming = response.IsBodyStream()
	response.Header.Del(requestIDName) // every occurrence; SetCanonical replaces the first
	response.Header.SetCanonical([]byte(requestIDName), []byte(x.record.ID))
	x.finish(telemetry.DecisionAllowed, response.StatusCode(), "")
}

// convey makes the caller's header one for the backend. The order is the security
// (FWD-03): what the caller said is gone before ours is added.
func (x *exchange) convey(backend *Backend, call *upstream.Call) {
	fields := x.fields[:0]
	header := &x.ctx.Request.Header
	verbatim := !x.mentions.special && x.conn.spelled.sent == "" && (header.IsGet() || header.IsHead())
	if verbatim {
		fields = appendVerbatim(fields, header, x.mentions.stripped)
	} else {
		x.strip(backend)
	}
	fields = backend.Handoff.Append(fields, handoff.Caller{Path: x.path, Grade: x.grade}, x.decided)
	fields = handoff.AppendForwarded(fields, x.conn.remote, x.record.Host)
	id := len(fields)
	fields = append(append(append(fields, requestIDName+": "...), x.record.ID...), "\r\n"...)
	x.verbatim.Fields = fields[id:] // the caller is told the same
	fields = x.record.Trace.AppendTraceParent(append(fields, traceParentName+": "...))
	x.fields = append(fields, "\r\n"...)
	if verbatim {
		x.fields = append(x.fields, "\r\n"...)
		call.Head = x.fields
	} else {
		call.Fields = x.fields
	}
}

// appendVerbatim appends a header of which nothing but fields has to be left out: its lines are
// those that the gate has let through, octet for octet. stripped says that there are such
// fields.
func appendVerbatim(dst []byte, header *fasthttp.RequestHeader, stripped bool) []byte {
	dst = append(append(dst, header.Method()...), ' ')
	dst = append(append(dst, header.RequestURI()...), " HTTP/1.1\r\n"...)
	lines := bytes.TrimSuffix(header.RawHeaders(), []byte("\r\n")) // the blank one
	if !stripped {
		return append(dst, lines...)
	}
	for line := range bytes.Lines(lines) {
		name, value, _ := bytes.Cut(line, []byte{':'})
		if keep, _ := stripField(name, value); keep {
			dst = append(dst, line...)
		}
	}
	return dst
}

// strip takes out of the caller's header what is not for the backend.
func (x *exchange) strip(backend *Backend) {
	header := &x.ctx.Request.Header
	keepState := x.mentions.traceState && x.keepsTraceState()

	handoff.StripRequest(header, x.path.ID().Origin() == backend.Origin)
	if x.mentions.requestID {
		header.Del(requestIDName)
	}
	if x.mentions.traceParent {
		header.Del(traceParentName)
	}
	if x.mentions.traceState && !keepState {
		header.Del(traceStateName)
	}
	if x.conn.spelled.sent != "" {
		header.SetHost(x.conn.spelled.sent)
	}
}

// filterField is what becomes of a field of a response that is passed on as octets. The
// id of the request is the gateway's to tell.
func filterField(name, value []byte) (keep, verbatim bool) {
	if len(name) == len(requestIDName) && bytes.EqualFold(name, []byte(requestIDName)) {
		return false, true
	}
	return handoff.FilterField(name, value)
}

// receivedTrace returns the traceparent that the caller sent. More than one is
// none (W3C Trace Context §3.2).
func (x *exchange) receivedTrace() []byte {
	if !x.mentions.traceParent {
		return nil
	}
	if values := x.ctx.Request.Header.PeekAll(traceParentName); len(values) == 1 {
		return values[0]
	}
	return nil
}

// keepsTraceState reports whether the caller's tracestate may be passed on: it
// belongs to a trace that is continued, and is not too long.
func (x *exchange) keepsTraceState() bool {
	header := &x.ctx.Request.Header
	size := 0
	for _, value := range header.PeekAll(traceStateName) {
		size += len(value)
	}
	if size == 0 || size > maxTraceState {
		return false
	}
	const from, to = len("00-"), len("00-") + 32
	received := x.receivedTrace()
	var id [32]byte
	return len(received) > to && string(x.record.Trace.AppendID(id[:0])) == string(received[from:to])
}

// held takes a response of unknown length in whole, if it fits, because HTTP/1.0 has
// no chunks and is not to hear of any (RFC 9112 §6.1). It reports whether the response
// can be sent; otherwise another one was made.
func (x *exchange) held() bool {
	response := &x.ctx.Response
	if !response.IsBodyStream() {
		response.Header.Del(fasthttp.HeaderTransferEncoding) // of an answer to HEAD, or a 304
		return true
	}
	if response.Header.ContentLength() >= 0 {
		return true
	}
	body, err := io.ReadAll(io.LimitReader(response.BodyStream(), maxHeld+1))
	x.record.UpstreamTime = time.Since(x.decided)
	switch {
	case err != nil:
		x.failed(err)
		return false
	case len(body) > maxHeld:
		x.refuse(ReasonLengthRequired)
		return false
	}
	response.SetBody(body)
	response.ImmediateHeaderFlush = false
	return true
}

// failed answers for a backend that could not, or for a caller whose request
// stopped while it was being forwarded.
func (x *exchange) failed(err error) {
	status, code := fasthttp.StatusBadGateway, string(ReasonInternal)
	if failure, ok := errors.AsType[*upstream.Error](err); ok {
		if errors.Is(failure, upstream.ErrAborted) {
			x.closing = true
			x.refuse(x.conn.lost(net.ErrClosed)) // there is nobody left to read it
			return
		}
		if failure.Reason == upstream.ReasonRequestBody {
			x.unreadable(failure)
			return
		}
		status, code = failure.Status(), failure.Reason
	}
	x.conn.listener.gateway.options.Log.Debug("upstream failed", "request_id", x.record.ID, "upstream", x.record.Upstream, "error", err)
	x.finish(telemetry.DecisionError, status, code)
	x.answer(problem{Status: status, Reason: code, Title: "the backend could not answer"})
}

// unreadable answers a request that could not be read to its end. What has not
// been read of it cannot be found any more, so the connection ends.
func (x *exchange) unreadable(err error) {
	conn := x.conn
	x.closing, conn.unread = true, true
	switch violation := conn.gate.Violation(); {
	case conn.refusal.Load() != nil:
		x.refuse(ReasonTrustChanged) // perhaps that is why it could not be read
	case violation != nil:
		x.answer(x.malformed(violation))
	case conn.readErr == nil:
		conn.listener.gateway.options.Log.Warn("a well-formed request could not be read", "request_id", x.record.ID, "error", err)
		x.refuse(ReasonUnreadable)
	case errors.Is(conn.readErr, os.ErrDeadlineExceeded):
		x.refuse(ReasonRequestTimeout)
	default:
		x.refuse(conn.lost(conn.readErr))
	}
}

// refuseMalformed answers a request that the strict gate refused. It was never
// parsed, so the record has no method, host or path.
func (c *edgeConn) refuseMalformed(v *http1gate.Violation) []byte {
	x := c.newExchange(time.Now())
	var p problem
	if c.refusal.Load() != nil {
		// The caller was refused while its header was arriving: nobody waits for the rest.
		p = ReasonTrustChanged.problem()
		x.finish(telemetry.DecisionDenied, p.Status, p.Reason)
	} else {
		p = x.malformed(v)
	}
	p.RequestID = x.record.ID
	response := p.raw()
	c.sent = int64(len(response))
	return response
}

// malformed finishes a request that broke the rules of HTTP/1.1.
func (x *exchange) malformed(v *http1gate.Violation) problem {
	x.conn.listener.gateway.options.Telemetry.HTTPRefused(v.Code)
	x.finish(telemetry.DecisionRefused, v.Status, v.Code)
	return problem{Status: v.Status, Reason: v.Code, Title: "the request is malformed", Detail: v.Detail}
}

// refuse answers for the gateway itself.
func (x *exchange) refuse(reason Reason) {
	decision := telemetry.DecisionDenied
	switch reason {
	case ReasonInternal, ReasonUnreadable, ReasonLengthRequired, ReasonClientGone, ReasonConnectionExpired, ReasonDrained:
		decision = telemetry.DecisionError
	case ReasonMisdirected, ReasonRequestTimeout:
		decision = telemetry.DecisionRefused
	default: // the caller, or what it asked for, is not allowed
	}
	p := reason.problem()
	x.finish(decision, p.Status, p.Reason)
	x.answer(p)
}

// answer makes p the response.
func (x *exchange) answer(p problem) {
	p.RequestID = x.record.ID
	x.verbatim.Status = 0
	p.write(&x.ctx.Response)
}
