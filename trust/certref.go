package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"math/big"
)

// CertRef identifies a certificate by what its holder cannot change. It is never
// a hash of the DER: the holder of an ECDSA-signed certificate can turn its
// signature (r, s) into (r, n-s), which verifies as well and gives the same
// certificate another fingerprint.
type CertRef struct {
	SPKI       Digest   // of the SubjectPublicKeyInfo
	IssuerSPKI Digest   // of the certificate that signed it; zero for an anchor
	Serial     [20]byte // big-endian, left-padded
}

// RefOf describes cert as issued by issuer, which is nil for an anchor.
func RefOf(cert, issuer *x509.Certificate) CertRef {
	ref := CertRef{
		SPKI:   sha256.Sum256(cert.RawSubjectPublicKeyInfo),
		Serial: SerialOf(cert.SerialNumber),
	}
	if issuer != nil {
		ref.IssuerSPKI = sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	}
	return ref
}

// SerialOf returns a serial number in the form that [CertRef] has. RFC 5280
// §4.1.2.2 allows 20 octets; a longer one is replaced by the beginning of its
// hash, so that no two are taken for one another.
func SerialOf(n *big.Int) (serial [20]byte) {
	if n == nil {
		return serial
	}
	if n.BitLen() > 8*len(serial) {
		sum := sha256.Sum256(n.Bytes())
		copy(serial[:], sum[:])
		return serial
	}
	n.FillBytes(serial[:])
	return serial
}

// IssuerSerial names one certificate of one issuing key.
type IssuerSerial struct {
	IssuerSPKI Digest
	Serial     [20]byte
}

// String returns the SPKI digest of the issuer and the serial number, both in
// hexadecimal, with a slash between them and no leading zero octets in the
// serial number.
func (s IssuerSerial) String() string {
	serial := s.Serial[:]
	for len(serial) > 1 && serial[0] == 0 {
		serial = serial[1:]
	}
	return s.IssuerSPKI.String() + "/" + hex.EncodeToString(serial)
}
