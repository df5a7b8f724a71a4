package files_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verigate/trust"
	"verigate/trust/files"
)

// secretLine returns a secret and the line that says it.
func secretLine() (s trust.Secret, line string) {
	_, _ = rand.Read(s[:]) // never fails (Go 1.24)
	return s, hex.EncodeToString(s[:]) + "\n"
}

// withSecret adds a file of secrets and returns its path.
func (p place) withSecret(t testing.TB, o *files.Options, text string) (path string) {
	t.Helper()
	path = filepath.Join(p.dir, "tickets.secret")
	write(t, path, []byte(text))
	o.Secrets = append(o.Secrets, files.SecretFile{Name: "tickets", Path: path})
	return path
}

func TestSecretsFollowTheirFile(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	first, firstLine := secretLine()
	second, secondLine := secretLine()
	path := p.withSecret(t, &o, firstLine)
	s, store := open(t, o)
	handle, snapshot := s.Secret("tickets"), store.Load()
	if got := handle.Secrets().All(); len(got) != 1 || got[0] != first {
		t.Errorf("the handle has %d secrets, want the one of the file", len(got))
	}
	if got := s.Secret("unknown"); got != nil {
		t.Errorf("Secret(unknown) = %v, want nil", got)
	}
	write(t, path, []byte(secondLine+firstLine))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := handle.Secrets().All(); len(got) != 2 || got[0] != second || got[1] != first {
		t.Errorf("after a rotation the handle has %d secrets, want the new one and then the old one", len(got))
	}
	rotated := handle.Secrets()
	if i := itemOfKind(t, s, files.KindSecret, "tickets"); i.Digest != rotated.Digest() || i.Change != files.Loaded || len(i.Notes) != 0 {
		t.Errorf("the status is %+v, want the secrets' digest, loaded, without notes", i)
	}
	for _, damage := range []struct {
		claim string
		do    func()
		want  func(error) bool
	}{
		{"garbled", func() { write(t, path, []byte("oops")) }, isReason(trust.ReasonSecret)},
		{"emptied", func() { write(t, path, nil) }, isReason(trust.ReasonEmpty)},
		{"half written", func() { write(t, path, []byte(secondLine[:40])) }, isReason(trust.ReasonSecret)},
		{"missing", func() { os.Remove(path) }, isErr(fs.ErrNotExist)},
	} {
		damage.do()
		if err := s.Reload(); !damage.want(err) || handle.Secrets() != rotated {
			t.Errorf("%s: Reload() = %v, want another error and the last good", damage.claim, err)
		}
		var fresh trust.Store
		if _, err := files.Open(o, &fresh); !damage.want(err) {
			t.Errorf("%s: Open() = %v, want another error", damage.claim, err)
		}
	}
	if store.Load() != snapshot {
		t.Error("secrets made another snapshot")
	}
}

// KEY-01.
func TestASecretThatOthersCanReadIsNoted(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	_, line := secretLine()
	path := p.withSecret(t, &o, line)
	s, _ := open(t, o)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if n := itemOfKind(t, s, files.KindSecret, "tickets").Notes; len(n) != 1 || !strings.Contains(n[0], path) {
		t.Errorf("a secret of mode 0640 has the notes %q, want one", n)
	}
}

// A configuration that drops a name can be taken back, and those who use the
// handle must not be left behind.
func TestHandlesOutliveTheirNames(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	_, line := secretLine()
	path := p.withSecret(t, &o, line)
	s, _ := open(t, o)
	credential, secret := s.Credential("edge"), s.Secret("tickets")
	held := secret.Secrets()

	if err := s.Replace(files.Options{Bundles: o.Bundles}); err != nil {
		t.Fatal(err)
	}
	if s.Credential("edge") != nil || s.Secret("tickets") != nil {
		t.Error("what the options do not have can still be asked for")
	}
	if nameOf := credential.Credential().ID().Path(); nameOf != "/first" || secret.Secrets() != held {
		t.Error("a handle lost what it had")
	}

	certificate, key := pair(t, p.ca, "second")
	write(t, p.cert, certificate)
	write(t, p.key, key)
	next, line := secretLine()
	write(t, path, []byte(line))
	if err := s.Replace(o); err != nil {
		t.Fatal(err)
	}
	if s.Credential("edge") != credential || s.Secret("tickets") != secret {
		t.Error("the names came back with other handles")
	}
	if nameOf := credential.Credential().ID().Path(); nameOf != "/second" || secret.Secrets().All()[0] != next {
		t.Error("a handle does not follow after its name came back")
	}
}

func TestAFailedReplaceChangesNoSecret(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	o := p.options()
	_, line := secretLine()
	path := p.withSecret(t, &o, line)
	s, _ := open(t, o)
	held := s.Secret("tickets").Secrets()
	_, line = secretLine()
	write(t, path, []byte(line))
	more := o
	more.Secrets = append(more.Secrets, files.SecretFile{Name: "more", Path: path + ".missing"})
	if err := s.Replace(more); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Replace() = %v, want the missing secret", err)
	}
	if s.Secret("tickets").Secrets() != held || s.Secret("more") != nil {
		t.Error("a Replace that failed changed a secret")
	}
}
