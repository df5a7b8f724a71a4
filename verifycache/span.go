package verifycache

import (
	"crypto/x509"
	"time"

	"verigate/trust"
)

// span is the time between two moments, neither of which belongs to it. A zero
// moment is no limit.
type span struct{ after, before time.Time }

func (s span) contains(now time.Time) bool {
	return now.After(s.after) && (s.before.IsZero() || now.Before(s.before))
}

// end makes s end at moment, if it does not earlier. A zero moment is none.
func (s *span) end(moment time.Time) {
	if !moment.IsZero() && (s.before.IsZero() || moment.Before(s.before)) {
		s.before = moment
	}
}

// begin makes s begin just before now: what was said earlier is not known.
func (s *span) begin(now time.Time) {
	// By the wall clock, which can be set back. The monotonic one cannot.
	s.after = now.Round(0).Add(-1)
}

// steady returns the span around now in which no certificate that took part in a
// judgement begins or ceases to be valid. A pure function of chain, anchors and
// time cannot change its answer within it.
//
// For an accepted chain it lies within the validity of the path (CACHE-03), and
// is narrower where it must be: a cross-certificate that becomes valid can be the
// way that the path would take then, and the deny-list may know it. For a rejected
// chain it does not depend on the reason: only "expired" names the clock, but
// "untrusted chain" can turn into acceptance.
//
// The span is empty if now is such a moment itself.
func steady(chain []*x509.Certificate, bundle *trust.Bundle, now time.Time) span {
	var s span
	narrow := func(moment time.Time) {
		if !moment.After(now) && moment.After(s.after) {
			s.after = moment
		}
		if !moment.Before(now) {
			s.end(moment)
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
