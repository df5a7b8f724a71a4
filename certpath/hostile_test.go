package certpath

import (
	"testing"

	"verigate/devpki"
	"verigate/trust"
)

// TestHostileChainsEndInTime: nine CAs that all have one name, sign each other
// and have no key identifiers make a search of very many paths. It ends when a
// budget is used up, after few signatures (PKIX-12). The same with large keys
// ends sooner.
func TestHostileChainsEndInTime(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	for _, tt := range []struct {
		kind   devpki.KeyType
		checks int
	}{{devpki.P256, MaxSignatureChecks}, {devpki.P384, maxDearChecks}} {
		q := f.accepted()
		q.chain = hostileChain(f, tt.kind)
		b := &builder{verifier: &q.verifier, bundle: q.bundle, chain: q.chain, role: q.role, now: q.now}
		fault := b.build()
		if fault == nil || fault.Reason != ReasonLimitsExceeded {
			t.Errorf("%s: build() = %v, want %v", tt.kind, fault, ReasonLimitsExceeded)
		}
		if len(b.signed) > tt.checks || b.candidates > maxCandidates {
			t.Errorf("%s: the search took %d signature checks and %d candidates, want at most %d and %d", tt.kind, len(b.signed), b.candidates, tt.checks, maxCandidates)
		}
	}
}

// TestClusterIsWalkedOnce: when all signatures of a cluster of cross-signed CAs
// are known, it is the number of candidates that ends the search.
func TestClusterIsWalkedOnce(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	q.verifier.Links = alwaysLinked{}
	q.chain = hostileChain(f, devpki.P256)
	b := &builder{verifier: &q.verifier, bundle: q.bundle, chain: q.chain, role: q.role, now: q.now}
	fault := b.build()
	if fault == nil || fault.Reason != ReasonLimitsExceeded || b.candidates != maxCandidates {
		t.Errorf("build() = %v after %d candidates, want %v after %d", fault, b.candidates, ReasonLimitsExceeded, maxCandidates)
	}
}

// TestMismatchedKeyIDsAreFew: a bundle may have many anchors of one name, as
// SPIRE's have, and a stranger's leaf that names another key must not cost one
// signature check for each.
func TestMismatchedKeyIDsAreFew(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	var roots []*devpki.CA
	for range 3 * MaxSignatureChecks {
		roots = append(roots, f.root("SPIFFE", nil))
	}
	q := f.accepted()
	q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, roots...)
	q.chain = f.leaf(f.root("SPIFFE", nil), devpki.LeafOptions{})
	b := &builder{verifier: &q.verifier, bundle: q.bundle, chain: q.chain, role: q.role, now: q.now}
	fault := b.build()
	if fault == nil || fault.Reason != ReasonUntrustedChain || len(b.signed) != maxMismatchedKeyIDs {
		t.Errorf("build() = %v after %d signature checks, want %v after %d", fault, len(b.signed), ReasonUntrustedChain, maxMismatchedKeyIDs)
	}
	q.chain = f.leaf(roots[20], devpki.LeafOptions{})
	if path, err := q.ask(); err != nil || path.SignatureChecks() != 1 {
		t.Errorf("Verify() of a leaf of one of the anchors = %v, want a path after one signature check", err)
	}
}
