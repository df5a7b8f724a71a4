//go:build !linux

package timerslack

import "time"

// Widen does nothing here: only Linux has a slack to widen.
func Widen() (time.Duration, error) { return 0, nil }
