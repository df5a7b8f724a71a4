package tlsterm

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"verigate/trust"
	"verigate/verifycache"
)

// Defaults of [Options].
const (
	DefaultFirstByteTimeout = 3 * time.Second
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultMaxHandshakes    = 4096
	DefaultMaxConns         = 100_000
)

// DefaultCurves returns the key exchanges offered by default: the hybrid first
// (TLS-17), and without P-384, P-521 and SecP384r1MLKEM1024, which cost a server
// five to eight times what X25519 does and are chosen by a client that has not
// authenticated yet.
func DefaultCurves() []tls.CurveID {
	return []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256}
}

// Options of one [Listener]. Zero values get the defaults named. Cache, Trust,
// Scope and a default credential have none and are required.
type Options struct {
	// Name appears in records and metrics.
	Name string
	// Address is "host:port"; port 0 picks a free one.
	Address string

	// Cache judges the chains that clients present, by what Trust holds at that
	// moment and for the origins that Scope admits.
	Cache *verifycache.Cache
	Trust *trust.Store
	Scope *verifycache.Scope

	// Credentials are the gateway's own certificates by server name (SNI): an
	// exact name, or "*.suffix" for one label more. "" is the default and is
	// required. Each source is asked on every handshake, so that a rotation takes
	// effect on the next one and disturbs no connection (KEY-03).
	Credentials map[string]trust.CredentialSource
	// AllowTLS12 also admits TLS 1.2, which sends the client's certificate in the
	// clear (TLS-03).
	AllowTLS12 bool
	// Curves are the key exchanges admitted; the order has no effect.
	// [DefaultCurves] by default.
	Curves []tls.CurveID
	// NextProtos are the application protocols offered, {"http/1.1"} by default.
	// A client that asks for others only is refused; one that does not ask at all
	// is not (TLS-18, RFC 7301 §3.2).
	NextProtos []string
	// AdmitRejected finishes the handshake of a client whose chain is rejected, so
	// that HTTP can answer 403 with the reason. Its Conn has a nil Peer and a
	// non-nil Rejection, and lives for half a minute at most. A client that shows no
	// certificate or does not hold its key is refused all the same.
	AdmitRejected bool
	// SendCANames sends the subjects of the anchors of Scope's origins as a hint to
	// the client. It tells every scanner whom this gateway trusts (TLS-11), and is
	// left out when the names exceed 32 KiB, as clients fail on long lists.
	SendCANames bool

	// ProxyProtocolFrom are the networks of the load balancers in front. From these
	// a PROXY protocol header, version 1 or 2, is required; from everywhere else it
	// is refused like any other octets that are not TLS. Empty: off.
	ProxyProtocolFrom []netip.Prefix

	// FirstByteTimeout bounds the wait for the first octet of TLS, the PROXY header
	// included; 3 s.
	FirstByteTimeout time.Duration
	// HandshakeTimeout bounds everything from accept to the end of the handshake,
	// absolutely: no octet prolongs it; 10 s.
	HandshakeTimeout time.Duration
	// HandshakeTokens is how many handshakes may compute at the same time;
	// max(1, GOMAXPROCS/2). Unused if Limiter is set.
	HandshakeTokens int
	// MaxHandshakes bounds the handshakes in flight, 4 096. No client network gets
	// more than half of them.
	MaxHandshakes int
	// MaxConns bounds all connections, those in their handshake included; 100 000.
	MaxConns int
	// MaxConnsPerClient bounds the connections of one client network (an IPv4
	// address, an IPv6 /64). 0 sets no bound, as a whole cluster may stand behind
	// one address.
	MaxConnsPerClient int
	// MaxConnAge ends connections of this age. 0: only at the NotAfter of the
	// client's path, which always ends them (REV-06).
	MaxConnAge time.Duration

	// Limiter is shared by several listeners so that their handshakes compete for
	// the same CPU tokens; nil makes one of the listener's own.
	Limiter *Limiter
	// Tickets lets clients resume sessions; nil sends none. It may be shared by
	// several listeners, whose sessions do not mix.
	Tickets *Tickets
	// Observer is told what happens.
	Observer Observer
	// Now is the wall clock that certificates are judged by; time.Now.
	Now func() time.Time
}

// withDefaults returns o checked and completed; its maps and slices are copies.
func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Cache == nil:
		return o, errors.New("no verification cache")
	case o.Trust == nil:
		return o, errors.New("no trust store")
	case o.Scope == nil:
		return o, errors.New("no scope: a listener has to say whom it admits")
	case o.FirstByteTimeout < 0, o.HandshakeTimeout < 0, o.MaxConnAge < 0:
		return o, errors.New("negative duration")
	case o.HandshakeTokens < 0, o.MaxHandshakes < 0, o.MaxConns < 0, o.MaxConnsPerClient < 0:
		return o, errors.New("negative limit")
	}
	for _, network := range o.ProxyProtocolFrom {
		if !network.IsValid() {
			return o, errors.New("invalid network in ProxyProtocolFrom")
		}
		if network.Addr().Is4In6() { // addresses are compared unmapped
			return o, fmt.Errorf("network %v in ProxyProtocolFrom would match nobody; write IPv4 networks as such", network)
		}
	}
	for _, name := range o.NextProtos {
		if name == "" || len(name) > 255 {
			return o, fmt.Errorf("application protocol %q is not 1 to 255 octets long", name)
		}
	}
	credentials, err := normalCredentials(o.Credentials)
	if err != nil {
		return o, err
	}
	o.Credentials = credentials
	o.Curves = slices.Clone(o.Curves)
	o.NextProtos = slices.Clone(o.NextProtos)
	o.ProxyProtocolFrom = slices.Clone(o.ProxyProtocolFrom)

	if len(o.Curves) == 0 {
		o.Curves = DefaultCurves()
	}
	if len(o.NextProtos) == 0 {
		o.NextProtos = []string{"http/1.1"}
	}
	o.FirstByteTimeout = cmp.Or(o.FirstByteTimeout, DefaultFirstByteTimeout)
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, DefaultHandshakeTimeout)
	o.HandshakeTokens = cmp.Or(o.HandshakeTokens, max(1, runtime.GOMAXPROCS(0)/2))
	o.MaxHandshakes = cmp.Or(o.MaxHandshakes, DefaultMaxHandshakes)
	o.MaxConns = cmp.Or(o.MaxConns, DefaultMaxConns)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// normalCredentials returns m with its names in lower case.
func normalCredentials(m map[string]trust.CredentialSource) (map[string]trust.CredentialSource, error) {
	out := make(map[string]trust.CredentialSource, len(m))
	for name, source := range m {
		if source == nil {
			return nil, fmt.Errorf("credential for server name %q is nil", name)
		}
		lower := strings.ToLower(name)
		if _, ok := out[lower]; ok {
			return nil, fmt.Errorf("two credentials for server name %q", lower)
		}
		if suffix, ok := strings.CutPrefix(lower, "*."); ok && suffix == "" || strings.Contains(strings.TrimPrefix(lower, "*."), "*") {
			return nil, fmt.Errorf("server name %q: the only wildcard is a whole first label, as in \"*.example.com\"", name)
		}
		out[lower] = source
	}
	if out[""] == nil {
		return nil, errors.New("no default credential (server name \"\")")
	}
	return out, nil
}
