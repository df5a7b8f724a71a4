package telemetry

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"verigate/assurance"
	"verigate/workloadid"
)

// Values of [Request.Decision].
const (
	DecisionAllowed = "allowed" // forwarded; Status says what the upstream made of it
	DecisionDenied  = "denied"  // by policy, or for want of a route
	DecisionRefused = "refused" // as malformed, misdirected or too much
	DecisionError   = "error"   // allowed, and failed in the gateway or on the way
)

// Request is one HTTP request, on any outcome. The gateway fills it and may use it
// again as soon as [Telemetry.Request] returns; strings may be views of its
// buffers.
type Request struct {
	Start    time.Time
	ID       string // correlation id
	Listener string
	ConnID   uint64
	Remote   string // address and port

	Caller    workloadid.ID // proven; zero: nobody
	ClaimedID workloadid.ID // of a peer that was admitted although its chain was rejected
	Grade     assurance.Grade
	// Findings are what was seen against the caller's credential; Grade is lowered
	// by them already.
	Findings assurance.Findings

	Method, Host string
	Path         string // what follows "?" or "#" is never recorded
	SNI          string
	Proto        string // "HTTP/1.1", "HTTP/2.0"

	// "" when it did not get so far. A request that was not forwarded may have an
	// Upstream all the same, the route's; its UpstreamTime is zero then.
	Route, Rule, Upstream, Endpoint string
	UpstreamID                      workloadid.ID

	Status   int
	Decision string // one of the Decision constants
	Reason   string // closed code; "" when served
	// Missing is what the grade lacks for the rule, when that is the reason, such as
	// "governance is 0, 2 required".
	Missing []string

	BytesIn, BytesOut int64
	// Total runs from the first octet of the request to the last of the response,
	// Policy and UpstreamTime are parts of it. What is neither waiting for nor
	// talking to the upstream is time that the gateway added.
	Total, Policy, UpstreamTime time.Duration

	Trace Trace // from [Telemetry.Trace]; zero: one that begins here

	// Memo, which may be nil, is the connection's. It makes recording cheaper.
	Memo *Memo
}

// Request records one request: its metrics, its spans if it is sampled, and its
// audit record, which is never sampled (AUD-01). It does not keep r.
func (t *Telemetry) Request(r *Request) {
	tr := r.Trace
	if tr.IsZero() {
		tr = t.Trace("")
	}
	if tr.sampled && t.tracer != nil {
		t.requestSpans(r, tr)
	}
	t.measureRequest(r, tr)
	if r.Decision != DecisionAllowed {
		t.denials.add(r)
	}
	if t.audit == nil {
		return
	}
	buffer := buffers.Get().(*[]byte)
	l := line{b: *buffer}
	l.request(r, tr)
	t.submit(&l, buffer, t.auditCount.requests)
}

// requestKey is what the metrics of a request tell apart.
type requestKey struct {
	route, upstream, reason string
	method, proto, decision uint8
	status                  uint16
}

// requestSeries are the series that requests of one key add to.
type requestSeries struct {
	duration, added, policy, upstream, decision *series
}

func (t *Telemetry) measureRequest(r *Request, tr Trace) {
	k := requestKey{
		route: r.Route, upstream: r.Upstream, reason: r.Reason,
		method: methodIndex(r.Method), proto: protoIndex(r.Proto), decision: decisionIndex(r.Decision),
	}
	if r.Status >= 100 && r.Status <= 599 {
		k.status = uint16(r.Status)
	}
	s := t.requestSeries(k, r.Memo)
	s.duration.observe(r.Total)
	if tr.sampled {
		s.duration.exemplar.Store(&exemplar{value: r.Total, at: r.Start.Add(r.Total), trace: tr})
	}
	s.added.observe(r.Total - r.UpstreamTime)
	if r.Policy > 0 {
		s.policy.observe(r.Policy)
	}
	if s.upstream != nil && r.UpstreamTime > 0 {
		s.upstream.observe(r.UpstreamTime)
	}
	s.decision.add(1)
}

