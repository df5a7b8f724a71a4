package trust_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
)

func TestParseAnchorsReadsPEM(t *testing.T) {
	t.Parallel()
	a, b := newRoot(t, devpki.CAOptions{Name: "a"}).Certificate, rootNamed(t, "spiffe://prod.example").Certificate
	pa, pb := devpki.CertificatesPEM(a), devpki.CertificatesPEM(b)
	tests := []struct {
		claim string
		data  []byte
		want  []*x509.Certificate
		notes int
	}{
		{"one certificate", pa, []*x509.Certificate{a}, 0},
		{"several certificates, in their order", append(bytes.Clone(pb), pa...), []*x509.Certificate{b, a}, 0},
		{"CRLF line ends", bytes.ReplaceAll(append(bytes.Clone(pa), pb...), []byte("\n"), []byte("\r\n")), []*x509.Certificate{a, b}, 0},
		{"explanatory text around blocks", []byte("# prod\nsubject=CN=a\n" + string(pa) + "\n\nthen - another -\n" + string(pb) + "# end"), []*x509.Certificate{a, b}, 0},
		{"a byte order mark", append([]byte("\xef\xbb\xbf"), pa...), []*x509.Certificate{a}, 0},
		{"a repetition, which is noted", append(bytes.Clone(pa), pa...), []*x509.Certificate{a}, 1},
		{"no line feed at the end", bytes.TrimSpace(pa), []*x509.Certificate{a}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			p, err := trust.ParseAnchors("f.pem", tt.data, prod)
			if err != nil {
				t.Fatalf("ParseAnchors() = %v", err)
			}
			checkAnchors(t, p.Anchors, tt.want)
			if len(p.Notes) != tt.notes {
				t.Errorf("ParseAnchors() notes %q, want %d notes", p.Notes, tt.notes)
			}
		})
	}
}

func checkAnchors(t *testing.T, got, want []*x509.Certificate) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d anchors, want %d", len(got), len(want))
	}
	for i := range want {
		if !got[i].Equal(want[i]) {
			t.Errorf("anchor %d is %v, want %v", i+1, got[i].Subject, want[i].Subject)
		}
	}
}

