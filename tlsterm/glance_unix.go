//go:build unix

package tlsterm

import "syscall"

// glance looks whether there is something to read on a socket, without reading it.
type glance struct{ slept bool }

// done is for [syscall.RawConn.Read], which calls it at first and after every sleep.
// Only the first call has to look, for what came before the runtime was told to watch
// out; a sleep ends because there is something.
func (g *glance) done(fd uintptr) bool {
	if g.slept {
		return true
	}
	g.slept = true
	var octet [1]byte
	_, _, err := syscall.Recvfrom(int(fd), octet[:], syscall.MSG_PEEK)
	return err != syscall.EAGAIN
}
