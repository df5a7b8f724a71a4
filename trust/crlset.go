package trust

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// StalePolicy says what is done about a certificate whose only CRLs are past
// their nextUpdate. The zero StalePolicy refuses.
type StalePolicy uint8

// The policies.
const (
	StaleRefuse StalePolicy = iota // status unknown: refused
	StaleGrace                     // as if nextUpdate were CRLOptions.Grace later
	StaleAccept                    // believed for ever, and alarmed about
)

// CRLOptions says how the CRLs of an origin are applied.
type CRLOptions struct {
	WhenStale StalePolicy
	Grace     time.Duration // with StaleGrace
	// LeafOnly asks for the status of leaves alone. Otherwise every certificate of a
	// path but the anchor needs one.
	LeafOnly bool
}

// CRLSet is the CRLs of one origin and how they are applied. It is immutable. The
// nil *CRLSet says that nobody asks for revocation status; all methods can be called
// on it.
type CRLSet struct {
	crls    []*CRL
	options CRLOptions
	scopes  map[string][][]*CRL // by the DER of the issuer's name
	digest  Digest

	// The moments at which a CRL comes into force, and those at which one has gone
	// stale, in order.
	begins, ends []time.Time
}

// NewCRLSet puts crls, in any order and with repetitions, together. A set without a
// CRL is not the nil set: every status is unknown.
//
// It fails with an [*Error]: [ReasonOptions] for a nil CRL, an unknown policy or a
// negative grace, and [ReasonTooLarge] beyond [MaxCRLs].
func NewCRLSet(crls []*CRL, o CRLOptions) (*CRLSet, error) {
	switch {
	case slices.Contains(crls, nil):
		return nil, &Error{Reason: ReasonOptions, Detail: "a CRL is nil"}
	case o.WhenStale > StaleAccept || o.Grace < 0:
		return nil, &Error{Reason: ReasonOptions, Detail: "what is done about stale CRLs is not one of the policies, or its grace is negative"}
	}
	if o.WhenStale != StaleGrace {
		o.Grace = 0
	}
	s := &CRLSet{options: o, scopes: make(map[string][][]*CRL)}
	s.crls = slices.SortedStableFunc(slices.Values(crls), func(a, b *CRL) int { return bytes.Compare(a.digest[:], b.digest[:]) })
	s.crls = slices.CompactFunc(s.crls, func(a, b *CRL) bool { return a.digest == b.digest })
	if len(s.crls) > MaxCRLs {
		return nil, &Error{Reason: ReasonTooLarge, Detail: fmt.Sprintf("%d CRLs, at most %d", len(s.crls), MaxCRLs)}
	}
	s.group()
	s.order()
	s.sum()
	return s, nil
}

// group puts CRLs of one issuer and scope together.
func (s *CRLSet) group() {
	newestFirst := slices.Clone(s.crls)
	slices.SortStableFunc(newestFirst, func(a, b *CRL) int {
		if date := b.thisUpdate.Compare(a.thisUpdate); date != 0 {
			return date
		}
		return bytes.Compare(b.number[:], a.number[:])
	})
next:
	for _, crl := range newestFirst {
		scopes := s.scopes[string(crl.rawIssuer)]
		for i, scope := range scopes {
			if scope[0].scope.raw == crl.scope.raw {
				scopes[i] = append(scope, crl)
				continue next
			}
		}
		s.scopes[string(crl.rawIssuer)] = append(scopes, []*CRL{crl})
	}
}

// order sorts the moments at which time changes what the set says. Whoever
// remembers what it said asks for the next one, and there may be a thousand CRLs.
func (s *CRLSet) order() {
	for _, crl := range s.crls {
		s.begins = append(s.begins, crl.thisUpdate)
		if s.options.WhenStale != StaleAccept {
			// The last moment still counts, so what follows it is the boundary.
			s.ends = append(s.ends, crl.nextUpdate.Add(s.options.Grace).Add(1))
		}
	}
	slices.SortFunc(s.begins, time.Time.Compare)
	slices.SortFunc(s.ends, time.Time.Compare)
}

