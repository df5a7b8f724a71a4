package trust

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strings"
)

// Digest is a SHA-256 over content.
type Digest [32]byte

// String returns the digest in lowercase hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether d is no digest of anything.
func (d Digest) IsZero() bool { return d == Digest{} }

// ParseDigest returns the digest that s spells in 64 hexadecimal digits of
// either case, with or without the colons that openssl writes between octets.
func ParseDigest(s string) (Digest, bool) {
	var d Digest
	if strings.Contains(s, ":") {
		if len(s) != 3*len(d)-1 {
			return Digest{}, false
		}
		for i := 2; i < len(s); i += 3 {
			if s[i] != ':' {
				return Digest{}, false
			}
		}
		s = strings.ReplaceAll(s, ":", "")
	}
	if len(s) != 2*len(d) {
		return Digest{}, false
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, false
	}
	return d, true
}

// content collects what a digest is taken over. Every element carries its
// length, so that no two different lists of elements give the same octets.
type content struct{ h hash.Hash }

// newContent begins with a label, which keeps digests of different kinds of
// things apart.
func newContent(label string) content {
	c := content{h: sha256.New()}
	c.text(label)
	return c
}

func (c content) octets(b []byte) {
	c.number(uint64(len(b)))
	c.h.Write(b)
}

func (c content) text(s string) { c.octets([]byte(s)) }

func (c content) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	c.h.Write(b[:])
}

func (c content) flag(on bool) {
	if on {
		c.number(1)
	} else {
		c.number(0)
	}
}

func (c content) sum() Digest { return Digest(c.h.Sum(nil)) }
