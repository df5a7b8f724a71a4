package pki

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verigate/devpki"
)

// verify judges a chain by the root in a file, and returns its leaf.
func verify(t *testing.T, root string, chain [][]byte) *x509.Certificate {
	t.Helper()
	anchor, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(anchor) {
		t.Fatalf("%s has no certificate", root)
	}
	var parsed []*x509.Certificate
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, c)
		intermediates.AddCert(c)
	}
	found, err := parsed[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		t.Fatalf("%q does not lead to the root: %v", parsed[0].Subject.CommonName, err)
	}
	if len(found[0]) != len(chain)+1 {
		t.Errorf("%q leads to the root by %d certificates, want %d", parsed[0].Subject.CommonName, len(found[0]), len(chain)+1)
	}
	return parsed[0]
}

// present judges files as who is shown them would, and returns their leaf.
func present(t *testing.T, files Files) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pair.Certificate[0], files.Leaf) {
		t.Errorf("the leaf is not the first certificate of %s", files.Certificate)
	}
	return verify(t, files.Root, pair.Certificate)
}

func TestChainsLeadToTheRoot(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		key           devpki.KeyType
		intermediates int
	}{{devpki.P256, 0}, {devpki.P256, 1}, {devpki.P256, 2}, {devpki.RSA2048, 2}} {
		t.Run(fmt.Sprintf("%s with %d intermediates", kind.key, kind.intermediates), func(t *testing.T) {
			t.Parallel()
			key, intermediates := kind.key, kind.intermediates
			a, err := New(key, intermediates)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			files, err := a.Serve(dir, key)
			if err != nil {
				t.Fatal(err)
			}
			present(t, files)
			caller, err := a.Call(dir, "caller")
			if err != nil {
				t.Fatal(err)
			}
			if leaf := present(t, caller); leaf.Subject.CommonName != "caller" || len(leaf.URIs) != 1 || leaf.URIs[0].String() != identity("caller") {
				t.Errorf("the caller has the subject %v and the names %v", leaf.Subject, leaf.URIs)
			}
			for _, fresh := range []bool{false, true} {
				set, err := a.Issue("some", 3, fresh)
				if fresh && intermediates == 0 {
					if err == nil {
						t.Errorf("Issue(fresh) without intermediates is accepted")
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(dir, "set")
				if err := set.Write(file); err != nil {
					t.Fatal(err)
				}
				clients, err := Read(file)
				if err != nil || len(clients) != 3 {
					t.Fatalf("Read() = %d clients, %v; want 3", len(clients), err)
				}
				different(t, files.Root, clients, fresh)
			}
		})
	}
}

// different makes sure that leaves differ, that intermediates do if they are fresh,
// and that names are where peers look for them.
func different(t *testing.T, root string, clients []Client, fresh bool) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range clients {
		chain := c.Certificate.Certificate
		leaf := verify(t, root, chain)
		if leaf.Subject.CommonName != c.Name || len(leaf.URIs) != 1 || !strings.HasSuffix(leaf.URIs[0].String(), "/"+c.Name) {
			t.Errorf("%q has the subject %v and the names %v", c.Name, leaf.Subject, leaf.URIs)
		}
		own := c.Certificate.PrivateKey.(crypto.Signer).Public().(interface{ Equal(crypto.PublicKey) bool })
		if !own.Equal(leaf.PublicKey) {
			t.Errorf("%q has a key that is not its certificate's", c.Name)
		}
		for i, der := range chain {
			if (i == 0 || fresh) && seen[string(der)] {
				t.Errorf("certificate %d of %q is that of another", i, c.Name)
			}
			seen[string(der)] = true
		}
	}
}

func TestIntermediatesAreAtMostTwo(t *testing.T) {
	t.Parallel()
	for _, n := range []int{-1, 3} {
		if _, err := New(devpki.P256, n); err == nil {
			t.Errorf("New() with %d intermediates is accepted", n)
		}
	}
}