// requestSeries returns the series of k. A connection mostly asks for the same ones as
// before.
func (t *Telemetry) requestSeries(k requestKey, memo *Memo) *requestSeries {
	if memo != nil && memo.of == t && memo.key == k {
		return memo.series
	}
	s := t.requests.get(k)
	if s == nil {
		s = t.newRequestSeries(k)
		k.route, k.upstream, k.reason = strings.Clone(k.route), strings.Clone(k.upstream), strings.Clone(k.reason)
		s = t.requests.put(k, s)
	}
	if memo != nil {
		memo.of, memo.key, memo.series = t, k, s
	}
	return s
}

func (t *Telemetry) newRequestSeries(k requestKey) *requestSeries {
	route, reason := cmp.Or(k.route, ValueNone), code(k.reason)
	status, errorType := "", reason
	if k.status != 0 {
		status = strconv.Itoa(int(k.status))
	}
	if errorType == "" && k.status >= 500 {
		errorType = status
	}
	s := &requestSeries{
		duration: t.meter.with(MetricServerDuration, methods[k.method], "https", route, status, protos[k.proto], errorType),
		added:    t.meter.with(MetricAddedDuration, route),
		policy:   t.meter.with(MetricPolicyDuration, route),
		decision: t.meter.with(MetricAuthorizationDecisions, route, decisions[k.decision], reason),
	}
	if k.upstream != "" {
		s.upstream = t.meter.with(MetricUpstreamDuration, k.upstream)
	}
	return s
}

// Closed lists; index 0 stands for everything else.
var (
	methods   = [...]string{ValueOther, "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
	protos    = [...]string{ValueOther, "1.0", "1.1", "2"}
	decisions = [...]string{ValueOther, DecisionAllowed, DecisionDenied, DecisionRefused, DecisionError}
)

// methodIndex is case-sensitive, as methods are (RFC 9110 §9.1).
func methodIndex(method string) uint8 { return indexIn(methods[:], method) }

func decisionIndex(decision string) uint8 { return indexIn(decisions[:], decision) }

func protoIndex(proto string) uint8 {
	switch proto {
	case "HTTP/1.1":
		return 2
	case "HTTP/2.0", "HTTP/2":
		return 3
	case "HTTP/1.0":
		return 1
	}
	return 0
}

func indexIn(list []string, value string) uint8 {
	for i := 1; i < len(list); i++ {
		if list[i] == value {
			return uint8(i)
		}
	}
	return 0
}

// request writes the record of a request; docs/audit-record.md lists its members
// in this order.
func (l *line) request(r *Request, tr Trace) {
	l.open(r.Start.Add(r.Total), eventRequest)
	l.text("decision", r.Decision, maxShortField)
	l.text("reason", r.Reason, maxShortField)
	l.number("status", int64(r.Status))
	l.text("request_id", r.ID, maxShortField)
	caller := callerPart{
		listener: r.Listener, connID: r.ConnID, remote: r.Remote, sni: r.SNI,
		caller: r.Caller, claimed: r.ClaimedID, grade: r.Grade, findings: r.Findings,
	}
	target := targetPart{upstream: r.Upstream, endpoint: r.Endpoint, identity: r.UpstreamID}
	memo := r.Memo
	if memo == nil {
		caller.write(l)
	} else {
		memo.caller.write(l, &caller, (*callerPart).write)
	}
	l.text("protocol", r.Proto, maxShortField)
	l.text("method", r.Method, maxShortField)
	l.text("host", r.Host, maxShortField)
	l.text("path", withoutQuery(r.Path), maxField)
	l.text("route", r.Route, maxShortField)
	l.text("rule", r.Rule, maxField)
	l.text("missing", strings.Join(r.Missing, "; "), maxShortField)
	if memo == nil {
		target.write(l)
	} else {
		memo.target.write(l, &target, (*targetPart).write)
	}
	l.number("bytes_in", r.BytesIn)
	l.number("bytes_out", r.BytesOut)
	l.number("duration_ns", int64(r.Total))
	l.number("policy_ns", int64(r.Policy))
	l.number("upstream_ns", int64(r.UpstreamTime))
	l.trace(tr)
	l.close()
}

// withoutQuery cuts a path where tokens begin to turn up (AUD-03).
func withoutQuery(path string) string {
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	return path
}
