//go:build x25519circl && amd64

package x25519_test

import (
	"crypto/ecdh"
	"crypto/tls"
	"crypto/x509"
	"net"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/internal/x25519"
)

var calls atomic.Int64

var found uintptr

func init() {
	installed := ecdh.X25519ScalarMult
	found = reflect.ValueOf(installed).Pointer()
	ecdh.X25519ScalarMult = func(dst, scalar, point []byte) {
		calls.Add(1)
		installed(dst, scalar, point)
	}
}

// TestHandshakesAreComputedByIt has crypto/tls make an own key and a shared secret at either end.
// It is not parallel: calls are the process's.
func TestHandshakesAreComputedByIt(t *testing.T) {
	if want := reflect.ValueOf(x25519.ScalarMult).Pointer(); !x25519.Installed || found != want {
		t.Fatalf("crypto/ecdh has the function at %#x, expected ScalarMult at %#x, Installed %t", found, want, x25519.Installed)
	}
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "root"})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := root.Issue(devpki.LeafOptions{DNS: []string{"gateway.example"}})
	if err != nil {
		t.Fatal(err)
	}
	anchors := x509.NewCertPool()
	anchors.AddCert(root.Certificate)
	for _, group := range []tls.CurveID{tls.X25519, tls.X25519MLKEM768} {
		groups := []tls.CurveID{group}
		near, far := net.Pipe()
		// An end that fails says so, and a pipe holds nothing: both would wait for each other.
		deadline := time.Now().Add(10 * time.Second)
		_, _ = near.SetDeadline(deadline), far.SetDeadline(deadline)
		server := tls.Server(near, &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, CurvePreferences: groups})
		client := tls.Client(far, &tls.Config{RootCAs: anchors, ServerName: "gateway.example", CurvePreferences: groups})
		before := calls.Load()
		served := make(chan error, 1)
		go func() { served <- server.Handshake() }()
		if err := client.Handshake(); err != nil {
			t.Errorf("%s: client: %v", group, err)
		}
		_ = far.Close() // else the server would wait for a client that has failed
		if err := <-served; err != nil {
			t.Errorf("%s: server: %v", group, err)
		}
		_ = near.Close()
		if n := calls.Load() - before; n != 4 {
			t.Errorf("%s: %d multiplications, expected two at either end", group, n)
		}
	}
}

// TestLowOrderIsRefused is RFC 7748, section 6.1: crypto/ecdh looks for the product of zeros.
func TestLowOrderIsRefused(t *testing.T) {
	private, err := ecdh.X25519().NewPrivateKey(octets(t, ones))
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range lowOrder {
		public, err := ecdh.X25519().NewPublicKey(octets(t, point))
		if err != nil {
			t.Fatal(err)
		}
		if secret, err := private.ECDH(public); err == nil {
			t.Errorf("%s gave the secret %x", point, secret)
		}
	}
}
