package trust

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"verigate/workloadid"
)

// DenyOptions are the entries of a deny-list, in any order. Repetitions count
// once.
type DenyOptions struct {
	Identities []workloadid.Pattern
	Serials    []IssuerSerial
	Keys       []Digest // SHA-256 of the SubjectPublicKeyInfo of any certificate of a path
}

// DenyList names what is refused whatever else speaks for it (REV-01). It is
// immutable. The nil *DenyList denies nothing.
type DenyList struct {
	identities workloadid.Index[string] // each pattern under itself
	serials    map[IssuerSerial]struct{}
	keys       map[Digest]struct{}
	length     int
	digest     Digest
}

// NewDenyList returns the list of the entries in o, which is not kept. The zero
// pattern, which matches nothing, is not an entry.
func NewDenyList(o DenyOptions) *DenyList {
	d := &DenyList{
		serials: make(map[IssuerSerial]struct{}, len(o.Serials)),
		keys:    make(map[Digest]struct{}, len(o.Keys)),
	}
	identities := slices.Clone(o.Identities)
	slices.SortFunc(identities, workloadid.ComparePatterns)
	identities = slices.Compact(identities)
	identities = slices.DeleteFunc(identities, workloadid.Pattern.IsZero)
	for _, p := range identities {
		*d.identities.At(p) = p.String()
	}
	for _, s := range o.Serials {
		d.serials[s] = struct{}{}
	}
	for _, k := range o.Keys {
		d.keys[k] = struct{}{}
	}
	d.length = len(identities) + len(d.serials) + len(d.keys)
	d.digest = d.sum(identities)
	return d
}

func (d *DenyList) sum(identities []workloadid.Pattern) Digest {
	c := newContent("verigate deny-list 1")
	c.number(uint64(len(identities)))
	for _, p := range identities {
		c.text(p.String())
	}
	c.number(uint64(len(d.serials)))
	for _, s := range slices.SortedFunc(maps.Keys(d.serials), compareSerials) {
		c.octets(s.IssuerSPKI[:])
		c.octets(s.Serial[:])
	}
	c.number(uint64(len(d.keys)))
	for _, k := range slices.SortedFunc(maps.Keys(d.keys), compareDigests) {
		c.octets(k[:])
	}
	return c.sum()
}

func compareDigests(a, b Digest) int { return bytes.Compare(a[:], b[:]) }

func compareSerials(a, b IssuerSerial) int {
	return cmp.Or(compareDigests(a.IssuerSPKI, b.IssuerSPKI), bytes.Compare(a.Serial[:], b.Serial[:]))
}

// Find returns the entry that denies id or one of refs, the certificates of its
// path, leaf first. id may be zero. entry is written for the operator, such as
// "identity spiffe://prod.example/ns/shop/**", and depth is the index into refs,
// 0 for an identity.
//
// The identity is looked up first, an exact entry before a pattern and the most
// specific pattern before broader ones; then the certificates from the leaf
// upwards. What that costs does not follow the number of entries (of patterns:
// see [workloadid.Index]). Find does not allocate when nothing is found.
func (d *DenyList) Find(id workloadid.ID, refs []CertRef) (entry string, depth int, found bool) {
	if d == nil || d.length == 0 {
		return "", 0, false
	}
	var denied *string
	if d.identities.Search(id, func(p *string) bool { denied = p; return true }) {
		return "identity " + *denied, 0, true
	}
	for i := range refs {
		s := IssuerSerial{IssuerSPKI: refs[i].IssuerSPKI, Serial: refs[i].Serial}
		if _, ok := d.serials[s]; ok {
			return "issuer_serial " + s.String(), i, true
		}
		if _, ok := d.keys[refs[i].SPKI]; ok {
			return "spki_sha256 " + refs[i].SPKI.String(), i, true
		}
	}
	return "", 0, false
}

// Len returns the number of entries.
func (d *DenyList) Len() int {
	if d == nil {
		return 0
	}
	return d.length
}

// Digest covers the entries. The nil list has the digest of an empty one.
func (d *DenyList) Digest() Digest {
	if d == nil {
		return emptyDenyDigest
	}
	return d.digest
}

var emptyDenyDigest = NewDenyList(DenyOptions{}).digest
