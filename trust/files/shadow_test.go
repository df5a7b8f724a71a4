package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
	"verigate/trust/files"
)

// withShadow gives the bundle of p a shadow with anchors of its own.
func (p place) withShadow(t testing.TB, o *files.Options, cas ...*devpki.CA) (path string) {
	t.Helper()
	path = filepath.Join(p.dir, "shadow")
	write(t, path, pemOf(cas...))
	o.Bundles[0].Shadow = &files.ShadowFile{Path: path}
	return path
}

func shadowHolds(store *trust.Store, cas ...*devpki.CA) bool {
	shadow := store.Load().Bundle(prod).Shadow()
	if shadow == nil || len(shadow.Anchors()) != len(cas) {
		return false
	}
	for _, ca := range cas {
		if !shadow.Contains(ca.Certificate) {
			return false
		}
	}
	return true
}

func shadowItem(t testing.TB, s *files.Source) files.ItemStatus {
	t.Helper()
	return itemOfKind(t, s, files.KindShadow, prod.String())
}

func TestOpenReadsAShadow(t *testing.T) {
	t.Parallel()
	p, next := newPlace(t), newRoot(t)
	o := p.options()
	_, without := open(t, o)
	p.withShadow(t, &o, next)
	shadow := o.Bundles[0].Shadow
	shadow.Options = trust.BundleOptions{RequireEKU: true}
	listPath := filepath.Join(p.dir, "next.crl")
	write(t, listPath, list(t, next, 5))
	shadow.CRLs, shadow.CRL = []files.CRLFile{{Name: "next.crl", Path: listPath}}, trust.CRLOptions{LeafOnly: true}
	s, store := open(t, o)

	b := store.Load().Bundle(prod)
	if !holds(store, prod, p.ca) || b.Options().RequireEKU || b.CRLs() != nil {
		t.Error("the shadow changed the bundle")
	}
	if b.Digest() != without.Load().Bundle(prod).Digest() || store.Load().Digest() == without.Load().Digest() {
		t.Error("want the shadow in the digest of the snapshot and not in that of the bundle")
	}
	if !shadowHolds(store, next) || !b.Shadow().Options().RequireEKU || !b.Shadow().CRLs().Options().LeafOnly {
		t.Errorf("the shadow is %+v, want its own anchors and options", b.Shadow())
	}
	if got := numbersOf(b.Shadow()); !slices.Equal(got, []string{"5"}) {
		t.Errorf("the shadow has the lists %q, want its own", got)
	}
	if i := shadowItem(t, s); i.Digest != b.Shadow().Digest() || i.Paths[0] != shadow.Path || i.NotAfter.IsZero() {
		t.Errorf("the shadow's status is %+v, want its digest, path and end", i)
	}
	if i := itemOfKind(t, s, files.KindShadow, prod.String()+" next.crl"); i.Digest.IsZero() {
		t.Errorf("the status of the shadow's list is %+v, want a digest", i)
	}
}

func TestAShadowWithoutAFileHasTheAnchorsOfItsBundle(t *testing.T) {
	t.Parallel()
	p, next := newPlace(t), newRoot(t)
	o := p.options()
	o.Bundles[0].Shadow = &files.ShadowFile{Options: trust.BundleOptions{MaxCertificateLifetime: time.Hour}}
	s, store := open(t, o)
	if !shadowHolds(store, p.ca) || store.Load().Bundle(prod).Shadow().Options().MaxCertificateLifetime != time.Hour {
		t.Error("the shadow does not have the anchors of the bundle and its own options")
	}
	write(t, p.bundle, pemOf(p.ca, next))
	if err := s.Reload(); err != nil || !holds(store, prod, p.ca, next) || !shadowHolds(store, p.ca, next) {
		t.Errorf("Reload() = %v, want the new anchors in both", err)
	}
	if i := shadowItem(t, s); len(i.Paths) != 0 || i.Change != files.Loaded || i.Err != nil {
		t.Errorf("the shadow's status is %+v, want it loaded from no path", i)
	}
}

