package trust

import (
	"bytes"
	"crypto/x509"
)

// Coverage is how much a CRL can say about a certificate of its issuer.
type Coverage uint8

// The coverages.
const (
	CoversNot  Coverage = iota // nothing: it is of another scope
	CoversSome                 // that the certificate is revoked, but not that it is not
	CoversAll                  // whether the certificate is revoked, for any reason
)

// crlScope is the issuing distribution point of a CRL (RFC 5280 §5.2.5). The zero
// crlScope is all certificates of the issuer.
type crlScope struct {
	raw       string // octet for octet, to tell scopes apart
	onlyUsers bool
	onlyCAs   bool
	// names are the full GeneralNames of the distribution point; nil is every one.
	names [][]byte
}

// tagDirectoryName is that of the GeneralName of this kind.
const tagDirectoryName = 0xa4

// read reads IssuingDistributionPoint ::= SEQUENCE { [0] distributionPoint, [1]
// onlyContainsUserCerts, [2] onlyContainsCACerts, [3] onlySomeReasons, [4]
// indirectCRL, [5] onlyContainsAttributeCerts }.
func (s *crlScope) read(value, rawIssuer []byte) *Error {
	const (
		tagPoint       = 0xa0
		tagUsers       = 0x81
		tagCAs         = 0x82
		tagSomeReasons = 0x83
		tagIndirect    = 0x84
		tagAttributes  = 0x85
	)
	malformed := &Error{Reason: ReasonCRL, Detail: "its issuing distribution point is not well formed"}
	outer := derReader{rest: value}
	r := outer.into(tagSequence)
	s.raw = string(value)
	if r.next(tagPoint) {
		point := r.into(tagPoint)
		full, relative := readPointName(&point)
		for full.more() {
			_, _, name := full.readAny()
			s.names = append(s.names, bytes.Clone(name))
		}
		if relative != nil {
			s.names = append(s.names, directoryName(rawIssuer, relative))
		}
		if !point.end() || full.broken || len(s.names) == 0 {
			return malformed
		}
	}
	if r.next(tagUsers) {
		s.onlyUsers = r.boolean(tagUsers)
	}
	if r.next(tagCAs) {
		s.onlyCAs = r.boolean(tagCAs)
	}
	if r.next(tagSomeReasons) {
		return &Error{Reason: ReasonCRLPartial}
	}
	if r.next(tagIndirect) && r.boolean(tagIndirect) {
		return &Error{Reason: ReasonCRLIndirect}
	}
	if r.next(tagAttributes) && r.boolean(tagAttributes) {
		return &Error{Reason: ReasonCRLAttributes}
	}
	if !r.end() || !outer.end() || s.onlyUsers && s.onlyCAs {
		return malformed
	}
	return nil
}

// readPointName reads DistributionPointName ::= CHOICE { [0] fullName, [1]
// nameRelativeToCRLIssuer }: a reader of GeneralNames, or the content of a
// RelativeDistinguishedName.
func readPointName(r *derReader) (full derReader, relative []byte) {
	const (
		tagFullName = 0xa0
		tagRelative = 0xa1
	)
	if r.next(tagRelative) {
		return full, r.read(tagRelative)
	}
	return r.into(tagFullName), nil
}

// directoryName makes the GeneralName of the name that continues rawIssuer by one
// RelativeDistinguishedName.
func directoryName(rawIssuer, relative []byte) []byte {
	issuer := derReader{rest: rawIssuer}
	content := bytes.Clone(issuer.read(tagSequence))
	content = append(content, derWrap(tagSet, relative)...)
	return derWrap(tagDirectoryName, derWrap(tagSequence, content))
}

