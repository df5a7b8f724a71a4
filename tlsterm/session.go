package tlsterm

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"verigate/certpath"
)

// session is what a ticket carries.
type session struct {
	since time.Time // when the client proved its key, in whole seconds
	// chain is what the client presented, the leaf's place aside, which may be nil.
	chain []*x509.Certificate
	leaf  []byte // in DER; if decoded, a part of what was
	// issuers are the members of chain, by pointer, that a ticket only refers to. Decoding
	// leaves it nil.
	issuers []*x509.Certificate
	// state is crypto/tls's encoding of the session. It is opaque but for one thing: the
	// octets of chain are in it, in order.
	state []byte
}

// How a certificate is written.
const (
	certificateInFull  = 0
	certificateByName  = 1
	maxCertificateSize = math.MaxUint16
)

// encode writes the session without the certificates of CAs, which make up most of it:
//
//	since(8) count(1) certificate … gap …
//	certificate = 0 u16(DER) DER | 1 name(16)
//	gap = u16(octets) octets
//
// The gaps are what lies before, between and after the certificates in the state.
// Nothing else is assumed about it, so that it may change with the version of Go.
//
// It returns false for what cannot be written so. What it refers to is in known then.
func (s *session) encode(known *issuers) ([]byte, bool) {
	if len(s.chain) == 0 || len(s.chain) > certpath.MaxChainCertificates {
		return nil, false
	}
	b := make([]byte, 0, 1<<10)
	b = binary.BigEndian.AppendUint64(b, uint64(s.since.Unix()))
	b = append(b, byte(len(s.chain)))
	for i, c := range s.chain {
		if i > 0 && slices.Contains(s.issuers, c) {
			if name, ok := known.learn(c); ok {
				b = append(b, certificateByName)
				b = append(b, name[:]...)
				continue
			}
		}
		der := s.der(i)
		if len(der) > maxCertificateSize {
			return nil, false
		}
		b = append(b, certificateInFull)
		b = appendFramed(b, der)
	}
	rest := s.state
	for i := range s.chain {
		gap, after, found := bytes.Cut(rest, s.der(i))
		if !found || len(gap) > math.MaxUint16 {
			return nil, false
		}
		b = appendFramed(b, gap)
		rest = after
	}
	if len(rest) > math.MaxUint16 {
		return nil, false
	}
	return appendFramed(b, rest), true
}

// der is the certificate at that place of the chain.
func (s *session) der(i int) []byte {
	if i == 0 {
		return s.leaf
	}
	return s.chain[i].Raw
}

func appendFramed(b, octets []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(octets)))
	return append(b, octets...)
}

// decodeSession reads what encode wrote. It returns false for anything else, and for a
// certificate that is referred to and not known.
func decodeSession(b []byte, known *issuers) (*session, bool) {
	r := reader{rest: b, ok: true}
	s := &session{since: time.Unix(int64(r.number(8)), 0)}
	count := int(r.number(1))
	if !r.ok || count == 0 || count > certpath.MaxChainCertificates {
		return nil, false
	}
	s.chain = make([]*x509.Certificate, count)
	if kind := r.number(1); kind != certificateInFull {
		return nil, false
	}
	s.leaf = r.framed()
	size := len(s.leaf)
	for i := range s.chain[1:] {
		c := r.certificate(known)
		if c == nil {
			return nil, false
		}
		s.chain[1+i] = c
		size += len(c.Raw)
	}
	// crypto/tls parses the certificates in it once more and keeps references into it, so
	// it must not be cleared after use.
	s.state = make([]byte, 0, size+len(r.rest))
	s.state = append(append(s.state, r.framed()...), s.leaf...)
	for _, c := range s.chain[1:] {
		s.state = append(append(s.state, r.framed()...), c.Raw...)
	}
	s.state = append(s.state, r.framed()...)
	return s, r.ok && len(r.rest) == 0
}

// parseLeaf completes the chain of a session that was decoded.
func (s *session) parseLeaf() bool {
	// A copy: what lies next to it is a secret of the session, which nobody shall keep who
	// keeps the certificate.
	c, err := x509.ParseCertificate(bytes.Clone(s.leaf))
	if err != nil {
		return false
	}
	s.chain[0] = c
	return true
}

// reader takes octets off the front of rest. After the first failure ok is false and
// everything is empty.
type reader struct {
	rest []byte
	ok   bool
}

func (r *reader) take(n int) []byte {
	if !r.ok || n > len(r.rest) {
		r.ok, r.rest = false, nil
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) number(octets int) (n uint64) {
	for _, o := range r.take(octets) {
		n = n<<8 | uint64(o)
	}
	return n
}

func (r *reader) framed() []byte { return r.take(int(r.number(2))) }

// certificate reads a certificate other than the leaf, nil if there is none.
func (r *reader) certificate(known *issuers) *x509.Certificate {
	switch kind := r.number(1); {
	case !r.ok:
		return nil
	case kind == certificateByName:
		var name issuerName
		if copy(name[:], r.take(len(name))) != len(name) {
			return nil
		}
		return known.find(name)
	case kind == certificateInFull:
		c, err := x509.ParseCertificate(bytes.Clone(r.framed())) // a copy, as of a leaf
		if err != nil {
			return nil
		}
		return c
	}
	return nil
}
