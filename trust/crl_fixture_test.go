package trust_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
)

// issued is when the CRLs of the tests say that they are from; it has no fraction of
// a second, as in a certificate.
var issued = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// crlDER is the parts of a CRL as they are encoded, for lists that no CA should
// make. encode puts them together.
type crlDER struct {
	version    []byte
	inner      []byte // the algorithm inside of what is signed
	outer      []byte
	issuer     []byte
	thisUpdate []byte
	nextUpdate []byte
	entries    []byte // of revokedCertificates, without its head; nil leaves it out
	extensions []byte // of crlExtensions, likewise
	behind     []byte // behind the extensions
	trailing   []byte // behind the CRL
}

// The AlgorithmIdentifiers of what the tests sign with.
var (
	ecdsaSHA256 = tlv(0x30, tlv(0x06, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02}))
	ed25519Pure = tlv(0x30, tlv(0x06, []byte{0x2b, 0x65, 0x70}))
)

// tlv encodes an element.
func tlv(tag byte, contents ...[]byte) []byte {
	content := bytes.Join(contents, nil)
	head := []byte{tag}
	switch n := len(content); {
	case n < 0x80:
		head = append(head, byte(n))
	case n < 0x100:
		head = append(head, 0x81, byte(n))
	case n < 0x10000:
		head = append(head, 0x82, byte(n>>8), byte(n))
	default:
		head = append(head, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		if n < 0x1000000 {
			head = append([]byte{tag, 0x83}, head[3:]...)
		}
	}
	return append(head, content...)
}

func utcTime(t time.Time) []byte { return tlv(0x17, []byte(t.UTC().Format("060102150405Z"))) }

// extensionDER encodes an extension below id-ce, or 1.2.3 for arc 0.
func extensionDER(arc byte, critical bool, value []byte) []byte {
	oid := []byte{0x55, 0x1d, arc}
	if arc == 0 {
		oid = []byte{0x2a, 0x03}
	}
	flag := []byte{}
	if critical {
		flag = tlv(0x01, []byte{0xff})
	}
	return tlv(0x30, tlv(0x06, oid), flag, tlv(0x04, value))
}

// entryDER encodes a revoked certificate; serial is the content of an INTEGER.
func entryDER(serial []byte, extensions ...[]byte) []byte {
	var optional []byte
	if extensions != nil {
		optional = tlv(0x30, extensions...)
	}
	return tlv(0x30, tlv(0x02, serial), utcTime(issued), optional)
}

// number is the CRL number 7.
var number = extensionDER(20, false, []byte{2, 1, 7})

// idp encodes an issuing distribution point, which is critical.
func idp(contents ...[]byte) []byte { return extensionDER(28, true, tlv(0x30, contents...)) }

// pointURI is a distributionPoint of one URI, for idp and for certificates.
func pointURI(uri string) []byte { return tlv(0xa0, tlv(0xa0, tlv(0x86, []byte(uri)))) }

// newCRLDER is a CRL of ca that is well formed and lists serial number 5.
func newCRLDER(ca *devpki.CA) *crlDER {
	return &crlDER{
		version:    []byte{2, 1, 1},
		inner:      ecdsaSHA256,
		outer:      ecdsaSHA256,
		issuer:     ca.Certificate.RawSubject,
		thisUpdate: utcTime(issued),
		nextUpdate: utcTime(issued.Add(24 * time.Hour)),
		entries:    entryDER([]byte{5}),
		extensions: number,
	}
}

func (c *crlDER) encode(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	var revoked, extensions []byte
	if c.entries != nil {
		revoked = tlv(0x30, c.entries)
	}
	if c.extensions != nil {
		extensions = tlv(0xa0, tlv(0x30, c.extensions))
	}
	tbs := tlv(0x30, c.version, c.inner, c.issuer, c.thisUpdate, c.nextUpdate, revoked, extensions, c.behind)
	digest, hash := tbs, crypto.Hash(0)
	if !bytes.Equal(c.outer, ed25519Pure) {
		sum := sha256.Sum256(tbs)
		digest, hash = sum[:], crypto.SHA256
	}
	signature, err := key.Sign(rand.Reader, digest, hash)
	if err != nil {
		t.Fatal(err)
	}
	return append(tlv(0x30, tbs, c.outer, tlv(0x03, []byte{0}, signature)), c.trailing...)
}

// makeCRL makes and reads a CRL of ca that devpki makes.
func makeCRL(t testing.TB, ca *devpki.CA, o devpki.CRLOptions) *trust.CRL {
	t.Helper()
	if o.ThisUpdate.IsZero() {
		o.ThisUpdate = issued
	}
	der, err := ca.MakeCRL(o)
	if err != nil {
		t.Fatal(err)
	}
	return parseCRL(t, der)
}

func parseCRL(t testing.TB, der []byte) *trust.CRL {
	t.Helper()
	crls, err := trust.ParseCRLs("prod.crl", der)
	if err != nil || len(crls) != 1 {
		t.Fatalf("ParseCRLs() = %d CRLs, %v, want one", len(crls), err)
	}
	return crls[0]
}

func newCRLSet(t testing.TB, o trust.CRLOptions, crls ...*trust.CRL) *trust.CRLSet {
	t.Helper()
	set, err := trust.NewCRLSet(crls, o)
	if err != nil {
		t.Fatalf("NewCRLSet() = %v", err)
	}
	return set
}

func serial(n int64) [20]byte { return trust.SerialOf(big.NewInt(n)) }

// bigCRL encodes a CRL with count random serial numbers of 16 octets, each with a
// reason code, as CAs have them. It returns one of them as well.
func bigCRL(t testing.TB, ca *devpki.CA, algorithm []byte, count int) (der []byte, listed [20]byte) {
	t.Helper()
	reason := extensionDER(21, false, []byte{0x0a, 1, 4})
	entry := entryDER(make([]byte, 16), reason)
	entries := bytes.Repeat(entry, count)
	for at := 0; at < len(entries); at += len(entry) {
		number := entries[at+4 : at+20]
		if _, err := rand.Read(number); err != nil {
			t.Fatal(err)
		}
		number[0] = number[0]&0x7f | 1 // positive and without a leading zero
	}
	copy(listed[4:], entries[4:20])
	c := newCRLDER(ca)
	c.entries, c.inner, c.outer = entries, algorithm, algorithm
	return c.encode(t, ca.Key), listed
}
