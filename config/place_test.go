package config

import (
	"path/filepath"
	"strings"
	"testing"
)

const placed = `listeners:
  - name: edge
    address: ":8443"
    certificate: {cert_file: edge.pem, key_file: edge.key}
    trust_domains: [spiffe://prod.example]
    http:
      max_fields: 50
trust_domains:
  spiffe://prod.example:
    anchors: {file: prod.pem}
  spiffe://other.example: {anchors: {file: other.pem}}
`

func parsed(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse(filepath.Join("folder", "gateway.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFixedNamesTheFirstFieldThatDiffers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, from, to, want string
		line                 int
	}{
		{"another origin is admitted", "[spiffe://prod.example]", "[spiffe://prod.example, spiffe://other.example]", "", 0},
		{"an origin takes another's place", "[spiffe://prod.example]", "[spiffe://other.example]", "", 0},
		{"a limit below a field", "max_fields: 50", "max_fields: 60", "listeners[0].http.max_fields", 7},
		{"a field that was left out", "    http:", "    allow_tls12: true\n    http:", "listeners[0].allow_tls12", 6},
		{"a section that was left out", "\ntrust_domains:", "\ncache: {max_entries: 7}\ntrust_domains:", "cache.max_entries", 8},
		{"a ratio, which has an address", "\ntrust_domains:", "\ntelemetry: {trace_ratio: 0.5}\ntrust_domains:", "telemetry.trace_ratio", 8},
		{"what a reload can change", "file: prod.pem", "file: other.pem", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			next := parsed(t, replaceOnce(t, placed, tt.from, tt.to))
			field := next.Fixed(parsed(t, placed))
			if field != tt.want {
				t.Fatalf("Fixed() = %q, want %q", field, tt.want)
			}
			if p := next.At(field, "it differs", ""); field != "" && p.Line != tt.line {
				t.Errorf("At(%q) = %v, want line %d", field, p, tt.line)
			}
		})
	}
}

func TestFieldNamingFindsWhereAFileIsNamed(t *testing.T) {
	t.Parallel()
	c := parsed(t, placed+"  spiffe://a.example: {anchors: {file: twice.pem}}\n  spiffe://b.example: {anchors: {file: twice.pem}}\ntelemetry: {audit: {file: /var/log/audit.jsonl}}\n")
	for path, want := range map[string]string{
		filepath.Join("folder", "edge.pem"):  "listeners[0].certificate.cert_file",
		filepath.Join("folder", "edge.key"):  "listeners[0].certificate.key_file",
		filepath.Join("folder", "other.pem"): "trust_domains.spiffe://other.example.anchors.file",
		"/var/log/audit.jsonl":               "telemetry.audit.file",
		filepath.Join("folder", "twice.pem"): "trust_domains",
		"edge.pem":                           "",
	} {
		if got := c.FieldNaming(path); got != want {
			t.Errorf("FieldNaming(%q) = %q, want %q", path, got, want)
		}
	}
}

func replaceOnce(t *testing.T, text, from, to string) string {
	t.Helper()
	before, after, ok := strings.Cut(text, from)
	if !ok {
		t.Fatalf("%q is not in the configuration", from)
	}
	return before + to + after
}
