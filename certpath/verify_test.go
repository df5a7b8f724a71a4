package certpath

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
)

// rsaPublic is a public key that no private key belongs to: only its size is
// looked at.
func rsaPublic(bits, exponent int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: exponent}
}

// TestReasons has a case for every reason that Verify can give.
func TestReasons(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		reason Reason
		depth  int
		change func(f fixture, q *question)
	}{
		{"an empty chain (PKIX-12)", ReasonNoCertificate, 0, func(f fixture, q *question) { q.chain = nil }},
		{"a certificate that nobody parsed", ReasonMalformed, 1, func(f fixture, q *question) { q.chain[1] = &x509.Certificate{} }},
		{"a nil certificate", ReasonMalformed, 0, func(f fixture, q *question) { q.chain[0] = nil }},
		{"a serial number of 21 octets", ReasonMalformed, 0, func(f fixture, q *question) {
			q.chain[0] = f.resign(q.issuing, q.chain[0], func(tbs *tbsCertificate) {
				tbs.Serial = new(big.Int).Lsh(big.NewInt(1), 8*20)
			})
		}},
		{"an extended key usage without a purpose, which std takes for none", ReasonMalformed, 0, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{NoExtKeyUsage: true, Edit: func(c *x509.Certificate) {
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: []byte{0x30, 0}})
			}})
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, q.root)
		}},
		{"eleven certificates (PKIX-12)", ReasonLimitsExceeded, MaxChainCertificates, func(f fixture, q *question) {
			for len(q.chain) <= MaxChainCertificates {
				q.chain = append(q.chain, q.chain[1])
			}
		}},
		{"more octets than allowed (PKIX-12)", ReasonLimitsExceeded, 1, func(f fixture, q *question) {
			q.chain[1] = f.intermediate(q.root, "heavy", func(c *x509.Certificate) {
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, MaxChainBytes)})
			}).Certificate
		}},
		{"33 subject alternative names (PKIX-12)", ReasonLimitsExceeded, 0, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{DNS: strings.Split(strings.Repeat("a.example ", MaxSANs), " ")[:MaxSANs]})
		}},
		{"a distinguished name of more than 4 KiB (PKIX-12)", ReasonLimitsExceeded, 0, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{Subject: pkix.Name{OrganizationalUnit: manyNames(100, 60)}})
		}},
		{"17 CAs of one name, none of which signed", ReasonLimitsExceeded, 0, func(f fixture, q *question) {
			q.chain = f.leaf(f.intermediate(f.root("elsewhere", nil), "prod root", nil), devpki.LeafOptions{})[:1]
			q.chain[0] = f.resign(q.issuing, q.chain[0], func(tbs *tbsCertificate) { tbs.Extensions = withoutAKI(tbs.Extensions) })
			var roots []*devpki.CA
			for range MaxSignatureChecks + 1 {
				roots = append(roots, f.root("prod root", nil))
			}
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, roots...)
		}},
		{"no URI SAN (CERT-01)", ReasonIdentifierCount, 0, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{URIs: []string{}, DNS: []string{"checkout.prod.example"}})
		}},
		{"no SAN at all (CERT-01)", ReasonIdentifierCount, 0, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{URIs: []string{}, Subject: pkix.Name{CommonName: checkoutID}}) // CERT-12
		}},
		{"two identifiers (CERT-02)", ReasonIdentifierCount, 0, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{URIs: []string{checkoutID, checkoutID + "2"}})
		}},
		{"an identifier and an https URI (OQ-06)", ReasonIdentifierCount, 0, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{URIs: []string{checkoutID, "https://prod.example/"}})
		}},
		{"a URI in the constructed form, which only BER allows (CERT-02)", ReasonMalformed, 0, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{Edit: func(c *x509.Certificate) {
				second := "\xa6\x16\x16\x14spiffe://evil.test/a"
				value := c.ExtraExtensions[0].Value
				c.ExtraExtensions[0].Value = append([]byte{0x30, value[1] + byte(len(second))}, string(value[2:])+second...)
			}})
		}},
		{"an upper-case scheme, which url.Parse would fold (ID-09)", ReasonIdentifierSyntax, 0, identifier("SPIFFE://prod.example/ns/shop/sa/checkout")},
		{"a trailing #, which url.Parse would drop (ID-03)", ReasonIdentifierSyntax, 0, identifier(checkoutID + "#")},
		{"percent-encoding, which url.Parse would decode (ID-09)", ReasonIdentifierSyntax, 0, identifier("spiffe://prod.example/%63heckout")},
		{"a trust domain without path (CERT-05)", ReasonIdentifierSyntax, 0, identifier("spiffe://prod.example")},
		{"another scheme (OQ-13)", ReasonIdentifierSyntax, 0, identifier("https://prod.example/checkout")},
		{"no bundle (TD-05)", ReasonUnknownTrustDomain, 0, func(f fixture, q *question) { q.bundle = nil }},
		{"no bundle in the pkix profile", ReasonUnknownTrustDomain, 0, func(f fixture, q *question) {
			q.bundle, q.verifier.Profile = nil, ProfilePKIX
		}},
		{"the bundle of another trust domain (TD-03)", ReasonOriginNotAllowed, 0, func(f fixture, q *question) {
			q.bundle = f.bundle("spiffe://partner.example", trust.BundleOptions{}, q.root)
		}},
		{"the bundle of another scheme (TD-06)", ReasonOriginNotAllowed, 0, func(f fixture, q *question) {
			q.bundle = f.bundle("wimse://prod.example", trust.BundleOptions{}, q.root)
		}},
		{"a CA as leaf (CERT-04)", ReasonLeafProfile, 0, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{Edit: func(c *x509.Certificate) { c.IsCA = true }})
		}},
		{"the anchor itself as leaf (CERT-15)", ReasonLeafProfile, 0, func(f fixture, q *question) {
			root := f.root("prod root", func(c *x509.Certificate) {
				c.ExtraExtensions = append(c.ExtraExtensions, sanExtension(checkoutID))
			})
			q.chain, q.bundle = []*x509.Certificate{root.Certificate}, f.bundle(prodOrigin, trust.BundleOptions{}, root)
		}},
		{"an anchor that is no CA as leaf (CERT-15)", ReasonLeafProfile, 0, func(f fixture, q *question) {
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, &devpki.CA{Certificate: q.chain[0]}, q.root)
		}},
		{"an anchor as leaf in the pkix profile", ReasonLeafProfile, 0, func(f fixture, q *question) {
			q.chain, q.verifier.Profile = []*x509.Certificate{q.root.Certificate}, ProfilePKIX
		}},
		{"keyCertSign in the leaf (CERT-04)", ReasonLeafProfile, 0, keyUsage(x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign)},
		{"cRLSign in the leaf (CERT-04)", ReasonLeafProfile, 0, keyUsage(x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign)},
		{"no digitalSignature (CERT-06, CERT-07)", ReasonLeafProfile, 0, keyUsage(x509.KeyUsageKeyEncipherment)},
		{"no key usage in an SVID (CERT-06)", ReasonLeafProfile, 0, keyUsage(0)},
		{"a key usage that is not critical in an SVID (CERT-06)", ReasonLeafProfile, 0, func(f fixture, q *question) {
			q.chain[0] = f.resign(q.issuing, q.chain[0], func(tbs *tbsCertificate) { setCritical(tbs, 15, false) })
		}},
		{"an empty subject and a SAN that is not critical (CERT-11)", ReasonLeafProfile, 0, func(f fixture, q *question) {
			q.chain[0] = f.resign(q.issuing, q.chain[0], func(tbs *tbsCertificate) { setCritical(tbs, 17, false) })
		}},
		{"name constraints in the leaf", ReasonLeafProfile, 0, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{Edit: uriConstraint("prod.example")})
		}},
		{"a leaf of version 1 (CERT-16)", ReasonLeafProfile, 0, func(f fixture, q *question) {
			q.verifier.Profile = ProfilePKIX // a version 1 certificate has no identifier
			q.chain[0] = f.resign(q.issuing, q.chain[0], func(tbs *tbsCertificate) { tbs.Version, tbs.Extensions = 0, nil })
		}},
		{"serverAuth alone in a client (CERT-10)", ReasonEKU, 0, purposes(x509.ExtKeyUsageServerAuth)},
		{"any purpose alone (PKIX-08)", ReasonEKU, 0, purposes(x509.ExtKeyUsageAny)},
		{"clientAuth alone in a server (CERT-10)", ReasonEKU, 0, func(f fixture, q *question) {
			purposes(x509.ExtKeyUsageClientAuth)(f, q)
			q.role = RoleServer
		}},
		{"no purposes where they are required (OQ-08)", ReasonEKU, 0, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{NoExtKeyUsage: true})
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{RequireEKU: true}, q.root)
		}},
		{"an issuing CA for servers only (PKIX-08)", ReasonEKU, 1, below(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
		{"an issuing CA for another purpose only (PKIX-08)", ReasonEKU, 1, below(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} })},
		{"no role", ReasonEKU, 0, func(f fixture, q *question) { q.role = 0 }},
		{"a leaf one second past its end (PKIX-13)", ReasonExpired, 0, func(f fixture, q *question) { q.now = now.Add(time.Hour + time.Second) }},
		{"an issuing CA past its end", ReasonExpired, 1, below(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })},
		{"an anchor past its end (PKIX-09)", ReasonExpired, 1, func(f fixture, q *question) {
			root := f.root("prod root", func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
			q.chain, q.bundle = f.leaf(root, devpki.LeafOptions{}), f.bundle(prodOrigin, trust.BundleOptions{}, root)
		}},
		{"a leaf one second before its beginning (PKIX-13)", ReasonNotYetValid, 0, func(f fixture, q *question) { q.now = now.Add(-time.Hour - time.Second) }},
		{"an issuing CA before its beginning", ReasonNotYetValid, 1, below(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) })},
		{"a leaf beyond the skew (PKIX-13)", ReasonNotYetValid, 0, func(f fixture, q *question) {
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{NotBeforeSkew: time.Minute}, q.root)
			q.now = now.Add(-time.Hour - time.Minute - time.Second)
		}},
		{"a leaf that lives for two hours where one is the limit (REV-01)", ReasonLifetime, 0, func(f fixture, q *question) {
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{MaxCertificateLifetime: time.Hour}, q.root)
		}},
		{"1024-bit RSA (PKIX-11)", ReasonWeakKey, 0, func(f fixture, q *question) { q.chain = f.withKey(q.issuing, q.chain, rsaPublic(1024, 65537)) }},
		{"RSA of an odd length", ReasonWeakKey, 0, func(f fixture, q *question) { q.chain = f.withKey(q.issuing, q.chain, rsaPublic(2049, 65537)) }},
		{"P-224 (PKIX-11)", ReasonWeakKey, 0, curve(elliptic.P224())},
		{"P-521, which costs too much", ReasonUnsupportedAlgorithm, 0, curve(elliptic.P521())},
		{"16384-bit RSA, which costs too much", ReasonUnsupportedAlgorithm, 0, func(f fixture, q *question) { q.chain = f.withKey(q.issuing, q.chain, rsaPublic(16384, 65537)) }},
		{"an RSA exponent that costs too much", ReasonUnsupportedAlgorithm, 0, func(f fixture, q *question) { q.chain = f.withKey(q.issuing, q.chain, rsaPublic(2048, 1<<31-1)) }},
		{"SHA-1 under the leaf (PKIX-11)", ReasonUnsupportedAlgorithm, 0, func(f fixture, q *question) {
			q.chain[0] = f.forge(q.chain[0], oidECDSAWithSHA1, f.ecdsa(q.issuing.Key, crypto.SHA1), nil)
		}},
		{"a CA of an unknown trust domain (TD-01)", ReasonUntrustedChain, 1, func(f fixture, q *question) {
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, f.root("another root", nil))
		}},
		{"another root with the same name (TD-01)", ReasonUntrustedChain, 1, func(f fixture, q *question) {
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, f.root("prod root", nil))
		}},
		{"a missing intermediate", ReasonUntrustedChain, 0, func(f fixture, q *question) { q.chain = q.chain[:1] }},
		{"a bundle without anchors (BUN-02)", ReasonUntrustedChain, 1, func(f fixture, q *question) { q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}) }},
		{"a signature by another key", ReasonBadSignature, 0, func(f fixture, q *question) {
			q.chain[0] = f.resign(q.root, q.chain[0], nil)
		}},
		{"an issuer that is a leaf (PKIX-02)", ReasonNotCA, 1, below(func(c *x509.Certificate) { c.IsCA = false })},
		{"an issuer without basic constraints (PKIX-02)", ReasonNotCA, 1, below(func(c *x509.Certificate) { c.BasicConstraintsValid = false })},
		{"an issuer that must not sign certificates (PKIX-02)", ReasonNotCA, 1, below(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })},
		{"an issuer whose key usage has no bit, which std takes for none", ReasonNotCA, 1, func(f fixture, q *question) {
			q.chain[1] = f.resign(q.root, q.chain[1], func(tbs *tbsCertificate) {
				for i := range tbs.Extensions {
					if tbs.Extensions[i].Id.String() == "2.5.29.15" {
						tbs.Extensions[i].Value = []byte{3, 1, 0}
					}
				}
			})
		}},
		{"an anchor of version 1 (CERT-16)", ReasonNotCA, 2, func(f fixture, q *question) {
			q.root.Certificate = f.resign(q.root, q.root.Certificate, func(tbs *tbsCertificate) { tbs.Version, tbs.Extensions = 0, nil })
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, q.root)
		}},
		{"one CA more than the root allows (PKIX-03)", ReasonPathLength, 2, func(f fixture, q *question) {
			root := f.root("prod root", func(c *x509.Certificate) { c.MaxPathLenZero = true })
			q.chain = f.leaf(f.intermediate(root, "prod issuing", nil), devpki.LeafOptions{})
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, root)
		}},
		{"a self-issued CA counts as well (PKIX-03)", ReasonPathLength, 2, func(f fixture, q *question) {
			root := f.root("prod root", func(c *x509.Certificate) { c.MaxPathLenZero = true })
			q.chain = f.leaf(f.intermediate(root, "prod root", nil), devpki.LeafOptions{})
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, root)
		}},
		{"an unknown critical extension in the leaf (PKIX-04)", ReasonUnknownCriticalExtension, 0, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{Edit: unknownCritical})
		}},
		{"an unknown critical extension in the issuing CA (PKIX-04)", ReasonUnknownCriticalExtension, 1, below(unknownCritical)},
		{"an unknown critical extension in the anchor (PKIX-04)", ReasonUnknownCriticalExtension, 1, func(f fixture, q *question) {
			root := f.root("prod root", unknownCritical)
			q.chain, q.bundle = f.leaf(root, devpki.LeafOptions{}), f.bundle(prodOrigin, trust.BundleOptions{}, root)
		}},
		{"a URI outside the permitted host (PKIX-05)", ReasonNameConstraints, 0, below(uriConstraint("other.example"))},
		{"a URI below a permitted host without leading dot (PKIX-06)", ReasonNameConstraints, 0, below(uriConstraint("example"))},
		{"policies that do not hold where a CA requires one (PKIX-14)", ReasonPolicy, 0, below(func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{
				Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Critical: true, Value: []byte{0x30, 3, 0x80, 1, 0},
			})
		})},
		{"a kind of key that the origin does not use (ALG-05)", ReasonAlgorithmNotAllowed, 0, func(f fixture, q *question) {
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{Algorithms: []string{"ed25519"}}, q.root)
		}},
		{"a leaf on a CRL (REV-03)", ReasonRevoked, 0, func(f fixture, q *question) {
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{CRLs: f.crlSet(trust.CRLOptions{}, f.crl(q.issuing, revoking(q.chain[0])))}, q.root)
		}},
		{"no CRL where one is asked for (REV-04)", ReasonRevocationUnknown, 0, func(f fixture, q *question) {
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{CRLs: f.crlSet(trust.CRLOptions{})}, q.root)
		}},
		{"a CRL past its next update (REV-02)", ReasonRevocationStale, 0, func(f fixture, q *question) {
			stale := f.crl(q.issuing, devpki.CRLOptions{ThisUpdate: dayBefore, NextUpdate: now.Add(-time.Hour)})
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{CRLs: f.crlSet(trust.CRLOptions{LeafOnly: true}, stale)}, q.root)
		}},
		{"a leaf without authority key identifier in the pkix profile", ReasonCertificateProfile, 0, func(f fixture, q *question) {
			q.verifier.Profile = ProfilePKIX
			q.chain[0] = f.resign(q.issuing, q.chain[0], func(tbs *tbsCertificate) { tbs.Extensions = withoutAKI(tbs.Extensions) })
		}},
	}
	reached := map[Reason]bool{
		ReasonDenied:    true, // given by the owner of the deny-list
		ReasonAssurance: true, // given by whoever grades paths
	}
	for _, tt := range tests {
		reached[tt.reason] = true
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := fixture{t}
			q := f.accepted()
			tt.change(f, q)
			path, err := q.ask()
			if ReasonOf(err) != tt.reason {
				t.Fatalf("Verify() = %v, want reason %v", err, tt.reason)
			}
			if path != nil {
				t.Errorf("Verify() returns a path along with %v", err)
			}
			if got := err.(*Error); got.Depth != tt.depth || got.Error() == "" {
				t.Errorf("Verify() = %v, want depth %d", got, tt.depth)
			}
		})
	}
	for _, reason := range Reasons() {
		if !reached[reason] {
			t.Errorf("no case reaches %v", reason)
		}
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		checks int // signature checks that it takes
		change func(f fixture, q *question)
	}{
		{"leaf and issuing CA", 2, func(f fixture, q *question) {}},
		{"leaf directly under the anchor", 1, func(f fixture, q *question) { q.chain = f.leaf(q.root, devpki.LeafOptions{}) }},
		{"the issuing CA is itself an anchor", 1, func(f fixture, q *question) { q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, q.issuing) }},
		{"the anchor is sent along", 2, func(f fixture, q *question) { q.chain = append(q.chain, q.root.Certificate) }},
		{"the anchor is sent and anchored at the issuing CA too", 1, func(f fixture, q *question) {
			q.chain = append(q.chain, q.root.Certificate)
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, q.root, q.issuing)
		}},
		{"intermediates in the wrong order, twice, with junk between", 3, func(f fixture, q *question) {
			lower := f.intermediate(q.issuing, "prod lower", nil)
			junk := f.root("junk", nil).Certificate
			leaf := f.leaf(lower, devpki.LeafOptions{})[0]
			q.chain = []*x509.Certificate{leaf, junk, q.issuing.Certificate, q.root.Certificate, q.issuing.Certificate, lower.Certificate, junk, lower.Certificate}
		}},
		{"two CAs of one name: the key identifier finds the right one at once", 2, func(f fixture, q *question) {
			q.chain = []*x509.Certificate{q.chain[0], f.intermediate(q.root, "prod issuing", nil).Certificate, q.chain[1]}
		}},
		{"an expired cross-certificate beside a good one", 3, func(f fixture, q *question) {
			old := f.intermediate(q.root, "old", nil)
			expired := *q.issuing.Certificate
			expired.NotAfter = now.Add(-time.Minute)
			expired.SignatureAlgorithm = 0
			der, err := x509.CreateCertificate(rand.Reader, &expired, old.Certificate, expired.PublicKey, old.Key)
			f.must(err)
			cross, err := x509.ParseCertificate(der)
			f.must(err)
			q.chain = []*x509.Certificate{q.chain[0], cross, q.chain[1], old.Certificate}
		}},
		{"twins by signature malleability are both fine", 2, func(f fixture, q *question) { q.chain = append(q.chain, twin(f, q.issuing.Certificate)) }},
		{"the last second of the leaf (PKIX-13)", 2, func(f fixture, q *question) { q.now = now.Add(time.Hour) }},
		{"the first second of the leaf (PKIX-13)", 2, func(f fixture, q *question) { q.now = now.Add(-time.Hour) }},
		{"within the skew (PKIX-13)", 2, func(f fixture, q *question) {
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{NotBeforeSkew: time.Minute}, q.root)
			q.now = now.Add(-time.Hour - time.Minute)
		}},
		{"a lifetime at the limit (REV-01)", 2, func(f fixture, q *question) {
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{MaxCertificateLifetime: 2 * time.Hour}, q.root)
		}},
		{"a server", 2, func(f fixture, q *question) { q.role = RoleServer }},
		{"no key purposes (OQ-08)", 2, func(f fixture, q *question) { q.chain = f.leaf(q.issuing, devpki.LeafOptions{NoExtKeyUsage: true}) }},
		{"clientAuth alone (CERT-09)", 2, purposes(x509.ExtKeyUsageClientAuth)},
		{"clientAuth and any", 2, purposes(x509.ExtKeyUsageAny, x509.ExtKeyUsageClientAuth)},
		{"an issuing CA for any purpose", 2, below(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} })},
		{"no key usage, leniently (CERT-06)", 2, func(f fixture, q *question) {
			keyUsage(0)(f, q)
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{LenientKeyUsage: true}, q.root)
		}},
		{"a key usage that is not critical, leniently (CERT-06)", 2, func(f fixture, q *question) {
			q.chain[0] = f.resign(q.issuing, q.chain[0], func(tbs *tbsCertificate) { setCritical(tbs, 15, false) })
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{LenientKeyUsage: true}, q.root)
		}},
		{"an empty subject and a SAN that is not critical, leniently (OQ-21)", 2, func(f fixture, q *question) {
			q.chain[0] = f.resign(q.issuing, q.chain[0], func(tbs *tbsCertificate) { setCritical(tbs, 17, false) })
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{LenientSubject: true}, q.root)
		}},
		{"a WIC without key usage (CERT-06)", 2, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{URIs: []string{"wimse://prod.example/checkout"}, Edit: func(c *x509.Certificate) { c.KeyUsage = 0 }})
			q.bundle = f.bundle("wimse://prod.example", trust.BundleOptions{}, q.root)
		}},
		{"other names beside the identifier (CERT-03)", 2, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{DNS: []string{"admin.internal"}})
		}},
		{"32 names (PKIX-12)", 2, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{DNS: strings.Split(strings.Repeat("a.example ", MaxSANs-1), " ")[:MaxSANs-1]})
		}},
		{"a URI constraint on exactly the trust domain (PKIX-06)", 2, below(uriConstraint("prod.example"))},
		{"a URI constraint on what is below a domain (PKIX-06)", 2, below(uriConstraint(".example"))},
		{"a CA-only chain in the pkix profile", 1, func(f fixture, q *question) {
			q.chain, q.verifier.Profile, q.role = []*x509.Certificate{q.issuing.Certificate}, ProfilePKIX, 0
		}},
		{"an anchor with serial number 0 in the pkix profile", 2, func(f fixture, q *question) {
			q.verifier.Profile = ProfilePKIX
			q.root.Certificate = f.resign(q.root, q.root.Certificate, func(tbs *tbsCertificate) { tbs.Serial = new(big.Int) })
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, q.root)
		}},
		{"an anchor without authority key identifier, issued by another, in the pkix profile", 1, func(f fixture, q *question) {
			q.verifier.Profile = ProfilePKIX
			q.issuing.Certificate = f.resign(q.root, q.issuing.Certificate, func(tbs *tbsCertificate) { tbs.Extensions = withoutAKI(tbs.Extensions) })
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, q.issuing)
		}},
		{"no identifier in the pkix profile", 2, func(f fixture, q *question) {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{URIs: []string{}, DNS: []string{"www.example.com"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			q.verifier.Profile = ProfilePKIX
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := fixture{t}
			q := f.accepted()
			tt.change(f, q)
			path, err := q.ask()
			if err != nil {
				t.Fatalf("Verify() = %v, want a path", err)
			}
			if path.SignatureChecks() != tt.checks {
				t.Errorf("the path took %d signature checks, want %d", path.SignatureChecks(), tt.checks)
			}
			if path.IsZero() || !q.bundle.Contains(path.Anchor()) {
				t.Errorf("the path does not end in an anchor of the bundle")
			}
		})
	}
}

