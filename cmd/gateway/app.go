package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"verigate/admin"
	"verigate/config"
	"verigate/gateway"
	"verigate/internal/footprint"
	"verigate/telemetry"
	"verigate/trust"
	"verigate/trust/files"
	"verigate/trust/mirror"
	"verigate/verifycache"
	"verigate/workloadid"
)

// app is a running gateway with everything that it is composed of.
type app struct {
	path      string
	log       *slog.Logger
	startedAt time.Time

	store     trust.Store
	files     *files.Source
	watched   atomic.Pointer[files.Source] // files, for those who may come before it
	cache     *verifycache.Cache
	telemetry *telemetry.Telemetry
	gateway   *gateway.Gateway
	admin     *admin.Server
	stopping  atomic.Bool // set before anybody is told so

	mu       sync.Mutex // guards what follows; never held while files are read
	config   *config.Config
	remotes  *remotes
	loadedAt time.Time
	reloads  uint64
	failure  error // of the last reload
	failedAt time.Time
}

// open builds the gateway that the file at path describes and binds its
// addresses. Nothing is served yet. On error nothing stays open.
func open(path string, log *slog.Logger) (a *app, err error) {
	a = &app{path: path, log: log, startedAt: time.Now()}
	defer func() {
		if err != nil {
			a.release(context.Background())
		}
	}()
	c, err := config.Load(path)
	if err != nil {
		return a, invalid(err)
	}
	a.config, a.loadedAt = c, a.startedAt
	o, err := sources(c)
	if err != nil {
		return a, invalid(err)
	}
	if a.remotes, err = newRemotes(c, nil, a); err != nil {
		return a, invalid(err)
	}
	a.remotes.run(log)
	if err := a.remotes.wait(); err != nil {
		return a, err
	}
	o.OnReload = a.trustReloaded
	if a.files, err = files.Open(o, &a.store); err != nil {
		return a, invalid(placed(c, err))
	}
	a.watched.Store(a.files)
	if a.cache, err = verifycache.New(c.CacheOptions()); err != nil {
		return a, invalid(fmt.Errorf("cache: %w", err))
	}
	to := c.TelemetryOptions()
	to.Version = buildVersion()
	if to.Audit.File == "" {
		to.Audit.Writer = os.Stdout
	}
	if a.telemetry, err = telemetry.New(to); err != nil {
		return a, placed(c, err)
	}
	program, err := c.Program(a.deps())
	if err != nil {
		return a, invalid(err)
	}
	options, err := c.Gateway(a.deps())
	if err != nil {
		program.Close(noWait())
		return a, invalid(err)
	}
	options.UnknownIssuer = a.unknownIssuer
	// Before the gateway, which judges live connections by the new shadow.
	a.store.OnChange(a.forgetShadows)
	if a.gateway, err = gateway.New(options, program); err != nil {
		program.Close(noWait())
		return a, placed(c, err)
	}
	a.admin, err = admin.Listen(admin.Options{
		Address: c.AdminAddress(), Pprof: c.File.Admin.Pprof, Log: log,
		Metrics: a.telemetry.Handler(), Readiness: a.readiness, Status: a.status, Explain: a.explain,
	})
	if err != nil {
		return a, placed(c, err)
	}
	a.observe()
	return a, nil
}

// sources says which files make up the trust that c asks for.
func sources(c *config.Config) (files.Options, error) {
	o := files.Options{Deny: c.Deny()}
	domains, err := c.TrustDomains()
	if err != nil {
		return o, err
	}
	for _, d := range domains {
		b := files.BundleFile{
			Origin: d.Origin, Path: d.Path, Options: d.Options, Optional: d.Fetched, MaxAge: d.MaxStale,
			CRLs: crlFiles(d.CRLs), CRL: d.CRL,
		}
		if s := d.Shadow; s != nil {
			b.Shadow = &files.ShadowFile{Path: s.Path, Options: s.Options, CRLs: crlFiles(s.CRLs), CRL: s.CRL}
		}
		o.Bundles = append(o.Bundles, b)
	}
	if path := c.SecretPath(); path != "" {
		o.Secrets = append(o.Secrets, files.SecretFile{Name: c.File.Resumption.SecretFile, Path: path})
	}
	for _, k := range c.Credentials() {
		o.Credentials = append(o.Credentials, files.CredentialFile{Name: k.Name, CertPath: k.CertPath, KeyPath: k.KeyPath})
	}
	return o, nil
}

