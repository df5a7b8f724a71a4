package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// At returns a problem with the value of field, which was found after the file was
// read, together with the place of the field in the file. A field that was left out
// stands where its parent does. Routes have no place any more.
func (c *Config) At(field, what, hint string) Problem {
	p := Problem{File: c.name, Field: field, What: what, Hint: hint}
	if place, ok := placeIn(c.places, field); ok {
		p.Line, p.Column = place.line, place.column
	}
	return p
}

// FieldNaming returns the first field that names the file at path, as paths are
// after the configuration's folder has been put before them. It is the section if
// several trust domains name it, and "" if nothing does.
func (c *Config) FieldNaming(path string) string {
	for i, l := range c.File.Listeners {
		field := fmt.Sprintf("listeners[%d]", i)
		if found := c.credentialNaming(path, field+".certificate", l.Certificate); found != "" {
			return found
		}
		for j, s := range l.ServerNames {
			if found := c.credentialNaming(path, fmt.Sprintf("%s.server_names[%d].certificate", field, j), s.Certificate); found != "" {
				return found
			}
		}
	}
	var domains []string
	for _, name := range slices.Sorted(maps.Keys(c.File.TrustDomains)) {
		if found := c.trustDomainNaming(path, c.File.TrustDomains[name]); found != "" {
			domains = append(domains, join("trust_domains", name)+found)
		}
	}
	switch len(domains) {
	case 0:
	case 1:
		return domains[0]
	default:
		return "trust_domains" // what is wrong for one can be right for the other
	}
	for _, name := range slices.Sorted(maps.Keys(c.File.Upstreams)) {
		if k := c.File.Upstreams[name].Certificate; k != nil {
			if found := c.credentialNaming(path, join("upstreams", name)+".certificate", *k); found != "" {
				return found
			}
		}
	}
	if path == c.SecretPath() {
		return "resumption.secret_file"
	}
	if file := c.File.Telemetry.Audit.File; file != "" && c.path(file) == path {
		return "telemetry.audit.file"
	}
	return ""
}

// trustDomainNaming returns the field of td that names the file at path, with a dot
// before it, or "".
func (c *Config) trustDomainNaming(path string, td TrustDomain) string {
	named := map[string]string{".anchors.file": td.Anchors.File}
	if f := td.Anchors.Federation; f != nil {
		named[".anchors.federation.bootstrap_file"] = f.BootstrapFile
		named[".anchors.federation.roots_file"] = f.RootsFile
	}
	crl := func(field string, written *CRL) {
		if written != nil {
			for i, name := range written.Files {
				named[fmt.Sprintf("%s.files[%d]", field, i)] = name
			}
		}
	}
	crl(".crl", td.CRL)
	if s := td.Shadow; s != nil {
		crl(".shadow.crl", s.CRL)
		if s.Anchors != nil {
			named[".shadow.anchors.file"] = s.Anchors.File
		}
	}
	for _, field := range slices.Sorted(maps.Keys(named)) {
		if name := named[field]; name != "" && c.path(name) == path {
			return field
		}
	}
	return ""
}

func (c *Config) credentialNaming(path, field string, k Credential) string {
	switch path {
	case c.path(k.CertFile):
		return field + ".cert_file"
	case c.path(k.KeyFile):
		return field + ".key_file"
	}
	return ""
}

// Fixed returns the first field of c that only a new process can change and that
// differs from the one of old, or "" if c can be put in the place of old.
func (c *Config) Fixed(old *Config) (field string) {
	for _, part := range []struct {
		field    string
		old, new any
	}{
		{"listeners", fixedListeners(old), fixedListeners(c)},
		{"admin", old.File.Admin, c.File.Admin},
		{"telemetry", old.File.Telemetry, c.File.Telemetry},
		{"cache", old.File.Cache, c.File.Cache},
		{"handshake_tokens", old.File.HandshakeTokens, c.File.HandshakeTokens},
		{"resumption", old.File.Resumption, c.File.Resumption},
		{"shared_credentials", old.File.SharedCredentials, c.File.SharedCredentials},
		{"state_dir", old.File.StateDir, c.File.StateDir},
	} {
		if field := difference(part.field, reflect.ValueOf(part.old), reflect.ValueOf(part.new)); field != "" {
			return field
		}
	}
	return ""
}

// difference returns the first field below field in which two values of one type
// differ, "" if they do not. Lists of different lengths differ as a whole.
func difference(field string, old, new reflect.Value) string {
	if reflect.DeepEqual(old.Interface(), new.Interface()) {
		return ""
	}
	if _, isScalar := reflect.New(old.Type()).Interface().(encoding.TextUnmarshaler); isScalar {
		return field
	}
	switch old.Kind() {
	case reflect.Struct:
		for i := range old.NumField() {
			name := join(field, old.Type().Field(i).Tag.Get("yaml"))
			if found := difference(name, old.Field(i), new.Field(i)); found != "" {
				return found
			}
		}
	case reflect.Slice:
		if old.Len() != new.Len() {
			return field
		}
		for i := range old.Len() {
			if found := difference(fmt.Sprintf("%s[%d]", field, i), old.Index(i), new.Index(i)); found != "" {
				return found
			}
		}
	}
	return field
}

// fixedListeners are the listeners without what a reload can change of them.
func fixedListeners(c *Config) []Listener {
	all := slices.Clone(c.File.Listeners)
	for i := range all {
		all[i].TrustDomains = nil
	}
	return all
}
