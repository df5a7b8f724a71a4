package tlsterm

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"verigate/certpath"
	"verigate/trust"
	"verigate/verifycache"
)

const (
	// admittedAge is how long a connection lives whose peer was not accepted: long
	// enough for an answer that says why.
	admittedAge = 30 * time.Second
	// linger is how long a refused client has to collect the alert, and
	// lingerBytes what it may still send meanwhile.
	linger      = 250 * time.Millisecond
	lingerBytes = 16 << 10
)

// attempt is one handshake, from accept to its end.
type attempt struct {
	l       *Listener
	id      uint64
	began   time.Time // at accept, monotonic
	start   time.Time // the same moment by Options.Now
	proxied bool      // a PROXY header comes first
	socket  *socket
	client  netip.Addr // network whose places were taken; zero if none were
	local   netip.AddrPort
	welcome *welcome

	// Of the callbacks of crypto/tls:
	sni string
	judgement
	offer   offer
	resumed bool
}

// judgement is what was found out about a chain.
type judgement struct {
	// chain is as presented: the array that crypto/tls retains. In place of a leaf that is
	// not parsed, or is needed no more, is nil; there is a path then.
	chain    []*x509.Certificate
	verdict  verifycache.Verdict
	judged   time.Duration // how long the verdict took
	snapshot trust.Digest
}

// presented is the chain with its leaf, which that of a session lacks if it was known.
func (j *judgement) presented() []*x509.Certificate {
	if len(j.chain) == 0 || j.chain[0] != nil {
		return j.chain
	}
	return slices.Concat([]*x509.Certificate{j.verdict.Path.ParseLeaf()}, j.chain[1:])
}

// run does the handshake and returns the connection, or ends it and returns nil.
func (a *attempt) run() *Conn {
	reason, ok := a.arrive()
	if !ok {
		a.l.shaken(a)
		a.l.shed(a.socket, reason)
		a.socket.dropBuffer()
		a.l.left(a.client)
		return nil
	}
	tlsConn, err := a.shake()
	var conn *Conn
	if err == nil {
		conn, err = a.admit(tlsConn)
	}
	if err != nil {
		a.l.limiter.turn(false) // a crowd that is refused together is not recorded and closed at once
		a.l.observeHandshake(a.record(nil, a.cause(err)))
		hangUp(a.socket, err)
		a.socket.dropBuffer()
		a.l.shaken(a)
		a.l.left(a.client)
		return nil
	}
	a.l.observeHandshake(a.record(conn, nil))
	a.l.establish(a, conn)
	return conn
}

// arrive learns who the client is and waits for its first octet. A connection
// that does not get as far was no handshake: it returns false and why it is
// closed.
func (a *attempt) arrive() (ShedReason, bool) {
	deadline := a.began.Add(min(a.l.o.FirstByteTimeout, a.l.o.HandshakeTimeout))
	// Setting deadlines fails only on a connection that is closed, and then the
	// next read says so.
	_ = a.socket.SetDeadline(deadline)
	if a.proxied {
		if reason, ok := a.arriveProxied(); !ok {
			return reason, false
		}
	}
	// Whoever says nothing until the deadline is left for shake to report: not a
	// probe, but somebody who takes up room.
	if err := a.socket.await(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return a.closedSilently(), false
	}
	return 0, true
}

// closedSilently returns the reason for a connection that ended without a word.
func (a *attempt) closedSilently() ShedReason {
	if a.l.isClosed() {
		return ShedShuttingDown
	}
	return ShedClosedBeforeHello
}

// arriveProxied reads the load balancer's header. A connection that closes
// before it is a health probe of the load balancer itself.
func (a *attempt) arriveProxied() (ShedReason, bool) {
	if err := a.socket.await(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return a.closedSilently(), false
	}
	client, err := readProxyHeader(a.socket.in)
	if err != nil {
		return ShedProxyHeader, false
	}
	if client != nil {
		a.socket.remote = client
	}
	network := clientNetwork(addrPort(a.socket.remote).Addr())
	if reason, ok := a.l.places.enterClient(network); !ok {
		return reason, false
	}
	a.client = network
	return 0, true
}

