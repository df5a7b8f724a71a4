package deploy

import (
	"regexp"
	"testing"

	"go.yaml.in/yaml/v3"

	"verigate/config"
)

// Every example of docs/assurance.md works, in a configuration that has the rest.
func TestExamplesOfTheAssuranceDocumentAreValid(t *testing.T) {
	t.Parallel()
	const rest = `
listeners:
  - name: edge
    address: 127.0.0.1:8443
    certificate: {cert_file: edge.pem, key_file: edge.key}
    trust_domains: [ORIGIN]
trust_domains: {ORIGIN: {anchors: {file: bundle.pem}}}
routes:
  - {name: all, allow: [{caller: ORIGIN/**}], upstream: backend}
upstreams:
  backend: {endpoints: ["127.0.0.1:8080"], plaintext: true}
`
	origin := regexp.MustCompile(`spiffe://[a-z.]+`)
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(read(t, "../docs/assurance.md"), -1)
	if len(examples) < 8 {
		t.Fatalf("found only %d examples", len(examples))
	}
	for _, example := range examples {
		name := "spiffe://prod.example"
		if found := origin.FindString(example[1]); found != "" {
			name = found
		}
		var whole, part map[string]any
		for text, into := range map[string]*map[string]any{
			regexp.MustCompile("ORIGIN").ReplaceAllString(rest, name): &whole,
			example[1]: &part,
		} {
			if err := yaml.Unmarshal([]byte(text), into); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
		}
		for key, value := range part {
			whole[key] = value
		}
		merged, err := yaml.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse("example.yaml", merged); err != nil {
			t.Errorf("%v in the example\n%s", err, example[1])
		}
	}
}
