// Package promtest proves that the dashboard and the alerts show something: it
// starts the gateway that `go build` makes, sends it good and bad traffic, lets a
// real Prometheus scrape it by the configuration in deploy/prometheus, and runs
// every expression.
//
// It needs prometheus and promtool (Debian: apt-get install prometheus). Without
// them it fails where CI is set and skips elsewhere.
package promtest

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// patience is how long data may take to arrive: the gateway has to be built, a rate
// needs a few scrapes, and the machine may be busy with other tests.
const patience = 90 * time.Second

// deployed is where the files under test are.
const deployed = ".."

// Expressions that are zero when all is well, so that their value proves nothing.
// All others must show that something happened.
var quiet = map[string]bool{
	"verigate_cache_evictions_total":      true, // a test does not fill the cache
	"verigate_cache_writes_dropped_total": true, // contention cannot be ordered
	"verigate_cache_stale_total":          true, // needs a certificate that expires meanwhile
	"verigate_audit_suppressed_total":     true, // needs a flood
	"verigate_audit_dropped_total":        true, // needs a full disk
	"verigate_audit_errors_total":         true,
}

func TestEveryExpressionHasDataFromARealGateway(t *testing.T) {
	t.Parallel()
	binary := tool(t, "prometheus")
	w := newWorld(t)
	p := startPrometheus(t, binary, w.admin)
	w.misbehave(t)
	w.traffic(t)

	for title, expressions := range dashboardExpressions(t) {
		for _, written := range expressions {
			t.Run("dashboard/"+title, func(t *testing.T) {
				t.Parallel()
				expression := substitute(written)
				enough := func(a answer) bool { return a.positive() || quiet[metricIn(expression)] && a.numeric() }
				if got := p.eventually(t, expression, enough); !enough(got) {
					t.Errorf("panel %q has nothing to show: %s = %v, want a value above 0", title, expression, got)
				}
			})
		}
	}
	for name, expression := range alertExpressions(t) {
		t.Run("alert/"+name, func(t *testing.T) {
			t.Parallel()
			if _, err := p.query(t.Context(), expression); err != nil {
				t.Errorf("alert %s: %v", name, err)
			}
			for _, metric := range metricsIn(expression) {
				exists := func(a answer) bool { return len(a) > 0 }
				if got := p.eventually(t, metric, exists); !exists(got) {
					t.Errorf("alert %s is about %s, of which the gateway has no series", name, metric)
				}
			}
		})
	}
}

// The traffic has a reason of each kind; a panel that shows some of them only
// would mislead.
func TestPanelsTellReasonsApart(t *testing.T) {
	t.Parallel()
	binary := tool(t, "prometheus")
	w := newWorld(t)
	p := startPrometheus(t, binary, w.admin)
	w.misbehave(t)
	w.traffic(t)

	panels := dashboardExpressions(t)
	tests := []struct {
		panel, label string
		want         []string
	}{
		{"Handshake duration by cache result", "cache_result", []string{"hit", "miss"}},
		{"Verification duration by cache result", "cache_result", []string{"hit", "miss"}},
		{"Handshakes refused by reason", "error_type", []string{
			"no_certificate", "expired", "untrusted_chain", "deny_listed", "pop_failed", "identifier_count"}},
		{"Requests refused by reason", "reason", []string{"policy_denied", "method_not_allowed", "no_route"}},
		{"Malformed requests by violation", "code", []string{"host_duplicate"}},
		{"Requests by status", "http_response_status_code", []string{"200", "403", "404", "502"}},
		{"Decisions", "decision", []string{"allowed", "denied", "error"}},
		{"Reloads", "outcome", []string{"success", "failure"}},
		{"Sessions by what became of them", "tls_resumption", []string{"none", "resumed"}},
		{"Live connections ended", "reason", []string{"revoked"}},
		{"Connections judged anew", "cause", []string{"trust"}},
		{"Shared credentials", "finding", []string{"shared_key"}},
		{"Shadow verdicts", "outcome", []string{"agrees", "would_refuse", "would_accept"}},
		{"Shadow differences by reason", "outcome", []string{"would_refuse", "would_accept"}},
		{"CRLs: time left", "trust_domain", []string{"spiffe://prod.example"}},
		{"Revoked certificates", "trust_domain", []string{"spiffe://prod.example"}},
		{"Trust bundles: time left", "trust_domain", []string{"spiffe://prod.example", "spiffe://partner.example"}},
	}
	for _, tt := range tests {
		t.Run(tt.panel, func(t *testing.T) {
			t.Parallel()
			if len(panels[tt.panel]) == 0 {
				t.Fatalf("the dashboard has no panel %q", tt.panel)
			}
			expression := substitute(panels[tt.panel][0])
			complete := func(a answer) bool {
				return !slices.ContainsFunc(tt.want, func(v string) bool { return !a.has(tt.label, v) })
			}
			if got := p.eventually(t, expression, complete); !complete(got) {
				t.Errorf("panel %q tells apart %v, want at least %v: %s", tt.panel, got.values(tt.label), tt.want, expression)
			}
		})
	}

	// What is wrong here on purpose must make somebody look.
	for _, name := range []string{
		"VerigateTrustReloadFailed", "VerigateConfigReloadFailed", "VerigateBundleExpiring",
		"VerigateCRLStale", "VerigateCRLExpiring", "VerigateSharedCredential", "VerigateShadowDiffers",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expression := alertExpressions(t)[name]
			fires := func(a answer) bool { return len(a) > 0 }
			if got := p.eventually(t, expression, fires); !fires(got) {
				t.Errorf("%s does not fire: %s", name, expression)
			}
		})
	}
}

