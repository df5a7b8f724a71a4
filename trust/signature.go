package trust

import "crypto"

// SignatureAlgorithm is how a certificate or a CRL is signed. The zero
// SignatureAlgorithm is none that is accepted.
type SignatureAlgorithm uint8

// The algorithms that are accepted. Which keys may use them is for package
// certpath to say.
const (
	RSAWithSHA256 SignatureAlgorithm = 1 + iota // PKCS #1 v1.5 (RFC 4055)
	RSAWithSHA384
	RSAWithSHA512
	RSAPSSWithSHA256 // the salt as long as the digest, MGF1 with the same hash
	RSAPSSWithSHA384
	RSAPSSWithSHA512
	ECDSAWithSHA256 // RFC 5758
	ECDSAWithSHA384
	ECDSAWithSHA512
	Ed25519 // RFC 8410
	Ed448
	MLDSA44 // RFC 9881: pure mode, empty context
	MLDSA65
	MLDSA87
)

// signatureAlgorithms has the octets of every AlgorithmIdentifier that is accepted.
// Comparing them whole settles what the parameters may be: absent, but for RSA
// (ALG-01, ALG-02).
var signatureAlgorithms = func() map[string]SignatureAlgorithm {
	const (
		rsa    = "\x2a\x86\x48\x86\xf7\x0d\x01\x01" // 1.2.840.113549.1.1
		ecdsa  = "\x2a\x86\x48\xce\x3d\x04\x03"     // 1.2.840.10045.4.3
		edward = "\x2b\x65"                         // 1.3.101
		nist   = "\x60\x86\x48\x01\x65\x03\x04"     // 2.16.840.1.101.3.4
		null   = "\x05\x00"
	)
	element := func(tag byte, content string) string { return string([]byte{tag, byte(len(content))}) + content }
	identifier := func(oid, parameters string) string { return element(0x30, element(0x06, oid)+parameters) }
	known := map[string]SignatureAlgorithm{
		identifier(edward+"\x70", ""):   Ed25519,
		identifier(edward+"\x71", ""):   Ed448,
		identifier(nist+"\x03\x11", ""): MLDSA44,
		identifier(nist+"\x03\x12", ""): MLDSA65,
		identifier(nist+"\x03\x13", ""): MLDSA87,
	}
	for i := range 3 { // SHA-256, SHA-384, SHA-512
		hash, salt := nist+"\x02"+string(rune(1+i)), string(rune(32+16*i))
		known[identifier(ecdsa+string(rune(2+i)), "")] = ECDSAWithSHA256 + SignatureAlgorithm(i)
		// RFC 4055 §5 demands NULL and has readers take nothing for it as well, for
		// PKCS #1 v1.5 and for hashes (§2.1).
		for _, parameters := range []string{null, ""} {
			known[identifier(rsa+string(rune(11+i)), parameters)] = RSAWithSHA256 + SignatureAlgorithm(i)
			for _, mask := range []string{null, ""} {
				known[identifier(rsa+"\x0a", element(0x30,
					element(0xa0, identifier(hash, parameters))+
						element(0xa1, identifier(rsa+"\x08", identifier(hash, mask)))+
						element(0xa2, element(0x02, salt))))] = RSAPSSWithSHA256 + SignatureAlgorithm(i)
			}
		}
	}
	return known
}()

// ParseSignatureAlgorithm returns the algorithm that der, an AlgorithmIdentifier
// and nothing else, stands for, and 0 if it is not accepted. It does not allocate.
func ParseSignatureAlgorithm(der []byte) SignatureAlgorithm {
	return signatureAlgorithms[string(der)]
}

// Hash returns the hash function whose digest is signed, and 0 if the octets
// themselves are.
func (a SignatureAlgorithm) Hash() crypto.Hash {
	switch a {
	case RSAWithSHA256, RSAPSSWithSHA256, ECDSAWithSHA256:
		return crypto.SHA256
	case RSAWithSHA384, RSAPSSWithSHA384, ECDSAWithSHA384:
		return crypto.SHA384
	case RSAWithSHA512, RSAPSSWithSHA512, ECDSAWithSHA512:
		return crypto.SHA512
	case Ed25519, Ed448, MLDSA44, MLDSA65, MLDSA87:
		return 0
	}
	return 0
}
