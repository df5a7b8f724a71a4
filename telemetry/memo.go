package telemetry

import (
	"verigate/assurance"
	"verigate/workloadid"
)

// Memo remembers what the requests of one connection have in common: how their audit
// records spell it, and which series they add to. Nothing of a record depends on
// whether there is a Memo.
//
// The zero Memo is ready for use, by one request at a time. It keeps the strings that
// are in it, so that those of a request which has one must not be views: Listener,
// Remote, SNI, Route, Upstream, Endpoint and Reason.
type Memo struct {
	caller fragment[callerPart]
	target fragment[targetPart]

	of     *Telemetry // whose series it is
	key    requestKey
	series *requestSeries
}

// fragment is a part of the last record, as it was written.
type fragment[P comparable] struct {
	of   P
	text []byte // nil: there was none
	cut  bool
}

// write writes p, as it was written last if it is the same.
func (f *fragment[P]) write(l *line, p *P, anew func(*P, *line)) {
	if f.text == nil || f.of != *p {
		var fresh line
		fresh.b, f.text = f.text[:0], nil
		anew(p, &fresh)
		f.of, f.text, f.cut = *p, fresh.b, fresh.cut
	}
	l.b = append(l.b, f.text...)
	l.cut = l.cut || f.cut
}

// callerPart is what a record says about the connection and who is at its other end.
type callerPart struct {
	listener    string
	connID      uint64
	remote, sni string
	caller      workloadid.ID
	claimed     workloadid.ID
	grade       assurance.Grade
	findings    assurance.Findings
}

func (p *callerPart) write(l *line) {
	l.text("listener", p.listener, maxShortField)
	l.unsigned("connection", p.connID)
	l.text("remote", p.remote, maxShortField)
	l.text("sni", p.sni, maxShortField)
	l.boolean("authenticated", !p.caller.IsZero())
	l.text("identity", p.caller.String(), maxField)
	if p.caller.IsZero() {
		l.text("claimed_identity", p.claimed.String(), maxField)
		return
	}
	l.text("trust_domain", p.caller.Origin().String(), maxShortField)
	l.grade(p.grade)
	l.findings(p.findings)
}

// targetPart is what a record says about the backend.
type targetPart struct {
	upstream, endpoint string
	identity           workloadid.ID
}

func (p *targetPart) write(l *line) {
	l.text("upstream", p.upstream, maxShortField)
	l.text("endpoint", p.endpoint, maxShortField)
	l.text("upstream_identity", p.identity.String(), maxField)
}
