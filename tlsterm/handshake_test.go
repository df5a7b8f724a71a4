package tlsterm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/verifycache"
)

func TestAnAcceptedClientIsAPeer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, r := w.start(t, nil)
	leaf := w.workload(t, checkout)
	client, err := connect(l, w.client(leaf))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted := must(l.Accept())(t)
	c, ok := accepted.(*Conn)
	if !ok {
		t.Fatalf("Accept() = %T, want *Conn", accepted)
	}

	h := next(t, "handshake record", r.handshakes)
	if h.Outcome != Accepted || h.Reason != "" || h.Err != nil || h.Chain != nil {
		t.Errorf("record = %v, reason %q, err %v, chain %v; want accepted, nothing else", h.Outcome, h.Reason, h.Err, h.Chain)
	}
	if h.Peer.IsZero() || h.Peer.ID().String() != checkout {
		t.Errorf("peer = %q, want %q", h.Peer.ID(), checkout)
	}
	if h.SNI != "gateway.test" || h.ALPN != "http/1.1" || h.Version != tls.VersionTLS13 || h.Resumed {
		t.Errorf("SNI %q, ALPN %q, version %x, resumed %v", h.SNI, h.ALPN, h.Version, h.Resumed)
	}
	if h.Curve != tls.X25519MLKEM768 {
		t.Errorf("key exchange = %v, want the hybrid (TLS-17)", h.Curve)
	}
	if want := addrPort(client.LocalAddr()); h.Remote != want || c.Remote() != want {
		t.Errorf("remote = %v and %v, want %v", h.Remote, c.Remote(), want)
	}
	if p := c.Peer(); p.ID() != h.Peer.ID() || p.Path() == nil || p.Snapshot() != w.store.Load().Digest() || c.Rejection() != nil {
		t.Errorf("Conn.Peer() = %+v, rejection %v", p, c.Rejection())
	}
	if end := leaf.Chain[0].NotAfter; c.Peer().Expiry().After(end) || c.Peer().Expiry().Before(end.Add(-30*time.Second)) {
		t.Errorf("Expiry() = %v, want within 30 s before %v", c.Peer().Expiry(), end)
	}
	if again := c.Handshake(); again.ConnID != h.ConnID || again.Peer.ID() != h.Peer.ID() || again.SNI != h.SNI || again.Curve != h.Curve {
		t.Errorf("Conn.Handshake() = %+v, want what the record says: %+v", again, h)
	}
	if n := l.Conns(); n != 1 {
		t.Errorf("Conns() = %d, want 1", n)
	}
	c.Close()
	if closed := next(t, "closed connection", r.closed); closed != c {
		t.Error("Closed was told of another connection")
	}
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("client reads %v at the end, want EOF from close_notify", err)
	}
}

// A refusal is a client, what it is told, and what the operator is told.
type refusal struct {
	name   string
	reason string
	alert  string // of the error on the client's first read
	client func(t *testing.T, w *world) *tls.Config
	edit   func(*Options)
}