// TestOneDomainCannotSpeakForAnother is the first of the ten tests: both domains
// are trusted, and the CA of one issues an identifier of the other (TD-01,
// CERT-17).
func TestOneDomainCannotSpeakForAnother(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	partner := f.root("partner root", nil)
	f.bundle("spiffe://partner.example", trust.BundleOptions{}, partner)
	q.chain = f.leaf(partner, devpki.LeafOptions{URIs: []string{checkoutID}})
	if _, err := q.ask(); ReasonOf(err) != ReasonUntrustedChain {
		t.Errorf("Verify() = %v, want %v", err, ReasonUntrustedChain)
	}
	// The partner's anchor among the presented certificates changes nothing.
	q.chain = append(q.chain, partner.Certificate)
	if _, err := q.ask(); ReasonOf(err) != ReasonUntrustedChain {
		t.Errorf("Verify() = %v, want %v", err, ReasonUntrustedChain)
	}
	// Nor does one root key that serves both: the origin of the bundle decides.
	q = f.accepted()
	q.bundle = f.bundle("spiffe://partner.example", trust.BundleOptions{}, q.root)
	if _, err := q.ask(); ReasonOf(err) != ReasonOriginNotAllowed {
		t.Errorf("Verify() = %v, want %v", err, ReasonOriginNotAllowed)
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	q.bundle = f.bundle(prodOrigin, trust.BundleOptions{NotBeforeSkew: time.Minute}, q.root)
	q.chain = append(q.chain, q.root.Certificate)
	path, err := q.ask()
	if err != nil {
		t.Fatal(err)
	}
	if got := path.ID().String(); got != checkoutID {
		t.Errorf("ID() = %q, want %q", got, checkoutID)
	}
	if path.Role() != RoleClient || !path.ParseLeaf().Equal(q.chain[0]) || !path.Anchor().Equal(q.root.Certificate) || len(path.Issuers()) != 2 {
		t.Errorf("path is %v of %d issuers, want that of a client, leaf to root, 2 issuers", path.Role(), len(path.Issuers()))
	}
	if want := now.Add(-time.Hour - time.Minute); !path.NotBefore().Equal(want) {
		t.Errorf("NotBefore() = %v, want %v: the leaf's less the skew", path.NotBefore(), want)
	}
	if want := now.Add(time.Hour); !path.NotAfter().Equal(want) {
		t.Errorf("NotAfter() = %v, want %v", path.NotAfter(), want)
	}
	below := q.chain[0]
	for i, ref := range path.Refs() {
		var issuer *x509.Certificate
		if i < len(path.Issuers()) {
			issuer = path.Issuers()[i]
		}
		want := trust.RefOf(below, issuer)
		if below = issuer; ref != want {
			t.Errorf("Refs()[%d] = %v, want %v", i, ref, want)
		}
	}
	evidence := path.Evidence()
	if evidence.KeyAlgorithm != "ECDSA" || evidence.KeyBits != 256 || evidence.Lifetime != 2*time.Hour || evidence.ExtKeyUsageAny || evidence.PolicyOIDs != nil {
		t.Errorf("Evidence() = %+v, want ECDSA of 256 bits for two hours", evidence)
	}
	if len(evidence.IssuerSPKI) != 2 || trust.Digest(evidence.IssuerSPKI[0]) != path.Refs()[1].SPKI || trust.Digest(evidence.IssuerSPKI[1]) != path.Refs()[2].SPKI {
		t.Errorf("Evidence().IssuerSPKI has not the keys of issuing CA and anchor, in this order")
	}
}

// TestWindowIsTheNarrowest: the CA that ends first closes the window, and the
// one that begins last opens it.
func TestWindowIsTheNarrowest(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	issuing := f.intermediate(q.root, "prod issuing", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = now.Add(-time.Minute), now.Add(time.Minute)
	})
	q.chain = f.leaf(issuing, devpki.LeafOptions{})
	path, err := q.ask()
	if err != nil {
		t.Fatal(err)
	}
	if !path.NotBefore().Equal(now.Add(-time.Minute)) || !path.NotAfter().Equal(now.Add(time.Minute)) {
		t.Errorf("the window is [%v, %v], want a minute to each side of %v", path.NotBefore(), path.NotAfter(), now)
	}
}

