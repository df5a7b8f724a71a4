package files_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
	"verigate/trust/files"
	"verigate/workloadid"
)

// moment is the second in which the tests' lists were issued.
var moment = time.Now().Truncate(time.Second)

// list returns a revocation list of ca in DER.
func list(t testing.TB, ca *devpki.CA, number int64, revoked ...int64) []byte {
	t.Helper()
	o := devpki.CRLOptions{Number: big.NewInt(number), ThisUpdate: moment.Add(time.Duration(number) * time.Second)}
	for _, serial := range revoked {
		o.Revoked = append(o.Revoked, big.NewInt(serial))
	}
	return listWith(t, ca, o)
}

func listWith(t testing.TB, ca *devpki.CA, o devpki.CRLOptions) []byte {
	t.Helper()
	der, err := ca.MakeCRL(o)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// withLists adds files of revocation lists to the bundle of p and returns their
// paths.
func (p place) withLists(t testing.TB, o *files.Options, contents ...[]byte) (paths []string) {
	t.Helper()
	for i, content := range contents {
		path := filepath.Join(p.dir, fmt.Sprintf("%d.crl", i+1))
		write(t, path, content)
		paths = append(paths, path)
		o.Bundles[0].CRLs = append(o.Bundles[0].CRLs, files.CRLFile{Name: filepath.Base(path), Path: path})
	}
	return paths
}

// numbers returns the numbers of the lists that peers of o are looked up in, in
// order; nil when nobody asks.
func numbers(store *trust.Store, o workloadid.Origin) []string {
	return numbersOf(store.Load().Bundle(o))
}

func numbersOf(b *trust.Bundle) []string {
	if b.CRLs() == nil {
		return nil
	}
	all := []string{}
	for _, crl := range b.CRLs().CRLs() {
		all = append(all, crl.Number())
	}
	slices.Sort(all)
	return all
}

func wantNumbers(t testing.TB, store *trust.Store, want ...string) {
	t.Helper()
	if got := numbers(store, prod); !slices.Equal(got, want) {
		t.Errorf("the lists have the numbers %q, want %q", got, want)
	}
}

func itemOfKind(t testing.TB, s *files.Source, kind, name string) files.ItemStatus {
	t.Helper()
	for _, i := range s.Status().Items {
		if i.Kind == kind && i.Name == name {
			return i
		}
	}
	t.Fatalf("Status() has no %s %q", kind, name)
	return files.ItemStatus{}
}

// crlItem returns the status of a file that withLists made.
func crlItem(t testing.TB, s *files.Source, name string) files.ItemStatus {
	t.Helper()
	return itemOfKind(t, s, files.KindCRL, prod.String()+" "+name)
}

func TestOpenReadsRevocationLists(t *testing.T) {
	t.Parallel()
	p, other := newPlace(t), newRoot(t)
	o := p.options()
	if _, store := open(t, o); store.Load().Bundle(prod).CRLs() != nil {
		t.Error("a bundle without files of lists has a set of them")
	}
	two := append(devpki.CRLPEM(list(t, p.ca, 1)), devpki.CRLPEM(list(t, other, 2))...)
	single := list(t, p.ca, 3, 17)
	p.withLists(t, &o, two, single)
	o.Bundles[0].CRL = trust.CRLOptions{WhenStale: trust.StaleGrace, Grace: time.Hour, LeafOnly: true}
	s, store := open(t, o)
	wantNumbers(t, store, "1", "2", "3")
	if got := store.Load().Bundle(prod).CRLs().Options(); got != o.Bundles[0].CRL {
		t.Errorf("the set has the options %+v, want %+v", got, o.Bundles[0].CRL)
	}
	i := crlItem(t, s, "2.crl")
	if i.Digest != sha256.Sum256(single) || !i.NotAfter.Equal(moment.Add(3*time.Second+devpki.DefaultLifetime)) || i.LoadedAt.IsZero() || i.Err != nil || len(i.Notes) != 0 {
		t.Errorf("the second file's status is %+v, want its hash and its next update", i)
	}
	if i := crlItem(t, s, "1.crl"); !i.NotAfter.Equal(moment.Add(time.Second + devpki.DefaultLifetime)) {
		t.Errorf("the first file ends at %v, want the first of its next updates", i.NotAfter)
	}
}

// A name that is not given is the path.
func TestRevocationListsAreNamed(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	path := p.withLists(t, &o, list(t, p.ca, 1))[0]
	o.Bundles[0].CRLs[0].Name = ""
	s, _ := open(t, o)
	crlItem(t, s, path)
}

// DESIGN decision 11; REV-02.
func TestEveryListIsHeldOnItsOwn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		claim  string
		damage func(t *testing.T, path string, good []byte)
		want   func(error) bool
	}{
		{"missing", func(_ *testing.T, path string, _ []byte) { os.Remove(path) }, isErr(fs.ErrNotExist)},
		{"emptied", func(t *testing.T, path string, _ []byte) { write(t, path, nil) }, isReason(trust.ReasonEmpty)},
		{"garbled", func(t *testing.T, path string, _ []byte) { write(t, path, []byte("<html>")) }, isReason(trust.ReasonNoCRL)},
		{"half written", func(t *testing.T, path string, good []byte) { write(t, path, good[:len(good)/2]) }, isReason(trust.ReasonCRL)},
		{"half written in PEM", func(t *testing.T, path string, good []byte) {
			text := devpki.CRLPEM(good)
			write(t, path, text[:len(text)/2])
		}, isReason(trust.ReasonEncoding)},
		{"a directory", func(t *testing.T, path string, _ []byte) {
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, isErr(files.ErrNotRegular)},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			o := p.options()
			paths := p.withLists(t, &o, list(t, p.ca, 1), list(t, newRoot(t), 11))
			s, store := open(t, o)
			for round := range 2 {
				next := newRoot(t)
				tt.damage(t, paths[0], list(t, p.ca, 2))
				write(t, paths[1], list(t, next, int64(12+round)))
				write(t, p.bundle, pemOf(p.ca, next))
				if err := s.Reload(); !tt.want(err) {
					t.Fatalf("Reload() = %v, want another error", err)
				}
				wantNumbers(t, store, "1", fmt.Sprint(12+round))
				if !holds(store, prod, p.ca, next) {
					t.Error("a bad list kept the new anchors from being published")
				}
				if i := crlItem(t, s, "1.crl"); !tt.want(i.Err) || i.Digest.IsZero() {
					t.Errorf("the bad file's status is %+v, want its error and the digest of the last good", i)
				}
				if i := crlItem(t, s, "2.crl"); i.Err != nil || i.Change != files.Loaded {
					t.Errorf("the good file's status is %+v, want it loaded", i)
				}
				if i := itemOf(t, s, prod.String()); i.Err != nil {
					t.Errorf("the bundle's status has the error %v, want none", i.Err)
				}
			}
			os.Remove(paths[0]) // a directory is not renamed over
			write(t, paths[0], list(t, p.ca, 3))
			if err := s.Reload(); err != nil {
				t.Errorf("Reload() of a good list = %v", err)
			}
			wantNumbers(t, store, "13", "3")
		})
	}
}

