package certpath

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	"verigate/devpki"
	"verigate/trust"
)

// TestAlgorithmNames: configuration can be checked against the list, and a caller
// cannot change it.
func TestAlgorithmNames(t *testing.T) {
	t.Parallel()
	names := Algorithms()
	if !slices.Equal(names, []string{"rsa", "ecdsa-p256", "ecdsa-p384", "ed25519", "ed448", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"}) {
		t.Errorf("Algorithms() = %v, want the names that files have been written with", names)
	}
	for _, name := range names {
		if !KnownAlgorithm(name) {
			t.Errorf("KnownAlgorithm(%q) is false for one that is listed", name)
		}
	}
	for _, name := range []string{"", "RSA", "ecdsa", "p256", "ml-dsa", "rsa "} {
		if KnownAlgorithm(name) {
			t.Errorf("KnownAlgorithm(%q) is true for one that is not listed", name)
		}
	}
	names[0] = "changed"
	if Algorithms()[0] != "rsa" {
		t.Error("Algorithms() hands out the list itself")
	}
}

// TestAlgorithmsOfAnOrigin: every key and every signature of the path is by an
// algorithm that the origin uses, the anchor's included (ALG-05).
func TestAlgorithmsOfAnOrigin(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	pq := f.ca(nil, "ml-dsa root", devpki.MLDSA65, nil)
	rsa := f.ca(pq, "rsa CA", devpki.RSA2048, nil)
	q := f.below(trust.BundleOptions{}, pq, rsa, f.ca(rsa, "issuing", devpki.P384, nil))
	for _, tt := range []struct {
		name    string
		allowed []string
		want    Reason
		depth   int
		found   string
	}{
		{"no list", nil, ReasonNone, 0, ""},
		{"an empty list", []string{}, ReasonNone, 0, ""},
		{"all of them", Algorithms(), ReasonNone, 0, ""},
		{"those of the path", []string{"ecdsa-p256", "ecdsa-p384", "rsa", "ml-dsa-65"}, ReasonNone, 0, ""},
		{"not the leaf's key", []string{"ecdsa-p384", "rsa", "ml-dsa-65"}, ReasonAlgorithmNotAllowed, 0, "ecdsa-p256"},
		{"not the issuing CA's key", []string{"ecdsa-p256", "rsa", "ml-dsa-65"}, ReasonAlgorithmNotAllowed, 1, "ecdsa-p384"},
		{"not the middle CA's", []string{"ecdsa-p256", "ecdsa-p384", "ml-dsa-65"}, ReasonAlgorithmNotAllowed, 1, "RSA"},
		{"not the anchor's", []string{"ecdsa-p256", "ecdsa-p384", "rsa"}, ReasonAlgorithmNotAllowed, 2, "ML-DSA-65"},
		{"another strength of the anchor's", []string{"ecdsa-p256", "ecdsa-p384", "rsa", "ml-dsa-87"}, ReasonAlgorithmNotAllowed, 2, "ML-DSA-65"},
		{"a name that nobody knows", []string{"ecdsa"}, ReasonAlgorithmNotAllowed, 0, "ecdsa-p256"},
	} {
		q.bundle = f.bundle(prodOrigin, trust.BundleOptions{Algorithms: tt.allowed}, pq)
		_, err := q.ask()
		if ReasonOf(err) != tt.want {
			t.Errorf("%s: Verify() = %v, want reason %q", tt.name, err, tt.want)
		} else if err != nil && (err.(*Error).Depth != tt.depth || !strings.Contains(err.(*Error).Found, tt.found)) {
			t.Errorf("%s: Verify() = %v, want depth %d and %s in what was found", tt.name, err, tt.depth, tt.found)
		}
	}
}

// TestNothingIsSpentOnWhatIsNotAllowed: an origin that does not use an algorithm is
// safe from its cost as well.
func TestNothingIsSpentOnWhatIsNotAllowed(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	for kind := range circlKinds {
		root := f.ca(nil, "root", kind, nil)
		q := f.below(trust.BundleOptions{}, root)
		b := &builder{verifier: &q.verifier, bundle: q.bundle, chain: q.chain, role: q.role, now: q.now,
			algorithms: algorithmsNamed([]string{"rsa", "ecdsa-p256"})}
		fault := b.build()
		if fault == nil || fault.Reason != ReasonAlgorithmNotAllowed || b.spent != 0 || b.expanded != nil {
			t.Errorf("%s: build() = %v after %d signature checks, want %v after none", kind, fault, b.spent, ReasonAlgorithmNotAllowed)
		}

		// Nor is it when the chain does not say how it was signed.
		classical := f.accepted()
		q.chain[0] = classical.chain[0]
		lying := *root.Certificate
		lying.RawSubject, lying.SubjectKeyId = classical.issuing.Certificate.RawSubject, classical.issuing.Certificate.SubjectKeyId
		q.chain = []*x509.Certificate{classical.chain[0], &lying}
		b = &builder{verifier: &q.verifier, bundle: q.bundle, chain: q.chain, role: q.role, now: q.now,
			algorithms: algorithmsNamed([]string{"rsa", "ecdsa-p256"})}
		if fault := b.build(); fault == nil || fault.Reason != ReasonAlgorithmNotAllowed || b.spent != 0 {
			t.Errorf("%s: build() = %v after %d signature checks, want %v after none", kind, fault, b.spent, ReasonAlgorithmNotAllowed)
		}
	}
}
