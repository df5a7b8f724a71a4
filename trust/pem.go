package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"
)

// parsePEM reads certificates and refuses everything else.
func (d *document) parsePEM(data []byte) *Error {
	blocks, fault := pemBlocks(data)
	if fault != nil {
		return fault
	}
	if blocks == nil {
		return &Error{Reason: ReasonNoCertificate, Detail: fmt.Sprintf("found: %s; want: -----BEGIN CERTIFICATE----- or a SPIFFE bundle in JSON", beginning(data))}
	}
	for i, block := range blocks {
		place := fmt.Sprintf("block %d", i+1)
		if block.Type != "CERTIFICATE" {
			return misplaced(block, place)
		}
		anchor, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return &Error{Reason: ReasonCertificate, Place: place, Err: err}
		}
		if fault := d.add(anchor, place); fault != nil {
			return fault
		}
	}
	return nil
}

// beginning quotes the start of what is no PEM. It is long enough to recognise a
// web page, another format or another file, and too short to tell what a key is
// that was put in the wrong place.
func beginning(data []byte) string {
	const maxBytes = 24
	line, _, _ := strings.Cut(string(bytes.TrimSpace(data[:min(len(data), 1<<10)])), "\n")
	line = strings.TrimSpace(line)
	if len(line) > maxBytes {
		return strconv.QuoteToASCII(line[:maxBytes]) + "…"
	}
	return strconv.QuoteToASCII(line)
}

// pemBlocks splits data into blocks, nil when there is none. [pem.Decode] passes over what
// it does not understand, which would make a damaged certificate vanish without
// a word; here whatever looks like a boundary must be one.
func pemBlocks(data []byte) ([]*pem.Block, *Error) {
	if bytes.HasPrefix(data, []byte{0x30}) && bytes.IndexByte(data, 0) >= 0 {
		return nil, &Error{Reason: ReasonEncoding, Detail: "it looks like DER; convert it with: openssl x509 -inform DER -in FILE"}
	}
	var blocks []*pem.Block
	for rest := data; ; {
		block, after := pem.Decode(rest)
		end := len(rest)
		if block != nil {
			end = len(rest) - len(after)
		}
		if fault := checkBetween(rest[:end], block); fault != nil {
			fault.Place = fmt.Sprintf("block %d", len(blocks)+1)
			return nil, fault
		}
		if block == nil {
			break
		}
		if len(block.Headers) > 0 && block.Type == "CERTIFICATE" {
			return nil, &Error{Reason: ReasonEncoding, Place: fmt.Sprintf("block %d", len(blocks)+1), Detail: "a certificate has no headers (RFC 7468 §2)"}
		}
		blocks, rest = append(blocks, block), after
	}
	return blocks, nil
}

// checkBetween judges the octets that one call of pem.Decode consumed: text
// without boundaries, and then block, if there is one.
func checkBetween(consumed []byte, block *pem.Block) *Error {
	if bytes.IndexByte(consumed, 0) >= 0 {
		return &Error{Reason: ReasonEncoding, Detail: "it is not text"}
	}
	begins, ends := bytes.Count(consumed, []byte("-----BEGIN")), bytes.Count(consumed, []byte("-----END"))
	want := 0
	if block != nil {
		want = 1
	}
	switch {
	case begins > want || begins > ends:
		return &Error{Reason: ReasonEncoding, Detail: "a block begins and does not end, or its base64 is damaged"}
	case ends > want:
		return &Error{Reason: ReasonEncoding, Detail: "a block ends that did not begin"}
	}
	return nil
}

// misplaced explains why a block that is not a certificate is refused among
// anchors.
func misplaced(block *pem.Block, place string) *Error {
	switch {
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return &Error{Reason: ReasonPrivateKey, Place: place}
	case block.Type == "TRUSTED CERTIFICATE":
		return &Error{Reason: ReasonBlock, Place: place, Detail: "openssl's TRUSTED CERTIFICATE has settings that would be lost; convert it with: openssl x509 -in FILE"}
	case block.Type == "X509 CRL":
		return &Error{Reason: ReasonBlock, Place: place, Detail: "a revocation list is not an anchor"}
	}
	return &Error{Reason: ReasonBlock, Place: place, Detail: quote(block.Type)}
}