func crlFiles(all []config.CRLFile) []files.CRLFile {
	var out []files.CRLFile
	for _, f := range all {
		out = append(out, files.CRLFile{Path: f.Path, Name: f.Name, Optional: f.Fetched})
	}
	return out
}

// fetched is told by remote sources that there is something new to read.
func (a *app) fetched() {
	if f := a.watched.Load(); f != nil {
		f.Refresh()
	}
}

// forgetShadows forgets what shadows said that are not in force any more.
func (a *app) forgetShadows(before, now *trust.Snapshot) {
	shadow := func(s *trust.Snapshot, o workloadid.Origin) (of [2]trust.Digest) {
		if b := s.Bundle(o); b != nil && b.Shadow() != nil {
			of = [2]trust.Digest{b.Shadow().Digest(), b.Shadow().CRLs().Digest()}
		}
		return of
	}
	for _, b := range before.Bundles() {
		if o := b.Origin(); shadow(before, o) != shadow(now, o) {
			a.telemetry.ForgetShadow(o)
		}
	}
}

// unknownIssuer has the bundle of an origin fetched before its time.
func (a *app) unknownIssuer(origin workloadid.Origin) { a.currentRemotes().hint(origin) }

func (a *app) deps() config.Deps {
	return config.Deps{
		Trust: &a.store, Cache: a.cache, Telemetry: a.telemetry, Log: a.log,
		Credential: a.credential, Secret: a.files.Secret,
	}
}

// observe lets telemetry look at what the rooms count themselves.
func (a *app) observe() {
	a.telemetry.ObserveCache(a.cache.Stats)
	a.telemetry.ObserveConnections(a.gateway.Connections)
	a.telemetry.ObserveTrust(a.expiries)
	a.telemetry.ObserveTrustItems(a.trustItems)
	a.telemetry.ObserveRevocation(func() []telemetry.RevocationState {
		return telemetry.RevocationOf(a.store.Load(), time.Now())
	})
	a.trustReloaded(a.files.Status())
	a.telemetry.ConfigReload(nil)
}

// serve runs until ctx is done, then drains. Each hangup is a reload.
func (a *app) serve(ctx context.Context, hangup <-chan os.Signal) error {
	watching, stopWatching := context.WithCancel(context.Background())
	var background sync.WaitGroup
	defer background.Wait()
	defer stopWatching()
	footprint.Set(a.log)
	if !a.config.File.Admin.Pprof {
		// Nobody can ask for the profile of the heap, and a handshake allocates so much that the
		// stacks of many would be kept for it.
		runtime.MemProfileRate = 0
	}
	background.Go(func() { footprint.Tend(watching) })
	background.Go(func() {
		if err := a.files.Run(watching); err != nil && !errors.Is(err, context.Canceled) {
			a.log.Error("watching files ended", "error", err)
		}
	})
	background.Go(func() {
		if err := a.admin.Serve(); err != nil {
			a.log.Error("admin listener ended", "error", err)
		}
	})
	failed := make(chan error, 1)
	go func() { failed <- a.gateway.Serve() }()

	for {
		select {
		case <-hangup:
			a.reload()
		case err := <-failed:
			a.release(context.Background())
			return err
		case <-ctx.Done():
			return a.drain(failed)
		}
	}
}

// drain ends serving: requests in flight finish, within the configured time.
func (a *app) drain(served <-chan error) error {
	timeout := a.currentConfig().DrainTimeout()
	a.stopping.Store(true)
	a.log.Info("draining", "timeout", timeout)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := a.gateway.Drain(ctx); err != nil {
		a.log.Warn("connections had to be cut", "error", err)
	}
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		// With audit.on_full: block and a dead disk, requests wait to be recorded.
		// The time is up: they are let go, and counted as lost.
		a.flush()
		err = <-served
	}
	a.release(ctx)
	a.log.Info("stopped")
	return err
}

// flush writes out what telemetry holds, for a few seconds at most.
func (a *app) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := a.telemetry.Shutdown(ctx); err != nil {
		a.log.Warn("not everything could be flushed", "error", err)
	}
}

