package config

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"verigate/assurance"
	"verigate/gateway"
	"verigate/handoff"
	"verigate/http1gate"
	"verigate/telemetry"
	"verigate/tlsterm"
	"verigate/trust"
	"verigate/upstream"
	"verigate/verifycache"
	"verigate/workloadid"
)

// TrustDomainFile says where the anchors of an origin are and by what rules its
// peers are judged.
type TrustDomainFile struct {
	Origin  workloadid.Origin
	Path    string
	Options trust.BundleOptions // without anchors
}

// CredentialFile says where a certificate and its key are. Name is how
// [Deps.Credential] is asked for it.
type CredentialFile struct {
	Name, CertPath, KeyPath string
}

// TrustDomains returns the sources of trust in the order of their origins.
func (c *Config) TrustDomains() ([]TrustDomainFile, error) {
	var all []TrustDomainFile
	for _, name := range slices.Sorted(maps.Keys(c.File.TrustDomains)) {
		td := c.File.TrustDomains[name]
		origin, err := workloadid.ParseOrigin(name)
		if err != nil {
			return nil, err // check has seen to it
		}
		o := trust.BundleOptions{
			MaxCertificateLifetime: time.Duration(td.MaxCertificateLifetime),
			RequireEKU:             td.RequireEKU,
			LenientKeyUsage:        td.LenientKeyUsage,
			LenientSubject:         td.LenientSubject,
			NotBeforeSkew:          time.Duration(td.NotBeforeSkew),
			SharedAnchor:           td.SharedAnchor,
		}
		if o.Assurance, err = grading(td); err != nil {
			return nil, fmt.Errorf("trust_domains.%s.assurance: %w", name, err)
		}
		all = append(all, TrustDomainFile{Origin: origin, Path: c.path(td.Anchors.File), Options: o})
	}
	return all, nil
}

func grading(td TrustDomain) (*assurance.Profile, error) {
	o := assurance.Options{MaxLifetime: time.Duration(td.AssuranceMaxLifetime)}
	for _, s := range td.Assurance {
		o.Statements = append(o.Statements, assurance.Statement{
			IssuerSPKI: s.IssuerSPKISHA256, PolicyOID: s.PolicyOID,
			MIAL: assurance.MIAL(s.MIAL), MAAL: maal(s.MAAL),
		})
	}
	return assurance.Compile(o)
}

// Deny returns the entries of the deny-list.
func (c *Config) Deny() trust.DenyOptions {
	var o trust.DenyOptions
	for _, entry := range c.File.Deny {
		switch {
		case !entry.Identity.IsZero():
			o.Identities = append(o.Identities, entry.Identity.Pattern)
		case entry.Serial.set:
			o.Serials = append(o.Serials, trust.IssuerSerial{IssuerSPKI: trust.Digest(entry.IssuerSPKISHA256), Serial: entry.Serial.octets})
		default:
			o.Keys = append(o.Keys, trust.Digest(entry.SPKISHA256))
		}
	}
	return o
}

// Credentials returns every certificate that the file names, each once.
func (c *Config) Credentials() []CredentialFile {
	var all []CredentialFile
	seen := map[string]bool{}
	add := func(k Credential) {
		if !seen[k.CertFile] {
			seen[k.CertFile] = true
			all = append(all, CredentialFile{Name: k.CertFile, CertPath: c.path(k.CertFile), KeyPath: c.path(k.KeyFile)})
		}
	}
	for _, l := range c.File.Listeners {
		add(l.Certificate)
		for _, s := range l.ServerNames {
			add(s.Certificate)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.File.Upstreams)) {
		if k := c.File.Upstreams[name].Certificate; k != nil {
			add(*k)
		}
	}
	return all
}

// Deps is what the rooms get that does not come out of the file.
type Deps struct {
	Trust      *trust.Store
	Cache      *verifycache.Cache
	Telemetry  *telemetry.Telemetry
	Log        *slog.Logger
	Credential func(name string) trust.CredentialSource
}

