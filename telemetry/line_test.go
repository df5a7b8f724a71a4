package telemetry

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"verigate/certpath"
	"verigate/tlsterm"
	"verigate/workloadid"
)

func TestTimesSortAsText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		at   time.Time
		want string
	}{
		{noon, "2026-11-22T12:00:00.123456789Z"},
		{time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)), "2026-01-02T02:04:05.000000006Z"},
		{time.Time{}, "0001-01-01T00:00:00.000000000Z"},
		{time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), "0001-01-01T00:00:00.000000000Z"},
		{time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC), "9999-01-01T00:00:00.000000000Z"},
	} {
		if got := string(appendTime(nil, tt.at)); got != tt.want {
			t.Errorf("appendTime(%v) = %s, want %s", tt.at, got, tt.want)
		}
	}
}

func TestHostileTextStaysInItsField(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in, want string
	}{
		{"plain text is not changed", "/v1/charges", "/v1/charges"},
		{"a quote cannot end the string", `","event":"start`, `\",\"event\":\"start`},
		{"a backslash cannot swallow the quote", `\`, `\\`},
		{"a line break cannot begin a record", "a\r\n{", `a\r\n{`},
		{"NUL and DEL are escaped", "\x00\x7f", `\u0000\u007f`},
		{"a terminal gets no escape sequence", "\x1b[31m", `\u001b[31m`},
		{"nor the eight-bit form of one", "\u009b31m", `\u009b31m`},
		{"text is not turned around", "a\u202eb", `a\u202eb`},
		{"no line separator of Unicode", "\u2028", `\u2028`},
		{"beyond the basic plane is a pair", "\U0001f600", `\ud83d\ude00`},
		{"octets that are not UTF-8 are replaced", "a\xff\xc3b", `a\ufffd\ufffdb`},
	} {
		l := line{}
		l.quote(tt.in, maxField)
		if got, want := string(l.b), `"`+tt.want+`"`; got != want || l.cut {
			t.Errorf("%s: quote(%q) = %s, cut %v, want %s, not cut", tt.name, tt.in, got, l.cut, want)
		}
	}
}

func TestLongTextIsCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in    string
		bound int
		want  string
		cut   bool
	}{
		{"abcdef", 6, `"abcdef"`, false},
		{"abcdefg", 6, `"abcdef"`, true},
		{"abcde\n", 6, `"abcde"`, true},
		{"abcd\n", 6, `"abcd\n"`, false},
		{"\x00\x00", 11, `"\u0000"`, true},
		{"\U0001f600", 11, `""`, true},
	} {
		l := line{}
		l.quote(tt.in, tt.bound)
		if got := string(l.b); got != tt.want || l.cut != tt.cut {
			t.Errorf("quote(%q, %d) = %s, cut %v, want %s, cut %v", tt.in, tt.bound, got, l.cut, tt.want, tt.cut)
		}
	}
}

func TestOnlyPlainOctetsAreNotEscaped(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		want := c >= ' ' && c < 0x7f && c != '"' && c != '\\'
		if got := plainText("plain" + string([]byte{byte(c)})); got != want {
			t.Errorf("plainText with octet %#02x = %v, want %v", c, got, want)
		}
	}
}

// The longest record there can be: every field hostile, escaped to six times its
// length, and a full chain.
func longest(t testing.TB) *tlsterm.Handshake {
	t.Helper()
	hostile := strings.Repeat("\x00", 10_000)
	h := refused(t)
	h.Listener, h.SNI, h.ALPN, h.Reason = hostile, hostile, hostile, hostile
	h.Verdict.Err = &certpath.Error{Reason: certpath.ReasonUntrustedChain, Found: hostile, Want: hostile, Hint: hostile}
	h.Verdict.ID = id(t, "spiffe://prod.example/"+strings.Repeat("a", workloadid.MaxIDBytes-len("spiffe://prod.example/")))
	for range 50 {
		h.Chain = append(h.Chain, tlsterm.ChainSummary{
			Subject: hostile, Issuer: hostile, Serial: hostile, AuthorityKeyID: hostile, SubjectKeyID: hostile, NotAfter: noon,
		})
	}
	return h
}

func TestLongestRecordIsBoundedAndSaysThatItIsCut(t *testing.T) {
	t.Parallel()
	h := longest(t)
	e := evidenceOf(h)
	l := line{}
	l.handshake(h, &e, exampleTrace)
	if len(l.b) > maxLine {
		t.Errorf("handshake record has %d octets, want at most %d", len(l.b), maxLine)
	}
	r := records(t, string(l.b))[0]
	if r["truncated"] != true {
		t.Errorf("truncated = %v, want true", r["truncated"])
	}
	if n := len(r["chain"].([]any)); n != maxChain || r["chain_length"] != 51.0 {
		t.Errorf("chain has %d of %v members, want %d of 51", n, r["chain_length"], maxChain)
	}
	if r["claimed_identity"] != h.Verdict.ID.String() {
		t.Error("the longest identity that there can be was cut, want it whole (AUD-06)")
	}

	req := served(t)
	hostile := strings.Repeat("\x00", 10_000)
	for _, field := range []*string{&req.ID, &req.Listener, &req.Remote, &req.Method, &req.Host, &req.Path, &req.SNI,
		&req.Proto, &req.Route, &req.Rule, &req.Upstream, &req.Endpoint, &req.Decision, &req.Reason} {
		*field = hostile
	}
	l = line{}
	l.request(req, exampleTrace)
	if len(l.b) > maxLine {
		t.Errorf("request record has %d octets, want at most %d", len(l.b), maxLine)
	}
}

// checkLine fails the test unless b is one line of printable ASCII with one JSON
// object in it.
func checkLine(t *testing.T, b []byte) map[string]any {
	t.Helper()
	if len(b) > maxLine {
		t.Errorf("record has %d octets, want at most %d", len(b), maxLine)
	}
	for i, c := range b {
		if (c < ' ' || c > '~') && (c != '\n' || i != len(b)-1) {
			t.Fatalf("octet %d of the record is %#02x, want printable ASCII: %q", i, c, b)
		}
	}
	if len(b) == 0 || b[len(b)-1] != '\n' {
		t.Fatalf("record %q does not end its line", b)
	}
	var r map[string]any
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatalf("record is not JSON: %v\n%s", err, b)
	}
	return r
}

// Whatever a peer or a neighbouring package puts into the fields, the output is
// one line with one JSON object, and the object's strings are what went in.
func FuzzRequestRecord(f *testing.F) {
	f.Add("GET", "pay.example", "/v1/charges", "pay.example", "payments", "policy_denied", int64(200))
	f.Add("\x00", "a\"b\\c", "/\r\n{\"v\":1}", "\xff\xfe", "\u2028\u202e", "\U0010ffff", int64(-1))
	f.Add(strings.Repeat("é", 3000), strings.Repeat("\"", 600), strings.Repeat("/", 5000), "\x7f", "</script>", "'", int64(1)<<62)
	f.Fuzz(func(t *testing.T, method, host, path, sni, route, reason string, n int64) {
		r := &Request{
			Start: time.Unix(0, n), Method: method, Host: host, Path: path, SNI: sni, Route: route, Reason: reason,
			ID: host, Remote: path, Rule: sni, Upstream: reason, Endpoint: route, Decision: method, Proto: host,
			Status: int(n), BytesIn: n, BytesOut: -n, Total: time.Duration(n), ConnID: uint64(n),
		}
		var l line
		l.request(r, exampleTrace)
		got := checkLine(t, l.b)
		if l.cut != (got["truncated"] == true) {
			t.Errorf("truncated = %v, want %v", got["truncated"], l.cut)
		}
		if l.cut {
			return
		}
		for name, want := range map[string]string{"method": method, "host": host, "sni": sni, "route": route, "path": withoutQuery(path)} {
			// Each octet that is not UTF-8 reads as U+FFFD, as it does in a range.
			if text, _ := got[name].(string); text != string([]rune(want)) {
				t.Errorf("%s reads as %q, want %q", name, text, []rune(want))
			}
		}
	})
}

func FuzzHandshakeRecord(f *testing.F) {
	f.Add("pay.example", "h2", "expired", "CN=checkout", "5e01", uint16(0x0304), 1, []byte{192, 0, 2, 1})
	f.Add("\x00\"", "\\", "\n", "\u202eCN", "\xff", uint16(0), 12, []byte{})
	f.Add("a", strings.Repeat("\x1b", 700), "b", strings.Repeat("ü", 300), "c", uint16(0xffff), 3, make([]byte, 16))
	f.Fuzz(func(t *testing.T, sni, alpn, reason, subject, serial string, suite uint16, depth int, address []byte) {
		ip, _ := netip.AddrFromSlice(address)
		h := &tlsterm.Handshake{
			Start: noon, SNI: sni, ALPN: alpn, Reason: reason, Version: suite, CipherSuite: suite,
			Remote: netip.AddrPortFrom(ip.WithZone(sni), suite),
			Chain:  make([]tlsterm.ChainSummary, uint(depth)%20),
		}
		h.Verdict.Err = &certpath.Error{Depth: depth, Found: subject, Want: serial, Hint: alpn}
		for i := range h.Chain {
			h.Chain[i] = tlsterm.ChainSummary{Subject: subject, Issuer: sni, Serial: serial, NotAfter: noon}
		}
		e := evidenceOf(h)
		var l line
		l.handshake(h, &e, Trace{})
		got := checkLine(t, l.b)
		if got["authenticated"] != false || got["identity"] != nil {
			t.Errorf("authenticated = %v, identity = %v, want false and none", got["authenticated"], got["identity"])
		}
	})
}
