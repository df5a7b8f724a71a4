package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a configuration; 100 000 routes fit easily.
const maxFileBytes = 32 << 20

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
// the wrong type, empty values, aliases, tags and further documents are all
// refused, and all problems are reported at once.
//
// The file's own depth costs nothing here: values are read by the types of
// package config, which are not recursive, and aliases are never followed, so
// that no document is larger than its octets.
func decode(name string, data []byte) *document {
	d := &document{name: name, places: map[string]place{}}
	if len(data) > maxFileBytes {
		d.add(Problem{What: fmt.Sprintf("the file has more than %d octets", maxFileBytes), Hint: "that much cannot be a configuration"})
		return d
	}
	if i := invalidUTF8(data); i >= 0 {
		p := Problem{What: "the file is not text in UTF-8", Hint: "save it as UTF-8"}
		p.Line, p.Column = lineOf(data, i)
		d.add(p)
		return d
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	err := decoder.Decode(&root)
	switch {
	case errors.Is(err, io.EOF) || err == nil && isNull(root.Content[0]):
		d.add(Problem{What: "the file is empty", Hint: "`gateway config example` prints one to start from"})
		return d
	case err != nil:
		d.add(yamlProblem(err, data))
		return d
	}
	var second yaml.Node
	switch err := decoder.Decode(&second); {
	case err == nil:
		d.add(Problem{Line: second.Line, Column: second.Column, What: "there is a second YAML document; expected exactly one", Hint: "remove it and the line with ---"})
	case !errors.Is(err, io.EOF):
		d.add(yamlProblem(err, data))
	}
	d.value(root.Content[0], reflect.ValueOf(&d.file).Elem(), "", rules{})
	return d
}

// yamlProblem gives a syntax error of the YAML library its place back.
func yamlProblem(err error, data []byte) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{What: "not valid YAML: " + text, Hint: "check indentation, quotes and colons there"}
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if number, what, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(number); err == nil {
				p.Line, p.Column, p.What = line, 1, "not valid YAML: "+what
			}
		}
	}
	if strings.Contains(text, "cannot start any token") {
		p.Hint = "indent with spaces, never with tabs; put values that begin with a special character in quotes"
	}
	if rest, ok := strings.CutPrefix(text, "unknown anchor '"); ok {
		p.What, p.Hint = "YAML aliases are not supported", "write the value out; if it is no alias, put it in quotes"
		name, _, _ := strings.Cut(rest, "'")
		if i := bytes.Index(data, []byte("*"+name)); i >= 0 {
			p.Line, p.Column = lineOf(data, i)
		}
	}
	return p
}

// invalidUTF8 returns where data stops to be UTF-8, -1 if nowhere.
func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// lineOf returns the line and column of an octet of data.
func lineOf(data []byte, i int) (line, column int) {
	before := data[:i]
	return bytes.Count(before, []byte("\n")) + 1, i - bytes.LastIndexByte(before, '\n')
}

func (d *document) add(p Problem) {
	p.File = d.name
	d.problems = append(d.problems, p)
}

// at reports a problem with the value of field.
func (d *document) at(field, what, hint string) {
	p := Problem{Field: field, What: what, Hint: hint}
	if place, ok := d.placeOf(field); ok {
		p.Line, p.Column = place.line, place.column
	}
	d.add(p)
}

// placeOf returns where field stands; one that was left out stands where its
// parent does.
func (d *document) placeOf(field string) (place, bool) { return placeIn(d.places, field) }

func placeIn(places map[string]place, field string) (place, bool) {
	for {
		if place, ok := places[field]; ok {
			return place, true
		}
		i := strings.LastIndexAny(field, ".[")
		if i < 0 {
			place, ok := places[""]
			return place, ok
		}
		field = field[:i]
	}
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType    = reflect.TypeFor[Duration]()
)

