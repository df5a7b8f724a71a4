package main

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"verigate/benchmarks/peers/pki"
	"verigate/devpki"
)

// origin is that of most identities.
const origin = "spiffe://bench.example"

// authority is a root with two CAs below it, P-256, as in the comparison with peers.
// It keeps what that one does not need: the CRLs of all three.
type authority struct {
	root, upper, issuing *devpki.CA
}

func newAuthority() (*authority, error) {
	a := new(authority)
	var err error
	if a.root, err = devpki.NewRoot(devpki.CAOptions{Name: "Scaling root"}); err != nil {
		return nil, err
	}
	if a.upper, err = a.root.NewIntermediate(devpki.CAOptions{Name: "Scaling CA 1"}); err != nil {
		return nil, err
	}
	a.issuing, err = a.upper.NewIntermediate(devpki.CAOptions{Name: "Scaling CA 2"})
	return a, err
}

// files writes the anchor and the gateway's credential and returns the certificate
// that the gateway will show.
func (a *authority) files(dir string) (leaf []byte, err error) {
	server, err := a.issuing.Issue(devpki.LeafOptions{
		URIs: []string{origin + "/edge"}, DNS: []string{"localhost"}, IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		return nil, err
	}
	key, err := devpki.KeyPEM(server.Key)
	return server.Chain[0].Raw, errors.Join(err,
		os.WriteFile(filepath.Join(dir, "root.pem"), devpki.CertificatesPEM(a.root.Certificate), 0o600),
		os.WriteFile(filepath.Join(dir, "server.pem"), devpki.CertificatesPEM(server.Chain...), 0o600),
		os.WriteFile(filepath.Join(dir, "server.key"), key, 0o600))
}

// identity is the last part of the identifier of client i.
func identity(i int) string { return fmt.Sprintf("client-%06d", i) }

// clients makes n clients, each with a key of its own, and writes them to a file for
// the generator.
func clients(file string, n int, issue func(i int) (*devpki.Leaf, error)) error {
	set := &pki.Set{Keys: make([][]byte, n), Identities: make([]pki.Identity, n)}
	if err := parallel(n, func(i int) error {
		leaf, err := issue(i)
		if err != nil {
			return err
		}
		tls := leaf.TLS()
		set.Identities[i] = pki.Identity{Name: identity(i), Chain: tls.Certificate, Key: i}
		set.Keys[i], err = x509.MarshalPKCS8PrivateKey(leaf.Key)
		return err
	}); err != nil {
		return err
	}
	return set.Write(file)
}

func (a *authority) client(i int) (*devpki.Leaf, error) {
	return a.issuing.Issue(devpki.LeafOptions{URIs: []string{origin + "/ns/load/sa/" + identity(i)}})
}

// domain is the origin of trust domain i, of the curve that has many.
func domain(i int) string { return fmt.Sprintf("spiffe://domain-%06d.example", i) }

// domains makes n trust domains with one client each, whose certificates the root has
// issued itself, and writes their anchors.
func domains(dir, file string, n int) error {
	return clients(filepath.Join(dir, file), n, func(i int) (*devpki.Leaf, error) {
		root, err := devpki.NewRoot(devpki.CAOptions{Name: fmt.Sprintf("Root of domain %d", i)})
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("domain-%06d.pem", i)), devpki.CertificatesPEM(root.Certificate), 0o600); err != nil {
			return nil, err
		}
		return root.Issue(devpki.LeafOptions{URIs: []string{domain(i) + "/ns/load/sa/" + identity(i)}})
	})
}

// crls writes a list of each CA: that of the issuing one has n entries, none of them
// a client's. number tells lists apart.
func (a *authority) crls(dir string, n int, number int64) error {
	revoked := make([]*big.Int, n)
	for i := range revoked {
		serial := make([]byte, 16)
		if _, err := rand.Read(serial); err != nil {
			return err
		}
		serial[0] = serial[0]&0x3f | 0x40 // as long as those of real CAs, always
		revoked[i] = new(big.Int).SetBytes(serial)
	}
	var all []byte
	for _, l := range []struct {
		ca      *devpki.CA
		revoked []*big.Int
	}{{a.root, nil}, {a.upper, nil}, {a.issuing, revoked}} {
		der, err := l.ca.MakeCRL(devpki.CRLOptions{Revoked: l.revoked, Number: big.NewInt(number)})
		if err != nil {
			return err
		}
		all = append(all, devpki.CRLPEM(der)...)
	}
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("crl-%d-%d.pem", n, number)), all, 0o600)
}

// world is what a configuration is made of. Its zero value, with a backend, has one
// trust domain, one route and one rule.
type world struct {
	backend string
	domains int // trust domains beside the usual one, which all may call
	routes  int // beside the one that is asked for
	rules   int // of the route that is asked for, beside the one that grants
	crl     string
}

// config is the gateway's file. Routes are told apart by host; rules are for exact
// callers, of which only the last is one that comes.
func (w world) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, `listeners:
  - name: edge
    address: "127.0.0.1:0"
    certificate: {cert_file: server.pem, key_file: server.key}
    limits: {max_connections: 1000000}
    http: {idle_timeout: 1h}
    trust_domains:
      - %[1]s
`, origin)
	for i := range w.domains {
		fmt.Fprintf(&b, "      - %s\n", domain(i))
	}
	fmt.Fprintf(&b, "trust_domains:\n  %s:\n    anchors: {file: root.pem}\n", origin)
	if w.crl != "" {
		fmt.Fprintf(&b, "    crl: {files: [%s]}\n", w.crl)
	}
	for i := range w.domains {
		fmt.Fprintf(&b, "  %s: {anchors: {file: domain-%06d.pem}}\n", domain(i), i)
	}
	fmt.Fprintf(&b, `upstreams:
  backend: {endpoints: [%q], plaintext: true, handoff: [workload]}
telemetry: {audit: {file: audit.jsonl}}
admin: {address: "127.0.0.1:0"}
drain_timeout: 1s
`, w.backend)
	b.WriteString("routes:\n")
	for i := range w.routes {
		fmt.Fprintf(&b, "  - {name: r%d, match: {host: h%d.example}, upstream: backend, allow: [{caller: \"%s/ns/other/sa/c%d\"}]}\n", i, i, origin, i)
	}
	b.WriteString("  - name: load\n    match: {host: localhost}\n    upstream: backend\n    allow:\n")
	for i := range w.rules {
		fmt.Fprintf(&b, "      - {caller: %s/ns/other/sa/c%d}\n", origin, i)
	}
	fmt.Fprintf(&b, "      - {caller: \"%s/ns/load/sa/*\"}\n", origin)
	for i := range w.domains {
		fmt.Fprintf(&b, "      - {caller: \"%s/ns/load/sa/*\"}\n", domain(i))
	}
	return b.String()
}

// parallel calls f for 0 to n-1 on all processors and returns the errors.
func parallel(n int, f func(i int) error) error {
	var next atomic.Int64
	var running sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for k := range errs {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[k] == nil; i = int(next.Add(1)) - 1 {
				errs[k] = f(i)
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}
