package certpath

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for verifyOctets
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strconv"

	"verigate/trust"
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

// checkKey judges the public key of c: its kind, its size, and whether the origin
// uses such keys (PKIX-11, ALG-05).
func checkKey(c *x509.Certificate, depth int, allowed algorithmSet) *Error {
	algorithm, fault := judgeKey(c)
	if fault != nil {
		fault.Depth = depth
		return fault
	}
	if allowed.has(algorithm) {
		return nil
	}
	return &Error{Reason: ReasonAlgorithmNotAllowed, Depth: depth, Found: "a key of " + algorithm.String() + " in " + subjectOf(c), Want: allowed.String()}
}

func judgeKey(c *x509.Certificate) (algorithm, *Error) {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		switch {
		case bits < minRSABits || bits%8 != 0:
			return 0, &Error{Reason: ReasonWeakKey, Found: strconv.Itoa(bits) + "-bit RSA in " + subjectOf(c), Want: "RSA of at least 2048 bits, in whole octets"}
		case bits > maxRSABits:
			return 0, &Error{Reason: ReasonUnsupportedAlgorithm, Found: strconv.Itoa(bits) + "-bit RSA in " + subjectOf(c), Want: "RSA of at most " + strconv.Itoa(maxRSABits) + " bits"}
		case key.E > maxRSAExponent:
			return 0, &Error{Reason: ReasonUnsupportedAlgorithm, Found: fmt.Sprintf("RSA with public exponent %d in %s", key.E, subjectOf(c)), Want: "an exponent of at most 65537"}
		}
		return algorithmRSA, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return algorithmP256, nil
		case elliptic.P384():
			return algorithmP384, nil
		case elliptic.P224():
			return 0, &Error{Reason: ReasonWeakKey, Found: "ECDSA on P-224 in " + subjectOf(c), Want: "P-256 or P-384"}
		}
		// P-521 costs 30 times as much to verify as P-256 and no profile for
		// workloads asks for it.
		return 0, &Error{Reason: ReasonUnsupportedAlgorithm, Found: "ECDSA on " + key.Curve.Params().Name + " in " + subjectOf(c), Want: "P-256 or P-384"}
	case ed25519.PublicKey:
		return algorithmEd25519, nil
	}
	switch s, key := schemeOf(c); {
	case s == nil:
		return 0, &Error{Reason: ReasonUnsupportedAlgorithm, Found: keyAlgorithmOf(c) + " key in " + subjectOf(c), Want: "an RSA, ECDSA or Ed25519 key; in a CA, also Ed448 or ML-DSA"}
	case key == nil:
		return 0, &Error{Reason: ReasonMalformed, Found: "an " + s.Name() + " key in " + subjectOf(c), Want: fmt.Sprintf("%d octets, and no parameters", s.PublicKeySize())}
	default:
		return s.key, nil
	}
}

// checkLeafKey refuses keys that only CAs may have: the peer could not prove that
// it holds one, because crypto/tls does not know them (ALG-03).
func checkLeafKey(leaf *x509.Certificate) *Error {
	s, _ := schemeOf(leaf)
	if s == nil {
		return nil
	}
	return &Error{
		Reason: ReasonUnsupportedAlgorithm,
		Found:  "an " + s.Name() + " key in a leaf",
		Want:   "an RSA, ECDSA or Ed25519 key",
		Hint:   "the TLS handshake cannot prove such a key yet; give the workload an ECDSA P-256 key, which a CA with an " + s.Name() + " key may certify",
	}
}

// checkSignerUsage judges the key usage of a CA whose key can do nothing but sign:
// if it is there, it says so, and nothing else (ALG-01, ALG-02). That it has
// keyCertSign is judged of every CA. Leaves are let off: X509-SVID §4.3 allows them
// the bits for encipherment and agreement whatever their key.
func checkSignerUsage(c *x509.Certificate, depth int) *Error {
	const foreign = x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageKeyAgreement |
		x509.KeyUsageEncipherOnly | x509.KeyUsageDecipherOnly
	if c.KeyUsage&foreign == 0 {
		return nil
	}
	kind, fault := judgeKey(c)
	if fault != nil || kind < algorithmEd25519 {
		return fault
	}
	return &Error{
		Reason: ReasonUnsupportedAlgorithm,
		Depth:  depth,
		Found:  "a key usage for encipherment or key agreement beside a key of " + kind.String() + " in " + subjectOf(c),
		Want:   "usages that are signatures (RFC 9881 §5, RFC 9295)",
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
	case ed25519.PublicKey:
		return false
	}
	// Ed448 and ML-DSA-87 take 190 µs with a key that is new, and what they sign is
	// hashed with SHAKE256, which takes as long again for 60 KiB.
	return true
}