// value decodes node into v.
func (d *document) value(node *yaml.Node, v reflect.Value, field string, r rules) {
	if _, ok := d.places[field]; !ok || !isNull(node) {
		d.places[field] = place{node.Line, node.Column}
	}
	switch {
	case node.Kind == yaml.AliasNode:
		d.at(field, "YAML aliases are not supported", "write the value out")
		return
	case node.Style&yaml.TaggedStyle != 0:
		d.at(field, fmt.Sprintf("the YAML tag %s is not supported", quote(node.Tag)), "remove it")
		return
	case isNull(node):
		d.at(field, "there is no value", "remove the field, or give it a value")
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if v.Addr().Type().Implements(textUnmarshaler) {
		d.text(node, v, field, r)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(node, v, field)
	case reflect.Map:
		d.mapping(node, v, field, r)
	case reflect.Slice:
		d.list(node, v, field, r)
	default:
		d.scalar(node, v, field, r)
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
		index, known := fieldIndex(v.Type(), key.Value)
		switch {
		case key.Value == "<<" && key.Style == 0:
			d.atKey(key, name, "YAML merge keys are not supported", "write the fields out")
		case !known || key.Kind != yaml.ScalarNode:
			names := fieldNames(v.Type())
			hint := "the fields here are " + strings.Join(names, ", ")
			if c := closest(key.Value, names); c != "" {
				hint = fmt.Sprintf("did you mean %q?", c)
			}
			d.atKey(key, name, "unknown field", hint)
		case seen[key.Value]:
			d.atKey(key, name, "the field is given twice", "keep one of them")
		default:
			seen[key.Value] = true
			d.places[name] = place{key.Line, key.Column}
			d.value(value, v.Field(index), name, rulesOf(v.Type().Field(index)))
		}
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if name := f.Tag.Get("yaml"); f.Tag.Get("required") == "true" && !seen[name] {
			d.at(join(field, name), "the field is missing", "")
		}
	}
}

// atKey reports a problem with a key, whose value may stand in another line.
func (d *document) atKey(key *yaml.Node, field, what, hint string) {
	d.add(Problem{Line: key.Line, Column: key.Column, Field: field, What: what, Hint: hint})
}

func (d *document) mapping(node *yaml.Node, v reflect.Value, field string, r rules) {
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
		case key.Kind != yaml.ScalarNode || key.Tag != "!!str" || key.Value == "":
			d.atKey(key, name, "a key must be a word", "put it in quotes")
		case v.MapIndex(reflect.ValueOf(key.Value)).IsValid():
			d.atKey(key, name, "the key is given twice", "keep one of them")
		default:
			d.places[name] = place{key.Line, key.Column}
			d.value(value, item, name, r)
			v.SetMapIndex(reflect.ValueOf(key.Value), item)
		}
	}
}

func (d *document) list(node *yaml.Node, v reflect.Value, field string, r rules) {
	if node.Kind != yaml.SequenceNode {
		d.wrong(node, field, "a list")
		return
	}
	if r.filled && len(node.Content) == 0 {
		d.at(field, "the list is empty", r.emptyHint)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(node.Content), len(node.Content)))
	for i, item := range node.Content {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", field, i), r)
	}
}

// text decodes what is written as one string and has a form of its own.
func (d *document) text(node *yaml.Node, v reflect.Value, field string, r rules) {
	if v.Type() == durationType && isNumber(node) {
		d.at(field, fmt.Sprintf("found %s, a number without a unit", quote(node.Value)), fmt.Sprintf("write %ss if seconds are meant; the units are ms, s, m and h", node.Value))
		return
	}
	if !d.isString(node, field, "one value") {
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(node.Value)); err != nil {
		d.at(field, err.Error(), "")
		return
	}
	if v.Type() == durationType {
		d.bounds(field, v.Int(), r, func(n int64) string { return Duration(n).String() })
	}
}

// isString refuses a scalar that YAML takes for something else than a string. A
// serial number of digits alone, say, would be a number to every other tool that
// reads the file.
func (d *document) isString(node *yaml.Node, field, want string) bool {
	switch {
	case node.Kind != yaml.ScalarNode:
		d.wrong(node, field, want)
	case node.Tag != "!!str":
		d.at(field, fmt.Sprintf("found %s, which YAML takes for %s; expected a string", quote(node.Value), tagName(node.Tag)), "put it in quotes")
	default:
		return true
	}
	return false
}

func (d *document) scalar(node *yaml.Node, v reflect.Value, field string, r rules) {
	switch v.Kind() {
	case reflect.String:
		if isNumber(node) && (strings.HasSuffix(field, ".address")) {
			d.at(field, fmt.Sprintf("found %s, expected host:port", quote(node.Value)), fmt.Sprintf("such as \":%s\" for every local address, or \"127.0.0.1:%s\"", node.Value, node.Value))
			return
		}
		if d.isString(node, field, "a string") {
			d.str(node, v, field, r)
		}
	case reflect.Bool:
		if node.Kind != yaml.ScalarNode || node.Tag != "!!bool" {
			d.wrong(node, field, "true or false")
			return
		}
		v.SetBool(strings.EqualFold(node.Value, "true"))
	case reflect.Int:
		n, err := strconv.Atoi(node.Value)
		if node.Kind != yaml.ScalarNode || node.Tag != "!!int" || err != nil {
			d.wrong(node, field, "a whole number")
			return
		}
		v.SetInt(int64(n))
		d.bounds(field, int64(n), r, func(n int64) string { return strconv.FormatInt(n, 10) })
	case reflect.Float64:
		n, err := strconv.ParseFloat(node.Value, 64)
		if node.Kind != yaml.ScalarNode || node.Tag != "!!float" && node.Tag != "!!int" || err != nil {
			d.wrong(node, field, "a number")
			return
		}
		v.SetFloat(n)
	default:
		panic("config: no decoding for " + v.Type().String())
	}
}

