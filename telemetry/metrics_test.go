package telemetry

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/internal/race"
	"verigate/tlsterm"
	"verigate/verifycache"
)

// everything makes each instrument have at least one series.
func everything(t testing.TB, tel *Telemetry) {
	t.Helper()
	tel.ObserveCache(func() verifycache.Stats {
		return verifycache.Stats{
			Hits: 70, Misses: 20, Coalesced: 5, RejectedHits: 3, Bypassed: 2, StaleHits: 4, Evictions: 6, SetsDropped: 1,
			Entries: 11, Rejected: 12, Links: 13, VerifyTime: 1500 * time.Millisecond, SavedTime: 250 * time.Millisecond,
		}
	})
	tel.ObserveConnections(func() []Connections { return []Connections{{"edge", 17}, {"partners", 4}} })
	tel.ObserveTrust(func() []NotAfter {
		return []NotAfter{
			{KindBundle, "spiffe://prod.example", time.Unix(1_800_000_000, 0)},
			{KindCredential, "edge", time.Unix(1_790_000_000, 0)},
		}
	})
	tel.ConfigReload(nil)
	tel.ConfigReload(errors.New("line 3: unknown key"))
	tel.ObserveTrustItems(func() []TrustItem {
		return []TrustItem{
			{KindBundle, "spiffe://prod.example", time.Unix(1_700_000_000, 0), true},
			{KindCredential, "edge", time.Unix(1_690_000_000, 0), false},
			{KindCredential, "new", time.Time{}, true},
		}
	})
	tel.TrustChanged(changed())
	tel.TrustChanged(refusedChange())
	tel.HTTPRefused("bare_cr")
	observer := tel.Observer("edge")
	observer.Shed(tlsterm.ShedMaxConns, refused(t).Remote)
	observer.Closed(nil, time.Minute)
	h, e := accepted(t)
	tel.handshake(h, e)
	observer.Handshake(refused(t))
	tel.Request(served(t))
	denied := served(t)
	denied.Decision, denied.Reason, denied.Status, denied.UpstreamTime = DecisionDenied, "policy_denied", 403, 0
	tel.Request(denied)
	again, provenAgain := resumed(t)
	tel.handshake(again, provenAgain)
	observer.Handshake(shadowed(refused(t), certpath.ReasonNone))
	tel.ConnectionRefused(thrownOut(t))
	cut := thrownOut(t)
	cut.Cause, cut.Cut = CauseTime, true
	tel.ConnectionRefused(cut)
	tel.ShadowJudged(e.id, &shadowed(h, certpath.ReasonExpired).Verdict)
	tel.Rejudged(CauseTrust, 250, 3*time.Millisecond)
	tel.Rejudged(CauseTrust, 0, 0)
	tel.Findings("edge", assurance.Findings{})
	tel.Findings("edge", assurance.Findings{SharedKey: true, ManyNetworks: true})
	tel.ObserveRevocation(func() []RevocationState {
		return []RevocationState{
			{Origin: origins(t, "spiffe://prod.example")[0], ThisUpdate: time.Unix(1_770_000_000, 0), NextUpdate: time.Unix(1_780_000_000, 0), CRLs: 3, Stale: 1, Entries: 512},
			{Origin: origins(t, "spiffe://partner.example")[0]},
		}
	})
	tel.meter.with(MetricExportErrors, "metrics").add(1)
}