func TestAShadowFailsAsARuleOfItsOwn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		claim  string
		damage func(t *testing.T, path string)
		want   func(error) bool
	}{
		{"missing", func(_ *testing.T, path string) { os.Remove(path) }, isErr(fs.ErrNotExist)},
		{"empty", func(t *testing.T, path string) { write(t, path, nil) }, isReason(trust.ReasonEmpty)},
		{"garbled", func(t *testing.T, path string) { write(t, path, []byte("{")) }, isReason(trust.ReasonJSON)},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			p, next, later := newPlace(t), newRoot(t), newRoot(t)
			o := p.options()
			path := p.withShadow(t, &o, next)
			s, store := open(t, o)
			tt.damage(t, path)

			// At the start the operator is there to mend it.
			var fresh trust.Store
			if _, err := files.Open(o, &fresh); !tt.want(err) || !strings.Contains(err.Error(), "shadow "+prod.String()) {
				t.Errorf("Open() = %v, want the shadow's error", err)
			}
			// Later nobody may suffer from what has no effect.
			write(t, p.bundle, pemOf(p.ca, later))
			if err := s.Reload(); !tt.want(err) {
				t.Errorf("Reload() = %v, want the shadow's error", err)
			}
			if !holds(store, prod, p.ca, later) || !shadowHolds(store, next) {
				t.Error("want the new bundle and the last good shadow")
			}
			if i := shadowItem(t, s); !tt.want(i.Err) || i.Change != files.Refused {
				t.Errorf("the shadow's status is %+v, want it refused", i)
			}
			if i := itemOfKind(t, s, files.KindBundle, prod.String()); i.Err != nil || i.Change != files.Loaded {
				t.Errorf("the bundle's status is %+v, want it loaded", i)
			}
		})
	}
}

func TestAShadowAloneMakesANewSnapshot(t *testing.T) {
	t.Parallel()
	p, next, later := newPlace(t), newRoot(t), newRoot(t)
	o := p.options()
	path := p.withShadow(t, &o, next)
	s, store := open(t, o)
	before := store.Load()
	write(t, path, pemOf(later))
	if err := s.Reload(); err != nil || !shadowHolds(store, later) {
		t.Errorf("Reload() = %v, want the new shadow", err)
	}
	if after := store.Load(); after.Digest() == before.Digest() || after.Bundle(prod).Digest() != before.Bundle(prod).Digest() {
		t.Error("want another digest of the snapshot and the same of the bundle")
	}
}

// TD-07 holds for shadows, and what they do wrong stays with them.
func TestAShadowThatClashesIsHeldBackAlone(t *testing.T) {
	t.Parallel()
	p, q, next, later := newPlace(t), newPlace(t), newRoot(t), newRoot(t)
	o := p.options()
	path := p.withShadow(t, &o, next)
	o.Bundles = append(o.Bundles, files.BundleFile{Origin: partner, Path: q.bundle})
	s, store := open(t, o)
	write(t, path, pemOf(q.ca)) // partner.example's
	write(t, p.bundle, pemOf(p.ca, later))
	if err := s.Reload(); trust.ReasonOf(err) != trust.ReasonSharedAnchor {
		t.Errorf("Reload() = %v, want reason %q", err, trust.ReasonSharedAnchor)
	}
	if !holds(store, prod, p.ca, later) || !holds(store, partner, q.ca) || !shadowHolds(store, next) {
		t.Error("want the new bundle and the last good shadow")
	}
	if i := shadowItem(t, s); trust.ReasonOf(i.Err) != trust.ReasonSharedAnchor {
		t.Errorf("the shadow has the error %v, want reason %q", i.Err, trust.ReasonSharedAnchor)
	}
	if i := itemOfKind(t, s, files.KindBundle, prod.String()); i.Err != nil {
		t.Errorf("the bundle has the error %v, want none", i.Err)
	}
}

func TestAnImpossibleShadowRefusesToStart(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	o.Bundles[0].Shadow = &files.ShadowFile{Options: trust.BundleOptions{NotBeforeSkew: -1}}
	var store trust.Store
	if _, err := files.Open(o, &store); trust.ReasonOf(err) != trust.ReasonOptions || !strings.Contains(err.Error(), "shadow "+prod.String()) {
		t.Errorf("Open() = %v, want reason %q of the shadow", err, trust.ReasonOptions)
	}
}

func TestReplaceAddsAndRemovesAShadow(t *testing.T) {
	t.Parallel()
	p, next := newPlace(t), newRoot(t)
	plain, full := p.options(), p.options()
	path := p.withShadow(t, &full, next)
	s, store := open(t, plain)
	if err := s.Replace(full); err != nil || !shadowHolds(store, next) {
		t.Errorf("Replace() with a shadow = %v, want it", err)
	}
	os.Remove(path)
	if err := s.Replace(full); !errors.Is(err, fs.ErrNotExist) || !shadowHolds(store, next) {
		t.Errorf("Replace() with a missing shadow = %v, want it refused", err)
	}
	if err := s.Replace(plain); err != nil || store.Load().Bundle(prod).Shadow() != nil {
		t.Errorf("Replace() without a shadow = %v, want none", err)
	}
	if gone := s.Status().Removed; len(gone) != 1 || gone[0].Kind != files.KindShadow {
		t.Errorf("Status().Removed = %+v, want the shadow", gone)
	}
}
