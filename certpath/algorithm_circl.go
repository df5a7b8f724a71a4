package certpath

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"sync"

	"verigate/trust"

	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

// scheme is a kind of key that crypto/x509 lacks. CAs may have one; leaves may not,
// because crypto/tls cannot make them prove it (ALG-03).
type scheme struct {
	sign.Scheme
	key       algorithm
	algorithm trust.SignatureAlgorithm // what such keys sign with, and nothing else does
	// identifier is the AlgorithmIdentifier of key and signature, octet for octet:
	// its parameters are absent (RFC 9881 §2, RFC 8410 §3).
	identifier []byte
}

// schemes are verified by circl, all with the empty context.
var schemes = [...]scheme{
	{ed448.Scheme(), algorithmEd448, trust.Ed448, []byte("\x30\x05\x06\x03\x2b\x65\x71")},
	{mldsa44.Scheme(), algorithmMLDSA44, trust.MLDSA44, []byte("\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x11")},
	{mldsa65.Scheme(), algorithmMLDSA65, trust.MLDSA65, []byte("\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12")},
	{mldsa87.Scheme(), algorithmMLDSA87, trust.MLDSA87, []byte("\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x13")},
}

// oid returns the content of the object identifier.
func (s *scheme) oid() []byte { return s.identifier[4:] }

// schemeBy returns the scheme that signs by a, nil if crypto/x509 knows it.
func schemeBy(a trust.SignatureAlgorithm) *scheme {
	for i := range schemes {
		if schemes[i].algorithm == a {
			return &schemes[i]
		}
	}
	return nil
}

// schemeOf returns the scheme of the key of c and the key's octets, as many as the
// scheme wants; nothing else is known of them. The scheme is nil for other kinds of
// keys. Octets are nil when the key is not encoded as RFC 9881 §4 or RFC 8410 §4
// have it.
func schemeOf(c *x509.Certificate) (s *scheme, octets []byte) {
	switch c.PublicKeyAlgorithm {
	case x509.RSA, x509.DSA, x509.ECDSA, x509.Ed25519:
		return nil, nil
	}
	// SubjectPublicKeyInfo ::= SEQUENCE { algorithm, subjectPublicKey }
	_, info, _, _ := element(c.RawSubjectPublicKeyInfo)
	_, identifier, rest, _ := element(info)
	tag, oid, _, ok := element(identifier)
	if !ok || tag != tagOID {
		return nil, nil
	}
	for i := range schemes {
		if s = &schemes[i]; !bytes.Equal(oid, s.oid()) {
			continue
		}
		tag, bits, trailing, ok := element(rest)
		if !bytes.HasPrefix(info, s.identifier) || !ok || tag != tagBitString || len(trailing) != 0 ||
			len(bits) != 1+s.PublicKeySize() || bits[0] != 0 {
			return s, nil
		}
		return s, bits[1:]
	}
	return nil, nil
}

// circlSignature returns how c was signed, if not in a way that crypto/x509 knows,
// and the octets of the signature. crypto/x509 has made sure that the algorithm
// inside of what is signed is the same octet for octet.
func circlSignature(c *x509.Certificate) (trust.SignatureAlgorithm, []byte) {
	// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
	_, body, _, _ := element(c.Raw)
	_, _, rest, _ := element(body)
	_, _, signature, ok := element(rest)
	if !ok {
		return 0, nil
	}
	algorithm := trust.ParseSignatureAlgorithm(rest[:len(rest)-len(signature)])
	tag, bits, _, ok := element(signature)
	if !ok || tag != tagBitString || len(bits) == 0 || bits[0] != 0 {
		return algorithm, nil
	}
	return algorithm, bits[1:]
}

// circlKey is a public key in the form that verifying needs: for ML-DSA that takes
// longer to make than a signature takes to verify, and 23 to 68 KB.
type circlKey struct {
	scheme *scheme
	spki   [sha256.Size]byte
	public sign.PublicKey
}

func (k *circlKey) verify(signed, signature []byte) error {
	verified := k.scheme.Verify(k.public, signed, signature, nil)
	leaveAVX()
	if !verified {
		return errSignature
	}
	return nil
}

// leaveAVX makes the processor forget the upper halves of its vector registers.
// circl's AVX2 code for ML-DSA returns without doing so. On processors that keep
// track, code for SSE then runs slowly on that thread, whatever goroutine it
// belongs to, until somebody does: SHA-256 of 6 KB, by the SHA extensions, takes
// 440 µs instead of 4 (BenchmarkHashAfterVerify). The runtime's comparison of 64
// octets ends in VZEROUPPER.
//
//go:noinline
func leaveAVX() bool { return zeros[0] == zeros[1] }

// zeros are in two places: comparing one with itself would look at neither.
var zeros = [2]string{string(make([]byte, 64)), string(make([]byte, 64))}

// expand makes the key of scheme s and of octets, both from schemeOf.
func expand(s *scheme, octets []byte, spki [sha256.Size]byte) (*circlKey, error) {
	public, err := s.UnmarshalBinaryPublicKey(octets)
	leaveAVX()
	if err != nil {
		return nil, err
	}
	return &circlKey{s, spki, public}, nil
}

// expandOnce returns the key of c, whose scheme and octets are from schemeOf. A
// search makes each key once. Those of anchors are kept beyond it.
func (b *builder) expandOnce(c *x509.Certificate, s *scheme, octets []byte) (*circlKey, error) {
	spki := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	for _, k := range b.expanded {
		if k.spki == spki {
			return k, nil
		}
	}
	k := knownKeys.get(spki)
	if k == nil {
		var err error
		if k, err = expand(s, octets, spki); err != nil {
			return nil, err
		}
		if b.bundle.Contains(c) {
			knownKeys.keep(k)
		}
	}
	b.expanded = append(b.expanded, k)
	return k, nil
}

// rememberKeys keeps the keys of the CAs of an accepted path, which refs has. Those
// of any other path could be anybody's, and would fill the memory or push out what
// is useful.
func (b *builder) rememberKeys(refs []trust.CertRef) {
	for _, k := range b.expanded {
		for i := range refs {
			if refs[i].SPKI == k.spki {
				knownKeys.keep(k)
			}
		}
	}
}

// knownKeys spares making the keys of CAs anew for each leaf. It belongs to the
// process: what it answers follows from the octets that were asked for, so that
// nothing but time can tell whether it is there.
var knownKeys keyMemory

// maxKnownKeys bounds the memory to 4 MB. Deployments have a handful of CAs.
const maxKnownKeys = 64

// keyMemory holds keys by the hash of their SubjectPublicKeyInfo. When it is full,
// the oldest makes room. The zero keyMemory is ready and may be used concurrently.
type keyMemory struct {
	mu   sync.RWMutex
	keys map[[sha256.Size]byte]*circlKey
	ages [maxKnownKeys]*circlKey // a ring
	next int
}

// get returns nil for a key that is not there.
func (m *keyMemory) get(spki [sha256.Size]byte) *circlKey {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.keys[spki]
}

func (m *keyMemory) keep(k *circlKey) {
	if m.get(k.spki) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys[k.spki] != nil {
		return // another call was faster
	}
	if m.keys == nil {
		m.keys = make(map[[sha256.Size]byte]*circlKey, maxKnownKeys)
	}
	if oldest := m.ages[m.next]; oldest != nil {
		delete(m.keys, oldest.spki)
	}
	m.keys[k.spki], m.ages[m.next] = k, k
	m.next = (m.next + 1) % maxKnownKeys
}
