package tlsterm

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"verigate/certpath"
)

func TestReasonsAreClosedAndDistinct(t *testing.T) {
	t.Parallel()
	all := Reasons()
	for _, r := range certpath.Reasons() {
		if !slices.Contains(all, r.String()) {
			t.Errorf("Reasons() lacks %q of certpath", r)
		}
	}
	if slices.Sort(all); len(slices.Compact(all)) != len(Reasons()) {
		t.Error("Reasons() has a value twice")
	}
	for i, r := range tlsTexts {
		if !slices.Contains(ownReasons, r.reason) {
			t.Errorf("text %d has reason %q, which is not listed", i, r.reason)
		}
	}
	if got := reasonOf(errors.New("tls: something new")); got != ReasonTLSError {
		t.Errorf("an unknown error has reason %q, want tls_error", got)
	}
	names := make(map[string]bool)
	for _, r := range ShedReasons() {
		if name := r.String(); names[name] || strings.HasPrefix(name, "shed_") {
			t.Errorf("shed reason %d is called %q", r, name)
		} else {
			names[name] = true
		}
	}
	for o, want := range map[Outcome]string{Failed: "failed", Accepted: "accepted", Admitted: "admitted", 9: "outcome_9"} {
		if got := o.String(); got != want {
			t.Errorf("Outcome(%d) = %q, want %q", uint8(o), got, want)
		}
	}
}

func TestNobodyIsNobody(t *testing.T) {
	t.Parallel()
	for _, p := range []*Peer{nil, {}} {
		if !p.IsZero() || !p.ID().IsZero() || p.Path() != nil || p.Grade().MIAL != 0 || !p.Expiry().IsZero() || p.Snapshot() != [32]byte{} {
			t.Errorf("%#v is somebody", p)
		}
	}
}

func TestSummaryIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: "evil\n2026 INFO accepted"}, RawSubject: make([]byte, 50),
		Issuer: pkix.Name{CommonName: long}, RawIssuer: make([]byte, len(long)),
		SerialNumber:   new(big.Int).Lsh(big.NewInt(1), 100_000),
		SubjectKeyId:   []byte(long),
		AuthorityKeyId: []byte{0xab, 0xcd},
	}
	chain := make([]*x509.Certificate, 50)
	for i := range chain {
		chain[i] = c
	}
	got := summarize(chain)
	if len(got) != maxSummaries {
		t.Fatalf("%d certificates are described, want %d at most", len(got), maxSummaries)
	}
	if want := `CN=evil\n2026 INFO accepted`; got[0].Subject != want {
		t.Errorf("Subject = %q, want %q", got[0].Subject, want)
	}
	if want := "(a name of 100000 octets)"; got[0].Issuer != want {
		t.Errorf("Issuer = %q, want %q", got[0].Issuer, want)
	}
	if got[0].AuthorityKeyID != "abcd" {
		t.Errorf("AuthorityKeyID = %q, want abcd", got[0].AuthorityKeyID)
	}
	for _, s := range []string{got[0].Serial, got[0].SubjectKeyID} {
		if len(s) > 2*maxSummaryOctets+len("…") {
			t.Errorf("%d octets of hexadecimal, want %d at most", len(s), 2*maxSummaryOctets)
		}
	}
	if got := summarizeSerial(big.NewInt(-255)); got != "-ff" {
		t.Errorf("serial -255 is %q, want -ff", got)
	}
	if got := summarizeSerial(nil); got != "" {
		t.Errorf("no serial is %q", got)
	}
}

func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"", "pay.example", "a\nb", "\x00\xff", "é…", "\u202e evil", strings.Repeat("ä", 200), strings.Repeat("\x01", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		const maxBytes = 64
		got := printable(s, maxBytes)
		if len(got) > maxBytes+len("…") {
			t.Errorf("printable(%q) has %d octets, want %d at most", s, len(got), maxBytes)
		}
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("printable(%q) = %q, which is not printable", s, got)
		}
		if again := printable(got, 2*maxBytes); again != got {
			t.Errorf("printable text %q becomes %q", got, again)
		}
	})
}

func FuzzReadProxyHeader(f *testing.F) {
	for _, s := range []string{
		"PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\nrest", "PROXY UNKNOWN\r\nrest", "PROXY TCP6 ::1 ::1 1 2\r\n",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x08\x04\xd2\x01\xbbrest",
		"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "", "GET / HTTP/1.1",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		source := bytes.NewReader(data)
		in := bufio.NewReaderSize(source, helloBytes)
		client, err := readProxyHeader(in)
		if err != nil {
			if client != nil {
				t.Errorf("readProxyHeader(%q) = %v with error %v", data, client, err)
			}
			return
		}
		rest, _ := io.ReadAll(in)
		if !bytes.HasSuffix(data, rest) {
			t.Errorf("readProxyHeader(%q) leaves %q, which is not the end of it", data, rest)
		}
		if client != nil && !addrPort(client).IsValid() {
			t.Errorf("readProxyHeader(%q) = %v, which is no address", data, client)
		}
	})
}

func TestClientNetwork(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.1":                 "192.0.2.1",
		"::ffff:192.0.2.1":          "192.0.2.1",
		"2001:db8:1:2:3:4:5:6":      "2001:db8:1:2::",
		"fe80::1%eth0":              "fe80::",
		"2001:db8:1:2:ffff:ffff::1": "2001:db8:1:2::",
	} {
		a := addrPort(net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(in), 1))).Addr()
		if got := clientNetwork(a).String(); got != want {
			t.Errorf("clientNetwork(%s) = %s, want %s", in, got, want)
		}
	}
	if got := addrPort(&net.UnixAddr{Name: "x"}); got.IsValid() {
		t.Errorf("a Unix socket has address %v", got)
	}
}

func TestServerNameIsHarmless(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"Pay.Example": "pay.example", "a\x1b[31m": `a\x1b[31m`, "": ""} {
		if got := serverName(in); got != want {
			t.Errorf("serverName(%q) = %q, want %q", in, got, want)
		}
	}
	if got := serverName(strings.Repeat("a", 60_000)); len(got) > 260 {
		t.Errorf("a name of 60 000 octets is recorded with %d", len(got))
	}
}

func ExampleReasons() {
	for _, r := range Reasons()[:4] {
		fmt.Println(r)
	}
	// Output:
	// no_certificate
	// malformed_certificate
	// unsupported_key
	// pop_failed
}
