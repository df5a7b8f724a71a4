package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// readable reports whether octets or the end of the connection wait to be read.
func readable(socket syscall.Conn) bool {
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	waits := true
	err = raw.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		waits = err != unix.EAGAIN
		return true
	})
	return waits || err != nil
}
