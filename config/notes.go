package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"verigate/workloadid"
)

// Notes lists what is allowed but probably not meant, and what weakens a default,
// in a stable order.
func (c *Config) Notes() []string {
	notes := c.policy.Notes()
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	used := map[workloadid.Origin]bool{}
	for _, l := range c.File.Listeners {
		for _, origin := range l.TrustDomains {
			used[origin.Origin] = true
		}
		if l.AllowTLS12 {
			note("listener %s: allow_tls12 shows client certificates to anyone on the path", l.Name)
		}
		if l.AdmitRejected {
			note("listener %s: admit_rejected finishes handshakes of clients that are not authenticated", l.Name)
		}
	}
	routed := map[string]bool{}
	for i, r := range c.File.Routes {
		routed[r.Upstream] = true
		c.noteMethods(fmt.Sprintf("routes[%d].match.methods", i), r.Match.Methods, note)
		for j, a := range r.Allow {
			c.noteMethods(fmt.Sprintf("routes[%d].allow[%d].methods", i, j), a.Methods, note)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.File.Upstreams)) {
		v := c.File.Upstreams[name].Verify
		used[v.Identity.Origin()] = true
		if v.DNSAndIdentity != nil {
			used[v.DNSAndIdentity.Identity.Origin()] = true
		}
		if c.File.Upstreams[name].TrustedHop {
			note("upstream %s: with trusted_hop whoever can listen at the endpoint in the backend's place is told callers' assurance in full", name)
		}
		if !routed[name] {
			note("upstream %s: no route leads to it", name)
		}
	}
	if len(c.File.Routes) == 0 {
		note("there are no routes: every request is answered with 404")
	}
	known := map[workloadid.Origin]bool{}
	for _, origin := range c.Origins() {
		known[origin] = true
		if !used[origin] {
			note("trust domain %s: no listener admits it and no upstream belongs to it", origin)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.File.TrustDomains)) {
		if crl := c.File.TrustDomains[name].CRL; crl != nil && crl.WhenStale == "accept-and-alarm" {
			note("trust domain %s: with when_stale: accept-and-alarm a CRL that is withheld never stops anybody", name)
		}
	}
	for i, entry := range c.File.Deny {
		if !entry.Identity.IsZero() && !known[entry.Identity.Origin()] {
			note("deny[%d]: %s is not under trust_domains, so nobody has such an identity anyway", i, entry.Identity.Origin())
		}
	}
	if c.File.Cache.Disabled {
		note("cache: disabled, so every handshake pays for a full verification")
	}
	if address := c.AdminAddress(); !isLoopback(address) {
		note("admin: %s is not a loopback address; whoever reaches it reads identities and metrics", address)
	}
	if u, err := url.Parse(c.File.Telemetry.OTLP); err == nil && u.Scheme == "http" && !isLoopback(u.Host) {
		note("telemetry: otlp goes to %s without TLS", u.Host)
	}
	return notes
}

// noteMethods tells of methods that no listener lets pass: typing errors, mostly,
// because the list of methods is open (RFC 9110 §16.1).
func (c *Config) noteMethods(field string, methods []string, note func(format string, args ...any)) {
	for _, m := range methods {
		if !slices.ContainsFunc(c.File.Listeners, func(l Listener) bool { return slices.Contains(l.methods(), m) }) {
			note("%s: no listener lets %s pass; see listeners[].http.methods", field, m)
		}
	}
}

// isLoopback reports whether address, with or without a port, stays on the machine.
func isLoopback(address string) bool {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		return ap.Addr().IsLoopback()
	}
	ip, err := netip.ParseAddr(strings.Trim(address, "[]"))
	return err == nil && ip.IsLoopback() || address == "localhost" || strings.HasPrefix(address, "localhost:")
}
