package verifycache

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"verigate/certpath"
	"verigate/trust"
)

func (w *world) rejudge(proven *certpath.Path, chain []*x509.Certificate) Verdict {
	return w.cache.Rejudge(proven, chain, certpath.RoleClient, w.scope, w.snap)
}

// After a change of trust every open connection is judged anew, and no signature
// is checked twice for it, not even when nothing of it is in the cache any more.
func TestRejudgeChecksNoSignatureAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		claim string
		open  func(t *testing.T, w *world) *Cache
	}{
		{"in the cache that has seen it", func(_ *testing.T, w *world) *Cache { return w.cache }},
		{"in an empty cache", func(t *testing.T, w *world) *Cache { return open(t, Options{Now: w.clock.Now}) }},
		{"without a cache", func(t *testing.T, w *world) *Cache { return open(t, Options{Disabled: true, Now: w.clock.Now}) }},
	} {
		w := newWorld(t, Options{})
		chain := w.leaf(t, prod+"/a")
		proven := w.prove(t, chain).Path
		w.trusting(t, func(o *trust.BundleOptions) { o.Anchors = append(o.Anchors, newHierarchy(t).root.Certificate) })
		w.cache = tt.open(t, w)
		v := w.rejudge(proven, chain)
		if !v.Accepted() || v.Path == proven || v.Path.SignatureChecks() != 0 {
			t.Errorf("%s: %s after %d signature checks, want a fresh acceptance after none", tt.claim, describe(v), v.Path.SignatureChecks())
		}
		if v := w.rejudge(nil, w.leaf(t, prod+"/b")); !v.Accepted() || v.Path.SignatureChecks() == 0 {
			t.Errorf("%s: %s without a proven path, want acceptance after signature checks", tt.claim, describe(v))
		}
	}
}

// A connection keeps no parsed leaf: what is judged in its place is that of the path which
// it was accepted by, and nobody else's.
func TestRejudgeTakesTheLeafFromThePath(t *testing.T) {
	t.Parallel()
	for _, disabled := range []bool{false, true} {
		w := newWorld(t, Options{})
		a, b := w.leaf(t, prod+"/a"), w.leaf(t, prod+"/b")
		proven := [2]*certpath.Path{w.prove(t, a).Path, w.prove(t, b).Path}
		if disabled {
			w.cache = open(t, Options{Disabled: true, Now: w.clock.Now})
		}
		shared := withoutLeaf(a) // the two have their issuers in common
		for _, changed := range []bool{false, true} {
			if changed {
				set := w.crls(t, trust.CRLOptions{}, b[0])
				w.trusting(t, func(o *trust.BundleOptions) { o.NotBeforeSkew, o.CRLs = time.Second, set })
			}
			v := w.rejudge(proven[0], shared)
			if !v.Accepted() || v.ID.String() != prod+"/a" || !bytes.Equal(v.Path.RawLeaf(), a[0].Raw) || v.Path.SignatureChecks() != 0 && v.Path != proven[0] {
				t.Errorf("disabled %v, changed %v: %s for a", disabled, changed, describe(v))
			}
			want := certpath.ReasonNone
			if changed {
				want = certpath.ReasonRevoked
			}
			if v := w.rejudge(proven[1], shared); v.ID.String() != prod+"/b" || reasonOf(v) != want {
				t.Errorf("disabled %v, changed %v: %s for b, want %v", disabled, changed, describe(v), want)
			}
		}
		if shared[0] != nil {
			t.Errorf("disabled %v: Rejudge puts a leaf into the chain", disabled)
		}
	}
}

// A handshake with a chain that was remembered under another bundle is spared them
// as well: the octets are the same.
func TestStaleEntrySparesSignatures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	w.prove(t, chain)
	w.trusting(t, func(o *trust.BundleOptions) { o.NotBeforeSkew = time.Second })
	v := w.prove(t, chain)
	if v.Outcome != Miss || v.Path.SignatureChecks() != 0 {
		t.Errorf("%s after %d signature checks, want a miss after none", describe(v), v.Path.SignatureChecks())
	}
	w.want(t, chain, Hit, certpath.ReasonNone)
}

// Proven signatures are those of that path, octet for octet. All else is judged.
func TestRejudgeBelievesNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain, other := w.leaf(t, prod+"/a"), w.leaf(t, prod+"/b")
	proven := w.prove(t, chain).Path
	for i := range 2 {
		bad := append([]*x509.Certificate(nil), chain...)
		bad[i] = forged(t, bad[i], 1)
		if v := w.rejudge(proven, bad); reasonOf(v) != certpath.ReasonBadSignature {
			t.Errorf("with a forged certificate at depth %d: %s, want bad_signature", i, describe(v))
		}
	}
	if v := w.rejudge(proven, other); !v.Accepted() || v.Path.SignatureChecks() != 1 {
		t.Errorf("another leaf: %s after %d signature checks, want acceptance after one", describe(v), v.Path.SignatureChecks())
	}

	set := w.crls(t, trust.CRLOptions{}, chain[0])
	w.trusting(t, func(o *trust.BundleOptions) { o.CRLs = set })
	if v := w.rejudge(proven, chain); reasonOf(v) != certpath.ReasonRevoked {
		t.Errorf("revoked: %s", describe(v))
	}
	w.snap = snapshot(t, nil, newHierarchy(t).bundle(t, prod, nil))
	if v := w.rejudge(proven, chain); reasonOf(v) != certpath.ReasonUntrustedChain {
		t.Errorf("without its anchor: %s", describe(v))
	}
	w.trusting(t, nil)
	w.clock.Set(chain[0].NotAfter.Add(time.Second))
	if v := w.rejudge(proven, chain); reasonOf(v) != certpath.ReasonExpired {
		t.Errorf("expired: %s", describe(v))
	}
}

// A CRL update is a round of hits, and a round of misses leaves what handshakes
// wait for where it is.
func TestRoundOverAllConnections(t *testing.T) {
	t.Parallel()
	const open = 50
	w := newWorld(t, Options{})
	paths, chains := make([]*certpath.Path, open), make([][]*x509.Certificate, open)
	for i := range open {
		chains[i] = w.leaf(t, fmt.Sprintf("%s/%d", prod, i))
		paths[i] = w.prove(t, chains[i]).Path
	}
	round := func(want Outcome) {
		t.Helper()
		before := w.cache.Stats()
		for i := range open {
			v := w.rejudge(paths[i], withoutLeaf(chains[i]))
			if v.Outcome != want || !v.Accepted() {
				t.Fatalf("connection %d: %s, want acceptance by %v", i, describe(v), want)
			}
			w.cache.Remember(&v)
		}
		if after := w.cache.Stats(); want == Hit && after.Misses != before.Misses {
			t.Errorf("%d misses, want none", after.Misses-before.Misses)
		}
	}
	round(Hit)
	set := w.crls(t, trust.CRLOptions{})
	w.trusting(t, func(o *trust.BundleOptions) { o.CRLs = set })
	round(Hit)

	w.trusting(t, func(o *trust.BundleOptions) { o.NotBeforeSkew = time.Second })
	handshake := w.leaf(t, prod+"/new")
	w.cache.pending = newTable[chainKey, *entry](1)
	w.want(t, handshake, Miss, certpath.ReasonNone)
	round(Miss)
	w.want(t, handshake, Coalesced, certpath.ReasonNone)
	// Remembering what replaces an entry takes effect at once.
	round(Hit)
}