// A list that changes alone is a new snapshot with the same bundle: caches keep
// what they know, and look it up anew.
func TestAListAloneMakesANewSnapshot(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	path := p.withLists(t, &o, list(t, p.ca, 1))[0]
	s, store := open(t, o)
	before := store.Load()
	changes := 0
	store.OnChange(func(_, _ *trust.Snapshot) { changes++ })
	if err := s.Reload(); err != nil || store.Load() != before {
		t.Errorf("Reload() of the same = %v and another snapshot", err)
	}
	write(t, path, list(t, p.ca, 2, 99))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	after := store.Load()
	if changes != 1 || after.Digest() == before.Digest() {
		t.Errorf("the new list made %d changes, want 1, with another digest", changes)
	}
	if after.Bundle(prod).Digest() != before.Bundle(prod).Digest() {
		t.Error("the new list gave the bundle another digest")
	}
	if _, revoked := after.Bundle(prod).CRLs().CRLs()[0].Lookup([20]byte{19: 99}); !revoked {
		t.Error("the new list does not have its entry")
	}
	if i := itemOf(t, s, prod.String()); i.Change != files.Unchanged {
		t.Errorf("the bundle has change %v, want none", i.Change)
	}
}

// BUN-05 for lists: whoever can put an old list there takes revocations back.
func TestOlderListsAreRefused(t *testing.T) {
	t.Parallel()
	dated := func(number int64, ago time.Duration) devpki.CRLOptions {
		return devpki.CRLOptions{Number: big.NewInt(number), ThisUpdate: moment.Add(-ago)}
	}
	wide := new(big.Int).Lsh(big.NewInt(1), 158)
	tests := []struct {
		claim   string
		held    devpki.CRLOptions
		offered devpki.CRLOptions
		refused bool
	}{
		{"a lower number", dated(7, time.Hour), dated(6, 2*time.Hour), true},
		{"a lower number of a later date, as of a CA that lost count or after a forgery", dated(7, time.Hour), dated(6, 0), false},
		{"a lower number with more digits than fit a machine word", devpki.CRLOptions{Number: wide, ThisUpdate: moment}, dated(9, time.Hour), true},
		{"a lower number that sorts higher as text", dated(10, time.Hour), dated(9, time.Hour), true},
		{"an earlier date with the same number", dated(7, time.Hour), dated(7, 2*time.Hour), true},
		{"the same number and date", dated(7, time.Hour), dated(7, time.Hour), false},
		{"a higher number", dated(9, time.Hour), dated(10, time.Hour), false},
		{"a higher number of an earlier date", dated(7, time.Hour), dated(8, 2*time.Hour), false},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			o := p.options()
			path := p.withLists(t, &o, listWith(t, p.ca, tt.held))[0]
			s, store := open(t, o)
			held := store.Load().Bundle(prod).CRLs().CRLs()[0]
			write(t, path, listWith(t, p.ca, tt.offered))
			for _, look := range []struct {
				name string
				look func() error
			}{
				{"Reload", s.Reload}, {"a second Reload", s.Reload}, {"Replace", func() error { return s.Replace(o) }},
			} {
				err := look.look()
				kept := store.Load().Bundle(prod).CRLs().CRLs()[0] == held
				if (trust.ReasonOf(err) == trust.ReasonRollback) != tt.refused || kept != tt.refused {
					t.Errorf("%s = %v, kept what was held: %t, want it refused: %t", look.name, err, kept, tt.refused)
				}
			}
		})
	}
}

