package main

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"verigate/devpki"
	"verigate/workloadid"
)

// The sets of identities that gen can make beside the good ones. Each is a folder.
const (
	setClients = "clients"
	setExpired = "expired"
	setRevoked = "revoked"
	setWrong   = "wrong-trust-domain"
	setNext    = "next"
)

// The files of gen that init does not know.
const (
	genBundle = "bundle.pem"
	genIndex  = "index.json"
	genServer = "server"
	// genFolder is how many identities have their files in one folder.
	genFolder = 1000
	// maxGenClients keeps file names at six digits.
	maxGenClients = 1_000_000
	maxGenIssuers = 1000
)

// genOptions is what the command line of gen says.
type genOptions struct {
	dir       string
	origin    workloadid.Origin
	wrong     workloadid.Origin // of the set of that name
	clients   int
	issuers   int
	files     int // of each set, how many identities have files of their own
	bad       int // identities in each set of bad ones
	prefix    string
	dns       []string
	ips       []netip.Addr
	also      []string
	key       devpki.KeyType
	sharedKey bool
	lifetime  time.Duration
}

// genSet is one folder of identities, as index.json describes it.
type genSet struct {
	Name   string `json:"name"`
	Bundle string `json:"bundle"`
	Count  int    `json:"count"`
	// Files is how many of the first identities have files of their own, and Pattern
	// what these are called: a format for i/1000 and i.
	Files   int    `json:"files"`
	Pattern string `json:"pattern"`
	First   string `json:"first"` // the identifier of the first
	Anchor  string `json:"anchor"`
}

// genFiles is index.json. All names are from its folder.
type genFiles struct {
	TrustDomain string   `json:"trust_domain"`
	Anchor      string   `json:"anchor"`
	Server      string   `json:"server"` // without .pem and .key
	CRLs        []string `json:"crls"`
	SharedKey   bool     `json:"shared_key"`
	NotAfter    string   `json:"not_after"`
	Sets        []genSet `json:"sets"`
}

