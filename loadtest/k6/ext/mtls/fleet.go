package mtls

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"go.k6.io/k6/lib"
)

// What a fleet does with connections and sessions.
const (
	modeKeepAlive = "keepalive" // requests of an identity share connections
	modeFull      = "full"      // a connection and a whole handshake for each request
	modeResumed   = "resumed"   // a connection for each request, resumed by the identity's last ticket
)

// defaultConnections is how many connections of a fleet wait for requests at most.
// Loopback has 28 000 ports for connections to one address.
const defaultConnections = 10_000

// options are what a script makes a fleet with, beside the origin of identities.
type options struct {
	Size        int    `js:"size"`
	CA          string `js:"ca"`
	Mode        string `js:"mode"`
	Protocol    string `js:"protocol"`
	Connections int    `js:"connections"`
	ServerName  string `js:"serverName"`
}

// origin says where identities come from: one of three ways.
type origin struct {
	Identities  string `js:"identities"`
	Certificate string `js:"certificate"`
	Key         string `js:"key"`
	Anonymous   bool   `js:"anonymous"`
}

func (o origin) open(size int) (source, error) {
	ways := 0
	for _, said := range []bool{o.Identities != "", o.Certificate != "" || o.Key != "", o.Anonymous} {
		if said {
			ways++
		}
	}
	switch {
	case ways != 1:
		return nil, errors.New("say where identities come from by one of identities, certificate and key, or anonymous: true")
	case o.Anonymous:
		return nobody(max(size, 1)), nil
	case o.Identities != "":
		return openBundle(o.Identities)
	case o.Certificate == "" || o.Key == "":
		return nil, errors.New("certificate and key belong together")
	}
	return openPair(o.Certificate, o.Key)
}

// fleet is a number of identities with their connections and sessions. Its methods
// may be called concurrently.
type fleet struct {
	options
	roots      *x509.CertPool // nil: what k6 trusts
	protocols  []string       // of ALPN
	identities []identity
	pool       *pool

	once sync.Once
	base *tls.Config

	mu         sync.RWMutex
	origin     origin
	source     source
	generation int

	seen sync.Map // digests of the server's certificates
	told sync.Map // kinds of errors that the log has
}

func newFleet(from origin, o options) (*fleet, error) {
	f := &fleet{options: o, origin: from}
	switch o.Protocol {
	case protocolH1:
		f.protocols = []string{"http/1.1"}
	case protocolH2:
		f.protocols = []string{"h2"}
	case protocolAny:
		f.protocols = []string{"h2", "http/1.1"}
	default:
		return nil, fmt.Errorf("protocol %q: expected h1, h2 or any", o.Protocol)
	}
	if !slices.Contains([]string{modeKeepAlive, modeFull, modeResumed}, o.Mode) {
		return nil, fmt.Errorf("mode %q: expected keepalive, full or resumed", o.Mode)
	}
	if o.Size < 0 || o.Connections < 1 {
		return nil, fmt.Errorf("size %d and connections %d: expected numbers above 0", o.Size, o.Connections)
	}
	if o.CA != "" {
		text, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, err
		}
		f.roots = x509.NewCertPool()
		if !f.roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: there is no certificate in PEM", o.CA)
		}
	}
	var err error
	if f.source, err = open(from, o.Size); err != nil {
		return nil, err
	}
	if f.Size == 0 {
		f.Size = f.source.count()
	}
	f.identities = make([]identity, f.Size)
	f.pool = newPool(o.Connections)
	return f, nil
}

// open opens a source of at least size identities, of which the last can be read.
func open(o origin, size int) (source, error) {
	s, err := o.open(size)
	if err != nil {
		return nil, err
	}
	if s.count() < size {
		return nil, fmt.Errorf("there are %d identities, and size is %d", s.count(), size)
	}
	if size == 0 {
		size = s.count()
	}
	_, err = s.load(size - 1)
	return s, err
}

// rotate replaces the identities by those of another origin, number by number.
// Requests that begin after it are made on new connections without old sessions;
// those under way are not disturbed. It does nothing if they are from there already,
// so that every virtual user may call it.
func (f *fleet) rotate(o origin) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.origin == o {
		return nil
	}
	s, err := open(o, f.Size)
	if err != nil {
		return err
	}
	// The old source stays open: whoever is reading it has not been told.
	f.source, f.origin = s, o
	f.generation++
	f.pool.rotate(f.generation)
	return nil
}

