package files_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
	"verigate/trust/files"
	"verigate/workloadid"
)

var (
	prod    = origin("spiffe://prod.example")
	partner = origin("spiffe://partner.example")
)

func origin(s string) workloadid.Origin {
	o, err := workloadid.ParseOrigin(s)
	if err != nil {
		panic(err)
	}
	return o
}

// patience is how long a test waits for what must happen; it passes only when
// the test fails.
const patience = 20 * time.Second

func newRoot(t testing.TB) *devpki.CA {
	t.Helper()
	ca, err := devpki.NewRoot(devpki.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func pemOf(cas ...*devpki.CA) []byte {
	var out []byte
	for _, ca := range cas {
		out = append(out, devpki.CertificatesPEM(ca.Certificate)...)
	}
	return out
}

// bundleJSON has one entry per authority.
func bundleJSON(sequence int, cas ...*devpki.CA) []byte {
	var entries []string
	for _, ca := range cas {
		entries = append(entries, fmt.Sprintf(`{"kty":"EC","use":"x509-svid","x5c":[%q]}`, base64.StdEncoding.EncodeToString(ca.Certificate.Raw)))
	}
	return fmt.Appendf(nil, `{"spiffe_sequence":%d,"keys":[%s]}`, sequence, strings.Join(entries, ","))
}

// pair returns certificate and key files for name.
func pair(t testing.TB, ca *devpki.CA, name string) (certificate, key []byte) {
	t.Helper()
	leaf, err := ca.Issue(devpki.LeafOptions{URIs: []string{"spiffe://prod.example/" + name}})
	if err != nil {
		t.Fatal(err)
	}
	if key, err = devpki.KeyPEM(leaf.Key); err != nil {
		t.Fatal(err)
	}
	return devpki.CertificatesPEM(leaf.Chain...), key
}

// write puts a file in place whole, as writers should.
func write(t testing.TB, path string, data []byte) {
	t.Helper()
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, path); err != nil {
		t.Fatal(err)
	}
}

// place is a directory with a bundle and a credential in it.
type place struct {
	dir, bundle, cert, key string
	ca                     *devpki.CA
}

func newPlace(t testing.TB) place {
	t.Helper()
	dir := t.TempDir()
	p := place{
		dir:    dir,
		bundle: filepath.Join(dir, "bundle"),
		cert:   filepath.Join(dir, "tls.crt"),
		key:    filepath.Join(dir, "tls.key"),
		ca:     newRoot(t),
	}
	write(t, p.bundle, pemOf(p.ca))
	certificate, key := pair(t, p.ca, "first")
	write(t, p.cert, certificate)
	write(t, p.key, key)
	return p
}

func (p place) options() files.Options {
	return files.Options{
		Bundles:     []files.BundleFile{{Origin: prod, Path: p.bundle}},
		Credentials: []files.CredentialFile{{Name: "edge", CertPath: p.cert, KeyPath: p.key}},
		Debounce:    time.Millisecond,
	}
}

func open(t testing.TB, o files.Options) (*files.Source, *trust.Store) {
	t.Helper()
	var store trust.Store
	s, err := files.Open(o, &store)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	return s, &store
}

// holds reports whether the store trusts exactly cas in o.
func holds(store *trust.Store, o workloadid.Origin, cas ...*devpki.CA) bool {
	b := store.Load().Bundle(o)
	if b == nil || len(b.Anchors()) != len(cas) {
		return false
	}
	for _, ca := range cas {
		if !b.Contains(ca.Certificate) {
			return false
		}
	}
	return true
}

func nameOf(s *files.Source, credential string) string {
	return strings.TrimPrefix(s.Credential(credential).Credential().ID().String(), "spiffe://prod.example/")
}

func itemOf(t testing.TB, s *files.Source, name string) files.ItemStatus {
	t.Helper()
	for _, i := range s.Status().Items {
		if i.Name == name {
			return i
		}
	}
	t.Fatalf("Status() has no item %q", name)
	return files.ItemStatus{}
}

func TestOpenReadsEverything(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	now := time.Now().Add(time.Minute)
	o := p.options()
	o.Now = func() time.Time { return now }
	o.Deny.Keys = []trust.Digest{{1}}
	o.Bundles[0].Options = trust.BundleOptions{RequireEKU: true, MaxCertificateLifetime: time.Hour}
	s, store := open(t, o)
	if !holds(store, prod, p.ca) {
		t.Error("the store does not have the bundle")
	}
	if got := store.Load().Bundle(prod).Options(); !got.RequireEKU || got.MaxCertificateLifetime != time.Hour {
		t.Errorf("the bundle has the options %+v, want those of the file's entry", got)
	}
	if store.Load().Deny().Len() != 1 {
		t.Error("the store does not have the deny-list")
	}
	if got := nameOf(s, "edge"); got != "first" {
		t.Errorf("the credential is %q, want first", got)
	}
	if got := s.Credential("unknown"); got != nil {
		t.Errorf("Credential(unknown) = %v, want nil", got)
	}
	status := s.Status()
	if status.Err() != nil || len(status.Items) != 2 {
		t.Fatalf("Status() = %+v, want two good items", status)
	}
	for _, i := range status.Items {
		if !i.LoadedAt.Equal(now) || !i.CheckedAt.Equal(now) || i.Digest.IsZero() || i.NotAfter.IsZero() || len(i.Notes) != 0 {
			t.Errorf("item %+v, want it loaded and checked at %v, with a digest, an end and no notes", i, now)
		}
	}
}

func TestOpenReadsABundleDocument(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	write(t, p.bundle, []byte(strings.Replace(string(bundleJSON(7, p.ca)), "{", `{"spiffe_refresh_hint":60,`, 1)))
	_, store := open(t, p.options())
	o := store.Load().Bundle(prod).Options()
	if o.Sequence == nil || *o.Sequence != 7 || o.RefreshHint != time.Minute {
		t.Errorf("the bundle has sequence %v and hint %v, want 7 and a minute", o.Sequence, o.RefreshHint)
	}
}

// DESIGN decision 11.
func TestOpenFailsClosed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		claim  string
		damage func(t *testing.T, p place, o *files.Options)
		want   func(error) bool
	}{
		{"a missing bundle", func(t *testing.T, p place, _ *files.Options) { os.Remove(p.bundle) }, isErr(fs.ErrNotExist)},
		{"an empty bundle file", func(t *testing.T, p place, _ *files.Options) { write(t, p.bundle, nil) }, isReason(trust.ReasonEmpty)},
		{"a garbled bundle", func(t *testing.T, p place, _ *files.Options) { write(t, p.bundle, []byte("{")) }, isReason(trust.ReasonJSON)},
		{"a bundle of another trust domain", func(t *testing.T, p place, o *files.Options) {
			write(t, p.bundle, fmt.Appendf(nil, `{"trust_domains":{"partner.example":%s}}`, bundleJSON(1, p.ca)))
		}, isReason(trust.ReasonNoBundle)},
		{"a bundle that is a directory", func(t *testing.T, p place, o *files.Options) { o.Bundles[0].Path = p.dir }, isErr(files.ErrNotRegular)},
		{"a bundle that is a pipe", func(t *testing.T, p place, o *files.Options) {
			o.Bundles[0].Path = filepath.Join(p.dir, "pipe")
			if err := syscall.Mkfifo(o.Bundles[0].Path, 0o600); err != nil {
				t.Fatal(err)
			}
		}, isErr(files.ErrNotRegular)},
		{"a missing key", func(t *testing.T, p place, _ *files.Options) { os.Remove(p.key) }, isErr(fs.ErrNotExist)},
		{"a key of another certificate", func(t *testing.T, p place, _ *files.Options) {
			_, key := pair(t, p.ca, "other")
			write(t, p.key, key)
		}, isReason(trust.ReasonMismatch)},
		{"an expired credential", func(t *testing.T, p place, o *files.Options) {
			o.Now = func() time.Time { return time.Now().Add(48 * time.Hour) }
		}, isReason(trust.ReasonExpired)},
		{"one anchor for two trust domains (TD-07)", func(t *testing.T, p place, o *files.Options) {
			o.Bundles = append(o.Bundles, files.BundleFile{Origin: partner, Path: p.bundle})
		}, isReason(trust.ReasonSharedAnchor)},
		{"two bundles of a trust domain", func(t *testing.T, p place, o *files.Options) { o.Bundles = append(o.Bundles, o.Bundles[0]) }, isReason(trust.ReasonDuplicateOrigin)},
		{"two credentials of a name", func(t *testing.T, p place, o *files.Options) { o.Credentials = append(o.Credentials, o.Credentials[0]) }, isReason(trust.ReasonOptions)},
		{"a credential without a key path", func(t *testing.T, p place, o *files.Options) { o.Credentials[0].KeyPath = "" }, isReason(trust.ReasonOptions)},
		{"a bundle without an origin", func(t *testing.T, p place, o *files.Options) { o.Bundles[0].Origin = workloadid.Origin{} }, isReason(trust.ReasonOptions)},
		{"a negative duration", func(t *testing.T, p place, o *files.Options) { o.Poll = -1 }, isReason(trust.ReasonOptions)},
		{"a negative age", func(t *testing.T, p place, o *files.Options) { o.Bundles[0].MaxAge = -1 }, isReason(trust.ReasonOptions)},
		{"a missing list (REV-02)", func(t *testing.T, p place, o *files.Options) {
			os.Remove(p.withLists(t, o, list(t, p.ca, 1), list(t, p.ca, 2))[1])
		}, isErr(fs.ErrNotExist)},
		{"an empty list", func(t *testing.T, p place, o *files.Options) { p.withLists(t, o, nil) }, isReason(trust.ReasonEmpty)},
		{"a garbled list", func(t *testing.T, p place, o *files.Options) { p.withLists(t, o, []byte("none")) }, isReason(trust.ReasonNoCRL)},
		{"a list without a path", func(t *testing.T, p place, o *files.Options) { o.Bundles[0].CRLs = make([]files.CRLFile, 1) }, isReason(trust.ReasonOptions)},
		{"two lists of a name", func(t *testing.T, p place, o *files.Options) {
			p.withLists(t, o, list(t, p.ca, 1), list(t, p.ca, 2))
			o.Bundles[0].CRLs[1].Name = o.Bundles[0].CRLs[0].Name
		}, isReason(trust.ReasonOptions)},
		{"options for lists without a list", func(t *testing.T, p place, o *files.Options) { o.Bundles[0].CRL.LeafOnly = true }, isReason(trust.ReasonOptions)},
		{"options for lists that are none", func(t *testing.T, p place, o *files.Options) {
			p.withLists(t, o, list(t, p.ca, 1))
			o.Bundles[0].CRL.Grace = -1
		}, isReason(trust.ReasonOptions)},
		{"lists that do not come from a file", func(t *testing.T, p place, o *files.Options) {
			o.Bundles[0].Options.CRLs = new(trust.CRLSet)
		}, isReason(trust.ReasonOptions)},
		{"a shadow that does not come from a file", func(t *testing.T, p place, o *files.Options) {
			o.Bundles[0].Options.Shadow = new(trust.Bundle)
		}, isReason(trust.ReasonOptions)},
		{"a shadow with options for lists and without a list", func(t *testing.T, p place, o *files.Options) {
			o.Bundles[0].Shadow = &files.ShadowFile{CRL: trust.CRLOptions{LeafOnly: true}}
		}, isReason(trust.ReasonOptions)},
		{"a missing secret", func(t *testing.T, p place, o *files.Options) {
			o.Secrets = []files.SecretFile{{Name: "tickets", Path: filepath.Join(p.dir, "missing")}}
		}, isErr(fs.ErrNotExist)},
		{"a secret without a path", func(t *testing.T, p place, o *files.Options) { o.Secrets = []files.SecretFile{{Name: "tickets"}} }, isReason(trust.ReasonOptions)},
		{"two secrets of a name", func(t *testing.T, p place, o *files.Options) {
			_, line := secretLine()
			p.withSecret(t, o, line)
			o.Secrets = append(o.Secrets, o.Secrets[0])
		}, isReason(trust.ReasonOptions)},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			o := p.options()
			tt.damage(t, p, &o)
			var store trust.Store
			s, err := files.Open(o, &store)
			if s != nil || !tt.want(err) {
				t.Errorf("Open() = %v, %v, want another error", s, err)
			}
			if len(store.Load().Bundles()) != 0 {
				t.Error("Open() published although it failed")
			}
		})
	}
}

