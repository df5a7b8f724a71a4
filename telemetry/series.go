package telemetry

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// series is one line of a chart: one instrument with one set of label values.
//
// Its cells are split into shards, so that cores which record at the same moment
// seldom share a cache line. A shard is one cell for the sum followed by one for
// each bucket; a counter has a single bucket and no sum.
type series struct {
	attributes attribute.Set
	bounds     []time.Duration
	stride     int
	mask       uint32
	cells      []atomic.Uint64
	exemplar   atomic.Pointer[exemplar]
}

// exemplar ties one measurement to the trace that it was taken in.
type exemplar struct {
	value time.Duration
	at    time.Time
	trace Trace
}

const (
	cellsPerLine = 8 // 64 octets
	maxShards    = 8
)

func newSeries(bounds []time.Duration, attributes attribute.Set) *series {
	shards := 1
	for shards < runtime.GOMAXPROCS(0) && shards < maxShards {
		shards *= 2
	}
	stride := (len(bounds) + 2 + cellsPerLine - 1) / cellsPerLine * cellsPerLine
	return &series{
		attributes: attributes,
		bounds:     bounds,
		stride:     stride,
		mask:       uint32(shards - 1),
		cells:      make([]atomic.Uint64, shards*stride),
	}
}

// shard returns the cells of one shard. The choice is random because Go does not
// say which processor a goroutine runs on.
func (s *series) shard() []atomic.Uint64 {
	if s.mask == 0 {
		return s.cells
	}
	n := int(rand.Uint32()&s.mask) * s.stride
	return s.cells[n : n+s.stride]
}

func (s *series) observe(d time.Duration) {
	d = max(d, 0)
	bucket, _ := slices.BinarySearch(s.bounds, d)
	cells := s.shard()
	cells[0].Add(uint64(d))
	cells[1+bucket].Add(1)
}

func (s *series) add(n uint64) { s.shard()[1].Add(n) }

// buckets returns the counts of all shards added up, and their sum.
func (s *series) buckets() (counts []uint64, total uint64, sum time.Duration) {
	counts = make([]uint64, len(s.bounds)+1)
	for base := 0; base < len(s.cells); base += s.stride {
		sum += time.Duration(s.cells[base].Load())
		for i := range counts {
			n := s.cells[base+1+i].Load()
			counts[i] += n
			total += n
		}
	}
	return counts, total, sum
}

// family holds the series of one instrument. The hot path does not come here: it
// keeps the series it needs, see [table].
type family struct {
	Instrument
	limit    int
	mu       sync.Mutex
	series   map[string]*series
	order    []*series
	overflow *series
	// observe, if set, replaces the series: it is asked at every collection.
	observe func(emit func(value float64, labels ...string))
}

// with returns the series for the label values given in the order of Labels. An
// empty value leaves its label out. Beyond the limit everything lands in one
// overflow series: a label that turns out not to be bounded costs resolution, not
// memory.
func (f *family) with(values ...string) *series {
	key := strings.Join(values, "\xff")
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.series[key]; s != nil {
		return s
	}
	if len(f.series) >= f.limit {
		if f.overflow == nil {
			f.overflow = newSeries(f.Bounds, attribute.NewSet(attribute.Bool(LabelOverflow, true)))
			f.order = append(f.order, f.overflow)
		}
		return f.overflow
	}
	s := newSeries(f.Bounds, f.attributes(values))
	// Join returns a single value as it is, not a copy.
	f.series[strings.Clone(key)] = s
	f.order = append(f.order, s)
	return s
}

// totals returns the counts of a counter, added up by the values of one label.
func (f *family) totals(label string) map[string]uint64 {
	f.mu.Lock()
	live := slices.Clone(f.order)
	f.mu.Unlock()
	totals := make(map[string]uint64)
	for _, s := range live {
		if value, ok := s.attributes.Value(attribute.Key(label)); ok {
			_, n, _ := s.buckets()
			totals[value.AsString()] += n
		}
	}
	return totals
}

// attributes copies the values: they may be views of a connection's buffers.
func (f *family) attributes(values []string) attribute.Set {
	kv := make([]attribute.KeyValue, 0, len(values))
	for i, v := range values {
		if v != "" {
			kv = append(kv, attribute.String(f.Labels[i], strings.Clone(v)))
		}
	}
	return attribute.NewSet(kv...)
}

