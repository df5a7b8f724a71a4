package tlsterm

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"verigate/trust"
)

// Defaults and bounds of [TicketOptions].
const (
	DefaultTicketRotation = time.Hour
	DefaultMaxSessionAge  = time.Hour

	// minRotation keeps clocks that are a few seconds apart within one epoch of each
	// other.
	minRotation = time.Minute
	// maxRotation bounds how many tickets one key seals. Nonces are random, which AES-GCM
	// allows 2³² times: 49 000 a second for a day, by all replicas together.
	maxRotation = 24 * time.Hour
	// maxSessionAge is what RFC 8446 §4.6.1 gives any ticket (TLS-06).
	maxSessionAge = 7 * 24 * time.Hour
	// maxClockSkew is how far ahead the clock of a replica may be that says when a session
	// began.
	maxClockSkew = 5 * time.Minute
	// maxTicketBytes is how large a ticket may be, sealed. A client sends it back in its
	// ClientHello, before anybody knows who it is.
	maxTicketBytes = 8 << 10
)

// TicketOptions configures [Tickets]. Zero values get the defaults named.
type TicketOptions struct {
	// Secrets are what keys are derived from; nil makes a secret of the process's own,
	// whose tickets no other gateway can open. The source may change its answer at any
	// time: a secret that it does not yield any more opens nothing any more.
	Secrets trust.SecretSource
	// Rotation is how long one derived key seals tickets; 1 h. A ticket can be used for
	// as long again, at most. All who share secrets need the same. A whole number of
	// seconds, from a minute to a day.
	Rotation time.Duration
	// MaxSessionAge is how long after its client proved its key a session may be
	// resumed; 1 h, at most 7 days. However often a session is resumed, its age counts
	// from that proof. It limits resumption and not the connections that came of it,
	// which end with the peer's path like all others.
	MaxSessionAge time.Duration
	// Now is the wall clock; time.Now.
	Now func() time.Time
}

func (o *TicketOptions) complete() error {
	o.Rotation = cmp.Or(o.Rotation, DefaultTicketRotation)
	o.MaxSessionAge = cmp.Or(o.MaxSessionAge, DefaultMaxSessionAge)
	if o.Now == nil {
		o.Now = time.Now
	}
	switch {
	case o.Rotation < minRotation || o.Rotation > maxRotation || o.Rotation%time.Second != 0:
		return fmt.Errorf("tlsterm: tickets: rotation of %v is not a whole number of seconds from %v to %v", o.Rotation, minRotation, maxRotation)
	case o.MaxSessionAge < 0 || o.MaxSessionAge > maxSessionAge:
		return fmt.Errorf("tlsterm: tickets: session age of %v is not positive and at most %v", o.MaxSessionAge, maxSessionAge)
	}
	return nil
}

// Tickets seals and opens session tickets; docs/session-tickets.md has their format.
// It keeps no sessions, only keys and certificates of CAs. It may be used
// concurrently, and by several listeners, whose sessions do not mix.
type Tickets struct {
	o       TicketOptions  // complete
	own     *trust.Secrets // nil if there is a source
	keys    atomic.Pointer[ring]
	issuers issuers
}

// NewTickets checks o. It fails for durations that are out of bounds.
func NewTickets(o TicketOptions) (*Tickets, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	t := &Tickets{o: o}
	if o.Secrets == nil {
		var secret trust.Secret
		_, _ = rand.Read(secret[:]) // ends the program rather than fail
		own, err := trust.NewSecrets(secret)
		if err != nil {
			return nil, fmt.Errorf("tlsterm: tickets: %w", err)
		}
		t.own = own
	}
	return t, nil
}

// Resumption says what became of a client's wish to resume a session.
type Resumption uint8

// The values. The zero Resumption is that there was no wish. All but Resumed led to a
// full handshake, unless that one failed. Of several tickets that were of no use the
// last in this order counts.
const (
	NotAsked       Resumption = iota
	Resumed                   // the handshake is a resumed one
	TicketForeign             // not sealed by a key that is in force, or not a ticket at all
	TicketScope               // does not open here: of another listener, server name or TLS version, or damaged
	TicketTooOld              // the client proved its key too long ago
	TicketRejected            // its chain is not accepted any more
	TicketUnusable            // opened, but with an unknown CA certificate, or not fit for what the client offers now
)

