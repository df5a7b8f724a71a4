// Command schemagen writes the JSON Schema and the reference of the configuration
// from the types, comments and struct tags of package config:
//
//	schemagen SCHEMA REFERENCE
//
// `go generate ./config` runs it in the folder of that package.
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: schemagen SCHEMA REFERENCE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

func run(schemaFile, referenceFile string) error {
	s, err := reflectSchema(".")
	if err != nil {
		return err
	}
	schema, err := encode(s)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(schemaFile, schema, 0o644),
		os.WriteFile(referenceFile, reference(s), 0o644),
	)
}
