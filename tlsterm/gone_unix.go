//go:build unix

package tlsterm

import (
	"net"
	"syscall"
)

// clientGone reports whether the peer has closed or reset c and everything it
// sent has been read. It does not block; not knowing counts as no.
func clientGone(c net.Conn) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	var octet [1]byte
	err = raw.Read(func(fd uintptr) bool {
		n, _, err := syscall.Recvfrom(int(fd), octet[:], syscall.MSG_PEEK)
		gone = n == 0 && err == nil || err == syscall.ECONNRESET
		return true
	})
	return gone && err == nil
}
