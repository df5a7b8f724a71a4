//go:build race

package http1gate_test

const raceEnabled = true
