// Package timerslack spares a gateway that has one processor wake-ups of the Go runtime's
// monitor thread (ADR 0029).
package timerslack
