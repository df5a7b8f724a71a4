//go:build !linux

package tlsterm

import (
	"net"
	"time"
)

// listenConfig returns how to listen for clients. Only Linux can hold back those who
// stay silent; here the first-byte deadline ends them.
func listenConfig(time.Duration) net.ListenConfig {
	return net.ListenConfig{KeepAliveConfig: keepAlive}
}
