package certpath

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"strconv"
)

// Floors and ceilings on keys (PKIX-11, ALG-05).
const (
	minRSABits = 2048
	// maxRSABits is half of what crypto/tls admits. Verifying costs the square of
	// the length: with 8192 bits it is 1.1 ms, ten times what P-256 takes, and eight
	// of them would be most of what a hostile chain may cost (PKIX-12).
	maxRSABits = 4096
	// dearRSABits is the largest modulus whose signatures cost about what those of
	// P-256 do.
	dearRSABits = 3072
	// maxRSAExponent is F4, what every issuer uses. The exponent multiplies the
	// cost: 2^31-1 makes a signature 3.5 times as dear.
	maxRSAExponent = 65537
)

// checkKey judges the public key of c.
func checkKey(c *x509.Certificate, depth int) *Error {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		switch {
		case bits < minRSABits || bits%8 != 0:
			return &Error{Reason: ReasonWeakKey, Depth: depth, Found: strconv.Itoa(bits) + "-bit RSA in " + subjectOf(c), Want: "RSA of at least 2048 bits, in whole octets"}
		case bits > maxRSABits:
			return &Error{Reason: ReasonUnsupportedAlgorithm, Depth: depth, Found: strconv.Itoa(bits) + "-bit RSA in " + subjectOf(c), Want: "RSA of at most " + strconv.Itoa(maxRSABits) + " bits"}
		case key.E > maxRSAExponent:
			return &Error{Reason: ReasonUnsupportedAlgorithm, Depth: depth, Found: fmt.Sprintf("RSA with public exponent %d in %s", key.E, subjectOf(c)), Want: "an exponent of at most 65537"}
		}
		return nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384():
			return nil
		case elliptic.P224():
			return &Error{Reason: ReasonWeakKey, Depth: depth, Found: "ECDSA on P-224 in " + subjectOf(c), Want: "P-256 or P-384"}
		}
		// P-521 costs 30 times as much to verify as P-256 and no profile for
		// workloads asks for it.
		return &Error{Reason: ReasonUnsupportedAlgorithm, Depth: depth, Found: "ECDSA on " + key.Curve.Params().Name + " in " + subjectOf(c), Want: "P-256 or P-384"}
	case ed25519.PublicKey:
		return nil
	}
	return &Error{
		Reason: ReasonUnsupportedAlgorithm,
		Depth:  depth,
		Found:  keyAlgorithmOf(c) + " key in " + subjectOf(c),
		Want:   "an RSA, ECDSA or Ed25519 key",
	}
}

// isDear reports whether a signature by the key of c costs several times what
// one by P-256 does.
func isDear(c *x509.Certificate) bool {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() > dearRSABits
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P384()
	}
	return false
}

// checkSignatureAlgorithm judges how c was signed, before anything is spent on
// verifying it.
func checkSignatureAlgorithm(c *x509.Certificate, depth int) *Error {
	switch c.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
		x509.PureEd25519:
		return nil
	}
	return &Error{
		Reason: ReasonUnsupportedAlgorithm,
		Depth:  depth,
		Found:  signatureAlgorithmOf(c) + " signature on " + subjectOf(c),
		Want:   "a signature by RSA, ECDSA or Ed25519 with SHA-256 or better",
	}
}

// verifySignature checks that the key of parent made the signature of child. It
// is the one place that knows how a signature is verified: an algorithm that
// crypto/x509 lacks is added here and to the two checks above.
func verifySignature(child, parent *x509.Certificate) error {
	// CheckSignature rather than CheckSignatureFrom: the latter also judges
	// parent's extensions, and that has its own reasons here. It would let SHA-1
	// pass, which checkSignatureAlgorithm has refused.
	return parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature)
}

// signatureAlgorithmOf names the signature algorithm of c, also when crypto/x509
// does not know it.
func signatureAlgorithmOf(c *x509.Certificate) string {
	if c.SignatureAlgorithm != x509.UnknownSignatureAlgorithm {
		return c.SignatureAlgorithm.String()
	}
	// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
	_, body, _, ok := element(c.Raw)
	if !ok {
		return "an unknown"
	}
	_, _, rest, ok := element(body)
	if !ok {
		return "an unknown"
	}
	return algorithmName(rest)
}

// keyAlgorithmOf names the algorithm of c's public key, also when crypto/x509
// does not know it.
func keyAlgorithmOf(c *x509.Certificate) string {
	if c.PublicKeyAlgorithm != x509.UnknownPublicKeyAlgorithm {
		return c.PublicKeyAlgorithm.String()
	}
	// SubjectPublicKeyInfo ::= SEQUENCE { algorithm, subjectPublicKey }
	_, body, _, ok := element(c.RawSubjectPublicKeyInfo)
	if !ok {
		return "an unknown"
	}
	return algorithmName(body)
}

// knownAlgorithms are those that may well turn up but are not accepted, by the
// DER of their object identifiers.
var knownAlgorithms = []struct {
	oid  []byte
	name string
}{
	{[]byte{0x2b, 0x65, 0x71}, "Ed448"},
	{[]byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11}, "ML-DSA-44"},
	{[]byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12}, "ML-DSA-65"},
	{[]byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x13}, "ML-DSA-87"},
}

// algorithmName names the AlgorithmIdentifier that der begins with.
func algorithmName(der []byte) string {
	_, identifier, _, ok := element(der)
	if !ok {
		return "an unknown"
	}
	tag, oid, _, ok := element(identifier)
	if !ok || tag != tagOID {
		return "an unknown"
	}
	for _, known := range knownAlgorithms {
		if bytes.Equal(oid, known.oid) {
			return known.name
		}
	}
	var dotted asn1.ObjectIdentifier
	if len(oid) > maxQuotedBytes {
		return "an unknown"
	}
	if _, err := asn1.Unmarshal(identifier[:len(oid)+2], &dotted); err != nil {
		return "an unknown"
	}
	return dotted.String()
}
