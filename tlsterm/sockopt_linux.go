package tlsterm

import (
	"net"
	"syscall"
	"time"
)

// listenConfig returns how to listen for clients who speak first, within wait.
//
// Connections inherit the keep-alive times of the socket that they came in by. Package
// net would set each of them on every connection: four system calls.
func listenConfig(wait time.Duration) net.ListenConfig {
	return net.ListenConfig{
		KeepAlive: -1,
		Control: func(_, _ string, c syscall.RawConn) error {
			var failed error
			err := c.Control(func(fd uintptr) {
				for _, option := range []struct{ level, name, value int }{
					{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
					{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, seconds(keepAlive.Idle)},
					{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, seconds(keepAlive.Interval)},
					{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, keepAlive.Count},
					// The kernel hands over a connection only once the client has sent something, so
					// sockets that stay silent never cost a goroutine. It gives up on them after wait.
					{syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, seconds(wait)},
				} {
					if failed == nil {
						failed = syscall.SetsockoptInt(int(fd), option.level, option.name, option.value)
					}
				}
			})
			if err != nil {
				return err
			}
			return failed
		},
	}
}

// seconds returns d in seconds, rounded up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