func TestParseAnchorsRefuses(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	good := string(devpki.CertificatesPEM(ca.Certificate))
	leafKey := string(keyPEM(t, issue(t, ca, devpki.LeafOptions{})))
	block := func(kind string, octets []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: octets}))
	}
	foreign := rootNamed(t, "spiffe://partner.example").Certificate
	foreignPEM := string(devpki.CertificatesPEM(foreign))
	entry := jwk(ca.Certificate)
	deep := strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17)
	tests := []struct {
		claim  string
		data   string
		reason trust.Reason
		text   string // somewhere in the error
	}{
		{"nothing", "", trust.ReasonEmpty, "anchors.pem: "},
		{"white space", " \r\n\t", trust.ReasonEmpty, ""},
		{"a byte order mark alone", "\xef\xbb\xbf", trust.ReasonEmpty, ""},
		{"text without a block", "# no anchors yet\n", trust.ReasonNoCertificate, `there is no PEM certificate in it: found: "# no anchors yet"; want: -----BEGIN CERTIFICATE----- or a SPIFFE bundle in JSON`},
		{"a long text in another script, without a block", "\n\n  <h\u202e\x1b[31m>" + strings.Repeat("secret", 9), trust.ReasonNoCertificate, `found: "<h\u202e\x1b[31m>secretsecrets"…; want`},
		{"too much", strings.Repeat("x", trust.MaxDocumentBytes+1), trust.ReasonTooLarge, ""},
		{"DER", string(ca.Certificate.Raw), trust.ReasonEncoding, "openssl x509 -inform DER"},
		{"a block without an end", good + good[:len(good)/2], trust.ReasonEncoding, "block 2: "},
		{"a block without a beginning", good + good[len(good)/2:], trust.ReasonEncoding, "block 2: "},
		{"a damaged block before a good one", strings.Replace(good, "M", "*", 1) + good, trust.ReasonEncoding, "block 1: "},
		{"a damaged block after a good one", good + strings.Replace(good, "M", "*", 1), trust.ReasonEncoding, "block 2: "},
		{"binary behind the last block", good + "\x00\x01", trust.ReasonEncoding, "not text"},
		{"a certificate with headers", strings.Replace(good, "-----\n", "-----\nA: b\n\n", 1), trust.ReasonEncoding, "headers"},
		{"a certificate cut short in its block", block("CERTIFICATE", ca.Certificate.Raw[:100]), trust.ReasonCertificate, "block 1: "},
		{"octets behind the certificate in its block", block("CERTIFICATE", append(bytes.Clone(ca.Certificate.Raw), 0)), trust.ReasonCertificate, ""},
		{"a private key", good + leafKey, trust.ReasonPrivateKey, "block 2: "},
		{"an encrypted private key", block("ENCRYPTED PRIVATE KEY", []byte{1}), trust.ReasonPrivateKey, ""},
		{"a revocation list", good + block("X509 CRL", []byte{1}), trust.ReasonBlock, "revocation list"},
		{"openssl's trusted certificate", block("TRUSTED CERTIFICATE", []byte{1}), trust.ReasonBlock, "openssl x509"},
		{"a certificate request", block("CERTIFICATE REQUEST", []byte{1}), trust.ReasonBlock, `"CERTIFICATE REQUEST"`},
		{"an anchor of another trust domain", good + foreignPEM, trust.ReasonForeignAnchor, `block 2: `},

		{"JSON that ends early", `{"keys":`, trust.ReasonJSON, "line 1"},
		{"JSON with data behind it", `{"keys":[]}` + "\n{}", trust.ReasonJSON, "line 2"},
		{"JSON that is not UTF-8", "{\"keys\":[\"\xff\"]}", trust.ReasonJSON, "UTF-8"},
		{"JSON nested too deeply", deep, trust.ReasonJSON, "deep"},
		{"no keys (BUN-01)", `{"spiffe_sequence":1}`, trust.ReasonMember, `"keys" is missing`},
		{"Keys in capitals", `{"Keys":[]}`, trust.ReasonMember, `"keys" is missing`},
		{"keys that are null", `{"keys":null}`, trust.ReasonMember, "not an array"},
		{"keys that are an object", `{"keys":{}}`, trust.ReasonMember, "not an array"},
		{"keys twice (BUN-08)", "{\"keys\":[],\n\"keys\":[]}", trust.ReasonDuplicateMember, `line 2: `},
		{"keys twice, once escaped", `{"keys":[],"k\u0065ys":[]}`, trust.ReasonDuplicateMember, `"keys"`},
		{"keys twice behind a number that no float64 holds", `{"a":1e999,"keys":[],"keys":[]}`, trust.ReasonDuplicateMember, `"keys"`},
		{"a member twice within an entry", `{"keys":[{"use":"x509-svid","a":{},"use":"jwt-svid"}]}`, trust.ReasonDuplicateMember, `"use"`},
		{"a trust domain twice (BUN-08)", `{"trust_domains":{"prod.example":{"keys":[]},"prod.example":{"keys":[]}}}`, trust.ReasonDuplicateMember, `"prod.example"`},
		{"a sequence with a fraction", `{"keys":[],"spiffe_sequence":7.0}`, trust.ReasonMember, "spiffe_sequence"},
		{"a sequence with an exponent", `{"keys":[],"spiffe_sequence":1e3}`, trust.ReasonMember, "spiffe_sequence"},
		{"a sequence below zero", `{"keys":[],"spiffe_sequence":-1}`, trust.ReasonMember, "spiffe_sequence"},
		{"a sequence of 65 bits", `{"keys":[],"spiffe_sequence":18446744073709551616}`, trust.ReasonMember, "spiffe_sequence"},
		{"a sequence that is a string", `{"keys":[],"spiffe_sequence":"7"}`, trust.ReasonMember, "spiffe_sequence"},
		{"a sequence that is null", `{"keys":[],"spiffe_sequence":null}`, trust.ReasonMember, "spiffe_sequence"},
		{"a hint that is a string", `{"keys":[],"spiffe_refresh_hint":"5m"}`, trust.ReasonMember, "spiffe_refresh_hint"},
		{"a map without this trust domain", `{"trust_domains":{"other.example":{"keys":[]}}}`, trust.ReasonNoBundle, `"prod.example"`},
		{"a map that is an array", `{"trust_domains":[]}`, trust.ReasonMember, "not an object"},
		{"a map with a null bundle", `{"trust_domains":{"prod.example":null}}`, trust.ReasonMember, "not an object"},
		{"a map whose bundle has no keys", `{"trust_domains":{"prod.example":{}}}`, trust.ReasonMember, `"keys"`},
		{"a bundle that is also a map", `{"keys":[],"trust_domains":{}}`, trust.ReasonMember, "both"},
		{"an entry with a private key", string(bundleJSON(t, with(jwk(ca.Certificate), "d", "AA"))), trust.ReasonPrivateKey, "key 1: "},
		{"an entry of another trust domain (CERT-14)", string(bundleJSON(t, entry, jwk(foreign))), trust.ReasonForeignAnchor, `"spiffe://partner.example"`},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			p, err := trust.ParseAnchors("anchors.pem", []byte(tt.data), prod)
			if got := trust.ReasonOf(err); got != tt.reason {
				t.Fatalf("ParseAnchors() = %v, want reason %q", err, tt.reason)
			}
			if !strings.HasPrefix(err.Error(), "anchors.pem: ") || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("ParseAnchors() = %q, want %q in it", err, tt.text)
			}
			if p.Anchors != nil {
				t.Errorf("ParseAnchors() gives %d anchors beside the error", len(p.Anchors))
			}
		})
	}
}

