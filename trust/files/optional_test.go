package files_test

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
	"verigate/trust/files"
)

// remote returns options in which partner.example's bundle is for a remote source
// to write, and where.
func remote(p place, t testing.TB) (o files.Options, path string) {
	t.Helper()
	o = p.options()
	path = p.dir + "/partner.json"
	o.Bundles = append(o.Bundles, files.BundleFile{Origin: partner, Path: path, Optional: true})
	return o, path
}

func TestAnOptionalBundleMayCome(t *testing.T) {
	t.Parallel()
	p, ca := newPlace(t), newRoot(t)
	o, path := remote(p, t)
	s, store := open(t, o)
	absent := func(what string, change files.Change) {
		t.Helper()
		if b := store.Load().Bundle(partner); b == nil || len(b.Anchors()) != 0 || !holds(store, prod, p.ca) {
			t.Errorf("%s: want a bundle without anchors, and the others as they are", what)
		}
		if i := itemOf(t, s, partner.String()); !errors.Is(i.Err, files.ErrNotFetched) || i.Change != change || !i.LoadedAt.IsZero() {
			t.Errorf("%s: change %v with error %v, want %v and %v, and nothing loaded", what, i.Change, i.Err, change, files.ErrNotFetched)
		}
	}
	absent("missing at the start", files.Refused)
	if err := s.Reload(); !errors.Is(err, files.ErrNotFetched) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Reload() = %v, want it said that it is missing", err)
	}
	absent("still missing", files.Unchanged)
	if err := s.Replace(o); err != nil {
		t.Errorf("Replace() = %v, want it to bear what is missing", err)
	}
	absent("missing at Replace", files.Unchanged)
	write(t, path, []byte("{"))
	s.Reload()
	absent("garbled", files.Refused)

	write(t, path, bundleJSON(1, ca))
	if err := s.Reload(); err != nil || !holds(store, partner, ca) {
		t.Errorf("Reload() of what has come = %v, want it", err)
	}
	if i := itemOf(t, s, partner.String()); i.Change != files.Loaded {
		t.Errorf("what has come has change %v, want loaded", i.Change)
	}

	// What was good once is kept, however the configuration is read again.
	for what, look := range map[string]func() error{"Reload": s.Reload, "Replace": func() error { return s.Replace(o) }} {
		for _, damage := range []func(){func() { os.Remove(path) }, func() { write(t, path, []byte("{")) }} {
			damage()
			err := look()
			if i := itemOf(t, s, partner.String()); i.Err == nil || errors.Is(i.Err, files.ErrNotFetched) || !holds(store, partner, ca) {
				t.Errorf("%s() without the file = %v, status %v, want the last good", what, err, i.Err)
			}
		}
	}
}

// A partner must not be able to keep the gateway from starting by publishing
// somebody else's anchor.
func TestAnOptionalBundleThatClashesIsLeftOut(t *testing.T) {
	t.Parallel()
	p, ca := newPlace(t), newRoot(t)
	o, path := remote(p, t)
	slices.Reverse(o.Bundles)
	write(t, path, bundleJSON(1, p.ca))
	s, store := open(t, o)
	if !holds(store, prod, p.ca) || !holds(store, partner) {
		t.Error("want the operator's file and nothing of the other")
	}
	if i := itemOf(t, s, partner.String()); trust.ReasonOf(i.Err) != trust.ReasonSharedAnchor || !errors.Is(i.Err, files.ErrNotFetched) {
		t.Errorf("the status says %v, want reason %q", i.Err, trust.ReasonSharedAnchor)
	}
	write(t, path, bundleJSON(2, ca))
	if err := s.Reload(); err != nil || !holds(store, partner, ca) {
		t.Errorf("Reload() = %v, want the bundle that clashes with nothing", err)
	}
}

// What is optional is the file, not the sense of the options.
func TestImpossibleOptionsOfAnOptionalBundleRefuseToStart(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o, _ := remote(p, t)
	o.Bundles[1].Options.NotBeforeSkew = -1
	var store trust.Store
	if _, err := files.Open(o, &store); trust.ReasonOf(err) != trust.ReasonOptions {
		t.Errorf("Open() = %v, want reason %q", err, trust.ReasonOptions)
	}
}

// REV-04: what an absent list would cover is unknown, not good.
func TestAnOptionalListMayCome(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	path := p.withLists(t, &o, nil)[0]
	o.Bundles[0].CRLs[0].Optional = true
	for _, absent := range []func(){func() {}, func() { os.Remove(path) }} {
		absent()
		s, store := open(t, o)
		wantNumbers(t, store, []string{}...)
		if store.Load().Bundle(prod).CRLs() == nil {
			t.Error("without the list nobody asks for a status, want it unknown")
		}
		if i := crlItem(t, s, "1.crl"); !errors.Is(i.Err, files.ErrNotFetched) {
			t.Errorf("the list's status says %v, want %v", i.Err, files.ErrNotFetched)
		}
		write(t, path, list(t, p.ca, 1))
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		wantNumbers(t, store, "1")
		os.Remove(path)
		if err := s.Replace(o); err != nil {
			t.Errorf("Replace() without the file = %v, want the last good", err)
		}
		wantNumbers(t, store, "1")
	}
}

