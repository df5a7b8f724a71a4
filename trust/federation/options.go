package federation

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"verigate/trust"
	"verigate/trust/mirror"
	"verigate/workloadid"
)

// Kind is what a [mirror.Status] of this package is of.
const Kind = "federation"

// Profile says how an endpoint proves who it is. The zero Profile is none.
type Profile string

// The profiles (SPIFFE Federation §5.2).
const (
	ProfileWeb    Profile = "https_web"
	ProfileSPIFFE Profile = "https_spiffe"
)

// Defaults and bounds of [Options].
const (
	DefaultInterval = 5 * time.Minute // for bundles without a refresh hint (BUN-06)
	DefaultTimeout  = 30 * time.Second
	// MaxBundleBytes bounds a bundle. A thousand anchors do not fit; one to five are
	// usual.
	MaxBundleBytes = 1 << 20
)

// Endpoint is where the bundle of one trust domain is served. URL, Profile and
// Origin are required.
type Endpoint struct {
	Origin  workloadid.Origin // what the bundle is of
	URL     string            // https, without user and fragment (FED-03)
	Profile Profile
	// ID is what the endpoint has to be with ProfileSPIFFE.
	ID workloadid.ID
	// BootstrapPath is a bundle of the trust domain of ID, PEM or JSON. It is needed
	// with ProfileSPIFFE, and read at every poll that it is used in.
	BootstrapPath string
	// RootsPath has the roots that an endpoint with ProfileWeb is judged by, as PEM,
	// read at every poll; "" is the system's.
	RootsPath string
	// Path is where the bundle is kept.
	Path string
}

// Options says which endpoints are polled, and how.
type Options struct {
	Endpoints []Endpoint
	// Changed, if set, is called when there is something new to read in a file. It may
	// be called concurrently.
	Changed func()
	// OnAttempt, if set, is called after every attempt, for logs and metrics. It may be
	// called concurrently.
	OnAttempt func(mirror.Status)
	// Interval is the time between polls of a bundle without a refresh hint; 0 is
	// DefaultInterval. Hints count between MinInterval and MaxInterval, and these
	// between trust.MinRefresh and trust.MaxRefresh, which are their defaults.
	Interval, MinInterval, MaxInterval time.Duration
	// HintGap is the least time between a poll and the next one for [Source.Hint]; 0 is
	// mirror.DefaultHintGap.
	HintGap time.Duration
	// Timeout bounds one fetch; 0 is DefaultTimeout.
	Timeout time.Duration
	// Now is the clock; nil is time.Now. Jitter yields numbers from 0 to below 1; nil
	// is random.
	Now    func() time.Time
	Jitter func() float64
	// Transport makes the transport of one fetch; nil is mirror.NewTransport. It must
	// use the configuration for every connection.
	Transport func(*tls.Config) http.RoundTripper
}

func (o Options) withDefaults() Options {
	o.Interval = cmp.Or(o.Interval, DefaultInterval)
	o.MinInterval = cmp.Or(o.MinInterval, trust.MinRefresh)
	o.MaxInterval = cmp.Or(o.MaxInterval, trust.MaxRefresh)
	o.HintGap = cmp.Or(o.HintGap, mirror.DefaultHintGap)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		o.Transport = mirror.NewTransport
	}
	return o
}

func (o Options) check() error {
	var faults []error
	refuse := func(name, detail string) {
		faults = append(faults, &mirror.Error{Reason: mirror.ReasonOptions, Detail: name + ": " + detail})
	}
	if o.Interval < 0 || o.MinInterval < 0 || o.MaxInterval < o.MinInterval || o.HintGap < 0 || o.Timeout < 0 {
		refuse("federation", "a span of time is negative, or the least interval is above the greatest")
	}
	origins, paths := map[workloadid.Origin]bool{}, map[string]bool{}
	for _, e := range o.Endpoints {
		name := e.Origin.String()
		if err := e.check(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
		if origins[e.Origin] || paths[e.Path] {
			refuse(name, "two endpoints have the same trust domain or the same copy")
		}
		origins[e.Origin], paths[e.Path] = true, true
	}
	return errors.Join(faults...)
}

// check asks for the three parameters, and for what the profile needs and nothing
// that it has no use for: whoever writes both may be mistaken about which counts.
func (e *Endpoint) check() error {
	refuse := func(detail string) error {
		return &mirror.Error{Reason: mirror.ReasonOptions, Detail: detail}
	}
	if e.Origin.IsZero() || e.URL == "" || e.Path == "" {
		return refuse("an endpoint needs a trust domain, a URL and a path for the copy")
	}
	if err := mirror.CheckURL(e.URL, "https"); err != nil {
		return err
	}
	switch e.Profile {
	case ProfileWeb:
		if !e.ID.IsZero() || e.BootstrapPath != "" {
			return refuse("the profile https_web has no use for an identity or a bootstrap bundle")
		}
		if e.RootsPath != "" {
			_, err := e.roots()
			return err
		}
	case ProfileSPIFFE:
		switch {
		case e.RootsPath != "":
			return refuse("the profile https_spiffe has no use for roots of the web")
		case e.ID.IsZero() || !e.ID.HasPath():
			return refuse("the profile https_spiffe needs the identity of the endpoint, with a path")
		case e.BootstrapPath == "":
			return refuse("the profile https_spiffe needs a bootstrap bundle")
		}
		_, err := e.bootstrap()
		return err
	default:
		return refuse(fmt.Sprintf("the profile is %s; want https_web or https_spiffe", mirror.Quote(string(e.Profile))))
	}
	return nil
}

// roots reads the roots of the web that the operator chose.
func (e *Endpoint) roots() (*x509.CertPool, error) {
	certificates, err := readFile("roots_file", e.RootsPath, workloadid.Origin{})
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, certificate := range certificates {
		pool.AddCert(certificate)
	}
	return pool, nil
}

// bootstrap reads the bundle that the endpoint is judged by at first.
func (e *Endpoint) bootstrap() ([]*x509.Certificate, error) {
	return readFile("bootstrap_file", e.BootstrapPath, e.ID.Origin())
}

// readFile returns the certificates of a file that the operator keeps; at least one.
// name is that of the option.
func readFile(name, path string, origin workloadid.Origin) ([]*x509.Certificate, error) {
	refuse := func(detail string, err error) ([]*x509.Certificate, error) {
		return nil, &mirror.Error{Reason: mirror.ReasonOptions, Detail: name + " " + path + " " + detail, Err: err}
	}
	data, _, err := mirror.File{Path: path}.Read(trust.MaxDocumentBytes)
	if err != nil {
		// The reason is that of a copy, which this is not.
		return refuse("cannot be read; make it a file that the gateway may read", errors.Unwrap(err))
	}
	if data == nil {
		return refuse("does not exist; put it there, or correct the path", nil)
	}
	parsed, err := trust.ParseAnchors(path, data, origin)
	if err == nil && len(parsed.Anchors) == 0 {
		err = &trust.Error{Reason: trust.ReasonNoCertificate, Name: path}
	}
	if err != nil {
		return refuse("cannot be used; put the certificates there that the endpoint is to be judged by", err)
	}
	return parsed.Anchors, nil
}