// release closes what open opened, as far as it came.
func (a *app) release(ctx context.Context) {
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var errs []error
	if a.gateway != nil {
		if !a.gateway.Draining() {
			errs = append(errs, a.gateway.Drain(flush))
		}
		a.gateway.Program().Close(noWait())
	}
	if a.admin != nil {
		errs = append(errs, a.admin.Close(flush))
	}
	if a.telemetry != nil {
		errs = append(errs, a.telemetry.Shutdown(flush))
	}
	if a.cache != nil {
		a.cache.Close()
	}
	if r := a.currentRemotes(); r != nil {
		r.end()
	}
	if err := errors.Join(errs...); err != nil {
		a.log.Warn("not everything could be flushed", "error", err)
	}
}

// reload puts the file in force as it is now, or nothing of it: the old state is
// kept on any error, which then shows in the log, in metrics, /readyz and /status.
// Only one goroutine may reload.
func (a *app) reload() {
	// logrotate sends SIGHUP too, whatever the configuration is like by then. What comes of
	// it is the audit log's own state.
	if err := a.telemetry.Reopen(); err != nil {
		a.log.Error("audit file not reopened", "error", err)
	}
	c, err := a.apply()
	a.telemetry.ConfigReload(err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failure = err
	if err != nil {
		a.failedAt = time.Now()
		a.log.Error("configuration not reloaded; the old one stays in force", "file", a.path, "error", err)
		return
	}
	a.config, a.loadedAt = c, time.Now()
	a.reloads++
	a.log.Info("configuration reloaded", "file", a.path)
	for _, note := range c.Notes() {
		a.log.Warn("configuration", "note", note)
	}
}

// apply reads the file and puts it in force.
func (a *app) apply() (*config.Config, error) {
	old := a.currentConfig()
	c, err := config.Load(a.path)
	if err != nil {
		return nil, err
	}
	if field := c.Fixed(old); field != "" {
		return nil, c.At(field, "differs from what is in force, and a reload cannot change it", "restart to apply it")
	}
	next, err := sources(c)
	if err != nil {
		return nil, err
	}
	scopes, err := c.Scopes()
	if err != nil {
		return nil, err
	}
	before, err := sources(old)
	if err != nil {
		return nil, err
	}
	next.OnReload, before.OnReload = a.trustReloaded, a.trustReloaded
	kept := a.currentRemotes().wanted
	undo, err := a.replaceRemotes(c)
	if err != nil {
		return nil, err
	}
	if err := a.files.Replace(next); err != nil {
		undo()
		return nil, placed(c, err)
	}
	program, err := c.Program(a.deps())
	if err != nil {
		undo()
		return nil, errors.Join(err, a.files.Replace(before))
	}
	a.gateway.Swap(program)
	a.gateway.SetScopes(scopes)
	wanted := a.currentRemotes().wanted
	if err := mirror.Prune(kept.paths(), wanted.paths()); err != nil {
		a.log.Warn("a copy of what is no longer wanted could not be removed", "error", err)
	}
	return c, nil
}

func (a *app) currentConfig() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config
}

// trustReloaded tells what a look at the files changed. A fault that lasts is told
// once; /readyz, /status and a metric have it until it is mended.
func (a *app) trustReloaded(s files.Status) {
	tell := func(outcome string, item files.ItemStatus, now, previous trust.Digest) {
		a.telemetry.TrustChanged(telemetry.TrustChange{
			Outcome: outcome, Kind: item.Kind, Name: item.Name, Digest: now, Previous: previous, Err: item.Err,
		})
		level, message := slog.LevelInfo, "trust "+outcome
		what := []slog.Attr{slog.String("kind", item.Kind), slog.String("name", item.Name)}
		if outcome == telemetry.TrustLoaded && !previous.IsZero() {
			message = "trust reloaded"
		}
		if !now.IsZero() {
			what = append(what, slog.String("digest", digestPrefix(now)))
		}
		if previous != now && !previous.IsZero() {
			what = append(what, slog.String("previous", digestPrefix(previous)))
		}
		if outcome == telemetry.TrustRefused {
			level, message = slog.LevelError, "trust not reloaded; the last good state stays in force"
			switch {
			case errors.Is(item.Err, files.ErrNotFetched):
				level, message = slog.LevelWarn, "trust not fetched yet; nobody is accepted by it"
			case errors.Is(item.Err, files.ErrTooOld):
				message = "trust not confirmed for too long; nobody is accepted by it any more"
			}
			what = append(what, slog.Any("error", item.Err))
		}
		a.log.LogAttrs(context.Background(), level, message, what...)
	}
	for _, item := range s.Items {
		switch item.Change {
		case files.Unchanged:
		case files.Loaded:
			tell(telemetry.TrustLoaded, item, item.Digest, item.Previous)
		case files.Refused:
			tell(telemetry.TrustRefused, item, item.Digest, item.Previous)
		case files.Repaired:
			tell(telemetry.TrustRepaired, item, item.Digest, item.Previous)
		}
	}
	for _, item := range s.Removed {
		item.Err = nil
		tell(telemetry.TrustRemoved, item, trust.Digest{}, item.Digest)
	}
}

