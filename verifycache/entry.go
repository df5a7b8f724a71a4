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

	notBefore, notAfter time.Time // of the path, both inclusive
	verifiedAt          time.Time
	took                time.Duration // what a hit saves
	cost                int64

	remembered atomic.Bool // it was handed to the library already
}

// current reports whether judging afresh at now by snap would give the same
// answer.
//
// The bundle is compared by content and nothing else: equal pointers would save
// the comparison of 32 octets and make every entry hold on to its snapshot.
func (e *entry) current(snap *trust.Snapshot, now time.Time, maxAge time.Duration) bool {
	bundle := snap.Bundle(e.origin)
	if bundle == nil || bundle.Digest() != e.bundle {
		return false
	}
	if now.Before(e.notBefore) || now.After(e.notAfter) || now.Sub(e.verifiedAt) > maxAge {
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
	// The answer was the same at every moment strictly between these two.
	after, before time.Time
}

func (r *rejection) current(snapshot trust.Digest, now time.Time) bool {
	return r.snapshot == snapshot && now.After(r.after) && now.Before(r.before)
}

func (r *rejection) verdict(o Outcome) Verdict {
	return Verdict{Err: r.err, ID: r.id, Outcome: o}
}

// steady returns the span around now in which no certificate that took part in a
// judgement begins or ceases to be valid. A pure function of chain, bundle and
// time cannot change its answer within it, whatever the reason of a rejection
// was: only "expired" names the clock, but a certificate that becomes valid can
// turn "untrusted chain" into acceptance.
//
// The span is empty if now is such a moment itself.
func steady(chain []*x509.Certificate, bundle *trust.Bundle, now time.Time, limit time.Duration) (after, before time.Time) {
	before = now.Add(limit)
	narrow := func(moment time.Time) {
		if !moment.After(now) && moment.After(after) {
			after = moment
		}
		if !moment.Before(now) && moment.Before(before) {
			before = moment
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
	return after, before
}
