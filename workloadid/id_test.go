package workloadid_test

import (
	"errors"
	"strings"
	"testing"

	"verigate/workloadid"
)

// reasonOf returns the reason and offset of err, which is an *Error or nil.
func reasonOf(t *testing.T, err error) (workloadid.Reason, int) {
	t.Helper()
	if err == nil {
		return workloadid.ReasonNone, 0
	}
	fault, ok := errors.AsType[*workloadid.Error](err)
	if !ok {
		t.Fatalf("error %v is a %T, want a *workloadid.Error", err, err)
	}
	return fault.Reason, fault.Offset
}

// idOf returns an identifier of exactly n octets.
func idOf(scheme string, n int) string {
	s := scheme + "://td/"
	return s + strings.Repeat("p", n-len(s))
}

func TestParse(t *testing.T) {
	const (
		ok          = workloadid.ReasonNone
		scheme      = workloadid.ReasonScheme
		noTD        = workloadid.ReasonNoTrustDomain
		td          = workloadid.ReasonTrustDomain
		long        = workloadid.ReasonTooLong
		noPath      = workloadid.ReasonNoPath
		path        = workloadid.ReasonPath
		empty       = workloadid.ReasonEmptySegment
		dots        = workloadid.ReasonDotSegment
		longTD      = 255
		longID      = 2048
		spiffeStart = len("spiffe://")
	)
	label := func(n int) string { return strings.Repeat("a", n) }
	for _, tt := range []struct {
		rule   string
		in     string
		want   workloadid.Reason
		offset int
	}{
		// The boundary of the grammar: each case is one octet or rule away from another.
		{"ID-07 one segment", "spiffe://a/b", ok, 0},
		{"ID-07 a path is optional", "spiffe://a", ok, 0},
		{"ID-07 root path", "spiffe://a/", empty, 11},
		{"ID-02 empty authority", "spiffe:///b", noTD, 9},
		{"ID-02 no authority", "spiffe:/a/b", scheme, 0},
		{"ID-01 opaque", "spiffe:a/b", scheme, 0},
		{"ID-01 relative", "//a/b", scheme, 0},
		{"ID-09 scheme in capitals", "Spiffe://a/b", scheme, 0},
		{"ID-06 trust domain in capitals", "spiffe://A/b", td, 9},
		{"ID-07 path keeps its case", "spiffe://a/B", ok, 0},
		{"ID-07 empty segment", "spiffe://a//b", empty, 11},
		{"ID-07 dot segment", "spiffe://a/./b", dots, 11},
		{"ID-07 dot dot segment", "spiffe://a/../b", dots, 11},
		{"ID-07 three dots are a name", "spiffe://a/...", ok, 0},
		{"ID-03 empty query", "spiffe://a/b?", path, 12},
		{"ID-03 empty fragment", "spiffe://a/b#", path, 12},
		{"ID-03 query", "spiffe://a/b?x", path, 12},
		{"ID-03 empty userinfo", "spiffe://@a/b", td, 9},
		{"ID-03 userinfo", "spiffe://u@a/b", td, 10},
		{"ID-03 empty port", "spiffe://a:/b", td, 10},
		{"ID-03 port", "spiffe://a:1/b", td, 10},
		{"ID-06 IPv6", "spiffe://[::1]/b", td, 9},
		{"ID-06 what looks like IPv4 is a name", "spiffe://1.2.3.4/b", ok, 0},
		{"ID-06 underscore", "spiffe://a_b/c", ok, 0},
		{"ID-07 percent in the path", "spiffe://a/%62", path, 11},
		{"ID-06 percent in the trust domain", "spiffe://a%2fb/c", td, 10},
		{"ID-07 spiffe has no tilde", "spiffe://a/b~c", path, 12},
		{"ID-08 wimse has one", "wimse://a/b~c", ok, 0},
		{"OQ-16 wimse without path", "wimse://a", noPath, 9},
		{"ID-08 trailing dot", "wimse://a./b", td, 9},
		{"ID-08 trailing slash", "wimse://a/b/", empty, 12},
		{"NUL", "spiffe://a/b\x00", path, 12},
		{"TAB", "spiffe://a/\tb", path, 11},
		{"CR LF", "spiffe://a/b\r\n", path, 12},
		{"Kelvin sign is no k", "spiffe://a/\u212a", path, 11},
		{"Kelvin sign in a trust domain", "spiffe://\u212a/b", td, 9},
		{"full-width letters", "spiffe://a/\uff42", path, 11},
		{"full-width trust domain", "spiffe://\uff41/b", td, 9},
		{"ID-05 trust domain of 255", "spiffe://" + label(longTD) + "/b", ok, 0},
		{"ID-05 trust domain of 256", "spiffe://" + label(longTD+1) + "/b", long, spiffeStart + longTD},
		{"ID-05 applies to wimse", "wimse://" + label(longTD+1) + "/b", long, 8 + longTD},
		{"ID-05 wimse of 255", "wimse://" + label(longTD) + "/b", ok, 0},
		{"ID-04 2047 octets", idOf("spiffe", longID-1), ok, 0},
		{"ID-04 2048 octets", idOf("spiffe", longID), ok, 0},
		{"OQ-24 2049 octets", idOf("spiffe", longID+1), long, longID},
		{"ID-04 wimse of 2048", idOf("wimse", longID), ok, 0},
		{"OQ-24 wimse of 2049", idOf("wimse", longID+1), long, longID},
		{"ID-04 1 MiB", idOf("spiffe", 1<<20), long, longID},
		{"OQ-13 another scheme", "https://a/b", scheme, 0},
		{"empty", "", scheme, 0},

		// What the rules name beside it.
		{"ID-01 no scheme", "td/x", scheme, 0},
		{"ID-01 URN", "urn:x:y", scheme, 0},
		{"ID-02 nothing behind the scheme", "spiffe://", noTD, 9},
		{"ID-02 wimse likewise", "wimse://", noTD, 8},
		{"ID-03 port 443", "spiffe://td:443/a", td, 11},
		{"ID-03 query without path", "spiffe://td?", td, 11},
		{"ID-03 fragment without path", "spiffe://td#", td, 11},
		{"ID-06 mixed case", "spiffe://Example.org/a", td, 9},
		{"ID-06 last octet in capitals", "spiffe://example.orG/a", td, 19},
		{"ID-06 percent-encoded letter", "spiffe://ex%41mple.org/a", td, 11},
		{"ID-08 dot dot", "wimse://td/a/..", dots, 13},
		{"ID-08 dot", "wimse://td/.", dots, 11},
		{"ID-08 empty segment", "wimse://td//a", empty, 11},
		{"ID-08 root path", "wimse://td/", empty, 11},
		{"ID-08 no tilde in a trust domain", "wimse://t~d/a", td, 9},
		{"ID-09 percent-encoded unreserved", "wimse://t/%70ayment", path, 10},
		{"ID-09 WIMSE", "WIMSE://td/a", scheme, 0},
		{"ID-09 SPIFFE", "SPIFFE://td/a", scheme, 0},
		{"4.1 trailing dot in spiffe too", "spiffe://td./x", td, 11},
		{"4.1 trailing dot without path", "spiffe://td.", td, 11},
		{"4.1 backslash", `spiffe://a/b\c`, path, 12},
		{"4.1 space in front", " spiffe://a/b", scheme, 0},
		{"4.1 space behind", "spiffe://a/b ", path, 12},
		{"4.1 colon in a segment", "spiffe://a/b:c", path, 12},
		{"4.1 DEL", "spiffe://a/b\x7f", path, 12},
		{"4.1 invalid UTF-8", "spiffe://a/\xff", path, 11},
		{"ID-16 a pattern is no identifier", "spiffe://a/*", path, 11},
		{"dots inside a name", "spiffe://a..b/.x./-_", ok, 0},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			id, err := workloadid.Parse(tt.in)
			reason, offset := reasonOf(t, err)
			if reason != tt.want || offset != tt.offset {
				t.Fatalf("Parse(%.60q) = %v at octet %d, want %v at octet %d", tt.in, reason, offset, tt.want, tt.offset)
			}
			if err != nil && !id.IsZero() {
				t.Errorf("Parse(%.60q) failed and returned %q, want the zero ID", tt.in, id)
			}
			if err == nil && id.String() != tt.in {
				t.Errorf("Parse(%q).String() = %q, want it octet for octet", tt.in, id)
			}
		})
	}
}