func refusals() []refusal {
	shows := func(issue func(t *testing.T, w *world) *devpki.Leaf) func(*testing.T, *world) *tls.Config {
		return func(t *testing.T, w *world) *tls.Config { return w.client(issue(t, w)) }
	}
	with := func(change func(*tls.Config)) func(*testing.T, *world) *tls.Config {
		return func(t *testing.T, w *world) *tls.Config {
			c := w.client(w.workload(t, checkout))
			change(c)
			return c
		}
	}
	raw := func(chain func(t *testing.T, w *world) [][]byte) func(*testing.T, *world) *tls.Config {
		return func(t *testing.T, w *world) *tls.Config {
			c := w.client(nil)
			certificate := w.workload(t, checkout).TLS()
			certificate.Certificate = chain(t, w)
			c.GetClientCertificate = presents(certificate)
			return c
		}
	}
	tls12 := func(o *Options) { o.AllowTLS12 = true }
	return []refusal{
		{"TLS-01: a client without a certificate", ReasonNoCertificate, "certificate required",
			func(t *testing.T, w *world) *tls.Config { return w.client(nil) }, nil},
		{"TLS-04: a client without a certificate in TLS 1.2", ReasonNoCertificate, "handshake failure",
			func(t *testing.T, w *world) *tls.Config {
				c := w.client(nil)
				c.MaxVersion = tls.VersionTLS12
				return c
			}, tls12},
		{"a certificate that does not parse", ReasonMalformedCertificate, "error decoding message",
			raw(func(*testing.T, *world) [][]byte { return [][]byte{[]byte("not DER")} }), nil},
		{"a key of an unknown kind", ReasonUnsupportedKey, "unsupported certificate",
			raw(func(t *testing.T, w *world) [][]byte {
				der := slices.Clone(w.workload(t, checkout).Chain[0].Raw)
				ecPublicKey := []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01}
				at := bytes.Index(der, ecPublicKey)
				if at < 0 {
					t.Fatal("no EC key in the leaf")
				}
				der[at+len(ecPublicKey)-1] = 0x7f
				return [][]byte{der}
			}), nil},
		{"an RSA key that would take long", ReasonUnsupportedKey, "bad certificate",
			raw(func(t *testing.T, w *world) [][]byte {
				n := new(big.Int).SetBit(big.NewInt(1), 9000, 1)
				template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
				return [][]byte{must(x509.CreateCertificate(rand.Reader, template, w.ca.Certificate, &rsa.PublicKey{N: n, E: 65537}, w.ca.Key))(t)}
			}), nil},
		{"TLS-13: another's chain and one's own key", ReasonPoPFailed, "error decrypting message",
			func(t *testing.T, w *world) *tls.Config { return w.thief(t, w.workload(t, checkout)) }, nil},
		{"TLS-13: the same in TLS 1.2", ReasonPoPFailed, "",
			func(t *testing.T, w *world) *tls.Config {
				c := w.thief(t, w.workload(t, checkout))
				c.MaxVersion = tls.VersionTLS12
				return c
			}, tls12},
		{"TLS-03: a client of TLS 1.2", ReasonTLSVersion, "protocol version not supported",
			with(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), nil},
		{"TLS-18: a client of HTTP/2 only", ReasonNoSharedALPN, "no application protocol",
			with(func(c *tls.Config) { c.NextProtos = []string{"h2"} }), nil},
		{"a client of P-384 only", ReasonNoSharedCipher, "handshake failure",
			with(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }), nil},
		{"a client of RSA key exchange only", ReasonNoSharedCipher, "handshake failure",
			with(func(c *tls.Config) {
				c.MaxVersion = tls.VersionTLS12
				c.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
			}), tls12},
		{"a client that does not trust the gateway", ReasonClientAlert, "unknown authority",
			with(func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }), nil},
		{"a client of another CA", certpath.ReasonUntrustedChain.String(), "bad certificate",
			shows(func(t *testing.T, w *world) *devpki.Leaf {
				return must(root(t, "elsewhere").Issue(devpki.LeafOptions{URIs: []string{checkout}}))(t)
			}), nil},
		{"a trust domain without anchors", certpath.ReasonUnknownTrustDomain.String(), "bad certificate",
			shows(func(t *testing.T, w *world) *devpki.Leaf { return w.workload(t, "spiffe://unknown.example/a") }), nil},
		{"a trust domain that this listener does not admit", certpath.ReasonOriginNotAllowed.String(), "bad certificate",
			shows(func(t *testing.T, w *world) *devpki.Leaf {
				return must(w.internal.Issue(devpki.LeafOptions{URIs: []string{"spiffe://internal.example/a"}}))(t)
			}), nil},
		{"an expired leaf", certpath.ReasonExpired.String(), "bad certificate",
			shows(func(t *testing.T, w *world) *devpki.Leaf {
				now := time.Now()
				return w.leaf(t, devpki.LeafOptions{URIs: []string{checkout}, NotBefore: now.Add(-2 * time.Minute), NotAfter: now.Add(-time.Minute)})
			}), nil},
		{"a leaf with two identifiers", certpath.ReasonIdentifierCount.String(), "bad certificate",
			shows(func(t *testing.T, w *world) *devpki.Leaf {
				return w.leaf(t, devpki.LeafOptions{URIs: []string{checkout, checkout + "2"}})
			}), nil},
		{"a leaf without an identifier", certpath.ReasonIdentifierCount.String(), "bad certificate",
			shows(func(t *testing.T, w *world) *devpki.Leaf {
				return w.leaf(t, devpki.LeafOptions{DNS: []string{"a.test"}})
			}), nil},
	}
}

