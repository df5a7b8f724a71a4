// Package pki makes the certificates of a comparison: one root, some intermediates,
// a server, and sets of clients from one to a hundred thousand.
//
// Keys of leaves are shared among many certificates, for making 100 000 RSA keys
// takes hours. No peer can profit from that: each parses the key out of each
// certificate that it is shown.
package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"verigate/devpki"
)

// TrustDomain is the origin of all identities.
const TrustDomain = "spiffe://bench.example"

// keysPerSet is how many key pairs the leaves of a set share.
const keysPerSet = 16

// Authority issues everything.
type Authority struct {
	key           devpki.KeyType
	intermediates int
	root, issuing *devpki.CA
	keys          []crypto.Signer
}

// New makes root and intermediates, which all have keys of one type. intermediates
// is 0, 1 or 2.
func New(key devpki.KeyType, intermediates int) (*Authority, error) {
	if intermediates < 0 || intermediates > 2 {
		return nil, fmt.Errorf("%d intermediates: there may be 0, 1 or 2", intermediates)
	}
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "Benchmark root", Key: key})
	if err != nil {
		return nil, err
	}
	a := &Authority{key: key, intermediates: intermediates, root: root, issuing: root}
	for i := range intermediates {
		if a.issuing, err = a.issuing.NewIntermediate(devpki.CAOptions{Name: fmt.Sprintf("Benchmark CA %d", i+1), Key: key}); err != nil {
			return nil, err
		}
	}
	a.keys = make([]crypto.Signer, keysPerSet)
	return a, parallel(keysPerSet, func(i int) (err error) {
		a.keys[i], err = devpki.NewKey(key)
		return err
	})
}

// Files are where a peer, or a client, finds what it has to know, in PEM.
type Files struct {
	Root        string // the anchor of all
	Certificate string // its own: leaf, then intermediates
	Key         string // its own, PKCS #8
	Both        string // Certificate and Key in one file
	Leaf        []byte // its own, in DER
}

// Serve writes the files of a server whose key is of the type given.
func (a *Authority) Serve(dir string, key devpki.KeyType) (Files, error) {
	return a.write(dir, "server", devpki.LeafOptions{
		URIs: []string{TrustDomain + "/edge"}, DNS: []string{"localhost"},
		IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Subject: pkix.Name{CommonName: "localhost"}, Key: key,
	})
}

// Call writes the files of a client, for a generator that takes one certificate
// in PEM.
func (a *Authority) Call(dir, name string) (Files, error) {
	return a.write(dir, "client", devpki.LeafOptions{
		URIs: []string{identity(name)}, Subject: pkix.Name{CommonName: name}, Key: a.key,
	})
}

// write issues a certificate and writes it, its key and the root.
func (a *Authority) write(dir, kind string, o devpki.LeafOptions) (Files, error) {
	leaf, err := a.issuing.Issue(o)
	if err != nil {
		return Files{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(leaf.Key)
	if err != nil {
		return Files{}, err
	}
	var chain []byte
	for _, c := range leaf.Chain {
		chain = append(chain, encode("CERTIFICATE", c.Raw)...)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Files{}, err
	}
	f := Files{
		Root: filepath.Join(dir, "root.pem"), Certificate: filepath.Join(dir, kind+".pem"),
		Key: filepath.Join(dir, kind+".key"), Both: filepath.Join(dir, kind+"-both.pem"), Leaf: leaf.Chain[0].Raw,
	}
	keyPEM := encode("PRIVATE KEY", private)
	for name, data := range map[string][]byte{
		f.Root: encode("CERTIFICATE", a.root.Certificate.Raw), f.Certificate: chain,
		f.Key: keyPEM, f.Both: append(chain[:len(chain):len(chain)], keyPEM...),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return Files{}, err
		}
	}
	return f, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Issue makes n identities, named after the set. With fresh, each has intermediates
// of its own, which nobody has seen before; without intermediates there is nothing
// to be fresh, and that is an error.
func (a *Authority) Issue(set string, n int, fresh bool) (*Set, error) {
	if fresh && a.intermediates == 0 {
		return nil, fmt.Errorf("identities from intermediates not seen before: there are no intermediates")
	}
	s := &Set{Identities: make([]Identity, n)}
	for _, key := range a.keys {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		s.Keys = append(s.Keys, der)
	}
	return s, parallel(n, func(i int) error {
		issuing := a.issuing
		if fresh {
			var err error
			if issuing, err = a.fresh(fmt.Sprintf("%s %d", set, i)); err != nil {
				return err
			}
		}
		name := fmt.Sprintf("%s-%06d", set, i)
		der, err := a.leaf(issuing, name, a.keys[i%len(a.keys)])
		if err != nil {
			return err
		}
		chain := [][]byte{der}
		for _, c := range issuing.Chain {
			chain = append(chain, c.Raw)
		}
		s.Identities[i] = Identity{Name: name, Chain: chain, Key: i % len(a.keys)}
		return nil
	})
}

// fresh makes as many intermediates as there are in other chains, one below the
// other. Their keys are those of the shared ones: it is the certificates that are new.
func (a *Authority) fresh(name string) (*devpki.CA, error) {
	ca, known := a.root, a.issuing.Chain
	for level := range a.intermediates {
		key := a.keys[level]
		template := *known[len(known)-1-level]
		template.Subject = pkix.Name{CommonName: fmt.Sprintf("CA %d of %s", level+1, name)}
		template.RawSubject, template.SubjectKeyId, template.AuthorityKeyId = nil, nil, nil
		template.ExtraExtensions = nil
		der, err := sign(&template, ca, key)
		if err != nil {
			return nil, err
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		ca = &devpki.CA{Certificate: certificate, Key: key, Chain: append([]*x509.Certificate{certificate}, ca.Chain...)}
	}
	return ca, nil
}

// identity is the identifier of the client of a name.
func identity(name string) string { return TrustDomain + "/ns/load/sa/" + name }

// leaf makes a client's certificate: the name is the subject's common name for
// peers that forward the subject, and ends the identifier for those that forward
// that.
func (a *Authority) leaf(issuing *devpki.CA, name string, key crypto.Signer) ([]byte, error) {
	id, err := url.Parse(identity(name))
	if err != nil {
		return nil, err
	}
	return sign(&x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-devpki.Backdate), NotAfter: time.Now().Add(devpki.DefaultLifetime),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:                  []*url.URL{id},
	}, issuing, key)
}

func sign(template *x509.Certificate, issuer *devpki.CA, key crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	return x509.CreateCertificate(rand.Reader, template, issuer.Certificate, key.Public(), issuer.Key)
}

// parallel calls f for 0 to n-1 on all processors and returns the first error.
func parallel(n int, f func(i int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var running sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || failed.Load() != nil {
					return
				}
				if err := f(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	running.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
