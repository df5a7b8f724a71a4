package files

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"verigate/trust"
)

// Source publishes what is in the files to a [trust.Store], keeps credentials and
// secrets in step, and holds on to the last good of each item on any error. Its
// methods may be called concurrently; Credential, Secret, Verified, Status and
// Refresh never wait for a file.
//
// Snapshots are published with the source's lock held, so observers of the store
// must not call Reload or Replace.
type Source struct {
	store *trust.Store
	view  atomic.Pointer[view]

	mu          sync.Mutex // held through every attempt
	set         *set
	credentials handles[credentialHandle] // by name, of all there ever were
	secrets     handles[secretHandle]

	wake      chan struct{} // asks Run for a look
	running   atomic.Bool
	unwatched atomic.Pointer[[]string] // what Run has to say
}

// view is what readers see.
type view struct {
	items       []ItemStatus
	removed     []ItemStatus
	credentials handles[credentialHandle]
	secrets     handles[secretHandle]
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
	snapshot, err := n.load(now)
	for range 3 {
		if trust.ReasonOf(err) != trust.ReasonMismatch {
			break
		}
		time.Sleep(n.options.Debounce)
		snapshot, err = n.load(now)
	}
	if err != nil {
		return nil, err
	}
	s := &Source{
		store: store, wake: make(chan struct{}, 1),
		credentials: make(handles[credentialHandle]), secrets: make(handles[secretHandle]),
	}
	s.adopt(n, snapshot, now)
	return s, nil
}

// Reload looks at everything now, as after SIGHUP. Items whose files are not
// good keep what they hold; the error joins what is wrong with them.
func (s *Source) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempt()
}

// Refresh asks Run for a look now, without waiting for an event, a burst to pass
// or the next poll: for a remote source that has written a file. It returns at
// once. Calls while Run looks are one more look, and looks that were asked for are
// at least [Options.Debounce] apart, so it may be called after every file.
// Without Run, nothing happens until there is one.
func (s *Source) Refresh() {
	select {
	case s.wake <- struct{}{}:
	default: // Run has been asked and has not looked yet
	}
}

// Replace takes up other options, as after a change of the configuration. All
// of their files are read and verified first, and on error nothing changes:
// neither what is held nor which files are followed. An origin that is no longer
// there is trusted no more (FED-09).
//
// An item with the same name and path does not go back behind the
// spiffe_sequence or the CRL number that it had reached; put the file in another
// place to begin anew. Handles of credentials and secrets whose name is no longer
// there keep what they had, and follow again if the name comes back: whoever
// removes a name has to end its use as well.
func (s *Source) Replace(o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := newSet(o.withDefaults(), s.set)
	now := n.options.Now()
	snapshot, err := n.load(now)
	if err != nil {
		return err
	}
	s.adopt(n, snapshot, now)
	s.set.options.OnReload(s.Status())
	s.Refresh() // Run watches the directories of other paths
	return nil
}

// attempt looks at everything and takes up what is good.
func (s *Source) attempt() error {
	now := s.set.options.Now()
	snapshot, err := s.set.look(now)
	if err != nil {
		return err
	}
	s.adopt(s.set, snapshot, now)
	status := s.Status()
	s.set.options.OnReload(status)
	return status.Err()
}

// adopt makes n the set, with what its items suggest, and tells the world:
// credentials first, so that a new trust domain's peers already meet the
// credential that was rotated with it.
func (s *Source) adopt(n *set, snapshot *trust.Snapshot, now time.Time) {
	var last []ItemStatus
	if before := s.view.Load(); before != nil {
		last = before.items
	}
	v := &view{credentials: make(handles[credentialHandle]), secrets: make(handles[secretHandle])}
	v.removed = n.commit(snapshot, last, now)
	v.items = n.items()
	s.set = n
	for _, c := range n.credentials {
		h := s.credentials.of(c.status.Name)
		h.current.Store(c.held.value)
		v.credentials[c.status.Name] = h
	}
	for _, c := range n.secrets {
		h := s.secrets.of(c.status.Name)
		h.current.Store(c.held.value)
		v.secrets[c.status.Name] = h
	}
	s.view.Store(v)
	s.store.Publish(snapshot)
}

// Credential returns a live handle: its Credential method follows rotation and
// never returns nil. Credential returns nil if no credential is called name.
func (s *Source) Credential(name string) trust.CredentialSource {
	if h := s.view.Load().credentials[name]; h != nil {
		return h
	}
	return nil
}

// Secret returns a live handle: its Secrets method follows rotation and never
// returns nil. Secret returns nil if no secret is called name.
func (s *Source) Secret(name string) trust.SecretSource {
	if h := s.view.Load().secrets[name]; h != nil {
		return h
	}
	return nil
}

// Verified reports whether the key of some issuer was found to have signed the
// revocation list with this digest, which is one of those that are held. It looks
// through all of them, and at nothing else.
func (s *Source) Verified(list trust.Digest) bool {
	for _, bundle := range s.store.Load().Bundles() {
		for ; bundle != nil; bundle = bundle.Shadow() {
			for _, crl := range bundle.CRLs().CRLs() {
				if crl.Digest() == list && crl.Verified() {
					return true
				}
			}
		}
	}
	return false
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
