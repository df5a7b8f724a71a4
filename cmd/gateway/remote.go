package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"verigate/admin"
	"verigate/config"
	"verigate/trust"
	"verigate/trust/crlfetch"
	"verigate/trust/federation"
	"verigate/trust/mirror"
	"verigate/trust/workloadapi"
	"verigate/workloadid"
)

// credentialPatience is how long a Workload API may take to give the gateway its
// own credential, at the start and at a reload.
const credentialPatience = 30 * time.Second

// remotes are the sources of trust that are not files of the operator's. They keep
// what they get in files of state_dir, which package files reads like the others.
type remotes struct {
	wanted     wanted
	federation *federation.Source    // nil without bundle endpoints
	crls       *crlfetch.Source      // nil without URLs
	apis       []*workloadapi.Source // in the order of wanted.apis

	end func() // of what run has begun; returns when all has ended
}

// wanted is what remotes are made of.
type wanted struct {
	endpoints []config.BundleEndpoint
	apis      []config.WorkloadAPI
	crls      []config.CRLEndpoint
}

func wantedBy(c *config.Config) wanted {
	return wanted{c.BundleEndpoints(), c.WorkloadAPIs(), c.CRLEndpoints()}
}

// paths are the files that are kept.
func (w *wanted) paths() (all []string) {
	for _, e := range w.endpoints {
		all = append(all, e.Path)
	}
	for _, a := range w.apis {
		for _, path := range a.Bundles {
			all = append(all, path)
		}
	}
	for _, e := range w.crls {
		all = append(all, e.Path)
	}
	return all
}

// newRemotes makes the sources that c asks for. before, which may be nil, is what
// they take over from; it must not be running. They tell a of what they do.
func newRemotes(c *config.Config, before *remotes, a *app) (*remotes, error) {
	r := &remotes{wanted: wantedBy(c), end: func() {}}
	if endpoints := r.wanted.endpoints; len(endpoints) > 0 {
		o := federation.Options{Changed: a.fetched, OnAttempt: a.attempted}
		for _, e := range endpoints {
			id, err := workloadid.Parse(e.ID)
			if err != nil && e.ID != "" {
				return nil, err // config has seen to it
			}
			o.Endpoints = append(o.Endpoints, federation.Endpoint{
				Origin: e.Origin, URL: e.URL, Profile: federation.Profile(e.Profile), ID: id,
				BootstrapPath: e.BootstrapPath, RootsPath: e.RootsPath, Path: e.Path,
			})
		}
		var err error
		if r.federation, err = federation.New(o); err != nil {
			return nil, fmt.Errorf("federation: %w", err)
		}
	}
	if lists := r.wanted.crls; len(lists) > 0 {
		o := crlfetch.Options{Changed: a.fetched, OnAttempt: a.attempted, Verified: a.verifiedCRL}
		for _, l := range lists {
			o.Lists = append(o.Lists, crlfetch.List{URL: l.URL, Path: l.Path})
		}
		var err error
		if r.crls, err = crlfetch.New(o); err != nil {
			return nil, fmt.Errorf("crl: %w", err)
		}
	}
	for _, api := range r.wanted.apis {
		o := workloadapi.Options{Address: api.Address, Bundles: api.Bundles, Changed: a.fetched, OnAttempt: a.attempted, Before: before.api(api.Address)}
		for _, k := range api.Credentials {
			id, err := workloadid.Parse(k.Identity)
			if err != nil && k.Identity != "" {
				return nil, err // config has seen to it
			}
			o.Credentials = append(o.Credentials, workloadapi.Credential{Name: k.Name, ID: id})
		}
		source, err := workloadapi.New(o)
		if err != nil {
			return nil, fmt.Errorf("workload API %s: %w", api.Address, err)
		}
		r.apis = append(r.apis, source)
	}
	return r, nil
}

// api returns the source of that address, or nil. r may be nil.
func (r *remotes) api(address string) *workloadapi.Source {
	if r != nil {
		for i, api := range r.wanted.apis {
			if api.Address == address {
				return r.apis[i]
			}
		}
	}
	return nil
}

// run begins to follow all sources.
func (r *remotes) run(log *slog.Logger) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	follow := func(name string, run func(context.Context) error) {
		running.Go(func() {
			if err := run(ctx); err != nil {
				log.Error("a source of trust ended; the last good state stays in force", "source", name, "error", err)
			}
		})
	}
	if r.federation != nil {
		follow("federation", r.federation.Run)
	}
	if r.crls != nil {
		follow("crl", r.crls.Run)
	}
	for i, api := range r.apis {
		follow(r.wanted.apis[i].Address, api.Run)
	}
	r.end = func() {
		cancel()
		running.Wait()
	}
}

