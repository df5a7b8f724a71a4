package tlsterm

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

// house is a world that a client comes back to: with a clock, and trust, secrets and
// sessions that can change in between.
type house struct {
	*world
	clock   *ticking
	secrets *secretSource
	tickets *Tickets
	issuing *devpki.CA // below ca, and ends in 2 h
	guest   *devpki.Leaf
	visits  *sessions
	version uint16
}

// ticking is a clock that moves by hand.
type ticking struct {
	start   time.Time
	elapsed atomic.Int64
}

func (c *ticking) now() time.Time           { return c.start.Add(time.Duration(c.elapsed.Load())) }
func (c *ticking) advance(by time.Duration) { c.elapsed.Add(int64(by)) }

type secretSource struct{ current atomic.Pointer[trust.Secrets] }

func (s *secretSource) Secrets() *trust.Secrets { return s.current.Load() }

// secret returns a secret of its own for each name.
func secret(name string) trust.Secret { return sha256.Sum256([]byte(name)) }

func (s *secretSource) set(t testing.TB, names ...string) {
	t.Helper()
	var all []trust.Secret
	for _, name := range names {
		all = append(all, secret(name))
	}
	s.current.Store(must(trust.NewSecrets(all...))(t))
}

// sessions is the cache of a client that keeps the last session and offers it to
// whomever it talks to.
type sessions struct {
	mu   sync.Mutex
	last *tls.ClientSessionState
	puts int
}

func (s *sessions) Get(string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.last != nil
}

func (s *sessions) Put(_ string, last *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last != nil {
		s.last = last
		s.puts++
	}
}

// ticket returns the ticket of the session kept.
func (s *sessions) ticket(t testing.TB) []byte {
	t.Helper()
	if s.last == nil {
		t.Fatal("the client has no session")
	}
	ticket, _, err := s.last.ResumptionState()
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// with returns a client's sessions of which only the ticket is another one.
func (s *sessions) with(t testing.TB, ticket []byte) *sessions {
	t.Helper()
	_, state, err := s.last.ResumptionState()
	if err != nil {
		t.Fatal(err)
	}
	own := must(tls.ParseSessionState(must(state.Bytes())(t)))(t)
	return &sessions{last: must(tls.NewResumptionState(ticket, own))(t)}
}

func newHouse(t testing.TB, version uint16, cache verifycache.Options) *house {
	t.Helper()
	h := &house{
		clock: &ticking{start: time.Now()}, secrets: new(secretSource), visits: new(sessions),
		version: version,
	}
	cache.Now = h.clock.now
	h.world = newWorld(t, cache)
	h.secrets.set(t, "first")
	h.tickets = h.newTickets(t, nil)
	h.issuing = must(h.ca.NewIntermediate(devpki.CAOptions{Name: "prod workloads", NotAfter: h.clock.now().Add(2 * time.Hour)}))(t)
	h.guest = must(h.issuing.Issue(devpki.LeafOptions{URIs: []string{checkout}}))(t)
	return h
}

func (h *house) newTickets(t testing.TB, edit func(*TicketOptions)) *Tickets {
	t.Helper()
	o := TicketOptions{Secrets: h.secrets, MaxSessionAge: 10 * time.Hour, Now: h.clock.now}
	if edit != nil {
		edit(&o)
	}
	return must(NewTickets(o))(t)
}

// open starts a listener with tickets that echoes.
func (h *house) open(t testing.TB, edit func(*Options)) (*Listener, *recorder) {
	t.Helper()
	l, r := h.start(t, func(o *Options) {
		o.AllowTLS12 = true
		o.Tickets = h.tickets
		o.Now = h.clock.now
		o.HandshakeTokens = 16 // nobody is refused for overload on a busy machine
		if edit != nil {
			edit(o)
		}
	})
	echo(l)
	return l, r
}

// client returns what the guest comes with: its certificate and its last session.
func (h *house) client() *tls.Config {
	c := h.world.client(h.guest)
	c.MinVersion, c.MaxVersion = h.version, h.version
	c.ClientSessionCache = h.visits
	c.Time = h.clock.now
	return c
}

// visit connects, is answered and leaves. It returns whether the client resumed, and
// the gateway's record.
func visit(t testing.TB, l *Listener, r *recorder, config *tls.Config) (resumed bool, record *Handshake, err error) {
	t.Helper()
	c, err := connect(l, config)
	if err == nil {
		resumed = c.ConnectionState().DidResume
		err = ping(c)
		c.Close()
	}
	return resumed, next(t, "handshake record", r.handshakes), err
}

// arrive is a first visit.
func (h *house) arrive(t testing.TB, l *Listener, r *recorder) *Handshake {
	t.Helper()
	resumed, record, err := visit(t, l, r, h.client())
	if err != nil || resumed || record.Outcome != Accepted || record.Resumption != NotAsked {
		t.Fatalf("first visit: resumed %v, record %v, %q, %v; error %v", resumed, record.Outcome, record.Reason, record.Resumption, err)
	}
	return record
}

// arriveAnew is a first visit to another listener of the same name.
func (h *house) arriveAnew(t testing.TB) {
	t.Helper()
	h.visits.last = nil
	l, r := h.open(t, nil)
	h.arrive(t, l, r)
}

// trusts publishes what prod.example is judged by.
func (h *house) trusts(t testing.TB, o trust.BundleOptions, deny *trust.DenyList) {
	t.Helper()
	origin := must(workloadid.ParseOrigin("spiffe://prod.example"))(t)
	bundle := must(trust.NewBundle(origin, o))(t)
	h.store.Publish(must(trust.NewSnapshot([]*trust.Bundle{bundle}, deny))(t))
}

// bundle publishes prod.example's bundle with its root and the options given.
func (h *house) bundle(t testing.TB, edit func(*trust.BundleOptions)) {
	t.Helper()
	o := trust.BundleOptions{Anchors: []*x509.Certificate{h.root.Certificate}}
	if edit != nil {
		edit(&o)
	}
	h.trusts(t, o, nil)
}

func (h *house) deny(t testing.TB, o trust.DenyOptions) {
	t.Helper()
	h.trusts(t, trust.BundleOptions{Anchors: []*x509.Certificate{h.root.Certificate}}, trust.NewDenyList(o))
}

func keyDigest(c *x509.Certificate) trust.Digest { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// each runs f for both versions of TLS, with the verification cache and without.
func each(t *testing.T, f func(t *testing.T, h *house)) {
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		for _, disabled := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, cache disabled %v", tls.VersionName(version), disabled), func(t *testing.T) {
				t.Parallel()
				f(t, newHouse(t, version, verifycache.Options{Disabled: disabled}))
			})
		}
	}
}