// linkSet is a Links for tests.
type linkSet struct {
	known    map[string]bool
	remember int // calls
}

func linkKey(child, parent *x509.Certificate) string { return string(child.Raw) + string(parent.Raw) }

func (l *linkSet) Verified(child, parent *x509.Certificate) bool {
	return l.known[linkKey(child, parent)]
}

func (l *linkSet) Remember(child, parent *x509.Certificate) {
	l.known[linkKey(child, parent)] = true
	l.remember++
}

func TestLinks(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	links := &linkSet{known: make(map[string]bool)}
	q.verifier.Links = links

	stranger := f.intermediate(f.root("stranger", nil), "stranger issuing", nil)
	good := q.chain
	q.chain = f.leaf(stranger, devpki.LeafOptions{})
	if _, err := q.ask(); ReasonOf(err) != ReasonUntrustedChain {
		t.Fatalf("Verify() = %v, want %v", err, ReasonUntrustedChain)
	}
	if links.remember != 0 {
		t.Errorf("a rejected chain left %d links, want none", links.remember)
	}

	q.chain = good
	for i, want := range []int{2, 1} {
		path, err := q.ask()
		if err != nil {
			t.Fatal(err)
		}
		if path.SignatureChecks() != want {
			t.Errorf("call %d took %d signature checks, want %d", i, path.SignatureChecks(), want)
		}
	}
	if links.remember != 1 || !links.Verified(q.issuing.Certificate, q.root.Certificate) {
		t.Errorf("%d links were remembered, want once the one of issuing CA and root", links.remember)
	}

	// A remembered link spares the signature and nothing else.
	q.now = now.Add(48 * time.Hour)
	q.chain = f.leaf(q.issuing, devpki.LeafOptions{NotBefore: now, NotAfter: now.Add(72 * time.Hour)})
	if _, err := q.ask(); ReasonOf(err) != ReasonExpired {
		t.Errorf("Verify() = %v, want %v", err, ReasonExpired)
	}

	// Nothing spares the signature of a leaf.
	q.now, q.verifier.Links = now, alwaysLinked{}
	q.chain = []*x509.Certificate{f.resign(q.root, good[0], nil), good[1]}
	if _, err := q.ask(); ReasonOf(err) != ReasonBadSignature {
		t.Errorf("Verify() of a forged leaf = %v, want %v", err, ReasonBadSignature)
	}
}

