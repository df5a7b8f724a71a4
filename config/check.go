package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"verigate/assurance"
	"verigate/handoff"
	"verigate/policy"
	"verigate/routing"
	"verigate/workloadid"
)

// check finds what is wrong between the fields of a file whose fields are right,
// and compiles routes and policy into c.
func (d *document) check(c *Config) {
	origins := d.checkTrustDomains()
	keys := map[string]string{} // of all certificate files
	d.checkListeners(origins, keys)
	d.checkOwnAssurance()
	d.checkDeny()
	d.checkUpstreams(origins, keys)
	d.checkTelemetry()
	d.checkAddresses()
	d.compileRoutes(c, origins)
}

// checkTrustDomains returns the origins that the file knows.
func (d *document) checkTrustDomains() map[workloadid.Origin]bool {
	origins := map[workloadid.Origin]bool{}
	if len(d.file.TrustDomains) == 0 {
		d.at("trust_domains", "no trust domain is configured", "add at least one, such as spiffe://prod.example, with its anchors")
	}
	for _, name := range slices.Sorted(maps.Keys(d.file.TrustDomains)) {
		field := join("trust_domains", name)
		origin, err := workloadid.ParseOrigin(name)
		if err != nil {
			d.at(field, fmt.Sprintf("%s is not an origin such as spiffe://prod.example: %v", quote(name), err), "")
			continue
		}
		origins[origin] = true
		td := d.file.TrustDomains[name]
		d.checkAssurance(field, td)
		d.checkSources(field, origin, td)
	}
	return origins
}

// checkAssurance reports what is wrong with statements at the statement.
func (d *document) checkAssurance(field string, td TrustDomain) {
	for i, s := range td.Assurance {
		d.checkMAAL(fmt.Sprintf("%s.assurance[%d].maal", field, i), s.MAAL)
	}
	_, err := grading(td)
	for fault := range faults[*assurance.Error](err) {
		at := field + ".assurance"
		if fault.Statement >= 0 {
			at = fmt.Sprintf("%s[%d]", at, fault.Statement)
		}
		hint := ""
		switch fault.Reason {
		case assurance.ReasonTwoSubjects:
			hint = "write two statements"
		case assurance.ReasonPolicyOID:
			at += ".policy_oid"
			hint = "such as 1.3.6.1.4.1.99999.1"
		default: // the reason says it all
		}
		d.at(at, fault.Reason.String(), hint)
	}
}

// checkMAAL refuses characteristics that do not exist; the decoder has seen to
// their grades.
func (d *document) checkMAAL(field string, grades map[string]int) {
	for _, name := range slices.Sorted(maps.Keys(grades)) {
		if _, ok := assurance.ParseCharacteristic(name); !ok {
			hint := didYouMean(name, characteristics())
			if hint == "" {
				hint = "they are " + strings.Join(characteristics(), ", ")
			}
			d.at(join(field, name), "unknown characteristic", hint)
		}
	}
}

// checkGroups looks for what is there twice, and for TLS 1.2 without a group that it has.
func (d *document) checkGroups(field string, l *Listener) {
	classical := len(l.TLSGroups) == 0
	for i, name := range l.TLSGroups {
		if slices.Contains(l.TLSGroups[:i], name) {
			d.at(fmt.Sprintf("%s.tls_groups[%d]", field, i), name+" is in the list already", "name it once")
		}
		classical = classical || !strings.Contains(name, "MLKEM")
	}
	if l.AllowTLS12 && !classical {
		d.at(field+".tls_groups", "TLS 1.2 has none of these, and allow_tls12 admits it", "add x25519 or secp256r1, or leave allow_tls12 out")
	}
}

