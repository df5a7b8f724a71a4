// Package netpoll has the Go runtime look at the network where its scheduler would not
// come to that by itself.
package netpoll

import "runtime"

// Force makes the Go runtime look at the network (ADR 0023). Nothing is made for that, but a
// world that was stopped looks there first when it starts again. To stop it for its statistics
// takes some 10 µs on one processor, and more the more there are and the busier they are.
// Without it all is as right and later.
func Force() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
}
