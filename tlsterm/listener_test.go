package tlsterm

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/verifycache"
)

func dial(t testing.TB, l interface{ Addr() net.Addr }) net.Conn {
	t.Helper()
	c := must(net.Dial("tcp", l.Addr().String()))(t)
	_ = c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

// eventually waits for a state that no event announces.
func eventually(t testing.TB, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !reached(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// expectEnd fails the test unless the server ends c.
func expectEnd(t testing.TB, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server keeps the connection open")
	}
}

// hello returns the first flight of a client of l.
func hello(t testing.TB, w *world) []byte {
	t.Helper()
	wire := &firstFlight{}
	if err := tls.Client(wire, w.client(nil)).Handshake(); err == nil {
		t.Fatal("a handshake without a server succeeds")
	}
	return wire.sent.Bytes()
}

// firstFlight is a connection to nobody.
type firstFlight struct {
	net.Conn
	sent bytes.Buffer
}

func (c *firstFlight) Write(b []byte) (int, error) { return c.sent.Write(b) }
func (c *firstFlight) Read([]byte) (int, error)    { return 0, io.EOF }
func (c *firstFlight) Close() error                { return nil }

func TestClientsThatSpeakNoTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	first := hello(t, w)
	soon := func(o *Options) { o.HandshakeTimeout = 50 * time.Millisecond }
	for _, tt := range []struct {
		name   string
		reason string
		edit   func(*Options)
		client func(c net.Conn)
	}{
		{"silence", ReasonFirstByteTimeout, func(o *Options) { o.FirstByteTimeout = 50 * time.Millisecond }, func(net.Conn) {}},
		{"TLS-19: one octet and no more", ReasonHandshakeTimeout, soon, func(c net.Conn) { _, _ = c.Write(first[:1]) }},
		{"a ClientHello and no more", ReasonHandshakeTimeout, soon, func(c net.Conn) { _, _ = c.Write(first) }},
		{"half a ClientHello and good-bye", ReasonClientGone, nil, func(c net.Conn) { _, _ = c.Write(first[:100]); c.Close() }},
		{"plain HTTP", ReasonNotTLS, nil, func(c net.Conn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") }},
		{"a PROXY header where none is wanted", ReasonNotTLS, nil, func(c net.Conn) { _, _ = io.WriteString(c, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n") }},
		{"a message that no client sends", ReasonTLSError, nil, func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 1, 0, 4, 14, 0, 0, 0}) }},
		{"TLS-08: application data before a handshake", ReasonNotTLS, nil, func(c net.Conn) { _, _ = c.Write([]byte{23, 3, 3, 0, 2, 'h', 'i'}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inner := must(net.Listen("tcp", "127.0.0.1:0"))(t)
			c := dial(t, inner)
			tt.client(c) // before it is accepted, which is when the short timeouts begin
			l, r := w.startOn(t, inner, tt.edit)
			h := next(t, "handshake record", r.handshakes)
			if h.Outcome != Failed || h.Reason != tt.reason {
				t.Errorf("record = %v, %q (%v), want failed, %q", h.Outcome, h.Reason, h.Err, tt.reason)
			}
			expectEnd(t, c)
			eventually(t, "no handshake in flight", func() bool { return l.Handshakes() == 0 && l.places.connections() == 0 })
		})
	}
}

func TestHealthProbeIsNoHandshake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, r := w.start(t, nil)
	dial(t, l).Close()
	if got := next(t, "shed", r.sheds); got != ShedClosedBeforeHello {
		t.Errorf("a connection closed at once is %v, want closed_before_hello", got)
	}
	none(t, "handshake record", r.handshakes)
}

// flaky is a listener whose first accepts fail.
type flaky struct {
	net.Listener
	mu     sync.Mutex
	errors []error
}

func (l *flaky) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errors) > 0 {
		err := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", l.errors[0])}
		l.errors = l.errors[1:]
		return nil, err
	}
	return l.Listener.Accept()
}

func TestListenerSurvivesFailingAccepts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	failures := []error{syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED, syscall.ENOMEM}
	inner := &flaky{Listener: must(net.Listen("tcp", "127.0.0.1:0"))(t), errors: failures}
	l, r := w.startOn(t, inner, nil)
	echo(l)
	if err := try(l, w.client(w.workload(t, checkout))); err != nil {
		t.Errorf("after %v the listener refuses a client: %v", failures, err)
	}
	for range failures {
		if got := next(t, "shed", r.sheds); got != ShedAcceptFailed {
			t.Errorf("failed accept is reported as %v", got)
		}
	}
}

func TestSlowClientsHoldNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, r := w.start(t, func(o *Options) { o.Limiter = newTestLimiter(t, 1, 1<<62) })
	echo(l)
	first := hello(t, w)
	const slow = 50
	var stalled []net.Conn
	for i := range slow {
		c := dial(t, l)
		// Some stall in the middle of the ClientHello, some before their answer to
		// ours.
		flight := first
		if i%2 == 0 {
			flight = first[:len(first)/2]
		}
		if _, err := c.Write(flight); err != nil {
			t.Fatal(err)
		}
		stalled = append(stalled, c)
	}
	eventually(t, "all slow clients in their handshake", func() bool { return l.Handshakes() == slow })
	for range 3 {
		if err := try(l, w.client(w.workload(t, checkout))); err != nil {
			t.Fatalf("with %d slow clients and one token, another is refused: %v", slow, err)
		}
	}
	for _, c := range stalled {
		c.Close()
	}
	for range slow + 3 {
		if h := next(t, "handshake record", r.handshakes); h.Outcome != Accepted && h.Reason != ReasonClientGone {
			t.Errorf("reason = %q, want client_gone", h.Reason)
		}
	}
}

// A client that does not read can keep a flight from being written, when the
// flight is long or memory for sockets is short.
func TestClientsThatDoNotReadHoldNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	inner := &stuckListener{Listener: must(net.Listen("tcp", "127.0.0.1:0"))(t), stuck: make(chan struct{})}
	l, _ := w.startOn(t, inner, func(o *Options) { o.HandshakeTokens = 1 })
	t.Cleanup(func() { close(inner.stuck) })
	echo(l)
	if _, err := dial(t, l).Write(hello(t, w)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a handshake that cannot write", func() bool { return inner.writes.Load() == 1 })
	if err := try(l, w.client(w.workload(t, checkout))); err != nil {
		t.Errorf("with one token and one client that does not read, another is refused: %v", err)
	}
}

// stuckListener accepts one connection that takes nothing until stuck is closed;
// the others are as usual.
type stuckListener struct {
	net.Listener
	stuck    chan struct{}
	accepted atomic.Int64
	writes   atomic.Int64
}

func (l *stuckListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || l.accepted.Add(1) > 1 {
		return c, err
	}
	return &stuckConn{c, l}, nil
}

type stuckConn struct {
	net.Conn
	listener *stuckListener
}

func (c *stuckConn) Write(b []byte) (int, error) {
	c.listener.writes.Add(1)
	<-c.listener.stuck
	return c.Conn.Write(b)
}

// A client that sends two flights at once is not to be given the second burst
// without a token: after its hello is answered with a request for another, the
// other is there already.
func TestFlightsSentAheadNeedTokens(t *testing.T) {
	t.Parallel()
	limiter := must(NewLimiter(1))(t)
	t.Cleanup(limiter.Close)
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	s := newSocket(ours, limiter)
	go func() {
		_, _ = theirs.Write([]byte("both flights"))
		_, _ = io.Copy(io.Discard, theirs)
	}()
	if err := s.await(); err != nil {
		t.Fatal(err)
	}
	if err := s.enter(0); err != nil {
		t.Fatal(err)
	}
	for _, flight := range []string{"both ", "flights"} {
		if _, err := io.ReadFull(s, make([]byte, len(flight))); err != nil {
			t.Fatal(err)
		}
		if !s.gate.held {
			t.Fatalf("%q is computed on without a token", flight)
		}
		if _, err := s.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		if s.gate.held {
			t.Fatal("a write holds a token")
		}
	}
}

