package verifycache

import (
	"maps"
	"sync/atomic"
	"time"

	"verigate/trust"
)

// boundary returns the first moment after now at which the CRLs of bundle may say
// something else, and the zero time if there is none. It may be earlier than that,
// but never later.
func boundary(bundle *trust.Bundle, now time.Time) time.Time {
	set := bundle.CRLs()
	if set == nil {
		return time.Time{}
	}
	first := set.Boundary(now)
	// A CRL counts as early as a certificate does (PKIX-13), of which its set does not
	// know.
	if skew := bundle.Options().NotBeforeSkew; skew > 0 {
		if ahead := set.Boundary(now.Add(skew)); !ahead.IsZero() && (first.IsZero() || ahead.Add(-skew).Before(first)) {
			first = ahead.Add(-skew)
		}
	}
	return first
}

// horizons remembers boundaries. Finding one takes as long as there are CRLs, and an
// origin may have a thousand, whereas every hit needs it: 17 µs then instead of some
// 50 ns. The zero horizons is ready; it may be used concurrently.
type horizons struct {
	known atomic.Pointer[map[horizonKey]span] // the map is never modified
}

// horizonKey is all that boundaries depend on besides the time. It is no pointer, so
// that no CRL is held on to.
type horizonKey struct {
	crls trust.Digest
	skew time.Duration
}

// maxHorizons bounds the map. There is one for each origin with CRLs, its shadow's
// aside, and one more after each change.
const maxHorizons = 256

// after is [boundary]. It does not allocate but for the first time after a change.
func (h *horizons) after(bundle *trust.Bundle, now time.Time) time.Time {
	if bundle.CRLs() == nil {
		return time.Time{}
	}
	key := horizonKey{bundle.CRLs().Digest(), bundle.Options().NotBeforeSkew}
	held := h.known.Load()
	if held != nil {
		if s, ok := (*held)[key]; ok && s.contains(now) {
			return s.before
		}
	}
	s := span{before: boundary(bundle, now)}
	s.begin(now)
	next := make(map[horizonKey]span)
	if held != nil && len(*held) < maxHorizons {
		maps.Copy(next, *held)
	}
	next[key] = s
	// If somebody else was faster, one of the two is found again next time.
	h.known.Store(&next)
	return s.before
}
