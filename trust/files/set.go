package files

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"verigate/trust"
)

// set is the items of one Options. Looking at files changes what its items
// report; only commit changes what they hold.
type set struct {
	options     Options
	bundles     []*item[anchors]
	credentials []*item[*trust.Credential]
	handles     map[string]*handle // by the name of the credential
	deny        *trust.DenyList
}

// candidates are what a look suggests to hold, in the order of the set's items.
type candidates struct {
	bundles     []anchors
	credentials []*trust.Credential
}

// newSet prepares the items of o. A bundle that old, which may be nil, has under
// the same path takes over the sequence that was reached there, which guards
// against an older document (BUN-05). Credentials of the same name keep their
// handle.
func newSet(o Options, old *set) *set {
	n := &set{options: o, handles: make(map[string]*handle), deny: trust.NewDenyList(o.Deny)}
	for _, f := range o.Bundles {
		i := newBundleItem(f)
		if old != nil {
			for _, before := range old.bundles {
				if before.status.Name == i.status.Name && slices.Equal(before.status.Paths, i.status.Paths) {
					i.held.parsed.Sequence = before.held.parsed.Sequence
				}
			}
		}
		n.bundles = append(n.bundles, i)
	}
	for _, f := range o.Credentials {
		n.credentials = append(n.credentials, newCredentialItem(f))
		if old != nil && old.handles[f.Name] != nil {
			n.handles[f.Name] = old.handles[f.Name]
		} else {
			n.handles[f.Name] = new(handle)
		}
	}
	return n
}

// look reads the files of every item.
func (n *set) look(now time.Time) candidates {
	var c candidates
	for _, i := range n.bundles {
		c.bundles = append(c.bundles, i.look(now))
	}
	for _, i := range n.credentials {
		c.credentials = append(c.credentials, i.look(now))
	}
	return c
}

// load is look and snapshot for a set that holds nothing yet: all is good, or
// the error joins what is not.
func (n *set) load(now time.Time) (candidates, *trust.Snapshot, error) {
	c := n.look(now)
	if err := joined(n.items()); err != nil {
		return candidates{}, nil, err
	}
	snapshot, err := n.snapshot(c)
	return c, snapshot, err
}

func (n *set) snapshot(c candidates) (*trust.Snapshot, error) {
	bundles := make([]*trust.Bundle, len(c.bundles))
	for i := range c.bundles {
		bundles[i] = c.bundles[i].bundle
	}
	return trust.NewSnapshot(bundles, n.deny)
}

// settle is for bundles that are good by themselves and do not go together: it
// takes them up one by one and puts what is held back in the place of those
// that make the snapshot impossible. What is held always goes together.
func (n *set) settle(c candidates) *trust.Snapshot {
	suggested := slices.Clone(c.bundles)
	for at, i := range n.bundles {
		c.bundles[at] = i.held
	}
	snapshot, _ := n.snapshot(c)
	for at, i := range n.bundles {
		if suggested[at].bundle == i.held.bundle {
			continue
		}
		c.bundles[at] = suggested[at]
		next, err := n.snapshot(c)
		if err != nil {
			c.bundles[at] = i.held
			i.status.Err = err
			continue
		}
		snapshot = next
	}
	return snapshot
}

// commit makes c what is held. last is how the items fared at the look before; it
// returns those of them that n no longer has.
func (n *set) commit(c candidates, last []ItemStatus, now time.Time) (removed []ItemStatus) {
	for at, i := range n.bundles {
		holdBundle(i, c.bundles[at], now)
	}
	for at, i := range n.credentials {
		holdCredential(i, c.credentials[at], n.handles[i.status.Name], now)
	}
	before := make(map[[2]string]ItemStatus, len(last))
	for _, s := range last {
		before[s.key()] = s
	}
	for _, s := range n.statuses() {
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

// statuses returns the status of all items, for changing it.
func (n *set) statuses() []*ItemStatus {
	var all []*ItemStatus
	for _, i := range n.bundles {
		all = append(all, &i.status)
	}
	for _, i := range n.credentials {
		all = append(all, &i.status)
	}
	return all
}

// items returns the status of all items as it stands.
func (n *set) items() []ItemStatus {
	var all []ItemStatus
	for _, s := range n.statuses() {
		all = append(all, *s)
	}
	return all
}

func (n *set) paths() []string {
	var all []string
	for _, i := range n.items() {
		all = append(all, i.Paths...)
	}
	return all
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
