package upstream

import (
	"math/rand/v2"
	"time"
)

// pick chooses the endpoint to try next, among those not tried yet: one that is
// cooling down only if there is no other. It returns -1 when all were tried.
func (u *Upstream) pick(tried *triedSet, now time.Time) int {
	if len(u.endpoints) == 1 {
		if tried.has(0) {
			return -1
		}
		return 0
	}
	first := u.prefer()
	cold := -1
	for i := range u.endpoints {
		at := (first + i) % len(u.endpoints)
		if tried.has(at) {
			continue
		}
		if u.endpoints[at].coldUntil.Load() <= now.UnixNano() {
			return at
		}
		if cold < 0 {
			cold = at
		}
	}
	return cold
}

// prefer returns the endpoint to begin with.
func (u *Upstream) prefer() int {
	n := len(u.endpoints)
	if u.o.Balance != balanceLeastRequest {
		return int(u.turn.Add(1) % uint64(n))
	}
	// The better of two drawn at random: nearly as even as comparing all of
	// them, without every gateway choosing the same one at once.
	a := rand.IntN(n)
	b := (a + 1 + rand.IntN(n-1)) % n
	if u.endpoints[b].inFlight.Load() < u.endpoints[a].inFlight.Load() {
		return b
	}
	return a
}

// triedSet remembers endpoints by index without allocating for the first 64.
type triedSet struct {
	low  uint64
	more map[int]bool
}

func (s *triedSet) has(i int) bool {
	if i < 64 {
		return s.low&(1<<i) != 0
	}
	return s.more[i]
}

func (s *triedSet) add(i int) {
	if i < 64 {
		s.low |= 1 << i
		return
	}
	if s.more == nil {
		s.more = make(map[int]bool)
	}
	s.more[i] = true
}
