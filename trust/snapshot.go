package trust

import (
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"verigate/workloadid"
)

// Snapshot is all that peers are judged by, at one moment. It is immutable. The
// nil *Snapshot trusts nothing.
type Snapshot struct {
	byOrigin map[workloadid.Origin]*Bundle
	bundles  []*Bundle
	deny     *DenyList
	digest   Digest
}

// NewSnapshot puts bundles, in any order, and deny, which may be nil, together.
//
// It fails with an [*Error]: [ReasonDuplicateOrigin] for two bundles of one
// origin, [ReasonSharedAnchor] for an anchor key that appears under two origins
// not all of which set [BundleOptions.SharedAnchor] (TD-07), and
// [ReasonOptions] for a nil bundle.
func NewSnapshot(bundles []*Bundle, deny *DenyList) (*Snapshot, error) {
	s := &Snapshot{
		byOrigin: make(map[workloadid.Origin]*Bundle, len(bundles)),
		bundles:  slices.Clone(bundles),
		deny:     deny,
	}
	for _, b := range bundles {
		if b == nil {
			return nil, &Error{Reason: ReasonOptions, Detail: "a bundle is nil"}
		}
		if s.byOrigin[b.origin] != nil {
			return nil, &Error{Reason: ReasonDuplicateOrigin, Name: b.origin.String()}
		}
		s.byOrigin[b.origin] = b
	}
	slices.SortFunc(s.bundles, func(a, b *Bundle) int {
		return strings.Compare(a.origin.String(), b.origin.String())
	})
	if err := checkSharedAnchors(s.bundles); err != nil {
		return nil, err
	}
	c := newContent("verigate snapshot 2")
	c.number(uint64(len(s.bundles)))
	for _, b := range s.bundles {
		c.judgedBy(b)
		c.flag(b.Shadow() != nil)
		if b.Shadow() != nil {
			c.judgedBy(b.Shadow())
		}
	}
	denied := deny.Digest()
	c.octets(denied[:])
	s.digest = c.sum()
	return s, nil
}

// judgedBy adds a bundle and its CRLs.
func (c content) judgedBy(b *Bundle) {
	c.octets(b.digest[:])
	c.flag(b.CRLs() != nil)
	crls := b.CRLs().Digest()
	c.octets(crls[:])
}

// checkSharedAnchors looks for keys, not for certificates: an issuer can sign
// itself as many certificates as it likes. A shadow is judged as well, because it is
// meant to take its bundle's place one day; what it shares with its own bundle is
// the origin's own.
func checkSharedAnchors(bundles []*Bundle) error {
	owner := make(map[Digest]*Bundle)
	withShadows := make([]*Bundle, 0, 2*len(bundles))
	for _, b := range bundles {
		withShadows = append(withShadows, b)
		if b.Shadow() != nil {
			withShadows = append(withShadows, b.Shadow())
		}
	}
	for _, b := range withShadows {
		for _, anchor := range b.options.Anchors {
			key := Digest(sha256.Sum256(anchor.RawSubjectPublicKeyInfo))
			switch first := owner[key]; {
			case first == nil:
				owner[key] = b
			case first.origin != b.origin && !(first.options.SharedAnchor && b.options.SharedAnchor):
				return &Error{
					Reason: ReasonSharedAnchor,
					Name:   b.origin.String(),
					Detail: "key " + key.String() + " is an anchor of " + first.origin.String() + " as well",
				}
			}
		}
	}
	return nil
}

// Bundle returns the bundle of o, nil when its trust domain is unknown and its
// peers therefore untrusted (TD-05). It does not allocate.
func (s *Snapshot) Bundle(o workloadid.Origin) *Bundle {
	if s == nil {
		return nil
	}
	return s.byOrigin[o]
}

// Bundles returns all bundles, ordered by origin. The slice is not to be
// modified.
func (s *Snapshot) Bundles() []*Bundle {
	if s == nil {
		return nil
	}
	return s.bundles
}

// Deny returns the deny-list. It may be nil, which denies nothing.
func (s *Snapshot) Deny() *DenyList {
	if s == nil {
		return nil
	}
	return s.deny
}

// Digest covers the digests of all bundles, of their CRLs and shadows and of the
// deny-list.
func (s *Snapshot) Digest() Digest {
	if s == nil {
		return nothing.digest
	}
	return s.digest
}

// nothing is what an unused Store holds.
var nothing, _ = NewSnapshot(nil, nil)

// Store publishes snapshots. Its methods may be called concurrently. The zero
// Store holds an empty snapshot: nothing is trusted. A Store must not be copied
// after first use.
type Store struct {
	current atomic.Pointer[Snapshot]

	mu         sync.Mutex
	observers  []func(old, new *Snapshot)
	pending    []change
	delivering bool
}

// change is one difference, with those who were registered when it happened.
type change struct {
	old, new  *Snapshot
	observers []func(old, new *Snapshot)
}

// Load returns the current snapshot. It is never nil and costs one atomic load.
func (s *Store) Load() *Snapshot {
	if n := s.current.Load(); n != nil {
		return n
	}
	return nothing
}

// Publish makes n current. If n has the content of the current snapshot, nothing
// happens and Load keeps returning the same pointer, so that comparing pointers
// tells whether anything changed. Publishing nil withdraws all trust.
//
// Observers are called before Publish returns, unless another call is already
// busy calling them: then that call delivers this change too, after its own.
func (s *Store) Publish(n *Snapshot) {
	if n == nil {
		n = nothing
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.Load()
	if old.digest == n.digest {
		return
	}
	s.current.Store(n)
	s.pending = append(s.pending, change{old, n, s.observers})
	if !s.delivering {
		s.deliver()
	}
}

// deliver calls the observers of every pending change. It is entered and left
// with the lock held and lets go of it around each change, so that observers
// can use the store.
func (s *Store) deliver() {
	s.delivering = true
	defer func() { s.delivering = false }()
	for len(s.pending) > 0 {
		next := s.pending[0]
		s.pending = s.pending[1:]
		func() {
			s.mu.Unlock()
			defer s.mu.Lock()
			for _, f := range next.observers {
				f(next.old, next.new)
			}
		}()
	}
	s.pending = nil
}

// OnChange registers f to be called after every later Publish that changes the
// content. Calls come in the order of the changes, one at a time, and without a
// lock held, so f may use the store; while f runs, no other observer hears of
// anything, so it should hand long work on. f may run after Load already returns
// a newer snapshot than its second argument.
func (s *Store) OnChange(f func(old, new *Snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A fresh slice: pending changes keep the one they were made with.
	s.observers = append(slices.Clip(s.observers), f)
}
