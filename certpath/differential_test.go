package certpath

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

// stricterThanStd is the written list of reasons for which a chain may be
// refused that x509.Certificate.Verify accepts.
var stricterThanStd = map[Reason]string{
	ReasonMalformed:            "an empty list of key purposes is no list to crypto/x509",
	ReasonLimitsExceeded:       "16 signature checks instead of 100, and bounds on size and names",
	ReasonLeafProfile:          "std has no leaf profile: CAs, anchors and odd key usages pass there",
	ReasonEKU:                  "anyExtendedKeyUsage in the leaf is no purpose here (PKIX-08)",
	ReasonLifetime:             "std has no maximum",
	ReasonWeakKey:              "std takes RSA of 1024 bits and P-224",
	ReasonUnsupportedAlgorithm: "a key that can only sign, certified for key agreement as well (ALG-02)",
	ReasonNotCA:                "version 1 anchors, and a key usage extension without any bit",
	ReasonNameConstraints:      "RFC 5280 reading of URI and email constraints (PKIX-06); constraints that std ignores because they are not critical",
	ReasonPolicy:               "a mapping of anyPolicy is invalid even where mapping is inhibited",
	ReasonCertificateProfile:   "the pkix profile judges RFC 5280 §4",
}

// draws turns octets into decisions; when they run out all decisions are 0.
type draws struct{ octets []byte }

// below returns a number below n.
func (d *draws) below(n int) int {
	if len(d.octets) == 0 {
		return 0
	}
	v := int(d.octets[0])
	d.octets = d.octets[1:]
	return v % n
}

// rarely reports true once in n times.
func (d *draws) rarely(n int) bool { return d.below(n) == n-1 }

// world is a small public key infrastructure, odd in a few places.
type world struct {
	roots, others []*x509.Certificate
	leaf          *x509.Certificate
}

// worldKeys are shared by all worlds: making keys is dearer than the rest.
var worldKeys = sync.OnceValue(func() []crypto.Signer {
	var keys []crypto.Signer
	for _, kind := range []devpki.KeyType{devpki.P256, devpki.Ed25519, devpki.P256, devpki.Ed25519, devpki.RSA2048} {
		key, err := devpki.NewKey(kind)
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	// RSA takes long to sign, so it is one of nine.
	return append(keys, keys[:4]...)
})

// Names that overlap in the ways that constraints care about.
var (
	drawnDNS    = []string{"prod.example", "api.prod.example", "*.prod.example", "other.test", "a.b.prod.example", "*.api.prod.example", "localhost"}
	drawnHosts  = []string{"", ".prod.example", "prod.example", "example", "api.prod.example", "other.test", "localhost", ".example"}
	drawnURIs   = []string{"spiffe://prod.example/a", "spiffe://api.prod.example/a", "spiffe://localhost/a", "spiffe://a_b.example/x", "https://PROD.example:8443/x", "spiffe://10.0.0.1/a"}
	drawnEmails = []string{"ops@prod.example", "ops@api.prod.example", "Ops@other.test"}
	drawnBoxes  = []string{"ops@prod.example", "prod.example", ".prod.example", "other.test"}
	drawnIPs    = []net.IP{{10, 0, 0, 1}, {10, 1, 0, 1}, {192, 0, 2, 1}, net.ParseIP("2001:db8::1")}
	drawnNets   = []net.IPNet{
		{IP: net.IP{10, 0, 0, 0}, Mask: net.CIDRMask(8, 32)}, {IP: net.IP{10, 0, 0, 0}, Mask: net.CIDRMask(16, 32)},
		{IP: net.IP{0, 0, 0, 0}, Mask: net.CIDRMask(0, 32)}, {IP: net.ParseIP("2001:db8::"), Mask: net.CIDRMask(32, 128)},
	}
	drawnPolicies = []string{"1.2.3.1", "1.2.3.2", "2.5.29.32.0"}
)

func drawWorld(d *draws) (*world, error) {
	keys := worldKeys()
	type authority struct {
		certificate *x509.Certificate
		key         crypto.Signer
	}
	var (
		w           world
		authorities []authority
	)
	for i := range 2 + d.below(6) {
		name, key := "CA "+string(rune('A'+d.below(4))), keys[d.below(len(keys))]
		c := drawCA(d, name)
		parent := authority{c, key}
		if i > 0 && !d.rarely(4) {
			parent = authorities[d.below(len(authorities))]
		}
		signed, err := issue(c, parent.certificate, key, parent.key)
		if err != nil {
			return nil, err
		}
		authorities = append(authorities, authority{signed, key})
		if i == 0 || d.rarely(5) {
			w.roots = append(w.roots, signed)
		}
		if i > 0 || d.rarely(3) {
			w.others = append(w.others, signed)
		}
	}
	issuer := authorities[d.below(len(authorities))]
	leaf, err := drawLeaf(d)
	if err != nil {
		return nil, err
	}
	w.leaf, err = issue(leaf, issuer.certificate, keys[d.below(len(keys))], issuer.key)
	return &w, err
}

func issue(c, parent *x509.Certificate, key, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func drawCA(d *draws, name string) *x509.Certificate {
	c := drawCommon(d)
	c.Subject = pkix.Name{CommonName: name}
	c.IsCA = !d.rarely(12)
	c.BasicConstraintsValid = !d.rarely(16)
	c.KeyUsage = []x509.KeyUsage{x509.KeyUsageCertSign, x509.KeyUsageCertSign | x509.KeyUsageCRLSign, 0, x509.KeyUsageDigitalSignature, x509.KeyUsageCertSign | x509.KeyUsageKeyAgreement}[d.below(20)%5]
	if d.rarely(3) && c.IsCA && c.BasicConstraintsValid {
		c.MaxPathLen = d.below(3)
		c.MaxPathLenZero = true
	}
	if d.rarely(4) {
		c.SubjectKeyId = []byte{1, byte(d.below(3))}
	}
	if d.rarely(3) {
		c.PermittedDNSDomainsCritical = d.below(2) == 0
		drawConstraints(d, c)
	}
	if d.rarely(4) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{
			Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Critical: true, Value: []byte{0x30, 3, 0x80, 1, byte(d.below(3))},
		})
	}
	return c
}

