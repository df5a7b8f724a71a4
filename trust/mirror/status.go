package mirror

import (
	"time"

	"verigate/trust"
)

// Status says how one remote item fares: for readiness, metrics and the operator.
type Status struct {
	Kind   string // of the source that it comes from
	Name   string // origin, URL or name of a credential
	Source string // where it is fetched
	Path   string // of the copy; "" if there is none

	LastAttempt time.Time
	LastSuccess time.Time // the source said last that what is held is current
	LastChange  time.Time // and that it was something new
	LastFailure time.Time
	// Err is why the last attempt failed, nil if it did not. The last good content is
	// held meanwhile. Failures counts attempts that failed since the last success.
	Err      error
	Failures int
	// NextAttempt is when the source is asked next; zero if it need not be, because
	// it tells by itself.
	NextAttempt time.Time
	// Interval is the time between polls while all is well, without jitter.
	Interval time.Duration

	// Digest is of the content, zero when nothing was learnt since the start: what is
	// held may be a copy of before, then.
	Digest   trust.Digest
	Sequence *uint64
	NotAfter time.Time
	Notes    []string
}
