package files

import (
	"time"

	"verigate/trust"
)

// The kinds of items.
const (
	KindBundle     = "bundle"
	KindCredential = "credential"
)

// Status says how every item fares: for readiness, metrics and the operator. It
// is a copy of the moment it was asked for.
type Status struct {
	Items []ItemStatus // bundles, then credentials, each in the order of the options
	// Removed are the items that the last look left out because the options no
	// longer have them, as they were then. Only [Source.Replace] can remove any.
	Removed []ItemStatus
	// Notes are about the source as a whole, such as a directory that can only be
	// polled.
	Notes []string
}

// ItemStatus is how one item fares.
type ItemStatus struct {
	Kind  string // KindBundle or KindCredential
	Name  string // origin, or name of the credential
	Paths []string
	// LoadedAt is when what is held now was first read from the files.
	LoadedAt time.Time
	// CheckedAt is when the files were looked at last. What is held is what they
	// said then, if Err is nil.
	CheckedAt time.Time
	// Err is what was wrong with the files at CheckedAt. The last good content is
	// held meanwhile.
	Err error
	// Digest is of what is held.
	Digest trust.Digest
	// Change is what the look at CheckedAt changed, and Previous the digest of what
	// was held before it; zero when nothing was.
	Change   Change
	Previous trust.Digest
	// NotAfter is when the first anchor or chain member of what is held ends; zero
	// for an empty bundle.
	NotAfter time.Time
	// Notes are about what the files said at CheckedAt, if Err is nil.
	Notes []string
}

// Change is what a look at the files changed about an item, compared with the
// look before. Looks are frequent while something is wrong; whoever acts on changes
// alone hears of every fault once.
type Change uint8

// The changes.
const (
	Unchanged Change = iota // what is held and what is wrong with the files, if anything, are the same
	Loaded                  // something else is held; nothing is wrong with the files, whatever was before
	Refused                 // the files are wrong, and were not before or were for another reason
	Repaired                // the files are right again and say what was held all along
)

// key tells items apart, within a set and across them.
func (s *ItemStatus) key() [2]string { return [2]string{s.Kind, s.Name} }

// compare sets Change and Previous; last is what the look before came to.
func (s *ItemStatus) compare(last ItemStatus) {
	s.Change, s.Previous = Unchanged, last.Digest
	switch {
	case s.Digest != last.Digest:
		s.Change = Loaded
	case s.Err == nil && last.Err != nil:
		s.Change = Repaired
	case s.Err != nil && (last.Err == nil || s.Err.Error() != last.Err.Error()):
		s.Change = Refused
	}
}

// Err joins the errors of all items, each with the name of its item. It is nil
// when everything that is held is what the files say.
func (s Status) Err() error { return joined(s.Items) }
