package trust_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/internal/race"
	"verigate/trust"
)

// TestParseCRLsRefuses changes one thing in a CRL that is well formed.
func TestParseCRLsRefuses(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{Name: "prod issuing"})
	listed := func(extensions ...[]byte) func(c *crlDER) {
		return func(c *crlDER) { c.entries = append(entryDER([]byte{1}), entryDER([]byte{5}, extensions...)...) }
	}
	with := func(extensions ...[]byte) func(c *crlDER) {
		return func(c *crlDER) { c.extensions = append(bytes.Join(extensions, nil), number...) }
	}
	yes := []byte{0xff}
	tests := []struct {
		name   string
		change func(c *crlDER)
		reason trust.Reason
		says   string // part of the error
	}{
		{"a well-formed list", func(c *crlDER) {}, trust.ReasonNone, ""},
		{"a list of nothing", func(c *crlDER) { c.entries = nil }, trust.ReasonNone, ""},
		{"an empty sequence of entries", func(c *crlDER) { c.entries = []byte{} }, trust.ReasonNone, ""},
		{"times in the long form", func(c *crlDER) { c.nextUpdate = tlv(0x18, []byte("20500101000000Z")) }, trust.ReasonNone, ""},
		{"an extension that is not critical", with(extensionDER(0, false, nil)), trust.ReasonNone, ""},
		{"an extension of an entry that is not critical", listed(extensionDER(0, false, nil)), trust.ReasonNone, ""},
		{"a date of invalidity that is critical", listed(extensionDER(24, true, nil)), trust.ReasonNone, ""},
		{"flags that are false and written out", with(idp(tlv(0x81, []byte{0}), tlv(0x84, []byte{0}))), trust.ReasonNone, ""},

		{"version 1", func(c *crlDER) { c.version = nil }, trust.ReasonCRLVersion, "version 1"},
		{"version 3", func(c *crlDER) { c.version = []byte{2, 1, 2} }, trust.ReasonCRLVersion, ""},
		{"two algorithms", func(c *crlDER) { c.inner = ed25519Pure }, trust.ReasonCRL, "two signature algorithms"},
		{"SHA-1", func(c *crlDER) {
			c.inner = tlv(0x30, tlv(0x06, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01}))
			c.outer = c.inner
		}, trust.ReasonCRLAlgorithm, "1.2.840.10045.4.1"},
		{"an issuer without a name", func(c *crlDER) { c.issuer = []byte{0x30, 0} }, trust.ReasonCRL, "issuer"},
		{"an issuer that is no name", func(c *crlDER) { c.issuer = tlv(0x30, []byte{2, 1, 1}) }, trust.ReasonCRL, "issuer"},
		{"an issuer with a name of 5 KiB", func(c *crlDER) {
			c.issuer = tlv(0x30, tlv(0x31, tlv(0x30, tlv(0x06, []byte{0x55, 4, 3}), tlv(0x0c, make([]byte, 5<<10)))))
		}, trust.ReasonTooLarge, "name"},
		{"no nextUpdate", func(c *crlDER) { c.nextUpdate = nil }, trust.ReasonCRLNextUpdate, ""},
		{"a nextUpdate before its thisUpdate", func(c *crlDER) { c.nextUpdate = utcTime(issued.Add(-time.Second)) }, trust.ReasonCRL, "before its thisUpdate"},
		{"the 31st of June", func(c *crlDER) { c.thisUpdate = tlv(0x17, []byte("260631120000Z")) }, trust.ReasonCRL, "thisUpdate"},
		{"a time with a zone", func(c *crlDER) { c.thisUpdate = tlv(0x17, []byte("2606011200+0100")) }, trust.ReasonCRL, "thisUpdate"},
		{"a month of letters", func(c *crlDER) { c.thisUpdate = tlv(0x17, []byte("26AA01120000Z")) }, trust.ReasonCRL, "thisUpdate"},
		{"something behind the extensions", func(c *crlDER) { c.behind = []byte{5, 0} }, trust.ReasonCRL, ""},
		{"something behind the list", func(c *crlDER) { c.trailing = []byte{0} }, trust.ReasonCRL, ""},

		{"no extension", func(c *crlDER) { c.extensions = nil }, trust.ReasonCRLNumber, "there is none"},
		{"no CRL number", func(c *crlDER) { c.extensions = extensionDER(0, false, nil) }, trust.ReasonCRLNumber, "there is none"},
		{"a critical CRL number", func(c *crlDER) { c.extensions = extensionDER(20, true, []byte{2, 1, 7}) }, trust.ReasonCRLNumber, "critical"},
		{"a negative CRL number", func(c *crlDER) { c.extensions = extensionDER(20, false, []byte{2, 1, 0xff}) }, trust.ReasonCRLNumber, "negative"},
		{"two CRL numbers", with(number), trust.ReasonCRL, "2.5.29.20 is there twice"},
		{"a critical extension", with(extensionDER(0, true, nil)), trust.ReasonCRLExtension, "1.2.3"},
		{"a critical issuer alternative name", with(extensionDER(18, true, nil)), trust.ReasonCRLExtension, "2.5.29.18"},
		{"a critical pointer to a delta CRL", with(extensionDER(46, true, nil)), trust.ReasonCRLExtension, "2.5.29.46"},
		{"a delta CRL", with(extensionDER(27, true, []byte{2, 1, 1})), trust.ReasonCRLDelta, ""},
		{"a delta CRL that does not say so loudly", with(extensionDER(27, false, []byte{2, 1, 1})), trust.ReasonCRLDelta, ""},
		{"an indirect CRL", with(idp(tlv(0x84, yes))), trust.ReasonCRLIndirect, ""},
		{"a CRL for some reasons", with(idp(tlv(0x83, []byte{1, 0x40}))), trust.ReasonCRLPartial, ""},
		{"a CRL of attribute certificates", with(idp(tlv(0x85, yes))), trust.ReasonCRLAttributes, ""},
		{"a CRL of neither users nor CAs", with(idp(tlv(0x81, yes), tlv(0x82, yes))), trust.ReasonCRL, "issuing distribution point"},
		{"a distribution point without a name", with(idp(tlv(0xa0, tlv(0xa0)))), trust.ReasonCRL, "issuing distribution point"},
		{"a distribution point that is no sequence", with(extensionDER(28, true, []byte{5, 0})), trust.ReasonCRL, "issuing distribution point"},
		{"a key identifier that is no sequence", with(extensionDER(35, false, []byte{5, 0})), trust.ReasonCRL, "authority key identifier"},
		{"an extension that is none", with([]byte{5, 0}), trust.ReasonCRL, "extensions"},

		{"an entry that is none", func(c *crlDER) { c.entries = []byte{5, 0} }, trust.ReasonCRL, "entry 1"},
		{"an entry without a date", func(c *crlDER) { c.entries = tlv(0x30, []byte{2, 1, 5}) }, trust.ReasonCRL, "entry 1"},
		{"a serial number with a zero too many", func(c *crlDER) { c.entries = entryDER([]byte{0, 5}) }, trust.ReasonCRL, "entry 1"},
		{"a critical extension of an entry", listed(extensionDER(0, true, nil)), trust.ReasonCRLExtension, "entry 2: "},
		{"an entry of another issuer", listed(extensionDER(29, true, nil)), trust.ReasonCRLIndirect, "entry 2: "},
		{"an entry of another issuer that does not say so loudly", listed(extensionDER(29, false, nil)), trust.ReasonCRLIndirect, "entry 2: "},
		{"removeFromCRL", listed(extensionDER(21, false, []byte{0x0a, 1, 8})), trust.ReasonCRLDelta, "removeFromCRL"},
		{"two reasons", listed(extensionDER(21, false, []byte{0x0a, 1, 1}), extensionDER(21, false, []byte{0x0a, 1, 1})), trust.ReasonCRL, "entry 2: "},
		{"a reason that is none", listed(extensionDER(21, false, []byte{2, 1, 1})), trust.ReasonCRL, "reason code"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCRLDER(ca)
			tt.change(c)
			crls, err := trust.ParseCRLs("prod.crl", c.encode(t, ca.Key))
			if got := trust.ReasonOf(err); got != tt.reason || (err == nil) != (len(crls) == 1) {
				t.Fatalf("ParseCRLs() = %d CRLs, %v, want reason %q", len(crls), err, tt.reason)
			}
			if err != nil && (!strings.HasPrefix(err.Error(), "prod.crl: ") || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("ParseCRLs() = %q, want the file's name and %q in it", err, tt.says)
			}
		})
	}
}

