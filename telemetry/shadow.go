package telemetry

import (
	"cmp"
	"container/list"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"verigate/certpath"
	"verigate/tlsterm"
	"verigate/verifycache"
	"verigate/workloadid"
)

// shadowOutcome is what the shadow of a trust domain would change about a verdict.
type shadowOutcome uint8

// Values of the outcome label of [MetricShadowVerdicts].
const (
	ShadowAgrees      = "agrees"
	ShadowWouldRefuse = "would_refuse"
	ShadowWouldAccept = "would_accept"
)

const (
	shadowAbsent      shadowOutcome = iota // there is none, or nothing is proven about it
	shadowAgrees                           // nothing
	shadowWouldRefuse                      // it would refuse who is accepted
	shadowWouldAccept                      // it would accept who is refused
)

// String returns the metric value.
func (o shadowOutcome) String() string {
	switch o {
	case shadowAbsent:
		return ValueNone
	case shadowAgrees:
		return ShadowAgrees
	case shadowWouldRefuse:
		return ShadowWouldRefuse
	case shadowWouldAccept:
		return ShadowWouldAccept
	}
	return fmt.Sprintf("telemetry.shadowOutcome(%d)", uint8(o))
}

func (o shadowOutcome) differs() bool { return o == shadowWouldRefuse || o == shadowWouldAccept }

// shadowOf compares the verdict about a chain, whose key was proven or not, with that
// of the shadow. The reason is why one of the two refuses.
//
// A chain that is accepted and whose key was not proven says nothing: whoever
// copied it long ago could make an operator believe that somebody would be refused
// who has long had another one.
func shadowOf(v *verifycache.Verdict, proven bool) (shadowOutcome, certpath.Reason) {
	switch {
	case v.Shadow == nil || v.Accepted() && !proven:
		return shadowAbsent, certpath.ReasonNone
	case v.Accepted() && v.Shadow.Err != nil:
		return shadowWouldRefuse, v.Shadow.Err.Reason
	case v.Err != nil && v.Shadow.Err == nil:
		return shadowWouldAccept, v.Err.Reason
	}
	return shadowAgrees, certpath.ReasonNone
}

// shadowOfHandshake is shadowOf for the verdict of a handshake.
func shadowOfHandshake(h *tlsterm.Handshake) (shadowOutcome, certpath.Reason) {
	return shadowOf(&h.Verdict, h.Outcome == tlsterm.Accepted)
}

// shadowVerdict is what the metric of shadow verdicts tells apart.
type shadowVerdict struct {
	domain     string
	outcome    shadowOutcome
	difference certpath.Reason
}

// newShadowSeries returns the series of k.
func (t *Telemetry) newShadowSeries(k shadowVerdict) *series {
	difference := ""
	if k.difference != certpath.ReasonNone {
		difference = k.difference.String()
	}
	return t.meter.with(MetricShadowVerdicts, k.domain, k.outcome.String(), difference)
}

// ShadowJudged counts what the shadow says about a live connection that was judged
// anew, as it is counted for handshakes, and remembers the difference if there is
// one. id is whom the connection belongs to, and its key was proven; v is the new
// verdict, which may refuse it. Without a shadow ShadowJudged does nothing.
//
// So an operator who changes a shadow sees what it would do to who is connected
// already, and need not wait until all have come back.
func (t *Telemetry) ShadowJudged(id workloadid.ID, v *verifycache.Verdict) {
	outcome, reason := shadowOf(v, true)
	if outcome == shadowAbsent {
		return
	}
	k := shadowVerdict{t.domain(id), outcome, reason}
	s := t.rejudged.get(k)
	if s == nil {
		s = t.rejudged.put(k, t.newShadowSeries(k))
	}
	s.add(1)
	t.shadows.note(id, outcome, reason, t.now())
}

// ShadowDifference is an identity about which the shadow of its trust domain says
// something else than the trust domain: who would be refused, or accepted, if the
// two were exchanged. Anchors of one of them vouch for the identity; with Accepts its
// key need not have been proven.
type ShadowDifference struct {
	Identity string
	// Reason is why the shadow would refuse, or, with Accepts, why it is refused now.
	Reason  string
	Accepts bool
	Count   uint64 // of handshakes, and of times that a live connection was judged anew
	Last    time.Time
}

// ShadowDifferences returns what was seen of each shadow that is in force, the most frequent first;
// the number of identities kept is bounded, and beyond the bound the one that was
// seen the longest time ago is forgotten. The counter of shadow verdicts has them
// all. The caller owns the slice.
func (t *Telemetry) ShadowDifferences() []ShadowDifference { return t.shadows.mostFrequentFirst() }

// ForgetShadow forgets the differences of o, because its shadow is another one now, or
// gone. The counter goes on.
func (t *Telemetry) ForgetShadow(o workloadid.Origin) { t.shadows.forget(o.String() + "/") }

// shadowTable remembers a bounded number of differences, one for each identity and
// what would become of it.
type shadowTable struct {
	limit int

	mu     sync.Mutex
	known  map[shadowKey]*list.Element
	latest list.List // of *shadowEntry, the one seen last in front
}

type shadowKey struct {
	identity string
	reason   certpath.Reason
	accepts  bool
}

type shadowEntry struct {
	shadowKey
	count uint64
	last  time.Time
}

func newShadowTable(limit int) *shadowTable {
	return &shadowTable{limit: limit, known: make(map[shadowKey]*list.Element)}
}

// note remembers what the shadow said about id at that moment, if it would change
// the verdict. It allocates for differences that it does not know yet.
func (s *shadowTable) note(id workloadid.ID, outcome shadowOutcome, reason certpath.Reason, at time.Time) {
	if !outcome.differs() {
		return
	}
	k := shadowKey{identity: id.String(), reason: reason, accepts: outcome == shadowWouldAccept}
	s.mu.Lock()
	defer s.mu.Unlock()
	element := s.known[k]
	switch {
	case element != nil:
		s.latest.MoveToFront(element)
	case len(s.known) < s.limit:
		element = s.latest.PushFront(&shadowEntry{shadowKey: k})
		s.known[k] = element
	default:
		element = s.latest.Back()
		forgotten := element.Value.(*shadowEntry)
		delete(s.known, forgotten.shadowKey)
		*forgotten = shadowEntry{shadowKey: k}
		s.known[k] = element
		s.latest.MoveToFront(element)
	}
	entry := element.Value.(*shadowEntry)
	entry.count++
	if at.After(entry.last) {
		entry.last = at
	}
}

func (s *shadowTable) forget(prefix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, element := range s.known {
		if strings.HasPrefix(k.identity, prefix) {
			s.latest.Remove(element)
			delete(s.known, k)
		}
	}
}

func (s *shadowTable) mostFrequentFirst() []ShadowDifference {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]ShadowDifference, 0, len(s.known))
	for element := s.latest.Front(); element != nil; element = element.Next() {
		e := element.Value.(*shadowEntry)
		all = append(all, ShadowDifference{
			Identity: e.identity, Reason: e.reason.String(), Accepts: e.accepts, Count: e.count, Last: e.last,
		})
	}
	slices.SortStableFunc(all, func(a, b ShadowDifference) int { return cmp.Compare(b.Count, a.Count) })
	return all
}