// request is what a script wants to have sent.
type request struct {
	identity int
	method   string
	url      *url.URL
	header   http.Header
	body     []byte
	timeout  time.Duration
}

// outcome is what came of a request.
type outcome struct {
	exchange
	err  error
	name string // what the identity is called

	began, got time.Time // when it was asked for, and when there was a connection
	conn       *conn     // the last one; nil if there was none
	reused     bool
	reconnects int // kept connections that turned out to be closed
	newServer  bool
}

// do sends a request. The error says that there is no such identity; what goes wrong
// with the request is part of the outcome.
func (f *fleet) do(ctx context.Context, state *lib.State, r *request) (*outcome, error) {
	f.mu.RLock()
	from, generation := f.source, f.generation
	f.mu.RUnlock()
	presented, session, err := f.identities[r.identity].present(r.identity, from, generation)
	if err != nil {
		return nil, err
	}
	o := &outcome{name: presented.name, began: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	for {
		o.conn, o.reused = nil, false
		if f.Mode == modeKeepAlive {
			o.conn = f.pool.take(r.identity)
		}
		if o.reused = o.conn != nil; !o.reused {
			if o.conn, o.err = f.connect(ctx, state, r, presented, session); o.err != nil {
				o.done = time.Now()
				return o, nil
			}
			o.conn.generation = generation
			f.pool.added(o.conn)
		}
		o.got = time.Now()
		o.send(ctx, r, f.Mode == modeKeepAlive)
		f.pool.put(o.conn, o.again && f.Mode == modeKeepAlive)
		if o.err == nil || !o.reused || !r.repeatable() || !o.first.IsZero() || alertOf(o.err) != "" || ctx.Err() != nil {
			break
		}
		// The server closed the connection while it waited, as servers may.
		o.reconnects++
	}
	if !o.reused && o.err == nil && !o.conn.state.DidResume {
		_, known := f.seen.LoadOrStore(sha256.Sum256(o.conn.state.PeerCertificates[0].Raw), true)
		o.newServer = !known
	}
	return o, nil
}

// send makes the exchange on the connection.
func (o *outcome) send(ctx context.Context, r *request, keep bool) {
	request := (&http.Request{
		Method: r.method, URL: r.url, Host: r.url.Host, Header: r.header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Close: !keep && o.conn.h2 == nil,
	}).WithContext(ctx)
	if len(r.body) > 0 {
		request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(r.body)), int64(len(r.body))
	}
	var x *exchange
	x, o.err = o.conn.roundTrip(ctx, request)
	o.exchange = *x
}

// repeatable is whether sending the request twice is as good as once.
func (r *request) repeatable() bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions}, r.method)
}

// connect makes a connection of an identity.
func (f *fleet) connect(ctx context.Context, state *lib.State, r *request, presented *credential, session *session) (*conn, error) {
	f.once.Do(func() { f.base = f.configure(state.TLSConfig) })
	config := f.base.Clone()
	if config.ServerName == "" {
		config.ServerName = r.url.Hostname()
	}
	// Not Certificates: crypto/tls would compare the issuers with the hints of the
	// server, and present nothing where it finds none, however wrong the identity is
	// meant to be.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &presented.certificate, nil
	}
	if f.Mode == modeResumed {
		config.ClientSessionCache = session
	}
	port := r.url.Port()
	if port == "" {
		port = "443"
	}
	c, err := dial(ctx, state.Dialer, net.JoinHostPort(r.url.Hostname(), port), config)
	if err != nil {
		return nil, err
	}
	c.identity = r.identity
	return c, nil
}

// configure makes what the connections of all identities have in common from k6's
// own options, such as tlsVersion and insecureSkipTLSVerify.
func (f *fleet) configure(k6 *tls.Config) *tls.Config {
	config := &tls.Config{}
	if k6 != nil {
		config = k6.Clone()
	}
	config.Certificates = nil
	config.NextProtos = f.protocols
	config.ServerName = f.ServerName
	if f.roots != nil {
		config.RootCAs = f.roots
	}
	return config
}
