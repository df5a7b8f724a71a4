package files

import (
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// anchorItem follows a file of anchors.
type anchorItem struct {
	item[trust.ParsedAnchors]
	reached *uint64 // the last spiffe_sequence; nil if there never was one
}

func newAnchorItem(kind string, origin workloadid.Origin, path string) *anchorItem {
	a := &anchorItem{}
	a.status = ItemStatus{Kind: kind, Name: origin.String()}
	if path != "" {
		a.status.Paths = []string{path}
	}
	a.limit, a.nothing = trust.MaxDocumentBytes, new(trust.ParsedAnchors)
	a.parse = func(contents [][]byte, _ time.Time) (*trust.ParsedAnchors, error) {
		parsed, err := trust.ParseAnchors(path, contents[0], origin)
		return &parsed, err
	}
	a.judge = func(value *trust.ParsedAnchors, now time.Time) ([]string, error) {
		return value.NotesAt(now), trust.CheckSequence(a.reached, value.Sequence)
	}
	a.describe = func(value *trust.ParsedAnchors) (trust.Digest, time.Time) {
		return trust.Digest{}, value.NotAfter() // the digest is that of the bundle
	}
	a.take = func(value *trust.ParsedAnchors) {
		if value.Sequence != nil { // without one, what was reached still counts (BUN-05)
			a.reached = value.Sequence
		}
	}
	return a
}

// follows reports whether there is no file to read: a shadow has the anchors of
// its bundle then.
func (a *anchorItem) follows() bool { return len(a.status.Paths) == 0 }

// look is [item.look] for an item that has a file.
func (a *anchorItem) look(now time.Time) {
	if !a.follows() {
		a.item.look(now)
	}
}