func (d *document) checkListeners(origins map[workloadid.Origin]bool, keys map[string]string) {
	names := map[string]bool{}
	for i, l := range d.file.Listeners {
		field := fmt.Sprintf("listeners[%d]", i)
		if names[l.Name] {
			d.at(field+".name", fmt.Sprintf("there is another listener %q", l.Name), "names must differ")
		}
		names[l.Name] = true
		d.checkCredential(field+".certificate", l.Certificate, keys)
		seen := map[workloadid.Origin]bool{}
		for j, origin := range l.TrustDomains {
			// TD-04: what is admitted has to be spelled out, and known.
			field := fmt.Sprintf("%s.trust_domains[%d]", field, j)
			d.checkOrigin(field, origin.Origin, origins)
			if seen[origin.Origin] {
				d.at(field, fmt.Sprintf("%s is in the list already", origin), "name it once")
			}
			seen[origin.Origin] = true
		}
		d.checkGroups(field, &l)
		d.checkMethods(field+".http.methods", l.HTTP.Methods)
		d.checkServerNames(field, l.ServerNames, keys)
	}
}

func (d *document) checkServerNames(field string, all []ServerName, keys map[string]string) {
	served := map[string]bool{}
	for j, s := range all {
		field := fmt.Sprintf("%s.server_names[%d]", field, j)
		d.checkCredential(field+".certificate", s.Certificate, keys)
		for k, name := range s.Names {
			field := fmt.Sprintf("%s.names[%d]", field, k)
			switch {
			case !isServerName(name):
				d.at(field, fmt.Sprintf("%s is not a server name such as pay.example or *.example", quote(name)), "in lowercase; without scheme, port or path; an IP address is never asked for by name")
			case served[name]:
				d.at(field, fmt.Sprintf("%q has a certificate already", name), "name it once")
			}
			served[name] = true
		}
	}
}

// isServerName reports whether name is lowercase DNS labels, or "*." and such.
func isServerName(name string) bool {
	name = strings.TrimPrefix(name, "*.")
	if _, err := netip.ParseAddr(name); err == nil || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// checkMethods judges the methods that a listener lets pass. CONNECT and TRACE
// never do, so a list that has them promises what is not kept.
func (d *document) checkMethods(field string, methods []string) {
	for i, m := range methods {
		field := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case !routing.IsMethod(m):
			d.at(field, fmt.Sprintf("%s is not a method", quote(m)), "a method is a word in capitals, such as GET")
		case m == "CONNECT" || m == "TRACE":
			d.at(field, m+" never passes: the one makes a tunnel of a connection, the other echoes credentials", "remove it")
		}
	}
}

// checkOrigin refuses an origin that no certificate could ever be accepted for.
func (d *document) checkOrigin(field string, origin workloadid.Origin, origins map[workloadid.Origin]bool) {
	if !origins[origin] {
		var names []string
		for o := range origins {
			names = append(names, o.String())
		}
		slices.Sort(names)
		hint := "add it there, with its anchors"
		if len(names) > 0 {
			hint = "configured are " + strings.Join(names, ", ")
		}
		d.at(field, fmt.Sprintf("%s is not under trust_domains", origin), hint)
	}
}

// checkCredential makes sure that one certificate file goes with one key file,
// because the certificate file is what a credential is called.
func (d *document) checkCredential(field string, c Credential, keys map[string]string) {
	if !d.checkCredentialSource(field, c) {
		return
	}
	if key, ok := keys[c.CertFile]; ok && key != c.KeyFile {
		d.at(field+".key_file", fmt.Sprintf("%s is used with the key %s elsewhere", c.CertFile, key), "one certificate has one key")
	}
	keys[c.CertFile] = c.KeyFile
}

// checkAddresses judges what will be bound: each address by itself, and that no
// two are the same.
func (d *document) checkAddresses() {
	var bound []struct{ field, host, port string }
	one := func(field, address string) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			d.at(field, fmt.Sprintf("%s is not host:port", quote(address)), `such as ":8443", "127.0.0.1:8443" or "[::1]:8443"`)
			return
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 || strings.Trim(port, "0123456789") != "" {
			d.at(field, fmt.Sprintf("%s is not a port number", quote(port)), "0 to 65535; 0 takes a free one")
			return
		}
		if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
			d.at(field, fmt.Sprintf("%s is not an IP address", quote(host)), "leave the host out for all addresses of this machine")
			return
		}
		for _, b := range bound {
			if port != "0" && b.port == port && (b.host == host || isEvery(b.host) || isEvery(host)) {
				d.at(field, fmt.Sprintf("%s is taken by %s", address, b.field), "choose another port")
			}
		}
		bound = append(bound, struct{ field, host, port string }{field, host, port})
	}
	for i, l := range d.file.Listeners {
		one(fmt.Sprintf("listeners[%d].address", i), l.Address)
	}
	one("admin.address", cmp.Or(d.file.Admin.Address, defaultAdminAddress))
}

