package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

const introduction = `# Configuration

<!-- Generated from the types in config/ by "go generate ./config"; edit those. -->

One YAML document, decoded strictly: unknown fields, repeated fields, empty values, values of the wrong type, YAML
aliases, tags and further documents are refused, each with file, line, column, field and a hint.

    gateway config example > gateway.yaml    a file to start from
    gateway check gateway.yaml               what is wrong with it, and with the files that it names
    gateway config schema                    the JSON Schema, for editors

A span of time is a number and a unit: 250ms, 30s, 24h. Relative paths start from the folder of the configuration
file. Where a number or a span has a default, it is greater than zero; leave it out to get the default.

SIGHUP reloads the file. What stands under trust_domains, deny, routes and upstreams changes without a restart, and so do the
trust_domains of a listener, drain_timeout, own_assurance and the content of every file that is named. The rest of listeners,
admin, telemetry, cache, handshake_tokens, resumption, shared_credentials and state_dir do not: a file that changes them is
refused until the restart, and the error names the first field that differs.

Files that are watched are read a quarter of a second after something changed in their folder, and every half minute. Replace
one by a rename: write it beside the old one, with another name, first. Of a file that is written in place the first half may be
read, and half of a list of anchors is a list of anchors.
`

// reference describes every field of the schema for a reader, in the order of the
// types' declarations.
func reference(s *jsonschema.Schema) []byte {
	var b bytes.Buffer
	b.WriteString(introduction)
	for _, name := range order(s) {
		definition := s.Definitions[name]
		title := headings[name]
		if title == "" {
			title = name
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", title, aboutType(name, definition.Description))
		b.WriteString("| field | type | default | meaning |\n|---|---|---|---|\n")
		for pair := definition.Properties.Oldest(); pair != nil; pair = pair.Next() {
			meaning, unset := splitDefault(pair.Value.Description)
			if slices.Contains(definition.Required, pair.Key) {
				unset = "required"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", pair.Key, typeOf(pair.Value), cell(unset), cell(meaning))
		}
	}
	return b.Bytes()
}

// headings are the sections that stand at one place of the file only.
var headings = map[string]string{
	"File": "The file", "Listener": "listeners[]", "ServerName": "listeners[].server_names[]",
	"ListenerLimits": "listeners[].limits", "HTTP": "listeners[].http", "TrustDomain": "trust_domains.*",
	"Anchors": "trust_domains.*.anchors", "Statement": "trust_domains.*.assurance[]", "Deny": "deny[]",
	"Route": "routes[]", "Match": "routes[].match", "Allow": "routes[].allow[]", "Require": "routes[].allow[].require",
	"Upstream": "upstreams.*", "Verify": "upstreams.*.verify", "DNSAndIdentity": "upstreams.*.verify.dns_and_identity",
	"Timeouts": "upstreams.*.timeouts", "Credential": "certificate", "Cache": "cache", "Telemetry": "telemetry",
	"Audit": "telemetry.audit", "Admin": "admin", "Federation": "trust_domains.*.anchors.federation", "CRL": "crl",
	"Shadow": "trust_domains.*.shadow", "ShadowAnchors": "trust_domains.*.shadow.anchors", "Resumption": "resumption",
	"SharedCredentials": "shared_credentials", "OwnAssurance": "own_assurance",
}

// order lists the definitions as a reader meets them: depth first from the file.
func order(s *jsonschema.Schema) []string {
	var names []string
	var visit func(name string)
	visit = func(name string) {
		if slices.Contains(names, name) {
			return
		}
		names = append(names, name)
		for pair := s.Definitions[name].Properties.Oldest(); pair != nil; pair = pair.Next() {
			if next, ok := definitionOf(pair.Value); ok {
				visit(next)
			}
		}
	}
	visit("File")
	return names
}

// definitionOf returns the definition that a property, or its items, refer to.
func definitionOf(s *jsonschema.Schema) (string, bool) {
	switch {
	case s == nil:
		return "", false
	case s.Ref != "":
		return strings.CutPrefix(s.Ref, "#/$defs/")
	case s.Items != nil:
		return definitionOf(s.Items)
	}
	return definitionOf(s.AdditionalProperties)
}

// typeOf says in a word or two what is to be written.
func typeOf(s *jsonschema.Schema) string {
	name, isDefinition := definitionOf(s)
	link := fmt.Sprintf("[%s](#%s)", headings[name], anchor(headings[name]))
	switch {
	case s.Ref != "":
		return link
	case s.Type == "array" && isDefinition:
		return "list of " + link
	case s.Type == "array":
		return "list of " + typeOf(s.Items)
	case s.Type == "object" && isDefinition:
		return "map of " + link
	case s.Type == "object":
		return "map of " + typeOf(s.AdditionalProperties)
	case len(s.Enum) > 0:
		words := make([]string, len(s.Enum))
		for i, word := range s.Enum {
			words[i] = fmt.Sprintf("`%v`", word)
		}
		return strings.Join(words, ", ")
	case s.Type == "integer" && s.Maximum != "":
		return fmt.Sprintf("%s to %s", s.Minimum, s.Maximum)
	case s.Type == "integer":
		return "number"
	case s.Pattern == scalars[durationType]:
		return "span"
	case s.Pattern == scalars[originType]:
		return "origin"
	}
	return s.Type
}

// anchor is the fragment that renderers of Markdown make of a heading.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case strings.ContainsRune("[].*", r):
			return -1
		}
		return r
	}, strings.ToLower(heading))
}

// splitDefault takes the sentence about the default out of a description.
func splitDefault(description string) (meaning, unset string) {
	before, rest, found := strings.Cut(description, " Default: ")
	if !found {
		return description, ""
	}
	unset, after, more := strings.Cut(rest, ". ")
	if more {
		return before + " " + after, unset
	}
	return before, strings.TrimSuffix(unset, ".")
}

// aboutType is the first paragraph of a type's comment as a sentence about the
// place in the file: without the type's name and the verb that follows it.
func aboutType(name, s string) string {
	s, _, _ = strings.Cut(strings.ReplaceAll(s, "\r", ""), "\n\n")
	s = strings.TrimPrefix(strings.TrimPrefix(strings.ReplaceAll(s, "\n", " "), name+" "), "is ")
	return strings.ToUpper(s[:1]) + s[1:]
}

func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "|", `\|`)
}
