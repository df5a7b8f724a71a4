package tlsterm

import (
	"syscall"
	"time"
)

// deferAccept tells the kernel to hand over a connection only once the client
// has sent something: a TLS client speaks first, so sockets that stay silent
// never cost a goroutine. The kernel gives up on them after wait.
func deferAccept(c syscall.RawConn, wait time.Duration) error {
	seconds := int((wait + time.Second - 1) / time.Second)
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, seconds)
	})
	if err != nil {
		return err
	}
	return failed
}
