package tlsterm

import (
	"net"
	"syscall"
	"testing"

	"verigate/trust"
	"verigate/verifycache"
)

func TestSocketsAreSetUpForManyIdleClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l := must(Listen(Options{
		Address: "127.0.0.1:0", Cache: w.cache, Trust: w.store, Scope: w.scope,
		Credentials: map[string]trust.CredentialSource{"": w.own},
	}))(t)
	t.Cleanup(func() { l.Close() })
	if seconds := option(t, l.inner.(*net.TCPListener), syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT); seconds < 1 {
		t.Errorf("TCP_DEFER_ACCEPT = %d s, want some", seconds)
	}
	client, err := connect(l, w.client(w.workload(t, checkout)))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c := must(l.Accept())(t).(*Conn)
	defer c.Close()
	for name, tt := range map[string]struct{ level, option, want int }{
		"SO_KEEPALIVE":  {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		"TCP_KEEPIDLE":  {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 60},
		"TCP_KEEPINTVL": {syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 30},
		"TCP_KEEPCNT":   {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 3},
		"TCP_NODELAY":   {syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
		"SO_PROTOCOL":   {syscall.SOL_SOCKET, soProtocol, syscall.IPPROTO_TCP}, // and not MPTCP
	} {
		if got := option(t, c.socket.Conn.(*net.TCPConn), tt.level, tt.option); got != tt.want {
			t.Errorf("%s = %d, want %d", name, got, tt.want)
		}
	}
}

const soProtocol = 38 // SO_PROTOCOL, which package syscall has no name for

func option(t *testing.T, c syscall.Conn, level, name int) int {
	t.Helper()
	raw := must(c.SyscallConn())(t)
	value, failed := 0, error(nil)
	err := raw.Control(func(fd uintptr) { value, failed = syscall.GetsockoptInt(int(fd), level, name) })
	if err != nil || failed != nil {
		t.Fatalf("getsockopt: %v, %v", err, failed)
	}
	return value
}
