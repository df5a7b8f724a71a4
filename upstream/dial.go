package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"verigate/certpath"
	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

// judge decides who a backend is. It is the only maker of TLS configurations
// here, and has no useful zero value: newJudge refuses what could not verify, so
// that a connection without verification cannot be written down (UP-13).
type judge struct {
	cache      *verifycache.Cache
	store      *trust.Store
	credential trust.CredentialSource
	scope      *verifycache.Scope // the one origin of the expected identity (UP-04)
	identity   workloadid.Pattern
	dnsName    string
	now        func() time.Time
}

func newJudge(o *Options) (*judge, error) {
	if err := o.checkVerify(); err != nil {
		return nil, err
	}
	scope, err := verifycache.NewScope("upstream "+o.Name, []workloadid.Origin{o.Verify.Identity.Origin()})
	if err != nil {
		return nil, err
	}
	now := o.Now
	if now == nil {
		now = time.Now
	}
	return &judge{
		cache:      o.Cache,
		store:      o.Trust,
		credential: o.Credential,
		scope:      scope,
		identity:   o.Verify.Identity,
		dnsName:    o.Verify.DNSName,
		now:        now,
	}, nil
}

// backend is a peer as it was judged last.
type backend struct {
	chain      []*x509.Certificate // as presented
	path       *certpath.Path
	id         workloadid.ID
	until      time.Time         // when time alone may change the verdict
	snapshot   *trust.Snapshot   // judged by
	credential *trust.Credential // presented to it
}

// accept takes note of a verdict that accepts b.
func (b *backend) accept(v *verifycache.Verdict, snapshot *trust.Snapshot) {
	b.path, b.id, b.until, b.snapshot = v.Path, v.ID, v.Until, snapshot
	if end := v.Path.NotAfter(); b.until.IsZero() || end.Before(b.until) {
		b.until = end
	}
}

// examine returns why a backend that presented chain is not the one expected, nil
// if it is.
func (j *judge) examine(verdict *verifycache.Verdict, chain []*x509.Certificate) *Error {
	if !verdict.Accepted() {
		e := &Error{Reason: ReasonUntrusted}
		if verdict.Err != nil { // a nil *certpath.Error would be a non-nil error
			e.Err = verdict.Err
		}
		return e
	}
	if !j.identity.Match(verdict.ID) {
		return &Error{Reason: ReasonIdentity, Err: fmt.Errorf("the backend is %s, not %s", verdict.ID, j.identity)}
	}
	if j.dnsName != "" {
		// Only the configured name is compared: neither the host part of the
		// identifier (UP-05) nor anything that DNS answered (UP-09). Go never
		// falls back to the common name (UP-07) and compares IP literals with
		// iPAddress names only (UP-08).
		if err := chain[0].VerifyHostname(j.dnsName); err != nil {
			return &Error{Reason: ReasonName, Err: fmt.Errorf("the certificate is not for %s but for %s", j.dnsName, namesOf(chain[0]))}
		}
	}
	return nil
}

