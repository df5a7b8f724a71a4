package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func enableH2(s *httptest.Server) { s.EnableHTTP2 = true }

// Whichever goroutine asks, and however many at once, the server sees the identity
// that was asked for.
func TestEachIdentityIsItself(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{protocolH1, protocolH2} {
		for _, mode := range []string{modeKeepAlive, modeFull, modeResumed} {
			t.Run(protocol+" "+mode, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, enableH2)
				const identities, workers, each = 7, 16, 14
				f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", identities)}, w.options(mode, protocol))
				var running sync.WaitGroup
				for worker := range workers {
					running.Go(func() {
						for n := range each {
							i := (worker + n) % identities
							o := w.get(t, f, i, "/x")
							if o.err != nil || o.status != 200 || o.header.Get("Caller") != clientName("client", i) || o.name != clientName("client", i) {
								t.Errorf("identity %d: the server saw %q with %d, %v; it was presented as %q", i, o.header.Get("Caller"), o.status, o.err, o.name)
							}
						}
					})
				}
				running.Wait()
				got := w.connections.Load()
				if mode == modeKeepAlive && got > identities*workers || mode != modeKeepAlive && got != workers*each {
					t.Errorf("%d requests of mode %s came over %d connections", workers*each, mode, got)
				}
			})
		}
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{protocolH1, protocolH2} {
		for _, tt := range []struct {
			mode            string
			reused, resumed bool // of the second request
			connections     int64
		}{
			{modeKeepAlive, true, false, 1},
			{modeFull, false, false, 2},
			{modeResumed, false, true, 2},
		} {
			t.Run(protocol+" "+tt.mode, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, enableH2)
				f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 2)}, w.options(tt.mode, protocol))
				first, second := w.get(t, f, 0, "/x"), w.get(t, f, 0, "/x")
				if first.err != nil || second.err != nil {
					t.Fatal(errors.Join(first.err, second.err))
				}
				if want := map[string]string{protocolH1: "HTTP/1.1", protocolH2: "HTTP/2.0"}[protocol]; first.proto != want {
					t.Errorf("the answer is of %s, want %s", first.proto, want)
				}
				if first.reused || first.conn.state.DidResume {
					t.Errorf("the first request: reused %t, resumed %t", first.reused, first.conn.state.DidResume)
				}
				if second.reused != tt.reused || second.conn.state.DidResume != tt.resumed {
					t.Errorf("the second request: reused %t, resumed %t, want %t, %t", second.reused, second.conn.state.DidResume, tt.reused, tt.resumed)
				}
				if got := w.connections.Load(); got != tt.connections {
					t.Errorf("two requests came over %d connections, want %d", got, tt.connections)
				}
				if got, want := waiting(f.pool) > 0, tt.mode == modeKeepAlive; got != want {
					t.Errorf("connections wait for further requests: %t, want %t", got, want)
				}
				if !first.newServer || second.newServer {
					t.Errorf("the server's certificate is new: %t, then %t", first.newServer, second.newServer)
				}
				if other := w.get(t, f, 1, "/x"); other.reused || other.conn.state.DidResume {
					t.Error("another identity used the connection or the session of the first")
				}
			})
		}
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	stranger := newAuthority(t, "stranger", nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, protocol := range []string{protocolH1, protocolH2} {
			for name, tt := range map[string]struct {
				from  func(t *testing.T, w *world) origin
				alert map[uint16]string
			}{
				"revoked": {
					func(t *testing.T, w *world) origin { return origin{Identities: w.set(t, "bad", "revoked", 1)} },
					map[uint16]string{tls.VersionTLS12: "bad certificate", tls.VersionTLS13: "bad certificate"}},
				"another CA": {
					func(t *testing.T, w *world) origin {
						leaf, key := stranger.client(t, "spiffe://other.example/x")
						return origin{Certificate: w.write(t, "bad.pem", certificatePEM(leaf)), Key: w.write(t, "bad.key", keyPEM(t, key))}
					},
					map[uint16]string{tls.VersionTLS12: "unknown certificate authority", tls.VersionTLS13: "unknown certificate authority"}},
				"no certificate": {
					func(*testing.T, *world) origin { return origin{Anonymous: true} },
					map[uint16]string{tls.VersionTLS12: "handshake failure", tls.VersionTLS13: "certificate required"}},
			} {
				t.Run(protocol+" "+tls.VersionName(version)+" "+name, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, enableH2, withTLS(func(c *tls.Config) { c.MaxVersion = version }))
					f := w.fleet(t, tt.from(t, w), w.options(modeKeepAlive, protocol))
					for range 5 {
						o := w.get(t, f, 0, "/x")
						if got := alertOf(o.err); got != tt.alert[version] || kindOf(o.err) != "refused: "+got {
							t.Fatalf("the alert is %q (%v), want %q", got, o.err, tt.alert[version])
						}
						if o.status != 0 || o.newServer {
							t.Errorf("a refused client has status %d, and knows the server: %t", o.status, o.newServer)
						}
					}
				})
			}
		}
	}
}