// TestResumptionMatrix changes one thing between a client's first visit and its second.
// Whatever it is, the second is never refused for having a ticket: it is resumed, or a
// full handshake with the outcome that it would have had without one.
func TestResumptionMatrix(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, h *house)
		// second, if set, edits the options of another listener, which the second visit goes
		// to. Both share the tickets.
		second func(t *testing.T, h *house, o *Options)
		// client, if set, edits what the client offers at the second visit.
		client func(*tls.Config)
		want   Resumption
		reason certpath.Reason // of the refusal in the full handshake; none if that is accepted
	}{
		{name: "nothing", want: Resumed},
		{name: "a snapshot of the same content", change: func(t *testing.T, h *house) {
			h.publish(t, h.root.Certificate)
		}, want: Resumed},
		{name: "an anchor added", change: func(t *testing.T, h *house) {
			h.publish(t, h.root.Certificate, root(t, "another").Certificate)
		}, want: Resumed},
		{name: "the verdict forgotten", change: func(t *testing.T, h *house) {
			h.clock.advance(20 * time.Minute)
		}, want: Resumed},

		// Where: TLS-07.
		{name: "another listener of the same configuration and name", second: func(*testing.T, *house, *Options) {}, want: Resumed},
		{name: "listener name", second: func(_ *testing.T, _ *house, o *Options) { o.Name = "edge2" }, want: TicketScope},
		{name: "fewer origins admitted", second: func(t *testing.T, h *house, o *Options) {
			o.Scope = must(verifycache.NewScope("edge", h.scope.Origins()[:1]))(t)
		}, want: TicketScope},
		{name: "more origins admitted", second: func(t *testing.T, h *house, o *Options) {
			more := must(workloadid.ParseOrigin("spiffe://internal.example"))(t)
			o.Scope = must(verifycache.NewScope("edge", append(h.scope.Origins(), more)))(t)
		}, want: TicketScope},
		{name: "the client's origin not admitted", second: func(t *testing.T, h *house, o *Options) {
			other := must(workloadid.ParseOrigin("spiffe://unknown.example"))(t)
			o.Scope = must(verifycache.NewScope("edge", []workloadid.Origin{other}))(t)
		}, want: TicketScope, reason: certpath.ReasonOriginNotAllowed},
		{name: "rejected clients admitted", second: func(_ *testing.T, _ *house, o *Options) { o.AdmitRejected = true }, want: TicketScope},
		{name: "key exchanges", second: func(_ *testing.T, _ *house, o *Options) { o.Curves = []tls.CurveID{tls.CurveP256} }, want: TicketScope},
		{name: "order of key exchanges", second: func(_ *testing.T, _ *house, o *Options) {
			o.Curves = DefaultCurves()
			slices.Reverse(o.Curves)
		}, want: Resumed},
		{name: "server name", client: func(c *tls.Config) { c.ServerName = "other.test" }, want: TicketScope},
		{name: "no server name", client: func(c *tls.Config) { c.ServerName = "" }, want: TicketScope},
		{name: "case of the server name", client: func(c *tls.Config) { c.ServerName = "GateWay.test" }, want: Resumed},
		{name: "application protocols", client: func(c *tls.Config) { c.NextProtos = nil }, want: Resumed},

		// Trust: TLS-05, BUN-02, REV-05.
		{name: "anchor removed", change: func(t *testing.T, h *house) { h.publish(t) }, want: TicketRejected, reason: certpath.ReasonUntrustedChain},
		{name: "anchor replaced by another key", change: func(t *testing.T, h *house) {
			h.publish(t, root(t, "prod root").Certificate)
		}, want: TicketRejected, reason: certpath.ReasonUntrustedChain},
		{name: "anchor reissued", change: func(t *testing.T, h *house) {
			h.publish(t, reissue(t, h.root))
		}, want: Resumed},
		{name: "trust domain removed", change: func(t *testing.T, h *house) {
			h.store.Publish(must(trust.NewSnapshot(nil, nil))(t))
		}, want: TicketRejected, reason: certpath.ReasonUnknownTrustDomain},
		{name: "trust domain's anchors now another's", change: func(t *testing.T, h *house) {
			origin := must(workloadid.ParseOrigin("spiffe://unknown.example"))(t)
			bundle := must(trust.NewBundle(origin, trust.BundleOptions{Anchors: []*x509.Certificate{h.root.Certificate}}))(t)
			h.store.Publish(must(trust.NewSnapshot([]*trust.Bundle{bundle}, nil))(t))
		}, want: TicketRejected, reason: certpath.ReasonUnknownTrustDomain},
		{name: "certificate lifetime limited", change: func(t *testing.T, h *house) {
			h.bundle(t, func(o *trust.BundleOptions) { o.MaxCertificateLifetime = time.Hour })
		}, want: TicketRejected, reason: certpath.ReasonLifetime},
		{name: "certificate lifetime limited generously", change: func(t *testing.T, h *house) {
			h.bundle(t, func(o *trust.BundleOptions) { o.MaxCertificateLifetime = 48 * time.Hour })
		}, want: Resumed},
		{name: "algorithms limited", change: func(t *testing.T, h *house) {
			h.bundle(t, func(o *trust.BundleOptions) { o.Algorithms = []string{"ed25519"} })
		}, want: TicketRejected, reason: certpath.ReasonAlgorithmNotAllowed},
		{name: "assurance demanded", change: func(t *testing.T, h *house) {
			h.bundle(t, func(o *trust.BundleOptions) { o.MinMIAL = 2 })
		}, want: TicketRejected, reason: certpath.ReasonAssurance},

		// Denied: REV-01, REV-05.
		{name: "identity denied", change: func(t *testing.T, h *house) {
			h.deny(t, trust.DenyOptions{Identities: []workloadid.Pattern{must(workloadid.ParsePattern(checkout))(t)}})
		}, want: TicketRejected, reason: certpath.ReasonDenied},
		{name: "serial number denied", change: func(t *testing.T, h *house) {
			h.deny(t, trust.DenyOptions{Serials: []trust.IssuerSerial{{
				IssuerSPKI: keyDigest(h.issuing.Certificate), Serial: trust.SerialOf(h.guest.Chain[0].SerialNumber),
			}}})
		}, want: TicketRejected, reason: certpath.ReasonDenied},
		{name: "key denied", change: func(t *testing.T, h *house) {
			h.deny(t, trust.DenyOptions{Keys: []trust.Digest{keyDigest(h.guest.Chain[0])}})
		}, want: TicketRejected, reason: certpath.ReasonDenied},
		{name: "issuer's key denied", change: func(t *testing.T, h *house) {
			h.deny(t, trust.DenyOptions{Keys: []trust.Digest{keyDigest(h.ca.Certificate)}})
		}, want: TicketRejected, reason: certpath.ReasonDenied},
		{name: "somebody else denied", change: func(t *testing.T, h *house) {
			h.deny(t, trust.DenyOptions{Identities: []workloadid.Pattern{must(workloadid.ParsePattern(checkout + "2"))(t)}})
		}, want: Resumed},

		// Revoked: REV-03 to REV-05.
		{name: "nobody revoked", change: func(t *testing.T, h *house) { h.revoke(t) }, want: Resumed},
		{name: "leaf revoked", change: func(t *testing.T, h *house) { h.revoke(t, h.guest.Chain[0]) }, want: TicketRejected, reason: certpath.ReasonRevoked},
		{name: "issuer revoked", change: func(t *testing.T, h *house) { h.revoke(t, h.issuing.Certificate) }, want: TicketRejected, reason: certpath.ReasonRevoked},
		{name: "revocation list stale", change: func(t *testing.T, h *house) {
			h.revoke(t)
			h.clock.advance(45 * time.Minute) // past nextUpdate
		}, want: TicketRejected, reason: certpath.ReasonRevocationStale},

		// Time: TLS-06, REV-06.
		{name: "leaf expired", change: func(t *testing.T, h *house) {
			end := h.clock.now().Add(30 * time.Minute)
			h.guest = must(h.issuing.Issue(devpki.LeafOptions{URIs: []string{checkout}, NotAfter: end}))(t)
			h.arriveAnew(t)
			h.clock.advance(31 * time.Minute)
		}, want: TicketRejected, reason: certpath.ReasonExpired},
		{name: "issuer expired before its leaf", change: func(t *testing.T, h *house) {
			h.clock.advance(100 * time.Minute)
			h.arriveAnew(t)
			h.clock.advance(21 * time.Minute)
		}, want: TicketRejected, reason: certpath.ReasonExpired},
		{name: "one epoch later", change: func(_ *testing.T, h *house) { h.clock.advance(time.Hour) }, want: Resumed},
		{name: "an epoch before, as a replica's clock may have it", change: func(_ *testing.T, h *house) {
			h.tickets.o.Now = func() time.Time { return h.clock.now().Add(-4 * time.Minute) }
		}, want: Resumed},
		{name: "clock set back too far", change: func(_ *testing.T, h *house) {
			h.tickets.o.Now = func() time.Time { return h.clock.now().Add(-30 * time.Minute) }
		}, want: TicketUnusable},

		// Secrets.
		{name: "secret rotated", change: func(t *testing.T, h *house) { h.secrets.set(t, "second", "first") }, want: Resumed},
		{name: "secret gone", change: func(t *testing.T, h *house) { h.secrets.set(t, "second") }, want: TicketForeign},
		{name: "no secret at all", change: func(_ *testing.T, h *house) { h.secrets.current.Store(nil) }, want: TicketForeign},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, h *house) {
				l, r := h.open(t, nil)
				first := h.arrive(t, l, r)
				if tt.change != nil {
					tt.change(t, h)
				}
				if tt.second != nil {
					l, r = h.open(t, func(o *Options) { tt.second(t, h, o) })
				}
				config := h.client()
				// The client would offer its session under its own name only; this one is hostile.
				config.InsecureSkipVerify = true
				if tt.client != nil {
					tt.client(config)
				}
				resumed, record, err := visit(t, l, r, config)
				if resumed != (tt.want == Resumed) || record.Resumption != tt.want || record.Resumed != resumed {
					t.Errorf("client resumed: %v; record: resumed %v, %v; want %v", resumed, record.Resumed, record.Resumption, tt.want)
				}
				if tt.reason == certpath.ReasonNone {
					if err != nil || record.Outcome != Accepted || record.Peer.ID() != first.Peer.ID() {
						t.Errorf("%v %q as %v, client's error %v; want accepted as %v", record.Outcome, record.Reason, record.Peer.ID(), err, first.Peer.ID())
					}
				} else if err == nil || record.Outcome != Failed || record.Reason != tt.reason.String() {
					t.Errorf("%v %q, client's error %v; want refused, %q", record.Outcome, record.Reason, err, tt.reason)
				}
			})
		})
	}
}