// TestParseCRLsReadsDocuments is about what a file may be.
func TestParseCRLsReadsDocuments(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{Name: "prod issuing"})
	der := newCRLDER(ca).encode(t, ca.Key)
	text := devpki.CRLPEM(der)
	key := keyPEM(t, issue(t, ca, devpki.LeafOptions{}))
	tests := []struct {
		name   string
		data   []byte
		crls   int
		reason trust.Reason
		says   string
	}{
		{"DER", der, 1, trust.ReasonNone, ""},
		{"PEM", text, 1, trust.ReasonNone, ""},
		{"PEM with a byte order mark and text around", []byte("\xef\xbb\xbf0 the list:\n" + string(text) + "end\n"), 1, trust.ReasonNone, ""},
		{"three lists", bytes.Repeat(text, 3), 3, trust.ReasonNone, ""},
		{"nothing", []byte(" \n"), 0, trust.ReasonEmpty, ""},
		{"a web page", []byte("<html>"), 0, trust.ReasonNoCRL, "<html>"},
		{"a damaged block", text[:len(text)-20], 0, trust.ReasonEncoding, ""},
		{"a second list that is cut off", append(bytes.Clone(text), devpki.CRLPEM(der[:100])...), 0, trust.ReasonCRL, "CRL 2: "},
		{"DER that is cut off", der[:len(der)-1], 0, trust.ReasonCRL, "cut off"},
		{"a certificate", devpki.CertificatesPEM(ca.Certificate), 0, trust.ReasonBlock, "block 1"},
		{"a private key", key, 0, trust.ReasonPrivateKey, "replace the key"},
		{"another block", pem.EncodeToMemory(&pem.Block{Type: "CRL", Bytes: der}), 0, trust.ReasonBlock, `"CRL"`},
		{"a list with headers", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Headers: map[string]string{"a": "b"}, Bytes: der}), 0, trust.ReasonEncoding, "headers"},
		{"more lists than there may be", bytes.Repeat(text, trust.MaxCRLs+1), 0, trust.ReasonTooLarge, ""},
		{"more octets than there may be", make([]byte, trust.MaxCRLBytes+1), 0, trust.ReasonTooLarge, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			crls, err := trust.ParseCRLs("prod.crl", tt.data)
			if got := trust.ReasonOf(err); got != tt.reason || len(crls) != tt.crls {
				t.Fatalf("ParseCRLs() = %d CRLs, %v, want %d and reason %q", len(crls), err, tt.crls, tt.reason)
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("ParseCRLs() = %q, want %q in it", err, tt.says)
			}
		})
	}
}