// Revocation ends what resumption would otherwise prolong.
func TestTheServerJudgesResumptions(t *testing.T) {
	t.Parallel()
	var revoked atomic.Bool
	w := newWorld(t, withTLS(func(c *tls.Config) {
		c.VerifyConnection = func(tls.ConnectionState) error {
			if revoked.Load() {
				return errors.New("revoked")
			}
			return nil
		}
	}))
	f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 1)}, w.options(modeResumed, protocolH1))
	w.get(t, f, 0, "/x")
	if o := w.get(t, f, 0, "/x"); o.err != nil || !o.conn.state.DidResume {
		t.Fatalf("the second request failed or did not resume: %v", o.err)
	}
	revoked.Store(true)
	if o := w.get(t, f, 0, "/x"); alertOf(o.err) != "bad certificate" {
		t.Errorf("a resumption that the server refuses: %v", o.err)
	}
}

func TestProtocolIsInsistedOn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		protocol string
		offers   []string
		want     string // kind of error, "" for an answer of HTTP/1.1
	}{
		"h2 of a server with h1 only":     {protocolH2, []string{"http/1.1"}, "refused: no application protocol"},
		"h2 of a server without ALPN":     {protocolH2, nil, "protocol"},
		"h1 of a server without ALPN":     {protocolH1, nil, ""},
		"either of a server with h1 only": {protocolAny, []string{"http/1.1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			// net/http adds its own protocols, so that another server is needed.
			config := w.server.TLS.Clone()
			config.NextProtos = tt.offers
			listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { listener.Close() })
			go answerByHand(listener, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			w.url = "https://localhost:" + portOf(listener)
			f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 1)}, w.options(modeKeepAlive, tt.protocol))
			o := w.get(t, f, 0, "/x")
			switch {
			case tt.want == "" && (o.err != nil || o.proto != "HTTP/1.1" || string(o.body) != "ok"):
				t.Errorf("got %s %q, %v, want an answer of HTTP/1.1", o.proto, o.body, o.err)
			case tt.want != "" && (o.err == nil || kindOf(o.err) != tt.want):
				t.Errorf("got %d, %v, want an error of the kind %q", o.status, o.err, tt.want)
			}
		})
	}
}

// answerByHand answers the first request on each connection, and closes it.
func answerByHand(listener net.Listener, answer string) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if _, err := c.Read(make([]byte, 4096)); err == nil {
				io.WriteString(c, answer)
			}
		}()
	}
}

func portOf(listener net.Listener) string {
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// A server may close connections that wait. That fails nobody's request.
func TestClosedConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{protocolH1, protocolH2} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, enableH2)
			f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 1)}, w.options(modeKeepAlive, protocol))
			if o := w.get(t, f, 0, "/x"); o.err != nil {
				t.Fatal(o.err)
			}
			w.server.CloseClientConnections()
			o := w.get(t, f, 0, "/x")
			if o.err != nil || o.reused {
				t.Errorf("after its connection was closed: reused %t, %v", o.reused, o.err)
			}
			if protocol == protocolH1 && o.reconnects != 1 {
				t.Errorf("there were %d reconnects, want 1", o.reconnects)
			}
		})
	}
}

func TestAnswersThatEndTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *httptest.Server) { s.Config.SetKeepAlivesEnabled(false) })
	f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 1)}, w.options(modeKeepAlive, protocolH1))
	for range 2 {
		if o := w.get(t, f, 0, "/x"); o.err != nil || o.reused || o.reconnects != 0 {
			t.Errorf("reused %t, reconnects %d, %v; want a new connection for each request", o.reused, o.reconnects, o.err)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{modeKeepAlive, modeResumed} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 2)}, w.options(mode, protocolH1))
			w.get(t, f, 1, "/x")
			before := w.get(t, f, 1, "/x")
			next := origin{Identities: w.set(t, "next", "client", 2)}
			for range 2 { // the second does nothing
				if err := f.rotate(next); err != nil {
					t.Fatal(err)
				}
			}
			after := w.get(t, f, 1, "/x")
			if before.err != nil || after.err != nil {
				t.Fatal(errors.Join(before.err, after.err))
			}
			if after.reused || after.conn.state.DidResume {
				t.Errorf("after rotation: reused %t, resumed %t", after.reused, after.conn.state.DidResume)
			}
			if before.header.Get("Serial") == after.header.Get("Serial") || after.header.Get("Caller") != clientName("client", 1) {
				t.Errorf("certificate %s of %s came after %s", after.header.Get("Serial"), after.header.Get("Caller"), before.header.Get("Serial"))
			}
			if again := w.get(t, f, 1, "/x"); again.reused != (mode == modeKeepAlive) || again.conn.state.DidResume != (mode == modeResumed) {
				t.Errorf("the second request after rotation: reused %t, resumed %t", again.reused, again.conn.state.DidResume)
			}
			if err := f.rotate(origin{Identities: w.set(t, "few", "client", 1)}); err == nil {
				t.Error("rotation to fewer identities than there are was accepted")
			}
		})
	}
}

