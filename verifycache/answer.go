package verifycache

import (
	"bytes"
	"crypto/x509"
	"sync/atomic"
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/trust"
	"verigate/workloadid"
)

// answer is what one bundle, the live one or its shadow, says about a chain, and
// all that this depends on. It is immutable once it is kept, but for what is atomic.
type answer struct {
	Shadow // path and grade, or the reason of the rejection

	// by is the digest of the bundle that accepted, or of the snapshot in which it was
	// rejected: its identifier may name no bundle, or there may be no identifier, and a
	// finer distinction would have to know what each reason depends on.
	by trust.Digest
	// forked says that the chain offers several ways to an anchor, so that CRLs may
	// have chosen among them: these, by their digest.
	forked bool
	crls   trust.Digest

	span     span
	changes  time.Time // as in steady, and when the grade does; zero if never
	judgedAt time.Time // by the wall clock alone

	// looked is where the path of an acceptance was last looked up.
	looked atomic.Pointer[looked]
}

// looked is that nothing speaks against a path: no list with these digests, at no
// moment of the span. What was looked up once in lists that stay as they are need not be
// looked up for every hit, which would take a quarter of it.
type looked struct {
	crls, deny trust.Digest
	span       span
}

// ask judges the chain afresh into a, which is empty: as that of id, by bundle, which is
// nil if there is none for its origin.
func (q query) ask(a *answer, id workloadid.ID, bundle *trust.Bundle, now time.Time) {
	a.judgedAt, a.span = now.Round(0), steady(q.chain, bundle, now)
	a.Path, a.Err = q.validate(id, bundle, now)
	if a.Err == nil {
		a.by = bundle.Digest()
		a.assess(bundle, now)
	}
	if a.Err != nil {
		a.Path, a.Grade = nil, assurance.Grade{}
		a.by = q.snap.Digest()
	}
	a.changes = a.span.before
	if bundle == nil {
		return
	}
	// On a hit, the path of an acceptance is looked up in the CRLs of that moment.
	// That is all if there was no other path to take. Else, and for a rejection, the
	// answer is good for as long as the CRLs say what they said.
	if crls := bundle.CRLs(); crls != nil && (a.Err != nil || isForked(q.chain, a.Path, bundle)) {
		a.forked, a.crls = true, crls.Digest()
		a.span.begin(now)
		a.span.end(bundle.RevocationBoundary(now.Add(-1)))
	}
	if a.Err != nil && bundle.Options().Assurance != nil {
		a.span.begin(now)
	}
}

// assess grades the path, and rejects it if that is below what its trust domain
// demands.
func (a *answer) assess(bundle *trust.Bundle, now time.Time) {
	options := bundle.Options()
	grade, until := options.Assurance.GradeAt(a.Path.Evidence(), now)
	a.Grade = grade
	a.span.end(until)
	if grade.MIAL < options.MinMIAL {
		a.Err = &certpath.Error{
			Reason: certpath.ReasonAssurance,
			Found:  grade.MIAL.String(),
			Want:   options.MinMIAL.String() + " or more",
			Hint:   "min_mial of " + bundle.Origin().String(),
		}
	}
}

// isForked reports whether chain and bundle have, for any certificate of path, a
// second issuer by name. Without one the path is the only one that there is.
func isForked(chain []*x509.Certificate, path *certpath.Path, bundle *trust.Bundle) bool {
	for _, issuer := range path.Issuers() {
		for _, c := range chain[1:] {
			if bytes.Equal(c.RawSubject, issuer.RawSubject) && !c.Equal(issuer) {
				return true
			}
		}
		for _, anchor := range bundle.AnchorsNamed(issuer.RawSubject) {
			if !anchor.Equal(issuer) {
				return true
			}
		}
	}
	return false
}

// current reports whether asking bundle afresh at now, with snap around it, would
// give the same answer. It does not allocate unless a certificate was revoked, or the path
// is looked up in lists in which it was not before.
//
// The bundle is compared by content and nothing else: equal pointers would save
// the comparison of 32 octets and make every entry hold on to its snapshot.
func (a *answer) current(bundle *trust.Bundle, snap *trust.Snapshot, now time.Time) bool {
	if !a.span.contains(now) {
		return false
	}
	if a.Err != nil {
		return a.by == snap.Digest()
	}
	if bundle == nil || bundle.Digest() != a.by {
		return false
	}
	if a.forked && (bundle.CRLs() == nil || bundle.CRLs().Digest() != a.crls) {
		return false
	}
	if now.Before(a.judgedAt) && !a.gradesAlike(bundle, now) {
		return false
	}
	return a.isClear(bundle, snap.Deny(), now)
}

// isClear reports whether neither the CRLs of bundle nor the deny-list speak against the
// path at now. Both are compared by content, as bundles are.
func (a *answer) isClear(bundle *trust.Bundle, deny *trust.DenyList, now time.Time) bool {
	crls := bundle.CRLs()
	if l := a.looked.Load(); l != nil && l.crls == crls.Digest() && l.deny == deny.Digest() && l.span.contains(now) {
		return true
	}
	if reason, _ := certpath.CheckRevocation(a.Path, bundle, now); reason != certpath.ReasonNone {
		return false
	}
	if _, _, denied := deny.Find(a.Path.ID(), a.Path.Refs()); denied {
		return false
	}
	l := &looked{crls: crls.Digest(), deny: deny.Digest()}
	l.span.begin(now)
	l.span.end(bundle.RevocationBoundary(now.Add(-1)))
	a.looked.Store(l)
	return true
}

// gradesAlike is for a clock that was set back. A profile says until when a grade
// holds and not since when.
func (a *answer) gradesAlike(bundle *trust.Bundle, now time.Time) bool {
	grade, until := bundle.Options().Assurance.GradeAt(a.Path.Evidence(), now)
	return grade == a.Grade && (until.IsZero() || !until.Before(a.changes))
}

// until returns when time alone may change an acceptance that is current.
func (a *answer) until(bundle *trust.Bundle, now time.Time) time.Time {
	until := a.changes
	if moment := bundle.RevocationBoundary(now); !moment.IsZero() && moment.Before(until) {
		until = moment
	}
	// X.509 has the last moment belong to the validity.
	if !until.After(now) {
		return now.Add(1)
	}
	return until
}