func TestExpositionHasWhatHappened(t *testing.T) {
	t.Parallel()
	tel := start(t, func(o *Options) { o.Audit.Writer, o.Now = io.Discard, func() time.Time { return noon } })
	everything(t, tel)
	text := scrape(t, tel, textFormat)
	for _, want := range []string{
		`verigate_tls_handshake_duration_seconds_count{cache_result="miss",listener="edge",outcome="accepted",tls_protocol_version="1.3",tls_resumed="false",trust_domain="spiffe://prod.example"} 1`,
		`verigate_tls_handshake_duration_seconds_bucket{cache_result="miss",listener="edge",outcome="accepted",tls_protocol_version="1.3",tls_resumed="false",trust_domain="spiffe://prod.example",le="0.001"} 0`,
		`verigate_tls_handshake_duration_seconds_bucket{cache_result="miss",listener="edge",outcome="accepted",tls_protocol_version="1.3",tls_resumed="false",trust_domain="spiffe://prod.example",le="0.002"} 1`,
		`verigate_tls_handshake_duration_seconds_count{cache_result="miss",error_type="untrusted_chain",listener="edge",outcome="failed",tls_protocol_version="1.3",tls_resumed="false",trust_domain="none"} 2`,
		`verigate_tls_handshake_queue_duration_seconds_sum{listener="edge"} 6e-05`,
		`verigate_identifier_parse_duration_seconds_bucket{le="1e-06"} 4`,
		`verigate_tls_resumptions_total{listener="edge",tls_resumption="none"} 3`,
		`verigate_tls_resumptions_total{listener="edge",tls_resumption="resumed"} 1`,
		`verigate_verification_duration_seconds_sum{cache_result="miss",outcome="accepted",trust_domain="spiffe://prod.example"} 0.00042`,
		`verigate_verification_results_total{error_type="untrusted_chain",outcome="rejected",trust_domain="spiffe://prod.example"} 2`,
		`verigate_verification_results_total{outcome="accepted",trust_domain="spiffe://prod.example"} 2`,
		`verigate_connection_active{listener="partners"} 4`,
		`verigate_connection_duration_seconds_sum{listener="edge"} 60`,
		`verigate_connection_shed_total{listener="edge",reason="over_max_conns"} 1`,
		`verigate_connection_refused_total{cause="trust",listener="edge",outcome="closed",reason="revoked"} 1`,
		`verigate_connection_refused_total{cause="time",listener="edge",outcome="cut",reason="revoked"} 1`,
		`verigate_connection_rejudged_total{cause="trust"} 250`,
		`verigate_connection_rejudge_duration_seconds_count{cause="trust"} 2`,
		`verigate_connection_rejudge_duration_seconds_bucket{cause="trust",le="0.005"} 2`,
		`verigate_assurance_findings_total{finding="shared_key",listener="edge"} 1`,
		`verigate_assurance_findings_total{finding="many_networks",listener="edge"} 1`,
		`verigate_shadow_verdicts_total{error_type="revoked",outcome="would_refuse",trust_domain="spiffe://prod.example"} 1`,
		`verigate_shadow_verdicts_total{error_type="expired",outcome="would_refuse",trust_domain="spiffe://prod.example"} 1`,
		`verigate_shadow_verdicts_total{error_type="untrusted_chain",outcome="would_accept",trust_domain="spiffe://prod.example"} 1`,
		`verigate_crl_next_update_timestamp_seconds{trust_domain="spiffe://prod.example"} 1.78e+09`,
		`verigate_crl_this_update_timestamp_seconds{trust_domain="spiffe://prod.example"} 1.77e+09`,
		`verigate_crl_stale{trust_domain="spiffe://prod.example"} 1`,
		`verigate_crl_stale{trust_domain="spiffe://partner.example"} 0`,
		`verigate_crl_entries{trust_domain="spiffe://prod.example"} 512`,
		`http_server_request_duration_seconds_count{http_request_method="POST",http_response_status_code="200",http_route="payments",network_protocol_version="1.1",url_scheme="https"} 1`,
		`http_server_request_duration_seconds_count{error_type="policy_denied",http_request_method="POST",http_response_status_code="403",http_route="payments",network_protocol_version="1.1",url_scheme="https"} 1`,
		`verigate_added_duration_seconds_bucket{http_route="payments",le="5e-05"} 1`,
		`verigate_policy_duration_seconds_count{http_route="payments"} 2`,
		`verigate_upstream_duration_seconds_count{upstream="payments-v2"} 1`,
		`verigate_authorization_decisions_total{decision="allowed",http_route="payments"} 1`,
		`verigate_authorization_decisions_total{decision="denied",http_route="payments",reason="policy_denied"} 1`,
		`verigate_http_refused_total{code="bare_cr"} 1`,
		`verigate_cache_lookups_total{cache_result="hit"} 70`,
		`verigate_cache_lookups_total{cache_result="rejected_hit"} 3`,
		`verigate_cache_stale_total 4`,
		`verigate_cache_evictions_total 6`,
		`verigate_cache_entries{table="links"} 13`,
		`verigate_cache_spent_time_seconds_total 1.5`,
		`verigate_cache_saved_time_seconds_total 0.25`,
		`verigate_trust_bundle_not_after_timestamp_seconds{trust_domain="spiffe://prod.example"} 1.8e+09`,
		`verigate_credential_not_after_timestamp_seconds{credential="edge"} 1.79e+09`,
		`verigate_trust_loaded_timestamp_seconds{kind="bundle",name="spiffe://prod.example"} 1.7e+09`,
		`verigate_trust_degraded{kind="bundle",name="spiffe://prod.example"} 1`,
		`verigate_trust_degraded{kind="credential",name="edge"} 0`,
		`verigate_trust_reload_errors_total{kind="bundle"} 0`,
		`verigate_trust_reload_errors_total{kind="crl"} 0`,
		`verigate_trust_reload_errors_total{kind="credential"} 1`,
		`verigate_config_reloads_total{outcome="failure"} 1`,
		`verigate_config_last_success_timestamp_seconds ` + strconv.FormatFloat(float64(noon.Unix()), 'g', -1, 64),
		`verigate_audit_records_total{event="request"} 2`,
		`verigate_audit_records_total{event="handshake"} 4`,
		`verigate_audit_records_total{event="connection_refused"} 2`,
		`verigate_audit_records_total{event="trust"} 2`,
		`verigate_audit_dropped_total 0`,
		`verigate_audit_errors_total 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("exposition lacks %s", want)
		}
	}
	if !strings.Contains(text, `target_info{service_instance_id="gw-1",service_name="verigate",service_version="1.0.0"}`) {
		t.Error("exposition does not say which instance it is of")
	}
	if strings.Contains(text, `verigate_crl_next_update_timestamp_seconds{trust_domain="spiffe://partner.example"}`) {
		t.Error("a trust domain without a CRL has a next update")
	}
	if strings.Contains(text, "otel_scope") {
		t.Error("series carry otel_scope labels, want none")
	}
}

// Every instrument of the catalogue is exposed under the name that the catalogue
// says, with no other labels than it says, and the names pass promtool's rules.
func TestExpositionIsTheCatalogue(t *testing.T) {
	t.Parallel()
	tel := start(t, func(o *Options) { o.Audit.Writer = io.Discard })
	everything(t, tel)
	text := scrape(t, tel, textFormat)
	label := regexp.MustCompile(`[{,]([a-z_]+)="`)
	for _, i := range Instruments() {
		name := i.PrometheusName()
		if !strings.Contains(text, "# HELP "+name+" "+i.Help+"\n# TYPE "+name+" "+i.Kind.String()+"\n") {
			t.Errorf("exposition lacks help and type of %s, a %v", name, i.Kind)
		}
		allowed := map[string]bool{"le": true}
		for _, l := range i.Labels {
			allowed[strings.NewReplacer(".", "_").Replace(l)] = true
			if labelHelp[l] == "" {
				t.Errorf("label %s of %s is not explained in labelHelp", l, i.Name)
			}
		}
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, name) {
				continue
			}
			for _, m := range label.FindAllStringSubmatch(line, -1) {
				if !allowed[m[1]] {
					t.Errorf("%s has label %s, which the catalogue does not list", name, m[1])
				}
			}
		}
		if (i.Kind == Histogram) != (len(i.Bounds) > 0) {
			t.Errorf("%s: a %v with %d bounds", i.Name, i.Kind, len(i.Bounds))
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		// The Go runtime's own names are not ours to choose.
		if !strings.HasPrefix(p.Metric, "go_") {
			t.Errorf("promlint: %s: %s", p.Metric, p.Text)
		}
	}
}

func TestOpenMetricsCarriesExemplars(t *testing.T) {
	t.Parallel()
	tel, _ := traced(t, nil)
	r := served(t)
	r.Trace = tel.Trace(callersParent)
	tel.Request(r)
	text := scrape(t, tel, openMetrics)
	if !strings.HasSuffix(text, "# EOF\n") {
		t.Error("OpenMetrics exposition does not end with # EOF")
	}
	if !regexp.MustCompile(`http_server_request_duration_seconds_bucket\{.*\} 1 # \{.*trace_id="` + callersID + `".*\} 0.00215`).MatchString(text) {
		t.Errorf("no exemplar of trace %s in\n%s", callersID, text)
	}
}

// AUD-08: however many clients there are, and whatever they claim, the number of
// series stays the same, and no identity is in any of them.
func TestIdentitiesAreNotLabels(t *testing.T) {
	t.Parallel()
	clients := 100_000
	if race.Enabled {
		clients = 5_000
	}
	tel := start(t, nil)
	h, e := accepted(t)
	bad, req, end := shadowed(refused(t), certpath.ReasonNone), served(t), thrownOut(t)
	req.Trace = exampleTrace
	shadowed(h, certpath.ReasonRevoked)
	record := func(i int) {
		e.id = id(t, fmt.Sprintf("spiffe://prod.example/canary/%d", i))
		tel.handshake(h, e)
		bad.Verdict.ID = id(t, fmt.Sprintf("spiffe://tenant-%d.example/canary", i))
		bad.SNI = fmt.Sprintf("canary-%d.example", i)
		tel.Handshake(bad)
		req.Caller, req.Path, req.Host, req.SNI = e.id, "/canary", bad.SNI, bad.SNI
		req.Method = fmt.Sprintf("CANARY%d", i)
		tel.Request(req)
		end.Identity = e.id
		tel.ConnectionRefused(end)
		tel.ShadowJudged(e.id, &h.Verdict)
	}
	count := func() int { return strings.Count(scrape(t, tel, textFormat), "\nverigate_") }
	record(0)
	before := count()
	for i := range clients {
		record(i)
	}
	text := scrape(t, tel, textFormat)
	if after := count(); after != before {
		t.Errorf("%d clients make %d series out of %d, want no more", clients, after, before)
	}
	for _, leak := range []string{"canary", "CANARY", "tenant-", "overflow"} {
		if strings.Contains(text, leak) {
			t.Errorf("exposition contains %q", leak)
		}
	}
	want := fmt.Sprintf(`verigate_verification_results_total{error_type="untrusted_chain",outcome="rejected",trust_domain="other"} %d`, clients+1)
	if !strings.Contains(text, want+"\n") {
		t.Errorf("exposition lacks %s", want)
	}
}

// A label that is not bounded after all fills one series, not the memory.
func TestSeriesBeyondTheLimitShareOne(t *testing.T) {
	t.Parallel()
	const limit, routes = 50, 400
	tel := start(t, func(o *Options) { o.MaxSeries = limit })
	r := served(t)
	for range 2 {
		for i := range routes {
			r.Route = fmt.Sprintf("route-%d", i)
			tel.Request(r)
		}
	}
	text := scrape(t, tel, textFormat)
	if got := strings.Count(text, "http_server_request_duration_seconds_count{"); got != limit+1 {
		t.Errorf("%d routes make %d series, want %d and one for the rest", routes, got, limit)
	}
	if want := fmt.Sprintf(`http_server_request_duration_seconds_count{otel_metric_overflow="true"} %d`, 2*(routes-limit)); !strings.Contains(text, want+"\n") {
		t.Errorf("exposition lacks %s", want)
	}
}

// The gateway's strings may be views of buffers that the next request overwrites.
func TestSeriesDoNotShareTheCallersStrings(t *testing.T) {
	t.Parallel()
	tel := start(t, nil)
	r := served(t)
	for range 3 {
		for _, status := range []int{200, 201} {
			route, upstream := []byte("payments"), []byte("payments-v2")
			r.Route, r.Upstream, r.Status = unsafe.String(&route[0], len(route)), unsafe.String(&upstream[0], len(upstream)), status
			tel.Request(r)
			copy(route, "overwritten")
			copy(upstream, "overwritten")
		}
	}
	if n := len(*tel.requests.m.Load()); n != 2 {
		t.Errorf("two kinds of requests are remembered as %d", n)
	}
	text := scrape(t, tel, textFormat)
	for _, want := range []string{
		`verigate_added_duration_seconds_count{http_route="payments"} 6`,
		`verigate_upstream_duration_seconds_count{upstream="payments-v2"} 6`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("exposition lacks %s", want)
		}
	}
}

