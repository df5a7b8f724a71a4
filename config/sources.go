package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"verigate/assurance"
	"verigate/trust"
	"verigate/workloadid"
)

// TrustDomainFile says where the anchors and CRLs of an origin are and by what
// rules its peers are judged.
type TrustDomainFile struct {
	Origin  workloadid.Origin
	Path    string              // of the anchors; in a Shadow "" for those of the trust domain
	Options trust.BundleOptions // without what is read from files
	// Fetched says that the file is kept up to date by a remote source, so that it may
	// be missing at first. It is believed for MaxStale since it was last confirmed; 0
	// is no limit.
	Fetched  bool
	MaxStale time.Duration
	// CRLs are the files of revocation lists, and CRL how they are applied. Without
	// any, nobody asks.
	CRLs []CRLFile
	CRL  trust.CRLOptions
	// Shadow is the variant that is judged by as well, or nil.
	Shadow *TrustDomainFile
}

// CRLFile is a file of revocation lists.
type CRLFile struct {
	Path    string
	Name    string // as it is written: the file or the URL
	Fetched bool   // as in [TrustDomainFile]
}

// BundleEndpoint is a SPIFFE bundle endpoint and the file that keeps what it says.
type BundleEndpoint struct {
	Origin        workloadid.Origin
	URL           string
	Profile       string // https_web or https_spiffe
	ID            string // of an https_spiffe endpoint
	BootstrapPath string
	RootsPath     string
	Path          string
}

// WorkloadAPI is a SPIFFE Workload API, what is wanted of it, and the files that
// keep its bundles.
type WorkloadAPI struct {
	Address     string
	Bundles     map[workloadid.Origin]string // path by origin
	Credentials []WorkloadCredential
}

// WorkloadCredential is an X.509-SVID that the gateway presents. Name is how
// [Deps.Credential] is asked for it; Identity is "" for the first that is given.
type WorkloadCredential struct {
	Name, Identity string
}

// CRLEndpoint is the URL of a CRL and the file that keeps it.
type CRLEndpoint struct {
	URL  string
	Path string
}

// TrustDomains returns the sources of trust in the order of their origins.
func (c *Config) TrustDomains() ([]TrustDomainFile, error) {
	var all []TrustDomainFile
	err := c.eachTrustDomain(func(origin workloadid.Origin, td TrustDomain) error {
		o := trust.BundleOptions{
			MaxCertificateLifetime: time.Duration(td.MaxCertificateLifetime),
			RequireEKU:             td.RequireEKU,
			LenientKeyUsage:        td.LenientKeyUsage,
			LenientSubject:         td.LenientSubject,
			NotBeforeSkew:          time.Duration(td.NotBeforeSkew),
			SharedAnchor:           td.SharedAnchor,
			Algorithms:             td.Algorithms,
			MinMIAL:                assurance.MIAL(td.MinMIAL),
		}
		var err error
		if o.Assurance, err = grading(td); err != nil {
			return fmt.Errorf("trust_domains.%s.assurance: %w", origin, err)
		}
		f := TrustDomainFile{
			Origin: origin, Path: c.anchorsPath(origin, td.Anchors), Options: o,
			Fetched: td.Anchors.File == "", MaxStale: time.Duration(td.Anchors.MaxStale),
		}
		f.CRLs, f.CRL = c.crl(td.CRL)
		if td.Shadow != nil {
			f.Shadow = c.shadow(&f, td.Shadow)
		}
		all = append(all, f)
		return nil
	})
	return all, err
}

func (c *Config) eachTrustDomain(f func(workloadid.Origin, TrustDomain) error) error {
	for _, name := range slices.Sorted(maps.Keys(c.File.TrustDomains)) {
		origin, err := workloadid.ParseOrigin(name)
		if err != nil {
			return err // check has seen to it
		}
		if err := f(origin, c.File.TrustDomains[name]); err != nil {
			return err
		}
	}
	return nil
}

func grading(td TrustDomain) (*assurance.Profile, error) {
	o := assurance.Options{MaxLifetime: time.Duration(td.AssuranceMaxLifetime), MaxAge: time.Duration(td.AssuranceMaxAge)}
	for _, s := range td.Assurance {
		o.Statements = append(o.Statements, assurance.Statement{
			IssuerSPKI: s.IssuerSPKISHA256, PolicyOID: s.PolicyOID,
			MIAL: assurance.MIAL(s.MIAL), MAAL: maal(s.MAAL),
		})
	}
	return assurance.Compile(o)
}

// anchorsPath is the operator's file, or the one that a remote source keeps.
func (c *Config) anchorsPath(origin workloadid.Origin, a Anchors) string {
	if a.File != "" {
		return c.path(a.File)
	}
	return c.state("bundle-" + strings.Replace(origin.String(), "://", "-", 1))
}

