package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"verigate/devpki"
)

func newPKICRLCommand() *cobra.Command {
	var dir, name string
	var lifetime time.Duration
	c := &cobra.Command{
		Use:   "crl [SERIAL | FILE]...",
		Short: "Revoke certificates, or renew the revocation list of a CA",
		Long: `crl writes NAME.crl, the revocation list of a CA, in PEM: what "crl: {files: […]}" wants. It
lists what it listed before, and what is named: serial numbers in hexadecimal digits, with
or without colons, or files of certificates. Without any it is renewed as it is. Like a
certificate of "pki issue" it begins five minutes ago, and --lifetime counts from then.

  gateway pki crl --dir prod prod/checkout.pem
  gateway pki crl --dir prod --ca root`,
		RunE: func(c *cobra.Command, args []string) error {
			ca, err := loadPKI(dir, name)
			if err != nil {
				return err
			}
			if lifetime <= 0 {
				return usage("--lifetime %v is over before it begins", lifetime)
			}
			file := filepath.Join(dir, name+".crl")
			o, err := renewedCRL(file, ca)
			if err != nil {
				return err
			}
			from := o.ThisUpdate
			o.NextUpdate = from.Add(lifetime)
			var revoked []*big.Int
			for _, arg := range args {
				serial, err := serialOf(arg, ca)
				if err != nil {
					return err
				}
				revoked = append(revoked, serial)
			}
			before := o.Edit
			total := 0
			o.Edit = func(l *x509.RevocationList) {
				before(l)
				for _, serial := range revoked {
					known := slices.ContainsFunc(l.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(serial) == 0 })
					if !known {
						l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: from})
					}
				}
				total = len(l.RevokedCertificateEntries)
			}
			der, err := ca.MakeCRL(o)
			if err != nil {
				return err
			}
			if err := writeFile(file, devpki.CRLPEM(der), 0o644); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "Wrote %s, the revocation list of %s: %d revoked, current until %s.\n",
				file, ca.Certificate.Subject, total, o.NextUpdate.UTC().Format(time.RFC3339))
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "pki", "folder of the CA")
	c.Flags().StringVar(&name, "ca", pkiIssuing, "CA of the folder whose list it is")
	c.Flags().DurationVar(&lifetime, "lifetime", devpki.DefaultLifetime, "how long the list is current")
	return c
}

// renewedCRL describes the list that replaces the one in file, if there is one: it
// has its entries and a higher number.
func renewedCRL(file string, ca *devpki.CA) (devpki.CRLOptions, error) {
	o := devpki.CRLOptions{ThisUpdate: time.Now().Add(-devpki.Backdate)}
	o.Number = big.NewInt(o.ThisUpdate.Unix())
	o.Edit = func(*x509.RevocationList) {}
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return o, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return o, usage("%s exists and is no revocation list in PEM; remove it to begin a new one", file)
	}
	old, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		return o, usage("%s exists and is no revocation list: %v; remove it to begin a new one", file, err)
	}
	if !bytes.Equal(old.RawIssuer, ca.Certificate.RawSubject) {
		return o, usage("%s exists and is the revocation list of %s; remove it to begin a new one", file, old.Issuer)
	}
	if old.Number != nil && old.Number.Cmp(o.Number) >= 0 {
		o.Number = new(big.Int).Add(old.Number, big.NewInt(1))
	}
	o.Edit = func(l *x509.RevocationList) { l.RevokedCertificateEntries = old.RevokedCertificateEntries }
	return o, nil
}

// serialOf returns the serial number that arg is, or that the certificate in the
// file of that name has, which ca must have issued.
func serialOf(arg string, ca *devpki.CA) (*big.Int, error) {
	data, err := os.ReadFile(arg)
	if err == nil {
		chain, err := readChain(arg, data)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(chain[0].RawIssuer, ca.Certificate.RawSubject) {
			return nil, usage("%s was issued by %s, not by %s; choose the CA with --ca", arg, chain[0].Issuer, ca.Certificate.Subject)
		}
		if err := chain[0].CheckSignatureFrom(ca.Certificate); err != nil && ca.Certificate.PublicKeyAlgorithm != x509.UnknownPublicKeyAlgorithm {
			return nil, usage("%s was not issued by this CA, but by another of the same name: %v", arg, err)
		}
		return chain[0].SerialNumber, nil
	}
	serial, ok := new(big.Int).SetString(strings.ReplaceAll(arg, ":", ""), 16)
	if !ok || serial.Sign() <= 0 || serial.BitLen() > 160 {
		return nil, usage("%q is neither a file with a certificate nor a serial number in hexadecimal digits", arg)
	}
	return serial, nil
}