// String returns the metric value.
func (r Resumption) String() string {
	switch r {
	case NotAsked:
		return "none"
	case Resumed:
		return "resumed"
	case TicketForeign:
		return "foreign"
	case TicketScope:
		return "scope"
	case TicketTooOld:
		return "too_old"
	case TicketRejected:
		return "rejected"
	case TicketUnusable:
		return "unusable"
	}
	return "unknown"
}

// Resumptions returns every value in order.
func Resumptions() []Resumption {
	return []Resumption{NotAsked, Resumed, TicketForeign, TicketScope, TicketTooOld, TicketRejected, TicketUnusable}
}

// ticketTag separates what is authenticated, and what keys are derived for, from all
// else. Its number changes whenever the layout of a ticket does.
const ticketTag = "verigate ticket v1"

// binding is where a ticket is good: it opens there and nowhere else (TLS-07).
type binding struct {
	context    [sha256.Size]byte // of the listener
	version    uint16            // of TLS
	serverName string            // in lower case; empty if there was none
}

// data returns the associated data of a ticket that the key with that id seals.
func (b binding) data(id keyID) []byte {
	data := make([]byte, 0, len(ticketTag)+len(id)+len(b.context)+2+len(b.serverName))
	data = append(data, ticketTag...)
	data = append(data, id[:]...)
	data = append(data, b.context[:]...)
	data = binary.BigEndian.AppendUint16(data, b.version)
	return append(data, b.serverName...)
}

// contextOf digests what decides on a listener whether and how a client is
// authenticated, beyond what each ticket is judged by anew: its name, whom it admits
// and its TLS options.
func contextOf(o *Options) [sha256.Size]byte {
	content := []byte("verigate ticket context v1")
	frame := func(s string) {
		content = binary.BigEndian.AppendUint32(content, uint32(len(s)))
		content = append(content, s...)
	}
	flag := func(on bool) {
		if on {
			content = append(content, 1)
		} else {
			content = append(content, 0)
		}
	}
	frame(o.Name)
	origins := o.Scope.Origins()
	content = binary.BigEndian.AppendUint32(content, uint32(len(origins)))
	for _, origin := range origins {
		frame(origin.String())
	}
	flag(o.AllowTLS12)
	flag(o.AdmitRejected)
	curves := slices.Clone(o.Curves) // their order has no effect
	slices.Sort(curves)
	for _, curve := range slices.Compact(curves) {
		content = binary.BigEndian.AppendUint16(content, uint16(curve))
	}
	return sha256.Sum256(content)
}

// seal makes a ticket of s. It returns nil if there is no secret to seal with, or if
// the ticket would be too large.
func (t *Tickets) seal(b binding, s *session) []byte {
	keys := t.ring()
	if len(keys.keys) == 0 {
		return nil
	}
	content, ok := s.encode(&t.issuers)
	if !ok {
		return nil
	}
	key := &keys.keys[0]
	if len(key.id)+key.aead.Overhead()+len(content) > maxTicketBytes {
		return nil
	}
	ticket := make([]byte, len(key.id), len(key.id)+key.aead.Overhead()+len(content))
	copy(ticket, key.id[:])
	return key.aead.Seal(ticket, nil, content, b.data(key.id))
}

// open returns the session in ticket, which anybody may have sent. Its outcome is
// Resumed if there is one: who is in it has not been judged.
func (t *Tickets) open(b binding, ticket []byte) (*session, Resumption) {
	if len(ticket) > maxTicketBytes || len(ticket) < len(keyID{}) {
		return nil, TicketForeign
	}
	id, sealed := keyID(ticket), ticket[len(keyID{}):]
	key := t.ring().find(id)
	if key == nil {
		return nil, TicketForeign
	}
	content, err := key.aead.Open(nil, nil, sealed, b.data(id))
	if err != nil {
		return nil, TicketScope
	}
	s, ok := decodeSession(content, &t.issuers)
	if !ok {
		return nil, TicketUnusable
	}
	switch age := t.o.Now().Sub(s.since); {
	case age > t.o.MaxSessionAge:
		return nil, TicketTooOld
	case age < -maxClockSkew:
		return nil, TicketUnusable
	}
	return s, Resumed
}
