package mtls

import (
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.k6.io/k6/js/modulestest"
	"go.k6.io/k6/lib"
	"go.k6.io/k6/metrics"
)

// newState is what k6 gives to a virtual user.
func newState(t *testing.T, samples chan metrics.SampleContainer) *lib.State {
	t.Helper()
	log, _ := logtest.NewNullLogger()
	registry := metrics.NewRegistry()
	return &lib.State{
		Options:        lib.Options{SystemTags: &metrics.DefaultSystemTagSet},
		BuiltinMetrics: metrics.RegisterBuiltinMetrics(registry),
		Dialer:         &net.Dialer{},
		TLSConfig:      &tls.Config{},
		Logger:         log,
		Samples:        samples,
		Tags:           lib.NewVUStateTags(registry.RootTagSet().With("scenario", "s1")),
	}
}

// script is a virtual user and what it measured.
type script struct {
	runtime *modulestest.Runtime
	samples chan metrics.SampleContainer
}

// newScript runs init as the init context of a script, and makes a virtual user.
func newScript(t *testing.T, m *Module, init string) (*script, error) {
	t.Helper()
	s := &script{runtime: modulestest.NewRuntime(t), samples: make(chan metrics.SampleContainer, 1000)}
	rt := s.runtime.VU.Runtime()
	if err := rt.Set("Fleet", m.NewModuleInstance(s.runtime.VU).Exports().Named["Fleet"]); err != nil {
		t.Fatal(err)
	}
	if _, err := rt.RunString(init); err != nil {
		return nil, err
	}
	s.runtime.MoveToVUContext(newState(t, s.samples))
	return s, nil
}

func (s *script) run(t *testing.T, code string) string {
	t.Helper()
	value, err := s.runtime.VU.Runtime().RunString(code)
	if err != nil {
		t.Fatalf("%s: %v", code, err)
	}
	return value.String()
}

// measured returns the samples so far, as metric{tags}, with their sums.
func (s *script) measured(tags ...string) map[string]float64 {
	sums := map[string]float64{}
	for len(s.samples) > 0 {
		for _, sample := range (<-s.samples).GetSamples() {
			name := sample.Metric.Name
			for _, tag := range tags {
				if value, ok := sample.Tags.Get(tag); ok {
					name += " " + tag + "=" + value
				}
			}
			sums[name] += sample.Value
		}
	}
	return sums
}

func (w *world) constructor(set, rest string) string {
	return fmt.Sprintf("const fleet = new Fleet({identities: %q, ca: %q%s});", set, filepath.Join(w.dir, "root.pem"), rest)
}

