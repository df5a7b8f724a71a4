package config_test

import (
	"fmt"

	"verigate/config"
)

// A mistake is reported with its place and, where there is one, a hint.
func ExampleParse() {
	_, err := config.Parse("gateway.yaml", []byte(`listeners:
  - name: edge
    adress: ":8443"
    certificate: {cert_file: edge.pem, key_file: edge.key}
    trust_domains: []
trust_domains:
  spiffe://prod.example: {anchors: {file: prod.pem}}
`))
	fmt.Println(err)
	// Output:
	// gateway.yaml:2:5: listeners[0].address: the field is missing
	// gateway.yaml:3:5: listeners[0].adress: unknown field; did you mean "address"?
	// gateway.yaml:5:20: listeners[0].trust_domains: the list is empty; name at least one
}