// reissue returns the certificate of a root with the same name and key.
func reissue(t testing.TB, ca *devpki.CA) *x509.Certificate {
	t.Helper()
	template := *ca.Certificate
	template.NotBefore = template.NotBefore.Add(time.Second)
	der := must(x509.CreateCertificate(nil, &template, &template, ca.Key.Public(), ca.Key))(t)
	return must(x509.ParseCertificate(der))(t)
}

// revoke publishes revocation lists of all CAs, which end in half an hour, with these
// certificates on them.
func (h *house) revoke(t testing.TB, revoked ...*x509.Certificate) {
	t.Helper()
	var crls []*trust.CRL
	for _, ca := range []*devpki.CA{h.root, h.ca, h.issuing} {
		o := devpki.CRLOptions{NextUpdate: h.clock.now().Add(30 * time.Minute)}
		for _, c := range revoked {
			if bytes.Equal(c.RawIssuer, ca.Certificate.RawSubject) {
				o.Revoked = append(o.Revoked, c.SerialNumber)
			}
		}
		crls = append(crls, must(trust.ParseCRLs("test.crl", must(ca.MakeCRL(o))(t)))(t)...)
	}
	set := must(trust.NewCRLSet(crls, trust.CRLOptions{}))(t)
	h.bundle(t, func(o *trust.BundleOptions) { o.CRLs = set })
}