func TestRequestWithoutRouteHasNoUpstreamSeries(t *testing.T) {
	t.Parallel()
	tel := start(t, nil)
	tel.Request(&Request{Start: noon, Decision: DecisionDenied, Reason: "no_route", Status: 404, Total: time.Millisecond})
	text := scrape(t, tel, textFormat)
	if want := `verigate_authorization_decisions_total{decision="denied",http_route="none",reason="no_route"} 1`; !strings.Contains(text, want+"\n") {
		t.Errorf("exposition lacks %s", want)
	}
	if strings.Contains(text, "verigate_upstream_duration") {
		t.Error("exposition has an upstream's duration without an upstream")
	}
}

func TestCodesThatAreNotCodesDoNotBecomeLabels(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"", ""}, {"policy_denied", "policy_denied"}, {"http2_only", "http2_only"},
		{"spiffe://prod.example/a", ValueOther}, {"Policy", ValueOther}, {"2fast", ValueOther}, {"a b", ValueOther},
		{"a\"b", ValueOther}, {strings.Repeat("a", 49), ValueOther}, {"é", ValueOther},
	} {
		if got := code(tt.in); got != tt.want {
			t.Errorf("code(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
	for _, reason := range tlsterm.Reasons() {
		if got := code(reason); got != reason {
			t.Errorf("code(%q) = %q, want the reason itself", reason, got)
		}
	}
	for _, reason := range tlsterm.ShedReasons() {
		if got := code(reason.String()); got != reason.String() {
			t.Errorf("code(%q) = %q, want the reason itself", reason, got)
		}
	}
}

// A cache outcome that is added has to get a counter and a word in the document.
func TestEveryCacheOutcomeIsCountedAndDocumented(t *testing.T) {
	t.Parallel()
	tel := start(t, nil)
	everything(t, tel)
	text := scrape(t, tel, textFormat)
	for _, o := range verifycache.Outcomes() {
		if want := fmt.Sprintf("verigate_cache_lookups_total{cache_result=%q} ", o); !strings.Contains(text, want) {
			t.Errorf("exposition lacks %s", want)
		}
		if !strings.Contains(labelHelp[LabelCacheResult], "`"+o.String()+"`") {
			t.Errorf("the help of %s does not mention %v", LabelCacheResult, o)
		}
	}
}

func TestMethodsAndProtocolsAreClosedLists(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ method, proto, wantMethod, wantProto string }{
		{"GET", "HTTP/1.1", "GET", "1.1"}, {"PATCH", "HTTP/2.0", "PATCH", "2"}, {"HEAD", "HTTP/1.0", "HEAD", "1.0"},
		{"get", "HTTP/0.9", ValueOther, ValueOther}, {"BREW", "", ValueOther, ValueOther}, {ValueOther, "1.1", ValueOther, ValueOther},
	} {
		if got := methods[methodIndex(tt.method)]; got != tt.wantMethod {
			t.Errorf("method %q becomes %q, want %q", tt.method, got, tt.wantMethod)
		}
		if got := protos[protoIndex(tt.proto)]; got != tt.wantProto {
			t.Errorf("protocol %q becomes %q, want %q", tt.proto, got, tt.wantProto)
		}
	}
}

// Measurements taken at the same time on many goroutines add up.
func TestConcurrentMeasurementsAddUp(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 2000
	m := newMeter(defaultSeries, time.Now)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				m.with(MetricPolicyDuration, fmt.Sprint(i%3)).observe(time.Duration(g) * time.Microsecond)
			}
		})
	}
	wg.Wait()
	var total uint64
	var sum time.Duration
	for i := range 3 {
		buckets, n, s := m.with(MetricPolicyDuration, fmt.Sprint(i)).buckets()
		total, sum = total+n, sum+s
		if buckets[0] == 0 || buckets[len(buckets)-1] != 0 {
			t.Errorf("buckets are %v, want the zeros in the first and nothing in the last", buckets)
		}
	}
	if want := time.Duration(each*goroutines*(goroutines-1)/2) * time.Microsecond; total != goroutines*each || sum != want {
		t.Errorf("count = %d, sum = %v, want %d and %v", total, sum, goroutines*each, want)
	}
}