func TestSeriesOfListsAreToldApart(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	sibling := newRoot(t) // of the same name, with a key of its own
	o := p.options()
	path := p.withLists(t, &o, list(t, p.ca, 50))[0]
	s, store := open(t, o)
	write(t, path, list(t, sibling, 3))
	if err := s.Reload(); err != nil {
		t.Fatalf("Reload() of a list by another key = %v", err)
	}
	wantNumbers(t, store, "3")

	// What a series had reached counts also after it was out of the file.
	write(t, path, list(t, p.ca, 49))
	if err := s.Reload(); trust.ReasonOf(err) != trust.ReasonRollback {
		t.Errorf("Reload() of an older list after a detour = %v, want reason %q", err, trust.ReasonRollback)
	}
	wantNumbers(t, store, "3")

	// An older list beside its successor takes nothing back.
	write(t, path, append(devpki.CRLPEM(list(t, p.ca, 2)), devpki.CRLPEM(list(t, p.ca, 51))...))
	if err := s.Reload(); err != nil {
		t.Errorf("Reload() of an older list beside a new one = %v", err)
	}

	elsewhere := filepath.Join(p.dir, "elsewhere.crl")
	write(t, elsewhere, list(t, p.ca, 1))
	o.Bundles[0].CRLs[0].Path = elsewhere
	if err := s.Replace(o); err != nil {
		t.Errorf("Replace() with another file = %v, want a new beginning", err)
	}
}

