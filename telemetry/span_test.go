package telemetry

import (
	"compress/gzip"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	metricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"verigate/verifycache"
)

// traced returns a Telemetry that reports every request, and what it reported.
func traced(t *testing.T, edit func(*Options)) (*Telemetry, *tracetest.SpanRecorder) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	tel := start(t, edit)
	tel.traceTo(recorder, 1, resource.Empty())
	return tel, recorder
}

func attributes(s sdktrace.ReadOnlySpan) map[string]string {
	all := make(map[string]string)
	for _, kv := range s.Attributes() {
		all[string(kv.Key)] = kv.Value.String()
	}
	return all
}

func TestSampledRequestHasServerAndClientSpan(t *testing.T) {
	t.Parallel()
	tel, recorder := traced(t, nil)
	r := served(t)
	r.Path = "/v1/charges?token=secret"
	r.Trace = tel.Trace(callersParent)
	outgoing := string(r.Trace.AppendTraceParent(nil))
	tel.Request(r)

	spans := recorder.Ended()
	if len(spans) != 2 {
		t.Fatalf("%d spans, want 2", len(spans))
	}
	client, server := spans[0], spans[1]
	if server.SpanKind() != trace.SpanKindServer || client.SpanKind() != trace.SpanKindClient {
		t.Errorf("kinds are %v and %v, want server and client", server.SpanKind(), client.SpanKind())
	}
	if got := server.SpanContext().TraceID().String(); got != callersID {
		t.Errorf("trace is %s, want the caller's %s", got, callersID)
	}
	if parent := server.Parent(); parent.SpanID().String() != callersSpan || !parent.IsRemote() {
		t.Errorf("parent of the server span is %v, want the caller's span %s", parent.SpanID(), callersSpan)
	}
	if client.Parent().SpanID() != server.SpanContext().SpanID() {
		t.Errorf("parent of the client span is %v, want the server span %v", client.Parent().SpanID(), server.SpanContext().SpanID())
	}
	if want := "00-" + callersID + "-" + client.SpanContext().SpanID().String() + "-01"; outgoing != want {
		t.Errorf("the upstream was told %s, want the client span: %s", outgoing, want)
	}
	if got, want := server.EndTime().Sub(server.StartTime()), r.Total; got != want || !server.StartTime().Equal(noon) {
		t.Errorf("server span takes %v from %v, want %v from %v", got, server.StartTime(), want, noon)
	}
	if got, want := client.EndTime().Sub(client.StartTime()), r.UpstreamTime; got != want {
		t.Errorf("client span takes %v, want %v", got, want)
	}
	if server.Name() != "POST payments" {
		t.Errorf("server span is called %q, want method and route", server.Name())
	}
	got := attributes(server)
	for key, want := range map[string]string{
		"verigate.client.id": "spiffe://prod.example/ns/shop/sa/checkout", "url.path": "/v1/charges", "url.scheme": "https",
		"http.route": "payments", "http.response.status_code": "200", "client.address": "192.0.2.7", "network.protocol.version": "1.1",
	} {
		if got[key] != want {
			t.Errorf("server span: %s = %q, want %q", key, got[key], want)
		}
	}
	for key, value := range got {
		if strings.Contains(value, "secret") {
			t.Errorf("server span: %s = %q, want no query", key, value)
		}
	}
}

func TestRequestThatWasNotForwardedHasNoClientSpan(t *testing.T) {
	t.Parallel()
	tel, recorder := traced(t, nil)
	r := served(t)
	r.Decision, r.Reason, r.Status, r.UpstreamTime, r.Trace = DecisionDenied, "policy_denied", 403, 0, Trace{}
	tel.Request(r)
	spans := recorder.Ended()
	if len(spans) != 1 || spans[0].Parent().IsValid() {
		t.Fatalf("%d spans, want one without a parent", len(spans))
	}
	if got := attributes(spans[0])["error.type"]; got != "policy_denied" {
		t.Errorf("error.type = %q, want policy_denied", got)
	}
	if got := spans[0].Status().Code; got != codes.Unset {
		t.Errorf("status of the span = %v, want unset: the server is not at fault", got)
	}
}

func TestIdentityPathsCanBeHidden(t *testing.T) {
	t.Parallel()
	tel, recorder := traced(t, func(o *Options) { o.HideIdentityPaths = true })
	r := served(t)
	r.Trace = Trace{}
	tel.Request(r)
	h, e := accepted(t)
	tel.handshake(h, e)
	for _, s := range recorder.Ended() {
		for key, value := range attributes(s) {
			if strings.Contains(value, "sa/") {
				t.Errorf("%s: %s = %q, want no path of an identity (AUD-07)", s.Name(), key, value)
			}
		}
	}
	if got := attributes(recorder.Ended()[1])[AttributeClientID]; !strings.HasPrefix(got, "spiffe://prod.example/sha256:") {
		t.Errorf("%s = %q, want the trust domain and a hash", AttributeClientID, got)
	}
}