func (s *CRLSet) sum() {
	c := newContent("verigate CRLs 1")
	c.number(uint64(s.options.WhenStale))
	c.number(uint64(s.options.Grace))
	c.flag(s.options.LeafOnly)
	c.number(uint64(len(s.crls)))
	for _, crl := range s.crls {
		c.octets(crl.digest[:])
	}
	s.digest = c.sum()
}

// Options returns how the CRLs are applied. Those of the nil set are zero.
func (s *CRLSet) Options() CRLOptions {
	if s == nil {
		return CRLOptions{}
	}
	return s.options
}

// CRLs returns all CRLs, each once, in an order that follows from their content. The
// slice is not to be modified. The nil set has none.
func (s *CRLSet) CRLs() []*CRL {
	if s == nil {
		return nil
	}
	return s.crls
}

// Of returns the CRLs whose issuer is rawIssuer, the DER of a Name, octet for octet:
// one list for each scope, with the latest thisUpdate first. The slices are not to
// be modified. The nil set has none. It does not allocate.
func (s *CRLSet) Of(rawIssuer []byte) [][]*CRL {
	if s == nil {
		return nil
	}
	return s.scopes[string(rawIssuer)]
}

// Digest covers CRLs and options. That of the nil set is zero.
func (s *CRLSet) Digest() Digest {
	if s == nil {
		return Digest{}
	}
	return s.digest
}

// Freshness is how a CRL stands at a moment.
type Freshness uint8

// The freshnesses. Only CRLCurrent and CRLTolerated let a CRL clear a certificate.
const (
	CRLToCome    Freshness = iota // before its thisUpdate
	CRLCurrent                    // between its updates, both inclusive
	CRLTolerated                  // past its nextUpdate, and the options let it count
	CRLStale                      // past its nextUpdate and the grace
)

// String returns the freshness in a word or two.
func (f Freshness) String() string {
	switch f {
	case CRLToCome:
		return "to come"
	case CRLCurrent:
		return "current"
	case CRLTolerated:
		return "stale, tolerated"
	case CRLStale:
		return "stale"
	}
	return fmt.Sprintf("trust.Freshness(%d)", uint8(f))
}

// Freshness returns how crl, one of the set's, stands at now. The nil set tolerates
// nothing.
func (s *CRLSet) Freshness(crl *CRL, now time.Time) Freshness {
	o := s.Options()
	switch {
	case now.Before(crl.thisUpdate):
		return CRLToCome
	case !now.After(crl.nextUpdate):
		return CRLCurrent
	case o.WhenStale == StaleAccept,
		o.WhenStale == StaleGrace && !now.After(crl.nextUpdate.Add(o.Grace)):
		return CRLTolerated
	}
	return CRLStale
}

// Boundary returns the first moment after now at which the passing of time alone
// can change what the set says: a thisUpdate that comes, a nextUpdate that passes
// (with its grace). It is zero if there is none, and for the nil set. It takes a
// binary search and does not allocate.
//
// It is about the CRLs by themselves. Whoever judges peers by them lets a CRL count
// as early as clocks may differ, and asks [Bundle.RevocationBoundary].
func (s *CRLSet) Boundary(now time.Time) time.Time { return s.boundary(now, 0) }

// boundary is Boundary if a CRL counts by skew before its thisUpdate.
func (s *CRLSet) boundary(now time.Time, skew time.Duration) time.Time {
	if s == nil {
		return time.Time{}
	}
	begin, end := firstAfter(s.begins, now.Add(skew)), firstAfter(s.ends, now)
	if !begin.IsZero() {
		begin = begin.Add(-skew)
	}
	if begin.IsZero() || !end.IsZero() && end.Before(begin) {
		return end
	}
	return begin
}

// firstAfter returns the first of sorted moments that is after now, and the zero time
// if there is none.
func firstAfter(moments []time.Time, now time.Time) time.Time {
	i, _ := slices.BinarySearchFunc(moments, now, func(moment, now time.Time) int {
		if moment.After(now) {
			return 1
		}
		return -1
	})
	if i == len(moments) {
		return time.Time{}
	}
	return moments[i]
}
