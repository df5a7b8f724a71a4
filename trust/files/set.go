package files

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"verigate/trust"
)

// set is the items of one Options. Looking at files changes what its items
// suggest; only commit changes what they hold.
type set struct {
	options     Options
	entries     []*entry
	credentials []*item[trust.Credential]
	secrets     []*item[trust.Secrets]
	deny        *trust.DenyList
	snapshot    *trust.Snapshot // what is held; nil until the first commit
}

// follower is what items of all kinds have in common.
type follower interface {
	look(now time.Time)
	commit(now time.Time)
	state() *ItemStatus
	refusal() error
}

// newSet prepares the items of o. An item that old, which may be nil, has under
// the same name with the same paths takes over what was reached there: that
// guards against an older document (BUN-05), and a configuration that is read
// again costs no list its checked signatures.
func newSet(o Options, old *set) *set {
	n := &set{options: o, deny: trust.NewDenyList(o.Deny)}
	for _, f := range o.Bundles {
		n.entries = append(n.entries, newEntry(f, old))
	}
	for _, v := range n.variants() {
		for _, list := range v.crls {
			list.known = n.listsOf
		}
	}
	for _, f := range o.Credentials {
		n.credentials = append(n.credentials, newCredentialItem(f))
	}
	for _, f := range o.Secrets {
		n.secrets = append(n.secrets, newSecretItem(f))
	}
	if old != nil {
		inheritAll(n.credentials, old.credentials)
		inheritAll(n.secrets, old.secrets)
	}
	return n
}

func inheritAll[T any](items, old []*item[T]) {
	for _, i := range items {
		for _, before := range old {
			if before.status.same(i.status) {
				i.inherit(before)
			}
		}
	}
}

// listsOf finds the lists that were parsed from contents of this hash.
func (n *set) listsOf(sum [sha256.Size]byte) *crlFile {
	for _, v := range n.variants() {
		for _, c := range v.crls {
			if c.parsed != nil && c.sum == sum {
				return c.parsed
			}
		}
	}
	return nil
}

func (n *set) variants() (all []*variant) {
	for _, e := range n.entries {
		all = append(all, e.variants()...)
	}
	return all
}

// followers returns all items in the order of [Status.Items].
func (n *set) followers() (all []follower) {
	for _, v := range n.variants() {
		all = append(all, v.anchors)
		for _, c := range v.crls {
			all = append(all, c)
		}
	}
	for _, c := range n.credentials {
		all = append(all, c)
	}
	for _, s := range n.secrets {
		all = append(all, s)
	}
	return all
}

// look reads the files of every item and returns the snapshot that they make.
func (n *set) look(now time.Time) (*trust.Snapshot, error) {
	for _, f := range n.followers() {
		f.look(now)
	}
	snapshot, err := n.assemble(now)
	if err != nil {
		return n.settle(err, now)
	}
	return snapshot, nil
}

// load is look for a set that holds nothing yet: all is good, or the error joins
// what is not.
func (n *set) load(now time.Time) (*trust.Snapshot, error) {
	snapshot, err := n.look(now)
	var faults []error
	for _, f := range n.followers() {
		faults = append(faults, f.refusal())
	}
	if fault := errors.Join(faults...); fault != nil {
		return nil, fault
	}
	return snapshot, err
}

func (n *set) assemble(now time.Time) (*trust.Snapshot, error) {
	var bundles []*trust.Bundle
	for _, e := range n.entries {
		if b := e.compose(now); b != nil {
			bundles = append(bundles, b)
		}
	}
	return trust.NewSnapshot(bundles, n.deny)
}

// settle is for anchors that are good by themselves and do not go together, as
// clash says: it puts what is held back in the place of all of them, takes them
// up one by one, and leaves out those that make the snapshot impossible. What is
// held always goes together. In a set that holds nothing yet only files that may
// be missing can be left out; the operator's own are all wanted.
func (n *set) settle(clash error, now time.Time) (*trust.Snapshot, error) {
	type suggestion struct {
		item    *anchorItem
		outcome outcome[trust.ParsedAnchors]
	}
	var all []suggestion
	for _, v := range n.variants() {
		a := v.anchors
		if a.follows() || a.held.good == nil && !a.optional {
			continue
		}
		all = append(all, suggestion{a, a.next})
		a.keep(clash, now)
	}
	snapshot, err := n.assemble(now)
	if err != nil {
		return n.standStill(err, now)
	}
	for _, s := range all {
		without := s.item.next.value
		s.item.next = s.outcome
		if s.outcome.value == without {
			continue
		}
		next, err := n.assemble(now)
		if err != nil {
			s.item.keep(err, now)
			continue
		}
		snapshot = next
	}
	return snapshot, nil
}

// standStill is for the case that nothing goes together, with what is held
// neither: the snapshot stays what it is, if there is one.
func (n *set) standStill(err error, now time.Time) (*trust.Snapshot, error) {
	if n.snapshot == nil {
		return nil, err
	}
	for _, v := range n.variants() {
		v.anchors.keep(err, now)
		for _, c := range v.crls {
			c.keep(err, now)
		}
	}
	return n.snapshot, nil
}

// commit makes what the items suggest, and snapshot is made of, what is held. last
// is how the items fared at the look before; it returns those of them that n no
// longer has.
func (n *set) commit(snapshot *trust.Snapshot, last []ItemStatus, now time.Time) (removed []ItemStatus) {
	for _, f := range n.followers() {
		f.commit(now)
	}
	n.snapshot = snapshot
	for _, e := range n.entries {
		bundle := snapshot.Bundle(e.live.origin)
		e.live.commit(bundle)
		if e.shadow != nil {
			e.shadow.commit(bundle.Shadow())
		}
	}
	before := make(map[[2]string]ItemStatus, len(last))
	for _, s := range last {
		before[s.key()] = s
	}
	for _, f := range n.followers() {
		s := f.state()
		s.compare(before[s.key()])
		delete(before, s.key())
	}
	for _, s := range last {
		if _, gone := before[s.key()]; gone {
			removed = append(removed, s)
		}
	}
	return removed
}

// items returns the status of all items as it stands.
func (n *set) items() (all []ItemStatus) {
	for _, f := range n.followers() {
		all = append(all, *f.state())
	}
	return all
}

func (n *set) paths() (all []string) {
	for _, f := range n.followers() {
		all = append(all, f.state().Paths...)
	}
	return all
}

// same reports whether s and t are of the same files under the same name.
func (s *ItemStatus) same(t ItemStatus) bool {
	return s.key() == t.key() && slices.Equal(s.Paths, t.Paths)
}

func joined(items []ItemStatus) error {
	var faults []error
	for _, i := range items {
		if i.Err != nil {
			faults = append(faults, fmt.Errorf("%s %s: %w", i.Kind, i.Name, i.Err))
		}
	}
	return errors.Join(faults...)
}
