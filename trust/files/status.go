package files

import (
	"errors"
	"time"

	"verigate/trust"
)

// The kinds of items.
const (
	KindBundle     = "bundle"     // the anchors of an origin
	KindCRL        = "crl"        // one file of revocation lists
	KindShadow     = "shadow"     // the anchors of a shadow, or one file of its revocation lists
	KindCredential = "credential" // a certificate chain and its key
	KindSecret     = "secret"     // secrets that gateways share
)

// ErrNotFetched is in the error of an item whose file is for a remote source to
// write and has never been good.
var ErrNotFetched = errors.New("it has not been fetched yet")

// ErrTooOld is in the error of an item whose file was written too long ago to be
// believed.
var ErrTooOld = errors.New("it was written too long ago to be believed")

// Status says how every item fares: for readiness, metrics and the operator. It
// is a copy of the moment it was asked for.
type Status struct {
	// Items are bundles, each followed by its revocation lists, its shadow and
	// those of its shadow, then credentials, then secrets, in the order of the
	// options.
	Items []ItemStatus
	// Removed are the items that the last look left out because the options no
	// longer have them, as they were then. Only [Source.Replace] can remove any.
	Removed []ItemStatus
	// Notes are about the source as a whole, such as a directory that can only be
	// polled.
	Notes []string
}

// ItemStatus is how one item fares.
type ItemStatus struct {
	Kind string // one of the kinds
	// Name is the origin, followed by a space and the name of the file for
	// revocation lists; or the name of the credential or the secret.
	Name  string
	Paths []string // none for a shadow with the anchors of its bundle
	// LoadedAt is when what is held now was first read from the files; zero when
	// nothing is held.
	LoadedAt time.Time
	// CheckedAt is when the files were looked at last. What is held is what they
	// said then, if Err is nil.
	CheckedAt time.Time
	// WrittenAt is the modification time of the files when they were good last, the
	// oldest of several. A remote source that has found nothing new renews it, so
	// that it says how long ago the source was heard of.
	WrittenAt time.Time
	// BelievedUntil is WrittenAt and [BundleFile.MaxAge]; zero without one.
	BelievedUntil time.Time
	// Err is what was wrong with the files at CheckedAt. The last good content is
	// held meanwhile; nothing is held with [ErrNotFetched] and [ErrTooOld].
	Err error
	// Digest is of what is held. For bundles and shadows it covers the options and
	// not the revocation lists, which are items of their own.
	Digest trust.Digest
	// Change is what the look at CheckedAt changed, and Previous the digest of what
	// was held before it; zero when nothing was.
	Change   Change
	Previous trust.Digest
	// NotAfter is when the first anchor or chain member of what is held ends, or the
	// first revocation list should be replaced; zero when nothing ends.
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
	Loaded                  // something else is held; nothing new is wrong with the files
	Refused                 // the files are wrong, and were not before or were for another reason
	Repaired                // the files are right again and say what was held all along
)

// key tells items apart, within a set and across them.
func (s *ItemStatus) key() [2]string { return [2]string{s.Kind, s.Name} }

// compare sets Change and Previous; last is what the look before came to.
func (s *ItemStatus) compare(last ItemStatus) {
	s.Change, s.Previous = Unchanged, last.Digest
	switch {
	case s.Err != nil && (last.Err == nil || s.Err.Error() != last.Err.Error()):
		s.Change = Refused // with another digest if the last good is too old
	case s.Digest != last.Digest:
		s.Change = Loaded
	case s.Err == nil && last.Err != nil:
		s.Change = Repaired
	}
}

// Err joins the errors of all items, each with the name of its item. It is nil
// when everything that is held is what the files say.
func (s Status) Err() error { return joined(s.Items) }
