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
	Secrets     []SecretFile
	// Debounce is the time between the first event of a burst and the look at the
	// files; 0 is DefaultDebounce.
	Debounce time.Duration
	// Poll is the time between looks without an event; 0 is DefaultPoll. While
	// something is wrong looks are more frequent. What time alone does, such as
	// [BundleFile.MaxAge], is found out at a look.
	Poll time.Duration
	// Now is the clock that validity is judged by; nil is time.Now.
	Now func() time.Time
	// OnReload, if set, is called after every attempt but that of Open, one call
	// at a time. It must not call Reload or Replace.
	OnReload func(Status)
}

// BundleFile is where the anchors of one origin are, and what goes with them.
type BundleFile struct {
	Origin workloadid.Origin
	Path   string
	// Options are completed from the files: with Anchors, Sequence, RefreshHint,
	// CRLs and Shadow.
	Options trust.BundleOptions
	// CRLs are where the revocation lists of the origin are. With one file or more
	// the status of every peer must be known (REV-02); without any, nobody asks.
	CRLs []CRLFile
	CRL  trust.CRLOptions
	// Shadow, if set, is a variant that peers are judged by without effect.
	Shadow *ShadowFile
	// Optional is for a file that a remote source writes. Whatever is wrong with it
	// when there is nothing yet to hold on to, the bundle has no anchors then, its
	// status says [ErrNotFetched], and that is no reason not to start.
	Optional bool
	// MaxAge is how long a file is believed after it was written (FED-07); 0 is for
	// ever. Later the bundle has no anchors and its status says [ErrTooOld], until
	// the file is written again, or its modification time renewed by a source that
	// has found nothing new. It counts for the last good content of a file that is
	// missing or garbled as well, and is no reason not to start.
	MaxAge time.Duration
}

// CRLFile is where revocation lists are: one DER list or PEM blocks.
type CRLFile struct {
	Name string // for status and audit, unique within the bundle; "" is Path
	Path string
	// Optional is for a file that a remote source writes: as long as it was never
	// good, there are no lists from it, so that what they would cover has an unknown
	// status. Its status says [ErrNotFetched].
	Optional bool
}

// ShadowFile is a variant of a bundle.
type ShadowFile struct {
	// Path is where its anchors are; "" takes those of the bundle, whatever they
	// are at the time.
	Path string
	// Options, CRLs and CRL are as in [BundleFile], and replace what is there.
	Options trust.BundleOptions
	CRLs    []CRLFile
	CRL     trust.CRLOptions
}

// CredentialFile is where a certificate chain and its key are. The two may be
// one file.
type CredentialFile struct {
	Name     string // unique
	CertPath string
	KeyPath  string
}

// SecretFile is where secrets are that several gateways share.
type SecretFile struct {
	Name string // unique
	Path string
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
	var c checker
	if o.Debounce < 0 || o.Poll < 0 {
		c.refuse("", "a duration is negative")
	}
	origins := make(map[workloadid.Origin]bool)
	for _, b := range o.Bundles {
		if b.Origin.IsZero() || b.Path == "" {
			c.refuse(b.Origin.String(), "a bundle needs an origin and a path")
		} else if origins[b.Origin] {
			c.faults = append(c.faults, &trust.Error{Reason: trust.ReasonDuplicateOrigin, Name: b.Origin.String()})
		}
		origins[b.Origin] = true
		if b.MaxAge < 0 {
			c.refuse(b.Origin.String(), "a duration is negative")
		}
		c.variant(b.Origin.String(), b.Options, b.CRLs, b.CRL)
		if b.Shadow != nil {
			c.variant("shadow of "+b.Origin.String(), b.Shadow.Options, b.Shadow.CRLs, b.Shadow.CRL)
		}
	}
	names := make(map[string]bool)
	for _, f := range o.Credentials {
		if f.Name == "" || f.CertPath == "" || f.KeyPath == "" {
			c.refuse(f.Name, "a credential needs a name and the paths of a certificate and a key")
		} else if names[f.Name] {
			c.refuse(f.Name, fmt.Sprintf("two credentials are called %q", f.Name))
		}
		names[f.Name] = true
	}
	clear(names)
	for _, f := range o.Secrets {
		if f.Name == "" || f.Path == "" {
			c.refuse(f.Name, "a secret needs a name and a path")
		} else if names[f.Name] {
			c.refuse(f.Name, fmt.Sprintf("two secrets are called %q", f.Name))
		}
		names[f.Name] = true
	}
	return errors.Join(c.faults...)
}

// checker collects what is wrong with options.
type checker struct{ faults []error }

func (c *checker) refuse(name, detail string) {
	c.faults = append(c.faults, &trust.Error{Reason: trust.ReasonOptions, Name: name, Detail: detail})
}

func (c *checker) variant(name string, o trust.BundleOptions, crls []CRLFile, crl trust.CRLOptions) {
	if o.CRLs != nil || o.Shadow != nil {
		c.refuse(name, "revocation lists and shadows are read from files")
	}
	// Somebody who says how lists are to be applied believes that there are some.
	if len(crls) == 0 && crl != (trust.CRLOptions{}) {
		c.refuse(name, "there are options for revocation lists and no file with any")
	}
	names := make(map[string]bool)
	for _, f := range crls {
		if f.Path == "" {
			c.refuse(name, "a revocation list needs a path")
		} else if names[f.name()] {
			c.refuse(name, fmt.Sprintf("two revocation lists are called %q", f.name()))
		}
		names[f.name()] = true
	}
}

func (f CRLFile) name() string { return cmp.Or(f.Name, f.Path) }