// isIPPort reports whether address is an IP address and a port.
func isIPPort(address string) bool {
	ap, err := netip.ParseAddrPort(address)
	return err == nil && ap.Port() != 0
}

// isEvery reports whether host stands for all addresses of the machine.
func isEvery(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }

func (d *document) checkDeny() {
	const one = "an entry has exactly one of: identity; serial with issuer_spki_sha256; spki_sha256"
	for i, entry := range d.file.Deny {
		field := fmt.Sprintf("deny[%d]", i)
		issuer := entry.IssuerSPKISHA256 != (Digest{})
		given := 0
		for _, is := range []bool{!entry.Identity.IsZero(), entry.Serial.set || issuer, entry.SPKISHA256 != (Digest{})} {
			if is {
				given++
			}
		}
		switch {
		case given == 0:
			d.at(field, "the entry denies nothing", one)
		case given > 1:
			d.at(field, "the entry names several things at once", one)
		case entry.Serial.set && !issuer:
			d.at(field, "a serial number is unique only to its issuer", "add issuer_spki_sha256; `gateway explain` prints it")
		case issuer && !entry.Serial.set:
			d.at(field, "the serial number is missing", "to deny everything that a CA issued, give its key as spki_sha256")
		}
	}
}

func (d *document) checkUpstreams(origins map[workloadid.Origin]bool, keys map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(d.file.Upstreams)) {
		u, field := d.file.Upstreams[name], join("upstreams", name)
		if !isName(name) {
			d.at(field, fmt.Sprintf("%s is not a name", quote(name)), nameHint)
		}
		if u.Certificate != nil {
			d.checkCredential(field+".certificate", *u.Certificate, keys)
			if u.Plaintext {
				d.at(field+".certificate", "a plaintext upstream is shown no certificate", "remove certificate, or plaintext")
			}
		}
		if u.TrustedHop && !u.Plaintext {
			d.at(field+".trusted_hop", "a hop with mutual TLS is trusted already", "remove it; it is for plaintext upstreams")
		}
		d.checkVerify(field, &u, origins)
		for i, endpoint := range u.Endpoints {
			d.checkEndpoint(fmt.Sprintf("%s.endpoints[%d]", field, i), endpoint, &u)
			if slices.Contains(u.Endpoints[:i], endpoint) {
				d.at(fmt.Sprintf("%s.endpoints[%d]", field, i), fmt.Sprintf("%s is in the list already", quote(endpoint)), "name it once")
			}
		}
		for i, form := range u.Handoff {
			if slices.Contains(u.Handoff[:i], form) {
				d.at(fmt.Sprintf("%s.handoff[%d]", field, i), fmt.Sprintf("%q is in the list already", form), "name it once")
			}
		}
	}
}

// checkVerify asks for exactly one way to know the backend.
//
// UP-03: any certificate of a trust domain is not proof of being the backend.
func (d *document) checkVerify(field string, u *Upstream, origins map[workloadid.Origin]bool) {
	v, verify := &u.Verify, field+".verify"
	identity, both := v.Identity, v.DNSAndIdentity
	switch {
	case u.Plaintext && (!identity.IsZero() || both != nil || v.IdentityOnlyOverDNS):
		d.at(verify, "a plaintext upstream cannot prove who it is", "remove verify, or plaintext")
		return
	case u.Plaintext:
		return
	case identity.IsZero() && both == nil:
		d.at(verify, "the backend's identity is missing",
			"give verify: {identity: …} or {dns_and_identity: …}; or plaintext: true for a loopback address or unix socket")
	case !identity.IsZero() && both != nil:
		d.at(verify, "expected exactly one of identity and dns_and_identity", "dns_and_identity is the stricter one")
	case both != nil && v.IdentityOnlyOverDNS:
		d.at(verify+".identity_only_over_dns", "dns_and_identity compares names, identity_only_over_dns does not", "remove one of them")
	}
	if !identity.IsZero() {
		d.checkOrigin(verify+".identity", identity.Origin(), origins)
	}
	if both != nil {
		d.checkOrigin(verify+".dns_and_identity.identity", both.Identity.Origin(), origins)
		if !isReferenceName(both.DNS) {
			d.at(verify+".dns_and_identity.dns", fmt.Sprintf("%s is neither a DNS name nor an IP address", quote(both.DNS)), "without wildcard, scheme and port")
		}
	}
}