func isErr(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isReason(r trust.Reason) func(error) bool {
	return func(err error) bool { return trust.ReasonOf(err) == r }
}

func TestOpenReportsAllProblems(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	write(t, p.bundle, nil)
	os.Remove(p.key)
	var store trust.Store
	_, err := files.Open(p.options(), &store)
	if err == nil || !strings.Contains(err.Error(), "bundle spiffe://prod.example: ") || !strings.Contains(err.Error(), "credential edge: ") {
		t.Errorf("Open() = %v, want both problems with their items", err)
	}
}

func TestReloadKeepsTheLastGood(t *testing.T) {
	t.Parallel()
	tests := []struct {
		claim  string
		damage func(t *testing.T, p place)
		want   func(error) bool
	}{
		{"when the bundle goes missing", func(t *testing.T, p place) { os.Remove(p.bundle) }, isErr(fs.ErrNotExist)},
		{"when the bundle is emptied", func(t *testing.T, p place) { write(t, p.bundle, nil) }, isReason(trust.ReasonEmpty)},
		{"when the bundle is garbled", func(t *testing.T, p place) { write(t, p.bundle, []byte(`{"keys":[`)) }, isReason(trust.ReasonJSON)},
		{"when the bundle goes back behind its sequence (BUN-05)", func(t *testing.T, p place) { write(t, p.bundle, bundleJSON(6)) }, isReason(trust.ReasonRollback)},
		{"when a private key gets into the bundle", func(t *testing.T, p place) {
			_, key := pair(t, p.ca, "oops")
			write(t, p.bundle, key)
		}, isReason(trust.ReasonPrivateKey)},
		{"when the certificate goes missing", func(t *testing.T, p place) { os.Remove(p.cert) }, isErr(fs.ErrNotExist)},
		{"when the certificate is renewed and its key is not", func(t *testing.T, p place) {
			certificate, _ := pair(t, p.ca, "second")
			write(t, p.cert, certificate)
		}, isReason(trust.ReasonMismatch)},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			write(t, p.bundle, bundleJSON(7, p.ca))
			s, store := open(t, p.options())
			good := store.Load()
			for range 2 { // the second look must not take the first one's failure for the last good
				tt.damage(t, p)
				if err := s.Reload(); !tt.want(err) {
					t.Errorf("Reload() = %v, want another error", err)
				}
				if store.Load() != good || nameOf(s, "edge") != "first" {
					t.Error("Reload() did not keep the last good")
				}
				if err := s.Status().Err(); !tt.want(err) {
					t.Errorf("Status().Err() = %v, want the error of the reload", err)
				}
			}

			write(t, p.bundle, bundleJSON(8, p.ca))
			certificate, key := pair(t, p.ca, "third")
			write(t, p.cert, certificate)
			write(t, p.key, key)
			if err := s.Reload(); err != nil || s.Status().Err() != nil || nameOf(s, "edge") != "third" {
				t.Errorf("Reload() of good files = %v, the credential is %q, want it to recover", err, nameOf(s, "edge"))
			}
		})
	}
}