// What a stranger sends is parsed before it is judged, so it is cut off where no
// handshake of ours can be.
func TestHandshakeOfManyOctetsIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, r := w.start(t, nil)
	echo(l)
	leaf := w.workload(t, checkout)
	for _, tt := range []struct {
		octets int
		chain  bool // was parsed
	}{{certpath.MaxChainBytes, true}, {maxHandshakeBytes, false}} {
		shown := leaf.TLS()
		for n := 0; n < tt.octets; n += len(w.root.Certificate.Raw) {
			shown.Certificate = append(shown.Certificate, w.root.Certificate.Raw)
		}
		config := w.client(leaf)
		config.GetClientCertificate = presents(shown)
		if err := try(l, config); err == nil {
			t.Errorf("a client that shows %d octets is let in", tt.octets)
		}
		h := next(t, "handshake record", r.handshakes)
		if h.Reason != certpath.ReasonLimitsExceeded.String() || (len(h.Chain) > 0) != tt.chain {
			t.Errorf("a chain of %d octets: reason %q, parsed %t, want limits_exceeded, %t", tt.octets, h.Reason, len(h.Chain) > 0, tt.chain)
		}
	}
}

// A panic that a client can provoke is its own failure and takes nothing along.
func TestPanicFailsOneHandshake(t *testing.T) {
	t.Parallel()
	var armed atomic.Bool
	w := newWorld(t, verifycache.Options{Now: func() time.Time {
		if armed.Swap(false) {
			panic("a mistake below")
		}
		return time.Now()
	}})
	l, r := w.start(t, func(o *Options) { o.HandshakeTokens = 1 })
	echo(l)
	leaf := w.workload(t, checkout)
	armed.Store(true)
	if err := try(l, w.client(leaf)); err == nil {
		t.Error("a client whose verification panicked is let in")
	}
	if h := next(t, "handshake record", r.handshakes); h.Outcome != Failed || h.Reason != ReasonTLSError || h.Peer != nil {
		t.Errorf("the handshake is recorded as %v with reason %q, want failed with %q", h.Outcome, h.Reason, ReasonTLSError)
	}
	if err := try(l, w.client(leaf)); err != nil {
		t.Errorf("after a panic the next handshake fails: %v", err)
	}
	eventually(t, "all places given back", func() bool { return l.places.connections() == 0 && l.Handshakes() == 0 })
}

// inQueue starts a listener and a client that waits for its only token, which the test holds.
func inQueue(t *testing.T, maxWait time.Duration) (*Limiter, net.Conn, *recorder) {
	t.Helper()
	w := newWorld(t, verifycache.Options{})
	limiter := must(NewLimiter(1))(t)
	t.Cleanup(limiter.Close)
	limiter.maxWait = maxWait
	l, r := w.start(t, func(o *Options) { o.Limiter = limiter })
	take(t, limiter)
	c := dial(t, l)
	if _, err := c.Write(hello(t, w)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client to wait", func() bool { return limiter.Waiting() == 1 })
	return limiter, c, r
}

func TestOverloadIsRefused(t *testing.T) {
	t.Parallel()
	limiter, c, r := inQueue(t, time.Millisecond)
	begun := time.Now()
	eventually(t, "its time to pass", func() bool { return time.Since(begun) > 2*limiter.maxWait })
	limiter.release()
	if h := next(t, "handshake record", r.handshakes); h.Reason != ReasonOverload || h.QueueWait < limiter.maxWait {
		t.Errorf("record = %q after %v in the queue, want overload after %v", h.Reason, h.QueueWait, limiter.maxWait)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client reads %v, want a reset", err)
	}
}

func TestClientThatLeavesTheQueueCostsNothing(t *testing.T) {
	t.Parallel()
	limiter, c, r := inQueue(t, time.Hour)
	begun := time.Now()
	eventually(t, "long enough to be asked after", func() bool { return time.Since(begun) > 2*patientFor })
	c.Close()
	limiter.release()
	h := next(t, "handshake record", r.handshakes)
	if h.Reason != ReasonClientGone {
		t.Errorf("reason = %q, want client_gone", h.Reason)
	}
	if h.SNI != "" {
		t.Error("the ClientHello of a client that is gone was parsed")
	}
}

func TestCaps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	config := w.client(w.workload(t, checkout))
	for _, tt := range []struct {
		name    string
		edit    func(*Options)
		stalled bool // the first client stays in its handshake
		reason  ShedReason
	}{
		{"connections", func(o *Options) { o.MaxConns = 1 }, false, ShedMaxConns},
		{"connections, one in its handshake", func(o *Options) { o.MaxConns = 1 }, true, ShedMaxConns},
		{"connections of a client", func(o *Options) { o.MaxConnsPerClient = 1 }, false, ShedClientConns},
		{"handshakes", func(o *Options) { o.MaxHandshakes = 1 }, true, ShedMaxHandshakes},
		{"half of the handshakes for one client", func(o *Options) { o.MaxHandshakes = 3 }, true, ShedMaxHandshakes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, r := w.start(t, tt.edit)
			echo(l)
			var first net.Conn
			if tt.stalled {
				first = dial(t, l)
				eventually(t, "a handshake in flight", func() bool { return l.Handshakes() == 1 })
			} else {
				c, err := connect(l, config)
				if err != nil {
					t.Fatal(err)
				}
				if err := ping(c); err != nil {
					t.Fatal(err)
				}
				first = c
			}
			if err := try(l, config); err == nil {
				t.Error("the client over the cap gets in")
			}
			if got := next(t, "shed", r.sheds); got != tt.reason {
				t.Errorf("shed = %v, want %v", got, tt.reason)
			}
			first.Close()
			eventually(t, "the place to be free", func() bool { return l.places.connections() == 0 })
			if err := try(l, config); err != nil {
				t.Errorf("with the place free again, a client is refused: %v", err)
			}
		})
	}
}

