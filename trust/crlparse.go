package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"

	// Linked for SignatureAlgorithm.Hash.
	_ "crypto/sha512"
)

// Bounds on CRLs.
const (
	// MaxCRLBytes bounds a file of CRLs, about a million and a half entries in DER.
	MaxCRLBytes = 64 << 20
	// MaxCRLs bounds the CRLs of a file, and of an origin.
	MaxCRLs = 1024
	// maxIssuerBytes is as much as certpath allows names to have.
	maxIssuerBytes = 4 << 10
)

// ParseCRLs reads PEM blocks "X509 CRL", one or several, or one CRL in DER. name is
// used in errors and in [CRL.Name].
//
// A CRL is read strictly. It must be of version 2 with a CRL number and a next
// update (RFC 5280 §5.1), signed by an algorithm that is accepted for certificates.
// What it has to say must be understood in full: a critical extension that is not
// processed is refused, of the CRL as of an entry (§5.2, §5.3), and so are delta
// CRLs, indirect CRLs, CRLs for some reasons only and CRLs of attribute
// certificates. Its signature is not checked here, because the issuer's certificate
// comes with the chains of the peers.
//
// The error is an [*Error]. Cost and memory are linear in len(data), which is at most
// [MaxCRLBytes]; data is not kept.
func ParseCRLs(name string, data []byte) ([]*CRL, error) {
	ders, fault := crlDocuments(data)
	if fault != nil {
		fault.Name = name
		return nil, fault
	}
	crls := make([]*CRL, len(ders))
	for i, der := range ders {
		place := ""
		crlName := name
		if len(ders) > 1 {
			place = fmt.Sprintf("CRL %d", i+1)
			crlName = name + " " + place
		}
		crls[i], fault = parseCRL(der)
		if fault != nil {
			fault.Name = name
			fault.Place = strings.TrimPrefix(place+": "+fault.Place, ": ")
			fault.Place = strings.TrimSuffix(fault.Place, ": ")
			return nil, fault
		}
		crls[i].name = crlName
	}
	return crls, nil
}

// crlDocuments returns the DER of each CRL in data.
func crlDocuments(data []byte) ([][]byte, *Error) {
	if len(data) > MaxCRLBytes {
		return nil, &Error{Reason: ReasonTooLarge, Detail: fmt.Sprintf("over %d octets", MaxCRLBytes)}
	}
	// No CRL is so short that its length would be the letter behind a "0".
	if len(data) > 1 && data[0] == tagSequence && data[1] >= 0x80 {
		return [][]byte{data}, nil
	}
	data = bytes.TrimPrefix(data, utf8BOM)
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, &Error{Reason: ReasonEmpty}
	}
	blocks, fault := pemBlocks(data)
	switch {
	case fault != nil:
		return nil, fault
	case len(blocks) == 0:
		return nil, &Error{Reason: ReasonNoCRL, Detail: fmt.Sprintf("found: %s; want: -----BEGIN X509 CRL----- or DER", beginning(data))}
	case len(blocks) > MaxCRLs:
		return nil, &Error{Reason: ReasonTooLarge, Detail: fmt.Sprintf("%d CRLs, at most %d", len(blocks), MaxCRLs)}
	}
	ders := make([][]byte, len(blocks))
	for i, block := range blocks {
		if fault := checkCRLBlock(block); fault != nil {
			fault.Place = fmt.Sprintf("block %d", i+1)
			return nil, fault
		}
		ders[i] = block.Bytes
	}
	return ders, nil
}

func checkCRLBlock(block *pem.Block) *Error {
	switch {
	case block.Type == "X509 CRL" && len(block.Headers) == 0:
		return nil
	case block.Type == "X509 CRL":
		return &Error{Reason: ReasonEncoding, Detail: "a CRL has no headers (RFC 7468 §2)"}
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return &Error{Reason: ReasonPrivateKey}
	case block.Type == "CERTIFICATE":
		return &Error{Reason: ReasonBlock, Detail: "a certificate is not a CRL; the certificates of CRL issuers come with the chains of the peers"}
	}
	return &Error{Reason: ReasonBlock, Detail: quote(block.Type)}
}

