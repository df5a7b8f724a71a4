package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"

	"verigate/assurance"
	"verigate/policy"
	"verigate/routing"
	"verigate/workloadid"
)

// check finds what is wrong between the fields of a file whose fields are right,
// and compiles routes and policy into c.
func (d *document) check(c *Config) {
	origins := d.checkTrustDomains()
	d.checkListeners(origins)
	d.checkDeny()
	d.checkUpstreams(origins)
	d.checkTelemetry()
	d.checkAddress("admin.address", d.file.Admin.Address, true)
	if len(d.problems) > 0 {
		return
	}
	d.compileRoutes(c, origins)
}

// checkTrustDomains returns the origins that the file knows.
func (d *document) checkTrustDomains() map[workloadid.Origin]bool {
	origins := map[workloadid.Origin]bool{}
	if len(d.file.TrustDomains) == 0 {
		d.at("trust_domains", "no trust domain is configured", "add at least one, such as spiffe://prod.example, with its anchors")
	}
	for _, name := range slices.Sorted(maps.Keys(d.file.TrustDomains)) {
		field := "trust_domains." + name
		origin, err := workloadid.ParseOrigin(name)
		if err != nil {
			d.at(field, fmt.Sprintf("%q is not an origin such as spiffe://prod.example: %v", name, err), "")
			continue
		}
		origins[origin] = true
		for i, statement := range d.file.TrustDomains[name].Assurance {
			field := fmt.Sprintf("%s.assurance[%d]", field, i)
			if statement.IssuerSPKISHA256 != (Digest{}) && statement.PolicyOID != "" {
				d.at(field, "a statement speaks of an issuer or of a policy, not of both", "write two statements")
			}
			d.checkLevel(field+".mial", statement.MIAL)
			d.checkMAAL(field+".maal", statement.MAAL)
		}
	}
	return origins
}

func (d *document) checkLevel(field string, level int) {
	if level > 4 {
		d.at(field, fmt.Sprintf("%d is not a level; levels are 0 to 4", level), "")
	}
}

func (d *document) checkMAAL(field string, grades map[string]int) {
	for _, name := range slices.Sorted(maps.Keys(grades)) {
		if _, ok := assurance.ParseCharacteristic(name); !ok {
			d.at(field+"."+name, "unknown characteristic", "they are "+strings.Join(characteristics(), ", "))
		}
		d.checkLevel(field+"."+name, grades[name])
	}
}

func (d *document) checkListeners(origins map[workloadid.Origin]bool) {
	if len(d.file.Listeners) == 0 {
		d.at("listeners", "no listener is configured", "add one with name, address, certificate and trust_domains")
	}
	names := map[string]bool{}
	keys := map[string]string{}
	for i, l := range d.file.Listeners {
		field := fmt.Sprintf("listeners[%d]", i)
		if names[l.Name] {
			d.at(field+".name", fmt.Sprintf("there is another listener %q", l.Name), "names must differ")
		}
		names[l.Name] = true
		d.checkAddress(field+".address", l.Address, false)
		d.checkCredential(field+".certificate", l.Certificate, keys)
		if len(l.TrustDomains) == 0 {
			// TD-04: an allow-list that is empty must not come to mean "everybody".
			d.at(field+".trust_domains", "the list is empty, so nobody could connect", "name the origins that this listener admits")
		}
		for j, origin := range l.TrustDomains {
			if !origins[origin.Origin] {
				d.at(fmt.Sprintf("%s.trust_domains[%d]", field, j), fmt.Sprintf("%s is not under trust_domains", origin), known(origins))
			}
		}
		served := map[string]bool{}
		for j, s := range l.ServerNames {
			field := fmt.Sprintf("%s.server_names[%d]", field, j)
			d.checkCredential(field+".certificate", s.Certificate, keys)
			for k, name := range s.Names {
				field := fmt.Sprintf("%s.names[%d]", field, k)
				d.checkName(field, name)
				if served[name] {
					d.at(field, fmt.Sprintf("%q has a certificate already", name), "name it once")
				}
				served[name] = true
			}
		}
	}
}

func known(origins map[workloadid.Origin]bool) string {
	var names []string
	for o := range origins {
		names = append(names, o.String())
	}
	sort.Strings(names)
	return "configured are " + strings.Join(names, ", ")
}