// thief returns a client that shows victim's chain and holds a key of its own.
func (w *world) thief(t testing.TB, victim *devpki.Leaf) *tls.Config {
	stolen := victim.TLS()
	stolen.PrivateKey = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	c := w.client(nil)
	c.GetClientCertificate = presents(stolen)
	return c
}

func TestRefusedClientsAreToldLittleAndOperatorsWhy(t *testing.T) {
	t.Parallel()
	// Every verdict has to be the same without the cache, and on the second try,
	// when there is one.
	for _, cache := range []verifycache.Options{{}, {Disabled: true}} {
		w := newWorld(t, cache)
		for _, tt := range refusals() {
			t.Run(map[bool]string{false: "cache/", true: "no cache/"}[cache.Disabled]+tt.name, func(t *testing.T) {
				t.Parallel()
				l, r := w.start(t, tt.edit)
				echo(l)
				config := tt.client(t, w)
				for _, time := range []string{"first", "second"} {
					err := try(l, config)
					if err == nil || !strings.Contains(err.Error(), tt.alert) {
						t.Errorf("%s try: the client sees %v, want %q", time, err, tt.alert)
					}
					h := next(t, "handshake record", r.handshakes)
					if h.Outcome != Failed || h.Reason != tt.reason || h.Err == nil || h.Peer != nil {
						t.Errorf("%s try: record = %v, reason %q, peer %v, want failed, %q, none (%v)", time, h.Outcome, h.Reason, h.Peer, tt.reason, h.Err)
					}
					if !slices.Contains(Reasons(), h.Reason) {
						t.Errorf("reason %q is not one of Reasons()", h.Reason)
					}
					if h.SNI != "gateway.test" && tt.reason != ReasonTLSVersion {
						t.Errorf("SNI = %q, want gateway.test on every outcome", h.SNI)
					}
				}
				none(t, "connection", r.closed)
			})
		}
	}
}

func TestRejectedChainIsDescribed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, r := w.start(t, nil)
	ca := must(root(t, "else\nwhere").NewIntermediate(devpki.CAOptions{}))(t)
	leaf := must(ca.Issue(devpki.LeafOptions{URIs: []string{checkout}}))(t)
	if err := try(l, w.client(leaf)); err == nil {
		t.Fatal("a foreign chain was accepted")
	}
	h := next(t, "handshake record", r.handshakes)
	if len(h.Chain) != len(leaf.Chain) {
		t.Fatalf("Chain has %d entries, want %d", len(h.Chain), len(leaf.Chain))
	}
	if got, want := h.Chain[1].Issuer, `CN=else\nwhere`; got != want {
		t.Errorf("Issuer = %q, want %q, escaped", got, want)
	}
	if h.Chain[0].Serial == "" || h.Chain[0].AuthorityKeyID == "" || h.Chain[0].NotAfter.IsZero() {
		t.Errorf("Chain[0] = %+v, want serial, issuer key and end", h.Chain[0])
	}
	if got := h.Verdict.ID.String(); got != checkout {
		t.Errorf("claimed identifier = %q, want %q", got, checkout)
	}
}

