package config

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a configuration; 100 000 routes fit easily.
const maxFileBytes = 64 << 20

// place is where a value stands in the file.
type place struct{ line, column int }

// document is a decoded file together with where everything stands in it.
type document struct {
	name     string
	file     File
	places   map[string]place // by field, such as routes[2].upstream
	problems Problems
}

// decode reads one strict YAML document: unknown and repeated fields, values of
// the wrong type, aliases and further documents are all refused, and all
// problems are reported at once.
func decode(name string, data []byte) *document {
	d := &document{name: name, places: map[string]place{}}
	if len(data) > maxFileBytes {
		d.add(Problem{What: fmt.Sprintf("the file has %d octets; at most %d are read", len(data), maxFileBytes)})
		return d
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			d.add(Problem{What: "the file is empty", Hint: "`gateway config example` prints one to start from"})
		} else {
			d.add(yamlProblem(err))
		}
		return d
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		d.add(Problem{What: "there is a second YAML document; expected exactly one", Hint: "remove the line with ---"})
	}
	d.value(root.Content[0], reflect.ValueOf(&d.file).Elem(), "", tag{})
	return d
}

// yamlProblem gives a syntax error of the YAML library its place back.
func yamlProblem(err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{What: "not valid YAML: " + text, Hint: "check indentation, quotes and colons there"}
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if number, what, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(number); err == nil {
				p.Line, p.Column, p.What = line, 1, "not valid YAML: "+what
			}
		}
	}
	return p
}

func (d *document) add(p Problem) {
	p.File = d.name
	d.problems = append(d.problems, p)
}

// at reports a problem with the value of field.
func (d *document) at(field, what, hint string) {
	p := Problem{Field: field, What: what, Hint: hint}
	// A field that was left out is reported where its parent stands.
	for f := field; ; {
		if place, ok := d.places[f]; ok {
			p.Line, p.Column = place.line, place.column
			break
		}
		i := strings.LastIndexAny(f, ".[")
		if i < 0 {
			break
		}
		f = f[:i]
	}
	d.add(p)
}

// tag is what the struct tags of a field say.
type tag struct{ enum []string }

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// value decodes node into v.
func (d *document) value(node *yaml.Node, v reflect.Value, field string, t tag) {
	d.places[field] = place{node.Line, node.Column}
	if node.Kind == yaml.AliasNode {
		d.at(field, "YAML aliases are not supported", "write the value out")
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if v.Addr().Type().Implements(textUnmarshaler) {
		d.text(node, v, field)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(node, v, field)
	case reflect.Map:
		d.mapping(node, v, field)
	case reflect.Slice:
		if node.Kind != yaml.SequenceNode {
			d.wrong(node, field, "a list")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(node.Content), len(node.Content)))
		for i, item := range node.Content {
			d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", field, i), t)
		}
	default:
		d.scalar(node, v, field, t)
	}
}

func (d *document) structure(node *yaml.Node, v reflect.Value, field string) {
	if node.Kind != yaml.MappingNode {
		d.wrong(node, field, "a mapping with the fields "+strings.Join(fieldNames(v.Type()), ", "))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name := join(field, key.Value)
		index, ok := fieldIndex(v.Type(), key.Value)
		switch {
		case !ok:
			names := fieldNames(v.Type())
			hint := "the fields here are " + strings.Join(names, ", ")
			if c := closest(key.Value, names); c != "" {
				hint = fmt.Sprintf("did you mean %q?", c)
			}
			d.places[name] = place{key.Line, key.Column}
			d.at(name, "unknown field", hint)
		case seen[key.Value]:
			d.places[name] = place{key.Line, key.Column}
			d.at(name, "the field is given twice", "keep one of them")
		default:
			seen[key.Value] = true
			if isNull(value) {
				d.places[name] = place{key.Line, key.Column}
				d.at(name, "the field has no value", "remove it, or give it one")
				continue
			}
			d.value(value, v.Field(index), name, tagOf(v.Type().Field(index)))
		}
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if name := f.Tag.Get("yaml"); f.Tag.Get("required") == "true" && !seen[name] {
			d.at(join(field, name), "the field is missing", "")
		}
	}
}

func (d *document) mapping(node *yaml.Node, v reflect.Value, field string) {
	if node.Kind != yaml.MappingNode {
		d.wrong(node, field, "a mapping")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name := join(field, key.Value)
		item := reflect.New(v.Type().Elem()).Elem()
		switch {
		case key.Kind != yaml.ScalarNode:
			d.places[name] = place{key.Line, key.Column}
			d.at(name, "a key must be a plain word", "")
		case v.MapIndex(reflect.ValueOf(key.Value)).IsValid():
			d.places[name] = place{key.Line, key.Column}
			d.at(name, "the key is given twice", "keep one of them")
		default:
			d.value(value, item, name, tag{})
			v.SetMapIndex(reflect.ValueOf(key.Value), item)
		}
	}
}

func (d *document) text(node *yaml.Node, v reflect.Value, field string) {
	if node.Kind != yaml.ScalarNode {
		d.wrong(node, field, "one value")
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(node.Value)); err != nil {
		d.at(field, err.Error(), "")
	}
}

func (d *document) scalar(node *yaml.Node, v reflect.Value, field string, t tag) {
	if node.Kind != yaml.ScalarNode {
		d.wrong(node, field, kindName(v.Kind()))
		return
	}
	switch v.Kind() {
	case reflect.String:
		if t.enum != nil && !slices.Contains(t.enum, node.Value) {
			d.at(field, fmt.Sprintf("%q is none of %s", node.Value, strings.Join(t.enum, ", ")), didYouMean(node.Value, t.enum))
			return
		}
		v.SetString(node.Value)
	case reflect.Bool:
		if node.Tag != "!!bool" {
			d.wrong(node, field, "true or false")
			return
		}
		v.SetBool(strings.EqualFold(node.Value, "true"))
	case reflect.Int:
		n, err := strconv.Atoi(node.Value)
		if err != nil {
			d.wrong(node, field, "a whole number")
			return
		}
		if n < 0 {
			d.at(field, fmt.Sprintf("%d is negative", n), "")
			return
		}
		v.SetInt(int64(n))
	case reflect.Float64:
		n, err := strconv.ParseFloat(node.Value, 64)
		if err != nil {
			d.wrong(node, field, "a number")
			return
		}
		v.SetFloat(n)
	default:
		panic("config: no decoding for " + v.Type().String())
	}
}

func (d *document) wrong(node *yaml.Node, field, want string) {
	found := "a mapping"
	switch node.Kind {
	case yaml.ScalarNode:
		found = fmt.Sprintf("%q", node.Value)
	case yaml.SequenceNode:
		found = "a list"
	}
	d.at(field, fmt.Sprintf("found %s, expected %s", found, want), "")
}

func didYouMean(word string, candidates []string) string {
	if c := closest(word, candidates); c != "" {
		return fmt.Sprintf("did you mean %q?", c)
	}
	return ""
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	}
	return "a string"
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

func join(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

func fieldIndex(t reflect.Type, name string) (int, bool) {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == name {
			return i, true
		}
	}
	return 0, false
}

func fieldNames(t reflect.Type) []string {
	names := make([]string, 0, t.NumField())
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("yaml"))
	}
	sort.Strings(names)
	return names
}

func tagOf(f reflect.StructField) tag {
	if enum := f.Tag.Get("enum"); enum != "" {
		return tag{enum: strings.Split(enum, ",")}
	}
	return tag{}
}
