package files

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// Defaults of the durations in [Options].
const (
	DefaultDebounce = 250 * time.Millisecond // long enough for a writer of several files
	DefaultPoll     = 30 * time.Second       // an event that was missed costs at most this
)

// Options says which files make up the trust of a gateway.
type Options struct {
	Bundles     []BundleFile
	Deny        trust.DenyOptions
	Credentials []CredentialFile
	// Debounce is the time between the first event of a burst and the look at the
	// files; 0 is DefaultDebounce.
	Debounce time.Duration
	// Poll is the time between looks without an event; 0 is DefaultPoll. While
	// something is wrong looks are more frequent.
	Poll time.Duration
	// Now is the clock that validity is judged by; nil is time.Now.
	Now func() time.Time
	// OnReload, if set, is called after every attempt but that of Open, one call
	// at a time. It must not call Reload or Replace.
	OnReload func(Status)
}

// BundleFile is where the anchors of one origin are.
type BundleFile struct {
	Origin  workloadid.Origin
	Path    string
	Options trust.BundleOptions // Anchors, Sequence and RefreshHint are filled in from the file
}

// CredentialFile is where a certificate chain and its key are. The two may be
// one file.
type CredentialFile struct {
	Name     string // unique
	CertPath string
	KeyPath  string
}

func (o Options) withDefaults() Options {
	o.Debounce = cmp.Or(o.Debounce, DefaultDebounce)
	o.Poll = cmp.Or(o.Poll, DefaultPoll)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnReload == nil {
		o.OnReload = func(Status) {}
	}
	return o
}

func (o Options) check() error {
	var faults []error
	refuse := func(name, detail string) {
		faults = append(faults, &trust.Error{Reason: trust.ReasonOptions, Name: name, Detail: detail})
	}
	if o.Debounce < 0 || o.Poll < 0 {
		refuse("", "a duration is negative")
	}
	origins := make(map[workloadid.Origin]bool)
	for _, b := range o.Bundles {
		if b.Origin.IsZero() || b.Path == "" {
			refuse(b.Origin.String(), "a bundle needs an origin and a path")
		} else if origins[b.Origin] {
			faults = append(faults, &trust.Error{Reason: trust.ReasonDuplicateOrigin, Name: b.Origin.String()})
		}
		origins[b.Origin] = true
	}
	names := make(map[string]bool)
	for _, c := range o.Credentials {
		if c.Name == "" || c.CertPath == "" || c.KeyPath == "" {
			refuse(c.Name, "a credential needs a name and the paths of a certificate and a key")
		} else if names[c.Name] {
			refuse(c.Name, fmt.Sprintf("two credentials are called %q", c.Name))
		}
		names[c.Name] = true
	}
	return errors.Join(faults...)
}