// TestCRLSaysWhatItRead is about everything but the serial numbers.
func TestCRLSaysWhatItRead(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{Name: "prod issuing"})
	der, err := ca.MakeCRL(devpki.CRLOptions{
		ThisUpdate: issued, NextUpdate: issued.Add(time.Hour), Number: big.NewInt(4711),
		Revoked: []*big.Int{big.NewInt(1), big.NewInt(2)},
	})
	if err != nil {
		t.Fatal(err)
	}
	crls, err := trust.ParseCRLs("prod.crl", bytes.Repeat(devpki.CRLPEM(der), 2))
	if err != nil || len(crls) != 2 {
		t.Fatalf("ParseCRLs() = %d CRLs, %v, want 2", len(crls), err)
	}
	c := crls[1]
	got := fmt.Sprint(c.Name(), c.Issuer(), c.Number(), c.ThisUpdate(), c.NextUpdate(), c.Entries(), c.Algorithm())
	want := fmt.Sprint("prod.crl CRL 2", `"CN=prod issuing"`, "4711", issued, issued.Add(time.Hour), 2, trust.ECDSAWithSHA256)
	if got != want {
		t.Errorf("the CRL says %s, want %s", got, want)
	}
	if !bytes.Equal(c.RawIssuer(), ca.Certificate.RawSubject) || !bytes.Equal(c.AuthorityKeyID(), ca.Certificate.SubjectKeyId) {
		t.Error("the CRL names another issuer, or another key, than its CA")
	}
	for _, part := range []string{"CRL 4711", `"CN=prod issuing"`, "prod.crl CRL 2", "2026-07-01T12:00:00Z", "2026-07-01T13:00:00Z"} {
		if !strings.Contains(c.String(), part) {
			t.Errorf("String() = %q, want %q in it", c, part)
		}
	}
	if crls[0].Digest() != c.Digest() || crls[0].Series() != c.Series() {
		t.Error("the same list twice has two digests or belongs to two series")
	}
	other := newCRLDER(ca)
	other.extensions = append(bytes.Clone(number), idp(tlv(0x81, []byte{0xff}))...)
	if parseCRL(t, other.encode(t, ca.Key)).Series() == c.Series() {
		t.Error("a list of another scope belongs to the same series")
	}
}