// checkSignatureAlgorithm judges how c was signed, before anything is spent on
// verifying it.
func checkSignatureAlgorithm(c *x509.Certificate, depth int, allowed algorithmSet) *Error {
	var by algorithmSet // kinds of keys that sign so
	switch c.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS:
		by = setOf(algorithmRSA)
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		by = setOf(algorithmP256) | setOf(algorithmP384)
	case x509.PureEd25519:
		by = setOf(algorithmEd25519)
	default:
		signed, _ := circlSignature(c)
		if s := schemeBy(signed); s != nil {
			by = setOf(s.key)
		}
	}
	switch {
	case by == 0:
		return &Error{
			Reason: ReasonUnsupportedAlgorithm,
			Depth:  depth,
			Found:  signatureAlgorithmOf(c) + " signature on " + subjectOf(c),
			Want:   "a signature by RSA, ECDSA or Ed25519 with SHA-256 or better, by Ed448, or by ML-DSA without parameters",
		}
	case allowed != 0 && allowed&by == 0:
		return &Error{
			Reason: ReasonAlgorithmNotAllowed,
			Depth:  depth,
			Found:  signatureAlgorithmOf(c) + " signature on " + subjectOf(c),
			Want:   "one by " + allowed.String(),
		}
	}
	return nil
}

// verifySignature checks that the key of parent made the signature of child.
func (b *builder) verifySignature(child, parent *x509.Certificate) error {
	s, octets := schemeOf(parent)
	if s == nil {
		// CheckSignature rather than CheckSignatureFrom: the latter also judges
		// parent's extensions, and that has its own reasons here. It would let SHA-1
		// pass, which checkSignatureAlgorithm has refused.
		return parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature)
	}
	algorithm, signature := circlSignature(child)
	if s.algorithm != algorithm || octets == nil {
		return errOtherKind
	}
	if len(signature) != s.SignatureSize() {
		return errSignature // without expanding a key for it
	}
	key, err := b.expandOnce(parent, s, octets)
	if err != nil {
		return err
	}
	return key.verify(child.RawTBSCertificate, signature)
}

// What is said of signatures that crypto/x509 does not check.
var (
	errOtherKind = errors.New("the key is not of the kind that signs so")
	errSignature = errors.New("the signature does not verify")
)

// verifyOctets checks that the key of parent made signature over signed. It is for
// what is not a certificate, and keeps no key. parent is to be judged by the caller.
func verifyOctets(parent *x509.Certificate, algorithm trust.SignatureAlgorithm, signed, signature []byte) error {
	if hash := algorithm.Hash(); hash != 0 {
		h := hash.New()
		h.Write(signed)
		return verifyDigest(parent, algorithm, h.Sum(nil), signature)
	}
	if algorithm == trust.Ed25519 {
		key, ok := parent.PublicKey.(ed25519.PublicKey)
		if !ok {
			return errOtherKind
		}
		if !ed25519.Verify(key, signed, signature) {
			return errSignature
		}
		return nil
	}
	s, octets := schemeOf(parent)
	if s == nil || s.algorithm != algorithm || octets == nil {
		return errOtherKind
	}
	spki := sha256.Sum256(parent.RawSubjectPublicKeyInfo)
	key := knownKeys.get(spki)
	if key == nil {
		var err error
		if key, err = expand(s, octets, spki); err != nil {
			return err
		}
	}
	return key.verify(signed, signature)
}

// verifyDigest checks that the key of parent made signature over what has digest
// under the hash of algorithm, which must have one.
func verifyDigest(parent *x509.Certificate, algorithm trust.SignatureAlgorithm, digest, signature []byte) error {
	hash := algorithm.Hash()
	switch algorithm {
	case trust.RSAWithSHA256, trust.RSAWithSHA384, trust.RSAWithSHA512:
		if key, ok := parent.PublicKey.(*rsa.PublicKey); ok {
			return rsa.VerifyPKCS1v15(key, hash, digest, signature)
		}
	case trust.RSAPSSWithSHA256, trust.RSAPSSWithSHA384, trust.RSAPSSWithSHA512:
		if key, ok := parent.PublicKey.(*rsa.PublicKey); ok {
			return rsa.VerifyPSS(key, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
	case trust.ECDSAWithSHA256, trust.ECDSAWithSHA384, trust.ECDSAWithSHA512:
		if key, ok := parent.PublicKey.(*ecdsa.PublicKey); ok {
			if !ecdsa.VerifyASN1(key, digest, signature) {
				return errSignature
			}
			return nil
		}
	case trust.Ed25519, trust.Ed448, trust.MLDSA44, trust.MLDSA65, trust.MLDSA87:
		// They sign octets.
	}
	return errOtherKind
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
	for i := range schemes {
		if bytes.Equal(oid, schemes[i].oid()) {
			return schemes[i].Name()
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
