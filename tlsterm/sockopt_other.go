//go:build !linux

package tlsterm

import (
	"syscall"
	"time"
)

// deferAccept does nothing: only Linux can hold back silent connections. The
// first-byte deadline ends them here.
func deferAccept(syscall.RawConn, time.Duration) error { return nil }