// shake does the TLS handshake, computing only while it holds a CPU token.
//
// A panic fails this one handshake: crypto/x509 has had some that a certificate
// could provoke (CVE-2024-24783), and anybody may show one.
func (a *attempt) shake() (conn *tls.Conn, err error) {
	defer func() {
		if mistake := recover(); mistake != nil {
			conn, err = nil, fmt.Errorf("%w: %v", errPanicked, mistake)
		}
	}()
	if a.socket.in.Buffered() == 0 {
		return nil, errFirstByteTimeout
	}
	_ = a.socket.SetDeadline(a.began.Add(a.l.o.HandshakeTimeout))
	defer a.socket.leave()
	if err := a.socket.enter(0); err != nil {
		return nil, err
	}
	config := a.config()
	conn = tls.Server(a.socket, config)
	// Without a context: it would cost a goroutine per handshake, and the deadline
	// is on the socket, which closing the listener closes.
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	// The connection keeps its configuration, which need not keep the attempt.
	config.GetConfigForClient, config.GetCertificate, config.VerifyConnection = nil, nil, nil
	config.WrapSession, config.UnwrapSession = nil, nil
	return conn, nil
}

// config returns the configuration of this one connection. A closure is the only
// way for what crypto/tls finds out to get back here, because its callbacks are
// not told which connection they are called for.
func (a *attempt) config() *tls.Config {
	c := a.l.base.Clone()
	// It runs before anything is negotiated, so that the record of a client that
	// has nothing in common with us still says what it asked for.
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		a.sni = serverName(hello.ServerName)
		return nil, nil
	}
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return a.l.credentials.pick(hello.ServerName, a.l.o.Now())
	}
	// Not VerifyPeerCertificate, which is skipped when a session is resumed.
	c.VerifyConnection = func(state tls.ConnectionState) error {
		err := a.verify(state)
		// Whoever is admitted in spite of its chain has no session to come back to. The
		// configuration is this connection's own; TLS 1.3 looks at it again before it
		// sends a ticket.
		c.SessionTicketsDisabled = c.SessionTicketsDisabled || !a.verdict.Accepted()
		return err
	}
	if a.l.o.Tickets != nil {
		c.WrapSession, c.UnwrapSession = a.wrap, a.unwrap
	}
	if a.l.o.SendCANames {
		c.ClientCAs = a.l.names.pool(a.l.o.Trust.Load(), a.welcome.scope)
	}
	return c
}

// verify judges the chain. It is a gate only: the client has not proven to hold
// the leaf's key yet, so nothing is remembered and nobody is told (TLS-13).
//
// It runs for resumed sessions too, whose chain was judged when the ticket was
// opened. A refusal ends the handshake then, and never admits.
func (a *attempt) verify(state tls.ConnectionState) error {
	chain := state.PeerCertificates
	if len(chain) == 0 {
		return errNoVerdict
	}
	a.resumed = state.DidResume
	snapshot := a.l.o.Trust.Load()
	if a.resumed && a.offer.answers(chain, snapshot) {
		a.judgement = a.offer.judgement
		a.chain = chain
	} else {
		a.judgement = a.judge(chain, snapshot)
	}
	switch {
	case a.verdict.Accepted():
		adopt(chain[1:], a.verdict.Path.Issuers())
		return nil
	case a.verdict.Err == nil:
		return errNoVerdict
	case a.l.o.AdmitRejected && !a.resumed:
		return nil
	}
	return a.verdict.Err
}

// judge asks the cache about chain.
func (a *attempt) judge(chain []*x509.Certificate, snapshot *trust.Snapshot) judgement {
	asked := time.Now()
	verdict := a.l.o.Cache.Verify(chain, certpath.RoleClient, a.welcome.scope, snapshot)
	return judgement{chain, verdict, time.Since(asked), snapshot.Digest()}
}

// adopt replaces every certificate of presented that issuers, those of a path, has too.
//
// presented is the array that the connection keeps, parsed by crypto/tls for this
// handshake alone, whereas paths of one issuer share the certificates of its CAs.
// Putting these in changes nothing, octet for octet, but the memory that an idle
// connection takes.
func adopt(presented, issuers []*x509.Certificate) {
	for i, c := range presented {
		for _, known := range issuers {
			if known == c || bytes.Equal(known.Raw, c.Raw) {
				presented[i] = known
				break
			}
		}
	}
}

