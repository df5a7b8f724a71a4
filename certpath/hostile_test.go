package certpath

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"testing"

	"verigate/devpki"
	"verigate/trust"
)

// TestHostileChainsEndInTime: nine CAs that all have one name, sign each other
// and have no key identifiers make a search of very many paths. It ends when a
// budget is used up, after few signatures (PKIX-12). The same with dear keys
// ends sooner, and no key is made ready more than once.
func TestHostileChainsEndInTime(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	for kind, checks := range map[devpki.KeyType]int{
		devpki.P256: MaxSignatureChecks, devpki.P384: maxDearChecks, devpki.Ed448: maxDearChecks,
		devpki.MLDSA44: maxDearChecks, devpki.MLDSA65: maxDearChecks, devpki.MLDSA87: maxDearChecks,
	} {
		q := f.accepted()
		q.chain = hostileChain(f, kind, MaxChainCertificates, 0)
		b := &builder{verifier: &q.verifier, bundle: q.bundle, chain: q.chain, role: q.role, now: q.now}
		fault := b.build()
		if fault == nil || fault.Reason != ReasonLimitsExceeded {
			t.Errorf("%s: build() = %v, want %v", kind, fault, ReasonLimitsExceeded)
		}
		if b.spent != checks || b.candidates > maxCandidates {
			t.Errorf("%s: the search took %d signature checks and %d candidates, want %d and at most %d", kind, b.spent, b.candidates, checks, maxCandidates)
		}
		seen := map[[32]byte]bool{}
		for _, k := range b.expanded {
			if seen[k.spki] {
				t.Errorf("%s: a key was made ready twice", kind)
			}
			seen[k.spki] = true
		}
	}
}

// TestCheapKeysAfterDearOnes: a chain that mixes kinds of keys has both budgets to
// spend and no more: that is the dearest there is.
func TestCheapKeysAfterDearOnes(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	q.chain = hostileMix(f)
	b := &builder{verifier: &q.verifier, bundle: q.bundle, chain: q.chain, role: q.role, now: q.now}
	fault := b.build()
	if fault == nil || fault.Reason != ReasonLimitsExceeded {
		t.Errorf("build() = %v, want %v", fault, ReasonLimitsExceeded)
	}
	if b.spent > MaxSignatureChecks || b.dear > maxDearChecks+1 || b.spent < maxDearChecks {
		t.Errorf("the search took %d signature checks, and tried %d dear ones; want at most %d and %d", b.spent, b.dear, MaxSignatureChecks, maxDearChecks+1)
	}
}

// TestLargestHierarchyFits: three CAs with the largest keys and signatures, and the
// anchor sent along, are within the limits; so is a hierarchy in transition, each CA
// of which has a second certificate (PKIX-12).
func TestLargestHierarchyFits(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	root := f.ca(nil, "root", devpki.MLDSA87, nil)
	middle := f.ca(root, "middle", devpki.MLDSA87, nil)
	q := f.below(trust.BundleOptions{}, root, middle, f.ca(middle, "issuing", devpki.MLDSA87, nil))
	q.chain = append(q.chain, root.Certificate)
	for _, c := range q.chain[1:] {
		again := f.forgeBy(c, schemeNamed(t, "ML-DSA-87").algorithmIdentifier(), func([]byte) []byte { return c.Signature },
			func(tbs *tbsCertificate) { tbs.Serial.Add(tbs.Serial, big.NewInt(1)) })
		q.chain = append(q.chain, again)
	}
	total := 0
	for _, c := range q.chain {
		total += len(c.Raw)
	}
	if _, err := q.ask(); err != nil {
		t.Errorf("Verify() of %d certificates in %d octets = %v, want a path", len(q.chain), total, err)
	}
}

