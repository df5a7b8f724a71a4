package workloadapi

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"time"

	"verigate/trust/mirror"
	"verigate/workloadid"
)

// The kinds of a [mirror.Status] of this package.
const (
	KindBundle     = "workload_api_bundle"
	KindCredential = "workload_api_credential"
)

// Defaults of [Options].
const (
	DefaultMinBackoff = time.Second
	DefaultMaxBackoff = 30 * time.Second // an agent that is back is noticed within that
	DefaultConfirm    = time.Minute
)

// Credential is an X.509-SVID that is wanted: the one with ID, or else the first of
// all.
type Credential struct {
	Name string // unique
	ID   workloadid.ID
}

// Options says what is wanted of which Workload API.
type Options struct {
	// Address is unix:///absolute/path or tcp://IP:port (SPIFFE Workload Endpoint §4).
	Address string
	// Bundles says where the bundle of each trust domain is kept. Those that the
	// gateway is in and those that it is federated with are treated alike.
	Bundles map[workloadid.Origin]string
	// Credentials are the SVIDs that are wanted. Without any, none is asked for.
	Credentials []Credential
	// Before is the source that this one takes over from, nil at first: credentials of
	// the same name keep their handle, and what it holds, until there is news. Its Run
	// must have ended.
	Before *Source
	// Changed, if set, is called when there is something new to read in a file, and
	// when a credential is another.
	Changed func()
	// OnAttempt, if set, is called for every bundle and credential after each message
	// and each failure, one call at a time, for logs and metrics.
	OnAttempt func(mirror.Status)
	// MinBackoff is the time from the first failure to the next attempt, which doubles
	// up to MaxBackoff. Zeros are the defaults.
	MinBackoff, MaxBackoff time.Duration
	// Confirm is how often the copies are confirmed while the stream stands; 0 is
	// DefaultConfirm.
	Confirm time.Duration
	// Now is the clock; nil is time.Now. Jitter yields numbers from 0 to below 1; nil
	// is random.
	Now    func() time.Time
	Jitter func() float64
}

func (o Options) withDefaults() Options {
	o.MinBackoff = cmp.Or(o.MinBackoff, DefaultMinBackoff)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, DefaultMaxBackoff)
	o.Confirm = cmp.Or(o.Confirm, DefaultConfirm)
	if o.Changed == nil {
		o.Changed = func() {}
	}
	if o.OnAttempt == nil {
		o.OnAttempt = func(mirror.Status) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	return o
}

func (o Options) check() error {
	var faults []error
	refuse := func(format string, args ...any) {
		faults = append(faults, &mirror.Error{Reason: mirror.ReasonOptions, Detail: fmt.Sprintf(format, args...)})
	}
	if _, err := target(o.Address); err != nil {
		faults = append(faults, err)
	}
	if o.MinBackoff < 0 || o.MaxBackoff < o.MinBackoff || o.Confirm < 0 {
		refuse("a span of time is negative, or the least back-off is above the greatest")
	}
	if len(o.Bundles)+len(o.Credentials) == 0 {
		refuse("nothing is wanted of the Workload API")
	}
	paths := map[string]bool{}
	for origin, path := range o.Bundles {
		switch {
		case origin.Scheme() != "spiffe":
			refuse("%s: the Workload API knows SPIFFE trust domains only", origin)
		case path == "" || paths[path]:
			refuse("%s: a bundle needs a path of its own", origin)
		}
		paths[path] = true
	}
	names := map[string]bool{}
	for _, c := range o.Credentials {
		switch {
		case c.Name == "" || names[c.Name]:
			refuse("a credential needs a name of its own; %s is not", mirror.Quote(c.Name))
		case !c.ID.IsZero() && !c.ID.HasPath():
			refuse("credential %s: %s is a trust domain, not a workload", c.Name, c.ID)
		}
		names[c.Name] = true
	}
	return errors.Join(faults...)
}

// target returns address as gRPC wants it. The scheme unix needs an absolute path
// and tcp an IP address: a name would have to be looked up before there is anything
// to judge the answer by.
func target(address string) (string, error) {
	refuse := func(detail string) (string, error) {
		return "", &mirror.Error{Reason: mirror.ReasonOptions, Detail: "the address " + mirror.Quote(address) + " " + detail}
	}
	u, err := url.Parse(address)
	if err != nil {
		return refuse("is not a URI")
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
		return refuse("has a user, a query, a fragment or no slashes")
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || len(u.Path) < 2 {
			return refuse("is not an absolute path, such as unix:///run/spire/agent.sock")
		}
		return "unix://" + u.Path, nil
	case "tcp":
		ip, err := netip.ParseAddrPort(u.Host)
		if err != nil || u.Path != "" || ip.Addr().Zone() != "" || ip.Port() == 0 {
			return refuse("is not an IP address and a port, such as tcp://127.0.0.1:8081")
		}
		return "passthrough:///" + ip.String(), nil
	}
	return refuse("has neither the scheme unix nor tcp")
}