func TestIDParts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in, origin, scheme, domain, path string
		hasPath                          bool
	}{
		{"spiffe://prod.example/ns/a/sa/b", "spiffe://prod.example", "spiffe", "prod.example", "/ns/a/sa/b", true},
		{"spiffe://prod.example", "spiffe://prod.example", "spiffe", "prod.example", "", false},
		{"wimse://prod.example/a", "wimse://prod.example", "wimse", "prod.example", "/a", true},
	} {
		id, err := workloadid.Parse(tt.in)
		if err != nil {
			t.Fatalf("Parse(%q) = %v, want no error", tt.in, err)
		}
		o := id.Origin()
		if o.String() != tt.origin || o.Scheme() != tt.scheme || o.TrustDomain() != tt.domain {
			t.Errorf("Parse(%q).Origin() = %q of scheme %q and trust domain %q, want %q, %q and %q",
				tt.in, o, o.Scheme(), o.TrustDomain(), tt.origin, tt.scheme, tt.domain)
		}
		if id.Path() != tt.path || id.HasPath() != tt.hasPath {
			t.Errorf("Parse(%q) has path %q (%v), want %q (%v)", tt.in, id.Path(), id.HasPath(), tt.path, tt.hasPath)
		}
		if again, err := workloadid.ParseOrigin(tt.origin); err != nil || again != o {
			t.Errorf("ParseOrigin(%q) = %q, %v; want the origin of %q", tt.origin, again, err, tt.in)
		}
	}
}