// admit makes the connection of a finished handshake, with the peer if its chain
// was accepted. Only now is it proven that the client holds the key (RFC 8446
// §4.4.3), so only now does anybody exist and is anything remembered.
func (a *attempt) admit(tlsConn *tls.Conn) (*Conn, error) {
	now := a.l.o.Now()
	end := a.start.Add(admittedAge)
	if a.verdict.Accepted() {
		end = a.verdict.Path.NotAfter()
		if !now.Before(end) {
			return nil, &certpath.Error{
				Reason: certpath.ReasonExpired,
				Found:  "a path that ended during the handshake, at " + end.UTC().Format(time.RFC3339),
			}
		}
	}
	if age := a.l.o.MaxConnAge; age > 0 && a.start.Add(age).Before(end) {
		end = a.start.Add(age)
	}
	end = end.Add(-spread(end.Sub(now), a.id))

	conn := &Conn{
		tls: tlsConn, socket: a.socket, listener: a.l,
		id: a.id, client: a.client,
		remote: addrPort(a.socket.remote), local: a.local,
		began: a.began, start: a.start,
		duration: time.Since(a.began), waited: a.socket.gate.waited,
		sni:     a.sni,
		scope:   a.welcome.scope,
		claimed: a.verdict.ID, cached: a.verdict.Outcome,
		resumption: a.offer.outcome(a.resumed),
	}
	if a.verdict.Accepted() {
		conn.peer = Peer{path: a.verdict.Path, grade: a.verdict.Grade, snapshot: a.snapshot, until: a.verdict.Until, expiry: end}
		a.l.o.Cache.Remember(&a.verdict)
		// The array is the one that the connection keeps, and crypto/tls reads it no more.
		// A parsed leaf takes more than a verdict does, its path has the octets, and hardly anybody asks.
		a.chain[0] = nil
	} else {
		conn.rejection = a.verdict.Err
	}
	conn.life = end.Sub(now)
	return conn, nil
}

// spread returns how much earlier than due connection id is to end: up to a
// twentieth of span, at most 30 s, evenly over consecutive connections.
func spread(span time.Duration, id uint64) time.Duration {
	const golden = 0x9e3779b97f4a7c15 // 2⁶⁴ divided by the golden ratio
	limit := max(0, min(span/20, 30*time.Second))
	fraction := float64(id*golden>>11) / (1 << 53)
	return time.Duration(fraction * float64(limit))
}

// cause returns err, or that the listener was closed if that is what made the
// socket fail.
func (a *attempt) cause(err error) error {
	if errors.Is(err, net.ErrClosed) && a.l.isClosed() {
		return fmt.Errorf("%w: %w", errShuttingDown, err)
	}
	return err
}

// record describes the handshake at its end: conn is nil exactly if err is not.
func (a *attempt) record(conn *Conn, err error) *Handshake {
	if a.l.o.Observer.Handshake == nil {
		return nil
	}
	if conn != nil {
		h := conn.Handshake()
		h.Verdict, h.JudgeTime = a.verdict, a.judged
		if h.Outcome != Accepted {
			h.Chain = summarize(a.chain)
		}
		return h
	}
	reason, judged := reasonOf(err), &a.judgement
	if reason == ReasonPoPFailed && len(a.chain) == 0 {
		judged = &a.offer.judgement // whose session it was that the client does not hold
	}
	return &Handshake{
		Listener: a.l.o.Name, ConnID: a.id,
		Remote: addrPort(a.socket.remote), Local: a.local,
		Start: a.start, Duration: time.Since(a.began), QueueWait: a.socket.gate.waited,
		Outcome: Failed, Reason: reason, Err: err,
		SNI: a.sni, Resumption: a.offer.outcome(false),
		Verdict: judged.verdict, JudgeTime: judged.judged,
		Chain: summarize(judged.presented()),
	}
}

// hangUp ends a connection whose handshake failed with err.
func hangUp(s *socket, err error) {
	switch reasonOf(err) {
	case ReasonOverload, ReasonShuttingDown, ReasonClientGone, ReasonFirstByteTimeout, ReasonHandshakeTimeout:
		reset(s.Conn)
		return
	}
	// The stack has sent an alert. Closing while octets of the client are unread, or
	// arrive later, would make the kernel send RST, which overtakes the alert: the
	// client would see "connection reset" and never learn what was wrong.
	if tcp, ok := s.Conn.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
		_ = tcp.SetReadDeadline(time.Now().Add(linger))
		_, _ = io.CopyN(io.Discard, tcp, lingerBytes)
	}
	s.Conn.Close()
}
