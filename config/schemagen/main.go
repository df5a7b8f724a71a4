// Command schemagen writes the JSON Schema of the configuration from the types
// and comments in package config. `go generate ./config` runs it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"verigate/config"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

func run(file string) error {
	r := &jsonschema.Reflector{
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true,
		Mapper:                     scalar,
	}
	if err := r.AddGoComments("verigate/config", ".", jsonschema.WithFullComment()); err != nil {
		return err
	}
	schema := r.Reflect(&config.File{})
	schema.ID = ""
	schema.Title = "Verigate configuration"
	for name, definition := range schema.Definitions {
		annotate(definition, typeNamed(name))
	}
	out, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(out, '\n'), 0o644)
}

// scalar describes the types that are written as one string.
func scalar(t reflect.Type) *jsonschema.Schema {
	patterns := map[reflect.Type]string{
		reflect.TypeFor[config.Duration](): `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`,
		reflect.TypeFor[config.Origin]():   `^(spiffe|wimse)://[a-z0-9._-]+$`,
		reflect.TypeFor[config.Pattern]():  `^(spiffe|wimse)://[a-z0-9._-]+/[A-Za-z0-9._~*/-]+$`,
		reflect.TypeFor[config.Digest]():   `^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$`,
		reflect.TypeFor[config.Serial]():   `^[0-9A-Fa-f:]+$`,
		reflect.TypeFor[config.Network]():  `^[0-9A-Fa-f.:]+(/[0-9]+)?$`,
	}
	if pattern, ok := patterns[t]; ok {
		return &jsonschema.Schema{Type: "string", Pattern: pattern}
	}
	return nil
}

// annotate adds what the struct tags of config say: required fields and closed
// lists of words.
func annotate(s *jsonschema.Schema, t reflect.Type) {
	s.Required = nil
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		if f.Tag.Get("required") == "true" {
			s.Required = append(s.Required, name)
		}
		property, ok := s.Properties.Get(name)
		if !ok {
			continue
		}
		if enum := f.Tag.Get("enum"); enum != "" {
			target := property
			if property.Items != nil {
				target = property.Items
			}
			for word := range strings.SplitSeq(enum, ",") {
				target.Enum = append(target.Enum, word)
			}
		}
		if f.Type.Kind() == reflect.Int {
			property.Minimum = "0"
		}
	}
}

// typeNamed returns the type of package config that a definition is for.
func typeNamed(name string) reflect.Type {
	found := map[string]reflect.Type{}
	collect(reflect.TypeFor[config.File](), found)
	return found[name]
}

func collect(t reflect.Type, found map[string]reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		collect(t.Elem(), found)
	case reflect.Struct:
		if found[t.Name()] != nil || scalar(t) != nil {
			return
		}
		found[t.Name()] = t
		for i := range t.NumField() {
			collect(t.Field(i).Type, found)
		}
	}
}
