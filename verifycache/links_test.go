package verifycache

import (
	"crypto/x509"
	"fmt"
	"slices"
	"testing"

	"verigate/certpath"
	"verigate/devpki"
)

// The second level: what the first leaf of an issuer has paid for, the others
// need not pay again.
func TestNewLeafOfKnownIssuerCostsOneSignature(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	if n := w.prove(t, w.leaf(t, prod+"/1")).Path.SignatureChecks(); n != 3 {
		t.Fatalf("the first leaf took %d signature checks, want 3", n)
	}
	for i := range 3 {
		if n := w.prove(t, w.leaf(t, fmt.Sprintf("%s/%d", prod, i))).Path.SignatureChecks(); n != 1 {
			t.Errorf("another leaf took %d signature checks, want 1", n)
		}
	}
	if n := w.cache.Stats().Links; n != 2 {
		t.Errorf("Stats().Links = %d, want 2: issuing by upper, upper by root", n)
	}
}

// Each octet of a link counts, on both sides, and leaves have no links.
func TestLinkCoversChildAndParentKey(t *testing.T) {
	t.Parallel()
	h := newHierarchy(t)
	child, parent := h.issuing.Certificate, h.upper.Certificate
	l := newLinks(16)
	l.Remember(child, parent)
	if !l.Verified(child, parent) {
		t.Fatal("Verified() = false for what was remembered")
	}
	for i := range child.Raw {
		other := *child
		other.Raw = slices.Clone(child.Raw)
		other.Raw[i] ^= 1
		if l.Verified(&other, parent) {
			t.Fatalf("Verified() = true for a child that differs in octet %d", i)
		}
	}
	for i := range parent.RawSubjectPublicKeyInfo {
		other := *parent
		other.RawSubjectPublicKeyInfo = slices.Clone(parent.RawSubjectPublicKeyInfo)
		other.RawSubjectPublicKeyInfo[i] ^= 1
		if l.Verified(child, &other) {
			t.Fatalf("Verified() = true for a key that differs in octet %d", i)
		}
	}
	moved, key := *child, *parent
	moved.Raw = slices.Concat(child.Raw, parent.RawSubjectPublicKeyInfo[:1])
	key.RawSubjectPublicKeyInfo = parent.RawSubjectPublicKeyInfo[1:]
	if l.Verified(&moved, &key) {
		t.Error("Verified() = true when an octet moves from the key to the certificate")
	}

	leaf := h.leaf(t, prod+"/a")[0]
	l.Remember(leaf, child)
	if l.Verified(leaf, child) || l.len() != 1 {
		t.Error("a leaf's signature was remembered")
	}
}

// A forged CA certificate with the name and key of a known one is not known.
func TestForgedIntermediateIsNotALink(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	w.prove(t, chain)
	w.want(t, []*x509.Certificate{chain[0], forged(t, chain[1], 1), chain[2]}, Miss, certpath.ReasonBadSignature)
}

// Strangers with CAs of their own leave no links, not even by sending them along
// with a chain that is accepted.
func TestStrangersLeaveNoLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.prove(t, w.leaf(t, prod+"/a"))
	for range 20 {
		other := newHierarchy(t)
		w.want(t, other.leaf(t, prod+"/a"), Miss, certpath.ReasonUntrustedChain)
		w.want(t, append(w.leaf(t, prod+"/b"), other.issuing.Chain...), Miss, certpath.ReasonNone)
	}
	if n := w.cache.Stats().Links; n != 2 {
		t.Errorf("Stats().Links = %d, want 2", n)
	}
}

func TestLinksAreBounded(t *testing.T) {
	t.Parallel()
	h := newHierarchy(t)
	l := newLinks(3)
	for i := range 10 {
		ca, err := h.root.NewIntermediate(devpki.CAOptions{Name: fmt.Sprint(i)})
		must(t, err)
		l.Remember(ca.Certificate, h.root.Certificate)
		if !l.Verified(ca.Certificate, h.root.Certificate) {
			t.Fatal("the newest link is not there")
		}
	}
	if l.len() != 3 || l.shared.len() != 3 {
		t.Errorf("%d links and %d certificates are kept, want 3 and 3", l.len(), l.shared.len())
	}
}

// Every handshake parses the issuers that are presented anew. Entries share one
// copy of them, and that copy does not hold on to a handshake's message.
func TestEntriesShareTheirIssuers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	message := make([]byte, 0, 1<<16)
	received := func(chain []*x509.Certificate) (parsed []*x509.Certificate) {
		for _, c := range chain {
			message = append(message, c.Raw...)
			own, err := x509.ParseCertificate(message[len(message)-len(c.Raw):])
			must(t, err)
			parsed = append(parsed, own)
		}
		return parsed
	}
	first := received(w.leaf(t, prod+"/1"))
	presented := slices.Clone(first)
	w.prove(t, first)
	second := w.prove(t, received(w.leaf(t, prod+"/2"))).Path.Issuers()
	third := w.prove(t, received(w.leaf(t, prod+"/3"))).Path.Issuers()
	for i := range 2 {
		if second[i] != third[i] {
			t.Errorf("issuer %d of two entries is not the same copy", i)
		}
		if &second[i].Raw[0] == &first[1+i].Raw[0] || cap(second[i].Raw) > len(second[i].Raw)+64 {
			t.Errorf("issuer %d is a part of a handshake's message", i)
		}
	}
	if !slices.Equal(first, presented) {
		t.Error("Verify() has modified the chain presented")
	}
}

func TestTableForgetsTheOldest(t *testing.T) {
	t.Parallel()
	table := newTable[int, string](3)
	for i := range 10 {
		table.put(i, "old")
		table.put(i, "new")
	}
	for i := range 10 {
		if v, ok := table.get(i); ok != (i >= 7) || ok && v != "new" {
			t.Errorf("get(%d) = %q, %v, want the last three and their latest value", i, v, ok)
		}
	}
	if table.len() != 3 {
		t.Errorf("len() = %d, want 3", table.len())
	}
}
