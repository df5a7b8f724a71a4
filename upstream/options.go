package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

// Verify says how a backend proves itself. There are two modes and no fallback
// from one to the other (OQ-03):
//
//   - Identity alone: the backend is found by address (UP-02).
//   - Identity and DNSName: both have to be right (UP-01).
type Verify struct {
	// Identity selects the identifiers that the backend may have. An exact one
	// is best (UP-06). Required unless the upstream is plain: any certificate of
	// a trust domain proves nothing (UP-03).
	Identity workloadid.Pattern
	// DNSName is the name (RFC 9525) or the IP address (UP-08) that the leaf has
	// to carry in its subject alternative name as well. It is also what is sent
	// as SNI. "" compares the identity only.
	DNSName string
	// IdentityOnlyOverDNS accepts endpoints with host names while DNSName is "".
	// The names are then only a way to find addresses; what keeps an impostor
	// away is the identity alone. It exists for deployments whose certificates
	// carry no DNS names, and is off by default (OQ-03).
	IdentityOnlyOverDNS bool
}

// Options describes an upstream. Zero values get the defaults named.
type Options struct {
	Name      string
	Endpoints []string // "host:port", "[::1]:port", "unix:/path"
	// Plain forwards without TLS. Only IP literals of the loopback network and
	// unix sockets can be plain, because identities travel in the requests
	// (UP-14).
	Plain      bool
	Verify     Verify
	Balance    string                 // "round_robin" (default), "least_request"
	Credential trust.CredentialSource // the gateway's own (UP-10); required unless Plain
	Trust      *trust.Store           // required unless Plain
	Cache      *verifycache.Cache     // required unless Plain

	ConnectTimeout  time.Duration    // 2 s, TCP and TLS together, per endpoint
	ResponseTimeout time.Duration    // 30 s, from the end of the request to the end of the response header
	IdleTimeout     time.Duration    // 15 s: idle connection kept
	BodyIdleTimeout time.Duration    // 30 s between two reads or writes of a streamed body
	MaxConns        int              // per endpoint; 1024
	Now             func() time.Time // what certificates are judged by; time.Now
}

// The ways of choosing an endpoint.
const (
	balanceRoundRobin   = "round_robin"
	balanceLeastRequest = "least_request"
)

// withDefaults returns o with its zero values filled in, or what is wrong with
// it, in words that say what to do.
func (o Options) withDefaults() (Options, error) {
	if len(o.Endpoints) == 0 {
		return o, errors.New("there are no endpoints")
	}
	switch o.Balance {
	case "":
		o.Balance = balanceRoundRobin
	case balanceRoundRobin, balanceLeastRequest:
	default:
		return o, fmt.Errorf("balance %q is neither %s nor %s", o.Balance, balanceRoundRobin, balanceLeastRequest)
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		unset time.Duration
	}{
		{"connect", &o.ConnectTimeout, 2 * time.Second},
		{"response", &o.ResponseTimeout, 30 * time.Second},
		{"idle", &o.IdleTimeout, 15 * time.Second},
		{"body idle", &o.BodyIdleTimeout, 30 * time.Second},
	} {
		if *d.value < 0 {
			return o, fmt.Errorf("the %s time-out is negative", d.name)
		}
		*d.value = cmp.Or(*d.value, d.unset)
	}
	if o.MaxConns < 0 {
		return o, errors.New("the connection limit is negative")
	}
	o.MaxConns = cmp.Or(o.MaxConns, 1024)
	if o.Plain {
		if !o.Verify.Identity.IsZero() || o.Verify.DNSName != "" {
			return o, errors.New("a plain upstream cannot prove an identity: remove plain, or remove verify")
		}
	} else if err := o.checkVerify(); err != nil {
		return o, err
	}
	return o, nil
}

func (o *Options) checkVerify() error {
	switch {
	case o.Verify.Identity.IsZero():
		return errors.New("the backend's identity is not given: set verify, or for a loopback backend without TLS set plain")
	case o.Credential == nil:
		return errors.New("there is no credential to present to the backend")
	case o.Trust == nil || o.Cache == nil:
		return errors.New("there is no trust to judge the backend by")
	case o.Verify.DNSName != "" && o.Verify.IdentityOnlyOverDNS:
		return errors.New("a DNS name to compare excludes the mode that compares none")
	}
	if name := o.Verify.DNSName; name != "" && !isReferenceName(name) {
		return fmt.Errorf("%q is neither a DNS name nor an IP address that a certificate could be compared with", name)
	}
	return nil
}

// isReferenceName reports whether name can be looked for in a certificate: an
// IP literal, or a DNS name in its presentation form without wildcards (RFC 9525
// §6.1: a reference identifier is a source domain, not a pattern).
func isReferenceName(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

// parseEndpoint reads one endpoint and checks it against what o allows.
func (o *Options) parseEndpoint(s string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" {
			return "", "", fmt.Errorf("endpoint %q has no path", s)
		}
		return "unix", path, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", "", fmt.Errorf("endpoint %q is neither host:port nor unix:/path: %w", s, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", fmt.Errorf("endpoint %q has no port number", s)
	}
	literal, notLiteral := netip.ParseAddr(host)
	switch {
	case host == "":
		return "", "", fmt.Errorf("endpoint %q has no host", s)
	case o.Plain && (notLiteral != nil || !literal.Unmap().IsLoopback()):
		// Also "localhost": what a name resolves to is not ours to promise.
		return "", "", fmt.Errorf("endpoint %q cannot be plain: requests carry the caller's identity, so use TLS, "+
			"or a loopback address like 127.0.0.1 or [::1], or unix:/path", s)
	case !o.Plain && notLiteral != nil && o.Verify.DNSName == "" && !o.Verify.IdentityOnlyOverDNS:
		return "", "", fmt.Errorf("endpoint %q is found by DNS, so its name has to be verified as well: "+
			"verify dns_and_identity, or use an IP address", s)
	}
	return "tcp", s, nil
}
