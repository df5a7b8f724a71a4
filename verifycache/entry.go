package verifycache

import (
	"crypto/x509"
	"sync/atomic"
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/trust"
	"verigate/workloadid"
)

// entry is an accepted verdict and all that it was judged by. It is immutable but
// for remembered.
type entry struct {
	key    chainKey
	bundle trust.Digest // of the bundle of the identifier's origin

	id     workloadid.ID
	origin workloadid.Origin
	path   *certpath.Path
	refs   []trust.CertRef
	grade  assurance.Grade

	span       span
	verifiedAt time.Time
	took       time.Duration // what a hit saves
	cost       int64

	remembered atomic.Bool // it was handed to the library already
}

// current reports whether judging afresh at now by snap would give the same
// answer.
//
// The bundle is compared by content and nothing else: equal pointers would save
// the comparison of 32 octets and make every entry hold on to its snapshot.
func (e *entry) current(snap *trust.Snapshot, now time.Time) bool {
	bundle := snap.Bundle(e.origin)
	if bundle == nil || bundle.Digest() != e.bundle || !e.span.contains(now) {
		return false
	}
	_, _, denied := snap.Deny().Find(e.id, e.refs)
	return !denied
}

func (e *entry) verdict(o Outcome) Verdict {
	return Verdict{Path: e.path, Grade: e.grade, ID: e.id, Outcome: o}
}

// rejection is a rejected verdict. It is bound to the digest of the whole
// snapshot: its identifier may name no bundle, or there may be no identifier, and
// for something that lives for seconds a finer distinction buys nothing.
type rejection struct {
	snapshot trust.Digest
	id       workloadid.ID
	err      *certpath.Error
	span     span
}

func (r *rejection) current(snapshot trust.Digest, now time.Time) bool {
	return r.snapshot == snapshot && r.span.contains(now)
}

func (r *rejection) verdict(o Outcome) Verdict {
	return Verdict{Err: r.err, ID: r.id, Outcome: o}
}

// span is the time between two moments, neither of which belongs to it.
type span struct{ after, before time.Time }

func (s span) contains(now time.Time) bool { return now.After(s.after) && now.Before(s.before) }

// steady returns the span around now in which no certificate that took part in a
// judgement begins or ceases to be valid, and which ends within limit. A pure
// function of chain, bundle and time cannot change its answer within it.
//
// For an accepted chain it lies within the validity of the path (CACHE-03), and
// is narrower where it must be: a cross-certificate that becomes valid can be the
// way that the path would take then, and the deny-list may know it. For a rejected
// chain it does not depend on the reason: only "expired" names the clock, but
// "untrusted chain" can turn into acceptance.
//
// The span is empty if now is such a moment itself.
func steady(chain []*x509.Certificate, bundle *trust.Bundle, now time.Time, limit time.Duration) span {
	s := span{before: now.Add(limit)}
	narrow := func(moment time.Time) {
		if !moment.After(now) && moment.After(s.after) {
			s.after = moment
		}
		if !moment.Before(now) && moment.Before(s.before) {
			s.before = moment
		}
	}
	var skew time.Duration
	var anchors []*x509.Certificate
	if bundle != nil {
		skew, anchors = bundle.Options().NotBeforeSkew, bundle.Anchors()
	}
	for _, certificates := range [][]*x509.Certificate{chain, anchors} {
		for _, c := range certificates {
			narrow(c.NotBefore.Add(-skew))
			narrow(c.NotAfter)
		}
	}
	return s
}