func TestScript(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := New()
	init := w.constructor(w.set(t, "clients", "client", 3), "") + fmt.Sprintf("const url = %q;", w.url)
	s, err := newScript(t, m, init)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.run(t, "`${fleet.size}`"); got != "3" {
		t.Errorf("the fleet has the size %s, want 3", got)
	}
	got := s.run(t, `{ const r = fleet.request(2, 'post', url + '/x', 'hello', {headers: {'X-Test': 'y'}, tags: {mine: 'm'}, timeout: '5s'});
		[r.status, r.proto, r.body, r.length, r.identity, r.headers.Caller, r.reused, r.resumed, r.refused, r.error,
		 r.timings.tls_handshaking > 0, r.timings.duration > 0].join('|') }`)
	if want := "200|HTTP/1.1|POST /x y false hello|21|spiffe://load.example/client-2|spiffe://load.example/client-2|false|false|false||true|true"; got != want {
		t.Errorf("the answer is\n\t%s, want\n\t%s", got, want)
	}
	sums := s.measured("scenario", "status", "mine", "expected_response", "resumed")
	for metric, want := range map[string]float64{
		"http_reqs scenario=s1 status=200 mine=m expected_response=true":       1,
		"http_req_failed scenario=s1 status=200 mine=m expected_response=true": 0,
		"mtls_handshakes scenario=s1 mine=m resumed=false":                     1,
		"mtls_resumed scenario=s1 mine=m":                                      0,
		"mtls_reused scenario=s1 mine=m":                                       0,
		"mtls_server_certificates scenario=s1 mine=m":                          1,
	} {
		if got, ok := sums[metric]; !ok || got != want {
			t.Errorf("%s is %v (%t), want %v; measured: %v", metric, got, ok, want, sums)
		}
	}
	if first, handshake := sums["mtls_first_answer scenario=s1 mine=m resumed=false"], sums["mtls_handshake_duration scenario=s1 mine=m resumed=false"]; handshake <= 0 || first <= handshake {
		t.Errorf("the handshake took %v ms and the first answer %v ms", handshake, first)
	}

	// Another virtual user has the same fleet, and so the same connection.
	other, err := newScript(t, m, init)
	if err != nil {
		t.Fatal(err)
	}
	if got := other.run(t, "{ const r = fleet.get(2, url + '/y'); r.reused + ' ' + r.timings.tls_handshaking }"); got != "true 0" {
		t.Errorf("another virtual user: reused and handshaking are %s, want true 0", got)
	}
	if sums := other.measured(); sums["mtls_reused"] != 1 || sums["http_reqs"] != 1 || sums["mtls_handshakes"] != 0 || sums["http_req_tls_handshaking"] != 0 {
		t.Errorf("a request on an open connection measured %v", sums)
	}
	if got := w.connections.Load(); got != 1 {
		t.Errorf("there were %d connections, want 1", got)
	}
	// A third rotates for all.
	third, err := newScript(t, m, init)
	if err != nil {
		t.Fatal(err)
	}
	third.run(t, fmt.Sprintf("fleet.rotate({identities: %q})", w.set(t, "next", "client", 3)))
	if got := s.run(t, "`${fleet.get(2, url + '/x').reused}`"); got != "false" {
		t.Error("the old connection is used after rotation")
	}
}

func TestScriptOfARefusedClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, err := newScript(t, New(), w.constructor(w.set(t, "bad", "revoked", 1), ", mode: 'full'")+fmt.Sprintf("const url = %q;", w.url))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		params, expected string
		failed           float64
	}{{"{refused: true}", "true", 0}, {"{}", "false", 1}} {
		got := s.run(t, "{ const r = fleet.get(0, url, "+tt.params+"); [r.status, r.refused, r.alert, r.error !== ''].join('|') }")
		if want := "0|true|bad certificate|true"; got != want {
			t.Errorf("a refused client got %s, want %s", got, want)
		}
		sums := s.measured("alert", "error", "expected_response")
		for metric, want := range map[string]float64{
			"mtls_refused alert=bad certificate":                                              1,
			"http_req_failed error=refused: bad certificate expected_response=" + tt.expected: tt.failed,
			"http_reqs error=refused: bad certificate expected_response=" + tt.expected:       1,
		} {
			if got, ok := sums[metric]; !ok || got != want {
				t.Errorf("%s: %s is %v (%t), want %v; measured: %v", tt.params, metric, got, ok, want, sums)
			}
		}
		for metric := range sums {
			if strings.HasPrefix(metric, "mtls_handshake") || strings.HasPrefix(metric, "mtls_resumed") {
				t.Errorf("a refused handshake counts as %s", metric)
			}
		}
	}
	// One that was to be refused and is not has failed.
	w2 := newWorld(t)
	s, err = newScript(t, New(), w2.constructor(w2.set(t, "clients", "client", 1), "")+fmt.Sprintf("const url = %q;", w2.url))
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, "fleet.get(0, url, {refused: true})")
	if sums := s.measured(); sums["http_req_failed"] != 1 {
		t.Errorf("a client was accepted that was to be refused, and http_req_failed is %v", sums["http_req_failed"])
	}
}

