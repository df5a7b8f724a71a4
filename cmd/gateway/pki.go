package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"verigate/devpki"
	"verigate/workloadid"
)

// The CAs that init makes: their files, without .pem and .key.
const (
	pkiRoot    = "root"
	pkiIssuing = "issuing"
)

// The files of a development CA in its folder.
const (
	pkiRootCert    = pkiRoot + ".pem"
	pkiRootKey     = pkiRoot + ".key"
	pkiIssuingCert = pkiIssuing + ".pem"
	pkiIssuingKey  = pkiIssuing + ".key"
)

// pkiNameInfix follows the trust domain in the names of CAs.
const pkiNameInfix = " development "

func newPKICommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "pki",
		Short: "A throwaway certification authority for development",
		Long: `pki makes certificates to try things with, without openssl. Its keys lie unprotected
in a folder and its certificates live for a day: never use it in production.

  gateway pki init --dir prod --trust-domain spiffe://prod.example
  gateway pki issue --dir prod spiffe://prod.example/ns/shop/sa/checkout
  gateway pki issue --dir prod spiffe://prod.example/edge --dns localhost --ip 127.0.0.1
  gateway pki crl --dir prod prod/checkout.pem

init writes root.pem (the trust anchor: what "anchors: {file: …}" wants) and an issuing
CA below it; its root can have a key of Ed448 or ML-DSA. ca makes more CAs. issue writes
NAME.pem (certificate and intermediates) and NAME.key, where NAME is the last segment of
the identifier. crl makes the revocation list of a CA. gen makes a CA
and many clients for a load test. Files of a CA and of another identity are never
overwritten.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newPKIInitCommand(), newPKICACommand(), newPKIIssueCommand(), newPKICRLCommand(), newPKIGenCommand())
	return c
}

func newPKIInitCommand() *cobra.Command {
	var dir, origin, key, rootKey string
	var lifetime time.Duration
	c := &cobra.Command{
		Use:   "init",
		Short: "Make a root and an issuing CA for a trust domain",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			td, err := workloadid.ParseOrigin(origin)
			if err != nil {
				return usage("--trust-domain %q is not an origin such as spiffe://prod.example: %v", origin, err)
			}
			if rootKey == "" {
				rootKey = key
			}
			if err := initPKI(dir, td, devpki.KeyType(rootKey), devpki.KeyType(key), lifetime); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), `Wrote a development CA for %s to %s.
  trust anchor   %s
  next           gateway pki issue --dir %s %s/ns/shop/sa/checkout
