package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"testing"
	"time"
)

// TestSignatureAlgorithmsOfCRLs: the identifiers that crypto/x509 writes are known,
// by the right name and with the right hash function.
func TestSignatureAlgorithmsOfCRLs(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		std  x509.SignatureAlgorithm
		key  crypto.Signer
		want SignatureAlgorithm
		hash crypto.Hash
	}{
		{x509.SHA256WithRSA, rsaKey, RSAWithSHA256, crypto.SHA256},
		{x509.SHA384WithRSA, rsaKey, RSAWithSHA384, crypto.SHA384},
		{x509.SHA512WithRSA, rsaKey, RSAWithSHA512, crypto.SHA512},
		{x509.SHA256WithRSAPSS, rsaKey, RSAPSSWithSHA256, crypto.SHA256},
		{x509.SHA384WithRSAPSS, rsaKey, RSAPSSWithSHA384, crypto.SHA384},
		{x509.SHA512WithRSAPSS, rsaKey, RSAPSSWithSHA512, crypto.SHA512},
		{x509.ECDSAWithSHA256, ecdsaKey, ECDSAWithSHA256, crypto.SHA256},
		{x509.ECDSAWithSHA384, ecdsaKey, ECDSAWithSHA384, crypto.SHA384},
		{x509.ECDSAWithSHA512, ecdsaKey, ECDSAWithSHA512, crypto.SHA512},
		{x509.PureEd25519, edKey, Ed25519, 0},
	} {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			SignatureAlgorithm: tt.std, Number: big.NewInt(1), ThisUpdate: time.Unix(0, 0), NextUpdate: time.Unix(1, 0),
		}, &x509.Certificate{KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}, Subject: pkix.Name{CommonName: "CA"}}, tt.key)
		if err != nil {
			t.Fatal(err)
		}
		var list struct{ TBS, Algorithm, Signature asn1.RawValue }
		if _, err := asn1.Unmarshal(der, &list); err != nil {
			t.Fatal(err)
		}
		got := ParseSignatureAlgorithm(list.Algorithm.FullBytes)
		if got != tt.want || got.Hash() != tt.hash {
			t.Errorf("ParseSignatureAlgorithm() of %v = %d with %v, want %d with %v", tt.std, got, got.Hash(), tt.want, tt.hash)
		}
		// Nothing but the identifier itself.
		for _, der := range [][]byte{append(bytes.Clone(list.Algorithm.FullBytes), 0), list.Algorithm.FullBytes[:len(list.Algorithm.FullBytes)-1]} {
			if got := ParseSignatureAlgorithm(der); got != 0 {
				t.Errorf("ParseSignatureAlgorithm(%x) = %d, want none", der, got)
			}
		}
	}
}

// TestSignatureAlgorithmsByTheirOctets: those that crypto/x509 does not write, and
// those that are not accepted.
func TestSignatureAlgorithmsByTheirOctets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, der string
		want      SignatureAlgorithm
	}{
		{"Ed448", "300506032b6571", Ed448},
		{"ML-DSA-44", "300b0609608648016503040311", MLDSA44},
		{"ML-DSA-65", "300b0609608648016503040312", MLDSA65},
		{"ML-DSA-87", "300b0609608648016503040313", MLDSA87},
		{"RSA without NULL", "300b06092a864886f70d01010b", RSAWithSHA256},
		{"RSA-PSS as openssl writes it", "303d06092a864886f70d01010a3030a00d300b0609608648016503040201" +
			"a11a301806092a864886f70d010108300b0609608648016503040201a203020120", RSAPSSWithSHA256},

		{"Ed448 with NULL", "300706032b65710500", 0},
		{"ML-DSA-65 with NULL", "300d06096086480165030403120500", 0},
		{"ML-DSA-65 of a digest", "300b0609608648016503040321", 0},
		{"ECDSA with NULL", "300c06082a8648ce3d0403020500", 0},
		{"RSA with SHA-1", "300d06092a864886f70d0101050500", 0},
		{"RSA-PSS with the defaults, which are SHA-1", "300d06092a864886f70d01010a3000", 0},
		{"RSA-PSS without parameters", "300b06092a864886f70d01010a", 0},
		{"RSA-PSS with a short salt", "303d06092a864886f70d01010a3030a00d300b0609608648016503040201" +
			"a11a301806092a864886f70d010108300b0609608648016503040201a203020114", 0},
		{"RSA-PSS with two hash functions", "303d06092a864886f70d01010a3030a00d300b0609608648016503040201" +
			"a11a301806092a864886f70d010108300b0609608648016503040202a203020120", 0},
		{"SLH-DSA", "300b0609608648016503040314", 0},
		{"nothing", "", 0},
	} {
		der, err := hex.DecodeString(tt.der)
		if err != nil {
			t.Fatal(err)
		}
		if got := ParseSignatureAlgorithm(der); got != tt.want {
			t.Errorf("%s: ParseSignatureAlgorithm() = %d, want %d", tt.name, got, tt.want)
		}
	}
}
