package files

import (
	"crypto/sha256"
	"fmt"
	"time"

	"verigate/trust"
)

// item follows the files of one thing: of a bundle, of some revocation lists, of
// a credential. Values are told apart by their pointers and never modified.
type item[T any] struct {
	status ItemStatus
	// parse turns the contents of status.Paths into a value.
	parse func(contents [][]byte, now time.Time) (*T, error)
	// known finds a value that the same contents have given before, elsewhere; nil
	// if nothing is shared.
	known func(sum [sha256.Size]byte) *T
	// judge decides whether value may be held from now on. It runs at every look, for
	// what can change without the files.
	judge func(value *T, now time.Time) (notes []string, err error)
	// describe is for the status.
	describe func(value *T) (d trust.Digest, notAfter time.Time)
	// take, if set, hears of every value that is taken up.
	take func(value *T)
	// nothing is held in the place of files that are not there yet or too old. It is
	// nil for a kind that cannot be without.
	nothing  *T
	optional bool
	maxAge   time.Duration
	limit    int // on the size of a file; what is larger is for parse to refuse

	sum    [sha256.Size]byte // of the contents that parsed came from
	parsed *T                // nil after an error
	next   outcome[T]        // of the last look
	held   outcome[T]        // what was made of it
}

// outcome is what a look at the files comes to.
type outcome[T any] struct {
	value   *T        // to be held; nil if there is nothing that could be
	good    *T        // what the files said when they were good last; value, unless it is too old
	written time.Time // when good was
	err     error     // what is wrong with the files
	borne   bool      // err is no reason not to start
}

// look reads the files and sets next: to what they say if that is good, to the
// last good if not.
func (i *item[T]) look(now time.Time) {
	value, written, notes, err := i.read(now)
	i.status.CheckedAt, i.status.Notes = now, notes
	if err != nil {
		i.keep(err, now)
		return
	}
	i.next = i.outcome(value, written, nil, now)
}

// keep makes the last good what look suggests, because of err.
func (i *item[T]) keep(err error, now time.Time) {
	i.next = i.outcome(i.held.good, i.held.written, err, now)
}

func (i *item[T]) outcome(good *T, written time.Time, err error, now time.Time) outcome[T] {
	o := outcome[T]{value: good, good: good, written: written, err: err, borne: i.optional}
	switch {
	case good == nil && i.optional:
		o.value, o.err = i.nothing, fmt.Errorf("%w: %w", ErrNotFetched, err)
	// Files from the future are as bad: the clock that was wrong when they were
	// written must not keep them young for years.
	case good != nil && i.maxAge > 0 && now.Sub(written).Abs() > i.maxAge:
		o.value, o.borne = i.nothing, true
		o.err = fmt.Errorf("%w: at %s, and the limit is %v", ErrTooOld, written.UTC().Format(time.DateTime), i.maxAge)
		if err != nil {
			o.err = fmt.Errorf("%w; %w", o.err, err)
		}
	}
	return o
}

func (i *item[T]) read(now time.Time) (value *T, written time.Time, notes []string, err error) {
	// Parsing is most of the work, and most looks find what was there before.
	if i.parsed != nil {
		if sum, at, err := sumEach(i.status.Paths, i.limit); err == nil && sum == i.sum {
			notes, err = i.judge(i.parsed, now)
			return i.parsed, at, notes, err
		}
	}
	i.parsed = nil
	r, err := readStable(i.status.Paths, i.limit)
	if err != nil {
		return nil, written, nil, err
	}
	sum := sumOf(r.contents)
	if i.known != nil {
		value = i.known(sum)
	}
	if value == nil {
		if value, err = i.parse(r.contents, now); err != nil {
			return nil, written, nil, err
		}
	}
	i.parsed, i.sum = value, sum
	notes, err = i.judge(value, now)
	return value, r.written, notes, err
}

// commit makes the outcome of the last look what is held.
func (i *item[T]) commit(now time.Time) {
	before := i.held
	i.held = i.next
	if i.held.value != before.value {
		i.status.LoadedAt = now
		if i.held.value == i.nothing {
			i.status.LoadedAt = time.Time{}
		}
		i.status.Digest, i.status.NotAfter = i.describe(i.held.value)
	}
	if i.take != nil && i.held.good != before.good {
		i.take(i.held.good)
	}
	i.status.Err, i.status.WrittenAt = i.held.err, i.held.written
	if i.maxAge > 0 && i.held.good != nil {
		i.status.BelievedUntil = i.held.written.Add(i.maxAge)
	}
}

// inherit takes up what old, an item of the same files, had come to.
func (i *item[T]) inherit(old *item[T]) {
	i.sum, i.parsed, i.held, i.nothing = old.sum, old.parsed, old.held, old.nothing
	i.status.LoadedAt, i.status.Digest, i.status.NotAfter = old.status.LoadedAt, old.status.Digest, old.status.NotAfter
}

// state returns the status, for changing it.
func (i *item[T]) state() *ItemStatus { return &i.status }

// refusal returns what keeps a source from starting with the item.
func (i *item[T]) refusal() error {
	if i.next.err == nil || i.next.borne {
		return nil
	}
	return fmt.Errorf("%s %s: %w", i.status.Kind, i.status.Name, i.next.err)
}
