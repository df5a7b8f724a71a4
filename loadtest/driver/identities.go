package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// identity is one client. Certificate and key are parsed when they are first used:
// of a hundred thousand, a short run uses a few.
type identity struct {
	source string // for errors: file and number
	pem    []byte

	once        sync.Once
	certificate tls.Certificate
	err         error

	session session
	open    atomic.Int32 // connections
	used    atomic.Bool
}

// credential returns what the client shows. The identity without a file has none,
// and shows an empty list.
func (i *identity) credential() (*tls.Certificate, error) {
	i.once.Do(func() {
		if i.pem == nil {
			return
		}
		i.certificate, i.err = tls.X509KeyPair(i.pem, i.pem)
		if i.err != nil {
			i.err = fmt.Errorf("%s: %w", i.source, i.err)
		}
		i.pem = nil
		i.certificate.Leaf = nil // nothing asks for it, and there may be very many
	})
	return &i.certificate, i.err
}

// session remembers the last ticket of one identity.
type session struct {
	mu    sync.Mutex
	key   string
	state *tls.ClientSessionState
}

func (s *session) Get(key string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key != key || s.state == nil {
		return nil, false
	}
	return s.state, true
}

func (s *session) Put(key string, state *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.state = key, state
}

// endOfKey ends an identity in a bundle.
var endOfKey = []byte("PRIVATE KEY-----")

// loadIdentities reads a bundle, or the bundle.pem of a folder: for each identity
// its certificate, the intermediates, and its key, which `gateway pki gen` writes
// and which `cat` makes of files. first bounds how many are taken; 0 is all.
func loadIdentities(name string, first int) ([]*identity, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		name = filepath.Join(name, "bundle.pem")
	}
	data, err := readFile(name, maxIdentitiesBytes)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("identities: %w; make some with `gateway pki gen`", err)
	}
	if err != nil {
		return nil, fmt.Errorf("identities: %w", err)
	}
	var all []*identity
	for len(data) > 0 && (first == 0 || len(all) < first) {
		end := endOfIdentity(data)
		if end < 0 {
			if len(bytes.TrimSpace(data)) > 0 {
				return nil, fmt.Errorf("%s: identity %d has no private key; expected certificate, intermediates and key for each", name, len(all))
			}
			break
		}
		all = append(all, &identity{source: fmt.Sprintf("%s: identity %d", name, len(all)), pem: data[:end]})
		data = data[end:]
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: there is no identity; expected certificates and keys in PEM", name)
	}
	if _, err := all[0].credential(); err != nil { // so that a wrong file is said at once
		return nil, err
	}
	return all, nil
}

// endOfIdentity is where the key that ends the first identity of data ends, -1 if
// there is no key.
func endOfIdentity(data []byte) int {
	begin := bytes.Index(data, endOfKey)
	if begin < 0 {
		return -1
	}
	begin += len(endOfKey)
	end := bytes.Index(data[begin:], endOfKey)
	if end < 0 {
		return -1
	}
	end += begin + len(endOfKey)
	for end < len(data) && (data[end] == '\n' || data[end] == '\r') {
		end++
	}
	return end
}

// loadIdentity reads the one identity of vegeta's -cert and -key.
func loadIdentity(certFile, keyFile string) ([]*identity, error) {
	certificate, err := readFile(certFile, maxAnchorsBytes)
	if err != nil {
		return nil, fmt.Errorf("-cert: %w", err)
	}
	key, err := readFile(keyFile, maxAnchorsBytes)
	if err != nil {
		return nil, fmt.Errorf("-key: %w", err)
	}
	i := &identity{source: certFile, pem: append(append(certificate, '\n'), key...)}
	_, err = i.credential()
	return []*identity{i}, err
}

// chooser chooses the identity of each new connection.
type chooser struct {
	all    []*identity
	random bool
	most   int // connections of an identity at a time; 0 is any number
	next   atomic.Uint64
}

// take returns an identity that may have another connection. [chooser.release]
// gives it back.
func (c *chooser) take() (*identity, error) {
	start := c.next.Add(1) - 1
	if c.random {
		start = rand.Uint64()
	}
	for k := range uint64(len(c.all)) {
		i := c.all[(start+k)%uint64(len(c.all))]
		if n := i.open.Add(1); c.most == 0 || int(n) <= c.most {
			return i, nil
		}
		i.open.Add(-1)
	}
	return nil, errors.New("all identities have as many connections as -per-identity allows")
}

func (c *chooser) release(i *identity) { i.open.Add(-1) }

// used counts the identities that the load has taken so far.
func (c *chooser) used() int {
	n := 0
	for _, i := range c.all {
		if i.used.Load() {
			n++
		}
	}
	return n
}
