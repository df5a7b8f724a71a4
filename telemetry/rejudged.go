package telemetry

import (
	"net/netip"
	"time"

	"verigate/workloadid"
)

// The causes for which a live connection ends.
const (
	CauseTrust = "trust" // what the caller is judged by has changed
	CauseTime  = "time"  // a CRL or a grade ended by itself
)

// ConnectionEnd is a live connection that ends because its caller is not accepted
// any more (REV-05).
type ConnectionEnd struct {
	Listener string
	ConnID   uint64
	Remote   netip.AddrPort
	Start    time.Time
	Identity workloadid.ID
	Cause    string // CauseTrust or CauseTime
	Reason   string // of the verdict, such as "revoked"
	Err      error  // for the operator
	Cut      bool   // a response in flight did not finish in time
}

// ConnectionRefused records the end of a connection whose caller is not accepted
// any more.
func (t *Telemetry) ConnectionRefused(e *ConnectionEnd) {}

// Rejudged counts n live connections that were judged anew, which took so long.
func (t *Telemetry) Rejudged(cause string, n int, took time.Duration) {}

// ShadowDifference is an identity about which the shadow of its trust domain says
// something else than the trust domain.
type ShadowDifference struct {
	Identity string
	// Reason is why the shadow would refuse, or, with Accepts, why it is refused now.
	Reason  string
	Accepts bool
	Count   uint64
	Last    time.Time
}

// ShadowDifferences returns what was seen since the start, the most frequent first;
// the number of identities kept is bounded.
func (t *Telemetry) ShadowDifferences() []ShadowDifference { return nil }
