package verifycache

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"sync"

	"verigate/certpath"
)

// linkTag separates these hashes from all others.
var linkTag = []byte("verigate link v1")

// linkKey names one fact: this certificate is signed by this key.
type linkKey [sha256.Size]byte

// links is the second level: CA certificates whose signature by another CA was
// checked. A link is a mathematical fact that no bundle, clock or deny-list can
// change; whether it leads anywhere, and whether its algorithm is good enough, is
// for certpath to judge each time. certpath offers links of accepted paths only,
// so strangers cannot fill the table with CAs of their own making.
//
// It keeps one copy of every such certificate too. crypto/tls parses what each
// handshake presents anew, so without that a hundred thousand accepted entries
// would hold a hundred thousand copies of one issuer.
type links struct {
	mu       sync.RWMutex
	verified table[linkKey, struct{}]
	shared   table[[sha256.Size]byte, *x509.Certificate] // by SHA-256 of the DER
}

var _ certpath.Links = (*links)(nil)

func newLinks(max int) *links {
	return &links{
		verified: newTable[linkKey, struct{}](max),
		shared:   newTable[[sha256.Size]byte, *x509.Certificate](max),
	}
}

func (l *links) len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.verified.len()
}

// linkOf covers the whole of the child, signature and all, and the key of the
// parent. The signed part alone would not do: the octets outside it can be
// changed by anyone, and a signature that was never checked must not profit from
// one that was.
func linkOf(child, parent *x509.Certificate) linkKey {
	h := hashers.Get().(*hasher)
	defer hashers.Put(h)
	return linkKey(h.sumLink(child.Raw, parent.RawSubjectPublicKeyInfo))
}

// isLinkable reports whether the signature over c may be remembered: only CAs',
// of which there are few. Leaves are many, and have the first level.
func isLinkable(c *x509.Certificate) bool {
	return c.BasicConstraintsValid && c.IsCA && len(c.Raw) > 0
}

// Verified reports whether Remember was told of the same octets.
func (l *links) Verified(child, parent *x509.Certificate) bool {
	if !isLinkable(child) {
		return false
	}
	link := linkOf(child, parent)
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, ok := l.verified.get(link)
	return ok
}

// Remember keeps the link and a copy of child.
func (l *links) Remember(child, parent *x509.Certificate) {
	if !isLinkable(child) {
		return
	}
	// An exact copy: Raw is a part of the handshake message that it came in.
	own, err := x509.ParseCertificate(bytes.Clone(child.Raw))
	if err != nil {
		own = child
	}
	link, digest := linkOf(child, parent), sha256.Sum256(child.Raw)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.verified.put(link, struct{}{})
	if _, ok := l.shared.get(digest); !ok {
		l.shared.put(digest, own)
	}
}

// share returns chain with its CA certificates replaced by the copies that are
// kept of them. chain is not modified.
func (l *links) share(chain []*x509.Certificate) []*x509.Certificate {
	if len(chain) < 2 {
		return chain
	}
	out := make([]*x509.Certificate, len(chain))
	out[0] = chain[0]
	for i, c := range chain[1:] {
		out[1+i] = c
		if !isLinkable(c) {
			continue
		}
		digest := sha256.Sum256(c.Raw)
		l.mu.RLock()
		kept, ok := l.shared.get(digest)
		l.mu.RUnlock()
		if ok {
			out[1+i] = kept
		}
	}
	return out
}