func TestParseAnchorsReadsBundles(t *testing.T) {
	t.Parallel()
	a, b := newRoot(t, devpki.CAOptions{Name: "a"}).Certificate, rootNamed(t, "spiffe://prod.example").Certificate
	std := base64.StdEncoding.EncodeToString(a.Raw)
	tests := []struct {
		claim string
		data  []byte
		want  []*x509.Certificate
		notes []string // each somewhere in the note of the same index
	}{
		{"an empty array (BUN-01)", bundleJSON(t), nil, nil},
		{"two entries", bundleJSON(t, jwk(b), jwk(a)), []*x509.Certificate{b, a}, nil},
		{"a number that no float64 holds", toJSON(t, map[string]any{"a": json.Number("1e999"), "keys": []any{jwk(a)}}), []*x509.Certificate{a}, nil},
		{"white space before it", append([]byte("\n\t "), bundleJSON(t, jwk(a))...), []*x509.Certificate{a}, nil},
		{"a byte order mark", append([]byte("\xef\xbb\xbf"), bundleJSON(t, jwk(a))...), []*x509.Certificate{a}, nil},
		{"members it does not know", toJSON(t, map[string]any{"keys": []any{jwk(a)}, "x": map[string]any{"keys": 1}}), []*x509.Certificate{a}, nil},
		{"keys for tokens, silently", bundleJSON(t, with(jwk(), "use", "jwt-svid"), with(jwk(), "use", "wit-svid"), jwk(a)), []*x509.Certificate{a}, nil},
		{"an unknown kty beside a good entry (BUN-03)", bundleJSON(t, with(jwk(b), "kty", "FOO"), jwk(a)), []*x509.Certificate{a}, []string{`key 1 is ignored: unknown kty "FOO"`}},
		{"a missing kty", bundleJSON(t, without(jwk(b), "kty"), jwk(a)), []*x509.Certificate{a}, []string{`unknown kty ""`}},
		{"a kty that is a number", bundleJSON(t, with(jwk(b), "kty", 5), jwk(a)), []*x509.Certificate{a}, []string{"unknown kty"}},
		{"a use in capitals (BUN-03)", bundleJSON(t, jwk(a), with(jwk(b), "use", "X509-SVID")), []*x509.Certificate{a}, []string{`key 2 is ignored: unknown use "X509-SVID"`}},
		{"a missing use", bundleJSON(t, without(jwk(b), "use"), jwk(a)), []*x509.Certificate{a}, []string{"unknown use"}},
		{"another draft's use", bundleJSON(t, with(jwk(b), "use", "wimse-x509"), jwk(a)), []*x509.Certificate{a}, []string{"unknown use"}},
		{"a missing x5c (BUN-04)", bundleJSON(t, without(jwk(b), "x5c"), jwk(a)), []*x509.Certificate{a}, []string{"x5c has no certificate"}},
		{"an empty x5c", bundleJSON(t, jwk(), jwk(a)), []*x509.Certificate{a}, []string{"x5c has no certificate"}},
		{"an x5c that is a string", bundleJSON(t, with(jwk(), "x5c", std), jwk(a)), []*x509.Certificate{a}, []string{"x5c has no certificate"}},
		{"an x5c of numbers", bundleJSON(t, with(jwk(), "x5c", []int{1}), jwk(a)), []*x509.Certificate{a}, []string{"x5c[0] is not a string"}},
		{"only the first of several in x5c", bundleJSON(t, jwk(a, b)), []*x509.Certificate{a}, []string{"only the first"}},
		{"a bad second value in x5c", bundleJSON(t, with(jwk(), "x5c", []any{std, 7})), []*x509.Certificate{a}, []string{"only the first"}},
		{"base64url in x5c", bundleJSON(t, with(jwk(), "x5c", []string{base64.URLEncoding.EncodeToString([]byte("\xfb\xff\xfe"))}), jwk(a)), []*x509.Certificate{a}, []string{"not standard base64"}},
		{"x5c without padding", bundleJSON(t, with(jwk(), "x5c", []string{"AAA"}), jwk(a)), []*x509.Certificate{a}, []string{"not standard base64"}},
		{"x5c that is no certificate", bundleJSON(t, with(jwk(), "x5c", []string{"AAAA"}), jwk(a)), []*x509.Certificate{a}, []string{"x5c[0] is not a certificate"}},
		{"an entry that is a string", bundleJSON(t, "x", nil, 5, jwk(a)), []*x509.Certificate{a}, []string{"key 1 is ignored", "key 2 is ignored", "key 3 is ignored"}},
		{"a kid, which is used and noted", bundleJSON(t, with(jwk(a), "kid", "1")), []*x509.Certificate{a}, []string{"kid"}},
		{"an unknown kty with a member d", bundleJSON(t, with(with(jwk(), "kty", "FOO"), "d", 1), jwk(a)), []*x509.Certificate{a}, []string{"unknown kty"}},
		{"no usable entry: effectively empty (BUN-02)", bundleJSON(t, with(jwk(a), "use", "x")), nil, []string{"key 1 is ignored", "nobody in this trust domain is trusted"}},
		{"the trust domain's part of a map", toJSON(t, map[string]any{"trust_domains": map[string]any{
			"prod.example": map[string]any{"keys": []any{jwk(a)}}, "partner.example": map[string]any{"keys": []any{jwk(b)}}}}), []*x509.Certificate{a}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			p, err := trust.ParseAnchors("bundle.json", tt.data, prod)
			if err != nil {
				t.Fatalf("ParseAnchors() = %v", err)
			}
			checkAnchors(t, p.Anchors, tt.want)
			if len(p.Notes) != len(tt.notes) {
				t.Fatalf("ParseAnchors() notes %q, want %q", p.Notes, tt.notes)
			}
			for i, want := range tt.notes {
				if !strings.Contains(p.Notes[i], want) {
					t.Errorf("note %d is %q, want %q in it", i, p.Notes[i], want)
				}
			}
		})
	}
}

