package telemetry

import (
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"

	"verigate/assurance"
	"verigate/workloadid"
)

// Bounds on one field of a record, in octets as escaped. A record of the longest
// fields with the longest chain stays below [maxLine].
const (
	maxField      = workloadid.MaxIDBytes // identity and path (ID-04)
	maxShortField = 512                   // everything else
	maxChainField = 256                   // a name in the summary of a chain
	maxChain      = 10                    // certificates in that summary
	maxLine       = 32 << 10              // tested, not enforced
)

// line builds one audit record: a JSON object of printable ASCII on one line.
// Members come in the order of the calls. An empty string, a zero number, a zero
// hash and a zero time are left out; readers treat absent and empty alike.
type line struct {
	b   []byte
	cut bool // a field was longer than its bound
}

// open starts a record. Format 1 is described in docs/audit-record.md.
func (l *line) open(at time.Time, event string) {
	l.b = append(l.b, `{"v":1,"time":"`...)
	l.b = appendTime(l.b, at)
	l.b = append(l.b, `","event":"`...)
	l.b = append(l.b, event...)
	l.b = append(l.b, '"')
}

func (l *line) close() {
	if l.cut {
		l.b = append(l.b, `,"truncated":true`...)
	}
	l.b = append(l.b, '}', '\n')
}

func (l *line) key(name string) {
	b := append(l.b, ',', '"')
	b = append(b, name...)
	l.b = append(b, '"', ':')
}

// text writes a string of at most bound octets, as escaped.
func (l *line) text(name, value string, bound int) {
	if value == "" {
		return
	}
	l.key(name)
	l.quote(value, bound)
}

func (l *line) quote(value string, bound int) {
	b := append(l.b, '"')
	if len(value) <= bound && plainText(value) {
		b = append(b, value...)
	} else {
		var whole bool
		b, whole = appendEscaped(b, value, bound)
		l.cut = l.cut || !whole
	}
	l.b = append(b, '"')
}

func (l *line) number(name string, value int64) {
	if value == 0 {
		return
	}
	l.key(name)
	l.b = strconv.AppendInt(l.b, value, 10)
}

func (l *line) unsigned(name string, value uint64) {
	if value == 0 {
		return
	}
	l.key(name)
	l.b = strconv.AppendUint(l.b, value, 10)
}

func (l *line) boolean(name string, value bool) {
	l.key(name)
	l.b = strconv.AppendBool(l.b, value)
}

func (l *line) hash(name string, value [32]byte) {
	if value == [32]byte{} {
		return
	}
	l.key(name)
	l.b = append(l.b, '"')
	l.b = hex.AppendEncode(l.b, value[:])
	l.b = append(l.b, '"')
}

func (l *line) moment(name string, value time.Time) {
	if value.IsZero() {
		return
	}
	l.key(name)
	l.b = append(l.b, '"')
	l.b = appendTime(l.b, value)
	l.b = append(l.b, '"')
}

// grade writes the identity assurance level, and the vector of authenticator
// characteristics as one digit each in the profile's order.
func (l *line) grade(g assurance.Grade) {
	l.key("mial")
	l.b = append(l.b, '0'+byte(g.MIAL))
	if g.MAAL == (assurance.MAAL{}) {
		return
	}
	l.key("maal")
	l.b = append(l.b, '"')
	for _, level := range g.MAAL {
		l.b = append(l.b, '0'+level)
	}
	l.b = append(l.b, '"')
}

// findings writes what was seen against a credential.
func (l *line) findings(f assurance.Findings) {
	switch {
	case f.SharedKey && f.ManyNetworks:
		l.text("findings", findingSharedKey+" "+findingManyNetworks, maxShortField)
	case f.SharedKey:
		l.text("findings", findingSharedKey, maxShortField)
	case f.ManyNetworks:
		l.text("findings", findingManyNetworks, maxShortField)
	}
}

// trace writes the trace's identifier, if there is one.
func (l *line) trace(t Trace) {
	if t.IsZero() {
		return
	}
	l.key("trace_id")
	l.b = append(l.b, '"')
	l.b = t.AppendID(l.b)
	l.b = append(l.b, '"')
}

// appendTime appends t in UTC as RFC 3339 with nine digits after the point, so
// that records sort as text. Years outside 0001 to 9999 have no such form.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	text := [...]byte{4: '-', 7: '-', 10: 'T', 13: ':', 16: ':', 19: '.', 29: 'Z'}
	year = min(max(year, 1), 9999)
	putPair(text[0:], year/100)
	putPair(text[2:], year%100)
	putPair(text[5:], int(month))
	putPair(text[8:], day)
	putPair(text[11:], hour)
	putPair(text[14:], minute)
	putPair(text[17:], second)
	nanos := t.Nanosecond()
	text[28] = '0' + byte(nanos%10)
	for i, n := 26, nanos/10; i >= 20; i -= 2 {
		putPair(text[i:], n%100)
		n /= 100
	}
	return append(b, text[:]...)
}

// putPair writes n, which is below 100, as two digits.
func putPair(b []byte, n int) {
	b[1] = '0' + byte(n%10)
	b[0] = '0' + byte(n/10)
}

// appendEscaped appends s as the inside of a JSON string, in printable ASCII:
// quotes, backslashes, controls and everything beyond ASCII are escaped, so that
// no peer can break a line, colour a terminal or reverse the direction of text.
// Octets that are not UTF-8 become U+FFFD. It stops before bound octets of output
// are exceeded and then reports false.
func appendEscaped(b []byte, s string, bound int) ([]byte, bool) {
	limit := len(b) + bound
	for i := 0; i < len(s); {
		plain := i
		for i < len(s) && plainASCII[s[i]] {
			i++
		}
		if len(b)+i-plain > limit {
			return append(b, s[plain:plain+limit-len(b)]...), false
		}
		b = append(b, s[plain:i]...)
		if i == len(s) {
			break
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		escaped := len(b)
		b = appendRune(b, r)
		if len(b) > limit {
			return b[:escaped], false
		}
	}
	return b, true
}

func appendRune(b []byte, r rune) []byte {
	switch {
	case r == '"' || r == '\\':
		return append(b, '\\', byte(r))
	case r == '\n':
		return append(b, '\\', 'n')
	case r == '\r':
		return append(b, '\\', 'r')
	case r == '\t':
		return append(b, '\\', 't')
	case r >= 0x10000:
		r -= 0x10000
		return appendUnit(appendUnit(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
	}
	return appendUnit(b, r)
}

func appendUnit(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&0xf], digits[r>>8&0xf], digits[r>>4&0xf], digits[r&0xf])
}

// plainText reports whether all octets of s stand for themselves inside a JSON
// string, as those of nearly all fields do.
func plainText(s string) bool {
	for i := 0; i < len(s); i++ {
		if !plainASCII[s[i]] {
			return false
		}
	}
	return true
}

// plainASCII marks the octets that stand for themselves inside a JSON string.
var plainASCII = func() (plain [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()
