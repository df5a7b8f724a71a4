package telemetry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"verigate/tlsterm"
	"verigate/verifycache"
	"verigate/workloadid"
)

// Attribute keys of spans for which there is no convention. Unlike labels they
// carry identities.
const (
	AttributeClientID         = "verigate.client.id"
	AttributeClaimedID        = "verigate.client.claimed_id"
	AttributeUpstreamID       = "verigate.upstream.id"
	AttributeUpstreamName     = "verigate.upstream.name"
	AttributeListener         = "verigate.listener.name"
	AttributeConnection       = "verigate.connection.id"
	AttributeRequestID        = "verigate.request.id"
	AttributeDecision         = "verigate.decision"
	AttributeRule             = "verigate.rule"
	AttributeTrustDomain      = "verigate.trust_domain"
	AttributeCacheResult      = "verigate.cache.result"
	AttributeHandshakeOutcome = "verigate.handshake.outcome"
)

// assignedIDs gives spans the identifiers that were decided when the request
// arrived: its span is reported when it is over, and by then the upstream knows
// the identifier as its parent.
type assignedIDs struct{}

type assignment struct{}

func assign(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, assignment{}, t)
}

// NewIDs implements [sdktrace.IDGenerator] for a span without a parent.
func (assignedIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if t, ok := ctx.Value(assignment{}).(Trace); ok {
		return t.id, t.server
	}
	return newTraceID(), newSpanID()
}

// NewSpanID implements [sdktrace.IDGenerator] for a span with a parent: a caller
// or, for the client span, our own server span.
func (assignedIDs) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	t, ok := ctx.Value(assignment{}).(Trace)
	switch {
	case !ok:
		return newSpanID()
	case trace.SpanContextFromContext(ctx).SpanID() == t.server:
		return t.client
	}
	return t.server
}

var _ sdktrace.IDGenerator = assignedIDs{}

// requestSpans reports a request that is over: a server span, and a client span if
// it was forwarded. The client span is taken to have ended with the request.
func (t *Telemetry) requestSpans(r *Request, tr Trace) {
	ctx := assign(context.Background(), tr)
	if tr.parent != [8]byte{} {
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: tr.id, SpanID: tr.parent, TraceFlags: trace.FlagsSampled, Remote: true,
		}))
	}
	method := methods[methodIndex(r.Method)]
	name := "HTTP"
	if method != ValueOther {
		name = method
	}
	route := cmp.Or(strings.Clone(r.Route), ValueNone)
	attributes := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(method),
		semconv.HTTPRoute(route),
		semconv.HTTPResponseStatusCode(r.Status),
		semconv.URLScheme("https"),
		semconv.URLPath(strings.Clone(withoutQuery(r.Path))),
		semconv.ServerAddress(strings.Clone(r.Host)),
		semconv.ClientAddress(strings.Clone(hostOf(r.Remote))),
		semconv.NetworkProtocolName("http"),
		semconv.NetworkProtocolVersion(protos[protoIndex(r.Proto)]),
		attribute.String(AttributeDecision, decisions[decisionIndex(r.Decision)]),
	}
	attributes = t.identified(attributes, AttributeClientID, r.Caller)
	attributes = t.identified(attributes, AttributeClaimedID, r.ClaimedID)
	attributes = named(attributes, AttributeListener, r.Listener)
	attributes = named(attributes, AttributeRequestID, r.ID)
	attributes = named(attributes, AttributeRule, r.Rule)
	attributes = append(attributes, attribute.Int64(AttributeConnection, int64(r.ConnID)))
	if reason := code(r.Reason); reason != "" {
		attributes = append(attributes, semconv.ErrorTypeKey.String(strings.Clone(reason)))
	}

	end := r.Start.Add(r.Total)
	ctx, server := t.tracer.Start(ctx, name+" "+route, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithTimestamp(r.Start), trace.WithAttributes(attributes...))
	if r.Upstream != "" && r.UpstreamTime > 0 {
		attributes := []attribute.KeyValue{
			semconv.HTTPRequestMethodKey.String(method),
			semconv.HTTPResponseStatusCode(r.Status),
			semconv.ServerAddress(strings.Clone(r.Endpoint)),
		}
		attributes = named(attributes, AttributeUpstreamName, r.Upstream)
		attributes = t.identified(attributes, AttributeUpstreamID, r.UpstreamID)
		_, client := t.tracer.Start(ctx, name+" "+strings.Clone(r.Upstream), trace.WithSpanKind(trace.SpanKindClient),
			trace.WithTimestamp(end.Add(-r.UpstreamTime)), trace.WithAttributes(attributes...))
		if r.Status >= 400 || r.Decision == DecisionError {
			client.SetStatus(codes.Error, "")
		}
		client.End(trace.WithTimestamp(end))
	}
	// A server is at fault for 5xx only.
	if r.Status >= 500 || r.Decision == DecisionError {
		server.SetStatus(codes.Error, "")
	}
	server.End(trace.WithTimestamp(end))
}

