package files

import (
	"slices"
	"sync/atomic"
	"time"

	"verigate/trust"
)

func newCredentialItem(f CredentialFile) *item[trust.Credential] {
	return &item[trust.Credential]{
		status: ItemStatus{Kind: KindCredential, Name: f.Name, Paths: slices.Compact([]string{f.CertPath, f.KeyPath})},
		limit:  trust.MaxDocumentBytes,
		parse: func(contents [][]byte, now time.Time) (*trust.Credential, error) {
			return trust.ParseCredential(f.CertPath, contents[0], f.KeyPath, contents[len(contents)-1], now)
		},
		judge: func(value *trust.Credential, now time.Time) ([]string, error) {
			if now.After(value.NotAfter()) { // since it was parsed (KEY-02)
				return nil, &trust.Error{Reason: trust.ReasonExpired, Name: f.CertPath, Detail: "on " + value.NotAfter().UTC().Format(time.DateTime)}
			}
			return keyNotes(f.KeyPath), nil
		},
		describe: func(value *trust.Credential) (trust.Digest, time.Time) { return value.Digest(), value.NotAfter() },
	}
}

func newSecretItem(f SecretFile) *item[trust.Secrets] {
	return &item[trust.Secrets]{
		status: ItemStatus{Kind: KindSecret, Name: f.Name, Paths: []string{f.Path}},
		limit:  trust.MaxDocumentBytes,
		parse: func(contents [][]byte, _ time.Time) (*trust.Secrets, error) {
			return trust.ParseSecrets(f.Path, contents[0])
		},
		judge:    func(*trust.Secrets, time.Time) ([]string, error) { return keyNotes(f.Path), nil },
		describe: func(value *trust.Secrets) (trust.Digest, time.Time) { return value.Digest(), time.Time{} },
	}
}

// handles are what users of credentials or secrets keep, by name. One lives as
// long as the source, also while the options do not have its name: a change of
// the configuration that is taken back must find its users still connected.
type handles[H any] map[string]*H

// of returns the handle of name.
func (h handles[H]) of(name string) *H {
	if h[name] == nil {
		h[name] = new(H)
	}
	return h[name]
}

// credentialHandle follows a credential.
type credentialHandle struct {
	current atomic.Pointer[trust.Credential]
}

// Credential returns the last good credential. It costs one atomic load.
func (h *credentialHandle) Credential() *trust.Credential { return h.current.Load() }

// secretHandle follows a file of secrets.
type secretHandle struct {
	current atomic.Pointer[trust.Secrets]
}

// Secrets returns the last good secrets. It costs one atomic load.
func (h *secretHandle) Secrets() *trust.Secrets { return h.current.Load() }
