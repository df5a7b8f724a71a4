package telemetry

import (
	"encoding/hex"
	"sync"
	"time"

	"verigate/tlsterm"
)

// Refusal is a handshake that did not authenticate anybody, for an operator who
// asks why. Claimed and Chain are what was presented, proven by nothing.
type Refusal struct {
	Time     time.Time
	Listener string
	ConnID   uint64
	Remote   string
	SNI      string
	Outcome  string // "failed" or "admitted"
	Reason   string
	Depth    int    // of the certificate at fault; 0 is the leaf
	Found    string // what was found there, and what was wanted
	Want     string
	Hint     string // what usually causes this
	Error    string // where there is no better explanation
	Claimed  string // identity
	// ClaimedSHA256 is the hash of an accepted leaf whose key was not proven.
	ClaimedSHA256 string
	Chain         []tlsterm.ChainSummary
}

// RecentRefusals returns the last handshakes that did not authenticate anybody,
// the newest first. The caller owns the slice but not what the chains share.
//
// Explaining them waits until somebody looks, which during a flood is a thousand
// times rarer than a refusal.
func (t *Telemetry) RecentRefusals() []Refusal {
	recent := t.recent.newestFirst()
	out := make([]Refusal, len(recent))
	for i, h := range recent {
		out[i] = refusalOf(h)
	}
	return out
}

func refusalOf(h *tlsterm.Handshake) Refusal {
	e := evidenceOf(h)
	r := Refusal{
		Time: h.Start.Add(h.Duration), Listener: h.Listener, ConnID: h.ConnID, Remote: h.Remote.String(),
		SNI: h.SNI, Outcome: h.Outcome.String(), Reason: h.Reason,
		Claimed: e.claimed.String(), Chain: h.Chain,
	}
	if e.claimedLeaf != [32]byte{} {
		r.ClaimedSHA256 = hex.EncodeToString(e.claimedLeaf[:])
	}
	if rejection := h.Verdict.Err; rejection != nil {
		r.Depth, r.Found, r.Want, r.Hint = rejection.Depth, rejection.Found, rejection.Want, rejection.Hint
	} else if h.Err != nil {
		r.Error = h.Err.Error()
	}
	return r
}

// ring keeps the last values given to it.
type ring[T any] struct {
	mu     sync.Mutex
	slots  []T
	next   int
	filled int
}

func newRing[T any](size int) *ring[T] { return &ring[T]{slots: make([]T, size)} }

func (r *ring[T]) add(v T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slots[r.next] = v
	r.next = (r.next + 1) % len(r.slots)
	r.filled = min(r.filled+1, len(r.slots))
}

func (r *ring[T]) newestFirst() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]T, r.filled)
	for i := range out {
		out[i] = r.slots[(r.next-1-i+2*len(r.slots))%len(r.slots)]
	}
	return out
}