// parseCRL reads the DER of one CRL. The Place of its error is within the CRL.
func parseCRL(der []byte) (*CRL, *Error) {
	malformed := func(what string) (*CRL, *Error) { return nil, &Error{Reason: ReasonCRL, Detail: what} }

	// CertificateList ::= SEQUENCE { tbsCertList, signatureAlgorithm, signatureValue }
	outer := derReader{rest: der}
	list := outer.into(tagSequence)
	content, tbs := list.readRaw(tagSequence)
	_, algorithm := list.readRaw(tagSequence)
	signature := list.read(tagBitString)
	if !outer.end() || !list.end() {
		return malformed("it is not one DER sequence of list, algorithm and signature; a file may be cut off")
	}
	if len(signature) < 2 || signature[0] != 0 {
		return malformed("its signature is empty or not whole octets")
	}
	c := &CRL{
		digest:    sha256.Sum256(der),
		signature: bytes.Clone(signature[1:]),
		algorithm: ParseSignatureAlgorithm(algorithm),
	}
	if c.algorithm == 0 {
		return nil, &Error{Reason: ReasonCRLAlgorithm, Detail: "its identifier is " + algorithmOID(algorithm)}
	}

	// TBSCertList ::= SEQUENCE { version, signature, issuer, thisUpdate, nextUpdate,
	// revokedCertificates, [0] crlExtensions }
	r := derReader{rest: content}
	if !r.next(tagInteger) {
		return nil, &Error{Reason: ReasonCRLVersion, Detail: "it is version 1"}
	}
	if version := r.read(tagInteger); len(version) != 1 || version[0] != 1 {
		return nil, &Error{Reason: ReasonCRLVersion}
	}
	if _, inner := r.readRaw(tagSequence); !bytes.Equal(inner, algorithm) {
		return malformed("it names two signature algorithms, one inside and another outside of what is signed (RFC 5280 §5.1.1.2)")
	}
	_, c.rawIssuer = r.readRaw(tagSequence)
	c.rawIssuer = bytes.Clone(c.rawIssuer)
	c.thisUpdate = r.time()
	if r.broken {
		return malformed("its issuer or its thisUpdate is not well formed")
	}
	if fault := c.nameIssuer(); fault != nil {
		return nil, fault
	}
	if !r.next(tagUTCTime) && !r.next(tagGeneralizedTime) {
		return nil, &Error{Reason: ReasonCRLNextUpdate}
	}
	c.nextUpdate = r.time()
	if r.broken || c.nextUpdate.Before(c.thisUpdate) {
		return malformed("its nextUpdate is not well formed or before its thisUpdate")
	}
	var entries []byte
	if r.next(tagSequence) {
		entries = r.read(tagSequence)
	}
	const tagExtensions = 0xa0
	var extensions derReader
	if r.next(tagExtensions) {
		explicit := r.into(tagExtensions)
		extensions = explicit.into(tagSequence)
		r.broken = r.broken || !explicit.end()
	}
	if !r.end() {
		return malformed("its entries or its extensions are not well formed")
	}
	if fault := c.readExtensions(extensions); fault != nil {
		return nil, fault
	}
	if fault := c.readEntries(entries); fault != nil {
		return nil, fault
	}
	c.keepSigned(tbs)
	return c, nil
}

// keepSigned keeps of what is signed no more than checking the signature takes.
func (c *CRL) keepSigned(tbs []byte) {
	hash := c.algorithm.Hash()
	if hash == 0 {
		c.signed = bytes.Clone(tbs)
		return
	}
	h := hash.New()
	h.Write(tbs)
	c.signed = h.Sum(nil)
}