func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	config := w.client(w.workload(t, checkout))
	here := netip.MustParsePrefix("127.0.0.0/8")
	elsewhere := netip.MustParsePrefix("192.0.2.0/24")
	tcp := func(s string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	header := func(h *proxyproto.Header) string { return string(must(h.Format())(t)) }
	v2 := header(proxyproto.HeaderProxyFromAddrs(2, tcp("192.0.2.7:1234"), tcp("192.0.2.8:443")))
	for _, tt := range []struct {
		name   string
		from   netip.Prefix
		header string
		remote string // "": the load balancer itself; "-": refused
	}{
		{"version 1", here, "PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n", "192.0.2.7:1234"},
		{"version 1, IPv6", here, "PROXY TCP6 2001:db8::7 2001:db8::8 1234 443\r\n", "[2001:db8::7]:1234"},
		{"version 1 that does not know", here, "PROXY UNKNOWN\r\n", ""},
		{"version 2", here, v2, "192.0.2.7:1234"},
		{"version 2, LOCAL", here, header(&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL}), ""},
		{"version 2 for a Unix socket", here, header(&proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.UnixStream,
			SourceAddr: &net.UnixAddr{Net: "unix", Name: "a"}, DestinationAddr: &net.UnixAddr{Net: "unix", Name: "b"}}), ""},
		{"version 2 for datagrams", here, header(&proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.UDPv4,
			SourceAddr: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}, DestinationAddr: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 8), Port: 2}}), "-"},
		{"none", here, "", "-"},
		{"version 1 with a bad address", here, "PROXY TCP4 192.0.2.777 192.0.2.8 1234 443\r\n", "-"},
		{"version 1 that never ends", here, "PROXY TCP4 " + strings.Repeat("1", 200), "-"},
		{"version 2 that claims 64 KiB", here, v2[:14] + "\xff\xff" + v2[16:], "-"},
		{"no load balancer", elsewhere, "", ""},
		{"a header from somebody else", elsewhere, v2, "-"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, r := w.start(t, func(o *Options) { o.ProxyProtocolFrom = []netip.Prefix{tt.from} })
			echo(l)
			raw := dial(t, l)
			if _, err := io.WriteString(raw, tt.header); err != nil {
				t.Fatal(err)
			}
			err := ping(tls.Client(raw, config))
			if tt.remote == "-" {
				if err == nil {
					t.Error("accepted, want refused")
				}
				if tt.from == here {
					if got := next(t, "shed", r.sheds); got != ShedProxyHeader {
						t.Errorf("shed = %v, want bad_proxy_header", got)
					}
				} else if h := next(t, "handshake record", r.handshakes); h.Reason != ReasonNotTLS {
					t.Errorf("reason = %q, want not_tls", h.Reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := tt.remote
			if want == "" {
				want = raw.LocalAddr().String()
			}
			h := next(t, "handshake record", r.handshakes)
			if h.Remote.String() != want {
				t.Errorf("record: remote = %v, want %v", h.Remote, want)
			}
			l.Each(func(c *Conn) bool {
				if got := c.RemoteAddr().String(); got != want {
					t.Errorf("RemoteAddr() = %v, want %v", got, want)
				}
				return true
			})
		})
	}
}