// isReferenceName reports whether a certificate can be for name: an IP address, or
// a DNS name that is no pattern (RFC 9525 §6.1).
func isReferenceName(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return !strings.HasPrefix(name, "*") && isServerName(strings.ToLower(name))
}

// checkEndpoint judges an address against what the upstream says about TLS.
func (d *document) checkEndpoint(field, endpoint string, u *Upstream) {
	if path, ok := strings.CutPrefix(endpoint, "unix:"); ok {
		if path == "" {
			d.at(field, fmt.Sprintf("%s has no path", quote(endpoint)), "such as unix:/run/api.sock")
		}
		return
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil || host == "" {
		d.at(field, fmt.Sprintf("%s is not host:port", quote(endpoint)), "such as 10.1.0.5:8443, api.internal:8443 or unix:/run/api.sock")
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		d.at(field, fmt.Sprintf("%s is not a port number", quote(port)), "1 to 65535")
	}
	address, err := netip.ParseAddr(host)
	literal := err == nil
	switch {
	case !literal && !isReferenceName(host):
		d.at(field, fmt.Sprintf("%s is neither a DNS name nor an IP address", quote(host)), "")
	case u.Plaintext && (!literal || !address.Unmap().IsLoopback()):
		// UP-14. Not even "localhost": what a name resolves to is not ours to promise.
		d.at(field, fmt.Sprintf("%s cannot be plaintext, because requests carry the caller's identity", endpoint), "use TLS; or a loopback address such as 127.0.0.1, or a unix socket")
	case !u.Plaintext && !literal && u.Verify.DNSAndIdentity == nil && !u.Verify.Identity.IsZero() && !u.Verify.IdentityOnlyOverDNS:
		// UP-01: who is found by name has to be certified for the name.
		d.at(field, fmt.Sprintf("%s is found by DNS, so its name has to be verified as well", endpoint), "use verify: {dns_and_identity: …}, an IP address, or identity_only_over_dns: true")
	}
}

func (d *document) checkTelemetry() {
	t := d.file.Telemetry
	if t.OTLP != "" {
		u, err := url.Parse(t.OTLP)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			// Not repeated: it may hold a password.
			d.at("telemetry.otlp", "not a URL such as http://127.0.0.1:4318", "http or https, host and port; without user, query and fragment")
		}
	}
	if r := t.TraceRatio; r != nil && !(*r >= 0 && *r <= 1) {
		d.at("telemetry.trace_ratio", fmt.Sprintf("%v is not between 0 and 1", *r), "0.01 is one request in a hundred")
	}
}

// compileRoutes checks routes and rules and compiles them.
func (d *document) compileRoutes(c *Config, origins map[workloadid.Origin]bool) {
	var routes []routing.Route
	allow := map[string][]policy.Rule{}
	for i, r := range d.file.Routes {
		field := fmt.Sprintf("routes[%d]", i)
		if _, ok := d.file.Upstreams[r.Upstream]; !ok {
			d.at(field+".upstream", fmt.Sprintf("there is no upstream %s", quote(r.Upstream)),
				didYouMean(r.Upstream, slices.Sorted(maps.Keys(d.file.Upstreams))))
		}
		if !r.Match.Caller.IsZero() {
			d.checkOrigin(field+".match.caller", r.Match.Caller.Origin(), origins)
		}
		routes = append(routes, d.route(field, i, r))
		for j, a := range r.Allow {
			field := fmt.Sprintf("%s.allow[%d]", field, j)
			d.checkOrigin(field+".caller", a.Caller.Origin(), origins)
			d.checkMAAL(field+".require.maal", a.Require.MAAL)
			if a.Name == "" {
				a.Name = fmt.Sprintf("%s[%d]", r.Name, j)
			}
			allow[r.Name] = append(allow[r.Name], policy.Rule{
				Name: a.Name, Caller: a.Caller.Pattern, Methods: a.Methods,
				Require: assurance.Requirement{MIAL: assurance.MIAL(a.Require.MIAL), MAAL: maal(a.Require.MAAL)},
			})
		}
	}
	var err error
	if c.routes, err = routing.Compile(routes); err != nil {
		d.routeFaults(err)
		return // rules are compiled for the routes
	}
	rules := policy.Options{Allow: allow}
	for _, entry := range d.file.Deny {
		// The deny-list refuses them in the handshake already. Here it also wins over
		// every rule for whoever is connected, and `gateway explain` says so.
		if !entry.Identity.IsZero() {
			rules.Deny = append(rules.Deny, policy.DenyRule{Caller: entry.Identity.Pattern})
		}
	}
	if c.policy, err = policy.Compile(rules, c.routes); err != nil {
		d.ruleFaults(err)
	}
}

