package config

import _ "embed"

//go:generate go run ./schemagen schema.json ../docs/configuration.md

//go:embed schema.json
var schema []byte

//go:embed example.yaml
var example []byte

// Schema returns the JSON Schema of the file (draft 2020-12). It is generated
// from the types and comments of this package; a test fails when it is not up to
// date. The caller must not modify it.
func Schema() []byte { return schema }

// Example returns a commented file to start from. The caller must not modify it.
func Example() []byte { return example }
