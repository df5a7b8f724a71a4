package gateway

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/telemetry"
)

// standing is what the gateway thinks of the caller of a connection. The serving
// goroutine and the rejudger both may change it; edgeConn.mu guards it, and is held
// while the caller is judged, so that they do not judge one caller twice.
type standing struct {
	judged *standard // by which the caller was accepted last; nil: unknown
	path   *certpath.Path
	grade  assurance.Grade // in the light of findings
	until  int64           // Unix nanoseconds: when time alone may change the verdict

	findings assurance.Findings // against the caller's credential, when it connected
}

// refusal is why the caller of a connection is not accepted any more. There is no
// way back.
type refusal struct {
	cause     string // telemetry.CauseTrust or telemetry.CauseTime
	rejection *certpath.Error
	// bound cuts the connection if what is in flight does not finish; nil while
	// nothing is. edgeConn.mu guards it.
	bound *time.Timer
}

// refusalGrace is how long a response in flight may go on after its caller was
// refused: what was asked while the caller was accepted was granted, and an answer
// that breaks off in the middle helps nobody. It is not longer, because an upload or
// a download can be made to last as long as its caller likes.
const refusalGrace = 5 * time.Second

// arrive judges the caller at the beginning of the connection, as far as that is
// necessary, and reports whether it is accepted. The connection is in the index
// already: trust that changed before is seen here, trust that changes from now on
// finds the connection there.
func (c *edgeConn) arrive(now time.Time) bool {
	peer := c.tls.Peer()
	if peer == nil {
		return true // it was admitted to be told that it is rejected
	}
	var findings assurance.Findings
	if detector := c.listener.gateway.options.Detector; detector != nil {
		findings = detector.Observe(assurance.Sighting{
			Key: peer.Path().Refs()[0].SPKI, Identity: peer.ID().String(), Network: clientNetwork(c.tls.Remote().Addr()),
		}, now)
		c.listener.gateway.options.Telemetry.Findings(c.listener.name, findings)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findings = findings
	switch v := c.domain.current(); {
	case c.refusal.Load() != nil:
	case c.judged == v.standard: // the rejudger was faster, and knew of no findings
		c.accept(v, c.path, c.grade, time.Unix(0, c.until))
	case c.judged == nil && peer.Snapshot() == v.snapshot.Digest() && c.tls.Scope() == c.listener.tls.Scope():
		c.accept(v, peer.Path(), peer.Grade(), earlier(peer.Path().NotAfter(), peer.Until()))
	}
	return c.stands(now) == nil
}

// clientNetwork returns the network that one client may have many addresses of.
func clientNetwork(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil { // cannot be: it has 128 bits
		return a
	}
	return p.Addr()
}

// earlier returns the earlier of two moments; zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// current returns how the caller stands, judged anew if the trust in force is not
// the one that it was judged by, or its time has come. It is called for every
// request and costs a few nanoseconds as long as nothing has changed (REV-05).
func (c *edgeConn) current(now time.Time) (path *certpath.Path, grade assurance.Grade, refused *refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	refused = c.stands(now)
	return c.path, c.grade, refused
}

// rejudge is the rejudger's question whether the caller is still accepted. judged
// says that it had to be judged, refused that it was refused just now.
func (c *edgeConn) rejudge(now time.Time) (judged, refused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusal.Load() != nil || c.path == nil {
		return false, false
	}
	if !c.outdated(c.domain.current(), now) {
		c.expect()
		return false, false
	}
	return true, c.stands(now) != nil
}

// giveUp refuses the caller unless its verdict is up to date: there is no time to judge
// it within the bound.
func (c *edgeConn) giveUp(cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusal.Load() != nil || c.path == nil || !c.outdated(c.domain.current(), time.Now()) {
		return
	}
	c.refuse(cause, &certpath.Error{
		Reason: certpath.ReasonLimitsExceeded,
		Found:  "a chain with certificates that its path does not need, which takes too long to judge anew for many connections",
		Want:   "the leaf and the intermediates that lead to its anchor",
		Hint:   "the client may connect again",
	})
}

// isPadded reports whether chain, after its leaf, has certificates that path does not.
func isPadded(chain []*x509.Certificate, path *certpath.Path) bool {
	return slices.ContainsFunc(chain[1:], func(presented *x509.Certificate) bool {
		return !slices.ContainsFunc(path.Issuers(), presented.Equal)
	})
}

// outdated reports whether the verdict about the caller has to be asked for again.
// Who calls it holds c.mu, here and in all that follows.
func (c *edgeConn) outdated(v *view, now time.Time) bool {
	return c.judged != v.standard || now.UnixNano() >= c.until
}

// stands judges the caller if that is due, and returns why it is refused, nil if it
// is not. The view is taken with c.mu held: verdicts about one caller follow one
// another in the order of the snapshots.
func (c *edgeConn) stands(now time.Time) *refusal {
	if v := c.domain.current(); c.refusal.Load() == nil && c.outdated(v, now) {
		c.judge(v)
	}
	return c.refusal.Load()
}

// judge judges the caller anew by v.
func (c *edgeConn) judge(v *view) {
	cause := telemetry.CauseTime
	if c.judged != v.standard {
		cause = telemetry.CauseTrust
	}
	defer func() {
		// As in a handshake, a certificate that makes the parser panic must not end the
		// process; nor may it keep its connection.
		if mistake := recover(); mistake != nil {
			c.listener.gateway.options.Log.Error("panic while judging a caller anew", "panic", mistake, "conn_id", c.tls.ID())
			c.refuse(cause, &certpath.Error{Reason: certpath.ReasonMalformed, Err: errPanicked})
		}
	}()
	cache := c.listener.gateway.options.Cache
	verdict := cache.Rejudge(c.path, c.tls.Chain(), certpath.RoleClient, c.listener.tls.Scope(), v.snapshot)
	c.listener.gateway.options.Telemetry.ShadowJudged(c.tls.Peer().ID(), &verdict)
	if !verdict.Accepted() {
		c.refuse(cause, verdict.Err)
		return
	}
	cache.Remember(&verdict) // the key was proven when the connection began
	c.accept(v, verdict.Path, verdict.Grade, earlier(verdict.Path.NotAfter(), verdict.Until))
}

// accept takes note of a verdict by v that accepts the caller.
func (c *edgeConn) accept(v *view, path *certpath.Path, grade assurance.Grade, until time.Time) {
	c.judged, c.path, c.grade, c.until = v.standard, path, c.findings.Lower(grade), until.UnixNano()
	// What was seen of the credential counts as well: the verdict did not know it.
	if bundle := v.snapshot.Bundle(c.domain.origin); bundle != nil && c.grade.MIAL < bundle.Options().MinMIAL {
		c.refuse(telemetry.CauseTrust, &certpath.Error{
			Reason: certpath.ReasonAssurance,
			Found:  fmt.Sprintf("mial is %d, because the credential is shared", c.grade.MIAL),
			Want:   fmt.Sprintf("%d", bundle.Options().MinMIAL),
		})
		return
	}
	c.expect()
}

// expect has the rejudger ask again when the time of the verdict has come. The end
// that the handshake knew has a timer in the listener; this is for earlier ones.
func (c *edgeConn) expect() {
	if c.until < c.tls.Peer().Expiry().UnixNano() && c.domain.expect(c.until) {
		c.listener.gateway.rejudger.wake()
	}
}

// refuse ends the connection: at once when it is idle; otherwise the request that
// is being read is refused, and a response in flight may finish within bounds.
func (c *edgeConn) refuse(cause string, rejection *certpath.Error) {
	r := &refusal{cause: cause, rejection: rejection}
	c.refusal.Store(r)
	if c.busy.Load() {
		c.bound(r)
	} else {
		// On its own goroutine it then finds the refusal, says goodbye and closes. Should
		// a request come in this very moment, it is refused.
		c.interrupt()
	}
}

// bound makes the connection end soon whatever is in flight.
func (c *edgeConn) bound(r *refusal) {
	if r.bound == nil {
		r.bound = time.AfterFunc(c.listener.gateway.options.RefusalGrace, c.cut)
	}
}

// cut closes the connection, and the backend's that it waits for.
func (c *edgeConn) cut() {
	c.tls.Close()
	c.abort.Abort()
}

// recordRefusal tells why the connection ended, which is closed by now.
func (c *edgeConn) recordRefusal(r *refusal) {
	c.mu.Lock()
	cut := r.bound != nil && !r.bound.Stop()
	c.mu.Unlock()
	end := &telemetry.ConnectionEnd{
		Listener: c.listener.name, ConnID: c.tls.ID(), Remote: c.tls.Remote(), Start: c.tls.Start(),
		Identity: c.tls.Peer().ID(), Cause: r.cause, Cut: cut,
	}
	if r.rejection != nil {
		end.Reason, end.Err = r.rejection.Reason.String(), r.rejection
	}
	c.listener.gateway.options.Telemetry.ConnectionRefused(end)
}