func TestParseAnchorsReadsNumbersExactly(t *testing.T) {
	t.Parallel()
	sequence := func(n uint64) *uint64 { return &n }
	tests := []struct {
		claim    string
		data     string
		sequence *uint64
		hint     time.Duration
	}{
		{"absent numbers are absent", `{"keys":[]}`, nil, 0},
		{"a sequence beyond a float64's precision is kept", `{"keys":[],"spiffe_sequence":9007199254740993}`, sequence(9007199254740993), 0},
		{"the largest sequence is kept", `{"keys":[],"spiffe_sequence":18446744073709551615}`, sequence(1<<64 - 1), 0},
		{"sequence zero is not absent", `{"keys":[],"spiffe_sequence":0}`, sequence(0), 0},
		{"a hint is in seconds", `{"keys":[],"spiffe_refresh_hint":300}`, nil, 5 * time.Minute},
		{"a short hint is raised (BUN-06)", `{"keys":[],"spiffe_refresh_hint":1}`, nil, trust.MinRefresh},
		{"a negative hint is raised", `{"keys":[],"spiffe_refresh_hint":-1}`, nil, trust.MinRefresh},
		{"a hint of 28 days is cut (BUN-06)", `{"keys":[],"spiffe_refresh_hint":2419200}`, nil, trust.MaxRefresh},
		{"a hint that overflows a duration is cut", `{"keys":[],"spiffe_refresh_hint":9223372036854775807}`, nil, trust.MaxRefresh},
		{"a hint that overflows an integer is cut", `{"keys":[],"spiffe_refresh_hint":99999999999999999999}`, nil, trust.MaxRefresh},
		{"a negative hint that overflows is raised", `{"keys":[],"spiffe_refresh_hint":-99999999999999999999}`, nil, trust.MinRefresh},
		{"a map's own hint counts, its bundles' do not (BUN-08)", `{"spiffe_refresh_hint":60,"trust_domains":{"prod.example":{"keys":[],"spiffe_sequence":4,"spiffe_refresh_hint":90}}}`, sequence(4), time.Minute},
		{"a bundle's hint in a map is ignored", `{"trust_domains":{"prod.example":{"keys":[],"spiffe_refresh_hint":90}}}`, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			p, err := trust.ParseAnchors("bundle.json", []byte(tt.data), prod)
			if err != nil {
				t.Fatalf("ParseAnchors() = %v", err)
			}
			if p.RefreshHint != tt.hint {
				t.Errorf("RefreshHint = %v, want %v", p.RefreshHint, tt.hint)
			}
			if (p.Sequence == nil) != (tt.sequence == nil) || p.Sequence != nil && *p.Sequence != *tt.sequence {
				t.Errorf("Sequence = %v, want %v", p.Sequence, tt.sequence)
			}
		})
	}
}

