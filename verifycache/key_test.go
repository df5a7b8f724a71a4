package verifycache

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"verigate/certpath"
	"verigate/workloadid"
)

func keyOf(chain []*x509.Certificate, role certpath.Role, scope *Scope) chainKey {
	h := hashers.Get().(*hasher)
	defer hashers.Put(h)
	h.sum(chain, role, scope)
	return h.key
}

// octets stands for a certificate where only its DER counts.
func octets(der []byte) *x509.Certificate { return &x509.Certificate{Raw: der} }

// The layout of a link in docs/cache-key.md, written out.
func TestLinkIsTheDocumentedHash(t *testing.T) {
	t.Parallel()
	parent := &x509.Certificate{RawSubjectPublicKeyInfo: []byte("key")}
	want := linkKey(sha256.Sum256([]byte("verigate link v1" + "\x00\x00\x00\x05child" + "key")))
	if got := linkOf(octets([]byte("child")), parent); got != want {
		t.Errorf("linkOf() = %x, want %x", got, want)
	}
}

// The layout in the package comment and in docs/cache-key.md, written out.
func TestKeyIsTheDocumentedHash(t *testing.T) {
	t.Parallel()
	scope := scopeOf(t, partner, prod)
	chain := []*x509.Certificate{octets([]byte("leaf")), octets([]byte("issuer"))}

	origins := "verigate scope v1" +
		"\x00\x00\x00\x18spiffe://partner.example" +
		"\x00\x00\x00\x15spiffe://prod.example"
	digest := sha256.Sum256([]byte(origins))
	content := "verigate verdict v1" + "\x01" + string(digest[:]) + "\x00\x00\x00\x04leaf" + "\x00\x00\x00\x06issuer"
	want := chainKey(sha256.Sum256([]byte(content)))
	if got := keyOf(chain, certpath.RoleClient, scope); got != want {
		t.Errorf("key = %x, want %x", got, want)
	}
	document, err := os.ReadFile(filepath.Join("..", "docs", "cache-key.md"))
	must(t, err)
	for _, hash := range []string{hex.EncodeToString(want[:]), hex.EncodeToString(digest[:])} {
		if !strings.Contains(string(document), hash) {
			t.Errorf("docs/cache-key.md does not have %s in its example", hash)
		}
	}
}

// CACHE-01: every input counts, to the last bit.
func TestEveryBitOfEveryInputChangesTheKey(t *testing.T) {
	t.Parallel()
	h := newHierarchy(t)
	scope := scopeOf(t, prod)
	chain := h.leaf(t, prod+"/a")
	base := keyOf(chain, certpath.RoleClient, scope)
	seen := map[chainKey]string{base: "the original"}
	differs := func(what string, chain []*x509.Certificate, role certpath.Role, scope *Scope) {
		t.Helper()
		key := keyOf(chain, role, scope)
		if other, ok := seen[key]; ok {
			t.Fatalf("%s has the key of %s", what, other)
		}
		seen[key] = what
	}

	for i, c := range chain {
		der := slices.Clone(c.Raw)
		changed := slices.Clone(chain)
		changed[i] = octets(der)
		for bit := range 8 * len(der) {
			der[bit/8] ^= 1 << (bit % 8)
			differs("a flipped bit", changed, certpath.RoleClient, scope)
			der[bit/8] ^= 1 << (bit % 8)
		}
	}
	differs("another role", chain, certpath.RoleServer, scope)
	differs("another scope", chain, certpath.RoleClient, scopeOf(t, partner))
	differs("a wider scope", chain, certpath.RoleClient, scopeOf(t, prod, partner))
	differs("no scope", chain, certpath.RoleClient, nil)

	leaf, issuing, upper := chain[0], chain[1], chain[2]
	for what, other := range map[string][]*x509.Certificate{
		"the leaf alone":        {leaf},
		"a shorter chain":       {leaf, issuing},
		"a gap":                 {leaf, upper},
		"another order":         {leaf, upper, issuing},
		"the root added":        {leaf, issuing, upper, h.root.Certificate},
		"a repetition":          {leaf, issuing, upper, upper},
		"another issuer":        {leaf, h.root.Certificate, upper},
		"an octet moved":        {leaf, octets(issuing.Raw[:len(issuing.Raw)-1]), octets(append([]byte{issuing.Raw[len(issuing.Raw)-1]}, upper.Raw...))},
		"one instead of two":    {leaf, octets(append(slices.Clone(issuing.Raw), upper.Raw...))},
		"a length taken for it": {leaf, octets(slices.Concat(issuing.Raw, binary.BigEndian.AppendUint32(nil, uint32(len(upper.Raw))), upper.Raw))},
	} {
		differs(what, other, certpath.RoleClient, scope)
	}
}

// CACHE-08 rests on the whole key; finding an entry should use most of it.
func TestLibrarySeesTwoWordsOfTheKey(t *testing.T) {
	t.Parallel()
	key := make([]byte, 32)
	first, second := words(key)
	if second == 0 {
		t.Error("the second word of a zero key is 0, which switches the library's comparison off")
	}
	for i := range 16 {
		other := slices.Clone(key)
		other[i] ^= 0x80
		if a, b := words(other); a == first && b == second {
			t.Errorf("octet %d of the key does not count", i)
		}
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	if _, err := NewScope("edge", nil); err == nil {
		t.Error("NewScope() with no origins = nil error; TD-04 wants a refusal to start")
	}
	if _, err := NewScope("edge", append(scopeOf(t, prod).Origins(), scopeOf(t, prod).Origins()[0], workloadid.Origin{})); err == nil {
		t.Error("NewScope() with a zero origin = nil error")
	}
	a, b := scopeOf(t, prod, partner), scopeOf(t, partner, prod, partner)
	if a.digest != b.digest {
		t.Error("scopes of the same origins in another order do not share verdicts")
	}
	if !a.Allows(originOf(t, partner)) || a.Allows(originOf(t, "wimse://partner.example")) {
		t.Error("Allows() tells origins apart by less than scheme and trust domain (TD-06)")
	}
	if got := b.Origins(); len(got) != 2 || got[0] != originOf(t, partner) {
		t.Errorf("Origins() = %v, want partner and prod in this order", got)
	}
	var none *Scope
	if none.Allows(originOf(t, prod)) || none.Origins() != nil {
		t.Error("the nil scope admits somebody")
	}
}