// wait returns when every credential was given, or says which was not.
func (r *remotes) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), credentialPatience)
	defer cancel()
	var errs []error
	for i, api := range r.apis {
		if len(r.wanted.apis[i].Credentials) == 0 {
			continue
		}
		if err := api.Wait(ctx); err != nil {
			errs = append(errs, fmt.Errorf("workload API %s: %w", r.wanted.apis[i].Address, err))
		}
	}
	return errors.Join(errs...)
}

// credential returns the credential of that name, nil if there is none.
func (r *remotes) credential(name string) trust.CredentialSource {
	for _, api := range r.apis {
		if source := api.Credential(name); source != nil {
			return source
		}
	}
	return nil
}

// status says how all of them fare.
func (r *remotes) status() (all []mirror.Status) {
	if r.federation != nil {
		all = append(all, r.federation.Status()...)
	}
	if r.crls != nil {
		all = append(all, r.crls.Status()...)
	}
	for _, api := range r.apis {
		all = append(all, api.Status()...)
	}
	return all
}

// hint tells that a peer of origin has an issuer that nobody knows: its trust
// domain may have a new one.
func (r *remotes) hint(origin workloadid.Origin) {
	if r.federation != nil {
		r.federation.Hint(origin)
	}
}

// replaceRemotes follows the sources of c in the place of those before, if they
// differ. undo goes back.
func (a *app) replaceRemotes(c *config.Config) (undo func(), err error) {
	before := a.currentRemotes()
	if reflect.DeepEqual(before.wanted, wantedBy(c)) {
		return func() {}, nil
	}
	before.end()
	next, err := newRemotes(c, before, a)
	if err != nil {
		before.run(a.log)
		return nil, err
	}
	next.run(a.log)
	undo = func() {
		next.end()
		before.run(a.log)
		a.setRemotes(before)
	}
	if err := next.wait(); err != nil {
		undo()
		return nil, err
	}
	a.setRemotes(next)
	return undo, nil
}

// verifiedCRL says whether the signature of a list that is in force was verified.
func (a *app) verifiedCRL(list trust.Digest) bool {
	f := a.watched.Load()
	return f != nil && f.Verified(list)
}

// sourceStatus describes the remote sources.
func (a *app) sourceStatus() []admin.SourceStatus {
	all := []admin.SourceStatus{}
	for _, s := range a.currentRemotes().status() {
		out := admin.SourceStatus{
			Kind: s.Kind, Name: s.Name, Source: s.Source, Path: s.Path,
			LastAttempt: s.LastAttempt.UTC(), LastSuccess: s.LastSuccess.UTC(), LastChange: s.LastChange.UTC(), LastFailure: s.LastFailure.UTC(),
			LastError: errorText(s.Err), Failures: s.Failures,
			NextAttempt: s.NextAttempt.UTC(), IntervalSeconds: s.Interval.Seconds(),
			Sequence: s.Sequence, NotAfter: s.NotAfter.UTC(), Notes: s.Notes,
		}
		if fault, ok := errors.AsType[*mirror.Error](s.Err); ok {
			out.Reason = fault.Reason.String()
		}
		if !s.Digest.IsZero() {
			out.Digest = s.Digest.String()
		}
		all = append(all, out)
	}
	return all
}

// attempted logs the first of several failures of a remote source. Readiness and
// status have the rest.
func (a *app) attempted(s mirror.Status) {
	if s.Err != nil && s.Failures == 1 {
		a.log.Warn("a source of trust does not answer as it should; what was held stays in force",
			"kind", s.Kind, "name", s.Name, "source", s.Source, "error", s.Err)
	}
}

func (a *app) currentRemotes() *remotes {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.remotes
}

func (a *app) setRemotes(r *remotes) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remotes = r
}

// credential returns the credential of that name, from files or a Workload API.
func (a *app) credential(name string) trust.CredentialSource {
	if source := a.files.Credential(name); source != nil {
		return source
	}
	// Not through currentRemotes: a reload asks for what it is about to put in force.
	return a.currentRemotes().credential(name)
}

// sourceFaults says what is wrong with remote sources, one a line.
func (a *app) sourceFaults() (all []string) {
	for _, s := range a.currentRemotes().status() {
		if s.Err != nil {
			since := "since the start"
			if !s.LastSuccess.IsZero() {
				since = "since " + s.LastSuccess.UTC().Format(time.RFC3339)
			}
			all = append(all, fmt.Sprintf("%s %s: %v; no answer %s, what was held before stays in force", s.Kind, s.Name, s.Err, since))
		}
	}
	return all
}
