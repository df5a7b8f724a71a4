//go:build race

package telemetry

// raceEnabled: the race detector's instrumentation allocates, and is slow.
const raceEnabled = true
