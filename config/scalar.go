package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// Duration is a span such as 250ms, 30s or 24h.
type Duration time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || text[0] == '+' {
		return fmt.Errorf("%s is not a duration; write a number and a unit, such as 250ms, 30s or 24h", quote(string(text)))
	}
	*d = Duration(v)
	return nil
}

// String returns the span as Go writes it, without zero minutes and seconds at
// its end: 24h, not 24h0m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Origin is scheme and trust domain, such as spiffe://prod.example.
type Origin struct{ workloadid.Origin }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (o *Origin) UnmarshalText(text []byte) (err error) {
	o.Origin, err = workloadid.ParseOrigin(string(text))
	if err != nil {
		return fmt.Errorf("%s is not an origin such as spiffe://prod.example: %w", quote(string(text)), err)
	}
	return nil
}

// Pattern selects identifiers, such as spiffe://prod.example/ns/*/sa/api.
type Pattern struct{ workloadid.Pattern }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Pattern) UnmarshalText(text []byte) (err error) {
	p.Pattern, err = workloadid.ParsePattern(string(text))
	if err != nil {
		return fmt.Errorf("%s is not an identifier or pattern such as spiffe://prod.example/ns/shop/sa/api: %w", quote(string(text)), err)
	}
	return nil
}

// Digest is a SHA-256 in hex.
type Digest [32]byte

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Digest) UnmarshalText(text []byte) error {
	parsed, ok := trust.ParseDigest(string(text))
	if !ok {
		return fmt.Errorf("%s is not a SHA-256 digest: want 64 hexadecimal digits; `gateway explain` prints those of a chain", quote(string(text)))
	}
	*d = Digest(parsed)
	if *d == (Digest{}) {
		// Elsewhere the zero Digest says that the field was left out, which turns
		// a statement about one issuer into one about everybody.
		return errors.New("a digest of zeros alone belongs to no key; `gateway explain` prints those of a chain")
	}
	return nil
}

// Serial is a certificate's serial number, big-endian and padded on the left.
type Serial struct {
	octets [20]byte
	set    bool
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Serial) UnmarshalText(text []byte) error {
	digits := strings.ReplaceAll(string(text), ":", "")
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) == 0 {
		return fmt.Errorf("%s is not a serial number: want hexadecimal digits, with or without colons, as `gateway explain` and `openssl x509 -serial` print them", quote(string(text)))
	}
	for len(raw) > 1 && raw[0] == 0 {
		raw = raw[1:]
	}
	if len(raw) > len(s.octets) {
		return errors.New("a serial number has at most 20 octets (RFC 5280 §4.1.2.2)")
	}
	*s = Serial{set: true}
	copy(s.octets[len(s.octets)-len(raw):], raw)
	return nil
}

// Network is an IP network such as 10.0.0.0/8, or one address.
type Network struct{ netip.Prefix }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *Network) UnmarshalText(text []byte) error {
	if address, err := netip.ParseAddr(string(text)); err == nil {
		n.Prefix = netip.PrefixFrom(address, address.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("%s is not a network such as 10.0.0.0/8 or an address", quote(string(text)))
	}
	n.Prefix = prefix.Masked()
	return nil
}
