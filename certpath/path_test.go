package certpath

import (
	"bytes"
	"crypto/x509"
	"net"
	"reflect"
	"testing"

	"verigate/devpki"
	"verigate/trust"
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
			q.chain = issued
			want, err := q.ask()
			if err != nil {
				t.Fatalf("Verify: %v", err)
			}
			q.chain = append([]*x509.Certificate{leaf}, issued[1:]...)
			got, err := q.ask()
			if err != nil {
				t.Fatalf("Verify: %v", err)
			}
			for i := range message {
				message[i] = 0xff
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the path changed with the message:\n got %+v\nwant %+v", got, want)
			}
			if !reflect.DeepEqual(got.ParseLeaf(), issued[0]) {
				t.Errorf("the path's leaf is %+v, want %+v", got.ParseLeaf(), issued[0])
			}
		})
	}
}

// What a path keeps for CRLs is what the leaf itself would have been asked about.
func TestAPathAsksCRLsWhatItsLeafWould(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	for _, tt := range []struct {
		name  string
		chain func(*question) []*x509.Certificate
	}{
		{"a leaf", func(q *question) []*x509.Certificate { return q.chain }},
		{"one with distribution points", func(q *question) []*x509.Certificate {
			return f.leaf(q.issuing, devpki.LeafOptions{Edit: func(c *x509.Certificate) {
				c.CRLDistributionPoints = []string{"http://crl.example/1", "http://crl.example/2"}
			}})
		}},
		{"a CA", func(q *question) []*x509.Certificate {
			return []*x509.Certificate{f.intermediate(q.issuing, "below", nil).Certificate, q.issuing.Certificate}
		}},
	} {
		q := f.accepted()
		q.verifier.Profile, q.chain = ProfilePKIX, tt.chain(q)
		path, err := q.ask()
		if err != nil {
			t.Fatalf("%s: Verify: %v", tt.name, err)
		}
		got, want := revocationOf(path, q.bundle, q.now), trust.SubjectOf(q.chain[0])
		if !reflect.DeepEqual(got.leaf, want) {
			t.Errorf("%s: CRLs are asked about %+v, want %+v", tt.name, got.leaf, want)
		}
	}
}

// Whoever is judged anew, or by a shadow as well, is not copied once more.
func TestPathsOfOneHolderShareItsOctets(t *testing.T) {
	t.Parallel()
	q := fixture{t}.accepted()
	path, err := q.ask()
	if err != nil {
		t.Fatal(err)
	}
	q.verifier.Proven = path
	again, err := q.ask()
	if err != nil {
		t.Fatal(err)
	}
	if &again.RawLeaf()[0] != &path.RawLeaf()[0] {
		t.Error("judging a path's own leaf anew made another copy of it")
	}
	if &path.RawLeaf()[0] == &q.chain[0].Raw[0] {
		t.Error("the path refers to what was presented")
	}
}