// aged is a bundle that is believed for an hour, and a clock.
type aged struct {
	*files.Source
	store *trust.Store
	place
	o   files.Options
	now time.Time
}

func newAged(t *testing.T) *aged {
	t.Helper()
	a := &aged{place: newPlace(t), now: time.Now()}
	a.o = files.Options{
		Bundles: []files.BundleFile{{Origin: prod, Path: a.bundle, MaxAge: time.Hour}},
		Now:     func() time.Time { return a.now },
	}
	a.written(t, bundleJSON(7, a.ca))
	a.Source, a.store = open(t, a.o)
	return a
}

// written writes the bundle at a.now.
func (a *aged) written(t *testing.T, data []byte) {
	t.Helper()
	write(t, a.bundle, data)
	a.renew(t, a.now)
}

func (a *aged) renew(t *testing.T, at time.Time) {
	t.Helper()
	if err := os.Chtimes(a.bundle, at, at); err != nil {
		t.Fatal(err)
	}
}

func (a *aged) want(t *testing.T, what string, change files.Change, believed bool, cas ...*devpki.CA) {
	t.Helper()
	err := a.Reload()
	if !holds(a.store, prod, cas...) || errors.Is(err, files.ErrTooOld) == believed {
		t.Errorf("%s: %d anchors and error %v, want %d and believed: %t", what, len(a.store.Load().Bundle(prod).Anchors()), err, len(cas), believed)
	}
	if i := itemOf(t, a.Source, prod.String()); i.Change != change {
		t.Errorf("%s: change %v, want %v", what, i.Change, change)
	}
}

// FED-07.
func TestWhatIsTooOldIsNotBelieved(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	start := a.now
	if i := itemOf(t, a.Source, prod.String()); !i.WrittenAt.Equal(start) || !i.BelievedUntil.Equal(start.Add(time.Hour)) {
		t.Errorf("written at %v and believed until %v, want %v and an hour later", i.WrittenAt, i.BelievedUntil, start)
	}
	a.now = start.Add(time.Hour)
	a.want(t, "at its last moment", files.Unchanged, true, a.ca)
	a.now = a.now.Add(time.Nanosecond)
	a.want(t, "after it", files.Refused, false)
	a.want(t, "at the next look", files.Unchanged, false)
	a.now = a.now.Add(time.Minute)
	a.want(t, "much later", files.Unchanged, false)
	a.renew(t, a.now)
	a.want(t, "renewed without another content", files.Loaded, true, a.ca)

	// Whatever is wrong with the file, what was good ends in time.
	write(t, a.bundle, []byte("{"))
	a.want(t, "garbled", files.Refused, true, a.ca)
	a.now = a.now.Add(time.Hour)
	a.want(t, "garbled, at its last moment", files.Unchanged, true, a.ca)
	a.now = a.now.Add(time.Nanosecond)
	a.want(t, "garbled for too long", files.Refused, false)
	if err := a.Reload(); trust.ReasonOf(err) != trust.ReasonJSON {
		t.Errorf("Reload() = %v, want it said as well what is wrong with the file", err)
	}
	os.Remove(a.bundle)
	a.want(t, "missing for too long", files.Refused, false)

	// What had been reached is still guarded (BUN-05).
	a.written(t, bundleJSON(6, a.ca))
	a.want(t, "an older document", files.Refused, false)
	if err := a.Reload(); trust.ReasonOf(err) != trust.ReasonRollback {
		t.Errorf("Reload() = %v, want reason %q", err, trust.ReasonRollback)
	}
	a.written(t, bundleJSON(8, a.ca))
	a.want(t, "a newer document", files.Loaded, true, a.ca)
}

// A clock that was wrong for a while must not make a file young for years.
func TestAFileFromTheFutureIsNotBelieved(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	a.renew(t, a.now.Add(time.Hour))
	a.want(t, "an hour ahead", files.Unchanged, true, a.ca)
	a.renew(t, a.now.Add(time.Hour+time.Second))
	a.want(t, "more than an hour ahead", files.Refused, false)
}

func TestWhatIsTooOldIsNoReasonNotToStart(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	a.now = a.now.Add(2 * time.Hour)
	s, store := open(t, a.o)
	if i := itemOf(t, s, prod.String()); !errors.Is(i.Err, files.ErrTooOld) || !holds(store, prod) {
		t.Errorf("the status says %v, want %v and no anchors", i.Err, files.ErrTooOld)
	}
	if err := a.Replace(a.o); err != nil || !holds(a.store, prod) {
		t.Errorf("Replace() = %v, want no anchors", err)
	}
	os.Remove(a.bundle)
	var fresh trust.Store
	if _, err := files.Open(a.o, &fresh); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open() without a file that is not optional = %v, want it refused", err)
	}
}

// A shadow that has no file of its own follows its bundle into this as well.
func TestAShadowFollowsABundleThatIsTooOld(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	a.o.Bundles[0].Shadow = &files.ShadowFile{}
	if err := a.Replace(a.o); err != nil || !shadowHolds(a.store, a.ca) {
		t.Fatalf("Replace() = %v, want a shadow", err)
	}
	a.now = a.now.Add(2 * time.Hour)
	a.want(t, "too old", files.Refused, false)
	if !shadowHolds(a.store) {
		t.Error("the shadow still believes what its bundle does not")
	}
}
