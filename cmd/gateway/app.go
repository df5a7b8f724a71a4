package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"verigate/admin"
	"verigate/config"
	"verigate/gateway"
	"verigate/telemetry"
	"verigate/trust"
	"verigate/trust/files"
	"verigate/verifycache"
)

// app is a running gateway with everything that it is composed of.
type app struct {
	path      string
	log       *slog.Logger
	startedAt time.Time

	store     trust.Store
	files     *files.Source
	cache     *verifycache.Cache
	telemetry *telemetry.Telemetry
	gateway   *gateway.Gateway
	admin     *admin.Server

	mu       sync.Mutex // guards what follows; never held while files are read
	config   *config.Config
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
	o.OnReload = a.trustReloaded
	if a.files, err = files.Open(o, &a.store); err != nil {
		return a, invalid(err)
	}
	if a.cache, err = verifycache.New(c.CacheOptions()); err != nil {
		return a, invalid(fmt.Errorf("cache: %w", err))
	}
	to := c.TelemetryOptions()
	to.Version = buildVersion()
	if to.Audit.File == "" {
		to.Audit.Writer = os.Stdout
	}
	if a.telemetry, err = telemetry.New(to); err != nil {
		return a, fmt.Errorf("telemetry: %w", err)
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
	if a.gateway, err = gateway.New(options, program); err != nil {
		program.Close(noWait())
		return a, err
	}
	a.admin, err = admin.Listen(admin.Options{
		Address: c.AdminAddress(), Pprof: c.File.Admin.Pprof, Log: log,
		Metrics: a.telemetry.Handler(), Readiness: a.readiness, Status: a.status,
	})
	if err != nil {
		return a, err
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
		o.Bundles = append(o.Bundles, files.BundleFile{Origin: d.Origin, Path: d.Path, Options: d.Options})
	}
	for _, k := range c.Credentials() {
		o.Credentials = append(o.Credentials, files.CredentialFile{Name: k.Name, CertPath: k.CertPath, KeyPath: k.KeyPath})
	}
	return o, nil
}

func (a *app) deps() config.Deps {
	return config.Deps{
		Trust: &a.store, Cache: a.cache, Telemetry: a.telemetry, Log: a.log,
		Credential: a.files.Credential,
	}
}

// observe lets telemetry look at what the rooms count themselves.
func (a *app) observe() {
	a.telemetry.ObserveCache(a.cache.Stats)
	a.telemetry.ObserveConnections(a.gateway.Connections)
	a.telemetry.ObserveTrust(a.expiries)
	a.telemetry.ConfigReload(nil)
}

// serve runs until ctx is done, then drains. reload is asked for on the channel.
func (a *app) serve(ctx context.Context, reload <-chan struct{}) error {
	watching, stopWatching := context.WithCancel(context.Background())
	var background sync.WaitGroup
	defer background.Wait()
	defer stopWatching()
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
		case <-reload:
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
	a.log.Info("draining", "timeout", timeout)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := a.gateway.Drain(ctx); err != nil {
		a.log.Warn("connections had to be cut", "error", err)
	}
	err := <-served
	a.release(ctx)
	a.log.Info("stopped")
	return err
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
	if err := errors.Join(errs...); err != nil {
		a.log.Warn("not everything could be flushed", "error", err)
	}
}

// reload puts the file in force as it is now, or nothing of it: the old state is
// kept on any error, which then shows in the log, in metrics, /readyz and /status.
// Only one goroutine may reload.
func (a *app) reload() {
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
	// logrotate sends SIGHUP too. What comes of it is the audit log's own state.
	if err := a.telemetry.Reopen(); err != nil {
		a.log.Error("audit file not reopened", "error", err)
	}
}

// apply reads the file and puts it in force.
func (a *app) apply() (*config.Config, error) {
	old := a.currentConfig()
	c, err := config.Load(a.path)
	if err != nil {
		return nil, err
	}
	if err := sameListeners(old, c); err != nil {
		return nil, err
	}
	next, err := sources(c)
	if err != nil {
		return nil, err
	}
	before, err := sources(old)
	if err != nil {
		return nil, err
	}
	next.OnReload, before.OnReload = a.trustReloaded, a.trustReloaded
	if err := a.files.Replace(next); err != nil {
		return nil, err
	}
	program, err := c.Program(a.deps())
	if err != nil {
		return nil, errors.Join(err, a.files.Replace(before))
	}
	a.gateway.Swap(program)
	return c, nil
}

// sameListeners refuses changes that only a new process can make.
func sameListeners(old, new *config.Config) error {
	for _, part := range []struct {
		name     string
		old, new any
	}{
		{"listeners", old.File.Listeners, new.File.Listeners},
		{"admin", old.File.Admin, new.File.Admin},
		{"telemetry", old.File.Telemetry, new.File.Telemetry},
		{"cache", old.File.Cache, new.File.Cache},
		{"handshake_tokens", old.File.HandshakeTokens, new.File.HandshakeTokens},
	} {
		if !reflect.DeepEqual(part.old, part.new) {
			return fmt.Errorf("%s: the section differs from the one in force, and a reload cannot change it; restart to apply it", part.name)
		}
	}
	return nil
}

func (a *app) currentConfig() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config
}

// trustReloaded tells what became of changed files.
func (a *app) trustReloaded(s files.Status) {
	if err := s.Err(); err != nil {
		a.log.Error("trust not fully reloaded; the last good state stays in force", "error", err)
	}
	for _, item := range s.Items {
		if item.Err != nil && a.telemetry != nil {
			a.telemetry.TrustReloadFailed(item.Kind)
		}
	}
}

// readiness says whether the gateway should get traffic. A reload that was refused
// leaves the last good state in force: that is to be seen, and no reason to stop.
func (a *app) readiness() (r admin.Readiness) {
	a.mu.Lock()
	c, failure := a.config, a.failure
	a.mu.Unlock()
	now := time.Now()

	if a.gateway.Draining() {
		r.NotReady = append(r.NotReady, "draining: the process has been asked to stop")
	}
	expired := map[string]bool{}
	for _, k := range c.Credentials() {
		if source := a.files.Credential(k.Name); source != nil && now.After(source.Credential().NotAfter()) {
			expired[k.Name] = true
			r.NotReady = append(r.NotReady, fmt.Sprintf("credential %s: expired at %s", k.Name, source.Credential().NotAfter().UTC().Format(time.RFC3339)))
		}
	}

	if failure != nil {
		r.Degraded = append(r.Degraded, "configuration: the last reload was refused and the old one stays in force: "+firstLine(failure))
	}
	for _, item := range a.files.Status().Items {
		if item.Err != nil && !expired[item.Name] {
			r.Degraded = append(r.Degraded, fmt.Sprintf("%s %s: %v", item.Kind, item.Name, item.Err))
		}
	}
	for _, b := range a.store.Load().Bundles() {
		if len(b.Anchors()) == 0 {
			r.Degraded = append(r.Degraded, fmt.Sprintf("bundle %s: it is empty, so nobody of this trust domain is accepted", b.Origin()))
		}
	}
	if audit := a.telemetry.AuditStatus(); audit.Enabled && !audit.Healthy {
		r.Degraded = append(r.Degraded, "audit: records cannot be written: "+audit.LastError)
	}
	return r
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
	for _, k := range a.currentConfig().Credentials() {
		if source := a.files.Credential(k.Name); source != nil {
			all = append(all, telemetry.NotAfter{Kind: telemetry.KindCredential, Name: k.Name, Time: source.Credential().NotAfter()})
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
	}
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

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