// checkCredential makes sure that one certificate file goes with one key file,
// because the certificate file is what a credential is called.
func (d *document) checkCredential(field string, c Credential, keys map[string]string) {
	if c.CertFile == "" || c.KeyFile == "" {
		d.at(field, "cert_file and key_file must both name a file", "")
		return
	}
	if key, ok := keys[c.CertFile]; ok && key != c.KeyFile {
		d.at(field+".key_file", fmt.Sprintf("%s is used with the key %s elsewhere", c.CertFile, key), "one certificate has one key")
	}
	keys[c.CertFile] = c.KeyFile
}

func (d *document) checkAddress(field, address string, optional bool) {
	if optional && address == "" {
		return
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		d.at(field, fmt.Sprintf("%q is not host:port", address), `such as ":8443", "127.0.0.1:8443" or "[::1]:8443"`)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		d.at(field, fmt.Sprintf("%q is not a port number", port), "0 to 65535; 0 takes a free one")
	}
	if host != "" && net.ParseIP(host) == nil && host != "localhost" {
		d.at(field, fmt.Sprintf("%q is not an IP address of this machine", host), "leave the host out for all addresses")
	}
}

// checkName judges a host or server name: lowercase DNS labels, of which the
// first may be "*".
func (d *document) checkName(field, name string) {
	rest := strings.TrimPrefix(name, "*.")
	switch {
	case name != strings.ToLower(name):
		d.at(field, fmt.Sprintf("%q has uppercase letters", name), "write it in lowercase; matching ignores case")
	case rest == "" || strings.Contains(rest, "*") || strings.HasPrefix(rest, ".") || strings.HasSuffix(rest, ".") || strings.Contains(rest, ".."):
		d.at(field, fmt.Sprintf("%q is not a name such as pay.example or *.example", name), "")
	case strings.ContainsAny(rest, "/ @?#\\") || strings.Contains(rest, ":") && net.ParseIP(rest) == nil:
		d.at(field, fmt.Sprintf("%q is not a name such as pay.example or *.example", name), "without scheme, port or path")
	}
}

func (d *document) checkDeny() {
	for i, entry := range d.file.Deny {
		kinds := 0
		if !entry.Identity.IsZero() {
			kinds++
		}
		if entry.Serial.set || entry.IssuerSPKISHA256 != (Digest{}) {
			kinds++
			if !entry.Serial.set || entry.IssuerSPKISHA256 == (Digest{}) {
				kinds = 0 // half of the pair: say what an entry is
			}
		}
		if entry.SPKISHA256 != (Digest{}) {
			kinds++
		}
		if kinds != 1 {
			d.at(fmt.Sprintf("deny[%d]", i), "an entry has exactly one of: identity; serial with issuer_spki_sha256; spki_sha256", "")
		}
	}
}

func (d *document) checkUpstreams(origins map[workloadid.Origin]bool) {
	keys := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(d.file.Upstreams)) {
		u, field := d.file.Upstreams[name], "upstreams."+name
		if len(u.Endpoints) == 0 {
			d.at(field+".endpoints", "the list is empty", "name at least one endpoint")
		}
		if u.Certificate != nil {
			d.checkCredential(field+".certificate", *u.Certificate, keys)
		}
		// UP-03: any certificate of a trust domain is not proof of being the backend.
		identity, both := u.Verify.Identity, u.Verify.DNSAndIdentity
		switch {
		case u.Plaintext && (!identity.IsZero() || both != nil):
			d.at(field+".verify", "a plaintext upstream cannot prove who it is", "remove verify, or plaintext")
		case u.Plaintext:
		case identity.IsZero() == (both == nil):
			d.at(field+".verify", "expected exactly one of identity and dns_and_identity",
				"identity: the identifier of the backend; or plaintext: true for a loopback address or unix socket")
		}
		if both != nil {
			identity = both.Identity
		}
		if !identity.IsZero() && !origins[identity.Origin()] {
			d.at(field+".verify", fmt.Sprintf("%s is not under trust_domains", identity.Origin()), known(origins))
		}
	}
}

