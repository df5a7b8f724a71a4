package telemetry

import (
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// RevocationState is how the CRLs of one trust domain fare. Of several CRLs of one
// issuer and scope the newest counts.
type RevocationState struct {
	Origin     workloadid.Origin
	NextUpdate time.Time // the least of all CRLs; zero: there are none
	ThisUpdate time.Time // of the CRL that has it
	CRLs       int
	Stale      int // of them, past their nextUpdate, tolerated or not
	Entries    int // certificates that they revoke, all together
}

// RevocationOf returns the state of every trust domain of s that has its
// certificates looked up in CRLs, at now.
func RevocationOf(s *trust.Snapshot, now time.Time) (all []RevocationState) {
	for _, b := range s.Bundles() {
		if set := b.CRLs(); set != nil {
			state := RevocationState{Origin: b.Origin()}
			state.add(set, now)
			all = append(all, state)
		}
	}
	return all
}

func (r *RevocationState) add(set *trust.CRLSet, now time.Time) {
	known := make(map[string]bool)
	for _, crl := range set.CRLs() {
		issuer := string(crl.RawIssuer())
		if known[issuer] {
			continue
		}
		known[issuer] = true
		for _, scope := range set.Of(crl.RawIssuer()) {
			newest := inForce(set, scope, now)
			r.CRLs++
			r.Entries += newest.Entries()
			if now.After(newest.NextUpdate()) {
				r.Stale++
			}
			if r.NextUpdate.IsZero() || newest.NextUpdate().Before(r.NextUpdate) {
				r.ThisUpdate, r.NextUpdate = newest.ThisUpdate(), newest.NextUpdate()
			}
		}
	}
}

// inForce returns the first of scope, which is not empty and has the newest in
// front, that is not one of the future.
func inForce(set *trust.CRLSet, scope []*trust.CRL, now time.Time) *trust.CRL {
	for _, crl := range scope {
		if set.Freshness(crl, now) != trust.CRLToCome {
			return crl
		}
	}
	return scope[0]
}

// ObserveRevocation makes the state of CRLs metrics. list is called at every
// collection; it has the trust domains that are configured to have CRLs, and one
// that it no longer has loses its series. See [RevocationOf].
func (t *Telemetry) ObserveRevocation(list func() []RevocationState) {
	observe := func(name string, value func(RevocationState) (float64, bool)) {
		t.meter.observe(name, func(emit func(float64, ...string)) {
			for _, s := range list() {
				if v, ok := value(s); ok {
					emit(v, s.Origin.String())
				}
			}
		})
	}
	observe(MetricCRLNextUpdate, func(s RevocationState) (float64, bool) {
		return float64(s.NextUpdate.Unix()), !s.NextUpdate.IsZero()
	})
	observe(MetricCRLThisUpdate, func(s RevocationState) (float64, bool) {
		return float64(s.ThisUpdate.Unix()), !s.ThisUpdate.IsZero()
	})
	observe(MetricCRLStale, func(s RevocationState) (float64, bool) { return float64(s.Stale), true })
	observe(MetricCRLEntries, func(s RevocationState) (float64, bool) { return float64(s.Entries), true })
}
