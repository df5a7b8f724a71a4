//go:build !race

package routing_test

// raceEnabled: see race_test.go.
const raceEnabled = false