func TestNotesAreFew(t *testing.T) {
	t.Parallel()
	data := `{"keys":[` + strings.Repeat(`"x",`, 100_000) + `"x"]}`
	p, err := trust.ParseAnchors("bundle.json", []byte(data), prod)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Notes) > 25 {
		t.Errorf("ParseAnchors() gives %d notes, want few", len(p.Notes))
	}
	if last := p.Notes[len(p.Notes)-1]; !strings.Contains(last, "more") {
		t.Errorf("the last note is %q, want it to say that there are more", last)
	}
}

func TestNotesEscapeWhatOthersWrote(t *testing.T) {
	t.Parallel()
	data := bundleJSON(t, with(jwk(), "kty", "\x1b[31m\r\nadmin: "+strings.Repeat("x", 10_000)))
	p, err := trust.ParseAnchors("bundle.json", data, prod)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range p.Notes {
		if strings.ContainsAny(n, "\x1b\r\n") || len(n) > 300 {
			t.Errorf("note %q is not fit for a terminal", n)
		}
	}
}

func TestTooManyAnchorsAreRefused(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, devpki.CAOptions{})
	// Not properly signed, and nobody asks: the octets are what counts.
	anchors := make([]*x509.Certificate, trust.MaxAnchors+1)
	var data []byte
	for i := range anchors {
		raw := bytes.Clone(ca.Certificate.Raw)
		at := bytes.Index(raw, ca.Certificate.SerialNumber.Bytes())
		raw[at+2], raw[at+3] = byte(i>>8), byte(i)
		var err error
		if anchors[i], err = x509.ParseCertificate(raw); err != nil {
			t.Fatal(err)
		}
		data = append(data, devpki.CertificatesPEM(anchors[i])...)
	}
	if _, err := trust.ParseAnchors("f", data, prod); trust.ReasonOf(err) != trust.ReasonTooLarge {
		t.Errorf("ParseAnchors() of %d anchors = %v, want reason %q", len(anchors), err, trust.ReasonTooLarge)
	}
	if _, err := trust.NewBundle(prod, trust.BundleOptions{Anchors: anchors}); trust.ReasonOf(err) != trust.ReasonTooLarge {
		t.Errorf("NewBundle() of %d anchors = %v, want reason %q", len(anchors), err, trust.ReasonTooLarge)
	}
	if _, err := trust.NewBundle(prod, trust.BundleOptions{Anchors: anchors[1:]}); err != nil {
		t.Errorf("NewBundle() of %d anchors = %v", trust.MaxAnchors, err)
	}
}

