package telemetry

import (
	"net/netip"
	"time"

	"verigate/assurance"
	"verigate/tlsterm"
	"verigate/workloadid"
)

// The causes for which a live connection ends.
const (
	CauseTrust = "trust" // what the caller is judged by has changed
	CauseTime  = "time"  // a CRL or a grade ended by itself
)

// ConnectionEnd is a live connection that ends because its caller is not accepted
// any more (REV-05).
type ConnectionEnd struct {
	Listener string
	ConnID   uint64
	Remote   netip.AddrPort
	Start    time.Time
	Identity workloadid.ID
	Cause    string // CauseTrust or CauseTime
	Reason   string // of the verdict, such as "revoked"
	Err      error  // for the operator
	Cut      bool   // a response in flight did not finish in time
}

// Values of the outcome label of [MetricConnectionRefused].
const (
	endClosed = "closed"
	endCut    = "cut"
)

// ConnectionRefused records the end of a connection whose caller is not accepted
// any more: in its metric, in the audit log, and for
// [Telemetry.RecentConnectionEnds]. It does not keep e.
func (t *Telemetry) ConnectionRefused(e *ConnectionEnd) {
	now := t.now()
	outcome := endClosed
	if e.Cut {
		outcome = endCut
	}
	t.meter.with(MetricConnectionRefused, e.Listener, code(e.Cause), outcome, code(e.Reason)).add(1)
	t.ends.add(refusedConnection(e, now))
	if t.audit == nil {
		return
	}
	buffer := buffers.Get().(*[]byte)
	l := line{b: *buffer}
	l.end(e, now)
	t.submit(&l, buffer, t.auditCount.ends)
}

// end writes the record of a connection that ended so; docs/audit-record.md lists
// its members in this order.
func (l *line) end(e *ConnectionEnd, at time.Time) {
	l.open(at, eventEnd)
	l.text("cause", e.Cause, maxShortField)
	l.text("reason", e.Reason, maxShortField)
	if e.Err != nil {
		l.text("error", e.Err.Error(), maxShortField)
	}
	l.boolean("cut", e.Cut)
	l.text("listener", e.Listener, maxShortField)
	l.unsigned("connection", e.ConnID)
	l.address("remote", e.Remote)
	l.text("identity", e.Identity.String(), maxField)
	l.text("trust_domain", e.Identity.Origin().String(), maxShortField)
	if !e.Start.IsZero() {
		l.number("duration_ns", int64(at.Sub(e.Start)))
	}
	l.close()
}

// RefusedConnection is a [ConnectionEnd], for an operator who asks why a client was
// thrown out.
type RefusedConnection struct {
	Time     time.Time
	Listener string
	ConnID   uint64
	Remote   string
	Identity string
	Life     time.Duration // from the beginning of the connection
	Cause    string
	Reason   string
	Error    string
	Cut      bool
}

// RecentConnectionEnds returns the last live connections that ended because their
// caller was not accepted any more, the newest first. The caller owns the slice.
func (t *Telemetry) RecentConnectionEnds() []RefusedConnection { return t.ends.newestFirst() }

func refusedConnection(e *ConnectionEnd, now time.Time) RefusedConnection {
	r := RefusedConnection{
		Time: now, Listener: e.Listener, ConnID: e.ConnID, Remote: e.Remote.String(),
		Identity: e.Identity.String(), Cause: e.Cause, Reason: e.Reason, Cut: e.Cut,
	}
	if !e.Start.IsZero() {
		r.Life = now.Sub(e.Start)
	}
	if e.Err != nil {
		r.Error = e.Err.Error()
	}
	return r
}

// Rejudged counts n live connections that were judged anew, which took so long.
func (t *Telemetry) Rejudged(cause string, n int, took time.Duration) {
	cause = code(cause)
	t.meter.with(MetricRejudged, cause).add(uint64(max(n, 0)))
	t.meter.with(MetricRejudgeDuration, cause).observe(took)
}

// Values of the finding label, and of the member of a record.
const (
	findingSharedKey    = "shared_key"
	findingManyNetworks = "many_networks"
)

// Findings counts what was found against the credential of one connection on the
// named listener. Call it once for each finding that is new to the connection.
func (t *Telemetry) Findings(listener string, f assurance.Findings) {
	if f.SharedKey {
		t.meter.with(MetricFindings, listener, findingSharedKey).add(1)
	}
	if f.ManyNetworks {
		t.meter.with(MetricFindings, listener, findingManyNetworks).add(1)
	}
}

// Resumptions returns how many handshakes there were by what became of the session
// that the client wanted to resume, over all listeners. The caller owns the map.
func (t *Telemetry) Resumptions() map[string]uint64 {
	totals := make(map[string]uint64, len(tlsterm.Resumptions()))
	for _, r := range tlsterm.Resumptions() {
		totals[r.String()] = 0
	}
	for value, n := range t.meter.families[MetricResumptions].totals(LabelResumption) {
		totals[value] = n
	}
	return totals
}
