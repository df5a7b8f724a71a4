package crlfetch

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"verigate/trust"
	"verigate/trust/mirror"
)

// Kind is what a [mirror.Status] of this package is of.
const Kind = "crl"

// Defaults of [Options].
const (
	DefaultMaxInterval = time.Hour
	DefaultMinInterval = time.Minute
	DefaultTimeout     = 2 * time.Minute // for tens of megabytes over a slow line
)

// maxAhead is how far the clock of a publisher may be ahead.
const maxAhead = 5 * time.Minute

// List is where a document with one or several CRLs is, in PEM or DER.
type List struct {
	URL  string // http or https, without user and fragment
	Path string // of the copy
}

// Options says which lists are fetched, and how.
type Options struct {
	Lists []List
	// Changed, if set, is called when there is something new to read in a file. It may
	// be called concurrently.
	Changed func()
	// OnAttempt, if set, is called after every attempt, for logs and metrics. It may be
	// called concurrently.
	OnAttempt func(mirror.Status)
	// Verified, if set, reports whether the key of some issuer was found to have signed
	// the list with this digest, as files.Source does. Nothing with a lower number takes
	// the place of such a list; nil knows of none. It may be called concurrently.
	Verified func(list trust.Digest) bool
	// A list is fetched again after half of the time to its next update, but after
	// MaxInterval at the latest and MinInterval at the earliest. Zeros are the
	// defaults.
	MinInterval, MaxInterval time.Duration
	// MaxBytes bounds a document; 0 is trust.MaxCRLBytes, the most that can be read.
	MaxBytes int64
	// Timeout bounds one fetch; 0 is DefaultTimeout.
	Timeout time.Duration
	// TLS judges https publishers; nil is by the system's roots.
	TLS *tls.Config
	// Now is the clock; nil is time.Now. Jitter yields numbers from 0 to below 1; nil
	// is random.
	Now    func() time.Time
	Jitter func() float64
	// Transport makes the transport of one fetch; nil is mirror.NewTransport.
	Transport func(*tls.Config) http.RoundTripper
}

func (o Options) withDefaults() Options {
	o.MinInterval = cmp.Or(o.MinInterval, DefaultMinInterval)
	o.MaxInterval = cmp.Or(o.MaxInterval, DefaultMaxInterval)
	o.MaxBytes = cmp.Or(o.MaxBytes, trust.MaxCRLBytes)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Verified == nil {
		o.Verified = func(trust.Digest) bool { return false }
	}
	if o.Transport == nil {
		o.Transport = mirror.NewTransport
	}
	return o
}

func (o Options) check() error {
	var faults []error
	refuse := func(detail string) {
		faults = append(faults, &mirror.Error{Reason: mirror.ReasonOptions, Detail: detail})
	}
	if o.MinInterval < 0 || o.MaxInterval < o.MinInterval || o.Timeout < 0 {
		refuse("a span of time is negative, or the least interval is above the greatest")
	}
	if o.MaxBytes < 0 || o.MaxBytes > trust.MaxCRLBytes {
		refuse(fmt.Sprintf("a list may have from 1 to %d octets", trust.MaxCRLBytes))
	}
	urls, paths := map[string]bool{}, map[string]bool{}
	for _, l := range o.Lists {
		if err := mirror.CheckURL(l.URL, "http", "https"); err != nil {
			faults = append(faults, err)
		}
		if l.Path == "" || urls[l.URL] || paths[l.Path] {
			refuse(mirror.Quote(l.URL) + " needs a copy, and to be there once")
		}
		urls[l.URL], paths[l.Path] = true, true
	}
	return errors.Join(faults...)
}