// What goes wrong with one item is no reason to hold another back.
func TestItemsAreTakenUpOnTheirOwn(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	next := newRoot(t)
	s, store := open(t, p.options())
	write(t, p.bundle, pemOf(p.ca, next))
	os.Remove(p.cert)
	if err := s.Reload(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Reload() = %v, want the missing certificate", err)
	}
	if !holds(store, prod, p.ca, next) {
		t.Error("a missing certificate kept the new anchors from being published")
	}
	if i := itemOf(t, s, "edge"); i.Err == nil || i.LoadedAt.IsZero() {
		t.Errorf("the credential's status is %+v, want an error and the time of the last good", i)
	}
	if i := itemOf(t, s, prod.String()); i.Err != nil {
		t.Errorf("the bundle's status is %+v, want no error", i)
	}
}

func TestLoadedAtIsWhenTheContentCame(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	var now time.Time
	o := p.options()
	start := time.Now()
	now = start
	o.Now = func() time.Time { return now }
	s, _ := open(t, o)
	step := func(loaded time.Time) {
		t.Helper()
		now = now.Add(time.Minute)
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		if i := itemOf(t, s, prod.String()); !i.LoadedAt.Equal(loaded) || !i.CheckedAt.Equal(now) {
			t.Errorf("loaded at %v and checked at %v, want %v and %v", i.LoadedAt, i.CheckedAt, loaded, now)
		}
	}
	step(start)
	write(t, p.bundle, pemOf(p.ca, newRoot(t)))
	step(start.Add(2 * time.Minute))
	step(start.Add(2 * time.Minute))
}

