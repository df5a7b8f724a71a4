package certpath

import "crypto/x509"

// element splits the first DER element off b. It knows what certificates are
// made of: one-octet tags and definite, minimal lengths.
func element(b []byte) (tag byte, content, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, nil, nil, false
	}
	tag, length, head := b[0], int(b[1]), 2
	if length >= 0x80 {
		octets := length & 0x7f
		if octets == 0 || octets > 3 || len(b) < 2+octets || b[2] == 0 {
			return 0, nil, nil, false
		}
		length = 0
		for _, octet := range b[2 : 2+octets] {
			length = length<<8 | int(octet)
		}
		if length < 0x80 {
			return 0, nil, nil, false
		}
		head += octets
	}
	if length > len(b)-head {
		return 0, nil, nil, false
	}
	return tag, b[head : head+length], b[head+length:], true
}

// DER tags of what is read here.
const (
	tagBitString = 0x03
	tagOID       = 0x06
	tagSequence  = 0x30

	// GeneralName (RFC 5280 §4.2.1.6).
	tagEmail = 0x81
	tagDNS   = 0x82
	tagURI   = 0x86
	tagIP    = 0x87
)

// The last arc of extensions below id-ce, 2.5.29.
const (
	extKeyUsage         = 15
	extSubjectAltName   = 17
	extBasicConstraints = 19
	extNameConstraints  = 30
	extExtendedKeyUsage = 37
)

// extension returns an id-ce extension of c. crypto/x509 has refused
// certificates that carry one twice.
func extension(c *x509.Certificate, arc int) (value []byte, critical, found bool) {
	for i := range c.Extensions {
		id := c.Extensions[i].Id
		if len(id) == 4 && id[3] == arc && id[0] == 2 && id[1] == 5 && id[2] == 29 {
			return c.Extensions[i].Value, c.Extensions[i].Critical, true
		}
	}
	return nil, false, false
}