// derWrap encodes an element.
func derWrap(tag byte, content []byte) []byte {
	head := []byte{tag}
	switch n := len(content); {
	case n < 0x80:
		head = append(head, byte(n))
	case n < 0x100:
		head = append(head, 0x81, byte(n))
	case n < 0x10000:
		head = append(head, 0x82, byte(n>>8), byte(n))
	default:
		head = append(head, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(head, content...)
}

// maxPointNames bounds the names of a certificate's distribution points that are
// looked at. Whatever is behind them covers nothing.
const maxPointNames = 16

// CRLSubject is what CRLs are asked about of a certificate. It is for one goroutine at
// a time.
type CRLSubject struct {
	IsCA               bool   // by its basic constraints
	Issuer             []byte // its name, in DER
	DistributionPoints []byte // the value of the extension, nil if there is none

	read   bool // points is filled in
	count  int
	points [maxPointNames]pointName
}

// pointName is a name of a distribution point.
type pointName struct {
	general []byte // a whole GeneralName
	some    bool   // the point is for some reasons only
}

// SubjectOf is what CRLs are asked about of cert. It refers to cert's octets, and does
// not allocate.
func SubjectOf(cert *x509.Certificate) CRLSubject {
	const arcDistributionPoints = 31
	s := CRLSubject{IsCA: cert.BasicConstraintsValid && cert.IsCA, Issuer: cert.RawIssuer}
	for i := range cert.Extensions {
		id := cert.Extensions[i].Id
		if len(id) == 4 && id[0] == 2 && id[1] == 5 && id[2] == 29 && id[3] == arcDistributionPoints {
			s.DistributionPoints = cert.Extensions[i].Value
		}
	}
	return s
}

// Covers reports what c can say about s, a certificate that has c's issuer: whether
// it is of the kind that c is about, and whether its CRL distribution points lead to
// c (RFC 5280 §6.3.3 (b)). It does not allocate.
func (c *CRL) Covers(s *CRLSubject) Coverage {
	switch {
	case c.scope.onlyUsers && s.IsCA, c.scope.onlyCAs && !s.IsCA:
		return CoversNot
	case c.scope.names == nil:
		return CoversAll
	}
	if !s.read {
		s.readPoints()
	}
	covers := CoversNot
	for _, name := range c.scope.names {
		// Whatever points the certificate has or has not: a CRL that was found elsewhere
		// may name itself after its issuer (RFC 5280 §6.3.3, the last paragraph).
		if tag, inside, _, ok := derElement(name); ok && tag == tagDirectoryName && bytes.Equal(inside, s.Issuer) {
			return CoversAll
		}
		for i := range s.points[:s.count] {
			switch point := &s.points[i]; {
			case !bytes.Equal(point.general, name):
			case point.some:
				covers = max(covers, CoversSome)
			default:
				return CoversAll
			}
		}
	}
	return covers
}

// readPoints reads the cRLDistributionPoints, a SEQUENCE OF DistributionPoint ::=
// SEQUENCE { [0] distributionPoint, [1] reasons, [2] cRLIssuer }.
func (s *CRLSubject) readPoints() {
	const (
		tagPoint   = 0xa0
		tagReasons = 0x81
	)
	s.read = true
	if len(s.DistributionPoints) == 0 {
		return
	}
	outer := derReader{rest: s.DistributionPoints}
	points := outer.into(tagSequence)
	for points.more() {
		point := points.into(tagSequence)
		var name derReader
		if point.next(tagPoint) {
			name = point.into(tagPoint)
		}
		some := point.next(tagReasons)
		if some {
			point.read(tagReasons)
		}
		// What may follow is a CRL issuer, and its point is for indirect CRLs, which are
		// not processed.
		if !point.end() || !name.more() {
			continue
		}
		// A name that is relative to the issuer does not occur: crypto/x509 refuses
		// certificates that have one.
		full, _ := readPointName(&name)
		for full.more() {
			if _, _, general := full.readAny(); !full.broken {
				s.add(general, some)
			}
		}
	}
}

func (s *CRLSubject) add(general []byte, some bool) {
	if s.count < len(s.points) {
		s.points[s.count] = pointName{general, some}
		s.count++
	}
}
