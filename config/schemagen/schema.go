package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"verigate/config"
)

// namePattern is what a field of the form "name" looks like.
const namePattern = `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`

var (
	durationType = reflect.TypeFor[config.Duration]()
	originType   = reflect.TypeFor[config.Origin]()
)

// scalars are the types that are written as one string, and how it looks.
var scalars = map[reflect.Type]string{
	durationType:                      `^(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$|^0$`,
	originType:                        `^(spiffe|wimse)://[a-z0-9._-]+$`,
	reflect.TypeFor[config.Pattern](): `^(spiffe|wimse)://[a-z0-9._-]+/[A-Za-z0-9._*/-]+$`,
	reflect.TypeFor[config.Digest]():  `^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$`,
	reflect.TypeFor[config.Serial]():  `^[0-9A-Fa-f:]+$`,
	reflect.TypeFor[config.Network](): `^[0-9A-Fa-f.:]+(/[0-9]+)?$`,
}

// reflectSchema describes [config.File]. source is the folder of package config,
// which has to be the current one, since comments are found by relative path.
func reflectSchema(source string) (*jsonschema.Schema, error) {
	r := &jsonschema.Reflector{
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true,
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if pattern, ok := scalars[t]; ok {
				return &jsonschema.Schema{Type: "string", Pattern: pattern}
			}
			return nil
		},
	}
	if err := r.AddGoComments("verigate/config", source, jsonschema.WithFullComment()); err != nil {
		return nil, err
	}
	schema := r.Reflect(&config.File{})
	schema.ID = ""
	schema.Title = "Verigate configuration"
	types := map[string]reflect.Type{}
	collect(reflect.TypeFor[config.File](), types)
	for name, definition := range schema.Definitions {
		if err := annotate(definition, types[name]); err != nil {
			return nil, err
		}
	}
	return schema, nil
}

func encode(s *jsonschema.Schema) ([]byte, error) {
	out, err := json.MarshalIndent(s, "", "  ")
	return append(out, '\n'), err
}

// annotate adds to a definition what the struct tags of its type say.
func annotate(s *jsonschema.Schema, t reflect.Type) error {
	s.Required = nil
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		property, ok := s.Properties.Get(name)
		if !ok {
			return fmt.Errorf("%s.%s is not in the schema", t.Name(), f.Name)
		}
		if property.Description == "" {
			return fmt.Errorf("%s.%s has no comment", t.Name(), f.Name)
		}
		if f.Tag.Get("required") == "true" {
			s.Required = append(s.Required, name)
		}
		// Comments call a field by its name in Go, operators by that in the file.
		if rest, ok := strings.CutPrefix(property.Description, f.Name+" "); ok {
			property.Description = name + " " + rest
		}
		constrain(property, f.Type, f)
	}
	return nil
}

// constrain adds the bounds and forms that the decoder enforces to the schema of a
// value of type t, which is that of f or of its items.
func constrain(s *jsonschema.Schema, t reflect.Type, f reflect.StructField) {
	switch {
	case scalars[t] != "":
		s.Description = withBounds(s.Description, t, f)
	case t.Kind() == reflect.Slice:
		if f.Tag.Get("min") == "1" {
			s.MinItems = new(uint64)
			*s.MinItems = 1
		}
		constrain(s.Items, t.Elem(), f)
	case t.Kind() == reflect.Map:
		s.PropertyNames = &jsonschema.Schema{Type: "string", Pattern: namePattern}
		if f.Name == "TrustDomains" {
			s.PropertyNames.Pattern = scalars[originType]
		}
		if t.Elem().Kind() != reflect.Struct {
			constrain(s.AdditionalProperties, t.Elem(), f)
		}
	case t.Kind() == reflect.Int:
		s.Minimum, s.Maximum = "1", json.Number(f.Tag.Get("max"))
		if min := f.Tag.Get("min"); min != "" {
			s.Minimum = json.Number(min)
		}
	case t.Kind() == reflect.String && f.Tag.Get("enum") != "":
		for word := range strings.SplitSeq(f.Tag.Get("enum"), ",") {
			s.Enum = append(s.Enum, word)
		}
	case t.Kind() == reflect.String && f.Tag.Get("form") == "name":
		s.Pattern = namePattern
	case t.Kind() == reflect.String && f.Tag.Get("form") != "any":
		s.MinLength = new(uint64)
		*s.MinLength = 1
	}
}

// withBounds says in words what JSON Schema cannot say of a span of time.
func withBounds(description string, t reflect.Type, f reflect.StructField) string {
	if max := f.Tag.Get("max"); max != "" && t == durationType {
		return description + " At most " + max + "."
	}
	return description
}

// collect finds the struct types of the file by their names.
func collect(t reflect.Type, found map[string]reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		collect(t.Elem(), found)
	case reflect.Struct:
		if found[t.Name()] != nil || scalars[t] != "" {
			return
		}
		found[t.Name()] = t
		for i := range t.NumField() {
			collect(t.Field(i).Type, found)
		}
	}
}
