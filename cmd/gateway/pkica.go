package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"verigate/devpki"
)

func newPKICACommand() *cobra.Command {
	var dir, above, key string
	var lifetime time.Duration
	c := &cobra.Command{
		Use:   "ca NAME",
		Short: "Make another CA below one that there is",
		Long: `ca makes a CA below the root, or below another CA of the folder, and writes NAME.pem and
NAME.key. "gateway pki issue --ca NAME" issues from it.

  gateway pki ca --dir prod --key ml-dsa-65 regional
  gateway pki ca --dir prod --above regional eu-west

A CA that issues to workloads should have a classical key (p256, p384, ed25519, rsa2048):
clients with OpenSSL do not send a leaf that Ed448 or ML-DSA has signed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := args[0]
			if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
				return usage("%q cannot be the name of a file", name)
			}
			out := filepath.Join(dir, name)
			for _, suffix := range []string{".pem", ".key"} {
				if _, err := os.Lstat(out + suffix); err == nil {
					return usage("%s exists; choose another name, or remove it", out+suffix)
				}
			}
			parent, err := loadPKI(dir, above)
			if err != nil {
				return err
			}
			o := devpki.CAOptions{Name: name, Key: devpki.KeyType(key), NotAfter: time.Now().Add(lifetime)}
			if domain, ok := pkiDomain(parent); ok {
				o.Name = domain + pkiNameInfix + "CA " + name
			}
			if o.NotAfter.After(parent.Certificate.NotAfter) {
				o.NotAfter = parent.Certificate.NotAfter // the path would end with it anyway
			}
			ca, err := parent.NewIntermediate(o)
			if err != nil {
				return err
			}
			if err := writeCredential(out+".pem", out+".key", &devpki.Leaf{Chain: ca.Chain, Key: ca.Key}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "Wrote %s.pem and %s.key, a CA below %s, valid until %s.\n",
				out, out, parent.Certificate.Subject, ca.Certificate.NotAfter.UTC().Format(time.RFC3339))
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "pki", "folder of the CA")
	c.Flags().StringVar(&above, "above", pkiRoot, "CA of the folder that signs the new one")
	c.Flags().StringVar(&key, "key", string(devpki.P256), "kind of key: "+caKeyList)
	complete(c, "key", caKeyTypes)
	c.Flags().DurationVar(&lifetime, "lifetime", 7*devpki.DefaultLifetime, "how long the CA lives, at most as long as the one above it")
	return c
}

// caKeyList is how flags for the keys of CAs describe their values.
const caKeyList = "p256, p384, rsa2048, ed25519, ed448, ml-dsa-44, ml-dsa-65 or ml-dsa-87"

// caKeyTypes are the values of flags for the keys of CAs.
func caKeyTypes() []string {
	return append(keyTypes(), string(devpki.Ed448), string(devpki.MLDSA44), string(devpki.MLDSA65), string(devpki.MLDSA87))
}

// pkiDomain returns the trust domain that the name of ca has, if it has one.
func pkiDomain(ca *devpki.CA) (domain string, ok bool) {
	domain, _, ok = strings.Cut(ca.Certificate.Subject.CommonName, pkiNameInfix)
	return domain, ok
}