// ID-10 and ID-12: identity is equality of octets, and an origin is scheme and
// trust domain.
func TestIdentifiersDifferInAnyOctet(t *testing.T) {
	t.Parallel()
	same := []string{
		"spiffe://a/x", "wimse://a/x", "spiffe://b/x", "spiffe://a/X", "spiffe://a/x/y", "spiffe://a", "spiffe://a.b/x",
	}
	seen := make(map[workloadid.ID]string)
	origins := make(map[workloadid.Origin]int)
	for _, s := range same {
		fromString, err := workloadid.Parse(s)
		fromBytes, errBytes := workloadid.ParseBytes([]byte(s))
		if err != nil || errBytes != nil || fromString != fromBytes {
			t.Fatalf("Parse(%q) = %q, %v and ParseBytes = %q, %v; want equal identifiers", s, fromString, err, fromBytes, errBytes)
		}
		if other, taken := seen[fromString]; taken {
			t.Errorf("%q and %q are the same map key, want two", s, other)
		}
		seen[fromString] = s
		origins[fromString.Origin()]++
	}
	if len(origins) != 4 {
		t.Errorf("the identifiers have %d origins %v, want 4: spiffe://a, wimse://a, spiffe://b, spiffe://a.b", len(origins), origins)
	}
}

func TestParseOriginRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in     string
		want   workloadid.Reason
		offset int
	}{
		{"spiffe://a/b", workloadid.ReasonOriginHasPath, 10},
		{"spiffe://a/", workloadid.ReasonOriginHasPath, 10},
		{"prod.example", workloadid.ReasonScheme, 0},
		{"https://a", workloadid.ReasonScheme, 0},
		{"spiffe://", workloadid.ReasonNoTrustDomain, 9},
		{"spiffe://A", workloadid.ReasonTrustDomain, 9},
		{"spiffe://*", workloadid.ReasonTrustDomain, 9},
		{"spiffe://" + strings.Repeat("a", 256), workloadid.ReasonTooLong, 264},
		{"", workloadid.ReasonScheme, 0},
	} {
		o, err := workloadid.ParseOrigin(tt.in)
		if reason, offset := reasonOf(t, err); reason != tt.want || offset != tt.offset || !o.IsZero() {
			t.Errorf("ParseOrigin(%.60q) = %q, %v at octet %d; want the zero Origin, %v at octet %d",
				tt.in, o, reason, offset, tt.want, tt.offset)
		}
	}
}

func TestZeroValuesAreNone(t *testing.T) {
	t.Parallel()
	var id workloadid.ID
	if !id.IsZero() || id.HasPath() || id.String() != "" || id.Path() != "" || !id.Origin().IsZero() {
		t.Errorf("the zero ID is %q with path %q and origin %q, want nothing", id, id.Path(), id.Origin())
	}
	var o workloadid.Origin
	if !o.IsZero() || o.Scheme() != "" || o.TrustDomain() != "" {
		t.Errorf("the zero Origin has scheme %q and trust domain %q, want none", o.Scheme(), o.TrustDomain())
	}
}

