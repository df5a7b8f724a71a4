package files

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
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
	genuine genuine
	inForce []*trust.CRL // what the last look made of it
}

func newCRLItem(kind string, origin workloadid.Origin, f CRLFile) *crlItem {
	c := &crlItem{reached: make(marks), genuine: make(genuine)}
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
			if next := crl.NextUpdate(); parsed.nextUpdate.IsZero() || next.Before(parsed.nextUpdate) {
				parsed.nextUpdate = next
			}
		}
		return parsed, nil
	}
	c.judge = func(value *crlFile, now time.Time) ([]string, error) {
		c.genuine.learn(c.inForce)
		fault := c.genuine.check(value.crls)
		if fault == nil {
			fault = c.reached.check(value.crls, now)
		}
		if fault != nil {
			fault.Name = f.Path
			return nil, fault
		}
		return append(staleNotes(value.crls, now), c.genuine.notes(value.crls)...), nil
	}
	c.describe = func(value *crlFile) (trust.Digest, time.Time) { return value.digest, value.nextUpdate }
	c.take = func(value *crlFile) { c.reached.take(value.crls) }
	return c
}

// lists returns what is to be in force of f, and remembers it. f is what the last
// look suggests.
func (c *crlItem) lists(f *crlFile, now time.Time) []*trust.CRL {
	c.genuine.learn(c.inForce)
	c.inForce = c.genuine.complete(sameAs(c.inForce, f.crls), c.optional, now)
	return c.inForce
}

// sameAs returns crls with those that held has as well replaced by held's: a file that
// was unreadable for a moment is parsed anew, and what is in force, and remembers which
// signatures were verified, are the lists of before.
func sameAs(held, crls []*trust.CRL) []*trust.CRL {
	out := slices.Clone(crls)
	for i, crl := range out {
		for _, known := range held {
			if known.Digest() == crl.Digest() {
				out[i] = known
			}
		}
	}
	return out
}

// genuine is, by its series, the newest list that the key of an issuer was seen to
// have signed. Nothing that was not signed can change what is here: whoever can put
// something in the file, as anybody on the way of plain http can, gets neither an old
// list in the place of it nor, with a forged one, the status of a whole trust domain
// out of the way.
type genuine map[trust.Digest]*trust.CRL

// learn takes up those of crls, which were in force, whose signature was verified.
func (g genuine) learn(crls []*trust.CRL) {
	for _, crl := range crls {
		if crl.Verified() && !isOlder(crl, g[crl.Series()]) {
			g[crl.Series()] = crl
		}
	}
}

// isOlder reports whether crl must not stand in the place of held, nil if there is
// nothing: its number or its date goes back. A CA that was restored from a backup
// counts on from there, and has forgotten what was revoked since.
func isOlder(crl, held *trust.CRL) bool {
	if held == nil || crl == held {
		return false
	}
	return compareNumbers(crl.Number(), held.Number()) < 0 || crl.ThisUpdate().Before(held.ThisUpdate())
}

// check refuses crls if of a series only older lists are among them.
func (g genuine) check(crls []*trust.CRL) *trust.Error {
	older, fresh := make(map[trust.Digest]*trust.CRL), make(map[trust.Digest]bool)
	for _, crl := range crls {
		if series := crl.Series(); isOlder(crl, g[series]) && crl.Digest() != g[series].Digest() {
			older[series] = crl
		} else {
			fresh[series] = true
		}
	}
	for series, crl := range older {
		if !fresh[series] {
			return &trust.Error{Reason: trust.ReasonRollback, Detail: fmt.Sprintf("%v is offered, %v is held", markOf(crl), markOf(g[series]))}
		}
	}
	return nil
}

// complete returns crls without those that are older than a genuine list, and with
// each genuine list that none of them replaces yet: a list that is newer is believed
// once its signature has been verified, which takes a chain of its issuer. One that is
// gone from a file that is fetched stays until its nextUpdate.
func (g genuine) complete(crls []*trust.CRL, fetched bool, now time.Time) []*trust.CRL {
	all := make([]*trust.CRL, 0, len(crls))
	offered, replaced := make(map[trust.Digest]bool), make(map[trust.Digest]bool)
	for _, crl := range crls {
		series := crl.Series()
		held := g[series]
		if held != nil && crl.Digest() == held.Digest() {
			crl = held // which remembers its signature
		}
		if isOlder(crl, held) {
			continue
		}
		all = append(all, crl)
		offered[series] = true
		if crl == held || crl.Verified() {
			replaced[series] = true
		}
	}
	for _, series := range slices.SortedFunc(maps.Keys(g), func(a, b trust.Digest) int { return bytes.Compare(a[:], b[:]) }) {
		held := g[series]
		switch {
		case replaced[series]:
		case offered[series], fetched && now.Before(held.NextUpdate()):
			all = append(all, held)
		default:
			delete(g, series) // the operator took it out
		}
	}
	return all
}

// notes tells of genuine lists that stay beside what the file says.
func (g genuine) notes(crls []*trust.CRL) (notes []string) {
	for _, crl := range crls {
		held := g[crl.Series()]
		if held != nil && held != crl && crl.Digest() != held.Digest() && !crl.Verified() && len(notes) < maxNotes {
			notes = append(notes, fmt.Sprintf("%v of %s: its signature is not verified yet, and %v stays in force until it is", markOf(crl), crl.Issuer(), markOf(held)))
		}
	}
	return notes
}

// maxNotes bounds what is said about one file, of each kind.
const maxNotes = 20

// staleNotes tells of lists whose publisher is late.
func staleNotes(crls []*trust.CRL, now time.Time) (notes []string) {
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

// marks is how far each series of lists has come that was ever in a file, genuine
// or not.
type marks map[trust.Digest]mark

// mark is of one list.
type mark struct {
	number     string // decimal
	thisUpdate time.Time
}

// maxMarks bounds what is remembered, so that a publisher who invents series
// takes no more than this.
const maxMarks = 4 * trust.MaxCRLs

// maxAhead is how far the clock of a publisher may run ahead.
const maxAhead = 5 * time.Minute

// check refuses crls if the latest of a series is behind what was reached. What bears
// a date to come has reached nothing: it would lock out all genuine lists until then.
func (m marks) check(crls []*trust.CRL, now time.Time) *trust.Error {
	for series, offered := range latest(crls) {
		if held, ok := m[series]; ok && !held.thisUpdate.After(now.Add(maxAhead)) && offered.behind(held) {
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

func markOf(crl *trust.CRL) mark { return mark{crl.Number(), crl.ThisUpdate()} }

// behind reports whether a list with mark k must not replace one with mark other: its
// number is lower, or its date is earlier. A later date is enough: a genuine list must
// not be locked out by a forged one with a number that none will ever reach.
func (k mark) behind(other mark) bool {
	number, date := compareNumbers(k.number, other.number), k.thisUpdate.Compare(other.thisUpdate)
	return date <= 0 && (number < 0 || number == 0 && date < 0)
}

// compareNumbers compares decimal numbers without leading zeros.
func compareNumbers(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// String names the list for an operator.
func (k mark) String() string {
	return "CRL " + k.number + " of " + k.thisUpdate.UTC().Format(time.DateTime)
}