func drawConstraints(d *draws, c *x509.Certificate) {
	for range 1 + d.below(2) {
		switch d.below(8) {
		case 0:
			c.PermittedDNSDomains = append(c.PermittedDNSDomains, drawnHosts[d.below(len(drawnHosts))])
		case 1:
			c.ExcludedDNSDomains = append(c.ExcludedDNSDomains, drawnHosts[d.below(len(drawnHosts))])
		case 2:
			c.PermittedURIDomains = append(c.PermittedURIDomains, drawnHosts[d.below(len(drawnHosts))])
		case 3:
			c.ExcludedURIDomains = append(c.ExcludedURIDomains, drawnHosts[d.below(len(drawnHosts))])
		case 4:
			c.PermittedEmailAddresses = append(c.PermittedEmailAddresses, drawnBoxes[d.below(len(drawnBoxes))])
		case 5:
			c.ExcludedEmailAddresses = append(c.ExcludedEmailAddresses, drawnBoxes[d.below(len(drawnBoxes))])
		case 6:
			c.PermittedIPRanges = append(c.PermittedIPRanges, &drawnNets[d.below(len(drawnNets))])
		case 7:
			c.ExcludedIPRanges = append(c.ExcludedIPRanges, &drawnNets[d.below(len(drawnNets))])
		}
	}
}

func drawLeaf(d *draws) (*x509.Certificate, error) {
	c := drawCommon(d)
	if d.below(2) == 0 {
		c.Subject = pkix.Name{CommonName: "leaf"}
	}
	c.BasicConstraintsValid = true
	c.IsCA = d.rarely(16)
	c.KeyUsage = []x509.KeyUsage{x509.KeyUsageDigitalSignature, x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement, x509.KeyUsageKeyEncipherment, 0}[d.below(16)%4]
	uri, err := url.Parse(drawnURIs[d.below(len(drawnURIs)*4)%len(drawnURIs)])
	if err != nil {
		return nil, err
	}
	if !d.rarely(8) {
		c.URIs = []*url.URL{uri}
	}
	if d.rarely(3) {
		c.DNSNames = []string{drawnDNS[d.below(len(drawnDNS))]}
	}
	if d.rarely(4) {
		c.EmailAddresses = []string{drawnEmails[d.below(len(drawnEmails))]}
	}
	if d.rarely(4) {
		c.IPAddresses = []net.IP{drawnIPs[d.below(len(drawnIPs))]}
	}
	return c, nil
}

func drawCommon(d *draws) *x509.Certificate {
	c := &x509.Certificate{SerialNumber: big.NewInt(1 + int64(d.below(256))), NotBefore: dayBefore, NotAfter: dayAfter}
	switch d.below(16) {
	case 14:
		c.NotAfter = now.Add(-time.Hour)
	case 15:
		c.NotBefore = now.Add(time.Hour)
	}
	switch d.below(10) {
	case 6:
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	case 7:
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case 8:
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	case 9:
		c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}}
	}
	for range d.below(3) {
		oid, err := x509.ParseOID(drawnPolicies[d.below(len(drawnPolicies))])
		if err != nil {
			panic(err)
		}
		for _, known := range c.Policies {
			if known.Equal(oid) {
				return c
			}
		}
		c.Policies = append(c.Policies, oid)
	}
	if d.rarely(24) {
		unknownCritical(c)
	}
	return c
}