// CacheOptions returns the options of the verification cache.
func (c *Config) CacheOptions() verifycache.Options {
	return verifycache.Options{
		Disabled:   c.File.Cache.Disabled,
		MaxEntries: c.File.Cache.MaxEntries,
		MaxAge:     time.Duration(c.File.Cache.MaxAge),
	}
}

// Origins returns the origins that the file knows, in order.
func (c *Config) Origins() []workloadid.Origin {
	var all []workloadid.Origin
	for _, name := range slices.Sorted(maps.Keys(c.File.TrustDomains)) {
		if origin, err := workloadid.ParseOrigin(name); err == nil {
			all = append(all, origin)
		}
	}
	return all
}

// Scope returns what a listener admits.
func (l *Listener) Scope() (*verifycache.Scope, error) {
	origins := make([]workloadid.Origin, len(l.TrustDomains))
	for i, o := range l.TrustDomains {
		origins[i] = o.Origin
	}
	return verifycache.NewScope(l.Name, origins)
}

// defaultMethods are what a listener lets pass that does not say otherwise.
var defaultMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// HTTP1 returns what a listener lets pass as a request.
func (l *Listener) HTTP1() http1gate.Limits {
	return http1gate.Limits{
		Methods: l.methods(), MaxHeaderBytes: l.HTTP.MaxHeaderBytes, MaxFields: l.HTTP.MaxFields,
		HeaderTimeout: time.Duration(l.HTTP.HeaderTimeout),
	}
}

func (l *Listener) methods() []string {
	if l.HTTP.Methods == nil {
		return defaultMethods
	}
	return l.HTTP.Methods
}

// Gateway returns the options of the gateway.
func (c *Config) Gateway(deps Deps) (gateway.Options, error) {
	o := gateway.Options{
		Trust: deps.Trust, Cache: deps.Cache, Telemetry: deps.Telemetry, Log: deps.Log,
		HandshakeTokens: c.File.HandshakeTokens,
	}
	for i := range c.File.Listeners {
		l := &c.File.Listeners[i]
		scope, err := l.Scope()
		if err != nil {
			return gateway.Options{}, fmt.Errorf("listeners[%d]: %w", i, err)
		}
		credentials := map[string]trust.CredentialSource{"": deps.Credential(l.Certificate.CertFile)}
		for _, s := range l.ServerNames {
			for _, name := range s.Names {
				credentials[name] = deps.Credential(s.Certificate.CertFile)
			}
		}
		var proxies []netip.Prefix
		for _, n := range l.ProxyProtocolFrom {
			proxies = append(proxies, n.Prefix)
		}
		o.Listeners = append(o.Listeners, gateway.ListenerOptions{
			TLS: tlsterm.Options{
				Name: l.Name, Address: l.Address, Scope: scope, Credentials: credentials,
				AllowTLS12: l.AllowTLS12, SendCANames: l.SendCANames, AdmitRejected: l.AdmitRejected,
				ProxyProtocolFrom: proxies,
				FirstByteTimeout:  time.Duration(l.Limits.FirstByteTimeout),
				HandshakeTimeout:  time.Duration(l.Limits.HandshakeTimeout),
				MaxHandshakes:     l.Limits.MaxHandshakes,
				MaxConns:          l.Limits.MaxConnections,
				MaxConnsPerClient: l.Limits.MaxConnectionsPerClient,
				MaxConnAge:        time.Duration(l.Limits.MaxConnectionAge),
			},
			HTTP1:        l.HTTP1(),
			IdleTimeout:  time.Duration(l.HTTP.IdleTimeout),
			BodyTimeout:  time.Duration(l.HTTP.BodyTimeout),
			WriteTimeout: time.Duration(l.HTTP.WriteTimeout),
		})
	}
	return o, nil
}

