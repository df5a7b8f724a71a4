package devpki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// CRLOptions describes a certificate revocation list. The zero value gives one that
// revokes nothing.
type CRLOptions struct {
	// Revoked are serial numbers; they are revoked as of ThisUpdate.
	Revoked    []*big.Int
	ThisUpdate time.Time // five minutes ago by default
	NextUpdate time.Time // ThisUpdate + DefaultLifetime by default
	// Number is ThisUpdate in seconds by default, so that a later list has a higher
	// one.
	Number *big.Int
	// Edit, if set, changes the template last of all.
	Edit func(*x509.RevocationList)
}

// MakeCRL makes a revocation list, in DER, of what ca has issued.
func (ca *CA) MakeCRL(o CRLOptions) ([]byte, error) {
	if o.ThisUpdate.IsZero() {
		o.ThisUpdate = time.Now().Add(-Backdate)
	}
	if o.NextUpdate.IsZero() {
		o.NextUpdate = o.ThisUpdate.Add(DefaultLifetime)
	}
	if o.Number == nil {
		o.Number = big.NewInt(o.ThisUpdate.Unix())
	}
	template := &x509.RevocationList{Number: o.Number, ThisUpdate: o.ThisUpdate, NextUpdate: o.NextUpdate}
	for _, serial := range o.Revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: o.ThisUpdate})
	}
	if o.Edit != nil {
		o.Edit(template)
	}
	der, err := createCRL(template, ca)
	if err != nil {
		return nil, fmt.Errorf("devpki: sign a CRL of %q: %w", ca.Certificate.Subject.CommonName, err)
	}
	return der, nil
}

// createCRL is x509.CreateRevocationList for keys of all kinds.
func createCRL(template *x509.RevocationList, ca *CA) ([]byte, error) {
	if _, foreign := ca.Key.(*circlKey); !foreign {
		return x509.CreateRevocationList(rand.Reader, template, ca.Certificate, ca.Key)
	}
	var standIn crypto.Signer
	standIn, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, ca.Certificate, standIn)
	if err != nil {
		return nil, err
	}
	return signAgain(der, nil, tbsCertListAlgorithm, ca.Key)
}

// CRLPEM encodes a revocation list.
func CRLPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}