// BUN-02.
func TestAnExplicitlyEmptyBundleIsPublished(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s, store := open(t, p.options())
	write(t, p.bundle, []byte(`{"keys":[]}`))
	if err := s.Reload(); err != nil {
		t.Errorf("Reload() = %v", err)
	}
	if b := store.Load().Bundle(prod); b == nil || len(b.Anchors()) != 0 {
		t.Errorf("the bundle is %v, want one without anchors", b)
	}
}

func TestBundlesThatDoNotGoTogetherAreTakenUpOneByOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b, shared, next := newRoot(t), newRoot(t), newRoot(t), newRoot(t)
	third := origin("wimse://third.example")
	path := func(o workloadid.Origin) string { return filepath.Join(dir, o.TrustDomain()) }
	var o files.Options
	for of, ca := range map[workloadid.Origin]*devpki.CA{prod: a, partner: b, third: shared} {
		write(t, path(of), pemOf(ca))
		o.Bundles = append(o.Bundles, files.BundleFile{Origin: of, Path: path(of)})
	}
	s, store := open(t, o)

	write(t, path(prod), pemOf(shared)) // third.example's
	write(t, path(partner), pemOf(next))
	if err := s.Reload(); trust.ReasonOf(err) != trust.ReasonSharedAnchor {
		t.Errorf("Reload() = %v, want reason %q", err, trust.ReasonSharedAnchor)
	}
	if !holds(store, prod, a) || !holds(store, partner, next) || !holds(store, third, shared) {
		t.Error("want prod as before, and partner and third as in their files")
	}
	if i := itemOf(t, s, prod.String()); trust.ReasonOf(i.Err) != trust.ReasonSharedAnchor {
		t.Errorf("prod's status is %v, want reason %q", i.Err, trust.ReasonSharedAnchor)
	}

	// An anchor that moves from one to the other in one go is no conflict.
	write(t, path(third), pemOf(a))
	if err := s.Reload(); err != nil {
		t.Errorf("Reload() after the move = %v", err)
	}
	if !holds(store, prod, shared) || !holds(store, third, a) {
		t.Error("the move was not taken up")
	}
}

