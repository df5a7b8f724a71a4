package telemetry

import (
	"time"

	"verigate/verifycache"
)

// ObserveCache makes the verification cache's counters metrics. stats is called at
// every collection.
func (t *Telemetry) ObserveCache(stats func() verifycache.Stats) {
	single := func(name string, value func(verifycache.Stats) float64) {
		t.meter.observe(name, func(emit func(float64, ...string)) { emit(value(stats())) })
	}
	t.meter.observe(MetricCacheLookups, func(emit func(float64, ...string)) {
		s := stats()
		emit(float64(s.Hits), verifycache.Hit.String())
		emit(float64(s.Misses), verifycache.Miss.String())
		emit(float64(s.Coalesced), verifycache.Coalesced.String())
		emit(float64(s.RejectedHits), verifycache.RejectedHit.String())
		emit(float64(s.Bypassed), verifycache.Bypass.String())
	})
	t.meter.observe(MetricCacheEntries, func(emit func(float64, ...string)) {
		s := stats()
		emit(float64(s.Entries), "accepted")
		emit(float64(s.Rejected), "rejected")
		emit(float64(s.Links), "links")
	})
	single(MetricCacheStale, func(s verifycache.Stats) float64 { return float64(s.StaleHits) })
	single(MetricCacheEvictions, func(s verifycache.Stats) float64 { return float64(s.Evictions) })
	single(MetricCacheDropped, func(s verifycache.Stats) float64 { return float64(s.SetsDropped) })
	single(MetricCacheSpent, func(s verifycache.Stats) float64 { return s.VerifyTime.Seconds() })
	single(MetricCacheSaved, func(s verifycache.Stats) float64 { return s.SavedTime.Seconds() })
}

// Connections is how many connections a listener has.
type Connections struct {
	Listener string
	Active   int
}

// ObserveConnections makes the number of open connections a metric. count is
// called at every collection.
func (t *Telemetry) ObserveConnections(count func() []Connections) {
	t.meter.observe(MetricConnectionActive, func(emit func(float64, ...string)) {
		for _, c := range count() {
			emit(float64(c.Active), c.Listener)
		}
	})
}

// What a [NotAfter], a [TrustItem] or a [TrustChange] is about.
const (
	KindBundle     = "bundle"     // Name is the origin
	KindCRL        = "crl"        // Name is the origin and the file
	KindShadow     = "shadow"     // Name is the origin, and the file for its CRLs
	KindCredential = "credential" // Name is the configured name
	KindSecret     = "secret"     // Name is the configured name
)

// NotAfter is when something that the gateway relies on expires.
type NotAfter struct {
	Kind string // KindBundle or KindCredential
	Name string
	Time time.Time // for a bundle, of the anchor that lasts longest
}

// ObserveTrust makes the expiry of bundles and credentials metrics. list is called
// at every collection.
func (t *Telemetry) ObserveTrust(list func() []NotAfter) {
	of := func(kind string) func(emit func(float64, ...string)) {
		return func(emit func(float64, ...string)) {
			for _, n := range list() {
				if n.Kind == kind {
					emit(float64(n.Time.Unix()), n.Name)
				}
			}
		}
	}
	t.meter.observe(MetricBundleNotAfter, of(KindBundle))
	t.meter.observe(MetricCredentialNotAfter, of(KindCredential))
}

// HTTPRefused counts a request that the strict gate refused, by its violation. The
// request is recorded with [Telemetry.Request] all the same.
func (t *Telemetry) HTTPRefused(violation string) {
	t.meter.with(MetricHTTPRefused, code(violation)).add(1)
}

// ConfigReload records an attempt to load a configuration; err is nil if it is now
// in force. The first load counts too.
func (t *Telemetry) ConfigReload(err error) {
	outcome := "success"
	if err != nil {
		outcome = "failure"
	} else {
		t.configLoaded.Store(t.now().Unix())
	}
	t.meter.with(MetricConfigReloads, outcome).add(1)
}

// observeOwn sets up the metrics about recording itself. Counters that an alert
// watches exist from the start: a rate has no value where there was no zero before.
func (t *Telemetry) observeOwn() {
	for _, outcome := range []string{"success", "failure"} {
		t.meter.with(MetricConfigReloads, outcome)
	}
	for _, kind := range []string{KindBundle, KindCRL, KindShadow, KindCredential, KindSecret} {
		t.meter.with(MetricTrustReloadErrors, kind)
	}
	t.meter.observe(MetricConfigLastSuccess, func(emit func(float64, ...string)) {
		if at := t.configLoaded.Load(); at != 0 {
			emit(float64(at))
		}
	})
	if t.audit == nil {
		return
	}
	t.auditCount.handshakes = t.meter.with(MetricAuditRecords, eventHandshake)
	t.auditCount.requests = t.meter.with(MetricAuditRecords, eventRequest)
	t.auditCount.ends = t.meter.with(MetricAuditRecords, eventEnd)
	t.auditCount.trust = t.meter.with(MetricAuditRecords, eventTrust)
	single := func(name string, value func() uint64) {
		t.meter.observe(name, func(emit func(float64, ...string)) { emit(float64(value())) })
	}
	single(MetricAuditDropped, t.audit.dropped.Load)
	single(MetricAuditSuppressed, t.audit.suppressed.Load)
	single(MetricAuditErrors, func() uint64 { return t.audit.status().Errors })
	single(MetricAuditQueued, func() uint64 { return uint64(t.audit.status().Queued) })
}
