package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"verigate/tlsterm"
	"verigate/workloadid"
)

// scopeName is the instrumentation scope of everything recorded here.
const scopeName = "verigate/telemetry"

const defaultSeries = 2000

// Options of a [Telemetry]. Zero values get the defaults named.
type Options struct {
	ServiceName string // service.name; "verigate"
	InstanceID  string // service.instance.id; left out when empty
	Version     string // service.version; what the build says of itself

	// OTLPEndpoint is the base URL of a collector, such as http://127.0.0.1:4318, to
	// which metrics and traces are pushed; empty: neither.
	OTLPEndpoint string
	PushInterval time.Duration // of metrics; 15 s
	// TraceRatio is the part of requests and handshakes that get spans: 0 means
	// 0.01, a negative value none. Without an endpoint there are no spans.
	TraceRatio float64
	// HideIdentityPaths replaces the path of identities in spans by a hash, for
	// collectors that not everyone may read (AUD-07). The audit record keeps the
	// whole identity (AUD-06).
	HideIdentityPaths bool

	Audit AuditOptions

	// TrustDomains are the values that the trust_domain label can have besides
	// "other" and "none".
	TrustDomains []workloadid.Origin
	// MaxSeries bounds the series of each instrument; 2 000. More of them share one,
	// which is marked by otel.metric.overflow.
	MaxSeries int

	// RecentRefusals is how many handshakes [Telemetry.RecentRefusals] remembers, and
	// how many connections [Telemetry.RecentConnectionEnds] does; 64.
	RecentRefusals int
	RecentDenials  int // requests that [Telemetry.RecentDenials] remembers; 64
	// ShadowIdentities bounds what [Telemetry.ShadowDifferences] remembers; 1 024.
	ShadowIdentities int

	Now func() time.Time // time.Now
}

// Telemetry records. Its methods may be called concurrently. Those that record
// wait only where [AuditOptions.OnFull] says so, and do not allocate in steady
// state.
type Telemetry struct {
	now     func() time.Time
	meter   *meter
	audit   *auditLog // nil: off
	recent  *ring[*tlsterm.Handshake]
	ends    *ring[ConnectionEnd]
	denials *denialRing
	shadows *shadowTable
	sampler *sampler
	tracer  trace.Tracer // nil: no spans
	hide    bool
	domains map[workloadid.Origin]string

	handshakes table[handshakeKey, handshakeSeries]
	requests   table[requestKey, requestSeries]
	rejudged   table[shadowVerdict, series]
	auditCount struct{ handshakes, requests, ends, trust *series }

	configLoaded atomic.Int64 // seconds since 1970; 0: never

	metrics *metric.MeterProvider
	traces  *sdktrace.TracerProvider
	handler http.Handler

	shutdown sync.Once
}

// New returns a Telemetry that records, and pushes to the collector if there is
// one. It fails if an option makes no sense or the audit log cannot be written to;
// a collector that cannot be reached is no error, but counted.
func New(o Options) (*Telemetry, error) {
	if err := check(o); err != nil {
		return nil, err
	}
	now := o.Now
	if now == nil {
		now = time.Now
	}
	limit := cmp.Or(o.MaxSeries, defaultSeries)
	t := &Telemetry{
		now:     now,
		meter:   newMeter(limit, now),
		recent:  newRing[*tlsterm.Handshake](cmp.Or(o.RecentRefusals, 64)),
		ends:    newRing[ConnectionEnd](cmp.Or(o.RecentRefusals, 64)),
		denials: newDenialRing(cmp.Or(o.RecentDenials, 64)),
		shadows: newShadowTable(cmp.Or(o.ShadowIdentities, 1024)),
		sampler: newSampler(0),
		hide:    o.HideIdentityPaths,
		domains: make(map[workloadid.Origin]string, len(o.TrustDomains)),
	}
	t.handshakes.limit, t.requests.limit, t.rejudged.limit = limit, limit, limit
	for _, origin := range o.TrustDomains {
		t.domains[origin] = origin.String()
	}
	identity := identityOf(o)
	if err := t.export(o, resourceOf(identity)); err != nil {
		return nil, err
	}
	if o.Audit.Writer != nil || o.Audit.File != "" {
		audit, err := newAuditLog(o.Audit, identity.record(now), now)
		if err != nil {
			return nil, errors.Join(err, t.stopExports(context.Background()))
		}
		t.audit = audit
	}
	t.observeOwn()
	return t, nil
}