func TestPromtoolAcceptsWhatIsDeployed(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool")
	for _, arguments := range [][]string{
		{"check", "config", filepath.Join(deployed, "prometheus", "prometheus.yml")},
		{"check", "rules", filepath.Join(deployed, "prometheus", "alerts.yaml")},
		{"test", "rules", filepath.Join("testdata", "alerts_test.yaml")},
	} {
		t.Run(strings.Join(arguments[:2], " "), func(t *testing.T) {
			t.Parallel()
			if out, err := exec.CommandContext(t.Context(), promtool, arguments...).CombinedOutput(); err != nil {
				t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, out)
			}
		})
	}
}

func TestPromtoolAcceptsTheExposition(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool")
	w := newWorld(t)
	w.round(t.Context(), 0)

	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = bytes.NewReader(w.metrics(t))
	out, err := check.CombinedOutput()
	if _, ran := err.(*exec.ExitError); err != nil && !ran {
		t.Fatal(err)
	}
	// The Go runtime's own metrics have names that the linter does not like.
	for complaint := range strings.Lines(string(out)) {
		if !strings.HasPrefix(complaint, "go_") {
			t.Errorf("promtool check metrics: %s", complaint)
		}
	}
}

// Every alert has a case in which it fires and one in which it does not.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "alerts_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Cases []struct {
				Expr string
				Want []any `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	about := regexp.MustCompile(`alertname="(\w+)", alertstate="firing"`)
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			name := about.FindStringSubmatch(c.Expr)
			if name == nil {
				t.Fatalf("%s does not ask whether an alert is firing", c.Expr)
			}
			if len(c.Want) > 0 {
				fires[name[1]] = true
			} else {
				silent[name[1]] = true
			}
		}
	}
	alerts := alertExpressions(t)
	for name := range alerts {
		if !fires[name] || !silent[name] {
			t.Errorf("alert %s: a case in which it fires: %t, one in which it is silent: %t; want both", name, fires[name], silent[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fires)) {
		if _, ok := alerts[name]; !ok {
			t.Errorf("the tests are about an alert %s that does not exist", name)
		}
	}
}

// tool finds a program of the distribution, or ends the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing: %v; install it (Debian: apt-get install prometheus)", name, err)
		}
		t.Skipf("NOT TESTED: %s is missing, so nothing proves that dashboard and alerts have data; install it (Debian: apt-get install prometheus)", name)
	}
	return path
}

// dashboardExpressions returns the expressions of each panel, by its title.
func dashboardExpressions(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(deployed, "grafana", "dashboards", "verification.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	panels := map[string][]string{}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			panels[p.Title] = append(panels[p.Title], target.Expr)
		}
	}
	if len(panels) == 0 {
		t.Fatal("the dashboard has no expressions")
	}
	return panels
}

// alertExpressions returns the expression of each alert, by its name.
func alertExpressions(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(deployed, "prometheus", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	alerts := map[string]string{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			alerts[r.Alert] = r.Expr
		}
	}
	if len(alerts) == 0 {
		t.Fatal("there are no alerts")
	}
	return alerts
}

// substitute does what Grafana does before it asks, with everything selected.
func substitute(expression string) string {
	return strings.NewReplacer(
		"$__rate_interval", "8s", "$__range", "1m",
		"$job", "verigate", "$instance", ".+", "$listener", ".+", "$trust_domain", ".+", "$route", ".+",
	).Replace(expression)
}

var metricName = regexp.MustCompile(`\b(?:verigate|http_server)_[a-z_]+[a-z]\b`)

// metricsIn returns the names of the gateway's metrics in an expression.
func metricsIn(expression string) []string {
	names := metricName.FindAllString(expression, -1)
	slices.Sort(names)
	return slices.Compact(names)
}

func metricIn(expression string) string {
	if names := metricsIn(expression); len(names) > 0 {
		return names[0]
	}
	return ""
}