func newPKIGenCommand() *cobra.Command {
	var o genOptions
	var origin, key string
	var ips []string
	c := &cobra.Command{
		Use:   "gen",
		Short: "Make a CA, a gateway's certificate and many clients for a load test",
		Long: `gen makes everything that a load test needs: a CA, a certificate for the gateway, and
as many client identities as you like, a hundred thousand in some ten seconds.

  gateway pki gen --dir load --clients 1000
  gateway pki gen --dir load --clients 100 --also expired,revoked,wrong-trust-domain

It writes what "pki init" writes, so that "pki issue" and "pki crl" work on the folder, and

  server.pem, server.key        of the gateway
  root.crl, issuing.crl         current revocation lists; "revoked" is in them
  clients/bundle.pem            all clients: for each its certificate, the intermediates, its key
  clients/000/000000.pem, .key  the first --files of them in files of their own, 1000 a folder
  index.json                    what there is, for programs

--also adds folders of the same form: expired, revoked, wrong-trust-domain (of another
CA), --bad identities each; and next, the identities of clients in new certificates, to
rotate to. RSA keys are slow to make; --shared-key makes one for all clients.

A folder that has any of these files already is left alone.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.origin, err = workloadid.ParseOrigin(origin); err != nil {
				return usage("--trust-domain %q is not an origin such as spiffe://load.example: %v", origin, err)
			}
			o.key = devpki.KeyType(key)
			for _, text := range ips {
				ip, err := netip.ParseAddr(text)
				if err != nil {
					return usage("--ip %q is not an IP address", text)
				}
				o.ips = append(o.ips, ip)
			}
			if err := o.check(); err != nil {
				return err
			}
			began := time.Now()
			index, err := genPKI(o)
			if err != nil {
				return err
			}
			return o.tell(c, index, time.Since(began))
		},
	}
	f := c.Flags()
	f.StringVar(&o.dir, "dir", "pki", "folder to write to")
	f.StringVar(&origin, "trust-domain", "spiffe://load.example", "origin that the CA is for")
	f.IntVar(&o.clients, "clients", 0, "how many client identities")
	f.IntVar(&o.issuers, "issuers", 1, "issuing CAs; clients take turns at them")
	f.StringVar(&o.prefix, "prefix", "/ns/load/sa/client-", "path of the identities, before their six digits")
	f.StringSliceVar(&o.dns, "dns", []string{"localhost"}, "DNS names that the gateway's certificate is for")
	f.StringSliceVar(&ips, "ip", []string{"127.0.0.1", "::1"}, "IP addresses that the gateway's certificate is for")
	f.StringVar(&key, "key", string(devpki.P256), "kind of all keys: p256, p384, rsa2048 or ed25519")
	complete(c, "key", keyTypes)
	f.BoolVar(&o.sharedKey, "shared-key", false, "one key for all clients: sooner made and sooner read, and of no use where keys are told apart")
	f.StringSliceVar(&o.also, "also", nil, "sets of identities beside the good ones: "+strings.Join(genSets(), ", "))
	complete(c, "also", genSets)
	f.IntVar(&o.bad, "bad", 10, "identities in each set of bad ones")
	f.IntVar(&o.files, "files", 1000, "identities of each set that have files of their own too")
	f.DurationVar(&o.lifetime, "lifetime", devpki.DefaultLifetime, "how long the certificates live; a bit of it, up to five minutes, lies in the past")
	return c
}

// genSets are the values of --also.
func genSets() []string { return []string{setExpired, setRevoked, setWrong, setNext} }

// check finds what the flags cannot mean, before anything is made.
func (o *genOptions) check() error {
	switch {
	case o.clients < 1 || o.clients > maxGenClients:
		return usage("--clients %d: expected 1 to %d identities", o.clients, maxGenClients)
	case o.issuers < 1 || o.issuers > maxGenIssuers:
		return usage("--issuers %d: expected 1 to %d issuing CAs", o.issuers, maxGenIssuers)
	case o.bad < 1 || o.bad > maxGenClients:
		return usage("--bad %d: expected 1 to %d identities; leave --also out if you want none", o.bad, maxGenClients)
	case o.files < 0:
		return usage("--files %d: expected 0 or more", o.files)
	case o.lifetime <= 0:
		return usage("--lifetime %v is over before it begins", o.lifetime)
	case !slices.Contains(keyTypes(), string(o.key)):
		return usage("--key %s: expected one of %s; leaves with other keys are refused", o.key, strings.Join(keyTypes(), ", "))
	}
	for i, name := range o.also {
		if !slices.Contains(genSets(), name) {
			return usage("--also %q: expected some of %s", name, strings.Join(genSets(), ", "))
		}
		if slices.Contains(o.also[:i], name) {
			return usage("--also %s is there twice", name)
		}
	}
	if !strings.HasPrefix(o.prefix, "/") {
		return usage("--prefix %q: expected a path such as /ns/load/sa/client-", o.prefix)
	}
	if _, err := workloadid.Parse(o.identifier(0)); err != nil {
		return usage("--prefix %q makes %s, which is no workload identifier: %v; expected a path such as /ns/load/sa/client-",
			o.prefix, o.identifier(0), err)
	}
	if slices.Contains(o.also, setWrong) {
		var err error
		if o.wrong, err = workloadid.ParseOrigin(o.origin.Scheme() + "://wrong." + o.origin.TrustDomain()); err != nil {
			return usage("--trust-domain %s: there can be no wrong.%s beside it: %v; choose a shorter one", o.origin, o.origin.TrustDomain(), err)
		}
	}
	for _, name := range o.names() {
		file := filepath.Join(o.dir, name)
		if _, err := os.Lstat(file); err == nil {
			return usage("%s exists, and gen overwrites nothing; choose another --dir, or remove it", file)
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (o *genOptions) identifier(i int) string {
	return fmt.Sprintf("%s%s%06d", o.origin, o.prefix, i)
}

// names are the files and folders that gen makes in its folder.
func (o *genOptions) names() []string {
	cas := []string{pkiRoot}
	for i := range o.issuers {
		cas = append(cas, issuerName(i))
	}
	names := []string{genIndex, genServer + ".pem", genServer + ".key", setClients}
	for _, ca := range cas {
		names = append(names, ca+".pem", ca+".key", ca+".crl")
	}
	return append(names, o.also...)
}

// issuerName is what the files of an issuing CA are called. The first has the name
// that the other commands use.
func issuerName(i int) string {
	if i == 0 {
		return pkiIssuing
	}
	return fmt.Sprintf("%s-%d", pkiIssuing, i)
}

// tell says what was made and what to do with it.
func (o *genOptions) tell(c *cobra.Command, index *genFiles, took time.Duration) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Wrote %s of %s to %s in %s.\n", counted(o.clients, "client"), o.origin, o.dir, took.Round(10*time.Millisecond))
	line := func(what, is string) { fmt.Fprintf(&b, "  %-19s %s\n", what, is) }
	line("trust anchor", filepath.Join(o.dir, index.Anchor))
	line("gateway", filepath.Join(o.dir, genServer)+".pem and .key")
	for _, s := range index.Sets {
		line(s.Name, filepath.Join(o.dir, s.Bundle)+", "+counted(s.Count, "client"))
	}
	line("index", filepath.Join(o.dir, genIndex))
	_, err := fmt.Fprint(c.OutOrStdout(), b.String())
	return err
}

// genCAs is a root and the CAs below it.
type genCAs struct {
	root    *devpki.CA
	issuing []*devpki.CA
}

func newGenCAs(domain string, key devpki.KeyType, issuers int, until time.Time) (*genCAs, error) {
	root, err := devpki.NewRoot(devpki.CAOptions{Name: domain + pkiNameInfix + "root", Key: key, NotAfter: until})
	if err != nil {
		return nil, err
	}
	cas := &genCAs{root: root}
	for i := range issuers {
		name := domain + pkiNameInfix + "issuing CA"
		if i > 0 {
			name += fmt.Sprintf(" %d", i)
		}
		ca, err := root.NewIntermediate(devpki.CAOptions{Name: name, Key: key, NotAfter: until})
		if err != nil {
			return nil, err
		}
		cas.issuing = append(cas.issuing, ca)
	}
	return cas, nil
}

// genPKI makes everything. index.json comes last: where it is, the rest is whole.
func genPKI(o genOptions) (*genFiles, error) {
	from := time.Now().Add(-min(devpki.Backdate, o.lifetime/10))
	until := from.Add(o.lifetime)
	// The CAs outlive the leaves: otherwise their end would be every path's end.
	caUntil := until.Add(6 * devpki.DefaultLifetime)
	domain := o.origin.TrustDomain()
	cas, err := newGenCAs(domain, o.key, o.issuers, caUntil)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return nil, err
	}
	write := func(name string, chain []*x509.Certificate, key crypto.Signer) error {
		file := filepath.Join(o.dir, name)
		return writeCredential(file+".pem", file+".key", &devpki.Leaf{Chain: chain, Key: key})
	}
	server, err := cas.issuing[0].Issue(devpki.LeafOptions{
		URIs: []string{o.origin.String() + "/edge"}, DNS: o.dns, IPs: o.ips, Key: o.key, NotBefore: from, NotAfter: until})
	if err != nil {
		return nil, err
	}
	errs := []error{
		write(pkiRoot, []*x509.Certificate{cas.root.Certificate}, cas.root.Key),
		write(genServer, server.Chain, server.Key),
	}
	for i, ca := range cas.issuing {
		errs = append(errs, write(issuerName(i), ca.Chain, ca.Key))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}

	index := &genFiles{
		TrustDomain: o.origin.String(), Anchor: pkiRootCert, Server: genServer, SharedKey: o.sharedKey,
		NotAfter: until.UTC().Format(time.RFC3339),
	}
	maker := genMaker{genOptions: o, cas: cas, from: from, until: until}
	if o.sharedKey {
		if maker.shared, err = devpki.NewKey(o.key); err != nil {
			return nil, err
		}
	}
	revoked := make([][]*big.Int, o.issuers)
	for _, name := range append([]string{setClients}, o.also...) {
		m := maker
		count := o.bad
		set := genSet{Name: name, Anchor: pkiRootCert}
		switch name {
		case setClients, setNext:
			count = o.clients
		case setExpired:
			m.until = time.Now().Add(-time.Minute)
			m.from = m.until.Add(-o.lifetime)
		case setWrong:
			// Of its own CA: nothing but the identifier and the issuer is wrong with it.
			m.origin = o.wrong
			if m.cas, err = newGenCAs(o.wrong.TrustDomain(), o.key, 1, caUntil); err != nil {
				return nil, err
			}
			set.Anchor = setWrong + "/" + pkiRootCert
		}
		serials, err := m.makeSet(&set, count)
		if err != nil {
			return nil, err
		}
		if name == setRevoked {
			for i, serial := range serials {
				revoked[i%o.issuers] = append(revoked[i%o.issuers], serial)
			}
		}
		if name == setWrong {
			if err := writeFile(filepath.Join(o.dir, set.Anchor), devpki.CertificatesPEM(m.cas.root.Certificate), 0o644); err != nil {
				return nil, err
			}
		}
		index.Sets = append(index.Sets, set)
	}

	crl := func(name string, ca *devpki.CA, revoked []*big.Int) error {
		der, err := ca.MakeCRL(devpki.CRLOptions{Revoked: revoked, NextUpdate: until})
		if err != nil {
			return err
		}
		index.CRLs = append(index.CRLs, name+".crl")
		return writeFile(filepath.Join(o.dir, name+".crl"), devpki.CRLPEM(der), 0o644)
	}
	errs = []error{crl(pkiRoot, cas.root, nil)}
	for i, ca := range cas.issuing {
		errs = append(errs, crl(issuerName(i), ca, revoked[i]))
	}
	data, err := json.MarshalIndent(index, "", "  ")
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return index, writeFile(filepath.Join(o.dir, genIndex), append(data, '\n'), 0o644)
}

// genMaker makes identities of one set.
type genMaker struct {
	genOptions
	cas         *genCAs
	from, until time.Time
	shared      crypto.Signer // nil: a key for each
}

// genBatch is how many identities a worker makes before the bundle gets them. What
// is in memory is a batch of each worker.
const genBatch = 256

// genIdentity is one identity, ready to be written.
type genIdentity struct {
	chain, key []byte // PEM
	serial     *big.Int
}

// makeSet makes count identities on all processors, writes them to the folder of
// set in their order, and describes them in set. It returns their serial numbers.
func (m *genMaker) makeSet(set *genSet, count int) (serials []*big.Int, err error) {
	folder := filepath.Join(m.dir, set.Name)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	set.Bundle, set.Count, set.Files = set.Name+"/"+genBundle, count, min(m.files, count)
	set.Pattern, set.First = set.Name+"/%03d/%06d", m.identifier(0)
	f, err := os.OpenFile(filepath.Join(folder, genBundle), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()

	made := make([]genIdentity, genBatch*runtime.GOMAXPROCS(0))
	for begin := 0; begin < count; begin += len(made) {
		batch := made[:min(len(made), count-begin)]
		if err := m.makeBatch(batch, begin); err != nil {
			return nil, err
		}
		for i, id := range batch {
			serials = append(serials, id.serial)
			if _, err := f.Write(slices.Concat(id.chain, id.key)); err != nil {
				return nil, err
			}
			if begin+i >= set.Files {
				continue
			}
			if err := m.writeFiles(folder, begin+i, id); err != nil {
				return nil, err
			}
		}
	}
	return serials, nil
}

// makeBatch fills batch with the identities from begin on.
func (m *genMaker) makeBatch(batch []genIdentity, begin int) error {
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for i := w; i < len(batch) && errs[w] == nil; i += workers {
				batch[i], errs[w] = m.make(begin + i)
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// make makes the identity with the number i.
func (m *genMaker) make(i int) (genIdentity, error) {
	issuer := m.cas.issuing[i%len(m.cas.issuing)]
	leaf, err := m.issue(issuer, m.identifier(i))
	if err != nil {
		return genIdentity{}, err
	}
	key, err := devpki.KeyPEM(leaf.Key)
	return genIdentity{chain: devpki.CertificatesPEM(leaf.Chain...), key: key, serial: leaf.Chain[0].SerialNumber}, err
}

func (m *genMaker) issue(issuer *devpki.CA, identifier string) (*devpki.Leaf, error) {
	if m.shared == nil {
		return issuer.Issue(devpki.LeafOptions{URIs: []string{identifier}, Key: m.key, NotBefore: m.from, NotAfter: m.until})
	}
	// devpki makes a key pair with each leaf, which is what is to be avoided here.
	uri, err := url.Parse(identifier)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber:          serial,
		NotBefore:             m.from,
		NotAfter:              m.until,
		URIs:                  []*url.URL{uri},
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, issuer.Certificate, m.shared.Public(), issuer.Key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &devpki.Leaf{Chain: slices.Concat([]*x509.Certificate{leaf}, issuer.Chain), Key: m.shared}, nil
}

// writeFiles writes one identity to files of its own. The folder is new, so there
// is nothing that could be seen half written.
func (m *genMaker) writeFiles(folder string, i int, id genIdentity) error {
	sub := filepath.Join(folder, fmt.Sprintf("%03d", i/genFolder))
	if i%genFolder == 0 {
		if err := os.Mkdir(sub, 0o700); err != nil {
			return err
		}
	}
	file := filepath.Join(sub, fmt.Sprintf("%06d", i))
	return errors.Join(
		os.WriteFile(file+".pem", id.chain, 0o644),
		os.WriteFile(file+".key", id.key, 0o600),
	)
}
