//go:build !unix

package tlsterm

import "net"

// clientGone cannot look ahead here; the handshake finds out by itself.
func clientGone(net.Conn) bool { return false }
