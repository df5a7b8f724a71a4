// Package timerslack spares a gateway that has one processor most wake-ups of the Go runtime's
// monitor thread (ADR 0029).
package timerslack

import "time"

const (
	// usual is by how much Linux wakes a sleeping thread late unless somebody chose something
	// else: PR_SET_TIMERSLACK in prctl(2).
	usual = 50 * time.Microsecond
	// wide is the same where [Widen] had its way. The monitor takes the processor from a
	// goroutine that a system call holds up, such as a write to a slow disk, and this is how
	// much later it comes to that: a millisecond is noticed by nobody, ten would be.
	wide = time.Millisecond
)