// TestCRLFindsSerialNumbers holds the table against what went into it, with serial
// numbers of every length side by side.
func TestCRLFindsSerialNumbers(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	c := newCRLDER(ca)
	c.entries = nil
	var want [][20]byte
	for length := 1; length <= 21; length++ {
		for first := 1; first <= 0x7f; first += 9 {
			content := make([]byte, length)
			content[0] = byte(first)
			content[length-1] |= 1
			if length == 21 {
				content[0], content[1] = 0, 0x80|byte(first)
			}
			c.entries = append(c.entries, entryDER(content, extensionDER(21, false, []byte{0x0a, 1, 1}))...)
			want = append(want, trust.SerialOf(new(big.Int).SetBytes(content)))
		}
	}
	// A certificate with one of these is never accepted.
	strange := [][]byte{{0xff}, {0x80, 0, 0}, append([]byte{1}, make([]byte, 20)...), append([]byte{0x7f}, make([]byte, 40)...)}
	for _, content := range strange {
		c.entries = append(c.entries, entryDER(content)...)
	}
	crl := parseCRL(t, c.encode(t, ca.Key))
	if got := crl.Entries(); got != len(want)+len(strange) {
		t.Errorf("Entries() = %d, want %d", got, len(want)+len(strange))
	}
	for _, n := range want {
		if r, ok := crl.Lookup(n); !ok || !r.Date.Equal(issued) || r.Reason.String() != "key compromise" {
			t.Errorf("Lookup(%x) = %v, %v, want what went in", n, r, ok)
		}
		for _, bit := range []byte{2, 4} {
			n[19] ^= bit
			if _, ok := crl.Lookup(n); ok {
				t.Errorf("Lookup(%x) finds what did not go in", n)
			}
		}
	}
	for _, content := range strange {
		var n [20]byte
		copy(n[max(0, 20-len(content)):], content)
		if _, ok := crl.Lookup(n); ok {
			t.Errorf("Lookup(%x) finds the beginning of a strange serial number", n)
		}
	}
	if _, ok := crl.Lookup([20]byte{}); ok {
		t.Error("Lookup(0) finds something")
	}
}