func (d *document) checkTelemetry() {
	t := d.file.Telemetry
	if t.OTLP != "" {
		u, err := url.Parse(t.OTLP)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			d.at("telemetry.otlp", fmt.Sprintf("%q is not a URL such as http://127.0.0.1:4318", t.OTLP), "")
		}
	}
	if r := t.TraceRatio; r != nil && (*r < 0 || *r > 1) {
		d.at("telemetry.trace_ratio", fmt.Sprintf("%v is not between 0 and 1", *r), "")
	}
}

// compileRoutes checks routes and rules and compiles them.
func (d *document) compileRoutes(c *Config, origins map[workloadid.Origin]bool) {
	names := map[string]bool{}
	var routes []routing.Route
	rules := policy.Options{Allow: map[string][]policy.Rule{}}
	for i, r := range d.file.Routes {
		field := fmt.Sprintf("routes[%d]", i)
		if names[r.Name] {
			d.at(field+".name", fmt.Sprintf("there is another route %q", r.Name), "names must differ")
		}
		names[r.Name] = true
		if _, ok := d.file.Upstreams[r.Upstream]; !ok {
			defined := slices.Sorted(maps.Keys(d.file.Upstreams))
			d.at(field+".upstream", fmt.Sprintf("there is no upstream %q", r.Upstream), didYouMean(r.Upstream, defined))
		}
		d.checkCaller(field+".match.caller", r.Match.Caller, origins)
		for _, n := range []struct{ field, name string }{{".match.sni", r.Match.SNI}, {".match.host", r.Match.Host}} {
			if n.name != "" {
				d.checkName(field+n.field, n.name)
			}
		}
		routes = append(routes, d.route(field, i, r))
		for j, a := range r.Allow {
			field := fmt.Sprintf("%s.allow[%d]", field, j)
			d.checkCaller(field+".caller", a.Caller, origins)
			d.checkLevel(field+".require.mial", a.Require.MIAL)
			d.checkMAAL(field+".require.maal", a.Require.MAAL)
			if a.Name == "" {
				a.Name = fmt.Sprintf("%s[%d]", r.Name, j)
			}
			rules.Allow[r.Name] = append(rules.Allow[r.Name], policy.Rule{
				Name: a.Name, Caller: a.Caller.Pattern, Methods: a.Methods,
				Require: assurance.Requirement{MIAL: assurance.MIAL(a.Require.MIAL), MAAL: maal(a.Require.MAAL)},
			})
		}
	}
	if len(d.problems) > 0 {
		return
	}
	var err error
	if c.routes, err = routing.Compile(routes); err != nil {
		d.at("routes", err.Error(), "")
		return
	}
	if c.policy, err = policy.Compile(rules, c.routes); err != nil {
		d.at("routes", err.Error(), "")
	}
}

// checkCaller refuses patterns for which no certificate could ever be accepted.
func (d *document) checkCaller(field string, caller Pattern, origins map[workloadid.Origin]bool) {
	if !caller.IsZero() && !origins[caller.Origin()] {
		d.at(field, fmt.Sprintf("%s is not under trust_domains", caller.Origin()), known(origins))
	}
}

func (d *document) route(field string, index int, r Route) routing.Route {
	m := routing.Match{
		Caller: r.Match.Caller.Pattern, SNI: r.Match.SNI, Host: r.Match.Host,
		Path: r.Match.Path, Methods: r.Match.Methods,
	}
	if r.Match.PathExact != "" {
		if r.Match.Path != "" {
			d.at(field+".match.path_exact", "path and path_exact are both given", "keep one of them")
		}
		m.Path, m.PathExact = r.Match.PathExact, true
	}
	if m.Path != "" && !strings.HasPrefix(m.Path, "/") {
		d.at(field+".match.path", fmt.Sprintf("%q does not begin with a slash", m.Path), "")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Match.Headers)) {
		m.Headers = append(m.Headers, routing.HeaderMatch{Name: name, Value: r.Match.Headers[name]})
	}
	return routing.Route{Name: r.Name, Match: m, Upstream: r.Upstream, Index: index}
}

// characteristics returns the names of what a MAAL vector grades.
func characteristics() []string {
	var names []string
	for c := range assurance.Characteristic(len(assurance.MAAL{})) {
		names = append(names, c.String())
	}
	return names
}

func maal(grades map[string]int) (v assurance.MAAL) {
	for name, grade := range grades {
		if c, ok := assurance.ParseCharacteristic(name); ok {
			v[c] = uint8(grade)
		}
	}
	return v
}
