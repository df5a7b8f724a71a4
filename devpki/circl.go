package devpki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

// scheme is a kind of key that crypto/x509 cannot use.
type scheme struct {
	sign.Scheme
	oid asn1.ObjectIdentifier // of keys and of signatures, without parameters
	// seedTag is what the seed has in PKCS #8: [0] of ML-DSA-PrivateKey (RFC 9881
	// §6), OCTET STRING of CurvePrivateKey (RFC 8410 §7).
	seedTag byte
}

var schemes = map[KeyType]scheme{
	Ed448:   {ed448.Scheme(), asn1.ObjectIdentifier{1, 3, 101, 113}, 0x04},
	MLDSA44: {mldsa44.Scheme(), asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}, 0x80},
	MLDSA65: {mldsa65.Scheme(), asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}, 0x80},
	MLDSA87: {mldsa87.Scheme(), asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 19}, 0x80},
}

// circlKey is a key pair of a scheme. Its public half is a sign.PublicKey.
type circlKey struct {
	scheme scheme
	seed   []byte
	sign.PrivateKey
}

func (s scheme) newKey() (*circlKey, error) {
	seed := make([]byte, s.SeedSize())
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	return s.keyOf(seed), nil
}

func (s scheme) keyOf(seed []byte) *circlKey {
	_, private := s.DeriveKey(seed)
	return &circlKey{s, seed, private}
}

func (s scheme) identifier() pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: s.oid}
}

// subjectPublicKeyInfo returns the encoding of k's public half.
func (k *circlKey) subjectPublicKeyInfo() ([]byte, error) {
	octets, err := k.octets()
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}{k.scheme.identifier(), asn1.BitString{Bytes: octets, BitLength: 8 * len(octets)}})
}

func (k *circlKey) octets() ([]byte, error) {
	public, ok := k.Public().(sign.PublicKey)
	if !ok {
		return nil, fmt.Errorf("devpki: %s has a public key of type %T", k.scheme.Name(), k.Public())
	}
	return public.MarshalBinary()
}

// signed reports whether k signed c.
func (k *circlKey) signed(c *x509.Certificate) bool {
	public, ok := k.Public().(sign.PublicKey)
	return ok && k.scheme.Verify(public, c.RawTBSCertificate, c.Signature, nil)
}

// privateKeyInfo is PKCS #8 without attributes (RFC 5958).
type privateKeyInfo struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	PrivateKey []byte
}

// pkcs8 returns the encoding of k by its seed.
func (k *circlKey) pkcs8() ([]byte, error) {
	return asn1.Marshal(privateKeyInfo{
		Algorithm:  k.scheme.identifier(),
		PrivateKey: append([]byte{k.scheme.seedTag, byte(len(k.seed))}, k.seed...),
	})
}

// parsePKCS8 reads a key of any kind. Of ML-DSA it takes the seed form alone.
func parsePKCS8(der []byte) (crypto.Signer, error) {
	var info privateKeyInfo
	if rest, err := asn1.Unmarshal(der, &info); err == nil && len(rest) == 0 {
		for _, s := range schemes {
			if !info.Algorithm.Algorithm.Equal(s.oid) {
				continue
			}
			seed, ok := bytes.CutPrefix(info.PrivateKey, []byte{s.seedTag, byte(s.SeedSize())})
			if !ok || len(seed) != s.SeedSize() {
				return nil, fmt.Errorf("devpki: a private key of %s that is not its seed", s.Name())
			}
			return s.keyOf(seed), nil
		}
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("devpki: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("devpki: a %T cannot sign", key)
	}
	return signer, nil
}

// createCertificate is x509.CreateCertificate for keys of all kinds.
func createCertificate(template, parent *x509.Certificate, key, signer crypto.Signer) ([]byte, error) {
	subject, subjectIsForeign := key.(*circlKey)
	_, signerIsForeign := signer.(*circlKey)
	if !subjectIsForeign && !signerIsForeign {
		return x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	}
	// crypto/x509 makes the certificate with another key in the place of each that it
	// cannot use; then the real ones are put in and it is signed again.
	standIn, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	parts := map[int]asn1.RawValue{}
	public := key.Public()
	if subjectIsForeign {
		public = standIn.Public()
		spki, err := subject.subjectPublicKeyInfo()
		if err != nil {
			return nil, err
		}
		parts[tbsSubjectPublicKeyInfo] = asn1.RawValue{FullBytes: spki}
		if template.IsCA && template.SubjectKeyId == nil {
			if template.SubjectKeyId, err = subject.keyID(); err != nil {
				return nil, err
			}
		}
	}
	standInSigner := signer
	if signerIsForeign {
		standInSigner = standIn
		issuer := *parent
		issuer.PublicKey = nil // which is not the stand-in's
		parent = &issuer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, standInSigner)
	if err != nil {
		return nil, err
	}
	return signAgain(der, parts, tbsCertificateAlgorithm, signer)
}

// keyID is method 1 of RFC 7093, as crypto/x509 has it.
func (k *circlKey) keyID() ([]byte, error) {
	octets, err := k.octets()
	sum := sha256.Sum256(octets)
	return sum[:20], err
}

// Where parts of what is signed are, in certificates of version 3 and in CRLs of
// version 2.
const (
	tbsCertificateAlgorithm = 2
	tbsSubjectPublicKeyInfo = 6
	tbsCertListAlgorithm    = 1
)

// signAgain puts parts into der, a certificate or a CRL, by their place in what is
// signed, and has signer sign the result. algorithm is the place of the signature's
// algorithm, which stays as it is if signer is of a kind that crypto/x509 can use.
func signAgain(der []byte, parts map[int]asn1.RawValue, algorithm int, signer crypto.Signer) ([]byte, error) {
	var whole, signed []asn1.RawValue // SEQUENCE { tbs, algorithm, signature }
	if _, err := asn1.Unmarshal(der, &whole); err != nil {
		return nil, err
	}
	if len(whole) != 3 {
		return nil, errors.New("devpki: not something that is signed")
	}
	if _, err := asn1.Unmarshal(whole[0].FullBytes, &signed); err != nil {
		return nil, err
	}
	hash := crypto.Hash(0)
	if key, ok := signer.(*circlKey); ok {
		identifier, err := asn1.Marshal(key.scheme.identifier())
		if err != nil {
			return nil, err
		}
		whole[1] = asn1.RawValue{FullBytes: identifier}
	} else {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		hash = hashOf[c.SignatureAlgorithm]
	}
	signed[algorithm] = whole[1]
	for place, part := range parts {
		signed[place] = part
	}
	tbs, err := asn1.Marshal(signed)
	if err != nil {
		return nil, err
	}
	signature, err := crypto.SignMessage(signer, rand.Reader, tbs, hash)
	if err != nil {
		return nil, err
	}
	bits, err := asn1.Marshal(asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal([]asn1.RawValue{{FullBytes: tbs}, whole[1], {FullBytes: bits}})
}

// hashOf has what crypto/x509 signs with by itself; Ed25519 has none.
var hashOf = map[x509.SignatureAlgorithm]crypto.Hash{
	x509.ECDSAWithSHA256: crypto.SHA256,
	x509.ECDSAWithSHA384: crypto.SHA384,
	x509.SHA256WithRSA:   crypto.SHA256,
}
