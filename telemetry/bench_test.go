package telemetry

import (
	"context"
	"io"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// What recording one request costs its goroutine: metrics, audit record, no span.
func BenchmarkRequest(b *testing.B) {
	tel := start(b, func(o *Options) { o.Audit.Writer = io.Discard })
	r := served(b)
	b.ReportAllocs()
	for b.Loop() {
		tel.Request(r)
	}
}

// The same on a connection that remembers the request before.
func BenchmarkRequestRemembered(b *testing.B) {
	tel := start(b, func(o *Options) { o.Audit.Writer = io.Discard })
	r := served(b)
	r.Memo = new(Memo)
	b.ReportAllocs()
	for b.Loop() {
		tel.Request(r)
	}
}

// A request that was denied, which is remembered besides.
func BenchmarkRequestDenied(b *testing.B) {
	tel := start(b, func(o *Options) { o.Audit.Writer = io.Discard })
	r := served(b)
	r.Decision, r.Reason, r.Status, r.UpstreamTime = DecisionDenied, "policy_denied", 403, 0
	b.ReportAllocs()
	for b.Loop() {
		tel.Request(r)
	}
}

// The same as BenchmarkRequest without the audit record.
func BenchmarkRequestMetrics(b *testing.B) {
	tel := start(b, nil)
	r := served(b)
	b.ReportAllocs()
	for b.Loop() {
		tel.Request(r)
	}
}

// With the chain of seals, whose cost the writer's goroutine bears.
func BenchmarkRequestSealed(b *testing.B) {
	tel := start(b, func(o *Options) { o.Audit.Writer, o.Audit.Seal = io.Discard, true })
	r := served(b)
	b.ReportAllocs()
	for b.Loop() {
		tel.Request(r)
	}
}

func BenchmarkHandshake(b *testing.B) {
	tel := start(b, func(o *Options) { o.Audit.Writer = io.Discard })
	h, e := accepted(b)
	b.ReportAllocs()
	for b.Loop() {
		tel.handshake(h, e)
	}
}

// A refused handshake beyond the rate of records: what each one of a flood costs.
func BenchmarkHandshakeSuppressed(b *testing.B) {
	tel := start(b, func(o *Options) { o.Audit.Writer, o.Audit.FailuresPerSecond = io.Discard, 1 })
	h := refused(b)
	b.ReportAllocs()
	for b.Loop() {
		tel.Handshake(h)
	}
}

func BenchmarkEncodeRequest(b *testing.B) {
	r := served(b)
	l := line{b: make([]byte, 0, maxLine)}
	b.ReportAllocs()
	for b.Loop() {
		l.b = l.b[:0]
		l.request(r, r.Trace)
	}
	b.ReportMetric(float64(len(l.b)), "octets/line")
}

func BenchmarkEncodeHandshake(b *testing.B) {
	h, e := accepted(b)
	l := line{b: make([]byte, 0, maxLine)}
	b.ReportAllocs()
	for b.Loop() {
		l.b = l.b[:0]
		l.handshake(h, e, Trace{})
	}
	b.ReportMetric(float64(len(l.b)), "octets/line")
}

func BenchmarkTrace(b *testing.B) {
	tel := start(b, nil)
	parent := []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	var field [64]byte
	b.ReportAllocs()
	for b.Loop() {
		tr := tel.TraceBytes(parent)
		_ = tr.AppendTraceParent(field[:0])
	}
}

// One measurement here, and one by the SDK with everything prepared: the reason
// for series of our own.
func BenchmarkObserve(b *testing.B) {
	s := newSeries(requestBounds, attribute.NewSet())
	b.ReportAllocs()
	for b.Loop() {
		s.observe(2 * time.Millisecond)
	}
}

func BenchmarkObserveBySDK(b *testing.B) {
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	histogram := must(provider.Meter("bench").Float64Histogram("bench"))(b)
	options := []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(
		attribute.String("route", "payments"), attribute.String("method", "GET"), attribute.Int("status", 200)))}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		histogram.Record(ctx, 0.002, options...)
	}
}