// The log has an error that was not wanted, once.
func TestErrorsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, err := newScript(t, New(), w.constructor(w.set(t, "bad", "revoked", 1), ", mode: 'full'")+fmt.Sprintf("const url = %q;", w.url))
	if err != nil {
		t.Fatal(err)
	}
	log, hook := logtest.NewNullLogger()
	s.runtime.VU.State().Logger = log
	s.run(t, "fleet.get(0, url, {refused: true})")
	if got := hook.AllEntries(); len(got) != 0 {
		t.Errorf("a refusal that was wanted is in the log: %v", got)
	}
	s.run(t, "for (let n = 0; n < 3; n++) fleet.get(0, url)")
	if got := hook.AllEntries(); len(got) != 1 || got[0].Data["identity"] != clientName("revoked", 0) {
		t.Errorf("of three refusals the log has %v, want the first", got)
	}
}

// What comes when the test is over is not sent to whoever has stopped listening.
func TestNothingIsMeasuredAfterTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, err := newScript(t, New(), w.constructor(w.set(t, "clients", "client", 1), "")+fmt.Sprintf("const url = %q;", w.url))
	if err != nil {
		t.Fatal(err)
	}
	s.runtime.CancelContext()
	if got := s.run(t, "fleet.get(0, url).error"); got == "" {
		t.Error("a request was made after the end of the test")
	}
	if sums := s.measured(); len(sums) != 0 {
		t.Errorf("after the end of the test, there were %v", sums)
	}
}

func TestScriptsAreToldOfMistakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	set := w.set(t, "clients", "client", 2)
	for code, want := range map[string]string{
		"new Fleet()": "expected an object",
		"new Fleet({identities: '/nowhere', mod: 'full'})":                       `unknown option "mod"`,
		"new Fleet({anonymous: true, mode: 'fast'})":                             `mode "fast"`,
		"new Fleet({identities: '/nowhere'})":                                    "no such file",
		fmt.Sprintf("new Fleet({identities: %q, size: 3})", set):                 "there are 2 identities",
		fmt.Sprintf("new Fleet({identities: %q, ca: %q})", set, w.dir+"/nofile"): "no such file",
	} {
		if _, err := newScript(t, New(), code); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", code, err, want)
		}
	}
	s, err := newScript(t, New(), w.constructor(set, "")+fmt.Sprintf("const url = %q;", w.url))
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]string{
		"fleet.get(2, url)":                           "identity 2: expected a whole number from 0 to 1",
		"fleet.get(-1, url)":                          "identity -1",
		"fleet.get(0.5, url)":                         "identity 0.5",
		"fleet.get(undefined, url)":                   "identity undefined",
		"fleet.get(0, 'http://localhost/')":           "is no https URL",
		"fleet.get(0, url, {header: {}})":             `unknown option "header"`,
		"fleet.get(0, url, {timeout: 'soon'})":        "timeout soon",
		"fleet.request(0, 'POST', url, {a: 1})":       "invalid type",
		"fleet.rotate({})":                            "say where identities come from",
		"fleet.rotate({identities: '/nowhere'})":      "no such file",
		"new Fleet({anonymous: true}).get(0, url)":    "init context",
		"fleet.rotate({anonymous: true, size: 1000})": `unknown option "size"`,
	} {
		if _, err := s.runtime.VU.Runtime().RunString(code); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", code, err, want)
		}
	}
}

func TestMetricNamesDoNotClash(t *testing.T) {
	t.Parallel()
	registry := metrics.NewRegistry()
	registry.MustNewMetric("mtls_resumed", metrics.Trend)
	if err := new(ownMetrics).register(registry); err == nil {
		t.Error("a metric of another kind was taken over")
	}
}

// The times of a request add up as k6's own do.
func TestTrailAddsUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 1)}, w.options(modeFull, protocolH1))
	trail := w.get(t, f, 0, "/x").trail()
	if trail.Blocked < trail.Connecting+trail.TLSHandshaking || trail.Connecting <= 0 || trail.TLSHandshaking <= 0 {
		t.Errorf("blocked %v, of which connecting %v and handshaking %v", trail.Blocked, trail.Connecting, trail.TLSHandshaking)
	}
	if trail.Duration != trail.Sending+trail.Waiting+trail.Receiving || trail.Duration <= 0 {
		t.Errorf("duration %v is not sending %v, waiting %v and receiving %v", trail.Duration, trail.Sending, trail.Waiting, trail.Receiving)
	}
}
