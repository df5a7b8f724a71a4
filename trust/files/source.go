package files

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"verigate/trust"
)

// Source publishes what is in the files to a [trust.Store], keeps credentials in
// step, and holds on to the last good of each item on any error. Its methods may
// be called concurrently; Credential and Status never wait for a file.
//
// Snapshots are published with the source's lock held, so observers of the store
// must not call Reload or Replace.
type Source struct {
	store *trust.Store
	view  atomic.Pointer[view]

	mu  sync.Mutex // held through every attempt
	set *set

	replaced  chan struct{} // tells Run that the paths are others now
	running   atomic.Bool
	unwatched atomic.Pointer[[]string] // what Run has to say
}

// view is what readers see.
type view struct {
	items   []ItemStatus
	removed []ItemStatus
	handles map[string]*handle
}

// Open reads everything once, publishes to store and returns the source. It
// fails if anything is missing, empty or garbled, with all problems joined: each
// is a [*trust.Error] or what the file system said. Nothing is published then.
//
// A key that does not belong to its certificate is looked at three times more,
// [Options.Debounce] apart: the pair may be just being written.
func Open(o Options, store *trust.Store) (*Source, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	n := newSet(o.withDefaults(), nil)
	now := n.options.Now()
	c, snapshot, err := n.load(now)
	for range 3 {
		if trust.ReasonOf(err) != trust.ReasonMismatch {
			break
		}
		time.Sleep(n.options.Debounce)
		c, snapshot, err = n.load(now)
	}
	if err != nil {
		return nil, err
	}
	s := &Source{store: store, replaced: make(chan struct{}, 1)}
	s.adopt(n, c, snapshot, now)
	return s, nil
}

// Reload looks at everything now, as after SIGHUP. Items whose files are not
// good keep what they hold; the error joins what is wrong with them.
func (s *Source) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempt()
}

// Replace takes up other options, as after a change of the configuration. All
// of their files are read and verified first, and on error nothing changes:
// neither what is held nor which files are followed. An item with the same
// origin and path does not go back behind the spiffe_sequence that it had
// reached; put the file in another place to begin anew. Handles of credentials
// whose name is no longer there keep what they had.
func (s *Source) Replace(o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := newSet(o.withDefaults(), s.set)
	now := n.options.Now()
	c, snapshot, err := n.load(now)
	if err != nil {
		return err
	}
	s.adopt(n, c, snapshot, now)
	s.set.options.OnReload(s.Status())
	select {
	case s.replaced <- struct{}{}:
	default: // Run has been told and has not looked yet
	}
	return nil
}

// attempt looks at everything and takes up what is good.
func (s *Source) attempt() error {
	now := s.set.options.Now()
	c := s.set.look(now)
	snapshot, err := s.set.snapshot(c)
	if err != nil {
		snapshot = s.set.settle(c)
	}
	s.adopt(s.set, c, snapshot, now)
	status := s.Status()
	s.set.options.OnReload(status)
	return status.Err()
}

// adopt makes n the set and c what it holds, and tells the world: credentials
// first, so that a new trust domain's peers already meet the credential that was
// rotated with it.
func (s *Source) adopt(n *set, c candidates, snapshot *trust.Snapshot, now time.Time) {
	var last []ItemStatus
	if before := s.view.Load(); before != nil {
		last = before.items
	}
	removed := n.commit(c, last, now)
	s.set = n
	s.view.Store(&view{items: n.items(), removed: removed, handles: n.handles})
	s.store.Publish(snapshot)
}

// Credential returns a live handle: its Credential method follows rotation and
// never returns nil. Credential returns nil if no credential is called name.
func (s *Source) Credential(name string) trust.CredentialSource {
	if h := s.view.Load().handles[name]; h != nil {
		return h
	}
	return nil
}

// Status says how every item fares.
func (s *Source) Status() Status {
	v := s.view.Load()
	status := Status{Items: slices.Clone(v.items), Removed: slices.Clone(v.removed)}
	if notes := s.unwatched.Load(); notes != nil {
		status.Notes = *notes
	}
	return status
}

// errRunning is a programmer's mistake, reported because it would otherwise look
// like files that are watched twice.
var errRunning = errors.New("files: Run is running already")