func (d *document) str(node *yaml.Node, v reflect.Value, field string, r rules) {
	switch {
	case node.Value == "" && !r.mayBeEmpty:
		// A template that came out empty must not come to mean "any".
		d.at(field, "the string is empty", "remove the field, or give it a value")
	case r.enum != nil && !slices.Contains(r.enum, node.Value):
		d.at(field, fmt.Sprintf("%s is none of %s", quote(node.Value), strings.Join(r.enum, ", ")), didYouMean(node.Value, r.enum))
	case r.isName && !isName(node.Value):
		d.at(field, fmt.Sprintf("%s is not a name", quote(node.Value)), nameHint)
	default:
		v.SetString(node.Value)
	}
}

// bounds judges a number or a duration. Where the zero value stands for the
// default it cannot be asked for: whoever writes 0 means none, or no limit.
func (d *document) bounds(field string, n int64, r rules, format func(int64) string) {
	switch {
	case n < 0:
		d.at(field, format(n)+" is negative", "")
	case n == 0 && r.min > 0:
		d.at(field, format(n)+" is not allowed here", "leave the field out for its default")
	case n < r.min:
		d.at(field, fmt.Sprintf("%s is too little; at least %s", format(n), format(r.min)), "")
	case r.max > 0 && n > r.max:
		d.at(field, fmt.Sprintf("%s is too much; at most %s", format(n), format(r.max)), "")
	}
}

func (d *document) wrong(node *yaml.Node, field, want string) {
	found := "a mapping"
	switch node.Kind {
	case yaml.ScalarNode:
		found = quote(node.Value)
	case yaml.SequenceNode:
		found = "a list"
	}
	d.at(field, fmt.Sprintf("found %s, expected %s", found, want), "")
}

// rules is what the struct tags of a field say about its value.
type rules struct {
	enum       []string
	isName     bool
	mayBeEmpty bool
	filled     bool // a list with at least one item
	emptyHint  string
	min, max   int64 // of an int or a [Duration]; max 0 is none
}

// rulesOf reads struct tags: enum, min, max, form. They are what the schema is
// generated from, too.
func rulesOf(f reflect.StructField) rules {
	r := rules{min: 1, isName: f.Tag.Get("form") == "name", mayBeEmpty: f.Tag.Get("form") == "any"}
	if enum := f.Tag.Get("enum"); enum != "" {
		r.enum = strings.Split(enum, ",")
	}
	if f.Type.Kind() == reflect.Slice {
		r.filled = f.Tag.Get("min") == "1"
		r.emptyHint = "name at least one"
		if f.Tag.Get("required") != "true" {
			r.emptyHint = "remove the field, or name at least one"
		}
		return r
	}
	r.min, r.max = bound(f, "min", 1), bound(f, "max", 0)
	return r
}

func bound(f reflect.StructField, key string, unset int64) int64 {
	text, ok := f.Tag.Lookup(key)
	if !ok {
		return unset
	}
	if f.Type == durationType {
		d, err := time.ParseDuration(text)
		if err != nil {
			panic("config: tag of " + f.Name + ": " + err.Error())
		}
		return int64(d)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic("config: tag of " + f.Name + ": " + err.Error())
	}
	return n
}

// nameHint says what isName wants.
const nameHint = "a name has up to 64 letters, digits, dots, underscores and hyphens, and begins with a letter or digit"

// isName judges what becomes a metric label and stands in audit records.
func isName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i, c := range []byte(s) {
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

func isNumber(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && (node.Tag == "!!int" || node.Tag == "!!float") && len(node.Value) <= maxQuoted
}

// tagName is what YAML takes a scalar for, in words.
func tagName(tag string) string {
	switch tag {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	}
	return tag
}

// join names a field of a field. What would break the line of an error is quoted.
func join(field, name string) string {
	if len(name) > maxQuoted || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		name = quote(name)
	}
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

// fieldNames returns the names of the fields of t in the order of their
// declaration, which is the order in which they are documented.
func fieldNames(t reflect.Type) []string {
	names := make([]string, 0, t.NumField())
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("yaml"))
	}
	return names
}
