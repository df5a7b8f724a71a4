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

// ring keeps the last handshakes given to it. Explaining them waits until somebody
// looks, which during a flood is a thousand times rarer than a refusal.
type ring struct {
	mu    sync.Mutex
	slots []*tlsterm.Handshake
	next  int
}

func newRing(size int) *ring { return &ring{slots: make([]*tlsterm.Handshake, size)} }

func (r *ring) add(h *tlsterm.Handshake) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slots[r.next] = h
	r.next = (r.next + 1) % len(r.slots)
}

func (r *ring) newestFirst() []*tlsterm.Handshake {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*tlsterm.Handshake, 0, len(r.slots))
	for i := range r.slots {
		h := r.slots[(r.next-1-i+2*len(r.slots))%len(r.slots)]
		if h == nil {
			break
		}
		out = append(out, h)
	}
	return out
}