// CERT-14, TD-06.
func TestAnchorsBelongToTheirOrigin(t *testing.T) {
	t.Parallel()
	tests := []struct {
		uri    string
		origin string
		ok     bool
	}{
		{"spiffe://prod.example", "spiffe://prod.example", true},
		{"spiffe://prod.example/ca", "spiffe://prod.example", true},
		{"spiffe://prod.example", "wimse://prod.example", false},
		{"spiffe://partner.example", "spiffe://prod.example", false},
		{"spiffe://prod.example.evil.example", "spiffe://prod.example", false},
		{"spiffe://PROD.example", "spiffe://prod.example", false},
		{"SPIFFE://partner.example", "spiffe://prod.example", false},
		{"wimse://prod.example", "wimse://prod.example", true},
		{"wimse://prod.example/ca", "wimse://prod.example", true},
		{"wimse://prod.example/ca", "spiffe://prod.example", false},
		{"https://ca.partner.example/", "spiffe://prod.example", true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s for %s", tt.uri, tt.origin), func(t *testing.T) {
			t.Parallel()
			anchor := rootNamed(t, tt.uri).Certificate
			want := trust.ReasonForeignAnchor
			if tt.ok {
				want = trust.ReasonNone
			}
			_, err := trust.NewBundle(origin(tt.origin), trust.BundleOptions{Anchors: []*x509.Certificate{anchor}})
			if trust.ReasonOf(err) != want || tt.ok != (err == nil) {
				t.Errorf("NewBundle() = %v, want reason %q", err, want)
			}
			_, err = trust.ParseAnchors("f", devpki.CertificatesPEM(anchor), origin(tt.origin))
			if trust.ReasonOf(err) != want || tt.ok != (err == nil) {
				t.Errorf("ParseAnchors() = %v, want reason %q", err, want)
			}
		})
	}
}

func TestNotesAtNamesAnchorsOutOfDate(t *testing.T) {
	t.Parallel()
	now := moment()
	old := newRoot(t, devpki.CAOptions{Name: "old", NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-time.Hour)})
	next := newRoot(t, devpki.CAOptions{Name: "next", NotBefore: now.Add(time.Hour), NotAfter: now.Add(48 * time.Hour)})
	fine := newRoot(t, devpki.CAOptions{Name: "fine"})
	p, err := trust.ParseAnchors("f", devpki.CertificatesPEM(old.Certificate, fine.Certificate, next.Certificate), prod)
	if err != nil || len(p.Anchors) != 3 {
		t.Fatalf("ParseAnchors() = %d anchors, %v, want all 3: certpath judges them", len(p.Anchors), err)
	}
	notes := p.NotesAt(now)
	if len(notes) != 2 || !strings.Contains(notes[0], "CN=old") || !strings.Contains(notes[0], "expired") || !strings.Contains(notes[1], "CN=next") {
		t.Errorf("NotesAt() = %q, want one about CN=old and one about CN=next", notes)
	}
	if len(p.Notes) != 0 {
		t.Errorf("NotesAt() changed Notes to %q", p.Notes)
	}
}

