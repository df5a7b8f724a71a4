package tlsterm

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// readProxyHeader reads the PROXY protocol header, version 1 or 2, that a load
// balancer sends ahead of the client's octets, and returns the address of the
// client. It returns nil when the header names none: the load balancer then
// speaks for itself (LOCAL, UNKNOWN), as its health checks do, or for something
// that is not on an IP network.
//
// A version 1 header that does not arrive in one piece is refused, which the
// specification allows, since senders have to send it at once. At most 4 KiB are
// read. The caller has set a deadline.
func readProxyHeader(in *bufio.Reader) (net.Addr, error) {
	header, err := proxyproto.Read(in)
	if err != nil {
		return nil, fmt.Errorf("tlsterm: PROXY header: %w", err)
	}
	if header.Command.IsLocal() {
		return nil, nil
	}
	if header.TransportProtocol.IsDatagram() {
		return nil, errors.New("tlsterm: PROXY header for a datagram on a stream")
	}
	client, ok := header.SourceAddr.(*net.TCPAddr)
	if !ok {
		return nil, nil
	}
	return client, nil
}

// addrPort returns a as a value, IPv4 addresses unmapped; zero if a is not on an
// IP network.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || tcp == nil {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// clientNetwork returns what counts as one client: an IPv4 address, or the IPv6
// /64 that a single host can take all addresses of.
func clientNetwork(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked().Addr()
	}
	return a
}