// However often a session is resumed, its age counts from the first authentication
// (TLS-06). crypto/tls counts anew each time in TLS 1.3.
func TestSessionAgeCountsFromTheFirstAuthentication(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.tickets = h.newTickets(t, func(o *TicketOptions) { o.MaxSessionAge = time.Hour })
		l, r := h.open(t, nil)
		h.arrive(t, l, r)
		for _, want := range []Resumption{Resumed, Resumed, TicketTooOld, Resumed} {
			h.clock.advance(25 * time.Minute)
			resumed, record, err := visit(t, l, r, h.client())
			if err != nil || resumed != (want == Resumed) || record.Resumption != want {
				t.Fatalf("%v after the first visit: resumed %v, %v, error %v; want %v",
					time.Duration(h.clock.elapsed.Load()), resumed, record.Resumption, err, want)
			}
		}
	})
}

func TestTicketsGoStaleWithTheirEpoch(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.tickets = h.newTickets(t, func(o *TicketOptions) { o.Rotation = 10 * time.Minute })
		l, r := h.open(t, nil)
		h.arrive(t, l, r)
		h.clock.advance(20 * time.Minute)
		if resumed, record, err := visit(t, l, r, h.client()); resumed || record.Resumption != TicketForeign || err != nil {
			t.Errorf("two epochs later: resumed %v, %v, error %v; want a full handshake", resumed, record.Resumption, err)
		}
	})
}

