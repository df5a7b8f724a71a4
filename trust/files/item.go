package files

import (
	"crypto/sha256"
	"slices"
	"sync/atomic"
	"time"

	"verigate/trust"
)

// item follows the files of one bundle or one credential.
type item[T any] struct {
	status ItemStatus
	// parse turns the contents of status.Paths into a value.
	parse func(contents [][]byte, now time.Time) (T, error)
	// judge decides whether value may be held from now on; held is what it would
	// replace, the zero T at first. It runs at every look, for what can change
	// without the files.
	judge func(value, held T, now time.Time) (notes []string, err error)

	sum    [sha256.Size]byte // of the contents that parsed came from
	parsed *T                // nil after an error
	held   T
}

// look reads the files and returns what should be held: what they say if that is
// good, what was held before if not. Which of the two is in status.Err.
func (i *item[T]) look(now time.Time) T {
	value, notes, err := i.read(now)
	i.status.CheckedAt, i.status.Err, i.status.Notes = now, err, notes
	if err != nil {
		return i.held
	}
	return value
}

func (i *item[T]) read(now time.Time) (value T, notes []string, err error) {
	contents, err := readStable(i.status.Paths...)
	if err != nil {
		return value, nil, err
	}
	// Parsing is most of the work, and most looks find what was there before.
	if sum := sumOf(contents); i.parsed == nil || sum != i.sum {
		i.parsed, i.sum = nil, sum
		value, err := i.parse(contents, now)
		if err != nil {
			return value, nil, err
		}
		i.parsed = &value
	}
	notes, err = i.judge(*i.parsed, i.held, now)
	return *i.parsed, notes, err
}

// anchors is what a bundle file gives.
type anchors struct {
	bundle *trust.Bundle
	parsed trust.ParsedAnchors
}

func newBundleItem(f BundleFile) *item[anchors] {
	return &item[anchors]{
		status: ItemStatus{Kind: KindBundle, Name: f.Origin.String(), Paths: []string{f.Path}},
		parse: func(contents [][]byte, _ time.Time) (anchors, error) {
			parsed, err := trust.ParseAnchors(f.Path, contents[0], f.Origin)
			if err != nil {
				return anchors{}, err
			}
			o := f.Options
			o.Anchors, o.Sequence, o.RefreshHint = parsed.Anchors, parsed.Sequence, parsed.RefreshHint
			bundle, err := trust.NewBundle(f.Origin, o)
			return anchors{bundle, parsed}, err
		},
		judge: func(value, held anchors, now time.Time) ([]string, error) {
			return value.parsed.NotesAt(now), trust.CheckSequence(held.parsed.Sequence, value.parsed.Sequence)
		},
	}
}

// holdBundle makes value what is held.
func holdBundle(i *item[anchors], value anchors, now time.Time) {
	if value.bundle == i.held.bundle {
		return
	}
	if value.parsed.Sequence == nil { // what was reached still counts (BUN-05)
		value.parsed.Sequence = i.held.parsed.Sequence
	}
	i.held = value
	i.status.LoadedAt, i.status.Digest, i.status.NotAfter = now, value.bundle.Digest(), time.Time{}
	for _, anchor := range value.bundle.Anchors() {
		if end := anchor.NotAfter; i.status.NotAfter.IsZero() || end.Before(i.status.NotAfter) {
			i.status.NotAfter = end
		}
	}
}

func newCredentialItem(f CredentialFile) *item[*trust.Credential] {
	return &item[*trust.Credential]{
		status: ItemStatus{Kind: KindCredential, Name: f.Name, Paths: slices.Compact([]string{f.CertPath, f.KeyPath})},
		parse: func(contents [][]byte, now time.Time) (*trust.Credential, error) {
			return trust.ParseCredential(f.CertPath, contents[0], f.KeyPath, contents[len(contents)-1], now)
		},
		judge: func(value, _ *trust.Credential, now time.Time) ([]string, error) {
			if now.After(value.NotAfter()) { // since it was parsed (KEY-02)
				return nil, &trust.Error{Reason: trust.ReasonExpired, Name: f.CertPath, Detail: "on " + value.NotAfter().UTC().Format(time.DateTime)}
			}
			return keyNotes(f.KeyPath), nil
		},
	}
}

// holdCredential makes value what is held and hands it to the users of to.
func holdCredential(i *item[*trust.Credential], value *trust.Credential, to *handle, now time.Time) {
	if value == i.held {
		return
	}
	i.held = value
	i.status.LoadedAt, i.status.Digest, i.status.NotAfter = now, value.Digest(), value.NotAfter()
	to.current.Store(value)
}

// handle is what users of a credential keep. It outlives rotations and replaced
// options.
type handle struct {
	current atomic.Pointer[trust.Credential]
}

// Credential returns the last good credential. It costs one atomic load.
func (h *handle) Credential() *trust.Credential { return h.current.Load() }
