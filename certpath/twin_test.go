package certpath

import (
	"bytes"
	"crypto/x509"
	"testing"
)

// Nobody but the holder of a key makes another certificate of one. crypto/x509 parses
// all of these and finds their signatures good.
func TestUnsignedOctetsMakeNoTwins(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	for depth := range 2 {
		for name, twin := range map[string]func(der []byte) []byte{
			"an octet string behind the signature": func(der []byte) []byte { return append(bytes.Clone(der), 0x04, 0x01, 0xff) },
			"many octets behind the signature":     func(der []byte) []byte { return append(bytes.Clone(der), bytes.Repeat([]byte{0x05, 0x00}, 2000)...) },
			"spare bits of the signature": func(der []byte) []byte {
				_, body, _, _ := element(der)
				_, _, rest, _ := element(body)
				_, _, bits, _ := element(rest)
				_, value, _, _ := element(bits)
				// An ECDSA signature begins with 0x30, whose first two bits are zero.
				shifted := []byte{1}
				for i, octet := range value[1:] {
					next := byte(0)
					if i+2 < len(value) {
						next = value[i+2] >> 7
					}
					shifted = append(shifted, octet<<1|next)
				}
				return append(bytes.Clone(der[:len(der)-len(value)]), shifted...)
			},
		} {
			q := f.accepted()
			if _, err := q.ask(); err != nil {
				t.Fatalf("the chain as it was issued: %v", err)
			}
			der := twin(q.chain[depth].Raw)
			content := der[4:] // a header of four octets: more than 255 octets of content
			der[2], der[3] = byte(len(content)>>8), byte(len(content))
			c, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatalf("%s of certificate %d: crypto/x509 says %v; this test is about what it accepts", name, depth, err)
			}
			q.chain[depth] = c
			if _, err := q.ask(); ReasonOf(err) != ReasonMalformed {
				t.Errorf("%s of certificate %d: %v, want reason %v", name, depth, err, ReasonMalformed)
			}
		}
	}
}
