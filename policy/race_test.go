//go:build race

package policy_test

// raceEnabled has the allocation tests stand aside: the race detector allocates.
const raceEnabled = true
