package certpath

import (
	"crypto/x509"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
)

// outcome is all that a call says.
type outcome struct {
	path   string
	reason Reason
	depth  int
	text   string
}

func outcomeOf(path *Path, err error) outcome {
	if err != nil {
		fault := err.(*Error)
		return outcome{reason: fault.Reason, depth: fault.Depth, text: fault.Error()}
	}
	o := outcome{path: string(path.RawLeaf())}
	for _, c := range path.Issuers() {
		o.path += string(c.Raw)
	}
	return o
}

// TestProvenChangesNothingButTheCost: whoever holds a path is judged as if they did
// not, whichever path it is, and whatever has changed since (CACHE-07).
func TestProvenChangesNothingButTheCost(t *testing.T) {
	t.Parallel()
	random := mathrand.NewChaCha8([32]byte{3})
	var another *Path
	accepted := 0
	for range 200 {
		octets := make([]byte, 200)
		random.Read(octets)
		w, err := drawWorld(&draws{octets})
		if err != nil {
			continue
		}
		f := fixture{t}
		bundle := f.bundle(pkixOrigin, trust.BundleOptions{Anchors: w.roots})
		chain := append([]*x509.Certificate{w.leaf}, w.others...)
		ask := func(proven *Path, chain []*x509.Certificate, bundle *trust.Bundle, now time.Time) (*Path, error) {
			v := Verifier{Profile: ProfilePKIX, Proven: proven}
			return v.Verify(chain, bundle, RoleClient, now)
		}
		first, err := ask(nil, chain, bundle, now)
		want := outcomeOf(first, err)
		if got := outcomeOf(ask(another, chain, bundle, now)); got != want {
			t.Fatalf("Verify() with another's path = %+v, without it %+v", got, want)
		}
		if first == nil {
			continue
		}
		accepted++
		again, err := ask(first, chain, bundle, now)
		if got := outcomeOf(again, err); got != want {
			t.Fatalf("Verify() with the path that it gave = %+v, want the same again", got)
		}
		reversed := slices.Clone(chain)
		slices.Reverse(reversed[1:])
		for _, change := range []struct {
			name   string
			chain  []*x509.Certificate
			bundle *trust.Bundle
			now    time.Time
		}{
			{"the leaf alone", chain[:1], bundle, now},
			{"another order", reversed, bundle, now},
			{"a day later", chain, bundle, now.Add(24 * time.Hour)},
			{"other anchors", chain, f.bundle(pkixOrigin, trust.BundleOptions{Anchors: w.roots[1:]}), now},
			{"no anchors", chain, f.bundle(pkixOrigin, trust.BundleOptions{}), now},
			{"a short lifetime", chain, f.bundle(pkixOrigin, trust.BundleOptions{Anchors: w.roots, MaxCertificateLifetime: time.Hour}), now},
			{"other algorithms", chain, f.bundle(pkixOrigin, trust.BundleOptions{Anchors: w.roots, Algorithms: []string{"rsa"}}), now},
		} {
			with, without := outcomeOf(ask(first, change.chain, change.bundle, change.now)), outcomeOf(ask(nil, change.chain, change.bundle, change.now))
			if with != without {
				t.Fatalf("%s: Verify() with the path = %+v, without it %+v", change.name, with, without)
			}
		}
		another = first
	}
	if accepted < 10 {
		t.Errorf("%d of 200 worlds were accepted, too few to say anything", accepted)
	}
}

// TestProvenSparesEverySignature: the leaf's included, and of every kind of key. The
// limits count them nevertheless.
func TestProvenSparesEverySignature(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	for _, kind := range []devpki.KeyType{devpki.P256, devpki.P384, devpki.Ed448, devpki.MLDSA87} {
		root := f.ca(nil, "root", kind, nil)
		q := f.below(trust.BundleOptions{}, root, f.ca(root, "issuing", kind, nil))
		path, err := q.ask()
		f.must(err)
		q.verifier.Proven = path
		b := &builder{verifier: &q.verifier, bundle: q.bundle, chain: q.chain, role: q.role, now: q.now}
		if fault := b.build(); fault != nil || b.spent != 0 || b.expanded != nil {
			t.Errorf("%s: build() = %v after %d signature checks, want a path after none", kind, fault, b.spent)
		}
		if dear := 2; len(b.signed) != 2 || b.dear != dear && kind != devpki.P256 {
			t.Errorf("%s: %d signatures count, %d of them as dear, want 2", kind, len(b.signed), b.dear)
		}
	}
}

// TestProvenIsOctetForOctet: a certificate that differs from the proven one in a bit
// is another one, even where the difference is in the signature alone.
func TestProvenIsOctetForOctet(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	path, err := q.ask()
	f.must(err)
	q.verifier.Proven = path
	for depth := range q.chain {
		raw := slices.Clone(q.chain[depth].Raw)
		raw[len(raw)-1] ^= 1
		twin, err := x509.ParseCertificate(raw)
		f.must(err)
		chain := slices.Clone(q.chain)
		chain[depth] = twin
		if _, err := q.verifier.Verify(chain, q.bundle, q.role, q.now); ReasonOf(err) != ReasonBadSignature {
			t.Errorf("Verify() with another signature at depth %d = %v, want %v", depth, err, ReasonBadSignature)
		}
	}
	// A new leaf below the same CA spares the CA's signature alone.
	q.chain = f.leaf(q.issuing, devpki.LeafOptions{})
	if path, err := q.ask(); err != nil || path.SignatureChecks() != 1 {
		t.Errorf("Verify() of another leaf = %v, want a path after one signature check", err)
	}
	// The zero path proves nothing, nor does it crash.
	q.verifier.Proven = &Path{}
	if path, err := q.ask(); err != nil || path.SignatureChecks() != 2 {
		t.Errorf("Verify() with the zero Path = %v, want a path after two signature checks", err)
	}
}
