package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// dialer opens connections.
type dialer struct {
	tls     bool
	address string // where to connect to
	server  string // name that the certificate must be for
	http2   bool
	tickets bool
	streams int
	counts  *counts
	// connect is for tests; nil is TCP.
	connect func(address string, deadline time.Time) (net.Conn, error)
}

// counts are what connections came to, of all hosts together.
type counts struct {
	opened, failed    atomic.Int64
	offered, resumed  atomic.Int64 // handshakes that showed a ticket, and that were resumed
	retried, bytesOut atomic.Int64
	handshake         *latencies
	verifier          *verifier // nil without TLS
}

// chains counts the different chains that were accepted.
func (c *counts) chains() int {
	if c.verifier == nil {
		return 0
	}
	c.verifier.mu.RLock()
	defer c.verifier.mu.RUnlock()
	return len(c.verifier.known)
}

// dial connects and shakes hands as i until deadline.
func (d *dialer) dial(i *identity, deadline time.Time) (*conn, error) {
	began := time.Now()
	connect := d.connect
	if connect == nil {
		connect = connectTCP
	}
	raw, err := connect(d.address, deadline)
	if err != nil {
		d.counts.failed.Add(1)
		return nil, &failure{phaseDial, err}
	}
	c := &conn{Conn: raw, identity: i}
	if d.tls {
		if err := d.handshake(c, i, deadline); err != nil {
			raw.Close()
			d.counts.failed.Add(1)
			return nil, &failure{phaseHandshake, err}
		}
		d.counts.handshake.record(time.Since(began))
	}
	if d.http2 {
		err = c.startHTTP2(d.streams, deadline)
	} else {
		c.startHTTP1()
	}
	if err != nil {
		raw.Close()
		d.counts.failed.Add(1)
		return nil, &failure{phaseFirst, err}
	}
	d.counts.opened.Add(1)
	return c, nil
}

func connectTCP(address string, deadline time.Time) (net.Conn, error) {
	return (&net.Dialer{Deadline: deadline, KeepAlive: -1}).Dial("tcp", address)
}

func (d *dialer) handshake(c *conn, i *identity, deadline time.Time) error {
	credential, err := i.credential()
	if err != nil {
		return err
	}
	config := &tls.Config{
		ServerName: d.server,
		// verify judges the server's chain, and remembers the verdict: every client of a
		// load test meets the same server.
		InsecureSkipVerify:   true,
		VerifyConnection:     d.counts.verifier.verify,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return credential, nil },
		NextProtos:           []string{"http/1.1"},
	}
	if d.http2 {
		config.NextProtos = []string{"h2"}
	}
	showed := false
	if d.tickets {
		config.ClientSessionCache = &i.session
		showed = i.session.has()
	}
	client := tls.Client(c.Conn, config)
	if err := client.SetDeadline(deadline); err != nil {
		return err
	}
	if err := client.HandshakeContext(context.Background()); err != nil {
		return err
	}
	state := client.ConnectionState()
	if d.http2 && state.NegotiatedProtocol != "h2" {
		return fmt.Errorf("the server chose %q instead of h2", state.NegotiatedProtocol)
	}
	if showed {
		d.counts.offered.Add(1)
	}
	if state.DidResume {
		d.counts.resumed.Add(1)
	}
	c.Conn = client
	return nil
}

// has reports whether there is a ticket to show.
func (s *session) has() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state != nil
}

// verifier judges servers' chains as crypto/tls would, once for each.
type verifier struct {
	roots *x509.CertPool // nil: the system's

	mu    sync.RWMutex
	known map[verdict]time.Time // until when it holds
}

// verdict is the chain, by its bytes, that was accepted for a name.
type verdict struct {
	name  string
	chain [sha256.Size]byte
}

// loadVerifier reads the anchors; without a file those of the system hold.
func loadVerifier(file string) (*verifier, error) {
	v := &verifier{known: map[verdict]time.Time{}}
	if file == "" {
		return v, nil
	}
	data, err := readFile(file, maxAnchorsBytes)
	if err != nil {
		return nil, fmt.Errorf("-root-certs: %w", err)
	}
	v.roots = x509.NewCertPool()
	if !v.roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("-root-certs: %s: there is no certificate in PEM", file)
	}
	return v, nil
}

func (v *verifier) verify(state tls.ConnectionState) error {
	key := verdict{name: state.ServerName}
	hash := sha256.New()
	for _, c := range state.PeerCertificates {
		fmt.Fprintf(hash, "%d.", len(c.Raw))
		hash.Write(c.Raw)
	}
	hash.Sum(key.chain[:0])
	now := time.Now()
	v.mu.RLock()
	until, ok := v.known[key]
	v.mu.RUnlock()
	if ok && now.Before(until) {
		return nil
	}
	o := x509.VerifyOptions{Roots: v.roots, DNSName: state.ServerName, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range state.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := state.PeerCertificates[0].Verify(o)
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	until = chains[0][0].NotAfter
	for _, c := range chains[0] {
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	v.mu.Lock()
	v.known[key] = until
	v.mu.Unlock()
	return nil
}
