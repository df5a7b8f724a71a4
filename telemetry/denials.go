package telemetry

import (
	"strings"
	"sync"
	"time"

	"verigate/workloadid"
)

// Denial is a request that was not served, for an operator who asks why. Its
// strings are cut at 512 octets. Method, Host and Path are what the client wrote.
type Denial struct {
	Time     time.Time
	Decision string // "denied", "refused" or "error"
	Reason   string
	Status   int
	ID       string // correlation id
	Listener string
	ConnID   uint64
	Remote   string
	Caller   string // proven identity; empty: nobody
	Claimed  string // identity of a peer whose chain was rejected; proven by nothing
	Method   string
	Host     string
	Path     string // without its query
	Route    string
	Rule     string
	Missing  string // what the caller's grade lacks for the rule
}

// RecentDenials returns the last requests that were not served, the newest first.
// The caller owns the slice.
func (t *Telemetry) RecentDenials() []Denial { return t.denials.newestFirst() }

// denialRing keeps the last requests that were not served. Their strings may be
// views of the gateway's buffers, so they are copied, into memory that the slot
// keeps: a flood of denials does not feed the garbage collector.
type denialRing struct {
	mu    sync.Mutex
	slots []denialSlot
	next  int
}

type denialSlot struct {
	used            bool
	at              time.Time
	status          int
	connID          uint64
	caller, claimed workloadid.ID
	text            []byte // the strings, one behind the other
	ends            [denialTexts]int
}

const denialTexts = 11

func newDenialRing(size int) *denialRing { return &denialRing{slots: make([]denialSlot, size)} }

func (r *denialRing) add(q *Request) {
	texts := [denialTexts]string{q.Decision, q.Reason, q.ID, q.Listener, q.Remote, q.Method, q.Host, withoutQuery(q.Path), q.Route, q.Rule, strings.Join(q.Missing, "; ")}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.slots[r.next]
	r.next = (r.next + 1) % len(r.slots)
	s.used, s.at, s.status, s.connID, s.text = true, q.Start.Add(q.Total), q.Status, q.ConnID, s.text[:0]
	s.caller, s.claimed = q.Caller, workloadid.ID{}
	if q.Caller.IsZero() {
		s.claimed = q.ClaimedID
	}
	for i, text := range texts {
		s.text = append(s.text, text[:min(len(text), maxShortField)]...)
		s.ends[i] = len(s.text)
	}
}

func (r *denialRing) newestFirst() []Denial {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Denial, 0, len(r.slots))
	for i := range r.slots {
		s := &r.slots[(r.next-1-i+2*len(r.slots))%len(r.slots)]
		if !s.used {
			break
		}
		out = append(out, s.denial())
	}
	return out
}

func (s *denialSlot) denial() Denial {
	d := Denial{Time: s.at, Status: s.status, ConnID: s.connID, Caller: s.caller.String(), Claimed: s.claimed.String()}
	all, begin := string(s.text), 0
	for i, field := range [denialTexts]*string{&d.Decision, &d.Reason, &d.ID, &d.Listener, &d.Remote, &d.Method, &d.Host, &d.Path, &d.Route, &d.Rule, &d.Missing} {
		*field, begin = all[begin:s.ends[i]], s.ends[i]
	}
	return d
}