// namesOf lists the names of a certificate, escaped and no more than fit on a
// line. crypto/x509 would print them as they are.
func namesOf(leaf *x509.Certificate) string {
	const most, longest = 4, 64
	var names []string
	for _, name := range leaf.DNSNames {
		names = append(names, fmt.Sprintf("%.*q", longest, name))
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	switch {
	case len(names) == 0:
		return "no name at all"
	case len(names) > most:
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// handshake authenticates both ends of conn, on which a deadline is set.
//
// A panic fails this one handshake, as it does for clients: crypto/x509 has had some that
// a certificate could provoke, and anybody may answer for the backend.
func (j *judge) handshake(conn net.Conn) (_ *tls.Conn, _ *backend, failure *Error) {
	defer func() {
		if mistake := recover(); mistake != nil {
			failure = &Error{Reason: ReasonConnect, Err: fmt.Errorf("panic during the handshake: %v", mistake)}
		}
	}()
	peer := &backend{snapshot: j.store.Load(), credential: j.credential.Credential()}
	var verdict verifycache.Verdict
	var refusal *Error
	config := &tls.Config{
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		NextProtos:       []string{"http/1.1"},
		ServerName:       j.dnsName, // crypto/tls sends no SNI for an IP literal
		// crypto/tls knows neither trust domains nor identities. VerifyConnection
		// below does, and also runs for resumed sessions; there are none, because
		// ClientSessionCache is nil (UP-11, UP-13).
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			peer.chain = state.PeerCertificates
			// Not to be remembered yet: the backend has not proven its key.
			verdict = j.cache.Verify(peer.chain, certpath.RoleServer, j.scope, peer.snapshot)
			if refusal = j.examine(&verdict, peer.chain); refusal != nil {
				return refusal
			}
			return nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			// A key is not used once its certificate has expired (KEY-02).
			if until := peer.credential.NotAfter(); j.now().After(until) {
				return nil, fmt.Errorf("the gateway's own certificate expired at %s", until.UTC().Format(time.RFC3339))
			}
			return peer.credential.TLS(), nil
		},
	}
	tc := tls.Client(conn, config)
	if err := tc.Handshake(); err != nil {
		if refusal != nil {
			return nil, nil, refusal
		}
		return nil, nil, &Error{Reason: ReasonConnect, Err: err}
	}
	if !verdict.Accepted() {
		return nil, nil, &Error{Reason: ReasonUntrusted, Err: errors.New("the backend was not verified")}
	}
	// Only now has the backend proven its key (RFC 8446 §4.4.3).
	j.cache.Remember(&verdict)
	peer.accept(&verdict, peer.snapshot)
	return tc, peer, nil
}

// stillTrusted reports whether the backend would be accepted now. As long as
// nothing was published and no time ran out that costs one atomic load. A panic is a no:
// those who ask hold locks and places, and the handshake that follows says what it was.
func (j *judge) stillTrusted(peer *backend, now time.Time) (trusted bool) {
	snapshot := j.store.Load()
	if snapshot == peer.snapshot && now.Before(peer.until) {
		return true
	}
	defer func() {
		if recover() != nil {
			trusted = false
		}
	}()
	verdict := j.cache.Rejudge(peer.path, peer.chain, certpath.RoleServer, j.scope, snapshot)
	if j.examine(&verdict, peer.chain) != nil {
		return false
	}
	// The key was proven on this connection, so this verdict may be remembered.
	j.cache.Remember(&verdict)
	peer.accept(&verdict, snapshot)
	return true
}

// stillPresented reports whether the gateway would present the same credential
// today (UP-10).
func (j *judge) stillPresented(peer *backend) bool {
	credential := j.credential.Credential()
	if credential == peer.credential {
		return true
	}
	if credential.Digest() != peer.credential.Digest() {
		return false
	}
	peer.credential = credential
	return true
}

// dial opens a connection to e, authenticated unless the upstream is plain. abort
// can end that, and is attached to the connection afterwards.
func (u *Upstream) dial(e *endpoint, abort *Abort) (*conn, *Error) {
	deadline := time.Now().Add(u.o.ConnectTimeout)
	failed := func(err error) (*conn, *Error) {
		return nil, &Error{Reason: ReasonConnect, Endpoint: e.name, Err: err}
	}
	nc, err := e.connect(abort, deadline)
	if err != nil {
		return failed(err)
	}
	c := &conn{u: u, e: e, hangUp: func() { nc.Close() }}
	if c.wire, err = newWire(nc); err == nil {
		err = nc.SetDeadline(deadline)
	}
	if err == nil && !c.attach(abort) {
		err = ErrAborted
	}
	if err != nil {
		nc.Close()
		return failed(err)
	}
	c.stream = c.wire
	if u.judge != nil {
		tc, peer, refusal := u.judge.handshake(c.wire)
		if refusal != nil {
			c.detach()
			nc.Close()
			refusal.Endpoint = e.name
			return nil, refusal
		}
		c.stream, c.peer = tc, peer
	}
	c.wire.readBy, c.wire.writeBy = deadline, deadline
	c.wire.rollWrite(u.o.BodyIdleTimeout)
	return c, nil
}

// connect opens the transport to e.
func (e *endpoint) connect(abort *Abort, deadline time.Time) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	stop := func() { cancel() }
	if !abort.begin(&stop) {
		return nil, ErrAborted
	}
	nc, err := new(net.Dialer).DialContext(ctx, e.network, e.address)
	if abort.end(&stop) {
		return nc, err
	}
	if err == nil {
		nc.Close()
	}
	return nil, ErrAborted
}