// What the gateway knows of a client does not depend on how its handshake was done
// (FWD-07).
func TestResumedConnectionIsLikeAFullOne(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		cached := h.cache.Stats().Bypassed == 0
		l, r := h.start(t, func(o *Options) {
			o.AllowTLS12, o.Tickets, o.Now, o.HandshakeTokens = true, h.tickets, h.clock.now, 16
		})
		var conns []*Conn
		var records []*Handshake
		for range 3 {
			client, err := connect(l, h.client())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			c := must(l.Accept())(t).(*Conn)
			conns = append(conns, c)
			records = append(records, next(t, "handshake record", r.handshakes))
			must(c.Write([]byte("!")))(t)
			must(client.Read(make([]byte, 1)))(t) // and the ticket before it
		}
		full := conns[0]
		cached = cached && records[1].Verdict.Outcome == verifycache.Hit
		for i, c := range conns[1:] {
			if h := c.Handshake(); !h.Resumed || h.Resumption != Resumed || !records[1+i].Resumed || records[1+i].Resumption != Resumed {
				t.Fatalf("visit %d: not resumed: %v", 2+i, h.Resumption)
			}
			p, q := full.Peer(), c.Peer()
			if q.IsZero() || q.ID() != p.ID() || q.Grade() != p.Grade() || q.Snapshot() != p.Snapshot() ||
				!q.Path().NotAfter().Equal(p.Path().NotAfter()) || q.Expiry().After(p.Path().NotAfter()) {
				t.Errorf("visit %d: peer %+v, first %+v", 2+i, q, p)
			}
			if cached && q.Path() != p.Path() {
				t.Errorf("visit %d: a path of its own", 2+i)
			}
			if c.Rejection() != nil || c.SNI() != full.SNI() || c.Handshake().ALPN != full.Handshake().ALPN || c.Handshake().Version != h.version {
				t.Errorf("visit %d: %+v", 2+i, c.Handshake())
			}
			if v := records[1+i].Verdict; !v.Accepted() || v.ID.String() != checkout || v.Path != q.Path() {
				t.Errorf("visit %d: verdict %+v", 2+i, v)
			}
			chain := c.Chain()
			// Idle connections share what they can.
			if len(chain) != 3 || chain[0] != nil || !slices.EqualFunc(chain[1:], full.Chain()[1:], (*x509.Certificate).Equal) {
				t.Errorf("visit %d: chain differs", 2+i)
			}
			for above, certificate := range chain[1:] {
				if certificate != q.Path().Issuers()[above] {
					t.Errorf("visit %d: issuer %d is the connection's own", 2+i, above)
				}
			}
		}
	})
}

// The snapshot may change between the ticket and VerifyConnection. Then the verdict is
// not used, and a refusal ends the handshake, also where rejected clients are admitted.
func TestVerdictOfATicketIsNotUsedForAnotherSnapshot(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		var l *Listener
		edit := func(o *Options) { o.AdmitRejected = true }
		l, r := h.open(t, edit)
		h.arrive(t, l, r)
		a := &attempt{l: l, welcome: l.welcome.Load()}
		state := tls.ConnectionState{Version: h.version, ServerName: "gateway.test"}
		session, err := a.unwrap(h.visits.ticket(t), state)
		if session == nil || err != nil {
			t.Fatalf("unwrap() = %v, %v, want a session", session, err)
		}
		state.DidResume, state.PeerCertificates = true, a.offer.presented()
		if err := a.verify(state); err != nil || !a.verdict.Accepted() {
			t.Fatalf("verify() = %v by the same snapshot", err)
		}
		h.publish(t)
		if err := a.verify(state); err == nil {
			t.Error("verify() accepts a resumed session after its anchor is gone")
		}
		h.publish(t, h.root.Certificate)
		other := h.workload(t, checkout+"2")
		state.PeerCertificates = other.Chain
		if err := a.verify(state); err != nil || a.verdict.ID.String() != checkout+"2" {
			t.Errorf("verify() = %v about %v, want a verdict about the chain it was given", err, a.verdict.ID)
		}
	})
}

// The verdict of a ticket is of one chain, whatever crypto/tls says was the session's.
func TestVerdictOfATicketIsNotUsedForAnotherChain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		l, r := h.open(t, nil)
		h.arrive(t, l, r)
		a := &attempt{l: l, welcome: l.welcome.Load()}
		session, err := a.unwrap(h.visits.ticket(t), tls.ConnectionState{Version: h.version, ServerName: "gateway.test"})
		if session == nil || err != nil {
			t.Fatalf("unwrap() = %v, %v, want a session", session, err)
		}
		own, snapshot := a.offer.presented(), h.store.Load()
		if !a.offer.answers(own, snapshot) {
			t.Fatal("answers() = false for the session's own chain")
		}
		other := h.workload(t, checkout+"2").Chain[0]
		for claim, chain := range map[string][]*x509.Certificate{
			"another leaf":         slices.Concat([]*x509.Certificate{other}, own[1:]),
			"another issuer":       slices.Concat(own[:1], []*x509.Certificate{other}, own[2:]),
			"one certificate more": slices.Concat(own, []*x509.Certificate{other}),
			"one fewer":            own[:len(own)-1],
		} {
			if a.offer.answers(chain, snapshot) {
				t.Errorf("%s: answers() = true", claim)
			}
		}
	})
}