// KEY-02: the file did not change, the time did.
func TestAnExpiredCredentialIsAnError(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	var mu sync.Mutex
	now := time.Now()
	o := p.options()
	o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	s, _ := open(t, o)
	mu.Lock()
	now = now.Add(48 * time.Hour)
	mu.Unlock()
	if err := s.Reload(); trust.ReasonOf(err) != trust.ReasonExpired {
		t.Errorf("Reload() two days later = %v, want reason %q", err, trust.ReasonExpired)
	}
	if i := itemOf(t, s, prod.String()); i.Err != nil || len(i.Notes) != 1 {
		t.Errorf("the bundle's status is %+v, want a note about its expired anchor and no error", i)
	}
}

// KEY-01.
func TestAKeyThatOthersCanReadIsNoted(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s, _ := open(t, p.options())
	if n := itemOf(t, s, "edge").Notes; len(n) != 0 {
		t.Errorf("a key of mode 0600 is noted: %q", n)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604} {
		if err := os.Chmod(p.key, mode); err != nil {
			t.Fatal(err)
		}
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		if n := itemOf(t, s, "edge").Notes; len(n) != 1 || !strings.Contains(n[0], p.key) {
			t.Errorf("a key of mode %v has the notes %q, want one", mode, n)
		}
	}
}

func TestReplaceIsAllOrNothing(t *testing.T) {
	t.Parallel()
	p, q := newPlace(t), newPlace(t)
	s, store := open(t, p.options())
	good, handle := store.Load(), s.Credential("edge")

	o := p.options()
	o.Bundles = append(o.Bundles, files.BundleFile{Origin: partner, Path: q.bundle})
	o.Credentials[0].CertPath, o.Credentials[0].KeyPath = q.cert, filepath.Join(q.dir, "missing")
	if err := s.Replace(o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Replace() = %v, want the missing key", err)
	}
	if err := s.Replace(files.Options{Poll: -1}); trust.ReasonOf(err) != trust.ReasonOptions {
		t.Errorf("Replace() = %v, want reason %q", err, trust.ReasonOptions)
	}
	if store.Load() != good || handle.Credential().ID().Path() != "/first" || len(s.Status().Items) != 2 || s.Status().Err() != nil {
		t.Error("a failed Replace changed something")
	}

	o.Credentials[0].KeyPath = q.key
	o.Credentials = append(o.Credentials, files.CredentialFile{Name: "more", CertPath: p.cert, KeyPath: p.key})
	if err := s.Replace(o); err != nil {
		t.Fatalf("Replace() = %v", err)
	}
	if !holds(store, prod, p.ca) || !holds(store, partner, q.ca) {
		t.Error("Replace() did not publish the bundles")
	}
	want, err := os.ReadFile(q.cert)
	if err != nil {
		t.Fatal(err)
	}
	leaf := handle.Credential().TLS().Leaf
	if !bytes.HasPrefix(want, devpki.CertificatesPEM(leaf)) {
		t.Error("the handle from before Replace() does not follow")
	}
	if s.Credential("more") == nil || len(s.Status().Items) != 4 {
		t.Errorf("Status() = %+v, want four items", s.Status())
	}

	if err := s.Replace(files.Options{Bundles: p.options().Bundles}); err != nil {
		t.Fatalf("Replace() = %v", err)
	}
	if s.Credential("edge") != nil || handle.Credential() == nil || store.Load().Bundle(partner) != nil {
		t.Error("Replace() with less did not forget the rest, or took a credential from its users")
	}
}

func TestReplaceRemembersTheSequence(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	write(t, p.bundle, bundleJSON(7, p.ca))
	s, store := open(t, p.options())
	write(t, p.bundle, bundleJSON(6, newRoot(t)))
	if err := s.Replace(p.options()); trust.ReasonOf(err) != trust.ReasonRollback || !holds(store, prod, p.ca) {
		t.Errorf("Replace() with an older document = %v, want reason %q", err, trust.ReasonRollback)
	}
	o := p.options()
	o.Bundles[0].Path = filepath.Join(p.dir, "elsewhere")
	write(t, o.Bundles[0].Path, bundleJSON(6, p.ca))
	if err := s.Replace(o); err != nil {
		t.Errorf("Replace() with another file = %v, want a new beginning", err)
	}
}

func TestOnReloadHearsOfEveryAttempt(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	var heard []error
	o := p.options()
	o.OnReload = func(status files.Status) { heard = append(heard, status.Err()) }
	s, _ := open(t, o)
	s.Reload()
	os.Remove(p.bundle)
	s.Reload()
	write(t, p.bundle, pemOf(p.ca))
	if err := s.Replace(o); err != nil {
		t.Fatal(err)
	}
	if len(heard) != 3 || heard[0] != nil || !errors.Is(heard[1], fs.ErrNotExist) || heard[2] != nil {
		t.Errorf("OnReload heard %v, want good, missing, good", heard)
	}
}