// Lists remember which signatures were checked, so they must not be read again
// for nothing.
func TestUnchangedListsStayTheSame(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	paths := p.withLists(t, &o, list(t, p.ca, 1), list(t, newRoot(t), 2))
	s, store := open(t, o)
	crls := func() *trust.CRLSet { return store.Load().Bundle(prod).CRLs() }
	before := crls()
	same := func() bool {
		return slices.EqualFunc(before.CRLs(), crls().CRLs(), func(a, b *trust.CRL) bool { return a == b })
	}

	write(t, p.bundle, pemOf(p.ca, newRoot(t)))
	if err := s.Reload(); err != nil || crls() != before {
		t.Errorf("other anchors made another set of lists (%v)", err)
	}
	o.Bundles[0].Options.RequireEKU = true
	if err := s.Replace(o); err != nil || crls() != before {
		t.Errorf("other options of the bundle made another set of lists (%v)", err)
	}
	o.Bundles[0].CRL.LeafOnly = true
	if err := s.Replace(o); err != nil || crls() == before || !same() {
		t.Errorf("other options of the lists: another set %t, the same lists %t, want both (%v)", crls() != before, same(), err)
	}
	loaded := crlItem(t, s, "1.crl").LoadedAt
	text, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	write(t, paths[0], text)
	if err := s.Reload(); err != nil || !same() || !crlItem(t, s, "1.crl").LoadedAt.Equal(loaded) {
		t.Errorf("a file that was written again with the same content made other lists (%v)", err)
	}
	first := before.CRLs()[slices.IndexFunc(before.CRLs(), func(c *trust.CRL) bool { return c.Number() == "2" })]
	write(t, paths[0], list(t, p.ca, 3))
	if err := s.Reload(); err != nil || !slices.Contains(crls().CRLs(), first) {
		t.Errorf("a change of one file made another list of the other (%v)", err)
	}
}

func TestFilesOfOneContentAreParsedOnce(t *testing.T) {
	t.Parallel()
	p, q := newPlace(t), newPlace(t)
	o := p.options()
	path := p.withLists(t, &o, list(t, p.ca, 1))[0]
	o.Bundles[0].Shadow = &files.ShadowFile{CRLs: o.Bundles[0].CRLs}
	o.Bundles = append(o.Bundles, files.BundleFile{Origin: partner, Path: q.bundle, CRLs: o.Bundles[0].CRLs})
	s, store := open(t, o)
	check := func(number string) {
		t.Helper()
		n := store.Load()
		first := n.Bundle(prod).CRLs().CRLs()[0]
		if first.Number() != number || n.Bundle(prod).Shadow().CRLs().CRLs()[0] != first || n.Bundle(partner).CRLs().CRLs()[0] != first {
			t.Errorf("list %s was parsed more than once", number)
		}
	}
	check("1")
	write(t, path, list(t, p.ca, 2))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	check("2")
}