// A rejected identifier is hostile input: logs show where it broke the grammar
// and nothing that it says.
func TestErrorDoesNotRepeatTheInput(t *testing.T) {
	t.Parallel()
	_, err := workloadid.Parse("spiffe://a/b\x1b[31mSECRET")
	if err == nil || strings.Contains(err.Error(), "SECRET") || strings.ContainsRune(err.Error(), 0x1b) {
		t.Errorf("Parse() = %q, want an error without the input", err)
	}
	if want := "at octet 12: "; err != nil && !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Parse() = %q, want it to begin with %q", err, want)
	}
}

func TestEveryReasonHasItsSentence(t *testing.T) {
	t.Parallel()
	seen := make(map[string]workloadid.Reason)
	for r := workloadid.ReasonNone; r <= workloadid.ReasonPatternWildcard; r++ {
		s := r.String()
		if other, taken := seen[s]; taken || s == "" || strings.HasPrefix(s, "workloadid.") {
			t.Errorf("Reason(%d).String() = %q, want a sentence of its own (also of %d)", r, s, other)
		}
		seen[s] = r
	}
	if got, want := workloadid.Reason(200).String(), "workloadid.Reason(200)"; got != want {
		t.Errorf("Reason(200).String() = %q, want %q", got, want)
	}
}

// FuzzParse: what Parse accepts is in canonical form, and there is no second
// reading of it (ID-09, ID-10).
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"spiffe://a/b", "spiffe://a", "spiffe://a/", "spiffe://a/..", "spiffe://a/...", "wimse://a/b~c", "wimse://a",
		"spiffe://a./b", "spiffe://a:1/b", "spiffe://u@a/b", "spiffe://a/%62", "Spiffe://a/b", "spiffe://A", "", "spiffe://a/b\x00",
		idOf("spiffe", 2048), idOf("wimse", 2049),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := string(in)
		id, err := workloadid.Parse(s)
		fromBytes, errBytes := workloadid.ParseBytes(in)
		reason, offset := reasonOf(t, err)
		if r, o := reasonOf(t, errBytes); id != fromBytes || r != reason || o != offset {
			t.Fatalf("ParseBytes(%q) = %q, %v at %d; Parse = %q, %v at %d; want the same", in, fromBytes, r, o, id, reason, offset)
		}
		if accepted := referenceAccepts(s); accepted != (err == nil) {
			t.Fatalf("Parse(%q) = %v, but the grammar says %v", s, err, accepted)
		}
		if err != nil {
			if offset < 0 || offset > len(s) {
				t.Fatalf("Parse(%q) blames octet %d of %d", s, offset, len(s))
			}
			return
		}
		if id.String() != s {
			t.Fatalf("Parse(%q).String() = %q, want it octet for octet", s, id)
		}
		if again, err := workloadid.Parse(id.String()); err != nil || again != id {
			t.Fatalf("Parse(%q) = %q, %v the second time", s, again, err)
		}
		if id.Origin().String()+id.Path() != s {
			t.Fatalf("Parse(%q) has origin %q and path %q, want them to make up the whole", s, id.Origin(), id.Path())
		}
		if o, err := workloadid.ParseOrigin(id.Origin().String()); err != nil || o != id.Origin() {
			t.Fatalf("ParseOrigin(%q) = %q, %v; want the origin of %q", id.Origin(), o, err, s)
		}
	})
}

// referenceAccepts is the grammar of SPIFFE-ID §2 and draft-ietf-wimse-identifier §4.4 as directly as it can be
// written.
func referenceAccepts(s string) bool {
	const lower, upper, digit = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
	scheme, rest, found := strings.Cut(s, "://")
	if !found || scheme != "spiffe" && scheme != "wimse" || len(s) > 2048 {
		return false
	}
	td, path, hasPath := strings.Cut(rest, "/")
	if td == "" || len(td) > 255 || containsOther(td, lower+digit+".-_") || strings.HasSuffix(td, ".") {
		return false
	}
	if !hasPath {
		return scheme == "spiffe"
	}
	alphabet := lower + upper + digit + ".-_"
	if scheme == "wimse" {
		alphabet += "~"
	}
	for _, segment := range strings.Split(path, "/") {
		if segment == "" || segment == "." || segment == ".." || containsOther(segment, alphabet) {
			return false
		}
	}
	return true
}

func containsOther(s, alphabet string) bool {
	for i := range len(s) {
		if strings.IndexByte(alphabet, s[i]) < 0 {
			return true
		}
	}
	return false
}