func TestCapsCountTheClientBehindTheLoadBalancer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	config := w.client(w.workload(t, checkout))
	l, r := w.start(t, func(o *Options) {
		o.ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		o.MaxConnsPerClient = 1
	})
	echo(l)
	for _, tt := range []struct {
		header string
		ok     bool
	}{
		{"PROXY TCP4 192.0.2.1 192.0.2.9 1 443\r\n", true},
		{"PROXY TCP4 192.0.2.1 192.0.2.9 2 443\r\n", false},
		{"PROXY TCP4 192.0.2.2 192.0.2.9 1 443\r\n", true},
		{"PROXY TCP6 2001:db8:0:1::1 2001:db8::9 1 443\r\n", true},
		{"PROXY TCP6 2001:db8:0:1:ffff::1 2001:db8::9 1 443\r\n", false}, // one host can have them all
		{"PROXY TCP6 2001:db8:0:2::1 2001:db8::9 1 443\r\n", true},
	} {
		raw := dial(t, l)
		if _, err := io.WriteString(raw, tt.header); err != nil {
			t.Fatal(err)
		}
		if err := ping(tls.Client(raw, config)); (err == nil) != tt.ok {
			t.Errorf("%q: %v, want accepted %v", tt.header, err, tt.ok)
		}
		if !tt.ok {
			if got := next(t, "shed", r.sheds); got != ShedClientConns {
				t.Errorf("%q: shed = %v, want over_client_conns", tt.header, got)
			}
		}
	}
}

func TestConnectionEndsWithItsPeer(t *testing.T) {
	t.Parallel()
	// Long enough for a busy machine to accept the connection before it ends. The clock
	// stands still, so that the handshake uses none of it up.
	const left = time.Second
	clock := func(now time.Time) func() time.Time { return func() time.Time { return now } }
	for _, tt := range []struct {
		name string
		edit func(o *Options, end time.Time)
	}{
		{"REV-06: at the end of the path", func(o *Options, end time.Time) { o.Now = clock(end.Add(-left)) }},
		{"at its maximum age", func(o *Options, end time.Time) { o.Now, o.MaxConnAge = clock(end.Add(-time.Minute)), left }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			leafEnd := now.Add(time.Hour).Truncate(time.Second)
			w := newWorld(t, verifycache.Options{})
			l, r := w.start(t, func(o *Options) { tt.edit(o, leafEnd) })
			leaf := w.leaf(t, devpki.LeafOptions{URIs: []string{checkout}, NotAfter: leafEnd})
			begun := time.Now()
			client, err := connect(l, w.client(leaf))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			c := must(l.Accept())(t).(*Conn)
			// What servers do between requests must not prolong it.
			if err := c.SetDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
			_ = c.socket.Conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read = %v, want the end of the connection", err)
			}
			if took := time.Since(begun); took < left*9/10 {
				t.Errorf("the connection ended after %v, want %v less a twentieth at most", took, left)
			}
			if _, err := c.Write([]byte("x")); err == nil {
				t.Error("Write succeeds after the end")
			}
			if _, err := client.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the client reads %v, want EOF", err)
			}
			if got := next(t, "closed connection", r.closed); got != c || l.Conns() != 0 {
				t.Errorf("closed %v, %d left", got, l.Conns())
			}
		})
	}
}

func TestPathThatEndsDuringTheHandshakeMakesNoPeer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	l, r := w.start(t, func(o *Options) { o.Now = func() time.Time { return end } })
	leaf := w.leaf(t, devpki.LeafOptions{URIs: []string{checkout}, NotAfter: end})
	if err := try(l, w.client(leaf)); err == nil {
		t.Error("accepted")
	}
	h := next(t, "handshake record", r.handshakes)
	if h.Outcome != Failed || h.Reason != certpath.ReasonExpired.String() || h.Peer != nil {
		t.Errorf("record = %v, %q, want failed, expired", h.Outcome, h.Reason)
	}
}

