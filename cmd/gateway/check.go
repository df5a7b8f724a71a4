package main

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"verigate/certpath"
	"verigate/config"
	"verigate/devpki"
	"verigate/trust"
	"verigate/trust/files"
	"verigate/verifycache"
)

func newCheckCommand() *cobra.Command {
	var asJSON bool
	var path string
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Find what is wrong with a configuration and the files that it names",
		Long: `check reads a configuration and every file that it names, and compiles all of it as run
would, without binding a port or contacting anybody. Every problem is reported with its
place. The exit code is 0 if run could start, 3 if not. FILE is gateway.yaml if it is not
given; -c FILE is the same, as for run.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				if c.Flags().Changed("config") && path != args[0] {
					return usage("two configurations are named, %s and %s; check one at a time", path, args[0])
				}
				path = args[0]
			}
			return check(c.OutOrStdout(), path, asJSON)
		},
	}
	c.Flags().StringVarP(&path, "config", "c", defaultConfig, "configuration file")
	c.Flags().BoolVar(&asJSON, "json", false, "answer with one JSON object")
	return c
}

// checkReport is the answer, as --json prints it.
type checkReport struct {
	File     string           `json:"file"`
	OK       bool             `json:"ok"`
	Problems []config.Problem `json:"problems"`
	Notes    []string         `json:"notes"`
	Summary  string           `json:"summary,omitempty"`
}

func check(out io.Writer, path string, asJSON bool) error {
	report := checkReport{File: path, Problems: []config.Problem{}, Notes: []string{}}
	if err := report.compile(path); err != nil {
		report.add(err)
	}
	report.OK = len(report.Problems) == 0
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(report); err != nil {
			return err
		}
	} else if err := report.print(newPrinter(out)); err != nil {
		return err
	}
	if !report.OK {
		return &codedError{code: exitInvalid}
	}
	return nil
}

// compile does what run would do before it binds a port.
func (r *checkReport) compile(path string) error {
	c, err := config.Load(path)
	if err != nil {
		return err
	}
	if dir := c.StateDir(); dir != "" {
		if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			r.add(c.At("state_dir", dir+" is not a folder", ""))
		} else if err == nil {
			if err := appendable(filepath.Join(dir, "check")); err != nil {
				r.add(c.At("state_dir", err.Error(), "the account that runs the gateway must be able to write there"))
			}
		}
	}
	if file := c.TelemetryOptions().Audit.File; file != "" {
		if err := appendable(file); err != nil {
			r.add(c.At("telemetry.audit.file", err.Error(), "the account that runs the gateway must be able to write it, and its folder must exist"))
		}
	}
	o, err := sources(c)
	if err != nil {
		return err
	}
	var store trust.Store
	source, err := files.Open(o, &store)
	if err != nil {
		return placed(c, err)
	}
	cache, err := verifycache.New(c.CacheOptions())
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	defer cache.Close()
	deps := config.Deps{Trust: &store, Cache: cache, Secret: source.Secret, Credential: func(name string) trust.CredentialSource {
		if own := source.Credential(name); own != nil {
			return own
		}
		return standIn(c, name)
	}}
	program, err := c.Program(deps)
	if err != nil {
		return err
	}
	defer program.Close(noWait())
	if _, err := c.Gateway(deps); err != nil {
		return err
	}
	r.Notes = append(r.Notes, c.Notes()...)
	for _, api := range c.WorkloadAPIs() {
		r.Notes = append(r.Notes, fmt.Sprintf("workload API %s: not contacted by check", api.Address))
	}
	for _, e := range c.BundleEndpoints() {
		r.Notes = append(r.Notes, fmt.Sprintf("bundle endpoint of %s: not contacted by check", e.Origin))
	}
	for _, item := range source.Status().Items {
		for _, note := range item.Notes {
			r.Notes = append(r.Notes, fmt.Sprintf("%s %s: %s", item.Kind, item.Name, note))
		}
	}
	r.Notes = append(r.Notes, trustNotes(store.Load(), c, source, time.Now())...)
	r.Summary = strings.Join([]string{
		counted(len(c.File.Listeners), "listener"), counted(len(store.Load().Bundles()), "trust domain"),
		counted(len(c.File.Routes), "route"), counted(len(c.File.Upstreams), "upstream"),
	}, ", ")
	return nil
}

// standIn is in the place of a credential that only the Workload API has: whatever
// is compiled with it gets a credential of the identity that is asked for.
func standIn(c *config.Config, name string) trust.CredentialSource {
	identity := "spiffe://check.invalid/gateway"
	for _, api := range c.WorkloadAPIs() {
		for _, k := range api.Credentials {
			if k.Name == name && k.Identity != "" {
				identity = k.Identity
			}
		}
	}
	ca, err := devpki.NewRoot(devpki.CAOptions{})
	if err != nil {
		panic(err) // there is no randomness
	}
	leaf, err := ca.Issue(devpki.LeafOptions{URIs: []string{identity}})
	if err != nil {
		panic(err)
	}
	key, err := devpki.KeyPEM(leaf.Key)
	if err != nil {
		panic(err)
	}
	own, err := trust.ParseCredential(name, devpki.CertificatesPEM(leaf.Chain...), name, key, time.Now())
	if err != nil {
		panic(err)
	}
	return fixedCredential{own}
}

type fixedCredential struct{ own *trust.Credential }

func (f fixedCredential) Credential() *trust.Credential { return f.own }

// appendable reports why a file could not be opened to append to it, or be made.
// It leaves nothing behind.
func appendable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		probe, err := os.CreateTemp(filepath.Dir(path), ".check-*")
		if err != nil {
			if fault, ok := errors.AsType[*os.PathError](err); ok {
				err = fault.Err // its path is that of the probe
			}
			return fmt.Errorf("%s cannot be made: %w", path, err)
		}
		return errors.Join(probe.Close(), os.Remove(probe.Name()))
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder", path)
	case !info.Mode().IsRegular():
		return nil // opening a pipe can wait for ever, or be noticed at its other end
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// span is a time that is left, in the largest unit that says enough.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return counted(int(d.Round(time.Hour)/(24*time.Hour)), "day")
	case d >= 2*time.Hour:
		return counted(int(d.Round(time.Minute)/time.Hour), "hour")
	case d >= 2*time.Minute:
		return counted(int(d.Round(time.Second)/time.Minute), "minute")
	}
	return counted(int(d/time.Second), "second")
}

// trustNotes warns of anchors that are of no use and of what will stop working soon.
func trustNotes(s *trust.Snapshot, c *config.Config, source *files.Source, now time.Time) (notes []string) {
	const soon = 14 * 24 * time.Hour
	for _, b := range s.Bundles() {
		for _, a := range b.Anchors() {
			if !a.IsCA {
				// checkIssuer of certpath makes no exception for anchors (PKIX-09).
				notes = append(notes, fmt.Sprintf("bundle %s: anchor %q is not a CA certificate (basicConstraints), so nothing can chain to it", b.Origin(), a.Subject))
			}
			if left := a.NotAfter.Sub(now); left < soon && left > 0 {
				notes = append(notes, fmt.Sprintf("bundle %s: anchor %q expires in %s", b.Origin(), a.Subject, span(left)))
			}
		}
	}
	for _, b := range s.Bundles() {
		notes = append(notes, crlNotes(b, now)...)
	}
	for _, k := range c.Credentials() {
		if h := source.Credential(k.Name); h != nil {
			notes = append(notes, ownChainNotes(s, k.Name, h.Credential(), now)...)
			if left := h.Credential().NotAfter().Sub(now); left <= 0 {
				notes = append(notes, fmt.Sprintf("credential %s: has expired, so no handshake can be served with it", k.Name))
			} else if left < time.Hour {
				notes = append(notes, fmt.Sprintf("credential %s: expires in %s", k.Name, span(left)))
			}
		}
	}
	return notes
}

// crlNotes warns of CRLs that refuse everybody: the first that is usually configured is
// that of the issuing CA, and the status of the issuing CA itself is on another.
func crlNotes(b *trust.Bundle, now time.Time) (notes []string) {
	set := b.CRLs()
	if set == nil {
		return nil
	}
	notes = crlFaults(b, now)
	if set.Options().LeafOnly {
		return notes
	}
	for _, a := range b.Anchors() {
		if len(set.Of(a.RawSubject)) == 0 {
			notes = append(notes, fmt.Sprintf("bundle %s: there is no CRL of anchor %q, so whatever it issued has an unknown status and is refused; add its CRL, or ask for leaves only with check: leaf", b.Origin(), a.Subject))
		}
	}
	return notes
}

// ownChainNotes judges the gateway's own certificate as it would a backend's: what is
// wrong with the CRLs of its trust domain shows there before a workload comes.
func ownChainNotes(s *trust.Snapshot, name string, own *trust.Credential, now time.Time) []string {
	bundle := s.Bundle(own.ID().Origin())
	if own.ID().IsZero() || bundle == nil || now.After(own.NotAfter()) {
		return nil
	}
	var chain []*x509.Certificate
	for _, der := range own.TLS().Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil // it was parsed when it was loaded
		}
		chain = append(chain, c)
	}
	_, err := certpath.Verify(chain, bundle, certpath.RoleServer, now)
	fault, ok := errors.AsType[*certpath.Error](err)
	about := []certpath.Reason{certpath.ReasonRevoked, certpath.ReasonRevocationUnknown, certpath.ReasonRevocationStale}
	if !ok || !slices.Contains(about, fault.Reason) {
		return nil
	}
	return []string{fmt.Sprintf("credential %s: by the CRLs of %s it would be refused itself, and with it probably whoever has the same issuer: %v", name, bundle.Origin(), fault)}
}

func (r *checkReport) add(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			r.add(e)
		}
		return
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		r.Problems = append(r.Problems, problems...)
		return
	}
	if problem, ok := errors.AsType[config.Problem](err); ok {
		r.Problems = append(r.Problems, problem)
		return
	}
	r.Problems = append(r.Problems, config.Problem{File: r.File, What: err.Error()})
}

func (r *checkReport) print(p *printer) error {
	for _, problem := range r.Problems {
		p.line("%s %s", p.paint(red, "error:"), problem.Error())
	}
	for _, note := range r.Notes {
		p.line("%s %s", p.paint(dim, "note:"), note)
	}
	if r.OK {
		p.verdict(true, "ok", fmt.Sprintf("%s: %s", r.File, r.Summary))
	} else {
		p.verdict(false, "refused", fmt.Sprintf("%s: %s; `gateway run` would not start", r.File, counted(len(r.Problems), "problem")))
	}
	return p.err
}
