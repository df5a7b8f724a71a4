package files

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// crlFile is what a file of revocation lists says. It is shared by all that
// follow a file of this content: lists have megabytes, and remember which
// signatures were checked.
type crlFile struct {
	crls       []*trust.CRL
	digest     trust.Digest // of the octets, as sha256sum has it
	nextUpdate time.Time    // the first
}

// crlItem follows a file of revocation lists.
type crlItem struct {
	item[crlFile]
	reached marks
}

func newCRLItem(kind string, origin workloadid.Origin, f CRLFile) *crlItem {
	c := &crlItem{reached: make(marks)}
	c.status = ItemStatus{Kind: kind, Name: origin.String() + " " + f.name(), Paths: []string{f.Path}}
	c.limit = trust.MaxCRLBytes
	c.optional, c.nothing = f.Optional, new(crlFile)
	c.parse = func(contents [][]byte, _ time.Time) (*crlFile, error) {
		crls, err := trust.ParseCRLs(f.Path, contents[0])
		if err != nil {
			return nil, err
		}
		parsed := &crlFile{crls: crls, digest: sha256.Sum256(contents[0])}
		for _, crl := range crls {
			parsed.nextUpdate = earlier(parsed.nextUpdate, crl.NextUpdate())
		}
		return parsed, nil
	}
	c.judge = func(value *crlFile, now time.Time) ([]string, error) {
		if good := c.held.good; good != nil {
			c.reached.confirm(good.crls)
		}
		if fault := c.reached.check(value.crls); fault != nil {
			fault.Name = f.Path
			return nil, fault
		}
		return staleNotes(value.crls, now), nil
	}
	c.describe = func(value *crlFile) (trust.Digest, time.Time) { return value.digest, value.nextUpdate }
	c.take = func(value *crlFile) { c.reached.take(value.crls) }
	return c
}

// staleNotes tells of lists whose publisher is late.
func staleNotes(crls []*trust.CRL, now time.Time) (notes []string) {
	const maxNotes = 20
	late := 0
	for _, crl := range crls {
		if end := crl.NextUpdate(); now.After(end) {
			if late++; late <= maxNotes {
				notes = append(notes, fmt.Sprintf("CRL %s of %s was to be replaced by %s", crl.Number(), crl.Issuer(), end.Format(time.DateTime)))
			}
		}
	}
	if late > maxNotes {
		notes = append(notes, fmt.Sprintf("and %d notes more", late-maxNotes))
	}
	return notes
}

// marks is how far each series of lists has come that was ever in a file. An
// earlier list of the same series forgets revocations, whoever puts it there.
type marks map[trust.Digest]mark

// mark is of one list.
type mark struct {
	number     string // decimal
	thisUpdate time.Time
	// verified says that the key of an issuer was seen to have signed the list. As long
	// as it was not, the list may be a forgery, of which anybody on the way of plain
	// http is capable, and its number one that no genuine list will ever reach.
	verified bool
}

// maxMarks bounds what is remembered, so that a publisher who invents series
// takes no more than this.
const maxMarks = 4 * trust.MaxCRLs

// confirm notes of which lists the signature has been verified since they were taken.
func (m marks) confirm(crls []*trust.CRL) {
	for _, crl := range crls {
		series := crl.Series()
		if reached, ok := m[series]; ok && crl.Verified() && !reached.behind(markOf(crl)) {
			reached.verified = true
			m[series] = reached
		}
	}
}

// check refuses crls if the latest of a series is behind what was reached.
func (m marks) check(crls []*trust.CRL) *trust.Error {
	for series, offered := range latest(crls) {
		if held, ok := m[series]; ok && offered.behind(held) {
			return &trust.Error{Reason: trust.ReasonRollback, Detail: fmt.Sprintf("%v is offered, %v is held", offered, held)}
		}
	}
	return nil
}

func (m marks) take(crls []*trust.CRL) {
	reached := latest(crls)
	if len(m)+len(reached) > maxMarks {
		clear(m)
	}
	maps.Copy(m, reached)
}

// latest returns the mark of the latest list of each series. A file may have
// earlier ones beside it.
func latest(crls []*trust.CRL) marks {
	m := make(marks, len(crls))
	for _, crl := range crls {
		this, series := markOf(crl), crl.Series()
		if held, ok := m[series]; !ok || held.behind(this) {
			m[series] = this
		}
	}
	return m
}

func markOf(crl *trust.CRL) mark { return mark{crl.Number(), crl.ThisUpdate(), crl.Verified()} }

// behind reports whether a list with mark k must not replace one with mark other: its
// number is lower, or its date is earlier. If the other one was never verified, a
// later date is enough: a genuine list must not be locked out by a forged one.
func (k mark) behind(other mark) bool {
	// Of decimal numbers without leading zeros the longer one is greater.
	number := cmp.Or(cmp.Compare(len(k.number), len(other.number)), strings.Compare(k.number, other.number))
	date := k.thisUpdate.Compare(other.thisUpdate)
	if !other.verified && date > 0 {
		return false
	}
	return number < 0 || number == 0 && date < 0
}

// String names the list for an operator.
func (k mark) String() string {
	return "CRL " + k.number + " of " + k.thisUpdate.UTC().Format(time.DateTime)
}
