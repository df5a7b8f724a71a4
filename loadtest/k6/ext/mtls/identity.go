package mtls

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// bundleName is the file that `gateway pki gen` writes to the folder of each set.
const bundleName = "bundle.pem"

// credential is what an identity presents.
type credential struct {
	// name is the URI of the leaf, or its subject where it has none.
	name string
	// certificate is empty where the identity is to present none.
	certificate tls.Certificate
}

// source is where identities come from.
type source interface {
	// count says how many there are.
	count() int
	// load returns identity i, which must be less than count. It may be called
	// concurrently.
	load(i int) (*credential, error)
}

// nobody is a source of clients without a certificate.
type nobody int

func (n nobody) count() int                    { return int(n) }
func (n nobody) load(int) (*credential, error) { return &credential{}, nil }

// single is a source of one identity.
type single struct{ *credential }

func (s single) count() int                    { return 1 }
func (s single) load(int) (*credential, error) { return s.credential, nil }

// openPair is the source of the identity whose certificates are in one file and
// whose key is in another.
func openPair(certificate, key string) (source, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", certificate, key, err)
	}
	return single{newCredential(pair)}, nil
}

// bundle is a source of the identities in a file. It holds their positions, not
// them: a hundred thousand are a quarter of a gigabyte of PEM, of which a run may
// need little.
type bundle struct {
	file  *os.File
	bound []int64 // identity i is from bound[i] to bound[i+1]
	// issuers has the DER of the certificates above the leaves once each, by
	// themselves as strings: thousands of leaves share them.
	issuers sync.Map
}

// openBundle finds the identities in a PEM file, or in bundle.pem of a folder: for
// each its leaf, the certificates above it, and its key. It reads the file once and
// keeps it open.
func openBundle(path string) (source, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, bundleName)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b := &bundle{file: f}
	if b.bound, err = bounds(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return b, nil
}

// bounds returns where in a bundle identities begin, and where the last one ends.
// An identity ends with its private key.
func bounds(r io.Reader) ([]int64, error) {
	all := []int64{0}
	var at int64
	certificates := 0
	lines := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := lines.ReadSlice('\n')
		at += int64(len(line))
		if bytes.HasPrefix(line, []byte("-----END ")) {
			switch {
			case bytes.Contains(line, []byte(" CERTIFICATE-----")):
				certificates++
			case !bytes.Contains(line, []byte("PRIVATE KEY-----")):
			case certificates == 0:
				return nil, fmt.Errorf("identity %d has a key and no certificate before it", len(all)-1)
			default:
				certificates = 0
				all = append(all, at)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err // a line of a megabyte is not PEM
		}
	}
	switch {
	case certificates > 0:
		return nil, fmt.Errorf("identity %d has certificates and no private key after them", len(all)-1)
	case len(all) == 1:
		return nil, errors.New("there is no identity; expected certificates, leaf first, and a private key in PEM")
	}
	return all, nil
}

func (b *bundle) count() int { return len(b.bound) - 1 }

func (b *bundle) load(i int) (*credential, error) {
	text := make([]byte, b.bound[i+1]-b.bound[i])
	if _, err := b.file.ReadAt(text, b.bound[i]); err != nil {
		return nil, fmt.Errorf("identity %d: %w", i, err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("%s: identity %d: %w", b.file.Name(), i, err)
	}
	for j, issuer := range pair.Certificate[1:] {
		shared, _ := b.issuers.LoadOrStore(string(issuer), issuer)
		pair.Certificate[1+j] = shared.([]byte)
	}
	// Copied, or it would keep all the PEM's bytes alive.
	pair.Certificate[0] = bytes.Clone(pair.Certificate[0])
	return newCredential(pair), nil
}

// newCredential gives up the parsed leaf, which a client that chooses its
// certificate itself does not need and which is most of an identity's memory.
func newCredential(pair tls.Certificate) *credential {
	c := &credential{name: pair.Leaf.Subject.String(), certificate: pair}
	if len(pair.Leaf.URIs) > 0 {
		c.name = pair.Leaf.URIs[0].String()
	}
	c.certificate.Leaf = nil
	return c
}

// identity is one client. Its methods may be called concurrently.
type identity struct {
	mu         sync.Mutex
	generation int // of the source that credential and session are of
	credential *credential
	session    *session
}

// present returns what identity i of a source presents, and its session, which are
// kept until the source is of another generation.
func (id *identity) present(i int, from source, generation int) (*credential, *session, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.credential == nil || id.generation != generation {
		c, err := from.load(i)
		if err != nil {
			return nil, nil, err
		}
		id.credential, id.session, id.generation = c, &session{}, generation
	}
	return id.credential, id.session, nil
}

// session is the last ticket of an identity, for whatever server. It is a
// [tls.ClientSessionCache] of one entry: the ones of crypto/tls have a map and a
// list, too much for a hundred thousand.
type session struct {
	mu    sync.Mutex
	key   string
	state *tls.ClientSessionState
}

// Get implements [tls.ClientSessionCache].
func (s *session) Get(key string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == nil || s.key != key {
		return nil, false
	}
	return s.state, true
}

// Put implements [tls.ClientSessionCache].
func (s *session) Put(key string, state *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.state = key, state
}