`, td, dir, filepath.Join(dir, pkiRootCert), dir, td)
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "pki", "folder to write to")
	c.Flags().StringVar(&origin, "trust-domain", "spiffe://dev.example", "origin that the CA is for")
	c.Flags().StringVar(&key, "key", string(devpki.P256), "kind of the issuing CA's key: "+caKeyList)
	complete(c, "key", caKeyTypes)
	c.Flags().StringVar(&rootKey, "root-key", "", "kind of the root's key, if it is another")
	complete(c, "root-key", caKeyTypes)
	c.Flags().DurationVar(&lifetime, "lifetime", 7*devpki.DefaultLifetime, "how long the CA lives")
	return c
}

func initPKI(dir string, td workloadid.Origin, rootKey, key devpki.KeyType, lifetime time.Duration) error {
	if _, err := os.Stat(filepath.Join(dir, pkiRootKey)); err == nil {
		return fmt.Errorf("%s has a CA already; choose another --dir, or remove the folder", dir)
	}
	until := time.Now().Add(lifetime)
	root, err := devpki.NewRoot(devpki.CAOptions{Name: td.TrustDomain() + pkiNameInfix + "root", Key: rootKey, NotAfter: until})
	if err != nil {
		return err
	}
	issuing, err := root.NewIntermediate(devpki.CAOptions{Name: td.TrustDomain() + pkiNameInfix + "issuing CA", Key: key, NotAfter: until})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(
		writeCredential(filepath.Join(dir, pkiRootCert), filepath.Join(dir, pkiRootKey), &devpki.Leaf{Chain: []*x509.Certificate{root.Certificate}, Key: root.Key}),
		writeCredential(filepath.Join(dir, pkiIssuingCert), filepath.Join(dir, pkiIssuingKey), &devpki.Leaf{Chain: issuing.Chain, Key: issuing.Key}),
	)
}

func newPKIIssueCommand() *cobra.Command {
	var dir, out, key, ca string
	var dns, ips []string
	var lifetime time.Duration
	c := &cobra.Command{
		Use:   "issue IDENTIFIER",
		Short: "Issue a certificate for a workload",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := workloadid.Parse(args[0])
			if err != nil {
				return usage("%q is not a workload identifier: %v", args[0], err)
			}
			if !id.HasPath() {
				return usage("%q names a trust domain, not a workload; add a path, such as %s/ns/shop/sa/checkout", args[0], args[0])
			}
			if slices.Contains(caKeyTypes(), key) && !slices.Contains(keyTypes(), key) {
				return usage("--key %s is for CAs: a TLS handshake cannot prove such a key, and the gateway refuses it in a leaf", key)
			}
			issuing, err := loadPKI(dir, ca)
			if err != nil {
				return err
			}
			if lifetime <= 0 {
				return usage("--lifetime %v is over before it begins", lifetime)
			}
			// The whole validity is what max_certificate_lifetime bounds.
			from := time.Now().Add(-min(devpki.Backdate, lifetime/10))
			o := devpki.LeafOptions{URIs: []string{id.String()}, DNS: dns, Key: devpki.KeyType(key), NotBefore: from, NotAfter: from.Add(lifetime)}
			for _, text := range ips {
				ip, err := netip.ParseAddr(text)
				if err != nil {
					return usage("--ip %q is not an IP address", text)
				}
				o.IPs = append(o.IPs, ip)
			}
			if out == "" {
				out = filepath.Join(dir, id.Path()[strings.LastIndexByte(id.Path(), '/')+1:])
			}
			if err := mayWrite(dir, out, id); err != nil {
				return err
			}
			leaf, err := issuing.Issue(o)
			if err != nil {
				return err
			}
			if domain, ok := pkiDomain(issuing); ok && domain != id.Origin().TrustDomain() {
				fmt.Fprintf(c.ErrOrStderr(), "note: the CA in %s is for the trust domain %s, so its anchors will not vouch for %s\n", dir, domain, id)
			}
			if err := writeCredential(out+".pem", out+".key", leaf); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "Wrote %s.pem and %s.key for %s, valid until %s.\n",
				out, out, id, leaf.Chain[0].NotAfter.UTC().Format(time.RFC3339))
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "pki", "folder of the CA")
	c.Flags().StringVar(&ca, "ca", pkiIssuing, "CA of the folder that issues")
	c.Flags().StringVar(&out, "out", "", "files to write, without .pem and .key (default: the identifier's last segment, in the CA's folder)")
	c.Flags().StringVar(&key, "key", string(devpki.P256), "kind of key: p256, p384, rsa2048 or ed25519")
	complete(c, "key", keyTypes)
	c.Flags().StringSliceVar(&dns, "dns", nil, "DNS names that the certificate is for as well")
	c.Flags().StringSliceVar(&ips, "ip", nil, "IP addresses that the certificate is for as well")
	c.Flags().DurationVar(&lifetime, "lifetime", devpki.DefaultLifetime, "how long the certificate lives; a bit of it, up to five minutes, lies in the past, for clocks that are behind")
	return c
}

// mayWrite refuses to issue a certificate to files that belong to somebody else:
// the CA itself, or another identity whose last segment is the same.
func mayWrite(dir, out string, id workloadid.ID) error {
	const hint = "choose other files with --out NAME, or remove these"
	if filepath.Clean(filepath.Dir(out)) == filepath.Clean(dir) {
		for _, name := range []string{pkiRootCert, pkiIssuingCert} {
			if filepath.Base(out)+".pem" == name {
				return usage("%s.pem and %s.key are the files of the CA itself; choose other files with --out NAME", out, out)
			}
		}
	}
	data, err := os.ReadFile(out + ".pem")
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Lstat(out + ".key"); err == nil {
			return usage("%s.key exists and has no certificate beside it that says whose it is; %s", out, hint)
		}
		return nil
	}
	if err != nil {
		return err
	}
	chain, err := readChain(out+".pem", data)
	if err != nil {
		return usage("%s.pem exists and is no certificate of %s (%v); %s", out, id, err, hint)
	}
	if uris := chain[0].URIs; chain[0].IsCA || len(uris) != 1 || uris[0].String() != id.String() {
		return usage("%s.pem exists and is a certificate of %s; %s", out, ownerOf(chain[0]), hint)
	}
	return nil
}

// ownerOf says in a few words whose certificate c is.
func ownerOf(c *x509.Certificate) string {
	if len(c.URIs) == 1 && !c.IsCA {
		return c.URIs[0].String()
	}
	if c.Subject.String() == "" {
		return "somebody else"
	}
	return c.Subject.String()
}

// loadPKI reads a CA that init or ca wrote to dir.
func loadPKI(dir, name string) (*devpki.CA, error) {
	certPEM, err := os.ReadFile(filepath.Join(dir, name+".pem"))
	if err != nil {
		if name == pkiRoot || name == pkiIssuing {
			return nil, fmt.Errorf("%s has no development CA: %w; make one with `gateway pki init --dir %s`", dir, err, dir)
		}
		return nil, fmt.Errorf("%s has no CA %s: %w; make it with `gateway pki ca --dir %s %s`", dir, name, err, dir, name)
	}
	keyPEM, err := os.ReadFile(filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, fmt.Errorf("the key of the development CA: %w", err)
	}
	ca, err := devpki.LoadCA(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	if !ca.Certificate.IsCA {
		return nil, usage("%s is not the certificate of a CA, but of %s", filepath.Join(dir, name+".pem"), ownerOf(ca.Certificate))
	}
	return ca, nil
}

// writeCredential writes a chain and its key. The key's file is readable by its
// owner only (KEY-01) and neither file is ever seen half written.
func writeCredential(certFile, keyFile string, leaf *devpki.Leaf) error {
	keyPEM, err := devpki.KeyPEM(leaf.Key)
	if err != nil {
		return err
	}
	if err := writeFile(keyFile, keyPEM, 0o600); err != nil {
		return err
	}
	return writeFile(certFile, devpki.CertificatesPEM(leaf.Chain...), 0o644)
}

func writeFile(name string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has been renamed, as it should
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// readChain reads the certificates of a PEM file, in their order.
func readChain(name string, data []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue // a key beside the certificate is none of our business
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", name, len(chain)+1, err)
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s: there is no certificate in PEM; expected -----BEGIN CERTIFICATE-----, leaf first", name)
	}
	return chain, nil
}
