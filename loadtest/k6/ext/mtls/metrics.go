package mtls

import (
	"context"
	"errors"
	"net"
	"strconv"

	"go.k6.io/k6/lib"
	"go.k6.io/k6/lib/netext"
	"go.k6.io/k6/lib/netext/httpext"
	"go.k6.io/k6/metrics"
)

// ownMetrics are the metrics that k6 does not have. Requests are counted by k6's
// own, http_reqs and the others.
type ownMetrics struct {
	handshakes         *metrics.Metric
	handshakeDuration  *metrics.Metric
	firstAnswer        *metrics.Metric
	resumed            *metrics.Metric
	reused             *metrics.Metric
	refused            *metrics.Metric
	reconnects         *metrics.Metric
	serverCertificates *metrics.Metric
}

func (m *ownMetrics) register(registry *metrics.Registry) error {
	var errs []error
	metric := func(name string, kind metrics.MetricType, contents metrics.ValueType) *metrics.Metric {
		registered, err := registry.NewMetric(name, kind, contents)
		errs = append(errs, err)
		return registered
	}
	m.handshakes = metric("mtls_handshakes", metrics.Counter, metrics.Default)
	m.handshakeDuration = metric("mtls_handshake_duration", metrics.Trend, metrics.Time)
	m.firstAnswer = metric("mtls_first_answer", metrics.Trend, metrics.Time)
	m.resumed = metric("mtls_resumed", metrics.Rate, metrics.Default)
	m.reused = metric("mtls_reused", metrics.Rate, metrics.Default)
	m.refused = metric("mtls_refused", metrics.Counter, metrics.Default)
	m.reconnects = metric("mtls_reconnects", metrics.Counter, metrics.Default)
	m.serverCertificates = metric("mtls_server_certificates", metrics.Counter, metrics.Default)
	return errors.Join(errs...)
}

// trail is the request in k6's terms. Times that there were not are zero.
func (o *outcome) trail() *httpext.Trail {
	t := &httpext.Trail{EndTime: o.done, ConnReused: o.reused}
	if o.conn == nil {
		t.Blocked = o.done.Sub(o.began)
		return t
	}
	t.ConnRemoteAddr = o.conn.tls.RemoteAddr()
	t.Blocked = o.got.Sub(o.began)
	if !o.reused {
		t.Connecting, t.TLSHandshaking = o.conn.connecting, o.conn.handshaking
	}
	t.ConnDuration = t.Connecting + t.TLSHandshaking
	if !o.sent.IsZero() {
		t.Sending = o.sent.Sub(o.got)
	}
	if !o.first.IsZero() {
		// With HTTP/2 the answer may begin before the request is sent.
		t.Waiting = max(0, o.first.Sub(o.got)-t.Sending)
		t.Receiving = o.done.Sub(o.first)
	} else {
		t.Waiting = max(0, o.done.Sub(o.got)-t.Sending)
	}
	t.Duration = t.Sending + t.Waiting + t.Receiving
	return t
}

// response is the request in the script's terms.
func (o *outcome) response(t *httpext.Trail, discard bool) *response {
	r := &response{
		Status: o.status, Proto: o.proto, Headers: make(map[string]string, len(o.header)), Length: len(o.body),
		Identity: o.name, Reused: o.reused, Resumed: o.conn != nil && o.conn.state.DidResume, Alert: alertOf(o.err),
		Timings: timing{
			Blocked: metrics.D(t.Blocked), Connecting: metrics.D(t.Connecting), TLSHandshaking: metrics.D(t.TLSHandshaking),
			Sending: metrics.D(t.Sending), Waiting: metrics.D(t.Waiting), Receiving: metrics.D(t.Receiving), Duration: metrics.D(t.Duration),
		},
	}
	r.Refused = r.Alert != ""
	for name := range o.header {
		r.Headers[name] = o.header.Get(name)
	}
	if !discard {
		r.Body = string(o.body)
	}
	if o.err != nil {
		r.Status, r.Error = 0, o.err.Error()
	}
	return r
}

// expected is whether the outcome is what the script wants: an answer below 400, or
// a refusal.
func (o *outcome) expected(p *params) bool {
	if p.Refused {
		return alertOf(o.err) != ""
	}
	return o.err == nil && o.status >= 200 && o.status < 400
}

// push hands all samples of a request to k6, unless the test is over.
func (m *ownMetrics) push(ctx context.Context, state *lib.State, o *outcome, trail *httpext.Trail, r *request, p *params) {
	tags := state.Tags.GetCurrentValues()
	for name, value := range p.Tags {
		tags.SetTag(name, value)
	}
	own := tags.Tags // without what describes the request, such as its status
	o.describe(&tags, state.Options.SystemTags, r, p)
	trail.SaveSamples(state.BuiltinMetrics, &tags)

	var samples metrics.Samples
	add := func(metric *metrics.Metric, tags *metrics.TagSet, value float64) {
		samples = append(samples, metrics.Sample{
			TimeSeries: metrics.TimeSeries{Metric: metric, Tags: tags}, Time: o.done, Value: value})
	}
	add(state.BuiltinMetrics.HTTPReqFailed, tags.Tags, metrics.B(!o.expected(p)))
	switch alert := alertOf(o.err); {
	case alert != "":
		add(m.refused, own.With("alert", alert), 1)
	case o.err == nil:
		add(m.reused, own, metrics.B(o.reused))
	}
	// In TLS 1.3 the server judges the client after the client is done. Whether the
	// handshake succeeded is known by the answer.
	if !o.reused && o.err == nil {
		resumed := o.conn.state.DidResume
		with := own.With("resumed", strconv.FormatBool(resumed))
		add(m.handshakes, with, 1)
		add(m.handshakeDuration, with, metrics.D(o.conn.handshaking))
		add(m.firstAnswer, with, metrics.D(o.first.Sub(o.conn.began)))
		add(m.resumed, own, metrics.B(resumed))
	}
	if o.reconnects > 0 {
		add(m.reconnects, own, float64(o.reconnects))
	}
	if o.newServer {
		add(m.serverCertificates, own, 1)
	}
	if metrics.PushIfNotDone(ctx, state.Samples, trail) {
		metrics.PushIfNotDone(ctx, state.Samples, samples)
	}
}

// describe adds the tags that k6's own requests have.
func (o *outcome) describe(tags *metrics.TagsAndMeta, enabled *metrics.SystemTagSet, r *request, p *params) {
	set := func(tag metrics.SystemTag, value string) { tags.SetSystemTagOrMetaIfEnabled(enabled, tag, value) }
	address := r.url.String()
	if name, ok := tags.Tags.Get(metrics.TagName.String()); ok {
		address = name
	} else {
		set(metrics.TagName, address)
	}
	set(metrics.TagURL, address)
	set(metrics.TagMethod, r.method)
	set(metrics.TagExpectedResponse, strconv.FormatBool(o.expected(p)))
	if o.err != nil {
		set(metrics.TagStatus, "0")
		set(metrics.TagError, kindOf(o.err))
	} else {
		set(metrics.TagStatus, strconv.Itoa(o.status))
		set(metrics.TagProto, o.proto)
	}
	if o.conn == nil {
		return
	}
	info, _ := netext.ParseTLSConnState(&o.conn.state)
	set(metrics.TagTLSVersion, info.Version)
	if host, _, err := net.SplitHostPort(o.conn.tls.RemoteAddr().String()); err == nil {
		set(metrics.TagIP, host)
	}
}
