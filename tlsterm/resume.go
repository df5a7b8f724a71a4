package tlsterm

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"verigate/certpath"
	"verigate/trust"
)

// maxOpened is how many tickets of one ClientHello are looked into once they have
// opened. Clients send one. crypto/tls passes up to five on, and each may cost a path
// validation.
const maxOpened = 2

// noTicket is what a client of TLS 1.3 gets when it is too late to send none. It opens as
// nothing.
var noTicket = []byte{0}

// offer is what became of the sessions that a client offered to resume.
type offer struct {
	judgement           // of the last one accepted
	since     time.Time // when that one's client proved its key
	best      Resumption
	opened    int
}

// wrap makes the ticket for the session of this connection, or none. The client has
// proven its key, or that it holds the session that this one continues. wrap never
// fails, as that would end the connection.
func (a *attempt) wrap(state tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
	if ticket := a.seal(state, s); ticket != nil {
		return ticket, nil
	}
	if state.Version < tls.VersionTLS13 {
		return nil, nil // an empty one stands for none (RFC 5077 §3.3)
	}
	return noTicket, nil
}

// seal returns the ticket, nil if there is to be none.
func (a *attempt) seal(state tls.ConnectionState, s *tls.SessionState) []byte {
	// With TLS 1.3 a resumed handshake sends its ticket before verify is called.
	judged, since := &a.judgement, a.l.o.Tickets.o.Now()
	if state.DidResume {
		judged, since = &a.offer.judgement, a.offer.since
	}
	if !judged.verdict.Accepted() {
		return nil
	}
	octets, err := s.Bytes()
	if err != nil {
		return nil
	}
	path := judged.verdict.Path
	return a.l.o.Tickets.seal(a.binding(state), &session{
		since: since, chain: judged.chain, leaf: path.RawLeaf(), issuers: path.Issuers(), state: octets,
	})
}

// unwrap returns the session in a ticket if its chain is accepted still, and nil for a
// full handshake. It is a gate like verify: whoever has seen the ticket on the wire gets
// as far, so nothing is remembered and nobody is told. Only then does crypto/tls demand
// proof that the client holds the session. unwrap never fails, as that would end the
// connection.
func (a *attempt) unwrap(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
	// TLS 1.2 asks also when the client has no ticket.
	if len(ticket) == 0 || a.offer.opened >= maxOpened {
		return nil, nil
	}
	s, outcome := a.resume(ticket, state)
	if a.offer.best != Resumed && (outcome == Resumed || outcome > a.offer.best) {
		a.offer.best = outcome
	}
	return s, nil
}

func (a *attempt) resume(ticket []byte, state tls.ConnectionState) (*tls.SessionState, Resumption) {
	offered, outcome := a.l.o.Tickets.open(a.binding(state), ticket)
	if outcome != TicketForeign && outcome != TicketScope {
		a.offer.opened++
	}
	if outcome != Resumed {
		return nil, outcome
	}
	judged, ok := a.recall(offered, a.l.o.Trust.Load())
	if !ok {
		return nil, TicketUnusable
	}
	if !judged.verdict.Accepted() {
		return nil, TicketRejected
	}
	s, err := tls.ParseSessionState(offered.state)
	if err != nil {
		return nil, TicketUnusable
	}
	adopt(judged.chain[1:], judged.verdict.Path.Issuers())
	a.offer.judgement, a.offer.since = judged, offered.since
	return s, Resumed
}

// recall asks the cache about the chain of a session. Its leaf is parsed only if the
// cache does not know it: that takes longer than all else that is ours in a resumed
// handshake. It returns false if the leaf is none.
func (a *attempt) recall(s *session, snapshot *trust.Snapshot) (judgement, bool) {
	asked := time.Now()
	verdict, ok := a.l.o.Cache.Recall(s.leaf, s.chain, certpath.RoleClient, a.welcome.scope, snapshot)
	if ok {
		return judgement{s.chain, verdict, time.Since(asked), snapshot.Digest()}, true
	}
	if !s.parseLeaf() {
		return judgement{}, false
	}
	return a.judge(s.chain, snapshot), true
}

// binding returns where the tickets of this connection are good.
func (a *attempt) binding(state tls.ConnectionState) binding {
	return binding{a.welcome.context, state.Version, strings.ToLower(state.ServerName)}
}

// answers reports whether the judgement is about chain and by snapshot, so that it need
// not be made again.
func (o *offer) answers(chain []*x509.Certificate, snapshot *trust.Snapshot) bool {
	return o.verdict.Accepted() && o.snapshot == snapshot.Digest() &&
		bytes.Equal(chain[0].Raw, o.verdict.Path.RawLeaf()) &&
		slices.EqualFunc(chain[1:], o.chain[1:], (*x509.Certificate).Equal)
}

// outcome returns what became of the offer at the end of a handshake, which resumed a
// session or not.
func (o *offer) outcome(resumed bool) Resumption {
	switch {
	case resumed:
		return Resumed
	case o.best == Resumed:
		// Nothing was wrong with it here, but crypto/tls found that it does not fit the
		// rest of the offer, or that it is not the client's.
		return TicketUnusable
	}
	return o.best
}