func TestBucketBoundsAreInclusive(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		d      time.Duration
		bucket int
	}{
		{-time.Second, 0}, {0, 0}, {stepBounds[0], 0}, {stepBounds[0] + 1, 1},
		{stepBounds[len(stepBounds)-1], len(stepBounds) - 1}, {math.MaxInt64, len(stepBounds)},
	} {
		s := newMeter(1, time.Now).with(MetricPolicyDuration, "r")
		s.observe(tt.d)
		if buckets, _, _ := s.buckets(); buckets[tt.bucket] != 1 {
			t.Errorf("observe(%v) gives buckets %v, want it in bucket %d", tt.d, buckets, tt.bucket)
		}
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{
		{TraceRatio: 1.5}, {TraceRatio: math.NaN()}, {MaxSeries: -1}, {RecentRefusals: -1}, {RecentDenials: -1}, {PushInterval: -1},
		{OTLPEndpoint: "127.0.0.1:4318"}, {OTLPEndpoint: "grpc://127.0.0.1:4317"}, {OTLPEndpoint: "http://"},
		{OTLPEndpoint: "http://user:secret@host"}, {OTLPEndpoint: "http://host?x=1"}, {OTLPEndpoint: "http://a b"},
	} {
		tel, err := New(o)
		if err == nil {
			t.Errorf("New(%+v) = nil error, want one", o)
			shutdown(t, tel)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("New() = %v, want no password in it", err)
		}
	}
}

