//go:build !race

// Package race tells tests whether they run under the race detector, whose
// instrumentation allocates and is slow: claims about allocations stand aside
// then, and are tested without it.
package race

// Enabled says that this program was built with -race.
const Enabled = false