func TestErrorsTellTheCause(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	err := fmt.Errorf("loading: %w", &trust.Error{Reason: trust.ReasonJSON, Name: "f.json", Place: "line 3", Detail: "found", Err: cause})
	if got, want := err.Error(), "loading: f.json: line 3: it is not well-formed JSON: found: the cause"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if !errors.Is(err, cause) {
		t.Error("errors.Is() does not find the cause")
	}
	if got := trust.ReasonOf(cause); got != trust.ReasonNone {
		t.Errorf("ReasonOf(foreign error) = %q, want none", got)
	}
	seen := make(map[string]bool)
	for r := trust.ReasonNone; r <= trust.ReasonSharedAnchor; r++ {
		if seen[r.String()] || strings.HasPrefix(r.String(), "trust.Reason(") {
			t.Errorf("Reason %d has no phrase of its own: %q", r, r)
		}
		seen[r.String()] = true
	}
}

// Whatever ParseAnchors accepts makes a bundle, and what the bundle holds reads
// back as the same bundle.
func FuzzParseAnchors(f *testing.F) {
	root, named := newRoot(f, devpki.CAOptions{}).Certificate, rootNamed(f, "spiffe://prod.example").Certificate
	pemBoth := devpki.CertificatesPEM(root, named)
	f.Add(pemBoth)
	f.Add(append([]byte("text\n"), pemBoth[:len(pemBoth)-7]...))
	f.Add(root.Raw)
	f.Add(bundleJSON(f))
	f.Add(bundleJSON(f, jwk(root), jwk(named, root)))
	f.Add(bundleJSON(f, with(jwk(root), "use", "jwt-svid"), with(jwk(root), "kid", "k"), 5, nil))
	f.Add([]byte(`{"spiffe_sequence":42,"spiffe_refresh_hint":300,"keys":[{"kty":"EC","use":"x509-svid","x5c":["AAAA"]}]}`))
	f.Add([]byte(`{"trust_domains":{"prod.example":{"keys":[]}}}`))
	f.Add([]byte(`{"a":[{"b":1,"b":2}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := trust.ParseAnchors("fuzz", data, prod)
		if err != nil {
			if trust.ReasonOf(err) == trust.ReasonNone || p.Anchors != nil {
				t.Fatalf("ParseAnchors() = %v, %v, want no anchors and a *trust.Error", p, err)
			}
			return
		}
		b, err := trust.NewBundle(prod, trust.BundleOptions{Anchors: p.Anchors, RefreshHint: p.RefreshHint, Sequence: p.Sequence})
		if err != nil {
			t.Fatalf("NewBundle() of what was accepted = %v", err)
		}
		if len(b.Anchors()) != len(p.Anchors) {
			t.Fatalf("the bundle has %d anchors, ParseAnchors() gave %d", len(b.Anchors()), len(p.Anchors))
		}
		var again []byte
		if again = devpki.CertificatesPEM(b.Anchors()...); again == nil {
			again = []byte(`{"keys":[]}`)
		}
		q, err := trust.ParseAnchors("again", again, prod)
		if err != nil {
			t.Fatalf("ParseAnchors() of accepted anchors = %v", err)
		}
		if c := newBundle(t, prod, trust.BundleOptions{Anchors: q.Anchors}); c.Digest() != b.Digest() {
			t.Fatalf("the digest is %v after one more round, want %v", c.Digest(), b.Digest())
		}
	})
}

func TestNotAfterIsTheFirstEnd(t *testing.T) {
	t.Parallel()
	ending := func(hours int) *x509.Certificate {
		return newRoot(t, devpki.CAOptions{NotAfter: issued.Add(time.Duration(hours) * time.Hour), NotBefore: issued.Add(-time.Hour)}).Certificate
	}
	p := trust.ParsedAnchors{Anchors: []*x509.Certificate{ending(2), ending(1), ending(3)}}
	if got, want := p.NotAfter(), issued.Add(time.Hour); !got.Equal(want) {
		t.Errorf("NotAfter() = %v, want %v", got, want)
	}
	if got := (trust.ParsedAnchors{}).NotAfter(); !got.IsZero() {
		t.Errorf("NotAfter() without anchors = %v, want none", got)
	}
}