// handshakeSpan reports a handshake that is over, in a trace of its own since a
// connection outlives any request, with a child for the judging of the chain when
// the cache did not answer.
func (t *Telemetry) handshakeSpan(h *tlsterm.Handshake, e *evidence) Trace {
	tr := Trace{id: newTraceID(), server: newSpanID(), client: newSpanID(), sampled: true}
	end := h.Start.Add(h.Duration)
	attributes := []attribute.KeyValue{
		attribute.String(AttributeListener, h.Listener),
		attribute.Int64(AttributeConnection, int64(h.ConnID)),
		attribute.String(AttributeHandshakeOutcome, h.Outcome.String()),
		attribute.String(AttributeTrustDomain, t.domain(e.who())),
		semconv.TLSEstablished(h.Outcome != tlsterm.Failed),
		semconv.TLSResumed(h.Resumed),
		semconv.ClientAddress(h.Remote.Addr().String()),
		semconv.ClientPort(int(h.Remote.Port())),
	}
	if h.Version != 0 {
		attributes = append(attributes, semconv.TLSProtocolNameTLS, semconv.TLSProtocolVersion(versionLabel(h.Version)))
	}
	if h.CipherSuite != 0 {
		attributes = append(attributes, semconv.TLSCipher(cipherName(h.CipherSuite)))
	}
	if h.Curve != 0 {
		attributes = append(attributes, semconv.TLSCurve(tlsterm.GroupName(h.Curve)))
	}
	if e.leaf != [32]byte{} {
		attributes = append(attributes, semconv.TLSClientHashSha256(strings.ToUpper(hex.EncodeToString(e.leaf[:]))))
	}
	attributes = named(attributes, string(semconv.TLSNextProtocolKey), h.ALPN)
	attributes = named(attributes, string(semconv.ServerAddressKey), h.SNI)
	attributes = t.identified(attributes, AttributeClientID, e.id)
	attributes = t.identified(attributes, AttributeClaimedID, e.claimed)
	judged := h.Verdict.Path != nil || h.Verdict.Err != nil
	if judged {
		attributes = append(attributes, attribute.String(AttributeCacheResult, h.Verdict.Outcome.String()))
	}
	if reason := code(h.Reason); reason != "" {
		attributes = append(attributes, semconv.ErrorTypeKey.String(reason))
	}
	ctx, span := t.tracer.Start(assign(context.Background(), tr), "TLS handshake",
		trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(h.Start), trace.WithAttributes(attributes...))
	if judged && (h.Verdict.Outcome == verifycache.Miss || h.Verdict.Outcome == verifycache.Bypass) {
		// When exactly the chain was judged is not known, only for how long; it is
		// among the last things of a handshake.
		_, child := t.tracer.Start(ctx, "verify chain", trace.WithTimestamp(end.Add(-h.JudgeTime)))
		if h.Verdict.Err != nil {
			child.SetStatus(codes.Error, h.Verdict.Err.Reason.String())
		}
		child.End(trace.WithTimestamp(end))
	}
	if h.Outcome != tlsterm.Accepted {
		span.SetStatus(codes.Error, h.Reason)
	}
	span.End(trace.WithTimestamp(end))
	return tr
}

// hostOf returns the address without the port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// named appends an attribute unless it is empty, with a copy of the value.
func named(attributes []attribute.KeyValue, key, value string) []attribute.KeyValue {
	if value == "" {
		return attributes
	}
	return append(attributes, attribute.String(key, strings.Clone(value)))
}

// identified appends an identity unless there is none.
func (t *Telemetry) identified(attributes []attribute.KeyValue, key string, id workloadid.ID) []attribute.KeyValue {
	if id.IsZero() {
		return attributes
	}
	value := id.String()
	if t.hide {
		value = hidePath(id)
	}
	return append(attributes, attribute.String(key, value))
}

// hidePath replaces the path of an identity, which may tell how a fleet is built,
// by the beginning of its hash: equal identities stay equal.
func hidePath(id workloadid.ID) string {
	sum := sha256.Sum256([]byte(id.String()))
	return id.Origin().String() + "/sha256:" + hex.EncodeToString(sum[:16])
}
