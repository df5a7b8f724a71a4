package config

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// compiledSchema is what an editor judges a file by.
func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(schema *jsonschema.Schema, input string) error {
	var v any
	if err := yaml.Unmarshal([]byte(input), &v); err != nil {
		return err
	}
	return schema.Validate(v)
}

func TestSchemaAcceptsWhatIsGood(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	if err := validate(schema, string(Example())); err != nil {
		t.Errorf("the schema rejects the example: %v", err)
	}
	for _, g := range goldens(t, "good-*.txt") {
		if err := validate(schema, g.input); err != nil {
			t.Errorf("the schema rejects %s: %v", g.name, err)
		}
	}
}

// beyondSchema are the mistakes that a schema cannot see, with the reason: they
// are about YAML as text, or lie between fields.
var beyondSchema = map[string]string{
	"bad-alias":                     "the schema sees the value behind an alias",
	"bad-merge-key":                 "the schema sees what was merged",
	"bad-tag":                       "the schema sees no tags",
	"bad-key-not-a-word":            "JSON has no other keys",
	"bad-second-document":           "the schema sees the first document",
	"bad-second-document-broken":    "the schema sees the first document",
	"bad-duration-bounds":           "JSON Schema cannot compare spans of time",
	"bad-duration-forms":            "JSON Schema cannot compare spans of time",
	"bad-digest":                    "the schema has no rule against zeros",
	"bad-pattern":                   "where wildcards may stand is more than the schema says",
	"bad-serial":                    "how long a number may be is more than the schema says",
	"bad-network":                   "how long a prefix may be is more than the schema says",
	"bad-address-of-admin":          "between fields",
	"bad-addresses":                 "between fields",
	"bad-assurance-statement":       "between fields",
	"bad-deny":                      "between fields",
	"bad-http-methods":              "a matter of values",
	"bad-listener-names-twice":      "between fields",
	"bad-listener-origin-twice":     "between fields",
	"bad-listener-unknown-origin":   "between fields",
	"bad-route-match":               "a matter of values",
	"bad-route-names-twice":         "between fields",
	"bad-route-reserved-header":     "a matter of values",
	"bad-route-unknown-origin":      "between fields",
	"bad-route-unknown-upstream":    "between fields",
	"bad-routes-ambiguous":          "between fields",
	"bad-routes-ambiguous-methods":  "between fields",
	"bad-rule-characteristic":       "a matter of values",
	"bad-rule-methods":              "a matter of values",
	"bad-server-names-semantics":    "a matter of values",
	"bad-telemetry":                 "a matter of values",
	"bad-telemetry-secret":          "a matter of values",
	"bad-trust-domains-empty":       "between fields",
	"bad-anchors-sources":           "between fields",
	"bad-credential-source":         "between fields",
	"bad-crl":                       "between fields",
	"bad-federation-sources":        "between fields",
	"bad-shadow-without-difference": "between fields",
	"bad-upstream-credential":       "between fields",
	"bad-upstream-dns-without-name": "between fields",
	"bad-tls-groups-contradict":     "between fields",
	"bad-upstream-endpoints":        "a matter of values",
	"bad-upstream-handoff-twice":    "between fields",
	"bad-upstream-no-verify":        "between fields",
	"bad-upstream-plaintext-remote": "between fields",
	"bad-upstream-plaintext-verify": "between fields",
	"bad-upstream-verify-both":      "between fields",
	"bad-upstream-verify-modes":     "between fields",
}

func TestSchemaRejectsWhatIsStructurallyBad(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	listed := map[string]bool{}
	for _, g := range goldens(t, "bad-*.txt") {
		err := validate(schema, g.input)
		reason := beyondSchema[g.name]
		listed[g.name] = true
		if err == nil && reason == "" {
			t.Errorf("the schema accepts %s", g.name)
		}
		if err != nil && (reason == "between fields" || strings.HasPrefix(reason, "the schema sees")) {
			t.Errorf("the schema rejects %s, so it need not be on the list: %v", g.name, err)
		}
	}
	for name := range beyondSchema {
		if !listed[name] {
			t.Errorf("%s is on the list and not in testdata", name)
		}
	}
}

// TestSchemaAndDecoderAgree takes the file with every field apart: whatever one
// value of the wrong kind does to the one, it does to the other.
func TestSchemaAndDecoderAgree(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	var everything string
	for _, g := range goldens(t, "good-everything.txt") {
		everything = g.input
	}
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(everything), &root); err != nil {
		t.Fatal(err)
	}
	var nodes []*yaml.Node
	var visit func(n *yaml.Node)
	visit = func(n *yaml.Node) {
		nodes = append(nodes, n)
		for i, child := range n.Content {
			if n.Kind != yaml.MappingNode || i%2 == 1 {
				visit(child)
			}
		}
	}
	visit(root.Content[0])
	compared := 0
	for _, n := range nodes {
		original := *n
		for _, wrong := range []string{"[1]", "{zzz: 1}", "-1", "true", "~", `""`, "[]", "1.5"} {
			var other yaml.Node
			if err := yaml.Unmarshal([]byte(wrong), &other); err != nil {
				t.Fatal(err)
			}
			*n = *other.Content[0]
			var v any
			if err := root.Decode(&v); err != nil {
				t.Fatal(err)
			}
			d := &document{places: map[string]place{}}
			d.value(root.Content[0], reflect.ValueOf(&d.file).Elem(), "", rules{})
			bySchema := schema.Validate(v)
			if (len(d.problems) > 0) != (bySchema != nil) {
				t.Errorf("with %s in line %d: the decoder says %v, the schema says %v", wrong, original.Line, d.problems, bySchema)
			}
			compared++
		}
		*n = original
	}
	if compared < 500 {
		t.Errorf("only %d variants were compared", compared)
	}
}