// TestNearestCandidateIsReported: of two ways that both lack an issuer, the
// operator reads about the one that went further.
func TestNearestCandidateIsReported(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	middle := f.intermediate(f.root("far", nil), "middle", nil)
	template := *q.issuing.Certificate
	template.SignatureAlgorithm = 0
	der, err := x509.CreateCertificate(rand.Reader, &template, middle.Certificate, template.PublicKey, middle.Key)
	f.must(err)
	cross, err := x509.ParseCertificate(der)
	f.must(err)
	q.chain = append(q.chain, cross, middle.Certificate)
	q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, f.root("elsewhere", nil))
	_, err = q.ask()
	if ReasonOf(err) != ReasonUntrustedChain || err.(*Error).Depth != 3 || !strings.Contains(err.Error(), `issuer "CN=far"`) {
		t.Errorf("Verify() = %v, want %v at depth 3 that names the issuer far", err, ReasonUntrustedChain)
	}
}

// TestHints: what an operator reads about the most common mistake.
func TestHints(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	q.chain = q.chain[:1]
	_, err := q.ask()
	for _, want := range []string{
		"untrusted_chain at depth 0",
		`issuer "CN=prod issuing"`,
		fmt.Sprintf("%x", q.issuing.Certificate.SubjectKeyId),
		"the client sent no intermediate",
		`known anchors of spiffe://prod.example: "CN=prod root"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Verify() = %v, want it to say %q", err, want)
		}
	}
}

// TestErrorsAreSafeToPrint: what a peer chose is escaped and bounded.
func TestErrorsAreSafeToPrint(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	q.chain = f.leaf(q.issuing, devpki.LeafOptions{
		Subject: pkix.Name{CommonName: "evil\r\nlog line \x1b[31m" + strings.Repeat("x", 2000)},
		URIs:    []string{"spiffe://prod.example/" + strings.Repeat("y", 3000)},
	})
	for _, ids := range [][]*x509.Certificate{q.chain, f.leaf(q.issuing, devpki.LeafOptions{URIs: []string{}, Subject: q.chain[0].Subject})} {
		q.chain = ids
		_, err := q.ask()
		if err == nil {
			t.Fatal("Verify() accepts a malformed identifier")
		}
		if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\r\n\x1b") {
			t.Errorf("Error() = %q, want it escaped and short", err)
		}
	}
}

// TestForeignErrorsAreSafeToPrint: crypto/x509 repeats what it could not parse.
func TestForeignErrorsAreSafeToPrint(t *testing.T) {
	t.Parallel()
	for _, text := range []string{strings.Repeat("x", 5000), "line\nline", "\x1b[31m", "\u202e"} {
		got := (&Error{Reason: ReasonMalformed, Err: errors.New(text)}).Error()
		if len(got) > 300 || strings.ContainsAny(got, "\n\x1b\u202e") {
			t.Errorf("Error() = %q, want it escaped and short", got)
		}
	}
}

// TestBindingIsAsserted: should the search ever end anywhere else, the anchor's
// origin still has the last word (TD-03, CERT-17).
func TestBindingIsAsserted(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	id, err := Identify(q.chain[0])
	f.must(err)
	b := &builder{verifier: &q.verifier, bundle: q.bundle, chain: q.chain, path: append(q.chain[:2:2], q.root.Certificate)}
	if fault := b.assertBinding(id); fault != nil {
		t.Fatalf("assertBinding() = %v, want none", fault)
	}
	b.path[2] = f.root("prod root", nil).Certificate
	if fault := b.assertBinding(id); fault == nil || fault.Reason != ReasonUntrustedChain {
		t.Errorf("assertBinding() of a foreign anchor = %v, want %v", fault, ReasonUntrustedChain)
	}
	b.path[2], b.bundle = q.root.Certificate, f.bundle("spiffe://partner.example", trust.BundleOptions{}, q.root)
	if fault := b.assertBinding(id); fault == nil || fault.Reason != ReasonUntrustedChain {
		t.Errorf("assertBinding() with the bundle of another origin = %v, want %v", fault, ReasonUntrustedChain)
	}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	q.chain = []*x509.Certificate{q.chain[0], f.intermediate(f.root("stranger", nil), "prod issuing", nil).Certificate, q.chain[1]}
	q.chain[0] = f.resign(q.issuing, q.chain[0], func(tbs *tbsCertificate) { tbs.Extensions = withoutAKI(tbs.Extensions) })
	var steps []string
	q.verifier.Trace = func(s Step) { steps = append(steps, fmt.Sprintf("%s %v", s.Name, s.OK)) }
	if _, err := q.ask(); err != nil {
		t.Fatal(err)
	}
	want := "limits true, identifier true, origin true, leaf true, candidate false, path true, verdict true"
	if got := strings.Join(steps, ", "); got != want {
		t.Errorf("the steps are %s, want %s", got, want)
	}
	steps = nil
	q.chain = q.chain[:1]
	if _, err := q.ask(); err == nil {
		t.Fatal("Verify() accepts a chain without its intermediate")
	}
	if got := steps[len(steps)-1]; got != "verdict false" {
		t.Errorf("the last step is %q, want the verdict", got)
	}
}

func TestReasonCodes(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, r := range Reasons() {
		code := r.String()
		if code == "" || seen[code] || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
			t.Errorf("the code of reason %d is %q, want a new one in snake case", r, code)
		}
		seen[code] = true
		if !strings.HasSuffix(r.Help(), ".") {
			t.Errorf("%v.Help() = %q, want sentences", r, r.Help())
		}
	}
	if ReasonNone.String() != "" || ReasonNone.Help() != "" || Reason(200).Help() != "" || len(seen) != int(reasons)-1 {
		t.Errorf("ReasonNone has words, or %d reasons are listed, want %d", len(seen), reasons-1)
	}
	if got := ReasonOf(fmt.Errorf("refused: %w", &Error{Reason: ReasonEKU})); got != ReasonEKU {
		t.Errorf("ReasonOf(wrapped) = %v, want %v", got, ReasonEKU)
	}
	if got := ReasonOf(fmt.Errorf("foreign")); got != ReasonNone {
		t.Errorf("ReasonOf(foreign) = %v, want none", got)
	}
}

// The changes that several cases have in common.

func identifier(uri string) func(fixture, *question) {
	return func(f fixture, q *question) { q.chain = f.leaf(q.issuing, devpki.LeafOptions{URIs: []string{uri}}) }
}

func purposes(usages ...x509.ExtKeyUsage) func(fixture, *question) {
	return func(f fixture, q *question) { q.chain = f.leaf(q.issuing, devpki.LeafOptions{ExtKeyUsage: usages}) }
}

func keyUsage(usage x509.KeyUsage) func(fixture, *question) {
	return func(f fixture, q *question) {
		q.chain = f.leaf(q.issuing, devpki.LeafOptions{Edit: func(c *x509.Certificate) { c.KeyUsage = usage }})
	}
}

func curve(c elliptic.Curve) func(fixture, *question) {
	return func(f fixture, q *question) {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		f.must(err)
		q.chain = f.withKey(q.issuing, q.chain, key.Public())
	}
}

// below changes the issuing CA.
func below(edit func(*x509.Certificate)) func(fixture, *question) {
	return func(f fixture, q *question) {
		q.issuing = f.intermediate(q.root, "prod issuing", edit)
		q.chain = f.leaf(q.issuing, devpki.LeafOptions{})
	}
}

func unknownCritical(c *x509.Certificate) {
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
}

func sanExtension(uri string) pkix.Extension {
	value, _ := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(uri)}})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}
}

func withoutAKI(extensions []pkix.Extension) []pkix.Extension {
	var kept []pkix.Extension
	for _, e := range extensions {
		if e.Id.String() != "2.5.29.35" {
			kept = append(kept, e)
		}
	}
	return kept
}

func setCritical(tbs *tbsCertificate, arc int, critical bool) {
	for i := range tbs.Extensions {
		if id := tbs.Extensions[i].Id; id[len(id)-1] == arc {
			tbs.Extensions[i].Critical = critical
		}
	}
}

func manyNames(n, length int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%0*d", length, i)
	}
	return names
}

// twin returns c with the other of the two ECDSA signatures that verify.
func twin(f fixture, c *x509.Certificate) *x509.Certificate {
	f.Helper()
	var rs struct{ R, S *big.Int }
	_, err := asn1.Unmarshal(c.Signature, &rs)
	f.must(err)
	rs.S.Sub(elliptic.P256().Params().N, rs.S)
	signature, err := asn1.Marshal(rs)
	f.must(err)
	der, err := asn1.Marshal(signedCertificate{
		TBS:       asn1.RawValue{FullBytes: c.RawTBSCertificate},
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: oidECDSAWithSHA256},
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	f.must(err)
	other, err := x509.ParseCertificate(der)
	f.must(err)
	return other
}