// crlPath is the file that keeps the CRL of a URL.
func (c *Config) crlPath(address string) string {
	sum := sha256.Sum256([]byte(address))
	return c.state("crl-" + hex.EncodeToString(sum[:8]))
}

// state is a file in the folder for what comes over the network.
func (c *Config) state(name string) string { return filepath.Join(c.path(c.File.StateDir), name) }

func (c *Config) crl(written *CRL) (files []CRLFile, o trust.CRLOptions) {
	if written == nil {
		return nil, o
	}
	for _, name := range written.Files {
		files = append(files, CRLFile{Path: c.path(name), Name: name})
	}
	for _, address := range written.URLs {
		files = append(files, CRLFile{Path: c.crlPath(address), Name: address, Fetched: true})
	}
	o.LeafOnly = written.Check == "leaf"
	switch written.WhenStale {
	case "grace":
		o.WhenStale, o.Grace = trust.StaleGrace, time.Duration(written.Grace)
	case "accept-and-alarm":
		o.WhenStale = trust.StaleAccept
	}
	return files, o
}

// shadow returns live with the differences that are written.
func (c *Config) shadow(live *TrustDomainFile, written *Shadow) *TrustDomainFile {
	s := *live
	s.Path = ""
	if written.Anchors != nil {
		s.Path, s.Fetched, s.MaxStale = c.path(written.Anchors.File), false, 0
	}
	if written.CRL != nil {
		s.CRLs, s.CRL = c.crl(written.CRL)
	}
	o := &s.Options
	if written.MaxCertificateLifetime != 0 {
		o.MaxCertificateLifetime = time.Duration(written.MaxCertificateLifetime)
	}
	for to, value := range map[*bool]*bool{
		&o.RequireEKU: written.RequireEKU, &o.LenientKeyUsage: written.LenientKeyUsage, &o.LenientSubject: written.LenientSubject,
	} {
		if value != nil {
			*to = *value
		}
	}
	if written.Algorithms != nil {
		o.Algorithms = written.Algorithms
	}
	if written.MinMIAL != nil {
		o.MinMIAL = assurance.MIAL(*written.MinMIAL)
	}
	return &s
}

// BundleEndpoints returns the bundle endpoints, in the order of their origins.
func (c *Config) BundleEndpoints() []BundleEndpoint {
	var all []BundleEndpoint
	_ = c.eachTrustDomain(func(origin workloadid.Origin, td TrustDomain) error {
		if f := td.Anchors.Federation; f != nil {
			e := BundleEndpoint{
				Origin: origin, URL: f.URL, Profile: f.Profile, ID: f.EndpointSPIFFEID,
				Path: c.anchorsPath(origin, td.Anchors),
			}
			if f.BootstrapFile != "" {
				e.BootstrapPath = c.path(f.BootstrapFile)
			}
			if f.RootsFile != "" {
				e.RootsPath = c.path(f.RootsFile)
			}
			all = append(all, e)
		}
		return nil
	})
	return all
}

// WorkloadAPIs returns each Workload API that something is wanted of, in the order
// of their addresses.
func (c *Config) WorkloadAPIs() []WorkloadAPI {
	byAddress := map[string]*WorkloadAPI{}
	at := func(address string) *WorkloadAPI {
		if byAddress[address] == nil {
			byAddress[address] = &WorkloadAPI{Address: address, Bundles: map[workloadid.Origin]string{}}
		}
		return byAddress[address]
	}
	_ = c.eachTrustDomain(func(origin workloadid.Origin, td TrustDomain) error {
		if a := td.Anchors; a.WorkloadAPI != "" {
			at(a.WorkloadAPI).Bundles[origin] = c.anchorsPath(origin, a)
		}
		return nil
	})
	for _, k := range c.credentials() {
		if k.WorkloadAPI != "" {
			api := at(k.WorkloadAPI)
			api.Credentials = append(api.Credentials, WorkloadCredential{Name: k.name(), Identity: k.Identity})
		}
	}
	var all []WorkloadAPI
	for _, address := range slices.Sorted(maps.Keys(byAddress)) {
		all = append(all, *byAddress[address])
	}
	return all
}

// CRLEndpoints returns the URLs of CRLs, each once.
func (c *Config) CRLEndpoints() []CRLEndpoint {
	var all []CRLEndpoint
	_ = c.eachTrustDomain(func(_ workloadid.Origin, td TrustDomain) error {
		if td.CRL == nil {
			return nil
		}
		for _, address := range td.CRL.URLs {
			if !slices.ContainsFunc(all, func(e CRLEndpoint) bool { return e.URL == address }) {
				all = append(all, CRLEndpoint{URL: address, Path: c.crlPath(address)})
			}
		}
		return nil
	})
	return all
}

// StateDir is the folder for what comes over the network, "" if nothing does.
func (c *Config) StateDir() string {
	if c.File.StateDir == "" {
		return ""
	}
	return c.path(c.File.StateDir)
}
