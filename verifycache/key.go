package verifycache

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"hash"
	"sync"

	"verigate/certpath"
)

// keyTag separates these hashes from all others. Its number changes whenever the
// layout of the key does, or the meaning of a verdict.
const keyTag = "verigate verdict v1"

// chainKey finds the verdict about one chain in one role and scope. See the
// package comment for its layout.
type chainKey [sha256.Size]byte

// hasher is the state that it takes to compute one key. It is pooled because a
// hash.Hash and what is written to it escape: a key would cost three allocations.
type hasher struct {
	state hash.Hash
	head  [len(keyTag) + 1 + sha256.Size]byte
	frame [4]byte
	key   chainKey
}

var hashers = sync.Pool{New: func() any {
	h := &hasher{state: sha256.New()}
	copy(h.head[:], keyTag)
	return h
}}

// sum leaves the key of chain in h.key. The chain is keyable.
func (h *hasher) sum(chain []*x509.Certificate, role certpath.Role, scope *Scope) {
	h.sumWith(chain[0].Raw, chain[1:], role, scope)
}

// sumWith is sum for a chain of which the leaf is there in DER only.
func (h *hasher) sumWith(leaf []byte, issuers []*x509.Certificate, role certpath.Role, scope *Scope) {
	h.head[len(keyTag)] = byte(role)
	if scope != nil {
		copy(h.head[len(keyTag)+1:], scope.digest[:])
	} else {
		clear(h.head[len(keyTag)+1:])
	}
	h.state.Reset()
	h.state.Write(h.head[:])
	h.add(leaf)
	for _, c := range issuers {
		h.add(c.Raw)
	}
	h.state.Sum(h.key[:0])
}

// sumLink returns the key of a link; see [linkOf].
func (h *hasher) sumLink(child, parentKey []byte) [sha256.Size]byte {
	h.state.Reset()
	h.state.Write(linkTag)
	h.add(child)
	h.state.Write(parentKey)
	h.state.Sum(h.key[:0])
	return h.key
}

func (h *hasher) add(der []byte) {
	binary.BigEndian.PutUint32(h.frame[:], uint32(len(der)))
	h.state.Write(h.frame[:])
	h.state.Write(der)
}

// keyable reports whether chain has a key, and how many octets of DER it holds.
// A chain over the limits has none, so that no more is hashed than a peer may
// send (PKIX-12), and nor has one with a certificate that was not parsed from
// DER: without octets it could not be told from any other.
func keyable(chain []*x509.Certificate) (bytes int, ok bool) {
	if len(chain) == 0 || chain[0] == nil {
		return 0, false
	}
	return keyableWith(chain[0].Raw, chain[1:])
}

// keyableWith is keyable for a chain of which the leaf is there in DER only.
func keyableWith(leaf []byte, issuers []*x509.Certificate) (bytes int, ok bool) {
	if len(leaf) == 0 || len(issuers) >= certpath.MaxChainCertificates {
		return 0, false
	}
	bytes = len(leaf)
	for _, c := range issuers {
		if c == nil || len(c.Raw) == 0 {
			return 0, false
		}
		bytes += len(c.Raw)
	}
	return bytes, bytes <= certpath.MaxChainBytes
}

// words are what the cache library finds an entry by. 127 bits of the key are
// not enough to decide, only to find (CACHE-08). The library skips its own
// comparison for a second word of 0.
func words(key []byte) (uint64, uint64) {
	return binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[8:]) | 1
}
