//go:build !race

package workloadid_test

// raceEnabled: see race_test.go.
const raceEnabled = false