// routeFaults reports what the routing room says where it stands in the file.
func (d *document) routeFaults(err error) {
	index := map[string]int{} // of the first route of a name
	for i, r := range slices.Backward(d.file.Routes) {
		index[r.Name] = i
	}
	for fault := range faults[*routing.Error](err) {
		route := fmt.Sprintf("routes[%d]", fault.Index)
		m := d.file.Routes[fault.Index].Match
		switch fault.Reason {
		case routing.ReasonDuplicateName:
			d.at(route+".name", fmt.Sprintf("there is another route %q%s", fault.Route, d.inLine(fmt.Sprintf("routes[%d]", index[fault.Route]))), "names must differ")
		case routing.ReasonConflict:
			other := fmt.Sprintf("routes[%d]", index[fault.Other])
			d.at(route, fmt.Sprintf("route %q is as specific as route %q%s, and one request could match both", fault.Route, fault.Other, d.inLine(other)),
				"make host, SNI, path or caller of one more specific, or their methods disjoint, or ask for different values of one header")
		case routing.ReasonHost:
			d.at(route+".match.host", quote(fault.Value)+": "+fault.Reason.String(), "")
		case routing.ReasonSNI:
			d.at(route+".match.sni", quote(fault.Value)+": "+fault.Reason.String(), "")
		case routing.ReasonMethod:
			d.at(fmt.Sprintf("%s.match.methods[%d]", route, slices.Index(m.Methods, fault.Value)), quote(fault.Value)+": "+fault.Reason.String(), "")
		case routing.ReasonHeader:
			d.at(route+".match.headers", quote(fault.Value)+": "+fault.Reason.String(), "")
		case routing.ReasonPath:
			field := route + ".match.path"
			if m.PathExact != "" {
				field += "_exact"
			}
			d.at(field, quote(fault.Value)+": "+fault.Reason.String(), "")
		default:
			d.at(route, fault.Reason.String(), "")
		}
	}
}

// inLine returns " (line N)" for where field stands.
func (d *document) inLine(field string) string {
	if place, ok := d.placeOf(field); ok {
		return fmt.Sprintf(" (line %d)", place.line)
	}
	return ""
}

// ruleFaults reports what the policy room says where it stands in the file.
func (d *document) ruleFaults(err error) {
	for fault := range faults[*policy.Error](err) {
		i := slices.IndexFunc(d.file.Routes, func(r Route) bool { return r.Name == fault.Route })
		field := fmt.Sprintf("routes[%d].allow[%d]", i, fault.Index)
		if fault.Fault == policy.FaultMethod {
			field += ".methods"
		}
		d.at(field, fault.Fault.String(), "")
	}
}

// faults yields every E that err joins.
func faults[E error](err error) func(yield func(E) bool) {
	return func(yield func(E) bool) {
		all := []error{err}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			all = joined.Unwrap()
		}
		for _, one := range all {
			if fault, ok := errors.AsType[E](one); ok && !yield(fault) {
				return
			}
		}
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
	for _, name := range slices.Sorted(maps.Keys(r.Match.Headers)) {
		if handoff.Reserved([]byte(name)) {
			// Callers' fields of these names are gone before routes are matched.
			d.at(join(field+".match.headers", name), "the header is reserved for the gateway and removed from requests, so no request can match", "match the caller instead")
		}
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
