package trust

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
)

// SecretBytes is the size of a [Secret].
const SecretBytes = 32

// MaxSecrets is how many secrets can be in force together. Two are enough for a
// rotation, and each costs every ticket that none of them opens another attempt.
const MaxSecrets = 4

// Secret is a key that several gateways share, such as the one that session
// tickets are sealed by. Nothing prints it: neither fmt, whatever the verb, nor
// an encoder of text.
type Secret [SecretBytes]byte

// Format writes a placeholder.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText returns a placeholder.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

const hidden = "(secret)"

// Secrets is what a secret file says: the first seals, all open. It is immutable.
type Secrets struct {
	all    []Secret
	digest Digest
}

// NewSecrets puts secrets together, the current one first.
//
// It fails with an [*Error]: [ReasonEmpty] for none, [ReasonTooLarge] beyond
// [MaxSecrets], and [ReasonSecret] for one that is there twice, by which the
// operator who removes the first would believe it gone, or that is no random
// octets but a placeholder. Place is "secret" and its number.
func NewSecrets(all ...Secret) (*Secrets, error) {
	if fault := checkSecrets(all, func(at int) string { return fmt.Sprintf("secret %d", at+1) }); fault != nil {
		return nil, fault
	}
	return newSecrets(slices.Clone(all)), nil
}

// ParseSecrets reads one secret a line, 64 hexadecimal digits or base64, the
// current one first; at most [MaxSecrets]. Empty lines and lines that begin with
// '#' are left out. base64 may be of either alphabet, with or without padding.
//
// It fails as [NewSecrets] does, and with [ReasonSecret] for a line that is
// something else. Place is the line. No error has any part of the file in it:
// what is not understood may be a secret with a slip of the pen.
func ParseSecrets(name string, data []byte) (*Secrets, error) {
	s, fault := parseSecrets(data)
	if fault != nil {
		fault.Name = name
		return nil, fault
	}
	return s, nil
}

func parseSecrets(data []byte) (*Secrets, *Error) {
	if len(data) > MaxDocumentBytes {
		return nil, &Error{Reason: ReasonTooLarge, Detail: fmt.Sprintf("over %d octets", MaxDocumentBytes)}
	}
	var all []Secret
	var places []string
	number := 0
	for line := range bytes.Lines(bytes.TrimPrefix(data, utf8BOM)) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		place := fmt.Sprintf("line %d", number)
		s, fault := decodeSecret(line)
		if fault != nil {
			fault.Place = place
			return nil, fault
		}
		if all, places = append(all, s), append(places, place); len(all) > MaxSecrets {
			break // the check says so
		}
	}
	if fault := checkSecrets(all, func(at int) string { return places[at] }); fault != nil {
		return nil, fault
	}
	return newSecrets(all), nil
}

// decodeSecret tells the two spellings apart by their length.
func decodeSecret(line []byte) (s Secret, fault *Error) {
	if len(line) == hex.EncodedLen(SecretBytes) {
		if _, err := hex.Decode(s[:], line); err == nil {
			return s, nil
		}
	}
	text := strings.TrimRight(string(line), "=")
	if len(text) == base64.RawStdEncoding.EncodedLen(SecretBytes) && len(line)-len(text) <= 1 {
		encoding := base64.RawStdEncoding
		if strings.ContainsAny(text, "-_") {
			encoding = base64.RawURLEncoding
		}
		// Strict: bits that no secret has are a sign that octets were lost. The decoder
		// passes over line ends, so that what it makes of the text may be shorter.
		if decoded, err := encoding.Strict().DecodeString(text); err == nil && len(decoded) == SecretBytes {
			return Secret(decoded), nil
		}
	}
	return Secret{}, &Error{Reason: ReasonSecret, Detail: fmt.Sprintf("%d characters that are neither %d hexadecimal digits nor %d octets in base64; %s",
		len(line), hex.EncodedLen(SecretBytes), SecretBytes, howToMakeOne)}
}

const howToMakeOne = "make one with: openssl rand -hex 32"

// minOctets is how many different octets a secret has at the least. 32 random
// ones have fewer once in 10^33; a placeholder such as 0123456701234567… always.
const minOctets = 9

func checkSecrets(all []Secret, place func(at int) string) *Error {
	if len(all) == 0 {
		return &Error{Reason: ReasonEmpty, Detail: howToMakeOne}
	}
	if len(all) > MaxSecrets {
		return &Error{Reason: ReasonTooLarge, Place: place(MaxSecrets), Detail: fmt.Sprintf("at most %d secrets", MaxSecrets)}
	}
	for at, s := range all {
		if first := slices.Index(all, s); first < at {
			return &Error{Reason: ReasonSecret, Place: place(at), Detail: "it repeats " + place(first)}
		}
		slices.Sort(s[:])
		if len(slices.Compact(s[:])) < minOctets {
			return &Error{Reason: ReasonSecret, Place: place(at), Detail: "it is a placeholder, not random; " + howToMakeOne}
		}
	}
	return nil
}

func newSecrets(all []Secret) *Secrets {
	s := &Secrets{all: all}
	c := newContent("verigate secrets 1")
	c.number(uint64(len(all)))
	for i := range all {
		c.octets(all[i][:])
	}
	s.digest = c.sum()
	return s
}

// All returns the secrets, the current one first. The slice is not to be modified.
func (s *Secrets) All() []Secret { return s.all }

// Digest tells two contents apart and does not give them away, so that operators
// can compare gateways: 256 random bits cannot be found by trying, and a hash
// under a label of its own is the key of nothing. Neither would hold for a
// secret that somebody made up, which is why those that look so are refused.
func (s *Secrets) Digest() Digest { return s.digest }

// Format writes how many secrets there are and their digest, whatever the verb.
// Its receiver is a value so that it speaks for a copy as well.
func (s Secrets) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%d secrets %s…", len(s.all), s.digest.String()[:16])
}

// SecretSource yields the secrets in force. It may be called concurrently and is
// cheap.
type SecretSource interface {
	Secrets() *Secrets
}