// A request that is under way during a rotation is answered, and its connection is
// not used again.
func TestRotationDuringARequest(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{protocolH1, protocolH2} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, enableH2)
			f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 1)}, w.options(modeKeepAlive, protocol))
			if o := w.get(t, f, 0, "/x"); o.err != nil {
				t.Fatal(o.err)
			}
			slow := make(chan *outcome)
			go func() { slow <- w.get(t, f, 0, "/wait") }()
			<-w.arrived
			if err := f.rotate(origin{Identities: w.set(t, "next", "client", 1)}); err != nil {
				t.Fatal(err)
			}
			close(w.held)
			o := <-slow
			if o.err != nil || o.status != 200 || o.reconnects != 0 {
				t.Errorf("a request that was under way: %d, %v, after %d reconnects", o.status, o.err, o.reconnects)
			}
			if waiting(f.pool) != 0 {
				t.Error("the old connection waits for further requests")
			}
			if _, err := o.conn.tls.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the old connection is not closed: %v", err)
			}
		})
	}
}

func waiting(p *pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.order.Len()
}

func TestThePoolIsBounded(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{protocolH1, protocolH2} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, enableH2)
			o := w.options(modeKeepAlive, protocol)
			o.Connections = 3
			f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 5)}, o)
			for i := range 5 {
				w.get(t, f, i, "/x")
			}
			if got := waiting(f.pool); got != 3 {
				t.Errorf("%d connections wait, want 3", got)
			}
			for i, want := range []bool{4: true, 3: true, 2: true, 1: false, 0: false} {
				if c := f.pool.take(i); (c != nil) != want {
					t.Errorf("identity %d has a connection: %t, want %t", i, c != nil, want)
				}
			}
		})
	}
}

// A connection that has requests is not closed to make room.
func TestThePoolSparesWhatIsInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, enableH2)
	o := w.options(modeKeepAlive, protocolH2)
	o.Connections = 1
	f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 3)}, o)
	w.get(t, f, 0, "/x")
	slow := make(chan *outcome)
	go func() { slow <- w.get(t, f, 0, "/wait") }()
	<-w.arrived
	w.get(t, f, 1, "/x")
	close(w.held)
	if o := <-slow; o.err != nil || o.reconnects != 0 {
		t.Errorf("a request on the connection that waited longest: %v, after %d reconnects", o.err, o.reconnects)
	}
	w.get(t, f, 2, "/x")
	if got := waiting(f.pool); got != 1 {
		t.Errorf("%d connections wait, want 1", got)
	}
}

// Requests of HTTP/2 share the connection of their identity.
func TestH2IsMultiplexed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, enableH2)
	f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 1)}, w.options(modeKeepAlive, protocolH2))
	w.get(t, f, 0, "/x")
	var running sync.WaitGroup
	for range 20 {
		running.Go(func() {
			if o := w.get(t, f, 0, "/wait"); o.err != nil || !o.reused {
				t.Errorf("reused %t, %v", o.reused, o.err)
			}
		})
	}
	for range 20 {
		<-w.arrived
	}
	close(w.held)
	running.Wait()
	if got := w.connections.Load(); got != 1 {
		t.Errorf("21 requests came over %d connections, want 1", got)
	}
}

func TestTimeAndCancellation(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{protocolH1, protocolH2} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, enableH2)
			f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 1)}, w.options(modeKeepAlive, protocol))
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-w.arrived
				cancel()
			}()
			if o := w.do(t, ctx, f, 0, "/wait", time.Minute); o.err == nil || kindOf(o.err) != "cancelled" {
				t.Errorf("when the test ended a request ended with %v", o.err)
			}
			if o := w.do(t, t.Context(), f, 0, "/wait", 200*time.Millisecond); o.err == nil || kindOf(o.err) != "timeout" {
				t.Errorf("after its time-out a request ended with %v", o.err)
			}
			if o := w.get(t, f, 0, "/x"); o.err != nil {
				t.Errorf("the request after it: %v", o.err)
			}
		})
	}
}

