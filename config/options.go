package config

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
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

// CredentialFile says where a certificate and its key are. Name is how
// [Deps.Credential] is asked for it.
type CredentialFile struct {
	Name, CertPath, KeyPath string
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

// Credentials returns every certificate file that is named, each once.
func (c *Config) Credentials() []CredentialFile {
	var all []CredentialFile
	for _, k := range c.credentials() {
		if k.WorkloadAPI == "" {
			all = append(all, CredentialFile{Name: k.name(), CertPath: c.path(k.CertFile), KeyPath: c.path(k.KeyFile)})
		}
	}
	return all
}

// CredentialNames returns what [Deps.Credential] may be asked for, files and
// Workload APIs alike.
func (c *Config) CredentialNames() []string {
	var all []string
	for _, k := range c.credentials() {
		all = append(all, k.name())
	}
	return all
}

// credentials returns every credential of the file, each once.
func (c *Config) credentials() []Credential {
	var all []Credential
	add := func(k Credential) {
		if !slices.ContainsFunc(all, func(other Credential) bool { return other.name() == k.name() }) {
			all = append(all, k)
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

// name is what a credential is called in [Deps.Credential] and in the eyes of the
// operator.
func (k Credential) name() string {
	if k.WorkloadAPI != "" {
		return strings.TrimSuffix(k.WorkloadAPI+"#"+k.Identity, "#")
	}
	return k.CertFile
}

// Deps is what the rooms get that does not come out of the file.
type Deps struct {
	Trust      *trust.Store
	Cache      *verifycache.Cache
	Telemetry  *telemetry.Telemetry
	Log        *slog.Logger
	Credential func(name string) trust.CredentialSource
	// Secret yields what the secret file of that name, as it is written, says.
	Secret func(name string) trust.SecretSource
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

// Scopes returns what each listener admits, by its name.
func (c *Config) Scopes() (map[string]*verifycache.Scope, error) {
	all := make(map[string]*verifycache.Scope, len(c.File.Listeners))
	for i := range c.File.Listeners {
		scope, err := c.File.Listeners[i].Scope()
		if err != nil {
			return nil, fmt.Errorf("listeners[%d]: %w", i, err)
		}
		all[c.File.Listeners[i].Name] = scope
	}
	return all, nil
}

// curves returns the key exchanges of a listener, nil for [tlsterm.DefaultCurves].
func (l *Listener) curves() []tls.CurveID {
	var curves []tls.CurveID
	for _, name := range l.TLSGroups {
		curve, _ := tlsterm.Group(name) // the decoder admits no other
		curves = append(curves, curve)
	}
	return curves
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
	tickets, err := c.tickets(deps)
	if err != nil {
		return gateway.Options{}, fmt.Errorf("resumption: %w", err)
	}
	if shared := c.File.SharedCredentials; shared.Detect {
		o.Detector, err = assurance.NewDetector(assurance.DetectorOptions{
			MaxIdentitiesPerKey: shared.MaxIdentitiesPerKey,
			MaxNetworksPerLeaf:  shared.MaxNetworksPerLeaf,
			Window:              time.Duration(shared.Window),
		})
		if err != nil {
			return gateway.Options{}, fmt.Errorf("shared_credentials: %w", err)
		}
	}
	for i := range c.File.Listeners {
		l := &c.File.Listeners[i]
		scope, err := l.Scope()
		if err != nil {
			return gateway.Options{}, fmt.Errorf("listeners[%d]: %w", i, err)
		}
		credentials := map[string]trust.CredentialSource{"": deps.Credential(l.Certificate.name())}
		for _, s := range l.ServerNames {
			for _, name := range s.Names {
				credentials[name] = deps.Credential(s.Certificate.name())
			}
		}
		var proxies []netip.Prefix
		for _, n := range l.ProxyProtocolFrom {
			proxies = append(proxies, n.Prefix)
		}
		o.Listeners = append(o.Listeners, gateway.ListenerOptions{
			TLS: tlsterm.Options{
				Name: l.Name, Address: l.Address, Scope: scope, Credentials: credentials,
				AllowTLS12: l.AllowTLS12, Curves: l.curves(), SendCANames: l.SendCANames, AdmitRejected: l.AdmitRejected,
				ProxyProtocolFrom: proxies,
				FirstByteTimeout:  time.Duration(l.Limits.FirstByteTimeout),
				HandshakeTimeout:  time.Duration(l.Limits.HandshakeTimeout),
				MaxHandshakes:     l.Limits.MaxHandshakes,
				MaxConns:          l.Limits.MaxConnections,
				MaxConnsPerClient: l.Limits.MaxConnectionsPerClient,
				MaxConnAge:        time.Duration(l.Limits.MaxConnectionAge),
				Tickets:           tickets,
			},
			HTTP1:        l.HTTP1(),
			IdleTimeout:  time.Duration(l.HTTP.IdleTimeout),
			BodyTimeout:  time.Duration(l.HTTP.BodyTimeout),
			WriteTimeout: time.Duration(l.HTTP.WriteTimeout),
		})
	}
	return o, nil
}

// tickets returns what session tickets are sealed by, nil if there are to be none.
func (c *Config) tickets(deps Deps) (*tlsterm.Tickets, error) {
	r := c.File.Resumption
	if r.Disabled {
		return nil, nil
	}
	o := tlsterm.TicketOptions{Rotation: time.Duration(r.Rotation), MaxSessionAge: time.Duration(r.MaxAge)}
	if c.SecretPath() != "" {
		o.Secrets = deps.Secret(r.SecretFile)
	}
	return tlsterm.NewTickets(o)
}

// MaxSessionAge is how long after its client proved its key a session may be
// resumed.
func (c *Config) MaxSessionAge() time.Duration {
	return cmp.Or(time.Duration(c.File.Resumption.MaxAge), tlsterm.DefaultMaxSessionAge)
}

// SecretPath is where the secrets of session tickets are, "" if the process makes
// its own.
func (c *Config) SecretPath() string {
	if name := c.File.Resumption.SecretFile; name != "" && !c.File.Resumption.Disabled {
		return c.path(name)
	}
	return ""
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
	credential := deps.Credential(own.name())
	hop := handoff.HopTo(u.Plaintext, u.Endpoints...)
	if u.TrustedHop {
		hop = handoff.Trusted
	}
	limits := []handoff.Limit{c.ownLimit(credential, deps.Trust), hop.Grade}
	conveyed, err := conveyance(u.Handoff, own.name(), credential, limits)
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

// ownLimit is how well assured this gateway is: as the file says, or else as its
// own credential is graded.
func (c *Config) ownLimit(credential trust.CredentialSource, store *trust.Store) handoff.Limit {
	if own := c.File.OwnAssurance; own != nil {
		grade := assurance.Grade{MIAL: assurance.MIAL(own.MIAL), MAAL: maal(own.MAAL)}
		return func(time.Time) assurance.Grade { return grade }
	}
	return handoff.NewOwn(credential, store).Grade
}

// conveyance returns how callers are conveyed, nil for not at all.
//
// FWD-12: what the workload form says about a caller is worth what its teller is
// worth, so a gateway that cannot name itself must not use it.
func conveyance(words []string, name string, own trust.CredentialSource, limits []handoff.Limit) (*handoff.Handoff, error) {
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
		return nil, fmt.Errorf("handoff: the form workload tells backends who asserts the caller's identity, and the gateway's certificate, %s, has no identifier; "+
			"use a certificate with one, such as spiffe://prod.example/edge, or leave workload out", name)
	}
	return handoff.New(forms, id, limits...), nil
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
