package files

import (
	"maps"
	"slices"
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// entry is the items of one origin.
type entry struct {
	live   *variant
	shadow *variant // nil for none
}

// variant is one way of judging the peers of an origin: its bundle, or the shadow
// of that.
type variant struct {
	origin  workloadid.Origin
	options trust.BundleOptions
	crl     trust.CRLOptions
	anchors *anchorItem // those of a shadow may follow the bundle's
	crls    []*crlItem

	lists lists
	made  made
	held  *trust.Bundle // nil until the first commit
}

// lists is the set that was made last of what files of revocation lists say.
// What is the same is not made again: whoever compares pointers sees that nothing
// has changed.
type lists struct {
	of  []*trust.CRL
	set *trust.CRLSet
}

// made is the bundle that was made last, and from what.
type made struct {
	from   ingredients
	bundle *trust.Bundle
}

type ingredients struct {
	anchors *trust.ParsedAnchors
	lists   *trust.CRLSet
	shadow  *trust.Bundle
}

func newEntry(f BundleFile, old *set) *entry {
	e := &entry{live: newVariant(KindBundle, KindCRL, f.Origin, f.Path, f.Options, f.CRLs, f.CRL)}
	e.live.anchors.optional, e.live.anchors.maxAge = f.Optional, f.MaxAge
	if s := f.Shadow; s != nil {
		e.shadow = newVariant(KindShadow, KindShadow, f.Origin, s.Path, s.Options, s.CRLs, s.CRL)
	}
	for _, v := range e.variants() {
		v.inherit(old)
	}
	return e
}

func newVariant(kind, crlKind string, origin workloadid.Origin, path string, o trust.BundleOptions, crls []CRLFile, crl trust.CRLOptions) *variant {
	v := &variant{origin: origin, options: o, crl: crl, anchors: newAnchorItem(kind, origin, path)}
	for _, f := range crls {
		v.crls = append(v.crls, newCRLItem(crlKind, origin, f))
	}
	return v
}

// inherit takes up what items of the same files had come to in old: above all how
// far the files had got, and what must not be parsed again.
func (v *variant) inherit(old *set) {
	if old == nil {
		return
	}
	for _, before := range old.variants() {
		if before.anchors.status.same(v.anchors.status) {
			v.anchors.inherit(&before.anchors.item)
			v.anchors.reached = before.anchors.reached
		}
		if before.anchors.status.key() == v.anchors.status.key() && before.crl == v.crl {
			v.lists = before.lists
		}
		for _, c := range v.crls {
			for _, was := range before.crls {
				if was.status.same(c.status) {
					c.inherit(&was.item)
					c.reached, c.genuine, c.inForce = maps.Clone(was.reached), maps.Clone(was.genuine), was.inForce
				}
			}
		}
	}
}

func (e *entry) variants() []*variant {
	if e.shadow == nil {
		return []*variant{e.live}
	}
	return []*variant{e.live, e.shadow}
}

// compose makes the bundle that the items suggest. What cannot be made is in
// their outcomes, and what is held stands in for it: nil for a set that holds
// nothing yet. No fault of a shadow reaches the bundle it belongs to.
func (e *entry) compose(now time.Time) *trust.Bundle {
	var shadow *trust.Bundle
	if e.shadow != nil {
		if a := e.shadow.anchors; a.follows() {
			a.next = outcome[trust.ParsedAnchors]{value: e.live.anchors.next.value, good: e.live.anchors.next.good}
			a.status.CheckedAt = now
		}
		shadow = e.shadow.compose(nil, now)
	}
	return e.live.compose(shadow, now)
}

func (v *variant) compose(shadow *trust.Bundle, now time.Time) *trust.Bundle {
	anchors := v.anchors.next.value
	if anchors == nil {
		return nil // and why is in the outcome
	}
	set, err := v.revocations(now)
	if err == nil {
		err = v.make(ingredients{anchors, set, shadow})
	}
	if err != nil {
		v.anchors.keep(err, now)
		v.anchors.next.borne = false
		return v.held
	}
	return v.made.bundle
}

func (v *variant) make(from ingredients) error {
	if v.made.bundle != nil && v.made.from == from {
		return nil
	}
	o, a := v.options, from.anchors
	o.Anchors, o.Sequence, o.RefreshHint = a.Anchors, a.Sequence, a.RefreshHint
	o.CRLs, o.Shadow = from.lists, from.shadow
	bundle, err := trust.NewBundle(v.origin, o)
	if err != nil {
		return err
	}
	v.made = made{from, bundle}
	return nil
}

// revocations puts the lists together that the files suggest. Files that do not
// go together stay what they were.
func (v *variant) revocations(now time.Time) (*trust.CRLSet, error) {
	if len(v.crls) == 0 {
		return nil, nil
	}
	set, err := v.join(now)
	if err == nil {
		return set, nil
	}
	for _, c := range v.crls {
		if c.next.value != c.held.value {
			c.keep(err, now)
		}
	}
	return v.join(now)
}

func (v *variant) join(now time.Time) (*trust.CRLSet, error) {
	var crls []*trust.CRL
	for _, c := range v.crls {
		if f := c.next.value; f != nil { // if it is, that is in its outcome
			crls = append(crls, c.lists(f, now)...)
		}
	}
	if v.lists.set != nil && slices.Equal(crls, v.lists.of) {
		return v.lists.set, nil
	}
	set, err := trust.NewCRLSet(crls, v.crl)
	if err != nil {
		return nil, err
	}
	v.lists = lists{crls, set}
	return set, nil
}

// commit makes bundle, which is what compose made or held back, what is held.
func (v *variant) commit(bundle *trust.Bundle) {
	v.held = bundle
	v.anchors.status.Digest = bundle.Digest()
}