// Replicas share secrets, and nothing else.
func TestReplicasOpenEachOthersTickets(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		l, r := h.open(t, nil)
		h.arrive(t, l, r)
		first := h.visits.last

		replica, other := h.newTickets(t, nil), h.newTickets(t, func(o *TicketOptions) { o.Secrets = nil })
		second, r2 := h.open(t, func(o *Options) { o.Tickets = replica })
		third, r3 := h.open(t, func(o *Options) { o.Tickets = other })
		for _, step := range []struct {
			l    *Listener
			r    *recorder
			want Resumption
		}{
			// It has not seen the CA certificates that the ticket refers to.
			{second, r2, TicketUnusable},
			{second, r2, Resumed},
			{l, r, Resumed},
			{third, r3, TicketForeign},
			{second, r2, TicketForeign},
		} {
			resumed, record, err := visit(t, step.l, step.r, h.client())
			if err != nil || resumed != (step.want == Resumed) || record.Resumption != step.want {
				t.Fatalf("resumed %v, %v, error %v; want %v", resumed, record.Resumption, err, step.want)
			}
		}
		// The very first ticket is good at the replica by now.
		config := h.client()
		config.ClientSessionCache = &sessions{last: first}
		if resumed, record, err := visit(t, second, r2, config); !resumed || err != nil {
			t.Errorf("the first ticket: %v, error %v; want resumed", record.Resumption, err)
		}
	})
}

func TestTicketThatIsNone(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		l, r := h.open(t, nil)
		h.arrive(t, l, r)
		good := h.visits.ticket(t)
		tickets := map[string][]byte{
			"one octet":        {0},
			"a key id":         good[:8],
			"without its end":  good[:len(good)-1],
			"with more":        append(bytes.Clone(good), 0),
			"its first half":   good[:len(good)/2],
			"giant":            bytes.Repeat(good, 30),
			"zeros":            make([]byte, len(good)),
			"of a std server":  h.foreign(t),
			"our tag in front": append([]byte(ticketTag), good...),
		}
		for i := 0; i < len(good); i += 1 + len(good)/24 {
			broken := bytes.Clone(good)
			broken[i] ^= 1
			tickets[fmt.Sprintf("octet %d changed", i)] = broken
		}
		for name, ticket := range tickets {
			config := h.client()
			config.ClientSessionCache = h.visits.with(t, ticket)
			resumed, record, err := visit(t, l, r, config)
			if resumed || err != nil || record.Outcome != Accepted || record.Resumption != TicketForeign && record.Resumption != TicketScope {
				t.Errorf("%s: resumed %v, %v, %v, error %v; want a full handshake", name, resumed, record.Outcome, record.Resumption, err)
			}
		}
	})
}

// foreign returns a ticket of a plain server.
func (h *house) foreign(t testing.TB) []byte {
	t.Helper()
	near, far := net.Pipe()
	server := tls.Server(far, &tls.Config{
		Certificates: []tls.Certificate{*h.own.Credential().TLS()}, ClientAuth: tls.RequireAnyClientCert,
	})
	go func() { _, _ = server.Write([]byte("!")) }()
	visits := new(sessions)
	config := h.client()
	config.ClientSessionCache, config.NextProtos = visits, nil
	must(tls.Client(near, config).Read(make([]byte, 1)))(t)
	return visits.ticket(t)
}

// A ticket goes over the wire in the clear. Whoever has copied it does not have the
// secret of the session.
func TestStolenTicketHarmsNobody(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		l, r := h.open(t, nil)
		h.arrive(t, l, r)
		victims := h.visits

		thief := h.client()
		thief.GetClientCertificate = presents(h.workload(t, checkout+"2").TLS())
		h.visits = new(sessions)
		thief.ClientSessionCache = h.visits
		if _, _, err := visit(t, l, r, thief); err != nil {
			t.Fatal(err)
		}
		thief.ClientSessionCache = h.visits.with(t, victims.ticket(t))
		resumed, record, err := visit(t, l, r, thief)
		if err == nil || record.Outcome != Failed || !record.Peer.IsZero() {
			t.Fatalf("resumed %v, record %v, peer %v; want a failed handshake", resumed, record.Outcome, record.Peer.ID())
		}
		if record.Resumed || record.Resumption != TicketUnusable {
			t.Errorf("record: resumed %v, %v; want unusable", record.Resumed, record.Resumption)
		}
		if record.Verdict.ID.String() != checkout {
			t.Errorf("record is about %v, want whose ticket it was", record.Verdict.ID)
		}
		if want := map[uint16]string{tls.VersionTLS12: ReasonClientAlert, tls.VersionTLS13: ReasonPoPFailed}[h.version]; record.Reason != want {
			t.Errorf("reason = %q, want %q", record.Reason, want)
		}

		// And the victim comes back as before.
		h.visits = victims
		if resumed, _, err := visit(t, l, r, h.client()); !resumed || err != nil {
			t.Errorf("the victim: resumed %v, error %v", resumed, err)
		}
	})
}

