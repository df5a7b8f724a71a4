package telemetry

import (
	"net/netip"
	"time"

	"verigate/workloadid"
)

// The causes for which a live connection ends.
const (
	CauseTrust = "trust" // what the caller is judged by has changed
	CauseTime  = "time"  // a CRL or a grade ended by itself
)

// ConnectionEnd is a live connection that ends because its caller is not accepted
// any more (REV-05): for the records, and for an operator who asks why a client was
// thrown out.
type ConnectionEnd struct {
	Time     time.Time // when it ended; [Telemetry.ConnectionRefused] sets it
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

// Life returns how long the connection lived; 0 if its beginning is not known.
func (e *ConnectionEnd) Life() time.Duration {
	if e.Start.IsZero() {
		return 0
	}
	return e.Time.Sub(e.Start)
}

// Values of the outcome label of [MetricConnectionRefused].
const (
	endClosed = "closed"
	endCut    = "cut"
)

// ConnectionRefused records that a connection ends now because its caller is not
// accepted any more: in its metric, in the audit log, and for
// [Telemetry.RecentConnectionEnds]. It does not change or keep e.
func (t *Telemetry) ConnectionRefused(e *ConnectionEnd) {
	end := *e
	end.Time = t.now()
	outcome := endClosed
	if end.Cut {
		outcome = endCut
	}
	t.meter.with(MetricConnectionRefused, end.Listener, code(end.Cause), outcome, code(end.Reason)).add(1)
	t.ends.add(end)
	if t.audit == nil {
		return
	}
	buffer := buffers.Get().(*[]byte)
	l := line{b: *buffer}
	l.end(&end)
	t.submit(&l, buffer, t.auditCount.ends)
}

// RecentConnectionEnds returns the last live connections that ended because their
// caller was not accepted any more, the newest first. The caller owns the slice.
func (t *Telemetry) RecentConnectionEnds() []ConnectionEnd { return t.ends.newestFirst() }

// end writes the record of a connection that ended so; docs/audit-record.md lists
// its members in this order.
func (l *line) end(e *ConnectionEnd) {
	l.open(e.Time, eventEnd)
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
	l.number("duration_ns", int64(e.Life()))
	l.close()
}

// Rejudged counts n live connections that were judged anew, which took so long.
func (t *Telemetry) Rejudged(cause string, n int, took time.Duration) {
	cause = code(cause)
	t.meter.with(MetricRejudged, cause).add(uint64(max(n, 0)))
	t.meter.with(MetricRejudgeDuration, cause).observe(took)
}
