package tlsterm

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

// patience bounds every wait of a test for something that has to happen.
const patience = time.Minute

const checkout = "spiffe://prod.example/ns/shop/sa/checkout"

// world is a trust domain with a gateway in it.
type world struct {
	root, ca *devpki.CA
	internal *devpki.CA // of a trust domain that the listener does not admit
	store    *trust.Store
	scope    *verifycache.Scope
	cache    *verifycache.Cache
	own      *source
}

// source is a credential that tests can rotate.
type source struct {
	current atomic.Pointer[trust.Credential]
}

func (s *source) Credential() *trust.Credential { return s.current.Load() }

func newWorld(t testing.TB, cacheOptions verifycache.Options) *world {
	t.Helper()
	w := &world{root: root(t, "prod root"), internal: root(t, "internal root"), store: new(trust.Store)}
	w.ca = must(w.root.NewIntermediate(devpki.CAOptions{Name: "prod issuing"}))(t)
	w.publish(t, w.root.Certificate)
	origin := must(workloadid.ParseOrigin("spiffe://prod.example"))(t)
	other := must(workloadid.ParseOrigin("spiffe://unknown.example"))(t)
	w.scope = must(verifycache.NewScope("edge", []workloadid.Origin{origin, other}))(t)
	w.cache = must(verifycache.New(cacheOptions))(t)
	t.Cleanup(w.cache.Close)
	w.own = newSource(t, w.leaf(t, devpki.LeafOptions{DNS: []string{"gateway.test"}}))
	return w
}

// publish makes anchors what prod.example is judged by.
func (w *world) publish(t testing.TB, anchors ...*x509.Certificate) {
	t.Helper()
	var bundles []*trust.Bundle
	for name, anchors := range map[string][]*x509.Certificate{
		"spiffe://prod.example":     anchors,
		"spiffe://internal.example": {w.internal.Certificate},
	} {
		origin := must(workloadid.ParseOrigin(name))(t)
		bundles = append(bundles, must(trust.NewBundle(origin, trust.BundleOptions{Anchors: anchors}))(t))
	}
	w.store.Publish(must(trust.NewSnapshot(bundles, nil))(t))
}

func root(t testing.TB, name string) *devpki.CA {
	t.Helper()
	return must(devpki.NewRoot(devpki.CAOptions{Name: name}))(t)
}

func (w *world) leaf(t testing.TB, o devpki.LeafOptions) *devpki.Leaf {
	t.Helper()
	return must(w.ca.Issue(o))(t)
}

// workload issues a certificate for an identifier.
func (w *world) workload(t testing.TB, uri string) *devpki.Leaf {
	t.Helper()
	return w.leaf(t, devpki.LeafOptions{URIs: []string{uri}})
}

func newSource(t testing.TB, l *devpki.Leaf) *source {
	s := new(source)
	s.set(t, l)
	return s
}

func (s *source) set(t testing.TB, l *devpki.Leaf) {
	t.Helper()
	key := must(devpki.KeyPEM(l.Key))(t)
	// Valid at that moment, so that a test can set one that has expired.
	then := l.Chain[0].NotAfter
	for _, c := range l.Chain {
		if c.NotAfter.Before(then) {
			then = c.NotAfter
		}
	}
	s.current.Store(must(trust.ParseCredential("own.pem", devpki.CertificatesPEM(l.Chain...), "own.key", key, then))(t))
}

// must returns a function that fails the test if there is an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// recorder is an observer that keeps everything.
type recorder struct {
	handshakes chan *Handshake
	sheds      chan ShedReason
	closed     chan *Conn
}

func newRecorder() *recorder {
	return &recorder{make(chan *Handshake, 1<<14), make(chan ShedReason, 1<<14), make(chan *Conn, 1<<14)}
}

func (r *recorder) observer() Observer {
	return Observer{
		Handshake: func(h *Handshake) { r.handshakes <- h },
		Shed:      func(reason ShedReason, _ netip.AddrPort) { r.sheds <- reason },
		Closed:    func(c *Conn, _ time.Duration) { r.closed <- c },
	}
}

// next waits for the next value of c.
func next[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s in %v", what, patience)
		panic("unreachable")
	}
}

// none fails the test if something is in c.
func none[T any](t testing.TB, what string, c <-chan T) {
	t.Helper()
	select {
	case v := <-c:
		t.Errorf("unexpected %s: %+v", what, v)
	default:
	}
}

// start runs a listener on loopback, without TCP_DEFER_ACCEPT, so that silent
// clients are seen.
func (w *world) start(t testing.TB, edit func(*Options)) (*Listener, *recorder) {
	t.Helper()
	return w.startOn(t, must(net.Listen("tcp", "127.0.0.1:0"))(t), edit)
}

func (w *world) startOn(t testing.TB, inner net.Listener, edit func(*Options)) (*Listener, *recorder) {
	t.Helper()
	r := newRecorder()
	o := Options{
		Name: "edge", Cache: w.cache, Trust: w.store, Scope: w.scope,
		Credentials: map[string]trust.CredentialSource{"": w.own},
		Observer:    r.observer(),
		// The machine that runs the tests may be busy.
		FirstByteTimeout: patience, HandshakeTimeout: patience,
	}
	if edit != nil {
		edit(&o)
	}
	if o.Limiter == nil && o.HandshakeTokens == 0 {
		o.Limiter = newTestLimiter(t, 2, lifoAfter) // nor is anybody refused for that
		o.Limiter.unpolled = maxUnpolled            // benchmarks are of what there is
	}
	l := must(serve(must(o.withDefaults())(t), inner))(t)
	t.Cleanup(func() {
		l.Close()
		l.Each(func(c *Conn) bool { c.Close(); return true })
		l.loops.Wait()
	})
	return l, r
}

// echo serves l: every connection gets back what it sends.
func echo(l *Listener) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

// client returns the configuration of a client that shows leaf, whatever the
// server asks for; nil: no certificate.
func (w *world) client(leaf *devpki.Leaf) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(w.root.Certificate)
	c := &tls.Config{RootCAs: roots, ServerName: "gateway.test", NextProtos: []string{"http/1.1"}}
	if leaf != nil {
		c.GetClientCertificate = presents(leaf.TLS())
	}
	return c
}

func presents(certificate tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
}

// connect dials l and shakes hands. In TLS 1.3 that succeeds for a client that
// the server refuses.
func connect(l *Listener, config *tls.Config) (*tls.Conn, error) {
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Now().Add(patience))
	c := tls.Client(raw, config)
	if err := c.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

// ping sends a message and reads it back.
func ping(c net.Conn) error {
	message := []byte("are you there?")
	if _, err := c.Write(message); err != nil {
		return err
	}
	answer := make([]byte, len(message))
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if !bytes.Equal(answer, message) {
		return errors.New("the echo is wrong")
	}
	return nil
}

// try connects, reads back one message and closes.
func try(l *Listener, config *tls.Config) error {
	c, err := connect(l, config)
	if err != nil {
		return err
	}
	defer c.Close()
	// A refusal shows on the first read; a write before it may fail with something
	// less telling.
	return ping(c)
}