// TLS-13, CACHE-06, AUD-10, and the sixth of the ten tests.
func TestStolenChainHarmsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, r := w.start(t, nil)
	echo(l)
	victim := w.workload(t, checkout)

	if err := try(l, w.thief(t, victim)); err == nil {
		t.Fatal("a client without the key was accepted")
	}
	h := next(t, "handshake record", r.handshakes)
	if h.Reason != ReasonPoPFailed || h.Peer != nil || !h.Verdict.Accepted() {
		t.Errorf("record: reason %q, peer %v, chain accepted %v; want pop_failed, none, true", h.Reason, h.Peer, h.Verdict.Accepted())
	}
	// The cache writes in the background; what the next look-up finds is what
	// counts.
	if err := try(l, w.client(victim)); err != nil {
		t.Fatalf("the victim is refused after the attack: %v", err)
	}
	h = next(t, "handshake record", r.handshakes)
	if h.Outcome != Accepted || h.Verdict.Outcome == verifycache.Hit {
		t.Errorf("victim after the attack: %v by cache %v, want accepted and no hit: the thief must not have written", h.Outcome, h.Verdict.Outcome)
	}
	if err := try(l, w.thief(t, victim)); err == nil {
		t.Error("with the victim's verdict cached, a client without the key was accepted")
	}
	if h = next(t, "handshake record", r.handshakes); h.Reason != ReasonPoPFailed {
		t.Errorf("second attack: reason %q, want pop_failed", h.Reason)
	}
}

func TestAdmitRejectedFinishesTheHandshakeWithoutAPeer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, r := w.start(t, func(o *Options) { o.AdmitRejected = true })
	stranger := must(root(t, "elsewhere").Issue(devpki.LeafOptions{URIs: []string{checkout}}))(t)
	client, err := connect(l, w.client(stranger))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c := must(l.Accept())(t).(*Conn)
	if c.Peer() != nil || c.Rejection() == nil || c.Rejection().Reason != certpath.ReasonUntrustedChain {
		t.Errorf("Peer() = %v, Rejection() = %v; want nil, untrusted_chain", c.Peer(), c.Rejection())
	}
	if !c.Peer().IsZero() || !c.Peer().ID().IsZero() {
		t.Error("a rejected client has an identity")
	}
	h := next(t, "handshake record", r.handshakes)
	if h.Outcome != Admitted || h.Reason != "untrusted_chain" || h.Peer != nil || len(h.Chain) != len(stranger.Chain) {
		t.Errorf("record = %v, %q, peer %v, %d certificates described", h.Outcome, h.Reason, h.Peer, len(h.Chain))
	}
	if !slices.EqualFunc(c.Chain(), stranger.Chain, (*x509.Certificate).Equal) {
		t.Errorf("Chain() is %v, want what was presented", c.Chain())
	}
	if c.life > admittedAge {
		t.Errorf("the connection may live for %v, want %v at most", c.life, admittedAge)
	}

	// Its mode does not let in those who prove nothing.
	echo(l)
	for _, tt := range []struct {
		config *tls.Config
		reason string
	}{{w.client(nil), ReasonNoCertificate}, {w.thief(t, stranger), ReasonPoPFailed}} {
		if err := try(l, tt.config); err == nil {
			t.Errorf("%s: admitted", tt.reason)
		}
		if h := next(t, "handshake record", r.handshakes); h.Reason != tt.reason || h.Outcome != Failed {
			t.Errorf("record = %v, %q, want failed, %q", h.Outcome, h.Reason, tt.reason)
		}
	}
}

func TestTLS12IsAdmittedByTheSwitchOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, r := w.start(t, func(o *Options) { o.AllowTLS12 = true })
	echo(l)
	config := w.client(w.workload(t, checkout))
	config.MaxVersion = tls.VersionTLS12
	if err := try(l, config); err != nil {
		t.Fatal(err)
	}
	if h := next(t, "handshake record", r.handshakes); h.Outcome != Accepted || h.Version != tls.VersionTLS12 {
		t.Errorf("record = %v over %x, want accepted over TLS 1.2", h.Outcome, h.Version)
	}
}