func TestRecentRefusalsAreTheLastOnes(t *testing.T) {
	t.Parallel()
	tel := start(t, func(o *Options) { o.RecentRefusals = 3 })
	if got := tel.RecentRefusals(); len(got) != 0 {
		t.Errorf("RecentRefusals() at the beginning = %v, want none", got)
	}
	for i := range 5 {
		h := refused(t)
		h.ConnID = uint64(i)
		tel.Handshake(h)
		good, e := accepted(t)
		tel.handshake(good, e)
		var ids []uint64
		for _, r := range tel.RecentRefusals() {
			ids = append(ids, r.ConnID)
		}
		if want := [][]uint64{{0}, {1, 0}, {2, 1, 0}, {3, 2, 1}, {4, 3, 2}}[i]; fmt.Sprint(ids) != fmt.Sprint(want) {
			t.Errorf("after %d refusals RecentRefusals() is of connections %v, want %v", i+1, ids, want)
		}
	}
	got := tel.RecentRefusals()[0]
	want := Refusal{
		Time: noon.Add(900 * time.Microsecond), Listener: "edge", ConnID: 4, Remote: "203.0.113.9:40000", SNI: "pay.example",
		Outcome: "failed", Reason: "untrusted_chain", Found: `issuer "CN=prod issuing"`, Want: "an anchor of spiffe://prod.example",
		Hint: "the client sent no intermediate certificate", Claimed: "spiffe://prod.example/ns/shop/sa/checkout", Chain: got.Chain,
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || len(got.Chain) != 1 {
		t.Errorf("refusal is\n%+v, want\n%+v", got, want)
	}
}

func TestHandlerServesOnlyWhatItHas(t *testing.T) {
	t.Parallel()
	tel := start(t, nil)
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if body := w.Body.String(); !strings.Contains(body, "go_sched_latencies_seconds_bucket") || strings.Contains(body, "verigate_audit") {
		t.Error("a gateway without audit log exposes its metrics, want the runtime's and no more")
	}
	if got := tel.AuditStatus(); got != (AuditStatus{}) {
		t.Errorf("AuditStatus() without a log = %+v, want zero", got)
	}
	if err := tel.Reopen(); err != nil {
		t.Errorf("Reopen() without a log = %v, want nil", err)
	}
}
