package telemetry

import (
	"time"

	"verigate/trust"
)

// TrustItem is how one item of trust fares.
type TrustItem struct {
	Kind     string // one of the Kind constants
	Name     string
	LoadedAt time.Time // of what is held; zero: nothing is
	Degraded bool      // its files are wrong
}

// ObserveTrustItems makes the state of bundles and credentials metrics. list is
// called at every collection; an item that it no longer has loses its series.
func (t *Telemetry) ObserveTrustItems(list func() []TrustItem) {
	t.meter.observe(MetricTrustLoaded, func(emit func(float64, ...string)) {
		for _, i := range list() {
			if !i.LoadedAt.IsZero() {
				emit(float64(i.LoadedAt.Unix()), i.Kind, i.Name)
			}
		}
	})
	t.meter.observe(MetricTrustDegraded, func(emit func(float64, ...string)) {
		for _, i := range list() {
			value := 0.0
			if i.Degraded {
				value = 1
			}
			emit(value, i.Kind, i.Name)
		}
	})
}

// Values of [TrustChange.Outcome].
const (
	TrustLoaded   = "loaded"   // something else is held, and the files are right
	TrustRefused  = "refused"  // the files are wrong; what is held stays
	TrustRepaired = "repaired" // the files are right again and say what is held
	TrustRemoved  = "removed"  // nothing is held any longer
)

// TrustChange is a change of what peers are judged by or the gateway shows them.
type TrustChange struct {
	Outcome  string // one of the Trust constants
	Kind     string // one of the Kind constants
	Name     string
	Digest   trust.Digest // of what is held now; zero: nothing
	Previous trust.Digest // of what was held before; zero: nothing
	Err      error        // what is wrong with the files
}

// TrustChanged records a change: in the audit log, and in the metric of faults if
// it was refused. The caller leaves out repetitions: a fault that is found anew at
// every look is one change.
func (t *Telemetry) TrustChanged(c TrustChange) {
	if c.Outcome == TrustRefused {
		t.meter.with(MetricTrustReloadErrors, code(c.Kind)).add(1)
	}
	if t.audit == nil {
		return
	}
	buffer := buffers.Get().(*[]byte)
	l := line{b: *buffer}
	l.trust(&c, t.now())
	t.submit(&l, buffer, t.auditCount.trust)
}

// trust writes the record of a change of trust; docs/audit-record.md lists its
// members in this order.
func (l *line) trust(c *TrustChange, at time.Time) {
	l.open(at, eventTrust)
	l.text("outcome", c.Outcome, maxShortField)
	l.text("kind", c.Kind, maxShortField)
	l.text("name", c.Name, maxField)
	l.hash("digest", c.Digest)
	l.hash("previous_digest", c.Previous)
	if c.Err != nil {
		l.text("error", c.Err.Error(), maxShortField)
	}
	l.close()
}
