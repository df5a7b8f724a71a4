package certpath

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"slices"
)

// minSpared is how much a certificate has to keep alive besides itself for a copy
// to be made of it.
const minSpared = 128

// usualExtensions are those that leaves tend to have (RFC 5280 §4.2).
var usualExtensions = []asn1.ObjectIdentifier{
	{2, 5, 29, 14},              // subject key identifier
	{2, 5, 29, 15},              // key usage
	{2, 5, 29, 17},              // subject alternative name
	{2, 5, 29, 19},              // basic constraints
	{2, 5, 29, 31},              // CRL distribution points
	{2, 5, 29, 32},              // certificate policies
	{2, 5, 29, 35},              // authority key identifier
	{2, 5, 29, 37},              // extended key usage
	{1, 3, 6, 1, 5, 5, 7, 1, 1}, // authority information access
}

// own returns leaf without what came with it, so that whoever keeps a path keeps no
// more than that. crypto/tls parses a certificate where it lies in the handshake
// message, all parts of it refer to that, and so the whole message stays: the
// chain's other certificates, which the path has copies of, and whatever else the client
// has put into it. The capacity of Raw ends where the message does.
//
// Parts are moved rather than parsed anew, which takes 8 µs. What issuer, the next on the
// path, has too, and what nearly every certificate has, is shared: a leaf keeps a
// quarter fewer objects, with their share of the holes between them.
func own(leaf, issuer *x509.Certificate) *x509.Certificate {
	if cap(leaf.Raw)-len(leaf.Raw) < minSpared {
		return leaf
	}
	raw := bytes.Clone(leaf.Raw)
	move := func(part *[]byte) {
		at := cap(leaf.Raw) - cap(*part)
		switch end := at + len(*part); {
		case len(*part) == 0:
		case at >= 0 && end <= len(raw) && bytes.Equal(raw[at:end], *part):
			*part = raw[at:end:end]
		default: // it has octets of its own already, or is not of this certificate at all
			*part = bytes.Clone(*part)
		}
	}
	c := *leaf
	c.Raw = raw
	switch key := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey: // numbers of their own
	case ed25519.PublicKey:
		octets := []byte(key)
		move(&octets)
		c.PublicKey = ed25519.PublicKey(octets)
	default:
		return parsedAnew(leaf, raw)
	}
	if len(leaf.Policies) > 0 || len(leaf.PermittedIPRanges) > 0 || len(leaf.ExcludedIPRanges) > 0 {
		return parsedAnew(leaf, raw) // parts that cannot be reached, or that a leaf does not have
	}
	for _, part := range []*[]byte{
		&c.RawTBSCertificate, &c.RawSubjectPublicKeyInfo, &c.RawSubject, &c.RawIssuer,
		&c.Signature, &c.SubjectKeyId, &c.AuthorityKeyId,
	} {
		move(part)
	}
	c.Extensions = slices.Clone(leaf.Extensions)
	for i := range c.Extensions {
		move(&c.Extensions[i].Value)
		if at := slices.IndexFunc(usualExtensions, c.Extensions[i].Id.Equal); at >= 0 {
			c.Extensions[i].Id = usualExtensions[at]
		}
	}
	if bytes.Equal(leaf.RawIssuer, issuer.RawSubject) {
		c.Issuer = issuer.Subject
	}
	c.IPAddresses = slices.Clone(leaf.IPAddresses)
	for i := range c.IPAddresses {
		octets := []byte(c.IPAddresses[i])
		move(&octets)
		c.IPAddresses[i] = octets
	}
	return &c
}

// parsedAnew returns the certificate in raw, or leaf, which was parsed from the same octets.
func parsedAnew(leaf *x509.Certificate, raw []byte) *x509.Certificate {
	c, err := x509.ParseCertificate(raw)
	if err != nil { // cannot be
		return leaf
	}
	return c
}