// compare holds both profiles against crypto/x509 and returns whether each
// accepted.
func (w *world) compare(t testing.TB) (workload, pkix bool) {
	t.Helper()
	f := fixture{t}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range w.roots {
		options.Roots.AddCert(c)
	}
	for _, c := range w.others {
		options.Intermediates.AddCert(c)
	}
	verify := func(profile Profile, origin workloadid.Origin, chain, anchors []*x509.Certificate) error {
		bundle, err := trust.NewBundle(origin, trust.BundleOptions{Anchors: anchors, LenientKeyUsage: true, LenientSubject: true})
		if err != nil {
			t.Fatal(err)
		}
		path, err := (&Verifier{Profile: profile}).Verify(chain, bundle, RoleClient, now)
		// Neither a list of all algorithms nor what is proven decides anything.
		again, bundle := (&Verifier{Profile: profile, Proven: path}), f.bundle(origin.String(), trust.BundleOptions{
			Anchors: anchors, LenientKeyUsage: true, LenientSubject: true, Algorithms: Algorithms(),
		})
		if got, want := outcomeOf(again.Verify(chain, bundle, RoleClient, now)), outcomeOf(path, err); got != want {
			t.Errorf("%v: judged anew, Verify() = %+v, at first %+v", profile, got, want)
		}
		return err
	}
	judge := func(profile Profile, usage x509.ExtKeyUsage, origin workloadid.Origin) bool {
		err := verify(profile, origin, append([]*x509.Certificate{w.leaf}, w.others...), w.roots)
		options.KeyUsages = []x509.ExtKeyUsage{usage}
		stdChains, std := w.leaf.Verify(options)
		if err == nil && std != nil {
			t.Errorf("%v: accepted, but x509.Certificate.Verify refuses: %v", profile, std)
		}
		if err != nil && std == nil {
			// The reason that was reported may be about another candidate: ask
			// about those paths alone that std accepts.
			for _, path := range stdChains {
				err := verify(profile, origin, path[:max(len(path)-1, 1)], path[len(path)-1:])
				if stricterThanStd[ReasonOf(err)] == "" {
					t.Errorf("%v: x509.Certificate.Verify accepts a path, but Verify() = %v, a reason that is not on the list", profile, err)
				}
			}
		}
		return err == nil
	}
	placeholder, err := workloadid.ParseOrigin(pkixOrigin)
	if err != nil {
		t.Fatal(err)
	}
	pkix = judge(ProfilePKIX, x509.ExtKeyUsageAny, placeholder)
	if id, err := Identify(w.leaf); err == nil {
		workload = judge(ProfileWorkload, x509.ExtKeyUsageClientAuth, id.Origin())
	}
	return workload, pkix
}

// TestNeverAcceptsMoreThanStd draws worlds at random, from a fixed seed.
func TestNeverAcceptsMoreThanStd(t *testing.T) {
	t.Parallel()
	random := mathrand.NewChaCha8([32]byte{1})
	const worlds = 500
	var workloads, pkixes int
	for range worlds {
		octets := make([]byte, 200)
		random.Read(octets)
		w, err := drawWorld(&draws{octets})
		if err != nil {
			continue
		}
		workload, pkix := w.compare(t)
		if workload {
			workloads++
		}
		if pkix {
			pkixes++
		}
	}
	// Without acceptances the comparison would say nothing.
	if workloads < worlds/50 || pkixes < worlds/50 {
		t.Errorf("of %d worlds %d were accepted as workloads and %d in the pkix profile, want at least %d each", worlds, workloads, pkixes, worlds/50)
	}
	t.Logf("of %d worlds %d were accepted as workloads, %d in the pkix profile", worlds, workloads, pkixes)
}

// FuzzVerifyAgainstStd lets the fuzzer draw the worlds.
func FuzzVerifyAgainstStd(f *testing.F) {
	f.Add([]byte{})
	random := mathrand.NewChaCha8([32]byte{2})
	for range 16 {
		octets := make([]byte, 160)
		random.Read(octets)
		f.Add(octets)
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		if w, err := drawWorld(&draws{octets}); err == nil {
			w.compare(t)
		}
	})
}