// Every change is told once, at the look that found it.
func TestALookTellsWhatItChanged(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	first, second := pemOf(p.ca), pemOf(p.ca, newRoot(t))
	o := p.options()
	var heard []files.Status
	o.OnReload = func(status files.Status) { heard = append(heard, status) }
	s, _ := open(t, o)
	if i := itemOf(t, s, prod.String()); i.Change != files.Loaded || !i.Previous.IsZero() {
		t.Errorf("after Open() the bundle has change %v and a previous digest %v, want loaded and none", i.Change, i.Previous)
	}
	before := itemOf(t, s, prod.String()).Digest
	for _, step := range []struct {
		claim   string
		content []byte
		want    files.Change
		changed bool // of the digest
	}{
		{"the same", first, files.Unchanged, false},
		{"another set of anchors", second, files.Loaded, true},
		{"the same after that", second, files.Unchanged, false},
		{"a fault", []byte("garbage"), files.Refused, false},
		{"the same fault", []byte("garbage"), files.Unchanged, false},
		{"another fault", nil, files.Refused, false},
		{"what was held", second, files.Repaired, false},
		{"what was held, again", second, files.Unchanged, false},
		{"the first fault", []byte("garbage"), files.Refused, false},
		{"other anchors after a fault", first, files.Loaded, true},
	} {
		write(t, p.bundle, step.content)
		s.Reload()
		i := itemOf(t, s, prod.String())
		if i.Change != step.want || i.Previous != before || (i.Digest != before) != step.changed {
			t.Errorf("%s: change %v from %v to %v, want %v from %v, another digest: %t", step.claim, i.Change, i.Previous, i.Digest, step.want, before, step.changed)
		}
		if edge := itemOf(t, s, "edge"); edge.Change != files.Unchanged {
			t.Errorf("%s: the credential has change %v, want none", step.claim, edge.Change)
		}
		if at := heard[len(heard)-1].Items[0]; at.Change != step.want {
			t.Errorf("%s: OnReload heard of change %v, want %v", step.claim, at.Change, step.want)
		}
		before = i.Digest
	}
}

func TestReplaceTellsWhatItChanged(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s, _ := open(t, p.options())
	held := itemOf(t, s, prod.String())
	os.Remove(p.bundle)
	s.Reload()

	o := p.options()
	o.Bundles[0].Path = filepath.Join(p.dir, "moved")
	write(t, o.Bundles[0].Path, pemOf(p.ca))
	o.Credentials[0].Name = "renamed"
	if err := s.Replace(o); err != nil {
		t.Fatal(err)
	}
	if i := itemOf(t, s, prod.String()); i.Change != files.Repaired || i.Previous != held.Digest {
		t.Errorf("the bundle whose file moved has change %v from %v, want repaired from %v", i.Change, i.Previous, held.Digest)
	}
	if i := itemOf(t, s, "renamed"); i.Change != files.Loaded || !i.Previous.IsZero() {
		t.Errorf("the credential with a new name has change %v from %v, want loaded from nothing", i.Change, i.Previous)
	}
	if gone := s.Status().Removed; len(gone) != 1 || gone[0].Name != "edge" || gone[0].Digest.IsZero() {
		t.Errorf("Status().Removed = %+v, want the credential edge", gone)
	}
	s.Reload()
	if gone := s.Status().Removed; len(gone) != 0 {
		t.Errorf("Status().Removed = %+v after another look, want none", gone)
	}
}

// running runs a source until the test ends, and tells of every look.
type running struct {
	*files.Source
	store *trust.Store
	looks chan files.Status
}

func run(t *testing.T, o files.Options) *running {
	t.Helper()
	r := &running{looks: make(chan files.Status, 1)}
	o.OnReload = func(status files.Status) {
		select { // the newest is enough
		case <-r.looks:
		default:
		}
		r.looks <- status
	}
	r.Source, r.store = open(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	// The first look comes when the directories are watched.
	r.until(t, "the first look", func(files.Status) bool { return true })
	return r
}

// until waits for a look after which ok holds.
func (r *running) until(t *testing.T, what string, ok func(files.Status) bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case status := <-r.looks:
			if ok(status) {
				return
			}
		case <-timeout:
			t.Fatalf("waited in vain for %s; status: %+v", what, r.Status())
		}
	}
}

// eventsOnly polls so rarely that only events can make a test pass.
func eventsOnly(o files.Options) files.Options {
	o.Poll = time.Hour
	return o
}

func TestRunFollowsReplacedFiles(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	next := newRoot(t)
	r := run(t, eventsOnly(p.options()))
	write(t, p.bundle, pemOf(p.ca, next))
	r.until(t, "the new anchors", func(files.Status) bool { return holds(r.store, prod, p.ca, next) })

	certificate, key := pair(t, p.ca, "second")
	write(t, p.cert, certificate)
	// A look in between finds a pair that does not match; that is not the end.
	r.until(t, "the mismatch", func(s files.Status) bool { return trust.ReasonOf(s.Err()) == trust.ReasonMismatch })
	if got := nameOf(r.Source, "edge"); got != "first" {
		t.Errorf("in the middle of the rotation the credential is %q, want first", got)
	}
	write(t, p.key, key)
	r.until(t, "the new credential", func(s files.Status) bool { return s.Err() == nil && nameOf(r.Source, "edge") == "second" })
}

