package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"verigate/telemetry"
)

func TestCommittedFilesAreWhatTheGeneratorWrites(t *testing.T) {
	t.Parallel()
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("deploy/%s differs from what the generator writes; run `go generate ./deploy/dashgen`", name)
		}
	}
}

func TestUnknownNamesPanic(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]query{
		"metric":         {metric: "verigate.no.such"},
		"label to match": {metric: telemetry.MetricCacheLookups, where: []match{is(telemetry.LabelRoute, "x")}},
		"label to keep":  {metric: telemetry.MetricCacheLookups, by: []string{telemetry.LabelRoute}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Errorf("a query of an unknown %s was written down: %+v", name, q)
				}
			}()
			board.rate(q)
		})
	}
}

// Every instrument has a panel, or a reason to have none.
func TestEveryInstrumentIsShown(t *testing.T) {
	t.Parallel()
	without := map[string]string{
		telemetry.MetricAuditQueued:  "of use only beside audit records lost, which are shown",
		telemetry.MetricExportErrors: "the collector's own dashboards show what arrives",
	}
	var shown strings.Builder
	for _, p := range verification().Panels {
		for _, target := range p.Targets {
			shown.WriteString(target.Expr)
		}
	}
	for _, i := range telemetry.Instruments() {
		_, excused := without[i.Name]
		if on := strings.Contains(shown.String(), i.PrometheusName()); on == excused {
			t.Errorf("%s is on the dashboard: %t, has a reason not to be: %t", i.Name, on, excused)
		}
	}
}

// What Grafana's dashboard-linter asks for, as far as it can be checked without
// parsing PromQL; deploy/promtest has a real Prometheus parse everything.
func TestDashboardFollowsTheLinter(t *testing.T) {
	t.Parallel()
	d := verification()
	if d.UID == "" || d.Editable || d.SchemaVersion != 39 {
		t.Errorf("uid %q, editable %t, schemaVersion %d; want one, false, 39", d.UID, d.Editable, d.SchemaVersion)
	}

	vars := map[string]variable{}
	for _, v := range d.Templating.List {
		vars[v.Name] = v
		if v.Label == "" {
			t.Errorf("variable %s has no label", v.Name)
		}
	}
	if v := vars["datasource"]; v.Type != "datasource" || v.Query != "prometheus" {
		t.Errorf("variable datasource = %+v, want a data source of type prometheus", v)
	}
	for _, name := range []string{"job", "instance", "listener", "trust_domain", "route"} {
		v := vars[name]
		if v.Type != "query" || !v.Multi || !v.IncludeAll || v.AllValue != ".+" || v.Refresh != 2 ||
			v.Datasource == nil || *v.Datasource != fromVariable || !strings.HasPrefix(v.Query, "label_values(") {
			t.Errorf("variable %s = %+v, want a query of label values, multi, with All = .+, refreshed with the time", name, v)
		}
	}

	selector := regexp.MustCompile(`\b(?:verigate|http_server)_\w+(\{[^}]*\})?(\[[^\]]*\])?`)
	ids, titles := map[int]bool{}, map[string]bool{}
	for _, p := range d.Panels {
		if p.Title == "" || titles[p.Title] || ids[p.ID] {
			t.Errorf("panel %d %q has no title, or shares it or its id with another", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig == nil || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q lacks a description, a unit or a target", p.Title)
		}
		if p.Datasource == nil || *p.Datasource != fromVariable {
			t.Errorf("panel %q has data source %v, want that of the variable", p.Title, p.Datasource)
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if refs[target.RefID] || target.Datasource != fromVariable {
				t.Errorf("panel %q: target %+v shares its refId, or has another data source", p.Title, target)
			}
			refs[target.RefID] = true
			for _, s := range selector.FindAllStringSubmatch(target.Expr, -1) {
				if !strings.Contains(s[1], `job=~"$job"`) || !strings.Contains(s[1], `instance=~"$instance"`) {
					t.Errorf("panel %q does not follow job and instance: %s", p.Title, s[0])
				}
				if s[2] != "" && s[2] != "[$__rate_interval]" && s[2] != "[$__range]" {
					t.Errorf("panel %q has a window of its own: %s", p.Title, s[0])
				}
				name, _, _ := strings.Cut(s[0], "{")
				rated := strings.Contains(target.Expr, "rate("+s[0]) || strings.Contains(target.Expr, "increase("+s[0])
				if strings.HasSuffix(name, "_total") && !rated {
					t.Errorf("panel %q shows the bare counter %s", p.Title, name)
				}
			}
		}
	}
}

func TestPanelsDoNotOverlap(t *testing.T) {
	t.Parallel()
	taken := map[[2]int]string{}
	for _, p := range verification().Panels {
		g := p.GridPos
		if g.X < 0 || g.X+g.W > gridWidth || g.W <= 0 || g.H <= 0 {
			t.Errorf("panel %q is at %+v, outside of the grid", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("panels %q and %q overlap", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

func TestAlertsSayWhatToDo(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	placeholder := regexp.MustCompile(`\$labels\.(\w+)`)
	for _, g := range alerts().Groups {
		for _, r := range g.Rules {
			if !strings.HasPrefix(r.Alert, "Verigate") || names[r.Alert] {
				t.Errorf("alert %q does not begin with Verigate, or exists twice", r.Alert)
			}
			names[r.Alert] = true
			if s := r.Labels["severity"]; s != critical && s != warning && s != info {
				t.Errorf("alert %s has severity %q", r.Alert, s)
			}
			if got := slices.Sorted(maps.Keys(r.Annotations)); !slices.Equal(got, []string{"description", "summary"}) {
				t.Errorf("alert %s has annotations %v", r.Alert, got)
			}
			// A label that the expression drops would leave a hole in the sentence.
			for _, text := range r.Annotations {
				for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
					kept := regexp.MustCompile(`by \([^)]*\b` + m[1] + `\b[^)]*\)`).MatchString(r.Expr)
					if !kept && !strings.HasPrefix(r.Expr, "up{") {
						t.Errorf("alert %s speaks of {{ $labels.%s }}, which its expression does not keep", r.Alert, m[1])
					}
				}
			}
		}
	}
}

func TestDataSourceOfTheVariableIsProvisioned(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("..", "grafana", "provisioning", "datasources", "prometheus.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), "uid: "+prometheusUID+"\n") {
		t.Errorf("no data source with uid %s is provisioned, but the dashboard starts with it", prometheusUID)
	}
}

func TestJSONKeepsExpressionsReadable(t *testing.T) {
	t.Parallel()
	got, err := encodeJSON(map[string]string{"expr": `a > 1`})
	if err != nil || !json.Valid(got) || !strings.Contains(string(got), "a > 1") {
		t.Errorf("encodeJSON() = %s, %v; want valid JSON with > as it is", got, err)
	}
}
