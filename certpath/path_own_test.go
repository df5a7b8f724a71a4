package certpath

import (
	"bytes"
	"crypto/x509"
	"net"
	"reflect"
	"testing"

	"verigate/devpki"
)

// inMessage returns c as crypto/tls parses it, within a larger message, and the message.
func inMessage(t *testing.T, c *x509.Certificate) (parsed *x509.Certificate, message []byte) {
	t.Helper()
	message = append(bytes.Clone(c.Raw), make([]byte, 8<<10)...)
	parsed, err := x509.ParseCertificate(message[:len(c.Raw)])
	if err != nil {
		t.Fatal(err)
	}
	return parsed, message
}

// The message is overwritten: what still refers to it would show.
func TestAPathHoldsOnToNoHandshakeMessage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		key  devpki.KeyType
		edit func(*x509.Certificate)
	}{
		{"ECDSA", devpki.P256, nil},
		{"RSA", devpki.RSA2048, nil},
		{"Ed25519", devpki.Ed25519, nil},
		{"with addresses and names", devpki.P256, func(c *x509.Certificate) {
			c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1).To4(), net.ParseIP("2001:db8::1")}
			c.DNSNames, c.EmailAddresses = []string{"checkout.example"}, []string{"a@example.com"}
			c.CRLDistributionPoints, c.SubjectKeyId = []string{"http://crl.example/1"}, []byte{1, 2, 3}
		}},
		{"with policies", devpki.P256, func(c *x509.Certificate) {
			oid, err := x509.OIDFromInts([]uint64{1, 3, 6, 1, 4, 1, 55555, 7})
			if err != nil {
				t.Fatal(err)
			}
			c.Policies = []x509.OID{oid}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := fixture{t}
			q := f.accepted()
			issued := f.leaf(q.issuing, devpki.LeafOptions{Key: tt.key, Edit: tt.edit})
			leaf, message := inMessage(t, issued[0])
			q.chain = append([]*x509.Certificate{leaf}, issued[1:]...)
			path, err := q.ask()
			if err != nil {
				t.Fatalf("Verify: %v", err)
			}
			for i := range message {
				message[i] = 0xff
			}
			if got, want := path.Leaf(), issued[0]; !reflect.DeepEqual(got, want) {
				t.Errorf("the path's leaf changed with the message:\n got %+v\nwant %+v", got, want)
			}
		})
	}
}

// Leaves of one issuer share what they have in common.
func TestLeavesShareWhatTheyHaveInCommon(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	var leaves [2]*x509.Certificate
	for i := range leaves {
		issued := f.leaf(q.issuing, devpki.LeafOptions{})
		leaf, _ := inMessage(t, issued[0])
		q.chain = append([]*x509.Certificate{leaf}, issued[1:]...)
		path, err := q.ask()
		if err != nil {
			t.Fatalf("Verify: %v", err)
		}
		leaves[i] = path.Leaf()
	}
	a, b := leaves[0], leaves[1]
	if len(a.Issuer.Names) == 0 || &a.Issuer.Names[0] != &b.Issuer.Names[0] {
		t.Error("two leaves have a copy each of their issuer's name")
	}
	for i, extension := range a.Extensions {
		if &extension.Id[0] != &b.Extensions[i].Id[0] {
			t.Errorf("two leaves have a copy each of %v", extension.Id)
		}
	}
}

func TestACertificateOfItsOwnIsNotCopied(t *testing.T) {
	t.Parallel()
	q := fixture{t}.accepted()
	path, err := q.ask()
	if err != nil {
		t.Fatal(err)
	}
	again, err := q.verifier.Verify([]*x509.Certificate{path.Leaf(), q.chain[1]}, q.bundle, q.role, q.now)
	if err != nil {
		t.Fatal(err)
	}
	if again.Leaf() != path.Leaf() {
		t.Error("judging a path's own leaf anew made another copy of it")
	}
}

func BenchmarkOwn(b *testing.B) {
	q := fixture{b}.accepted()
	message := append(bytes.Clone(q.chain[0].Raw), make([]byte, 1<<10)...)
	leaf, err := x509.ParseCertificate(message[:len(q.chain[0].Raw)])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		own(leaf, q.chain[1])
	}
}