func TestHandshakeSpanHasAChildWhenTheChainWasJudged(t *testing.T) {
	t.Parallel()
	tel, recorder := traced(t, nil)
	h, e := accepted(t)
	tel.handshake(h, e)
	h.Verdict.Outcome = verifycache.Hit
	h.Verdict.IdentifyDuration, h.JudgeTime = 0, 1000
	tel.handshake(h, e)
	tel.Handshake(refused(t))
	var names []string
	for _, s := range recorder.Ended() {
		names = append(names, s.Name())
	}
	if got, want := strings.Join(names, ", "), "verify chain, TLS handshake, TLS handshake, verify chain, TLS handshake"; got != want {
		t.Fatalf("spans are %s, want %s", got, want)
	}
	spans := recorder.Ended()
	if got := attributes(spans[1]); got["tls.protocol.version"] != "1.3" || got["tls.curve"] != "X25519MLKEM768" ||
		got["tls.client.hash.sha256"] != strings.ToUpper(hex.EncodeToString(e.leaf[:])) || got["verigate.client.id"] != e.id.String() {
		t.Errorf("attributes of an accepted handshake: %v", got)
	}
	if got := attributes(spans[4]); got["verigate.client.id"] != "" || got["error.type"] != "untrusted_chain" || spans[4].Status().Code != codes.Error {
		t.Errorf("a refused handshake is %v with %v, want an error and no proven identity", spans[4].Status(), got)
	}
	if spans[0].Parent().SpanID() != spans[1].SpanContext().SpanID() {
		t.Error("the span of the verification is not a child of its handshake")
	}
}

func TestTraceOfTheAuditRecordIsTheOneReported(t *testing.T) {
	t.Parallel()
	var recorder *tracetest.SpanRecorder
	log := audited(t, nil, func(tel *Telemetry) {
		recorder = tracetest.NewSpanRecorder()
		tel.traceTo(recorder, 1, resource.Empty())
		r := served(t)
		r.Trace = tel.Trace(callersParent)
		tel.Request(r)
		h, e := accepted(t)
		tel.handshake(h, e)
	})
	if got := events(t, log, eventRequest)[0]["trace_id"]; got != callersID {
		t.Errorf("trace_id of the request = %v, want %s", got, callersID)
	}
	spans := recorder.Ended()
	if got, want := events(t, log, eventHandshake)[0]["trace_id"], spans[len(spans)-1].SpanContext().TraceID().String(); got != want {
		t.Errorf("trace_id of the handshake = %v, want %s", got, want)
	}
}

// collector is an OTLP/HTTP endpoint that keeps what it is sent.
type collector struct {
	mu      sync.Mutex
	refuse  bool
	metrics map[string]bool
	spans   []string
	service string
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(r.Body)
	}
	b, err := io.ReadAll(body)
	if err != nil || c.refuse {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	switch r.URL.Path {
	case "/v1/metrics":
		var m metricspb.ExportMetricsServiceRequest
		err = proto.Unmarshal(b, &m)
		for _, rm := range m.GetResourceMetrics() {
			for _, kv := range rm.GetResource().GetAttributes() {
				if kv.GetKey() == "service.name" {
					c.service = kv.GetValue().GetStringValue()
				}
			}
			for _, sm := range rm.GetScopeMetrics() {
				for _, m := range sm.GetMetrics() {
					c.metrics[m.GetName()] = true
				}
			}
		}
	case "/v1/traces":
		var m tracepb.ExportTraceServiceRequest
		err = proto.Unmarshal(b, &m)
		for _, rs := range m.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				for _, s := range ss.GetSpans() {
					c.spans = append(c.spans, s.GetName())
				}
			}
		}
	default:
		err = errors.New("unexpected path " + r.URL.Path)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func TestShutdownPushesWhatIsLeft(t *testing.T) {
	t.Parallel()
	c := &collector{metrics: make(map[string]bool)}
	server := httptest.NewServer(c)
	defer server.Close()
	tel := start(t, func(o *Options) { o.OTLPEndpoint, o.TraceRatio = server.URL, 1 })
	r := served(t)
	r.Trace = Trace{}
	tel.Request(r)
	shutdown(t, tel)
	if c.service != "verigate" || !c.metrics[MetricServerDuration] {
		t.Errorf("collector has metrics %v of %q, want %s of verigate", c.metrics, c.service, MetricServerDuration)
	}
	if got := strings.Join(c.spans, ", "); got != "POST payments-v2, POST payments" {
		t.Errorf("collector has spans %q, want those of the request", got)
	}
}

func TestFailedPushesAreCounted(t *testing.T) {
	t.Parallel()
	c := &collector{refuse: true}
	server := httptest.NewServer(c)
	defer server.Close()
	tel := must(New(Options{OTLPEndpoint: server.URL, TraceRatio: 1}))(t)
	r := served(t)
	r.Trace = Trace{}
	tel.Request(r)
	if err := tel.traces.ForceFlush(t.Context()); err == nil {
		t.Error("ForceFlush() of the spans = nil, want the collector's refusal")
	}
	if err := tel.metrics.ForceFlush(t.Context()); err == nil {
		t.Error("ForceFlush() of the metrics = nil, want the collector's refusal")
	}
	text := scrape(t, tel, textFormat)
	for _, want := range []string{
		`verigate_telemetry_export_errors_total{signal="traces"} 1`,
		`verigate_telemetry_export_errors_total{signal="metrics"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("exposition lacks %s", want)
		}
	}
	_ = tel.Shutdown(t.Context()) // fails, as the pushes did
}

func TestWithoutACollectorNothingIsSampled(t *testing.T) {
	t.Parallel()
	tel := start(t, func(o *Options) { o.TraceRatio = 1 })
	for range 100 {
		if tel.Trace(callersParent).Sampled() {
			t.Fatal("Trace().Sampled() = true without a collector, want false")
		}
	}
}