// digestPrefix is enough of a digest to tell two versions of an item apart.
func digestPrefix(d trust.Digest) string { return d.String()[:16] }

// trustItems says how bundles and credentials fare.
func (a *app) trustItems() (all []telemetry.TrustItem) {
	for _, item := range a.files.Status().Items {
		all = append(all, telemetry.TrustItem{Kind: item.Kind, Name: item.Name, LoadedAt: item.LoadedAt, Degraded: item.Err != nil})
	}
	return all
}

// fetchPatience is how long after the start a bundle or CRL that was never fetched
// keeps the gateway from being ready. Later it would take all replicas out for the
// sake of one partner.
const fetchPatience = 30 * time.Second

// readiness says whether the gateway should get traffic. A reload that was refused
// leaves the last good state in force: that is to be seen, and no reason to stop.
func (a *app) readiness() (r admin.Readiness) {
	a.mu.Lock()
	c, failure := a.config, a.failure
	a.mu.Unlock()
	now := time.Now()

	if a.stopping.Load() || a.gateway.Draining() {
		r.NotReady = append(r.NotReady, "draining: the process has been asked to stop")
	}
	expired := map[string]bool{}
	for _, name := range c.CredentialNames() {
		if source := a.credential(name); source != nil && now.After(source.Credential().NotAfter()) {
			expired[name] = true
			r.NotReady = append(r.NotReady, fmt.Sprintf("credential %s: expired at %s", name, source.Credential().NotAfter().UTC().Format(time.RFC3339)))
		}
	}

	if failure != nil {
		r.Degraded = append(r.Degraded, "configuration: the last reload was refused and the old one stays in force: "+firstLine(failure))
	}
	for _, item := range a.files.Status().Items {
		switch what := fmt.Sprintf("%s %s: %v", item.Kind, item.Name, item.Err); {
		case item.Err == nil || item.Kind == files.KindCredential && expired[item.Name]:
		case errors.Is(item.Err, files.ErrNotFetched) && now.Sub(a.startedAt) < fetchPatience:
			r.NotReady = append(r.NotReady, what) // a new replica that refuses whom the others accept
		default:
			r.Degraded = append(r.Degraded, what)
		}
	}
	r.Degraded = append(r.Degraded, a.sourceFaults()...)
	for _, b := range a.store.Load().Bundles() {
		if len(b.Anchors()) == 0 {
			r.Degraded = append(r.Degraded, fmt.Sprintf("bundle %s: it is empty, so nobody of this trust domain is accepted", b.Origin()))
		}
		r.Degraded = append(r.Degraded, crlFaults(b, now)...)
	}
	if audit := a.telemetry.AuditStatus(); audit.Enabled && !audit.Healthy {
		why := "audit: records cannot be written: " + audit.LastError
		if c.File.Telemetry.Audit.OnFull == telemetry.OnFullBlock {
			r.NotReady = append(r.NotReady, why) // soon nothing will be answered
		} else {
			r.Degraded = append(r.Degraded, why)
		}
	}
	return r
}

// crlFaults says which CRLs of b are past their nextUpdate, and which were not signed
// by the CA that they name.
func crlFaults(b *trust.Bundle, now time.Time) (all []string) {
	set := b.CRLs()
	for _, crl := range set.CRLs() {
		switch {
		case crl.Refuted():
			all = append(all, fmt.Sprintf("crl %s: %v was not signed by the CA that it names: it is forged, damaged or another CA's, and says nothing", b.Origin(), crl))
		case now.After(crl.NextUpdate()) && set.Options().WhenStale == trust.StaleRefuse:
			all = append(all, fmt.Sprintf("crl %s: %v is past its nextUpdate, and whoever only it covers is refused", b.Origin(), crl))
		case now.After(crl.NextUpdate()):
			all = append(all, fmt.Sprintf("crl %s: %v is past its nextUpdate", b.Origin(), crl))
		}
	}
	return all
}