// tap keeps what goes over a connection.
type tap struct {
	net.Conn
	mu   sync.Mutex
	seen bytes.Buffer
}

func (c *tap) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.seen.Write(b)
	c.mu.Unlock()
	return c.Conn.Write(b)
}

func TestIdentityIsNotOnTheWire(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, _ := w.start(t, func(o *Options) { o.AllowTLS12 = true })
	echo(l)
	for version, want := range map[uint16]bool{tls.VersionTLS13: false, tls.VersionTLS12: true} {
		wire := &tap{Conn: must(net.Dial("tcp", l.Addr().String()))(t)}
		config := w.client(w.workload(t, checkout))
		config.MaxVersion = version
		c := tls.Client(wire, config)
		if err := ping(c); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(wire.seen.Bytes(), []byte(checkout)); got != want {
			t.Errorf("version %x: identifier on the wire = %v, want %v (TLS-03)", version, got, want)
		}
		c.Close()
	}
}

// ticketCatcher counts the sessions that a client could resume.
type ticketCatcher struct {
	mu   sync.Mutex
	puts int
}

func (c *ticketCatcher) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (c *ticketCatcher) Put(_ string, s *tls.ClientSessionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != nil {
		c.puts++
	}
}

func TestNoTicketIsEverSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, _ := w.start(t, func(o *Options) { o.AllowTLS12 = true })
	echo(l)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		catcher := new(ticketCatcher)
		config := w.client(w.workload(t, checkout))
		config.MaxVersion = version
		config.ClientSessionCache = catcher
		// The answer comes after whatever the handshake sent.
		if err := try(l, config); err != nil {
			t.Fatal(err)
		}
		if catcher.puts != 0 {
			t.Errorf("version %x: %d tickets, want none (TLS-05)", version, catcher.puts)
		}
	}
}

func TestCANamesAreSentOnRequestOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	for _, send := range []bool{false, true} {
		l, _ := w.start(t, func(o *Options) { o.SendCANames = send })
		echo(l)
		var names [][]byte
		leaf := w.workload(t, checkout).TLS()
		config := w.client(nil)
		config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			names = info.AcceptableCAs
			return &leaf, nil
		}
		if err := try(l, config); err != nil {
			t.Fatal(err)
		}
		var want [][]byte
		if send {
			want = [][]byte{w.root.Certificate.RawSubject}
		}
		if !slices.EqualFunc(names, want, bytes.Equal) {
			t.Errorf("SendCANames %v: the client is told %d names, want %d (TLS-11)", send, len(names), len(want))
		}
	}
}

func TestCredentialFollowsServerName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	own := func(name string) *source { return newSource(t, w.leaf(t, devpki.LeafOptions{DNS: []string{name}})) }
	l, _ := w.start(t, func(o *Options) {
		o.Credentials["Pay.Example"] = own("exact")
		o.Credentials["*.example"] = own("wildcard")
		o.Credentials[""] = own("default")
	})
	echo(l)
	leaf := w.workload(t, checkout)
	for sni, want := range map[string]string{
		"pay.example": "exact", "PAY.example": "exact", "shop.example": "wildcard",
		"a.shop.example": "default", "example": "default", "other.test": "default", "": "default",
	} {
		config := w.client(leaf)
		config.ServerName = sni
		config.InsecureSkipVerify = true // what is shown is the question
		c, err := connect(l, config)
		if err != nil {
			t.Fatalf("SNI %q: %v", sni, err)
		}
		if got := c.ConnectionState().PeerCertificates[0].DNSNames[0]; got != want {
			t.Errorf("SNI %q gets the certificate of %q, want %q", sni, got, want)
		}
		c.Close()
	}
}

