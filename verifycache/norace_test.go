//go:build !race

package verifycache

const raceEnabled = false