// nameIssuer renders the issuer for operators. An empty name could not be told from
// that of another CA (RFC 5280 §5.1.2.3).
func (c *CRL) nameIssuer() *Error {
	if len(c.rawIssuer) > maxIssuerBytes {
		return &Error{Reason: ReasonTooLarge, Detail: fmt.Sprintf("its issuer has a name of %d octets, at most %d", len(c.rawIssuer), maxIssuerBytes)}
	}
	var sequence pkix.RDNSequence
	rest, err := asn1.Unmarshal(c.rawIssuer, &sequence)
	if err != nil || len(rest) > 0 || len(sequence) == 0 {
		return &Error{Reason: ReasonCRL, Detail: "its issuer is empty or no distinguished name", Err: err}
	}
	var name pkix.Name
	name.FillFromRDNSequence(&sequence)
	c.issuer = quote(name.String())
	return nil
}

// The last arcs of the extensions of a CRL and of its entries, below id-ce.
const (
	arcCRLNumber         = 20
	arcReasonCode        = 21
	arcInvalidityDate    = 24
	arcDeltaCRLIndicator = 27
	arcIssuingPoint      = 28
	arcCertificateIssuer = 29
	arcAuthorityKeyID    = 35
)

// readExtensions reads what a CRL says of itself.
func (c *CRL) readExtensions(r derReader) *Error {
	var seen [256]bool
	for r.more() {
		e := r.extension()
		arc := e.arc()
		if r.broken {
			break
		}
		if arc != 0 && seen[arc] {
			return &Error{Reason: ReasonCRL, Detail: "extension " + e.name() + " is there twice"}
		}
		seen[arc] = true
		switch {
		case arc == arcDeltaCRLIndicator:
			return &Error{Reason: ReasonCRLDelta}
		case arc == arcCRLNumber:
			if fault := c.readNumber(e); fault != nil {
				return fault
			}
		case arc == arcIssuingPoint:
			if fault := c.scope.read(e.value, c.rawIssuer); fault != nil {
				return fault
			}
		case arc == arcAuthorityKeyID:
			if !c.readKeyID(e.value) {
				return &Error{Reason: ReasonCRL, Detail: "its authority key identifier is not well formed"}
			}
		case e.critical:
			return &Error{Reason: ReasonCRLExtension, Detail: "extension " + e.name()}
		}
	}
	switch {
	case r.broken:
		return &Error{Reason: ReasonCRL, Detail: "its extensions are not well formed"}
	case !seen[arcCRLNumber]:
		return &Error{Reason: ReasonCRLNumber, Detail: "there is none"}
	}
	return nil
}

func (c *CRL) readNumber(e derExtension) *Error {
	value := derReader{rest: e.value}
	content := value.read(tagInteger)
	if !value.end() || !derInteger(content) {
		return &Error{Reason: ReasonCRLNumber, Detail: "it is not an integer"}
	}
	if e.critical {
		return &Error{Reason: ReasonCRLNumber, Detail: "it is critical"}
	}
	var ok bool
	if c.number, ok = derSerial(content); !ok {
		return &Error{Reason: ReasonCRLNumber, Detail: "it is negative or has more than 20 octets"}
	}
	return nil
}

// readKeyID reads AuthorityKeyIdentifier ::= SEQUENCE { [0] keyIdentifier, … }.
func (c *CRL) readKeyID(value []byte) bool {
	const tagKeyID = 0x80
	outer := derReader{rest: value}
	inside := outer.into(tagSequence)
	if inside.next(tagKeyID) {
		c.keyID = bytes.Clone(inside.read(tagKeyID))
	}
	for inside.more() {
		inside.readAny()
	}
	return outer.end() && inside.end()
}

// algorithmOID names an AlgorithmIdentifier that is not accepted.
func algorithmOID(identifier []byte) string {
	outer := derReader{rest: identifier}
	inside := outer.into(tagSequence)
	return derExtension{oid: inside.read(tagOID)}.name()
}