// TestCRLTellsSerialNumbersOfOneEndApart has tables as narrow as they can be.
func TestCRLTellsSerialNumbersOfOneEndApart(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	c := newCRLDER(ca)
	c.entries = append(entryDER([]byte{5}), entryDER([]byte{5, 0, 0, 0, 0, 0, 0, 0, 5})...)
	crl := parseCRL(t, c.encode(t, ca.Key))
	long := [20]byte{11: 5, 19: 5}
	for _, n := range [][20]byte{serial(5), long} {
		if _, ok := crl.Lookup(n); !ok {
			t.Errorf("Lookup(%x) finds nothing", n)
		}
	}
	for _, n := range [][20]byte{serial(0x0105), {10: 1, 11: 5, 19: 5}, {0: 1, 19: 5}} {
		if _, ok := crl.Lookup(n); ok {
			t.Errorf("Lookup(%x) finds what only ends like it", n)
		}
	}
}

// TestCRLDatesThatDoNotFit keeps an entry whose date cannot be kept.
func TestCRLDatesThatDoNotFit(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	c := newCRLDER(ca)
	c.entries = tlv(0x30, tlv(0x02, []byte{5}), tlv(0x17, []byte("500101000000Z")))
	r, ok := parseCRL(t, c.encode(t, ca.Key)).Lookup(serial(5))
	if !ok || !r.Date.IsZero() {
		t.Errorf("Lookup() = %v, %v, want an entry without its date of 1950", r, ok)
	}
}

// TestSignatureIsCheckedOncePerKey also with many who ask at once.
func TestSignatureIsCheckedOncePerKey(t *testing.T) {
	t.Parallel()
	crl := makeCRL(t, newRoot(t, devpki.CAOptions{}), devpki.CRLOptions{})
	var asked atomic.Int32
	good, bad := trust.Digest{1}, trust.Digest{2}
	verify := func(err error) func(trust.SignatureAlgorithm, []byte, []byte) error {
		return func(a trust.SignatureAlgorithm, signed, signature []byte) error {
			if a != trust.ECDSAWithSHA256 || len(signed) != 32 || len(signature) < 64 {
				t.Errorf("verify(%v, %d octets, %d octets), want ECDSA over a digest", a, len(signed), len(signature))
			}
			asked.Add(1)
			return err
		}
	}
	errBad := errors.New("bad")
	if known, _ := crl.Checked(good); known {
		t.Error("Checked() knows of a signature that nobody checked")
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if err := crl.CheckSignature(good, verify(nil)); err != nil {
				t.Errorf("CheckSignature(good) = %v", err)
			}
			if err := crl.CheckSignature(bad, verify(errBad)); !errors.Is(err, errBad) {
				t.Errorf("CheckSignature(bad) = %v, want %v", err, errBad)
			}
		})
	}
	group.Wait()
	if n := asked.Load(); n != 2 {
		t.Errorf("%d signatures were checked, want one for each key", n)
	}
	if known, err := crl.Checked(bad); !known || !errors.Is(err, errBad) {
		t.Errorf("Checked(bad) = %v, %v, want what came of it", known, err)
	}

	// Whoever makes keys without end pushes out the others of that kind only.
	for i := range byte(100) {
		_ = crl.CheckSignature(trust.Digest{3, i}, verify(errBad))
	}
	if known, err := crl.Checked(good); err != nil || !known {
		t.Errorf("Checked(good) = %v, %v after many bad keys, want it to be remembered", known, err)
	}
	if known, _ := crl.Checked(bad); known {
		t.Error("a CRL remembers a hundred keys, want a bound")
	}
}