// Not parallel: it counts what everybody allocates.
func TestALargeListIsReadOnce(t *testing.T) {
	p := newPlace(t)
	o := p.options()
	large := devpki.CRLOptions{Number: big.NewInt(1), ThisUpdate: moment}
	for serial := int64(1); serial <= 200_000; serial++ {
		large.Revoked = append(large.Revoked, big.NewInt(1<<62+serial*7919))
	}
	der := listWith(t, p.ca, large)
	if len(der) < 5<<20 {
		t.Fatalf("the list has %d octets, want a large one", len(der))
	}
	path := p.withLists(t, &o, der)[0]
	s, store := open(t, o)
	crl := store.Load().Bundle(prod).CRLs().CRLs()[0]
	if crl.Entries() != len(large.Revoked) {
		t.Errorf("the list has %d entries, want %d", crl.Entries(), len(large.Revoked))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const looks = 8
	for range looks {
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > uint64(len(der)) {
		t.Errorf("%d looks at an unchanged list of %d octets allocate %d, want less than one reading", looks, len(der), got)
	}
	write(t, path, der[:len(der)-1])
	if err := s.Reload(); trust.ReasonOf(err) != trust.ReasonCRL || store.Load().Bundle(prod).CRLs().CRLs()[0] != crl {
		t.Errorf("Reload() of a list that lacks an octet = %v, want reason %q and the last good", err, trust.ReasonCRL)
	}
}

// Lists may be larger than anchors and keys.
func TestAListMayBeLargerThanOtherFiles(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	p.withLists(t, &o, append(bytes.Repeat([]byte("\n"), trust.MaxDocumentBytes), devpki.CRLPEM(list(t, p.ca, 1))...))
	_, store := open(t, o)
	wantNumbers(t, store, "1")
}

func TestTooLargeAListIsRefused(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	path := p.withLists(t, &o, list(t, p.ca, 1))[0]
	s, store := open(t, o)
	if err := os.Truncate(path, trust.MaxCRLBytes+1); err != nil { // a hole, as the disk has none to spare
		t.Fatal(err)
	}
	if err := s.Reload(); trust.ReasonOf(err) != trust.ReasonTooLarge {
		t.Errorf("Reload() = %v, want reason %q", err, trust.ReasonTooLarge)
	}
	wantNumbers(t, store, "1")
}

func TestListsThatAreTooManyTogetherStayWhatTheyWere(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	many := func(count int) []byte {
		var text bytes.Buffer
		for range count {
			text.Write(devpki.CRLPEM(list(t, p.ca, 1)))
		}
		return text.Bytes()
	}
	paths := p.withLists(t, &o, many(trust.MaxCRLs/2+1), list(t, p.ca, 1))
	s, store := open(t, o)
	before := store.Load()
	write(t, paths[1], many(trust.MaxCRLs/2))
	if err := s.Reload(); trust.ReasonOf(err) != trust.ReasonTooLarge || store.Load() != before {
		t.Errorf("Reload() = %v, want reason %q and what was held", err, trust.ReasonTooLarge)
	}
	if i := crlItem(t, s, "2.crl"); trust.ReasonOf(i.Err) != trust.ReasonTooLarge {
		t.Errorf("the file that has changed has the error %v, want reason %q", i.Err, trust.ReasonTooLarge)
	}
	if i := crlItem(t, s, "1.crl"); i.Err != nil {
		t.Errorf("the file that has not changed has the error %v, want none", i.Err)
	}
	var fresh trust.Store
	if _, err := files.Open(o, &fresh); trust.ReasonOf(err) != trust.ReasonTooLarge {
		t.Errorf("Open() = %v, want reason %q", err, trust.ReasonTooLarge)
	}
}

// An anchor that is held back is no reason to hold a revocation back.
func TestListsAreTakenUpBesideAnchorsThatAreNot(t *testing.T) {
	t.Parallel()
	p, q := newPlace(t), newPlace(t)
	o := p.options()
	path := p.withLists(t, &o, list(t, p.ca, 1))[0]
	o.Bundles = append(o.Bundles, files.BundleFile{Origin: partner, Path: q.bundle})
	s, store := open(t, o)
	write(t, p.bundle, pemOf(q.ca)) // partner.example's
	write(t, path, list(t, p.ca, 2))
	if err := s.Reload(); trust.ReasonOf(err) != trust.ReasonSharedAnchor {
		t.Errorf("Reload() = %v, want reason %q", err, trust.ReasonSharedAnchor)
	}
	wantNumbers(t, store, "2")
	if !holds(store, prod, p.ca) || !holds(store, partner, q.ca) {
		t.Error("the anchors that clash were not held back")
	}
}

// REV-02: late is told before it refuses anybody.
func TestALateListIsNoted(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	p.withLists(t, &o, list(t, p.ca, 1))
	now := moment
	o.Now, o.Credentials = func() time.Time { return now }, nil // which would expire before
	s, _ := open(t, o)
	now = moment.Add(time.Second + devpki.DefaultLifetime)
	if err := s.Reload(); err != nil || len(crlItem(t, s, "1.crl").Notes) != 0 {
		t.Errorf("at its next update the list has the notes %q (%v), want none", crlItem(t, s, "1.crl").Notes, err)
	}
	now = now.Add(time.Nanosecond)
	if err := s.Reload(); err != nil {
		t.Errorf("Reload() with a late list = %v, want it noted only", err)
	}
	if notes := crlItem(t, s, "1.crl").Notes; len(notes) != 1 || !strings.HasPrefix(notes[0], "CRL 1 of ") {
		t.Errorf("after its next update the list has the notes %q, want one", notes)
	}
}

// FED-09, and the other way round: without a restart.
func TestReplaceAddsAndRemovesLists(t *testing.T) {
	t.Parallel()
	p, q := newPlace(t), newPlace(t)
	plain := p.options()
	s, store := open(t, plain)
	full := p.options()
	path := p.withLists(t, &full, list(t, p.ca, 1))[0]
	full.Bundles = append(full.Bundles, files.BundleFile{Origin: partner, Path: q.bundle, CRLs: []files.CRLFile{{Path: path}}})
	if err := s.Replace(full); err != nil {
		t.Fatal(err)
	}
	wantNumbers(t, store, "1")
	if got := numbers(store, partner); !slices.Equal(got, []string{"1"}) {
		t.Errorf("the new trust domain has the lists %q, want its one", got)
	}
	broken := full
	broken.Bundles = slices.Clone(full.Bundles)
	broken.Bundles[1].CRLs = []files.CRLFile{{Path: filepath.Join(q.dir, "missing")}}
	before := store.Load()
	if err := s.Replace(broken); !errors.Is(err, fs.ErrNotExist) || store.Load() != before {
		t.Errorf("Replace() with a missing list = %v, want it refused as a whole", err)
	}
	if err := s.Replace(plain); err != nil {
		t.Fatal(err)
	}
	if numbers(store, prod) != nil || store.Load().Bundle(partner) != nil {
		t.Error("Replace() did not forget the lists, or the trust domain")
	}
	var removed []string
	for _, i := range s.Status().Removed {
		removed = append(removed, i.Kind+" "+i.Name)
	}
	want := []string{"crl " + prod.String() + " 1.crl", "bundle " + partner.String(), "crl " + partner.String() + " " + path}
	if !slices.Equal(removed, want) {
		t.Errorf("Status().Removed = %q, want %q", removed, want)
	}
}

func TestRunFollowsListsInAKubernetesVolume(t *testing.T) {
	t.Parallel()
	p, volume := newPlace(t), t.TempDir()
	projected(t, volume, "1", map[string][]byte{"prod.crl": list(t, p.ca, 1)})
	o := eventsOnly(p.options())
	o.Bundles[0].CRLs = []files.CRLFile{{Path: filepath.Join(volume, "prod.crl")}}
	r := run(t, o)
	for _, n := range []int64{2, 3, 4} {
		projected(t, volume, fmt.Sprint(n), map[string][]byte{"prod.crl": list(t, p.ca, n)})
		r.until(t, "list "+fmt.Sprint(n), func(s files.Status) bool {
			return s.Err() == nil && slices.Equal(numbers(r.store, prod), []string{fmt.Sprint(n)})
		})
	}
}

func BenchmarkReloadUnchangedList(b *testing.B) {
	p := newPlace(b)
	o := p.options()
	large := devpki.CRLOptions{Number: big.NewInt(1)}
	for serial := int64(1); serial <= 200_000; serial++ {
		large.Revoked = append(large.Revoked, big.NewInt(1<<62+serial))
	}
	der := listWith(b, p.ca, large)
	p.withLists(b, &o, der)
	s, _ := open(b, o)
	b.SetBytes(int64(len(der)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Reload(); err != nil {
			b.Fatal(err)
		}
	}
}

// Whether a list may be a forgery decides what a lower number means: a genuine list must
// not be locked out by a forged one, and nothing takes the place of a verified list that
// forgets revocations, such as the first ones of a CA that was restored from a backup.
func TestALowerNumberIsARollbackOnceTheListWasVerified(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	dated := func(number int64, ago time.Duration) []byte {
		return listWith(t, p.ca, devpki.CRLOptions{Number: big.NewInt(number), ThisUpdate: moment.Add(-ago)})
	}
	path := p.withLists(t, &o, dated(9, time.Hour))[0]
	s, store := open(t, o)

	write(t, path, dated(7, 30*time.Minute))
	if err := s.Reload(); err != nil {
		t.Fatalf("Reload() of a later list in the place of one that nobody verified = %v", err)
	}
	held := store.Load().Bundle(prod).CRLs().CRLs()[0]
	if s.Verified(held.Digest()) {
		t.Error("Verified() of a list that nobody verified")
	}
	if err := held.CheckSignature(trust.Digest{1}, func(trust.SignatureAlgorithm, []byte, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if !s.Verified(held.Digest()) || s.Verified(trust.Digest{1}) {
		t.Error("Verified() does not know of the list that was verified, or knows of another")
	}
	write(t, path, dated(6, 0))
	if err := s.Reload(); trust.ReasonOf(err) != trust.ReasonRollback {
		t.Errorf("Reload() of a lower number in the place of a verified list = %v, want reason %q", err, trust.ReasonRollback)
	}
	wantNumbers(t, store, "7")
	write(t, path, dated(8, 0))
	if err := s.Reload(); err != nil {
		t.Errorf("Reload() of its successor = %v", err)
	}
	// Until it has proven genuine, the one before stays beside it.
	wantNumbers(t, store, "7", "8")
	verify(t, store, "8")
	if err := s.Reload(); err != nil {
		t.Errorf("Reload() after the successor was verified = %v", err)
	}
	wantNumbers(t, store, "8")
	if s.Verified(held.Digest()) {
		t.Error("Verified() of a list that is held no longer")
	}
}

// verify has the list in force with that number be verified, as its first use does.
func verify(t *testing.T, store *trust.Store, number string) {
	t.Helper()
	for _, crl := range store.Load().Bundle(prod).CRLs().CRLs() {
		if crl.Number() == number {
			if err := crl.CheckSignature(trust.Digest{1}, func(trust.SignatureAlgorithm, []byte, []byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no list in force has the number %s", number)
}

// Whoever can put something in the file, as anybody on the way of plain http can, gets
// neither an old list into force, nor the genuine one out of it, nor its successors
// refused (REV-03). The old list is what he is after: it lacks who was revoked since.
func TestForgeriesNeitherRollBackNorLockOut(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	other := newRoot(t)
	dated := func(number int64, ago time.Duration) []byte {
		return devpki.CRLPEM(listWith(t, p.ca, devpki.CRLOptions{Number: big.NewInt(number), ThisUpdate: moment.Add(-ago)}))
	}
	// Signed by nobody that anybody knows; its series is that of the genuine lists, and
	// the tests here verify by hand.
	forged := func(number *big.Int, ago time.Duration) []byte {
		return devpki.CRLPEM(listWith(t, p.ca, devpki.CRLOptions{Number: number, ThisUpdate: moment.Add(-ago)}))
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 150)
	for _, tt := range []struct {
		claim   string
		offers  [][]byte // one after the other, while 10 of half an hour ago is held and verified
		refused []bool
		want    []string // in force at the end
	}{
		{"an old list", [][]byte{dated(9, time.Hour)}, []bool{true}, []string{"10"}},
		{"a forged one of long ago, then an old list",
			[][]byte{forged(big.NewInt(11), 1000*time.Hour), dated(9, time.Hour)}, []bool{true, true}, []string{"10"}},
		{"a forged one of today, then an old list",
			[][]byte{forged(big.NewInt(11), time.Minute), dated(9, time.Hour)}, []bool{false, true}, []string{"10", "11"}},
		{"another CA's, a forged one, then an old list",
			[][]byte{devpki.CRLPEM(list(t, other, 1)), forged(big.NewInt(11), time.Minute), dated(9, time.Hour)}, []bool{false, false, true}, []string{"10", "11"}},
		{"a forged one together with an old list",
			[][]byte{append(forged(big.NewInt(11), time.Minute), dated(9, time.Hour)...)}, []bool{false}, []string{"10", "11"}},
		{"a forged one with a huge number together with the genuine one, then its successor",
			[][]byte{append(forged(huge, 1000*time.Hour), dated(10, 30*time.Minute)...), dated(12, 0)}, []bool{false, false}, []string{"10", "12"}},
		{"a forged one with a huge number, then the successor",
			[][]byte{forged(huge, time.Minute), dated(12, 0)}, []bool{false, false}, []string{"10", "12"}},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			p := p.elsewhere(t)
			o := p.options()
			path := p.withLists(t, &o, dated(10, 30*time.Minute))[0]
			o.Bundles[0].CRLs[0].Optional = true // as of a file that is fetched
			s, store := open(t, o)
			verify(t, store, "10")
			for i, offer := range tt.offers {
				write(t, path, offer)
				if err := s.Reload(); (trust.ReasonOf(err) == trust.ReasonRollback) != tt.refused[i] {
					t.Errorf("offer %d: Reload() = %v, want it refused: %t", i, err, tt.refused[i])
				}
			}
			wantNumbers(t, store, tt.want...)
		})
	}
}

// A file that cannot be read for a moment and is as it was then is parsed anew. What was
// learnt of its lists holds all the same.
func TestAHiccupOfAFileForgetsNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	dated := func(number int64, ago time.Duration) []byte {
		return listWith(t, p.ca, devpki.CRLOptions{Number: big.NewInt(number), ThisUpdate: moment.Add(-ago)})
	}
	path := p.withLists(t, &o, dated(10, time.Hour))[0]
	s, store := open(t, o)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil {
		t.Fatal("Reload() without the file = nil")
	}
	write(t, path, dated(10, time.Hour))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	verify(t, store, "10")
	write(t, path, dated(9, 0))
	if err := s.Reload(); trust.ReasonOf(err) != trust.ReasonRollback {
		t.Errorf("Reload() of a lower number after the hiccup = %v, want reason %q", err, trust.ReasonRollback)
	}
}

// What bears a date to come, as only a forgery does, locks nobody out until then.
func TestAListOfTheFutureLocksNothingOut(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	dated := func(number int64, ago time.Duration) []byte {
		return listWith(t, p.ca, devpki.CRLOptions{Number: big.NewInt(number), ThisUpdate: moment.Add(-ago), NextUpdate: moment.Add(100 * 365 * 24 * time.Hour)})
	}
	path := p.withLists(t, &o, dated(3, time.Hour))[0]
	s, store := open(t, o)
	verify(t, store, "3")
	write(t, path, dated(1<<40, -50*365*24*time.Hour))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	write(t, path, dated(4, time.Minute))
	if err := s.Reload(); err != nil {
		t.Errorf("Reload() of the genuine successor = %v", err)
	}
	wantNumbers(t, store, "3", "4")
}

// An operator who takes a list out of his file has taken it out.
func TestAListThatIsTakenOutOfTheFileIsOut(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	other := newRoot(t)
	o := p.options()
	path := p.withLists(t, &o, append(devpki.CRLPEM(list(t, p.ca, 10)), devpki.CRLPEM(list(t, other, 1))...))[0]
	s, store := open(t, o)
	verify(t, store, "10")
	write(t, path, devpki.CRLPEM(list(t, other, 1)))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	wantNumbers(t, store, "1")
}

// elsewhere is another place with the same CA.
func (p place) elsewhere(t *testing.T) place {
	t.Helper()
	other := newPlace(t)
	other.ca = p.ca
	write(t, other.bundle, pemOf(p.ca))
	return other
}
