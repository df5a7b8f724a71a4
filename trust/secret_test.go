package trust_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"verigate/trust"
)

func newSecret() (s trust.Secret) {
	_, _ = rand.Read(s[:]) // never fails (Go 1.24)
	return s
}

func TestParseSecrets(t *testing.T) {
	t.Parallel()
	a, b, c, d := newSecret(), newSecret(), newSecret(), newSecret()
	dashes := trust.Secret(bytes.Repeat([]byte{0xfb, 0xef, 0xbe, 0xff, 0x01, 0x02, 0x03, 0x04}, 4))
	copy(dashes[:], a[:24]) // as random as the others, with what the alphabets differ in at its end
	lines := func(all ...string) string { return strings.Join(all, "\n") }
	hexed := func(s trust.Secret) string { return hex.EncodeToString(s[:]) }
	tests := []struct {
		claim, text string
		want        []trust.Secret
	}{
		{"hexadecimal", hexed(a), []trust.Secret{a}},
		{"hexadecimal in upper case, with a line end", strings.ToUpper(hexed(a)) + "\n", []trust.Secret{a}},
		{"base64", base64.StdEncoding.EncodeToString(a[:]), []trust.Secret{a}},
		{"base64 without padding", base64.RawStdEncoding.EncodeToString(a[:]), []trust.Secret{a}},
		{"base64 with + and /", base64.StdEncoding.EncodeToString(dashes[:]), []trust.Secret{dashes}},
		{"base64 with - and _", base64.URLEncoding.EncodeToString(dashes[:]), []trust.Secret{dashes}},
		{"several keep their order", lines(hexed(b), hexed(a)), []trust.Secret{b, a}},
		{"four", lines(hexed(a), hexed(b), hexed(c), hexed(d)), []trust.Secret{a, b, c, d}},
		{"comments, empty lines and blanks", lines("# made in May", "", "  "+hexed(a)+"\t", "#"+hexed(b)), []trust.Secret{a}},
		{"line ends of another system, and an editor's mark", "\ufeff" + hexed(a) + "\r\n" + hexed(b) + "\r\n", []trust.Secret{a, b}},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			s, err := trust.ParseSecrets("f", []byte(tt.text))
			if err != nil {
				t.Fatalf("ParseSecrets() = %v", err)
			}
			want, err := trust.NewSecrets(tt.want...)
			if err != nil {
				t.Fatalf("NewSecrets() = %v", err)
			}
			if got := s.All(); len(got) != len(tt.want) {
				t.Fatalf("ParseSecrets() gives %d secrets, want %d", len(got), len(tt.want))
			}
			for i, got := range s.All() {
				if got != tt.want[i] {
					t.Errorf("secret %d is another", i+1)
				}
			}
			if s.Digest() != want.Digest() {
				t.Error("the digest follows from the spelling, want it to follow from the secrets")
			}
		})
	}
}

func TestParseSecretsRefuses(t *testing.T) {
	t.Parallel()
	a, b := newSecret(), newSecret()
	hexed := hex.EncodeToString(a[:])
	std := base64.StdEncoding.EncodeToString(a[:])
	var five strings.Builder
	for range 5 {
		s := newSecret()
		fmt.Fprintf(&five, "%x\n", s[:])
	}
	tests := []struct {
		claim, text string
		reason      trust.Reason
		place       string
	}{
		{"an empty file", "", trust.ReasonEmpty, ""},
		{"comments alone", "# to be filled in\n\n", trust.ReasonEmpty, ""},
		{"a digit too few", hexed[:63], trust.ReasonSecret, "line 1"},
		{"a digit too many", hexed + "0", trust.ReasonSecret, "line 1"},
		{"half a secret", hexed[:32], trust.ReasonSecret, "line 1"},
		{"something else in place of a digit", hexed[:63] + "x", trust.ReasonSecret, "line 1"},
		{"base64 of too few octets", base64.StdEncoding.EncodeToString(a[:31]), trust.ReasonSecret, "line 1"},
		{"base64 of too many octets", base64.StdEncoding.EncodeToString(append(a[:], 1)), trust.ReasonSecret, "line 1"},
		{"base64 with too much padding", std + "=", trust.ReasonSecret, "line 1"},
		{"base64 with bits that no secret has", std[:42] + "/" + "=", trust.ReasonSecret, "line 1"},
		{"base64 of two alphabets", "-+" + std[2:], trust.ReasonSecret, "line 1"},
		{"base64 with a line end of an older system in it", std[:20] + "\r\r" + std[22:], trust.ReasonSecret, "line 1"},
		{"a secret in quotes", `"` + hexed + `"`, trust.ReasonSecret, "line 1"},
		{"a name before the secret", "key: " + hexed, trust.ReasonSecret, "line 1"},
		{"binary", string(b[:]) + "\x00\x01", trust.ReasonSecret, "line 1"},
		{"a private key", "-----BEGIN PRIVATE KEY-----\n" + std, trust.ReasonSecret, "line 1"},
		{"the second line", hexed + "\n\n# old\nnone\n", trust.ReasonSecret, "line 4"},
		{"a repetition", hexed + "\n" + hex.EncodeToString(b[:]) + "\n\n" + std, trust.ReasonSecret, "line 4"},
		{"nothing but zeros", strings.Repeat("0", 64), trust.ReasonSecret, "line 1"},
		{"digits that count", strings.Repeat("01234567", 8), trust.ReasonSecret, "line 1"},
		{"five", five.String(), trust.ReasonTooLarge, "line 5"},
		{"too large a file", strings.Repeat("\n", trust.MaxDocumentBytes+1), trust.ReasonTooLarge, ""},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			s, err := trust.ParseSecrets("shared.secret", []byte(tt.text))
			fault, ok := errorOf(err)
			if s != nil || !ok || fault.Reason != tt.reason || fault.Place != tt.place || fault.Name != "shared.secret" {
				t.Fatalf("ParseSecrets() = %v, %v, want reason %q at %q", s, err, tt.reason, tt.place)
			}
			// Eight characters of what may be a secret with a slip of the pen are too many.
			for from := 0; from+8 <= len(hexed); from++ {
				if strings.Contains(err.Error(), hexed[from:from+8]) {
					t.Fatalf("the error %q tells part of the file", err)
				}
			}
		})
	}
}

