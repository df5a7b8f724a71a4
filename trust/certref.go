package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"strings"
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
	serial := strings.TrimLeft(hex.EncodeToString(s.Serial[:]), "0")
	if len(serial)%2 == 1 || serial == "" {
		serial = "0" + serial
	}
	return s.IssuerSPKI.String() + "/" + serial
}

// ParseIssuerSerial returns what s spells in the form of [IssuerSerial.String].
// Either half may have openssl's colons, and the serial number may have leading
// zeros or lack them.
func ParseIssuerSerial(s string) (IssuerSerial, bool) {
	issuer, digits, ok := strings.Cut(s, "/")
	if !ok {
		return IssuerSerial{}, false
	}
	spki, ok := ParseDigest(issuer)
	if !ok {
		return IssuerSerial{}, false
	}
	digits = strings.ReplaceAll(digits, ":", "")
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	octets, err := hex.DecodeString(digits)
	is := IssuerSerial{IssuerSPKI: spki}
	if err != nil || len(octets) == 0 || len(octets) > len(is.Serial) {
		return IssuerSerial{}, false
	}
	copy(is.Serial[len(is.Serial)-len(octets):], octets)
	return is, true
}
