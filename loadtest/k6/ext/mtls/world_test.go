package mtls

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// authority is a CA of a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

var serials atomic.Int64

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, template *x509.Certificate, by *authority, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(serials.Add(1))
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// newAuthority makes a root, or a CA below one.
func newAuthority(t *testing.T, name string, above *authority) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	a.certificate = sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}, above, a.key)
	return a
}

func (a *authority) client(t *testing.T, uri string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	return sign(t, &x509.Certificate{URIs: []*url.URL{u}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, a, key), key
}

func certificatePEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// world is a server that wants to know its clients, and the files of some.
type world struct {
	root, issuing *authority
	dir           string
	server        *httptest.Server
	url           string

	connections atomic.Int64
	// Requests for /wait say in arrived that they are there, and are answered when
	// held is closed.
	arrived, held chan struct{}
}

// change is what a test wants to be different about the server.
type change func(*httptest.Server)

func withTLS(f func(*tls.Config)) change { return func(s *httptest.Server) { f(s.TLS) } }

// newWorld starts a server that refuses clients without a certificate of its root
// and those with "revoked" in their URI, and that says who came.
func newWorld(t *testing.T, changes ...change) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), arrived: make(chan struct{}, 100), held: make(chan struct{})}
	w.root = newAuthority(t, "root", nil)
	w.issuing = newAuthority(t, "issuing", w.root)
	roots := x509.NewCertPool()
	roots.AddCert(w.root.certificate)

	w.server = httptest.NewUnstartedServer(http.HandlerFunc(w.answer))
	w.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			w.connections.Add(1)
		}
	}
	w.server.TLS = &tls.Config{
		Certificates: []tls.Certificate{w.serverCertificate(t)},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    roots,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) > 0 && strings.Contains(s.PeerCertificates[0].URIs[0].Path, "revoked") {
				return errors.New("revoked")
			}
			return nil
		},
	}
	for _, c := range changes {
		c(w.server)
	}
	w.server.StartTLS()
	t.Cleanup(func() {
		w.server.CloseClientConnections()
		w.server.Close()
	})
	w.url = strings.Replace(w.server.URL, "127.0.0.1", "localhost", 1)
	w.write(t, "root.pem", certificatePEM(w.root.certificate))
	return w
}

func (w *world) serverCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key := newKey(t)
	leaf := sign(t, &x509.Certificate{DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, w.issuing, key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, w.issuing.certificate.Raw}, PrivateKey: key}
}

func (w *world) answer(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/wait" {
		w.arrived <- struct{}{}
		select {
		case <-w.held:
		case <-r.Context().Done():
		}
		return
	}
	body, _ := io.ReadAll(r.Body)
	if len(r.TLS.PeerCertificates) > 0 {
		rw.Header().Set("Caller", r.TLS.PeerCertificates[0].URIs[0].String())
		rw.Header().Set("Serial", r.TLS.PeerCertificates[0].SerialNumber.String())
	}
	fmt.Fprintf(rw, "%s %s %s %t %s", r.Method, r.URL.Path, r.Header.Get("X-Test"), r.TLS.DidResume, body)
}

func (w *world) write(t *testing.T, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// set writes a bundle of n clients that are called name and their number.
func (w *world) set(t *testing.T, folder, name string, n int) string {
	t.Helper()
	var b bytes.Buffer
	for i := range n {
		leaf, key := w.issuing.client(t, clientName(name, i))
		b.Write(certificatePEM(leaf))
		b.Write(certificatePEM(w.issuing.certificate))
		b.Write(keyPEM(t, key))
	}
	return filepath.Dir(w.write(t, filepath.Join(folder, bundleName), b.Bytes()))
}

func clientName(name string, i int) string {
	return fmt.Sprintf("spiffe://load.example/%s-%d", name, i)
}

func (w *world) options(mode, protocol string) options {
	return options{Mode: mode, Protocol: protocol, CA: filepath.Join(w.dir, "root.pem"), Connections: 100}
}

func (w *world) fleet(t *testing.T, from origin, o options) *fleet {
	t.Helper()
	f, err := newFleet(from, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.pool.rotate(-1) })
	return f
}

// get asks for path as identity i.
func (w *world) get(t *testing.T, f *fleet, i int, path string) *outcome {
	t.Helper()
	return w.do(t, t.Context(), f, i, path, time.Minute)
}

func (w *world) do(t *testing.T, ctx context.Context, f *fleet, i int, path string, timeout time.Duration) *outcome {
	t.Helper()
	u, err := url.Parse(w.url + path)
	if err != nil {
		t.Fatal(err)
	}
	o, err := f.do(ctx, newState(t, nil), &request{identity: i, method: "GET", url: u, header: http.Header{}, timeout: timeout})
	if err != nil {
		t.Fatalf("identity %d: %v", i, err)
	}
	return o
}