func errorOf(err error) (*trust.Error, bool) {
	fault, ok := err.(*trust.Error)
	return fault, ok
}

func TestNewSecretsRefuses(t *testing.T) {
	t.Parallel()
	a := newSecret()
	tests := []struct {
		claim  string
		all    []trust.Secret
		reason trust.Reason
		place  string
	}{
		{"none", nil, trust.ReasonEmpty, ""},
		{"five", []trust.Secret{a, newSecret(), newSecret(), newSecret(), newSecret()}, trust.ReasonTooLarge, "secret 5"},
		{"one that is there twice", []trust.Secret{newSecret(), a, a}, trust.ReasonSecret, "secret 3"},
		{"the zero secret", []trust.Secret{a, {}}, trust.ReasonSecret, "secret 2"},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			s, err := trust.NewSecrets(tt.all...)
			if fault, ok := errorOf(err); s != nil || !ok || fault.Reason != tt.reason || fault.Place != tt.place {
				t.Errorf("NewSecrets() = %v, %v, want reason %q at %q", s, err, tt.reason, tt.place)
			}
		})
	}
}

func TestSecretsAreNotTheCallers(t *testing.T) {
	t.Parallel()
	all := []trust.Secret{newSecret()}
	want := all[0]
	s, err := trust.NewSecrets(all...)
	if err != nil {
		t.Fatal(err)
	}
	all[0] = trust.Secret{}
	if s.All()[0] != want {
		t.Error("NewSecrets() keeps the slice that it was given")
	}
}

func TestDigestTellsSecretsApart(t *testing.T) {
	t.Parallel()
	a, b := newSecret(), newSecret()
	seen := make(map[trust.Digest]string)
	for name, all := range map[string][]trust.Secret{"a": {a}, "b": {b}, "a, b": {a, b}, "b, a": {b, a}} {
		s, err := trust.NewSecrets(all...)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[s.Digest()]; ok {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[s.Digest()] = name
	}
}

// KEY-01: whoever logs the wrong thing does not log a key.
func TestPrintingSecretsShowsNone(t *testing.T) {
	t.Parallel()
	a := newSecret()
	s, err := trust.NewSecrets(a)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("loaded", "secrets", s, "one", a, "all", s.All(), "value", *s)
	}
	encoded, err := json.Marshal(map[string]any{"secrets": s, "one": a, "all": s.All()})
	if err != nil {
		t.Fatal(err)
	}
	printed := log.String() + string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		printed += fmt.Sprintf(strings.Repeat(verb+"\n", 3), s, a, s.All())
	}
	for _, part := range []string{
		hex.EncodeToString(a[:4]), strings.ToUpper(hex.EncodeToString(a[:4])), base64.StdEncoding.EncodeToString(a[:6]),
		strings.Trim(fmt.Sprint(a[:4]), "[]"), strings.ReplaceAll(strings.Trim(fmt.Sprint(a[:4]), "[]"), " ", ","),
		fmt.Sprintf("0x%x, 0x%x, 0x%x", a[0], a[1], a[2]),
	} {
		if strings.Contains(printed, part) {
			t.Errorf("%q, part of a secret, is in %s", part, printed)
		}
	}
}

// Whatever ParseSecrets accepts are one to four secrets that read back as the same.
func FuzzParseSecrets(f *testing.F) {
	a, b := newSecret(), newSecret()
	f.Add([]byte(hex.EncodeToString(a[:]) + "\n" + base64.StdEncoding.EncodeToString(b[:])))
	f.Add([]byte("# comment\n\n" + base64.RawURLEncoding.EncodeToString(b[:]) + "\r\n"))
	f.Add([]byte(strings.Repeat("00", 32)))
	f.Add([]byte("00000000000000000000000\r\r\r00000000000000000"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := trust.ParseSecrets("f", data)
		if err != nil {
			if s != nil || trust.ReasonOf(err) == trust.ReasonNone {
				t.Fatalf("ParseSecrets() = %v, %v, want a reason and nothing else", s, err)
			}
			return
		}
		var text strings.Builder
		for _, secret := range s.All() {
			fmt.Fprintln(&text, hex.EncodeToString(secret[:]))
		}
		again, err := trust.ParseSecrets("f", []byte(text.String()))
		if err != nil || again.Digest() != s.Digest() || len(s.All()) == 0 || len(s.All()) > trust.MaxSecrets {
			t.Fatalf("what ParseSecrets() read reads back as %v, %v", again, err)
		}
	})
}