// collect returns the family as OpenTelemetry data; nothing when it has no series.
func (f *family) collect(start, now time.Time) (m metricdata.Metrics, ok bool) {
	m = metricdata.Metrics{Name: f.Name, Description: f.Help, Unit: f.Unit}
	f.mu.Lock()
	live, observe := f.order, f.observe
	f.mu.Unlock()
	switch {
	case f.Kind == Histogram:
		m.Data, ok = histogram(live, start, now)
	case observe == nil:
		m.Data, ok = counts(live, start, now)
	default:
		m.Data, ok = f.observed(observe, start, now)
	}
	return m, ok
}

func histogram(live []*series, start, now time.Time) (metricdata.Aggregation, bool) {
	points := make([]metricdata.HistogramDataPoint[float64], 0, len(live))
	for _, s := range live {
		buckets, total, sum := s.buckets()
		point := metricdata.HistogramDataPoint[float64]{
			Attributes: s.attributes, StartTime: start, Time: now,
			Count: total, Sum: sum.Seconds(), BucketCounts: buckets,
			Bounds: make([]float64, len(s.bounds)),
		}
		for i, b := range s.bounds {
			point.Bounds[i] = b.Seconds()
		}
		if e := s.exemplar.Load(); e != nil {
			point.Exemplars = []metricdata.Exemplar[float64]{{
				Time: e.at, Value: e.value.Seconds(), TraceID: e.trace.id[:], SpanID: e.trace.server[:],
			}}
		}
		points = append(points, point)
	}
	return metricdata.Histogram[float64]{DataPoints: points, Temporality: metricdata.CumulativeTemporality}, len(points) > 0
}

func counts(live []*series, start, now time.Time) (metricdata.Aggregation, bool) {
	points := make([]metricdata.DataPoint[int64], 0, len(live))
	for _, s := range live {
		_, total, _ := s.buckets()
		points = append(points, metricdata.DataPoint[int64]{
			Attributes: s.attributes, StartTime: start, Time: now, Value: int64(total),
		})
	}
	return metricdata.Sum[int64]{DataPoints: points, Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}, len(points) > 0
}

func (f *family) observed(observe func(func(float64, ...string)), start, now time.Time) (metricdata.Aggregation, bool) {
	var points []metricdata.DataPoint[float64]
	observe(func(value float64, labels ...string) {
		if len(points) < f.limit {
			points = append(points, metricdata.DataPoint[float64]{
				Attributes: f.attributes(labels), StartTime: start, Time: now, Value: value,
			})
		}
	})
	if f.Kind == Gauge {
		return metricdata.Gauge[float64]{DataPoints: points}, len(points) > 0
	}
	return metricdata.Sum[float64]{DataPoints: points, Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}, len(points) > 0
}

// meter is every family. It is the [metric.Producer] that readers collect from.
type meter struct {
	start    time.Time
	now      func() time.Time
	families map[string]*family
}

func newMeter(limit int, now func() time.Time) *meter {
	m := &meter{start: now(), now: now, families: make(map[string]*family, len(instruments))}
	for _, i := range instruments {
		m.families[i.Name] = &family{Instrument: i, limit: limit, series: make(map[string]*series)}
	}
	return m
}

// with returns a series of the named instrument.
func (m *meter) with(name string, values ...string) *series { return m.families[name].with(values...) }

// observe registers what is asked at every collection; a later call replaces it.
func (m *meter) observe(name string, observe func(emit func(value float64, labels ...string))) {
	f := m.families[name]
	f.mu.Lock()
	defer f.mu.Unlock()
	f.observe = observe
}

// Produce implements [metric.Producer].
func (m *meter) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	scope := metricdata.ScopeMetrics{Scope: instrumentation.Scope{Name: scopeName}}
	now := m.now()
	for _, i := range instruments {
		if data, ok := m.families[i.Name].collect(m.start, now); ok {
			scope.Metrics = append(scope.Metrics, data)
		}
	}
	return []metricdata.ScopeMetrics{scope}, nil
}

// table finds, by a small comparable key, the series that one kind of event
// updates. Reading takes no lock; a new key copies the map, which happens as often
// as there are combinations of closed lists. It allocates only then.
type table[K comparable, V any] struct {
	limit int
	mu    sync.Mutex
	m     atomic.Pointer[map[K]*V]
}

func (t *table[K, V]) get(k K) *V {
	m := t.m.Load()
	if m == nil {
		return nil
	}
	return (*m)[k]
}

// put remembers v under k and returns what is remembered: v, or what another
// goroutine put first. Beyond the limit it remembers nothing.
func (t *table[K, V]) put(k K, v *V) *V {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := make(map[K]*V)
	if m := t.m.Load(); m != nil {
		if first := (*m)[k]; first != nil {
			return first
		}
		if len(*m) >= t.limit {
			return v
		}
		for key, value := range *m {
			next[key] = value
		}
	}
	next[k] = v
	t.m.Store(&next)
	return v
}