func TestRunFollowsFilesWrittenInPlace(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	next := newRoot(t)
	r := run(t, eventsOnly(p.options()))
	if err := os.WriteFile(p.bundle, pemOf(next), 0o600); err != nil {
		t.Fatal(err)
	}
	r.until(t, "the new anchor", func(files.Status) bool { return holds(r.store, prod, next) })
}

// projected lays files out as the kubelet does: real files in a directory named
// by the time, ..data pointing to it, and a link per file through ..data.
func projected(t *testing.T, volume, version string, contents map[string][]byte) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	real := filepath.Join(volume, "..2026_"+version)
	check(os.Mkdir(real, 0o700))
	for name, data := range contents {
		check(os.WriteFile(filepath.Join(real, name), data, 0o600))
	}
	data := filepath.Join(volume, "..data")
	before, err := os.Readlink(data)
	if err != nil {
		before = ""
	}
	check(os.Symlink(filepath.Base(real), data+"_tmp"))
	check(os.Rename(data+"_tmp", data))
	if before != "" {
		check(os.RemoveAll(filepath.Join(volume, before)))
		return
	}
	for name := range contents {
		check(os.Symlink(filepath.Join("..data", name), filepath.Join(volume, name)))
	}
}

func TestRunFollowsAKubernetesVolume(t *testing.T) {
	t.Parallel()
	volume, ca := t.TempDir(), newRoot(t)
	version := func(name string, anchors ...*devpki.CA) map[string][]byte {
		certificate, key := pair(t, ca, name)
		return map[string][]byte{"bundle": pemOf(anchors...), "tls.crt": certificate, "tls.key": key}
	}
	projected(t, volume, "1", version("v1", ca))
	p := place{bundle: filepath.Join(volume, "bundle"), cert: filepath.Join(volume, "tls.crt"), key: filepath.Join(volume, "tls.key")}
	r := run(t, eventsOnly(p.options()))
	anchors := []*devpki.CA{ca}
	for _, n := range []string{"2", "3", "4"} {
		anchors = append(anchors, newRoot(t))
		projected(t, volume, n, version("v"+n, anchors...))
		r.until(t, "version "+n, func(s files.Status) bool {
			return s.Err() == nil && nameOf(r.Source, "edge") == "v"+n && holds(r.store, prod, anchors...)
		})
	}
}