// Whoever is admitted in spite of its chain gets nothing to come back with.
func TestRejectedClientsGetNoTicket(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		l, r := h.open(t, func(o *Options) { o.AdmitRejected = true })
		h.guest = must(root(t, "elsewhere").Issue(devpki.LeafOptions{URIs: []string{checkout}}))(t)
		for range 2 {
			resumed, record, err := visit(t, l, r, h.client())
			if resumed || record.Outcome != Admitted || record.Resumption != NotAsked || err != nil {
				t.Errorf("resumed %v, %v, %v, error %v; want admitted, no ticket", resumed, record.Outcome, record.Resumption, err)
			}
		}
		if h.version == tls.VersionTLS13 && h.visits.puts != 0 {
			t.Errorf("%d tickets", h.visits.puts)
		}
	})
}

// A session that does not fit into a ticket costs the client its resumption, not its
// connection.
func TestLargeSessionHasNoTicket(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		l, r := h.open(t, nil)
		// What does not belong to the path is not referred to.
		for i := len(h.guest.Chain); i < certpath.MaxChainCertificates; i++ {
			useless := root(t, strings.Repeat("useless ", 80)).Certificate
			h.guest.Chain = append(h.guest.Chain, useless)
		}
		for range 2 {
			resumed, record, err := visit(t, l, r, h.client())
			if resumed || err != nil || record.Outcome != Accepted || record.Resumption != NotAsked && record.Resumption != TicketForeign {
				t.Errorf("resumed %v, %v %q, %v, error %v; want a full handshake", resumed, record.Outcome, record.Reason, record.Resumption, err)
			}
			if h.visits.last != nil && len(h.visits.ticket(t)) > 1 {
				t.Errorf("ticket of %d octets, want none", len(h.visits.ticket(t)))
			}
		}
	})
}

// crypto/tls passes on up to five tickets of one ClientHello, before the client has
// proven anything.
func TestManyTicketsCostLittle(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		l, r := h.open(t, nil)
		h.arrive(t, l, r)
		ticket := h.visits.ticket(t)
		h.publish(t) // so that each is opened, and rejected
		count := func() uint64 {
			s := h.cache.Stats()
			return s.Hits + s.Misses + s.Coalesced + s.RejectedHits + s.Bypassed
		}
		before := count()
		a := &attempt{l: l, welcome: l.welcome.Load()}
		state := tls.ConnectionState{Version: h.version, ServerName: "gateway.test"}
		for range 5 {
			if s, err := a.unwrap(ticket, state); s != nil || err != nil {
				t.Fatalf("unwrap() = %v, %v, want neither", s, err)
			}
		}
		if n := count() - before; n != maxOpened {
			t.Errorf("%d chains judged, want %d", n, maxOpened)
		}
		if a.offer.best != TicketRejected {
			t.Errorf("outcome %v, want rejected", a.offer.best)
		}
	})
}

// CVE-2024-39321: early data was served before an allow-list was asked (TLS-08).
func TestEarlyDataIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t, tls.VersionTLS13, verifycache.Options{})
	l, r := h.open(t, nil)
	h.arrive(t, l, r)
	if _, state, _ := h.visits.last.ResumptionState(); state.EarlyData {
		t.Error("the ticket invites early data")
	}
	c := dial(t, l)
	must(c.Write(withExtension(t, hello(t, h.world), 42)))(t) // early_data, empty
	expectEnd(t, c)
	if record := next(t, "handshake record", r.handshakes); record.Outcome != Failed || !strings.Contains(record.Err.Error(), "early data") {
		t.Errorf("record = %v, %v; want the handshake refused for its early data", record.Outcome, record.Err)
	}
}

// withExtension returns a record with a ClientHello that has one more extension, which
// is empty.
func withExtension(t testing.TB, record []byte, id uint16) []byte {
	t.Helper()
	record = bytes.Clone(record)
	// Record header 5, message header 4, version 2, random 32, then three vectors.
	at := 5 + 4 + 2 + 32
	at += 1 + int(record[at])
	at += 2 + int(record[at])<<8 + int(record[at+1])
	at += 1 + int(record[at])
	add := func(at, n int) {
		length := int(record[at])<<8 + int(record[at+1]) + n
		record[at], record[at+1] = byte(length>>8), byte(length)
	}
	if int(record[at])<<8+int(record[at+1]) != len(record)-at-2 {
		t.Fatal("the ClientHello is not where it should be")
	}
	add(at, 4) // extensions
	add(7, 4)  // message; its length has three octets
	add(3, 4)  // record
	return append(record, byte(id>>8), byte(id), 0, 0)
}

