//go:build !race

package certpath

// raceEnabled says that race instrumentation allocates.
const raceEnabled = false