// Others keep files in versioned directories and swap a link above them.
func TestRunFollowsASwappedDirectory(t *testing.T) {
	t.Parallel()
	base, a, b := t.TempDir(), newRoot(t), newRoot(t)
	for name, ca := range map[string]*devpki.CA{"v1": a, "v2": b} {
		if err := os.Mkdir(filepath.Join(base, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(base, name, "bundle"), pemOf(ca))
	}
	link := func(to string) {
		t.Helper()
		if err := errors.Join(os.Symlink(to, filepath.Join(base, "next")), os.Rename(filepath.Join(base, "next"), filepath.Join(base, "current"))); err != nil {
			t.Fatal(err)
		}
	}
	link("v1")
	r := run(t, eventsOnly(files.Options{
		Bundles:  []files.BundleFile{{Origin: prod, Path: filepath.Join(base, "current", "bundle")}},
		Debounce: time.Millisecond,
	}))
	link("v2")
	r.until(t, "the other directory", func(files.Status) bool { return holds(r.store, prod, b) })
	// The target of the link is watched as well.
	write(t, filepath.Join(base, "v2", "bundle"), pemOf(a, b))
	r.until(t, "the change behind the link", func(files.Status) bool { return holds(r.store, prod, a, b) })
}

func TestRunPollsWhatItCannotWatch(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	next := newRoot(t)
	// A second name for the file, in a directory of its own: events for the first
	// directory do not reach the second.
	elsewhere := filepath.Join(t.TempDir(), "bundle")
	if err := os.Link(p.bundle, elsewhere); err != nil {
		t.Fatal(err)
	}
	o := p.options()
	o.Poll = 5 * time.Millisecond
	r := run(t, o)
	if err := os.WriteFile(elsewhere, pemOf(next), 0o600); err != nil {
		t.Fatal(err)
	}
	r.until(t, "the change that gave no event", func(files.Status) bool { return holds(r.store, prod, next) })
}

func TestRunLooksAgainWhileSomethingIsWrong(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := run(t, eventsOnly(p.options()))
	if err := os.RemoveAll(p.dir); err != nil { // and the watch with it
		t.Fatal(err)
	}
	r.until(t, "the missing files", func(s files.Status) bool { return errors.Is(s.Err(), fs.ErrNotExist) })
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	next := newRoot(t)
	certificate, key := pair(t, next, "second")
	write(t, p.bundle, pemOf(next))
	write(t, p.cert, certificate)
	write(t, p.key, key)
	r.until(t, "the files in the new directory", func(s files.Status) bool {
		return s.Err() == nil && holds(r.store, prod, next) && nameOf(r.Source, "edge") == "second"
	})
}

func TestRunFollowsReplacedOptions(t *testing.T) {
	t.Parallel()
	p, q := newPlace(t), newPlace(t)
	r := run(t, eventsOnly(p.options()))
	o := eventsOnly(q.options())
	replaced := make(chan files.Status, 16)
	o.OnReload = func(status files.Status) {
		select {
		case replaced <- status:
		default: // enough of them are there
		}
	}
	if err := r.Replace(o); err != nil {
		t.Fatal(err)
	}
	r.looks = replaced
	r.until(t, "Replace itself", func(files.Status) bool { return true })
	r.until(t, "the look with the new directories", func(files.Status) bool { return true })
	next := newRoot(t)
	write(t, q.bundle, pemOf(next))
	r.until(t, "the change in the new place", func(files.Status) bool { return holds(r.store, prod, next) })
}

// A source that has written a file does not wait for events, which may not come,
// nor for a burst to pass, nor for the next poll.
func TestRunLooksWhenAsked(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	next := newRoot(t)
	o := eventsOnly(p.options())
	o.Debounce = time.Hour
	r := run(t, o)
	write(t, p.bundle, pemOf(next))
	r.Refresh()
	r.until(t, "the look that was asked for", func(files.Status) bool { return holds(r.store, prod, next) })
}

func TestOnlyOneRunAtATime(t *testing.T) {
	t.Parallel()
	r := run(t, eventsOnly(newPlace(t).options()))
	if err := r.Run(t.Context()); err == nil {
		t.Error("a second Run() = nil, want an error")
	}
}

// A source under rotation shows every reader a whole pair (the race detector
// watches).
func TestReadersNeverMeetHalfARotation(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s, store := open(t, p.options())
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			handle := s.Credential("edge")
			for {
				select {
				case <-stop:
					return
				default:
				}
				c := handle.Credential().TLS()
				key, ok := c.PrivateKey.(*ecdsa.PrivateKey)
				if !ok || !key.PublicKey.Equal(c.Leaf.PublicKey) {
					t.Error("a reader met a key that is not that of its certificate")
					return
				}
				if store.Load().Bundle(prod) == nil || len(s.Status().Items) != 2 {
					t.Error("a reader met a source that lacks something")
					return
				}
			}
		})
	}
	for i := range 20 {
		certificate, key := pair(t, p.ca, fmt.Sprintf("n%d", i))
		write(t, p.cert, certificate)
		s.Reload()
		write(t, p.key, key)
		if err := s.Reload(); err != nil {
			t.Errorf("Reload() = %v", err)
		}
	}
	close(stop)
	readers.Wait()
}

// Not parallel: no other test's Run may be among the goroutines.
func TestRunLeavesNoGoroutine(t *testing.T) {
	p := newPlace(t)
	s, _ := open(t, eventsOnly(p.options()))
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(patience)
	for {
		var stacks bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(stacks.String(), "fsnotify.") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines are left:\n%s", stacks.String())
		}
	}
}

func BenchmarkReloadUnchanged(b *testing.B) {
	p := newPlace(b)
	s, _ := open(b, p.options())
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Reload(); err != nil {
			b.Fatal(err)
		}
	}
}

// A publisher that leaves the sequence out once does not undo what was reached: a
// document from before would come back in two steps (BUN-05).
func TestDocumentWithoutSequenceDoesNotHideRollback(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	write(t, p.bundle, bundleJSON(7, p.ca))
	s, store := open(t, p.options())
	write(t, p.bundle, pemOf(p.ca, newRoot(t)))
	if err := s.Reload(); err != nil {
		t.Fatalf("Reload() of a document without a sequence = %v", err)
	}
	write(t, p.bundle, bundleJSON(6, newRoot(t)))
	if err := s.Reload(); trust.ReasonOf(err) != trust.ReasonRollback || len(store.Load().Bundle(prod).Anchors()) != 2 {
		t.Errorf("Reload() of an older document = %v, want reason %q", err, trust.ReasonRollback)
	}
}

// A pipe that takes the place of a file between two system calls must not stop
// the source for ever: nobody writes to it.
func TestPipeThatReplacesAFileKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s, _ := open(t, p.options())
	spare, regular := filepath.Join(p.dir, "spare"), filepath.Join(p.dir, "regular")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = syscall.Mkfifo(spare, 0o600)
			_ = os.Rename(spare, p.bundle)
			_ = os.WriteFile(regular, []byte("-"), 0o600)
			_ = os.Rename(regular, p.bundle)
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2000 {
			s.Reload()
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("Reload() waits for somebody to write to a pipe")
	}
	close(stop)
	<-stopped
}