func TestErrorsOfTheServersSide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	from := origin{Identities: w.set(t, "clients", "client", 1)}
	o := w.options(modeFull, protocolH1)
	stranger := newAuthority(t, "stranger", nil)
	o.CA = w.write(t, "stranger.pem", certificatePEM(stranger.certificate))
	if got := w.get(t, w.fleet(t, from, o), 0, "/x"); kindOf(got.err) != "server certificate: unknown authority" {
		t.Errorf("a server of an unknown CA: %v", got.err)
	}
	o = w.options(modeFull, protocolH1)
	o.ServerName = "other.example"
	if got := w.get(t, w.fleet(t, from, o), 0, "/x"); kindOf(got.err) != "server certificate" {
		t.Errorf("a server with another name: %v", got.err)
	}
	w.url = "https://localhost:1" // a port of the kernel's choice might be given to another test
	if got := w.get(t, w.fleet(t, from, w.options(modeFull, protocolH1)), 0, "/x"); kindOf(got.err) != "dial" || got.conn != nil {
		t.Errorf("no server at all: %v", got.err)
	}
	if kindOf(errors.New("x")) != "other" || kindOf(io.ErrUnexpectedEOF) != "closed" || kindOf(x509.HostnameError{}) != "other" {
		t.Error("errors are put into other classes than before")
	}
}

func TestAnswersWithoutAnEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", w.server.TLS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go answerByHand(listener, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
	w.url = "https://localhost:" + portOf(listener)
	f := w.fleet(t, origin{Identities: w.set(t, "clients", "client", 1)}, w.options(modeKeepAlive, protocolH1))
	if o := w.get(t, f, 0, "/x"); o.err == nil || kindOf(o.err) != "closed" {
		t.Errorf("half an answer: %d %q, %v", o.status, o.body, o.err)
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	leaf, key := w.issuing.client(t, "spiffe://load.example/a")
	_, other := w.issuing.client(t, "spiffe://load.example/b")
	c, k := certificatePEM(leaf), keyPEM(t, key)
	good := w.write(t, "good.pem", append(append([]byte("# whose it is\n"), c...), k...))
	for name, tt := range map[string]struct {
		from origin
		size int
		want string // in the error
	}{
		"one file":                  {origin{Identities: good}, 0, ""},
		"two files":                 {origin{Certificate: w.write(t, "c.pem", c), Key: w.write(t, "c.key", k)}, 0, ""},
		"nobody":                    {origin{Anonymous: true}, 0, ""},
		"nothing":                   {origin{}, 0, "say where"},
		"two ways":                  {origin{Identities: good, Anonymous: true}, 0, "say where"},
		"half a pair":               {origin{Certificate: good}, 0, "belong together"},
		"too many":                  {origin{Identities: good}, 2, "there are 1 identities, and size is 2"},
		"no file":                   {origin{Identities: filepath.Join(w.dir, "missing")}, 0, "no such file"},
		"no identity":               {origin{Identities: w.write(t, "empty.pem", nil)}, 0, "there is no identity"},
		"a key without certificate": {origin{Identities: w.write(t, "k.pem", k)}, 0, "identity 0 has a key and no certificate"},
		"a certificate without key": {origin{Identities: w.write(t, "ck.pem", append(append(c, k...), c...))}, 0, "identity 1 has certificates and no private key"},
		"another's key":             {origin{Identities: w.write(t, "other.pem", append(append([]byte{}, c...), keyPEM(t, other)...))}, 0, "identity 0"},
	} {
		f, err := newFleet(tt.from, options{Size: tt.size, Mode: modeFull, Protocol: protocolH1, Connections: 1})
		switch {
		case tt.want == "" && (err != nil || f.Size != 1):
			t.Errorf("%s: %v, want one identity", name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
	}
	for _, o := range []options{
		{Mode: "fast", Protocol: protocolH1, Connections: 1},
		{Mode: modeFull, Protocol: "h3", Connections: 1},
		{Mode: modeFull, Protocol: protocolH1},
		{Mode: modeFull, Protocol: protocolH1, Connections: 1, CA: good + "x"},
		{Mode: modeFull, Protocol: protocolH1, Connections: 1, CA: w.write(t, "noca.pem", k)},
	} {
		if _, err := newFleet(origin{Anonymous: true}, o); err == nil {
			t.Errorf("options %+v were accepted", o)
		}
	}
}

// The DER of issuers is kept once, however many identities have them.
func TestIssuersAreShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, err := openBundle(w.set(t, "clients", "client", 2))
	if err != nil {
		t.Fatal(err)
	}
	a, errA := s.load(0)
	b, errB := s.load(1)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if a.name != clientName("client", 0) || b.name != clientName("client", 1) || len(a.certificate.Certificate) != 2 {
		t.Errorf("identities are %q and %q, with %d certificates", a.name, b.name, len(a.certificate.Certificate))
	}
	if &a.certificate.Certificate[1][0] != &b.certificate.Certificate[1][0] {
		t.Error("two identities have copies of their issuer's certificate")
	}
	if a.certificate.Leaf != nil {
		t.Error("the parsed leaf is kept")
	}
}