// TestSupersedingTakesNumberAndDate holds the rule for a CA that counts anew.
func TestSupersedingTakesNumberAndDate(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	at := func(number int64, hours int) *trust.CRL {
		return makeCRL(t, ca, devpki.CRLOptions{Number: big.NewInt(number), ThisUpdate: issued.Add(time.Duration(hours) * time.Hour)})
	}
	tests := []struct {
		name         string
		newer, older *trust.CRL
		forth, back  bool
	}{
		{"later and higher", at(2, 1), at(1, 0), true, false},
		{"later with the same number", at(1, 1), at(1, 0), true, false},
		{"higher at the same time", at(2, 0), at(1, 0), true, false},
		{"later but lower", at(1, 1), at(2, 0), false, false},
		{"neither", at(1, 0), at(1, 0), false, false},
	}
	for _, tt := range tests {
		if got := tt.newer.Supersedes(tt.older); got != tt.forth {
			t.Errorf("%s: Supersedes() = %v, want %v", tt.name, got, tt.forth)
		}
		if got := tt.older.Supersedes(tt.newer); got != tt.back {
			t.Errorf("%s, the other way: Supersedes() = %v, want %v", tt.name, got, tt.back)
		}
	}
}

// TestCRLCovers is about issuing distribution points and the distribution points of
// certificates (RFC 5280 §6.3.3 (b)).
func TestCRLCovers(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{Name: "prod issuing"})
	const shard1, shard2 = "http://crl.example/1", "http://crl.example/2"
	yes := []byte{0xff}
	relative := tlv(0xa1, tlv(0x30, tlv(0x06, []byte{0x55, 4, 3}), tlv(0x0c, []byte("shard 1"))))
	// The same name in full: that of the issuer, and one more.
	var issuer []byte
	issuer = append(issuer, ca.Certificate.RawSubject[2:]...)
	full := tlv(0xa0, tlv(0xa4, tlv(0x30, issuer, tlv(0x31, relative[2:]))))
	named := tlv(0xa0, tlv(0xa0, tlv(0xa4, ca.Certificate.RawSubject)))
	users, cas, otherShard := idp(tlv(0x81, yes)), idp(tlv(0x82, yes)), idp(pointURI(shard2))

	leaf := func(points ...[]byte) *x509.Certificate {
		o := devpki.LeafOptions{}
		if points != nil {
			o.Edit = withExtension(31, tlv(0x30, points...))
		}
		return issue(t, ca, o).Chain[0]
	}
	tests := []struct {
		name string
		idp  []byte
		cert *x509.Certificate
		want trust.Coverage
	}{
		{"no scope", nil, leaf(), trust.CoversAll},
		{"no scope and a point elsewhere", nil, leaf(tlv(0x30, pointURI(shard1))), trust.CoversAll},
		{"users, of a leaf", users, leaf(), trust.CoversAll},
		{"users, of a CA", users, ca.Certificate, trust.CoversNot},
		{"CAs, of a leaf", cas, leaf(), trust.CoversNot},
		{"CAs, of a CA", cas, ca.Certificate, trust.CoversAll},
		{"a point, of a leaf without one", idp(pointURI(shard1)), leaf(), trust.CoversNot},
		{"a point, of a leaf with it", idp(pointURI(shard1)), leaf(tlv(0x30, pointURI(shard1))), trust.CoversAll},
		{"a point, of a leaf with another", idp(pointURI(shard1)), leaf(tlv(0x30, pointURI(shard2))), trust.CoversNot},
		// RUSTSEC-2026-0049: only the first point of a certificate was considered.
		{"the second point", otherShard, leaf(tlv(0x30, pointURI(shard1)), tlv(0x30, pointURI(shard2))), trust.CoversAll},
		{"the second name of a point", otherShard, leaf(tlv(0x30, tlv(0xa0, tlv(0xa0, tlv(0x86, []byte(shard1)), tlv(0x86, []byte(shard2)))))), trust.CoversAll},
		{"the second name of the CRL's", idp(tlv(0xa0, tlv(0xa0, tlv(0x86, []byte(shard1)), tlv(0x86, []byte(shard2))))), leaf(tlv(0x30, pointURI(shard2))), trust.CoversAll},
		{"the same text as another kind of name", idp(tlv(0xa0, tlv(0xa0, tlv(0x82, []byte(shard1))))), leaf(tlv(0x30, pointURI(shard1))), trust.CoversNot},
		{"a point for some reasons", otherShard, leaf(tlv(0x30, pointURI(shard2), tlv(0x81, []byte{1, 0x40}))), trust.CoversSome},
		{"a point for some reasons and one for all", otherShard, leaf(tlv(0x30, pointURI(shard2), tlv(0x81, []byte{1, 0x40})), tlv(0x30, pointURI(shard2))), trust.CoversAll},
		{"a point with a CRL issuer", otherShard, leaf(tlv(0x30, pointURI(shard2), tlv(0xa2, tlv(0xa4, ca.Certificate.RawSubject)))), trust.CoversNot},
		{"a relative point of the CRL", idp(tlv(0xa0, relative)), leaf(tlv(0x30, tlv(0xa0, full))), trust.CoversAll},
		{"named after its issuer", idp(named), leaf(), trust.CoversAll},
	}
	for _, tt := range tests {
		c := newCRLDER(ca)
		c.extensions = append(bytes.Clone(number), tt.idp...)
		crl := parseCRL(t, c.encode(t, ca.Key))
		subject := trust.SubjectOf(tt.cert)
		if got := crl.Covers(&subject); got != tt.want {
			t.Errorf("%s: Covers() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestCRLMemory holds what a CRL takes against the size of its file: lists of
// megabytes stay in memory for as long as the gateway runs (envoyproxy/envoy#45894).
func TestCRLMemory(t *testing.T) { // not parallel: it measures the heap
	for _, tt := range []struct {
		kind      devpki.KeyType
		algorithm []byte
	}{{devpki.P256, ecdsaSHA256}, {devpki.Ed25519, ed25519Pure}} {
		ca := newRoot(t, devpki.CAOptions{Key: tt.kind})
		der, listed := bigCRL(t, ca, tt.algorithm, 5<<20/52)
		before := heap()
		crl := parseCRL(t, der)
		took := heap() - before
		if most := 2 * len(der); took > most && !race.Enabled || crl.MemoryBytes() > most {
			t.Errorf("%s: a CRL of %d octets takes %d, by its own account %d, want at most twice its size", tt.kind, len(der), took, crl.MemoryBytes())
		}
		if took > 2*crl.MemoryBytes() && !race.Enabled {
			t.Errorf("%s: MemoryBytes() = %d, although it takes %d", tt.kind, crl.MemoryBytes(), took)
		}
		if _, ok := crl.Lookup(listed); !ok {
			t.Errorf("%s: Lookup() does not find an entry", tt.kind)
		}
		runtime.KeepAlive(der)
	}
}

// heap returns how much memory is in use.
func heap() int {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// TestLookupDoesNotAllocate covers what every handshake asks.
func TestLookupDoesNotAllocate(t *testing.T) { // not parallel: it counts allocations
	ca := newRoot(t, devpki.CAOptions{})
	c := newCRLDER(ca)
	c.extensions = append(bytes.Clone(number), idp(pointURI("http://crl.example/1"))...)
	crl := parseCRL(t, c.encode(t, ca.Key))
	set := newCRLSet(t, trust.CRLOptions{}, crl)
	cert := issue(t, ca, devpki.LeafOptions{Edit: withExtension(31, tlv(0x30, tlv(0x30, pointURI("http://crl.example/1"))))}).Chain[0]
	found, covered := false, trust.CoversNot
	if n := testing.AllocsPerRun(100, func() {
		subject := trust.SubjectOf(cert)
		for _, scope := range set.Of(cert.RawIssuer) {
			covered = scope[0].Covers(&subject)
			_, found = scope[0].Lookup(serial5)
			_ = set.Freshness(scope[0], issued)
		}
	}); n != 0 && !race.Enabled {
		t.Errorf("a look-up allocates %v times, want 0", n)
	}
	if !found || covered != trust.CoversAll {
		t.Errorf("the look-up found %v, covered %v, want an entry", found, covered)
	}
}

var serial5 = serial(5)

// FuzzParseCRLs holds what is accepted against crypto/x509: whatever that finds on a
// list is found here.
func FuzzParseCRLs(f *testing.F) {
	ca := newRoot(f, devpki.CAOptions{})
	c := newCRLDER(ca)
	f.Add(c.encode(f, ca.Key))
	c.entries = append(entryDER([]byte{0, 0xff, 1, 2, 3, 4, 5, 6, 7, 8}, extensionDER(21, false, []byte{0x0a, 1, 1})), entryDER([]byte{0xff})...)
	c.extensions = append(bytes.Clone(number), idp(pointURI("http://crl.example/1"), tlv(0x81, []byte{0xff}))...)
	f.Add(c.encode(f, ca.Key))
	c.nextUpdate = nil
	f.Add(c.encode(f, ca.Key))
	f.Add(devpki.CRLPEM(newCRLDER(ca).encode(f, ca.Key)))
	f.Fuzz(func(t *testing.T, data []byte) {
		crls, err := trust.ParseCRLs("fuzz", data)
		if err != nil {
			if trust.ReasonOf(err) == trust.ReasonNone || len(err.Error()) > 4<<10 {
				t.Errorf("ParseCRLs() = %v, want an *Error of bounded length", err)
			}
			return
		}
		if len(crls) != 1 {
			return
		}
		der := data
		if block, _ := pem.Decode(data); block != nil && data[0] != 0x30 {
			der = block.Bytes
		}
		std, err := x509.ParseRevocationList(der)
		if err != nil {
			return
		}
		crl := crls[0]
		if crl.Entries() != len(std.RevokedCertificateEntries) {
			t.Errorf("Entries() = %d, crypto/x509 counts %d", crl.Entries(), len(std.RevokedCertificateEntries))
		}
		for _, entry := range std.RevokedCertificateEntries {
			n := entry.SerialNumber
			if n.Sign() < 0 || n.BitLen() > 160 {
				continue // of a certificate that is not accepted
			}
			if _, ok := crl.Lookup(trust.SerialOf(n)); !ok {
				t.Errorf("Lookup(%x) finds nothing, crypto/x509 does", n)
			}
		}
		if !crl.ThisUpdate().Equal(std.ThisUpdate) || !crl.NextUpdate().Equal(std.NextUpdate) {
			t.Errorf("from %v to %v, crypto/x509 says %v to %v", crl.ThisUpdate(), crl.NextUpdate(), std.ThisUpdate, std.NextUpdate)
		}
		if std.Number != nil && crl.Number() != std.Number.String() {
			t.Errorf("Number() = %s, crypto/x509 says %v", crl.Number(), std.Number)
		}
		if !bytes.Equal(crl.RawIssuer(), std.RawIssuer) {
			t.Errorf("RawIssuer() = %x, crypto/x509 says %x", crl.RawIssuer(), std.RawIssuer)
		}
	})
}

// BenchmarkCRL is a list of a million entries, 52 MB. Load is what a change of it
// costs, Lookup what a certificate costs that is not on it: two places in memory
// that no cache holds.
func BenchmarkCRL(b *testing.B) {
	ca := newRoot(b, devpki.CAOptions{})
	der, _ := bigCRL(b, ca, ecdsaSHA256, 1_000_000)
	crl := parseCRL(b, der)
	b.Run("Load", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(der)))
		for b.Loop() {
			parseCRL(b, der)
		}
		b.ReportMetric(float64(crl.MemoryBytes())/float64(len(der)), "memory/file")
	})
	b.Run("Lookup", func(b *testing.B) {
		b.ReportAllocs()
		var n [20]byte
		next := uint64(1)
		for b.Loop() {
			next = next*6364136223846793005 + 1442695040888963407
			for i := range 8 {
				n[4+i], n[12+i] = byte(next>>(8*i)), byte(next>>(60-7*i))
			}
			crl.Lookup(n)
		}
	})
}