// firstLine is an error of many problems as one line of /readyz.
func firstLine(err error) string {
	line, rest, more := strings.Cut(err.Error(), "\n")
	if more {
		return fmt.Sprintf("%s (and %s)", line, counted(strings.Count(rest, "\n")+1, "more problem"))
	}
	return line
}

// expiries says when bundles and the gateway's own certificates end.
func (a *app) expiries() (all []telemetry.NotAfter) {
	for _, b := range a.store.Load().Bundles() {
		var last time.Time
		for _, anchor := range b.Anchors() {
			if anchor.NotAfter.After(last) {
				last = anchor.NotAfter
			}
		}
		all = append(all, telemetry.NotAfter{Kind: telemetry.KindBundle, Name: b.Origin().String(), Time: last})
	}
	for _, name := range a.currentConfig().CredentialNames() {
		if source := a.credential(name); source != nil {
			all = append(all, telemetry.NotAfter{Kind: telemetry.KindCredential, Name: name, Time: source.Credential().NotAfter()})
		}
	}
	return all
}

// status describes everything that is in force.
func (a *app) status() admin.Status {
	now := time.Now()
	r := a.readiness()
	s := admin.Status{
		Version: buildVersion(), StartedAt: a.startedAt.UTC(), Ready: len(r.NotReady) == 0, NotReady: r.NotReady, Degraded: r.Degraded,
		Trust:     admin.TrustOf(a.store.Load(), now),
		Cache:     admin.CacheOf(a.cache.Stats()),
		Listeners: []admin.ListenerStatus{}, Credentials: []admin.CredentialStatus{},
		Audit: admin.AuditOf(a.telemetry.AuditStatus()), Refusals: admin.RefusalsOf(a.telemetry.RecentRefusals()),
		Denials:        admin.DenialsOf(a.telemetry.RecentDenials()),
		ConnectionEnds: admin.ConnectionEndsOf(a.telemetry.RecentConnectionEnds()),
		Shadow:         admin.ShadowDifferencesOf(a.telemetry.ShadowDifferences()),
	}
	s.Resumption, s.Sources = a.resumption(now), a.sourceStatus()
	s.Routes, s.Upstreams = admin.ProgramOf(a.gateway.Program())
	for _, l := range a.gateway.Listeners() {
		s.Listeners = append(s.Listeners, admin.ListenerStatus{Name: l.Name, Address: l.Address.String(), Connections: l.Connections})
	}
	for _, item := range a.files.Status().Items {
		switch item.Kind {
		case "bundle":
			for i := range s.Trust.Bundles {
				if b := &s.Trust.Bundles[i]; b.Origin == item.Name {
					b.LoadedAt, b.LastError, b.Notes = item.LoadedAt.UTC(), errorText(item.Err), item.Notes
					b.WrittenAt, b.BelievedUntil = item.WrittenAt.UTC(), item.BelievedUntil.UTC()
				}
			}
		case "credential":
			if source := a.files.Credential(item.Name); source != nil {
				k := admin.CredentialOf(item.Name, source.Credential(), now)
				k.LoadedAt, k.LastError, k.Notes = item.LoadedAt.UTC(), errorText(item.Err), item.Notes
				s.Credentials = append(s.Credentials, k)
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Config = admin.ConfigStatus{
		File: a.path, LoadedAt: a.loadedAt.UTC(), Reloads: a.reloads,
		LastError: errorText(a.failure), LastErrorAt: a.failedAt.UTC(),
	}
	return s
}

// resumption describes session tickets.
func (a *app) resumption(now time.Time) admin.ResumptionStatus {
	c := a.currentConfig()
	s := admin.ResumptionStatus{
		Enabled: !c.File.Resumption.Disabled, SharedSecret: c.SecretPath() != "",
		SecretLoadedAt: a.startedAt.UTC(), Handshakes: a.telemetry.Resumptions(),
	}
	for _, item := range a.files.Status().Items {
		if item.Kind == files.KindSecret {
			s.SecretLoadedAt = item.LoadedAt.UTC()
		}
	}
	s.SecretAgeSeconds = now.Sub(s.SecretLoadedAt).Seconds()
	return s
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