func check(o Options) error {
	switch {
	case math.IsNaN(o.TraceRatio) || o.TraceRatio > 1:
		return fmt.Errorf("telemetry: trace ratio is %v, want at most 1", o.TraceRatio)
	case o.MaxSeries < 0 || o.RecentRefusals < 0 || o.RecentDenials < 0 || o.ShadowIdentities < 0 || o.PushInterval < 0:
		return errors.New("telemetry: negative option")
	case o.OTLPEndpoint == "":
		return nil
	}
	u, err := url.Parse(o.OTLPEndpoint)
	if err != nil {
		return fmt.Errorf("telemetry: OTLP endpoint: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("telemetry: OTLP endpoint is %q, want http://host:port or https://host:port", u.Redacted())
	}
	return nil
}

// instance is how this process is called in what it exports.
type instance struct{ service, id, version string }

func identityOf(o Options) instance {
	i := instance{service: cmp.Or(o.ServiceName, "verigate"), id: o.InstanceID, version: o.Version}
	if build, ok := debug.ReadBuildInfo(); ok && i.version == "" {
		i.version = build.Main.Version
	}
	return i
}

func resourceOf(i instance) *resource.Resource {
	attributes := []attribute.KeyValue{semconv.ServiceName(i.service)}
	if i.id != "" {
		attributes = append(attributes, semconv.ServiceInstanceID(i.id))
	}
	if i.version != "" {
		attributes = append(attributes, semconv.ServiceVersion(i.version))
	}
	return resource.NewWithAttributes(semconv.SchemaURL, attributes...)
}

// export sets up the readers of the meter and the exporter of spans.
func (t *Telemetry) export(o Options, res *resource.Resource) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		// Scheduling latency is the earliest sign of overload that a Go program has.
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	exposition, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry),
		otelprometheus.WithoutScopeInfo(), // three labels on each series that say nothing
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		otelprometheus.WithProducer(t.meter),
	)
	if err != nil {
		return fmt.Errorf("telemetry: prometheus: %w", err)
	}
	t.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, // the only text format that carries exemplars
		Registry:          registry,
	})
	options := []metric.Option{metric.WithResource(res), metric.WithReader(exposition), metric.WithCardinalityLimit(cmp.Or(o.MaxSeries, defaultSeries))}

	if o.OTLPEndpoint != "" {
		base := strings.TrimSuffix(o.OTLPEndpoint, "/")
		push, err := otlpmetrichttp.New(context.Background(), otlpmetrichttp.WithEndpointURL(base+"/v1/metrics"))
		if err != nil {
			return fmt.Errorf("telemetry: OTLP metrics: %w", err)
		}
		options = append(options, metric.WithReader(metric.NewPeriodicReader(
			countingMetrics{push, t.meter.with(MetricExportErrors, "metrics")},
			metric.WithInterval(cmp.Or(o.PushInterval, 15*time.Second)),
			metric.WithProducer(t.meter),
		)))
		if err := t.exportTraces(o, base, res); err != nil {
			return errors.Join(err, push.Shutdown(context.Background()))
		}
	}
	t.metrics = metric.NewMeterProvider(options...)
	return nil
}

func (t *Telemetry) exportTraces(o Options, base string, res *resource.Resource) error {
	ratio := cmp.Or(o.TraceRatio, 0.01)
	if ratio < 0 {
		return nil
	}
	push, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(base+"/v1/traces"))
	if err != nil {
		return fmt.Errorf("telemetry: OTLP traces: %w", err)
	}
	t.traceTo(sdktrace.NewBatchSpanProcessor(countingSpans{push, t.meter.with(MetricExportErrors, "traces")}), ratio, res)
	return nil
}

// traceTo starts reporting spans. The SDK samples everything it is given: which
// requests get spans was decided when they arrived.
func (t *Telemetry) traceTo(processor sdktrace.SpanProcessor, ratio float64, res *resource.Resource) {
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit = maxField
	t.traces = sdktrace.NewTracerProvider(
		sdktrace.WithResource(res),
		sdktrace.WithSampler(sdktrace.AlwaysSample()),
		sdktrace.WithIDGenerator(assignedIDs{}),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithSpanProcessor(processor),
	)
	t.tracer = t.traces.Tracer(scopeName)
	t.sampler = newSampler(ratio)
}

// Handler serves the metrics in the Prometheus text format, or as OpenMetrics or
// protobuf to those who ask for them.
func (t *Telemetry) Handler() http.Handler { return t.handler }

// Reopen opens the audit file anew, after something renamed it (SIGHUP). What is
// written from then on goes to the new file. On an error the old one stays in use.
func (t *Telemetry) Reopen() error {
	if t.audit == nil {
		return nil
	}
	return t.audit.output.reopen(t.now())
}

// AuditStatus returns the state of the audit log.
func (t *Telemetry) AuditStatus() AuditStatus {
	if t.audit == nil {
		return AuditStatus{}
	}
	return t.audit.status()
}

// Shutdown writes out what waits: audit records first, then spans and metrics. It
// returns when all is out or ctx is done, with everything that went wrong. Records
// that come later are counted as lost.
func (t *Telemetry) Shutdown(ctx context.Context) (err error) {
	t.shutdown.Do(func() {
		if t.audit != nil {
			err = t.audit.close(ctx)
		}
		err = errors.Join(err, t.stopExports(ctx))
	})
	return err
}

func (t *Telemetry) stopExports(ctx context.Context) (err error) {
	if t.traces != nil {
		err = t.traces.Shutdown(ctx)
	}
	return errors.Join(err, t.metrics.Shutdown(ctx))
}

// countingMetrics counts exports that failed.
type countingMetrics struct {
	metric.Exporter
	failures *series
}

func (c countingMetrics) Export(ctx context.Context, data *metricdata.ResourceMetrics) error {
	err := c.Exporter.Export(ctx, data)
	if err != nil {
		c.failures.add(1)
	}
	return err
}

// countingSpans counts exports that failed.
type countingSpans struct {
	sdktrace.SpanExporter
	failures *series
}

func (c countingSpans) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := c.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		c.failures.add(1)
	}
	return err
}
