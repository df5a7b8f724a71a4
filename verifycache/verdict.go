package verifycache

import (
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/workloadid"
)

// Outcome says how a verdict came about. It has no influence on the verdict.
type Outcome uint8

// The outcomes. The zero Outcome is Bypass.
const (
	Bypass      Outcome = iota // judged without looking: the cache is disabled or closed
	Miss                       // judged afresh
	Hit                        // found, and remembered after a proof of possession
	Coalesced                  // taken over from a concurrent handshake with the same chain
	RejectedHit                // found among the recent rejections
)

// String returns the metric value: bypass, miss, hit, coalesced or rejected_hit.
func (o Outcome) String() string {
	switch o {
	case Bypass:
		return "bypass"
	case Miss:
		return "miss"
	case Hit:
		return "hit"
	case Coalesced:
		return "coalesced"
	case RejectedHit:
		return "rejected_hit"
	}
	return "unknown"
}

// Outcomes returns every outcome in the order of its value. What counts or
// documents them is held to it by tests.
func Outcomes() []Outcome { return []Outcome{Bypass, Miss, Hit, Coalesced, RejectedHit} }

// Verdict is the answer about a presented chain. Path is set exactly when the
// chain was accepted and Err exactly when it was rejected; what they point to is
// shared and must not be modified. The zero Verdict is a rejection without a
// reason.
//
// A verdict is about the chain and never about the peer, who need not hold the
// key of the leaf (TLS-13, CACHE-05).
type Verdict struct {
	Path *certpath.Path
	// Grade is what the bundle's assurance profile makes of Path at the moment; zero
	// when rejected.
	Grade assurance.Grade
	Err   *certpath.Error
	// ID is the identifier of the leaf as soon as it could be read, also when the
	// chain was rejected afterwards: then it is a claim for the operator's eyes,
	// vouched for by nobody.
	ID      workloadid.ID
	Outcome Outcome
	// IdentifyDuration and VerifyDuration are the time that it took to read the
	// identifier and to validate the path, deny-list and grade included. Both are
	// zero unless the outcome is Miss or Bypass, and neither includes the shadow.
	IdentifyDuration time.Duration
	VerifyDuration   time.Duration

	// Until is when the passing of time alone may change the answer: the end of the
	// path, another certificate's beginning or end, a CRL's, or that of what a grade
	// says. Whoever holds on to an accepted verdict has to ask again then. It is later
	// than the moment of the verdict, and has nothing to do with how long the cache
	// keeps it. Zero when rejected.
	Until time.Time
	// Shadow is what the shadow variant of the bundle says about the chain, nil if
	// the bundle has none or the chain could not be assigned to a bundle. Scope and
	// deny-list are those of the verdict.
	Shadow *Shadow

	fresh *entry // what Remember writes; nil when there is nothing to
}

// Accepted reports whether the chain was accepted.
func (v *Verdict) Accepted() bool { return v != nil && v.Path != nil && v.Err == nil }

// Shadow is the verdict of a shadow bundle. It has no effect but being counted. It
// is shared and must not be modified.
type Shadow struct {
	Path  *certpath.Path // nil if the shadow rejects
	Grade assurance.Grade
	Err   *certpath.Error // nil if the shadow accepts
}
