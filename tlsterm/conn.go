package tlsterm

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"verigate/certpath"
	"verigate/verifycache"
	"verigate/workloadid"
)

// closeNotifyTimeout bounds the write of close_notify to a peer that does not
// read.
const closeNotifyTimeout = 250 * time.Millisecond

// Conn is a connection whose handshake is done. It reads and writes the
// application's octets and ends at the peer's expiry: reads and writes fail from
// then on.
//
// It is a plain net.Conn and hides that there is TLS below on purpose: fasthttp
// shakes hands itself with any connection that looks as if it could.
type Conn struct {
	tls      *tls.Conn
	socket   *socket
	listener *Listener

	id            uint64
	client        netip.Addr
	remote, local netip.AddrPort
	began, start  time.Time
	duration      time.Duration // of the handshake
	waited        time.Duration
	life          time.Duration // allowed, from the end of the handshake
	sni           string
	scope         *verifycache.Scope

	peer       Peer
	rejection  *certpath.Error
	claimed    workloadid.ID
	cached     verifycache.Outcome
	resumption Resumption

	timer  *time.Timer // closes the connection at the end of its life
	closed atomic.Bool
}

var _ net.Conn = (*Conn)(nil)

// Peer returns who is at the other end, nil if its chain was rejected and the
// connection admitted all the same.
func (c *Conn) Peer() *Peer {
	if c.peer.IsZero() {
		return nil
	}
	return &c.peer
}

// Rejection returns why the peer's chain was rejected, nil if it was accepted.
func (c *Conn) Rejection() *certpath.Error { return c.rejection }

// Chain returns what the peer presented, leaf first, also if it did so when the
// session began that this connection resumed. It is not to be modified. If there is a
// [Conn.Peer], nil is in the place of the leaf: its path has the octets.
//
// Certificates of the peer's path are those of the path, which connections share, so
// they take no room here. Others, which the peer sent for nothing, were parsed for this
// connection alone and keep the message that they came in, as does an OCSP response that
// it stapled, which crypto/tls holds on to: less than [certpath.MaxChainBytes] and
// 32 KiB together.
func (c *Conn) Chain() []*x509.Certificate { return c.tls.ConnectionState().PeerCertificates }

// Scope returns whom the listener admitted when the handshake began.
func (c *Conn) Scope() *verifycache.Scope { return c.scope }

// SNI returns the server name that the client asked for, in lower case; empty if
// it did not. See [Handshake.SNI].
func (c *Conn) SNI() string { return c.sni }

// ID returns the number of the connection, unique in the process.
func (c *Conn) ID() uint64 { return c.id }

// Listener returns the name of the listener it came in by.
func (c *Conn) Listener() string { return c.listener.o.Name }

// Remote returns the address of the client, the one that the load balancer named
// if there is one in front.
func (c *Conn) Remote() netip.AddrPort { return c.remote }

// Start returns when the connection was accepted, by Options.Now.
func (c *Conn) Start() time.Time { return c.start }

// Handshake returns the record of the handshake. It is put together anew on
// every call, from what the connection needs anyway, so that idle connections
// stay small: Chain, JudgeTime and the durations in Verdict are not kept. For every
// request, use [Conn.Peer] and [Conn.SNI].
func (c *Conn) Handshake() *Handshake {
	state := c.tls.ConnectionState()
	h := &Handshake{
		Listener: c.listener.o.Name, ConnID: c.id,
		Remote: c.remote, Local: c.local,
		Start: c.start, Duration: c.duration, QueueWait: c.waited,
		Outcome: Accepted,
		SNI:     c.sni, ALPN: state.NegotiatedProtocol,
		Version: state.Version, CipherSuite: state.CipherSuite, Curve: state.CurveID,
		Resumed: state.DidResume, Resumption: c.resumption,
		Verdict: verifycache.Verdict{
			Path: c.peer.Path(), Grade: c.peer.Grade(),
			Err: c.rejection, ID: c.claimed, Outcome: c.cached,
		},
		Peer: c.Peer(),
	}
	if c.rejection != nil {
		h.Outcome, h.Reason, h.Err = Admitted, c.rejection.Reason.String(), c.rejection
	}
	return h
}

// Read reads what the peer sent.
func (c *Conn) Read(b []byte) (int, error) { return c.tls.Read(b) }

// AwaitOctets blocks until the peer may have sent something, the read deadline is over
// or the connection is closed, and says nothing about which: that a read tells. It is
// for the goroutine that reads, and only after a read that ended with
// os.ErrDeadlineExceeded: what came with an earlier record would wait in vain here.
//
// Unlike Read it needs next to no stack, so that a goroutine that does nothing but wait
// here keeps the 2 KiB that it began with.
func (c *Conn) AwaitOctets() { c.socket.awaitOctets() }

// Write sends b to the peer.
func (c *Conn) Write(b []byte) (int, error) { return c.tls.Write(b) }

// LocalAddr returns the address that the connection was accepted on.
func (c *Conn) LocalAddr() net.Addr { return c.socket.LocalAddr() }

// RemoteAddr returns the address of the client, as [Conn.Remote] does.
func (c *Conn) RemoteAddr() net.Addr { return c.socket.RemoteAddr() }

// SetDeadline sets when reads and writes fail; zero: not before the end of the
// connection's life.
func (c *Conn) SetDeadline(t time.Time) error { return c.tls.SetDeadline(t) }

// SetReadDeadline is SetDeadline for reads.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.tls.SetReadDeadline(t) }

// SetWriteDeadline is SetDeadline for writes. A TLS connection on which a write
// timed out is broken for good.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.tls.SetWriteDeadline(t) }

// Close says goodbye to the peer, for at most a quarter of a second, and closes
// the connection. Only the first call does anything; later ones return
// net.ErrClosed.
func (c *Conn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	c.timer.Stop()
	c.socket.finish(closeNotifyTimeout)
	err := c.tls.Close()
	c.listener.closed(c)
	return err
}
