package verifycache

import (
	"sync/atomic"
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// entry is a verdict and all that it was judged by. It is immutable but for what
// is atomic.
type entry struct {
	key    chainKey
	id     workloadid.ID // zero when it could not be read
	origin workloadid.Origin

	live answer
	// shadow is what the shadow of the bundle said last. Nil until one was asked.
	shadow atomic.Pointer[answer]

	took time.Duration // to judge by the live bundle: what a hit saves
	cost int64

	remembered atomic.Bool // it was handed to the library already
}

// verdict returns what e says at now, when it is current.
func (e *entry) verdict(q query, bundle *trust.Bundle, o Outcome, now time.Time) Verdict {
	v := Verdict{Path: e.live.Path, Grade: e.live.Grade, Err: e.live.Err, ID: e.id, Outcome: o}
	if v.Err == nil {
		v.Until = e.live.until(bundle, now)
	}
	if bundle != nil && bundle.Shadow() != nil {
		v.Shadow = e.askShadow(q, bundle.Shadow(), now)
	}
	return v
}

// askShadow returns what the bundle s says about the chain. What it said before is
// repeated for as long as it would be said again, and no longer; the live answer
// is not touched by that.
func (e *entry) askShadow(q query, s *trust.Bundle, now time.Time) *Shadow {
	if a := e.shadow.Load(); a != nil && a.current(s, q.snap, now) {
		return &a.Shadow
	}
	if path := e.live.Path; path != nil {
		q = q.holding(path)
	}
	a := new(answer)
	q.ask(a, e.id, s, now)
	// A rejection holds on to no certificate, unless the shadow accepts. Those who
	// can make that happen could have it hold on to a lot.
	if e.live.Path == nil && a.Path != nil {
		if bytes, ok := keyable(q.chain); !ok || costOf(q.chain, bytes) > maxPendingCost {
			return &a.Shadow
		}
	}
	e.shadow.Store(a)
	return &a.Shadow
}