// While clients come and go, everything changes that may: which secret is the current
// one, the snapshot, the clock. All secrets stay in force, so whoever comes back
// resumes.
func TestTicketsUnderConcurrency(t *testing.T) {
	t.Parallel()
	const clients, visits = 8, 10
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		h := newHouse(t, version, verifycache.Options{})
		l, r := h.open(t, nil)
		// All that can fail the test in the making is made here: what comes and goes runs
		// on goroutines of its own.
		var secrets [trust.MaxSecrets]*trust.Secrets
		for current := range secrets {
			var all []trust.Secret
			for i := range secrets {
				all = append(all, secret(fmt.Sprint("secret ", (current+i)%len(secrets))))
			}
			secrets[current] = must(trust.NewSecrets(all...))(t)
		}
		h.secrets.current.Store(secrets[0])
		var snapshots [visits]*trust.Snapshot
		for i := range snapshots {
			h.publish(t, h.root.Certificate)
			snapshots[i] = h.store.Load()
		}
		var running sync.WaitGroup
		for range clients {
			running.Go(func() {
				config := h.client()
				config.ClientSessionCache = new(sessions)
				for n := range visits {
					h.secrets.current.Store(secrets[n%len(secrets)])
					h.store.Publish(snapshots[n])
					h.clock.advance(time.Millisecond)
					c, err := connect(l, config)
					if err != nil {
						t.Errorf("visit %d: a client is refused: %v", n, err)
						continue
					}
					if got := c.ConnectionState().DidResume; got != (n > 0) {
						t.Errorf("visit %d: resumed %v, want %v", n, got, n > 0)
					}
					if err := ping(c); err != nil {
						t.Errorf("visit %d: %v", n, err)
					}
					c.Close()
				}
			})
		}
		running.Wait()
		for range clients * visits {
			if h := next(t, "handshake record", r.handshakes); h.Outcome != Accepted || h.Peer.ID().String() != checkout {
				t.Errorf("record = %v %q, peer %v", h.Outcome, h.Reason, h.Peer.ID())
			}
		}
	}
}

// A reload can change whom a running listener admits: the next handshake is judged by
// that, a ticket from before leads to a full one, and who is connected keeps the scope
// that it came with (FED-09, TLS-07).
func TestScopeIsChangedWhileListening(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		l, r := h.open(t, nil)
		h.arrive(t, l, r)
		unknown := must(workloadid.ParseOrigin("spiffe://unknown.example"))(t)

		l.SetScope(must(verifycache.NewScope("edge", []workloadid.Origin{unknown}))(t))
		if resumed, record, err := visit(t, l, r, h.client()); resumed || err == nil || record.Reason != certpath.ReasonOriginNotAllowed.String() || record.Resumption != TicketScope {
			t.Errorf("after the origin was taken out: resumed %v, error %v, reason %q, ticket %v; want the handshake refused for %v",
				resumed, err, record.Reason, record.Resumption, certpath.ReasonOriginNotAllowed)
		}
		l.SetScope(h.scope)
		if resumed, record, err := visit(t, l, r, h.client()); !resumed || err != nil {
			t.Errorf("after it was put back: resumed %v, error %v, ticket %v; want the session resumed", resumed, err, record.Resumption)
		}
		if l.Scope() != h.scope {
			t.Error("Scope() is not what SetScope was given")
		}
	})
}

// A leaf that the cache knows, octet for octet, is not parsed. One that is not there is;
// one that is none makes the ticket useless and the connection no error.
func TestLeafOfASessionIsParsedOnlyIfItIsNotKnown(t *testing.T) {
	t.Parallel()
	h := newHouse(t, tls.VersionTLS13, verifycache.Options{})
	l, r := h.open(t, nil)
	known := h.arrive(t, l, r).Peer.Path().RawLeaf()
	issuers := h.guest.Chain[1:]
	attempt := &attempt{l: l, welcome: l.welcome.Load()}
	stray := must(h.issuing.Issue(devpki.LeafOptions{URIs: []string{checkout + "/stray"}}))(t).Chain[0]
	for _, tt := range []struct {
		claim  string
		leaf   []byte
		parsed bool
		ok     bool
	}{
		{"one that was accepted", known, false, true},
		{"one that nobody has shown", stray.Raw, true, true},
		{"one that is no certificate", []byte("leaf"), false, false},
	} {
		deadline := time.Now().Add(patience)
		for {
			s := &session{leaf: tt.leaf, chain: slices.Concat([]*x509.Certificate{nil}, issuers)}
			judged, ok := attempt.recall(s, h.store.Load())
			if ok != tt.ok || ok && !bytes.Equal(judged.presented()[0].Raw, tt.leaf) {
				t.Fatalf("%s: recall() = %+v, %v", tt.claim, judged, ok)
			}
			if !ok || tt.parsed == (judged.chain[0] != nil) {
				break
			}
			// The cache keeps a verdict some time after the handshake.
			if time.Now().After(deadline) {
				t.Fatalf("%s: parsed is %v, want %v", tt.claim, !tt.parsed, tt.parsed)
			}
			runtime.Gosched()
		}
	}
}