func TestSpreadStaysWithinItsBounds(t *testing.T) {
	t.Parallel()
	for _, span := range []time.Duration{-time.Hour, 0, time.Second, time.Minute, 24 * time.Hour} {
		limit := max(0, min(span/20, 30*time.Second))
		var lowest, highest time.Duration = 1 << 62, -1
		for id := range uint64(1000) {
			d := spread(span, id)
			lowest, highest = min(lowest, d), max(highest, d)
		}
		if lowest < 0 || highest > limit || highest < limit*9/10 {
			t.Errorf("spread(%v) is in [%v, %v], want all of [0, %v]", span, lowest, highest, limit)
		}
	}
}

func TestCloseLetsConnectionsBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	limiter := must(NewLimiter(1))(t)
	t.Cleanup(limiter.Close)
	l, r := w.start(t, func(o *Options) { o.Limiter = limiter })
	echo(l)
	established, err := connect(l, w.client(w.workload(t, checkout)))
	if err != nil {
		t.Fatal(err)
	}
	defer established.Close()
	if err := ping(established); err != nil {
		t.Fatal(err)
	}
	next(t, "handshake record", r.handshakes)
	take(t, limiter)
	half, silent := dial(t, l), dial(t, l)
	if _, err := half.Write(hello(t, w)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a handshake to wait for its token", func() bool { return limiter.Waiting() == 1 })
	eventually(t, "two handshakes in flight", func() bool { return l.Handshakes() == 2 })

	for range 2 {
		if err := l.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept() = %v, want net.ErrClosed", err)
	}
	expectEnd(t, silent)
	if got := next(t, "shed", r.sheds); got != ShedShuttingDown {
		t.Errorf("silent client: shed = %v, want shutting_down", got)
	}
	limiter.release()
	if h := next(t, "handshake record", r.handshakes); h.Reason != ReasonShuttingDown {
		t.Errorf("handshake in flight: reason = %q (%v), want shutting_down", h.Reason, h.Err)
	}
	if err := ping(established); err != nil {
		t.Errorf("an established connection: %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the address still accepts")
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	config := w.client(w.workload(t, checkout))

	t.Run("waits for connections to end by themselves", func(t *testing.T) {
		t.Parallel()
		l, _ := w.start(t, nil)
		echo(l)
		client, err := connect(l, config)
		if err != nil {
			t.Fatal(err)
		}
		if err := ping(client); err != nil {
			t.Fatal(err)
		}
		drained := make(chan error, 1)
		go func() { drained <- l.Drain(context.Background()) }()
		eventually(t, "the listener to close", l.isClosed)
		none(t, "end of the drain", drained)
		if err := ping(client); err != nil {
			t.Errorf("during the drain: %v", err)
		}
		client.Close()
		if err := next(t, "end of the drain", drained); err != nil {
			t.Errorf("Drain() = %v", err)
		}
	})

	t.Run("cuts off peers that do not read", func(t *testing.T) {
		t.Parallel()
		l, r := w.start(t, nil)
		const stuck = 5
		var sockets []net.Conn
		for range stuck {
			client, err := connect(l, config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { client.Close() })
			sockets = append(sockets, must(l.Accept())(t).(*Conn).socket.Conn)
		}
		// Fill the kernel's buffers below TLS, so that there is no room for
		// close_notify and no Write in flight, which would excuse from it. A busy
		// kernel delivers late and then has a little room again, of which it does
		// not tell a waiting writer: they are full when a whole round wrote nothing.
		for wrote := 1; wrote > 0; {
			wrote = 0
			for _, raw := range sockets {
				_ = raw.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				n, err := raw.Write(make([]byte, 1<<20))
				if wrote += n; n == 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		begun := time.Now()
		if err := l.Drain(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Drain() = %v, want context.Canceled", err)
		}
		// crypto/tls alone would take five seconds.
		if took := time.Since(begun); took < closeNotifyTimeout || took > 4*time.Second {
			t.Errorf("Drain took %v, want little more than %v", took, closeNotifyTimeout)
		}
		if n := l.Conns(); n != 0 {
			t.Errorf("%d connections left", n)
		}
		for range stuck {
			next(t, "closed connection", r.closed)
		}
	})
}

func TestConnHidesThatThereIsTLS(t *testing.T) {
	t.Parallel()
	var c any = new(Conn)
	if _, ok := c.(interface{ Handshake() error }); ok {
		t.Error("fasthttp would shake hands on a Conn")
	}
	if _, ok := c.(interface{ ConnectionState() tls.ConnectionState }); ok {
		t.Error("servers would take a Conn for a TLS connection")
	}
}

func TestThousandClientsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	l, r := w.start(t, nil)
	echo(l)
	const clients, workloads = 1024, 16
	var configs []*tls.Config
	for i := range workloads {
		configs = append(configs, w.client(w.workload(t, checkout+string(rune('a'+i)))))
	}
	stranger := w.client(must(root(t, "elsewhere").Issue(devpki.LeafOptions{URIs: []string{checkout}}))(t))
	stop := make(chan struct{})
	var watchers sync.WaitGroup
	watchers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				l.Each(func(c *Conn) bool { return c.Peer() != nil && !c.Peer().Expiry().IsZero() })
				runtime.Gosched()
			}
		}
	})
	var wg sync.WaitGroup
	failed := make(chan error, clients)
	for i := range clients {
		wg.Go(func() {
			if i%8 == 0 {
				if try(l, stranger) == nil {
					failed <- errors.New("a stranger got in")
				}
				return
			}
			if err := try(l, configs[i%workloads]); err != nil {
				failed <- err
			}
		})
	}
	wg.Wait()
	close(stop)
	watchers.Wait()
	overload := 0
	for range clients {
		h := next(t, "handshake record", r.handshakes)
		switch h.Reason {
		case "", "untrusted_chain":
		case ReasonOverload:
			overload++ // a busy machine may take longer than a second
		default:
			t.Errorf("reason = %q (%v)", h.Reason, h.Err)
		}
	}
	if n := len(failed); n > overload {
		t.Errorf("%d clients failed, %d of them for overload; the first: %v", n, overload, <-failed)
	}
	eventually(t, "all connections to be gone", func() bool { return l.Conns() == 0 && l.places.connections() == 0 })
	if n := len(l.places.clients); n != 0 {
		t.Errorf("%d client networks are still counted", n)
	}
}