func TestRotationReachesTheNextHandshakeAndNoConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, r := w.start(t, nil)
	echo(l)
	leaf := w.workload(t, checkout)
	before, err := connect(l, w.client(leaf))
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	rotated := w.leaf(t, devpki.LeafOptions{DNS: []string{"gateway.test"}})
	w.own.set(t, rotated)
	after, err := connect(l, w.client(leaf))
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if !after.ConnectionState().PeerCertificates[0].Equal(rotated.Chain[0]) {
		t.Error("the handshake after a rotation shows the old certificate (KEY-03)")
	}
	if err := ping(after); err != nil { // and its record is there
		t.Fatal(err)
	}
	if err := ping(before); err != nil {
		t.Errorf("the rotation disturbed an established connection: %v", err)
	}

	now := time.Now()
	w.own.set(t, w.leaf(t, devpki.LeafOptions{DNS: []string{"gateway.test"}, NotBefore: now.Add(-2 * time.Minute), NotAfter: now.Add(-time.Minute)}))
	if err := try(l, w.client(leaf)); err == nil {
		t.Error("a handshake succeeds with an expired certificate of the gateway's own")
	}
	for range 2 {
		next(t, "handshake record", r.handshakes)
	}
	if h := next(t, "handshake record", r.handshakes); h.Reason != ReasonCredentialExpired {
		t.Errorf("reason = %q, want %q", h.Reason, ReasonCredentialExpired)
	}
}

func TestConnectionsShareCertificates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, _ := w.start(t, nil)
	kept := func(leaf *devpki.Leaf) []*x509.Certificate {
		client, err := connect(l, w.client(leaf))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		return must(l.Accept())(t).(*Conn).tls.ConnectionState().PeerCertificates
	}
	kept(w.workload(t, checkout+"1"))
	second, other := w.workload(t, checkout+"2"), w.workload(t, checkout+"3")
	a, b, c := kept(second), kept(second), kept(other)
	if a[1] != b[1] || a[1] != c[1] {
		t.Error("two connections keep a copy of their issuer's certificate each")
	}
	if a[0] != nil || b[0] != nil || c[0] != nil {
		t.Error("a connection keeps its leaf parsed")
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	good := Options{Address: "127.0.0.1:0", Cache: w.cache, Trust: w.store, Scope: w.scope, Credentials: map[string]trust.CredentialSource{"": w.own}}
	for name, edit := range map[string]func(*Options){
		"no cache":              func(o *Options) { o.Cache = nil },
		"no trust":              func(o *Options) { o.Trust = nil },
		"no scope":              func(o *Options) { o.Scope = nil },
		"no credential":         func(o *Options) { o.Credentials = nil },
		"no default credential": func(o *Options) { o.Credentials = map[string]trust.CredentialSource{"a": w.own} },
		"a nil credential":      func(o *Options) { o.Credentials = map[string]trust.CredentialSource{"": nil} },
		"one name twice":        func(o *Options) { o.Credentials = map[string]trust.CredentialSource{"": w.own, "a": w.own, "A": w.own} },
		"an inner wildcard":     func(o *Options) { o.Credentials = map[string]trust.CredentialSource{"": w.own, "a.*.b": w.own} },
		"a negative timeout":    func(o *Options) { o.HandshakeTimeout = -1 },
		"a negative cap":        func(o *Options) { o.MaxConns = -1 },
		"an empty protocol":     func(o *Options) { o.NextProtos = []string{""} },
		"a mapped network": func(o *Options) {
			o.ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}
		},
		"no address": func(o *Options) { o.Address = "256.0.0.1:1" },
	} {
		o := good
		edit(&o)
		if l, err := Listen(o); err == nil {
			l.Close()
			t.Errorf("%s: Listen succeeds", name)
		}
	}
	l := must(Listen(good))(t)
	echo(l)
	if err := try(l, w.client(w.workload(t, checkout))); err != nil {
		t.Errorf("a listener with defaults refuses a good client: %v", err)
	}
	l.Close()
}
