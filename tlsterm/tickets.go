package tlsterm

import (
	"time"

	"verigate/trust"
)

// TicketOptions configures [Tickets]. Zero values get the defaults named.
type TicketOptions struct {
	// Secrets are what keys are derived from; nil makes a secret of the process's own,
	// whose tickets no other gateway can open.
	Secrets trust.SecretSource
	// Rotation is how long one derived key seals tickets; 1 h.
	Rotation time.Duration
	// MaxSessionAge is how long after its client proved its key a session may be
	// resumed; 1 h.
	MaxSessionAge time.Duration
	// Now is the wall clock; time.Now.
	Now func() time.Time
}

// Tickets seals and opens session tickets (DESIGN decision 5). It may be used
// concurrently.
type Tickets struct{}

// NewTickets checks o.
func NewTickets(o TicketOptions) (*Tickets, error) { return &Tickets{}, nil }

// Resumption says what became of a client's wish to resume a session.
type Resumption uint8

// The values. The zero Resumption is that there was no wish.
const (
	NotAsked       Resumption = iota
	Resumed                   // the handshake is a resumed one
	TicketForeign             // not sealed by a key that is in force, or not a ticket at all
	TicketScope               // of another listener or server name
	TicketTooOld              // the client proved its key too long ago
	TicketRejected            // its chain is not accepted any more
	TicketUnusable            // opened, and not what it should be: an unknown CA certificate, or damaged
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