// TestClusterIsWalkedOnce: when all signatures of a cluster of cross-signed CAs
// are known, it is the number of candidates that ends the search.
func TestClusterIsWalkedOnce(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	q.verifier.Links = alwaysLinked{}
	q.chain = hostileChain(f, devpki.P256, MaxChainCertificates, 0)
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

// TestPathsShareOneBudget: a constrained CA can offer sixteen paths to the anchor
// with sixteen signatures, each of which costs nearly all of what judging names,
// or policies, may cost, and fails. Together they must not cost more than one
// (PKIX-12): with a budget for each it was 21 ms and 14 ms.
func TestPathsShareOneBudget(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	names := make([]string, 30)
	for i := range names {
		names[i] = fmt.Sprintf("h%d.example.com", i)
	}
	policy := func(set, i int) x509.OID {
		oid, err := x509.OIDFromInts([]uint64{1, 3, 6, 1, 4, 1, 32473, uint64(set), uint64(i)})
		f.must(err)
		return oid
	}
	for _, tt := range []struct {
		name string
		dns  []string
		edit func(level int, c *x509.Certificate)
	}{
		{"names", names, func(level int, c *x509.Certificate) {
			if level > 0 {
				return
			}
			for i := range 1600 {
				c.ExcludedDNSDomains = append(c.ExcludedDNSDomains, fmt.Sprintf("x%d.example", i))
			}
			c.ExcludedDNSDomains = append(c.ExcludedDNSDomains, names[len(names)-1])
		}},
		{"policies", nil, func(level int, c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Critical: true, Value: []byte("\x30\x03\x80\x01\x00")}}
			var mappings [][2]x509.OID
			for i := range maxPolicies {
				from, to := policy(level, i), policy(level, maxPolicies) // 64 to one
				if level%2 == 0 {
					from, to = policy(level+1, maxPolicies), policy(level-1, i) // and one to 64
				}
				mappings = append(mappings, [2]x509.OID{from, to})
				if level%2 == 1 || i == 0 {
					c.Policies = append(c.Policies, from)
				}
			}
			c.ExtraExtensions = append(c.ExtraExtensions, f.policyMappings(mappings))
		}},
	} {
		q := f.accepted()
		q.chain = f.diamond(q.root, tt.dns, tt.edit)
		if path, err := q.ask(); ReasonOf(err) != ReasonLimitsExceeded {
			t.Errorf("%s: Verify() = %v, %v, want %v", tt.name, path, err, ReasonLimitsExceeded)
		}
	}
}

// diamond is a leaf below four CAs, each of which has two certificates by the one
// above it.
func (f fixture) diamond(root *devpki.CA, dns []string, edit func(level int, c *x509.Certificate)) []*x509.Certificate {
	f.Helper()
	var cas []*x509.Certificate
	issuer := root
	for level := 3; level >= 0; level-- {
		ca := f.root(fmt.Sprintf("level %d", level), nil)
		for range 2 {
			template := *ca.Certificate
			template.SubjectKeyId, template.AuthorityKeyId, template.SignatureAlgorithm = nil, nil, 0
			serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
			f.must(err)
			template.SerialNumber = serial
			edit(level, &template)
			parent := &x509.Certificate{RawSubject: issuer.Certificate.RawSubject}
			der, err := x509.CreateCertificate(rand.Reader, &template, parent, ca.Key.Public(), issuer.Key)
			f.must(err)
			c, err := x509.ParseCertificate(der)
			f.must(err)
			cas = append(cas, c)
		}
		issuer = ca
	}
	return append(f.leaf(issuer, devpki.LeafOptions{DNS: dns})[:1:1], cas...)
}

func (f fixture) policyMappings(mappings [][2]x509.OID) pkix.Extension {
	f.Helper()
	value := make([][]asn1.RawValue, len(mappings))
	for i, mapping := range mappings {
		for _, oid := range mapping {
			der, err := oid.MarshalBinary()
			f.must(err)
			value[i] = append(value[i], asn1.RawValue{Tag: asn1.TagOID, Bytes: der})
		}
	}
	der, err := asn1.Marshal(value)
	f.must(err)
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 33}, Critical: true, Value: der}
}