// Program returns routes, policy and upstreams, ready to be put in force. On error
// no upstream is left behind.
func (c *Config) Program(deps Deps) (p *gateway.Program, err error) {
	backends := map[string]*gateway.Backend{}
	defer func() {
		if err != nil {
			for _, b := range backends {
				b.Upstream.Close(context.Background()) // it has no requests to wait for
			}
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(c.File.Upstreams)) {
		backend, err := c.backend(name, deps)
		if err != nil {
			return nil, fmt.Errorf("upstreams.%s: %w", name, err)
		}
		backends[name] = backend
	}
	return gateway.NewProgram(c.routes, c.policy, backends)
}

func (c *Config) backend(name string, deps Deps) (*gateway.Backend, error) {
	u := c.File.Upstreams[name]
	own := c.File.Listeners[0].Certificate
	if u.Certificate != nil {
		own = *u.Certificate
	}
	credential := deps.Credential(own.CertFile)
	conveyed, err := conveyance(u.Handoff, own.CertFile, credential)
	if err != nil {
		return nil, err
	}
	o := upstream.Options{
		Name: name, Endpoints: u.Endpoints, Plain: u.Plaintext, Balance: u.Balance,
		Credential: credential, Trust: deps.Trust, Cache: deps.Cache,
		ConnectTimeout:  time.Duration(u.Timeouts.Connect),
		ResponseTimeout: time.Duration(u.Timeouts.Response),
		IdleTimeout:     time.Duration(u.Timeouts.Idle),
		BodyIdleTimeout: time.Duration(u.Timeouts.Body),
		MaxConns:        u.MaxConnections,
		Verify: upstream.Verify{
			Identity: u.Verify.Identity.Pattern, IdentityOnlyOverDNS: u.Verify.IdentityOnlyOverDNS,
		},
	}
	if both := u.Verify.DNSAndIdentity; both != nil {
		o.Verify = upstream.Verify{Identity: both.Identity.Pattern, DNSName: both.DNS}
	}
	up, err := upstream.New(o)
	if err != nil {
		return nil, err
	}
	return &gateway.Backend{Upstream: up, Handoff: conveyed, Origin: o.Verify.Identity.Origin()}, nil
}

// conveyance returns how callers are conveyed, nil for not at all.
//
// FWD-12: what the workload form says about a caller is worth what its teller is
// worth, so a gateway that cannot name itself must not use it.
func conveyance(words []string, certFile string, own trust.CredentialSource) (*handoff.Handoff, error) {
	var forms handoff.Form
	for i, word := range words {
		form, ok := handoff.ParseForm(word)
		if !ok {
			return nil, fmt.Errorf("handoff[%d]: %q is unknown", i, word)
		}
		forms |= form
	}
	if forms == 0 {
		return nil, nil
	}
	id := own.Credential().ID()
	if forms&handoff.Workload != 0 && id.IsZero() {
		return nil, fmt.Errorf("handoff: the form workload tells backends who asserts the caller's identity, and the gateway's certificate in %s has no identifier; "+
			"use a certificate with one, such as spiffe://prod.example/edge, or leave workload out", certFile)
	}
	return handoff.New(forms, id), nil
}

// TelemetryOptions returns the options of telemetry.
func (c *Config) TelemetryOptions() telemetry.Options {
	t := c.File.Telemetry
	o := telemetry.Options{
		ServiceName: t.ServiceName, InstanceID: t.Instance, OTLPEndpoint: t.OTLP, HideIdentityPaths: t.HideIdentityPaths, TrustDomains: c.Origins(),
		Audit: telemetry.AuditOptions{OnFull: t.Audit.OnFull, Seal: t.Audit.Seal},
	}
	if t.TraceRatio != nil {
		o.TraceRatio = *t.TraceRatio
		if o.TraceRatio == 0 {
			o.TraceRatio = -1 // telemetry's way to say "none"
		}
	}
	if t.Audit.File != "" {
		o.Audit.File = c.path(t.Audit.File)
	}
	return o
}

// DrainTimeout is how long requests in flight may take to finish.
func (c *Config) DrainTimeout() time.Duration {
	if d := c.File.DrainTimeout; d != 0 {
		return time.Duration(d)
	}
	return 30 * time.Second
}

// AdminAddress is where the admin listener binds.
func (c *Config) AdminAddress() string {
	if a := c.File.Admin.Address; a != "" {
		return a
	}
	return defaultAdminAddress
}

const defaultAdminAddress = "127.0.0.1:9901"
