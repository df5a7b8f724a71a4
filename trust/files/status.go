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
	// NotAfter is when the first anchor or chain member of what is held ends; zero
	// for an empty bundle.
	NotAfter time.Time
	// Notes are about what the files said at CheckedAt, if Err is nil.
	Notes []string
}

// Err joins the errors of all items, each with the name of its item. It is nil
// when everything that is held is what the files say.
func (s Status) Err() error { return joined(s.Items) }