// Not parallel: it looks at every goroutine of the process.
func TestNothingIsLeftBehind(t *testing.T) {
	w := newWorld(t, verifycache.Options{})
	first := hello(t, w)
	before := ownGoroutines()
	l, r := w.start(t, nil)
	echo(l)
	if err := try(l, w.client(w.workload(t, checkout))); err != nil {
		t.Fatal(err)
	}
	if err := try(l, w.client(nil)); err == nil {
		t.Fatal("accepted without a certificate")
	}
	dial(t, l).Close()
	half := dial(t, l)
	if _, err := half.Write(first); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the half handshake", func() bool { return l.Handshakes() >= 1 })
	idle, err := connect(l, w.client(w.workload(t, checkout)))
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	for range 3 {
		next(t, "handshake record", r.handshakes)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain() = %v", err)
	}
	half.Close()
	eventually(t, "all goroutines to end", func() bool { return ownGoroutines() <= before })
}

// ownGoroutines counts the goroutines that run this package, tests aside.
func ownGoroutines() int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for _, g := range bytes.Split(stacks, []byte("\n\n")) {
		for _, own := range []string{"(*Listener).", "(*attempt).", "(*Limiter).", "(*Conn)."} {
			if bytes.Contains(g, []byte("verigate/tlsterm."+own)) {
				n++
				break
			}
		}
	}
	return n
}

// A listener that is handed in belongs to the one who opened it, unless it is taken.
func TestListenOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, verifycache.Options{})
	inner := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	if _, err := ListenOn(inner, Options{}); err == nil {
		t.Fatal("ListenOn() = nil without any options")
	}
	l, err := ListenOn(inner, Options{
		Name: "edge", Cache: w.cache, Trust: w.store, Scope: w.scope,
		Credentials: map[string]trust.CredentialSource{"": w.own},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.Addr().String(), inner.Addr().String(); got != want {
		t.Errorf("Addr() = %v, want that of the listener handed in, %v", got, want)
	}
	l.Close()
	if _, err := inner.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept() = %v after the end, want net.ErrClosed", err)
	}
}
