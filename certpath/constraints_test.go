package certpath

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"net/netip"
	"strings"
	"testing"

	"verigate/devpki"
	"verigate/trust"
)

func network(s string) *net.IPNet {
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	return n
}

func TestNameConstraints(t *testing.T) {
	t.Parallel()
	dns := func(names ...string) devpki.LeafOptions { return devpki.LeafOptions{DNS: names} }
	uri := func(id string) devpki.LeafOptions { return devpki.LeafOptions{URIs: []string{id}} }
	ip := func(address string) devpki.LeafOptions {
		return devpki.LeafOptions{IPs: []netip.Addr{netip.MustParseAddr(address)}}
	}
	email := func(address string) devpki.LeafOptions {
		return devpki.LeafOptions{Edit: func(c *x509.Certificate) {
			san := &c.ExtraExtensions[0]
			var names []asn1.RawValue
			if _, err := asn1.Unmarshal(san.Value, &names); err != nil {
				panic(err)
			}
			names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, Bytes: []byte(address)})
			san.Value, _ = asn1.Marshal(names)
		}}
	}
	type constraints = x509.Certificate
	tests := []struct {
		name    string
		issuing constraints
		leaf    devpki.LeafOptions
		allowed bool
	}{
		{"the permitted host itself", constraints{PermittedURIDomains: []string{"prod.example"}}, devpki.LeafOptions{}, true},
		{"without leading dot nothing below it (PKIX-06)", constraints{PermittedURIDomains: []string{"prod.example"}}, uri("spiffe://api.prod.example/a"), false},
		{"a leading dot permits what is below", constraints{PermittedURIDomains: []string{".example"}}, devpki.LeafOptions{}, true},
		{"a leading dot does not permit the domain itself (PKIX-06)", constraints{PermittedURIDomains: []string{".prod.example"}}, devpki.LeafOptions{}, false},
		{"a domain that merely ends alike", constraints{PermittedURIDomains: []string{".rod.example", "rod.example"}}, devpki.LeafOptions{}, false},
		{"excluded beats permitted (PKIX-05)", constraints{PermittedURIDomains: []string{"prod.example"}, ExcludedURIDomains: []string{"prod.example"}}, devpki.LeafOptions{}, false},
		{"an excluded host excludes what is below it", constraints{ExcludedURIDomains: []string{"prod.example"}}, uri("spiffe://api.prod.example/a"), false},
		{"another host is excluded", constraints{ExcludedURIDomains: []string{"other.example"}}, devpki.LeafOptions{}, true},
		{"a single label under a URI constraint (OQ-19)", constraints{PermittedURIDomains: []string{"prod"}}, uri("spiffe://prod/a"), false},
		{"an underscore under a URI constraint (OQ-19)", constraints{PermittedURIDomains: []string{"a_b.example"}}, uri("spiffe://a_b.example/a"), false},
		{"a single label where only DNS names are constrained", constraints{PermittedDNSDomains: []string{"prod.example"}}, uri("spiffe://prod/a"), true},
		{"an IP address as trust domain under any constraint (PKIX-07)", constraints{PermittedDNSDomains: []string{"prod.example"}}, uri("spiffe://192.0.2.1/a"), false},

		{"a DNS name below a permitted one", constraints{PermittedDNSDomains: []string{"prod.example"}}, dns("api.prod.example"), true},
		{"DNS names are compared without case", constraints{PermittedDNSDomains: []string{"PROD.example"}}, dns("Api.Prod.Example"), true},
		{"a DNS name outside", constraints{PermittedDNSDomains: []string{"prod.example"}}, dns("api.prod.example", "prod.example.evil"), false},
		{"a wildcard that stands for an excluded name", constraints{ExcludedDNSDomains: []string{"www.prod.example"}}, dns("*.prod.example"), false},
		{"a wildcard beside an excluded name", constraints{ExcludedDNSDomains: []string{"www.other.example"}}, dns("*.prod.example"), true},
		{"the empty constraint excludes all DNS names", constraints{ExcludedDNSDomains: []string{""}}, dns("prod.example"), false},
		{"the empty constraint leaves other forms alone", constraints{ExcludedDNSDomains: []string{""}}, devpki.LeafOptions{}, true},
		{"a DNS name that is none", constraints{PermittedDNSDomains: []string{"prod.example"}}, dns("a b.prod.example"), false},

		{"a permitted address", constraints{PermittedIPRanges: []*net.IPNet{network("10.0.0.0/8")}}, ip("10.1.2.3"), true},
		{"an address outside", constraints{PermittedIPRanges: []*net.IPNet{network("10.0.0.0/8")}}, ip("192.0.2.1"), false},
		{"an address of the other family", constraints{PermittedIPRanges: []*net.IPNet{network("10.0.0.0/8")}}, ip("2001:db8::1"), false},
		{"an IPv4 address in IPv6 clothes", constraints{PermittedIPRanges: []*net.IPNet{network("10.0.0.0/8")}}, ip("::ffff:10.0.0.1"), false},
		{"an excluded address", constraints{ExcludedIPRanges: []*net.IPNet{network("10.0.0.0/8")}}, ip("10.1.2.3"), false},

		{"a permitted mailbox", constraints{PermittedEmailAddresses: []string{"ops@prod.example"}}, email("ops@prod.example"), true},
		{"another mailbox of that host", constraints{PermittedEmailAddresses: []string{"ops@prod.example"}}, email("Ops@prod.example"), false},
		{"a permitted host", constraints{PermittedEmailAddresses: []string{"prod.example"}}, email("ops@PROD.example"), true},
		{"below a permitted host without leading dot", constraints{PermittedEmailAddresses: []string{"prod.example"}}, email("ops@api.prod.example"), false},
		{"below a permitted domain", constraints{PermittedEmailAddresses: []string{".prod.example"}}, email("ops@api.prod.example"), true},
		{"an excluded mailbox", constraints{ExcludedEmailAddresses: []string{"ops@prod.example"}}, email("ops@prod.example"), false},
		{"below an excluded host", constraints{ExcludedEmailAddresses: []string{"prod.example"}}, email("ops@api.prod.example"), false},
		{"a quoted mailbox", constraints{PermittedEmailAddresses: []string{"prod.example"}}, email(`"ops"@prod.example`), false},
		{"a constraint on a quoted mailbox cannot be judged", constraints{ExcludedEmailAddresses: []string{`"ops"@prod.example`}}, devpki.LeafOptions{}, false},
		{"an email in the subject counts", constraints{PermittedEmailAddresses: []string{"prod.example"}}, devpki.LeafOptions{Subject: emailSubject("ops@other.example")}, false},
		{"an email in the subject that is permitted", constraints{PermittedEmailAddresses: []string{"prod.example"}}, devpki.LeafOptions{Subject: emailSubject("ops@prod.example")}, true},
	}
	for _, tt := range tests {
		for _, critical := range []bool{true, false} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				f := fixture{t}
				q := f.accepted()
				q.issuing = f.intermediate(q.root, "prod issuing", func(c *x509.Certificate) {
					c.PermittedDNSDomainsCritical = critical
					c.PermittedDNSDomains, c.ExcludedDNSDomains = tt.issuing.PermittedDNSDomains, tt.issuing.ExcludedDNSDomains
					c.PermittedURIDomains, c.ExcludedURIDomains = tt.issuing.PermittedURIDomains, tt.issuing.ExcludedURIDomains
					c.PermittedIPRanges, c.ExcludedIPRanges = tt.issuing.PermittedIPRanges, tt.issuing.ExcludedIPRanges
					c.PermittedEmailAddresses, c.ExcludedEmailAddresses = tt.issuing.PermittedEmailAddresses, tt.issuing.ExcludedEmailAddresses
				})
				q.chain = f.leaf(q.issuing, tt.leaf)
				if id, err := Identify(q.chain[0]); err == nil {
					q.bundle = f.bundle(id.Origin().String(), trust.BundleOptions{}, q.root)
				}
				want := ReasonNone
				if !tt.allowed {
					want = ReasonNameConstraints
				}
				if _, err := q.ask(); ReasonOf(err) != want {
					t.Errorf("Verify() with critical %v = %v, want reason %q", critical, err, want)
				}
			})
		}
	}
}

func emailSubject(address string) pkix.Name {
	return pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: address}}}
}

// TestUnjudgeableConstraints: a constraint that is not understood is never
// ignored, whether it is critical or not.
func TestUnjudgeableConstraints(t *testing.T) {
	t.Parallel()
	tree := func(base ...byte) []byte {
		subtree := append([]byte{0x30, byte(len(base))}, base...)
		list := append([]byte{0xa0, byte(len(subtree))}, subtree...)
		return append([]byte{0x30, byte(len(list))}, list...)
	}
	for name, value := range map[string][]byte{
		"a directory name":          tree(0xa4, 2, 0x30, 0),
		"a registered identifier":   tree(0x88, 2, 0x2a, 3),
		"a network with host bits":  tree(0x87, 8, 10, 1, 2, 3, 255, 0, 0, 0),
		"a DNS name with a minimum": tree(append([]byte("\x82\x07example"), 0x80, 1, 1)...),
	} {
		for _, critical := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := fixture{t}
				q := f.accepted()
				q.chain = f.leaf(f.intermediate(q.root, "prod issuing", func(c *x509.Certificate) {
					c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 30}, Critical: critical, Value: value})
				}), devpki.LeafOptions{})
				if _, err := q.ask(); ReasonOf(err) != ReasonNameConstraints {
					t.Errorf("Verify() with critical %v = %v, want %v", critical, err, ReasonNameConstraints)
				}
			})
		}
	}
}

// TestConstraintsAreBounded: names times constraints is a product that an
// attacker may choose (PKIX-12).
func TestConstraintsAreBounded(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	root := f.root("prod root", func(c *x509.Certificate) {
		for _, name := range manyNames(2000, 8) {
			c.ExcludedDNSDomains = append(c.ExcludedDNSDomains, name+".example")
		}
	})
	q := f.accepted()
	q.chain = f.leaf(root, devpki.LeafOptions{DNS: strings.Fields(strings.Repeat("api.prod.example ", MaxSANs-1))})
	q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, root)
	if _, err := q.ask(); ReasonOf(err) != ReasonLimitsExceeded {
		t.Errorf("Verify() = %v, want %v", err, ReasonLimitsExceeded)
	}
}

// TestConstraintsIntersect: every CA of the path has a say (PKIX-05).
func TestConstraintsIntersect(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	for _, tt := range []struct {
		root, issuing string
		want          Reason
	}{
		{"prod.example", "prod.example", ReasonNone},
		{".example", "prod.example", ReasonNone},
		{"prod.example", ".partner.example", ReasonNameConstraints},
		{".partner.example", "prod.example", ReasonNameConstraints},
	} {
		root := f.root("prod root", uriConstraint(tt.root))
		q := f.accepted()
		q.chain = f.leaf(f.intermediate(root, "prod issuing", uriConstraint(tt.issuing)), devpki.LeafOptions{})
		q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, root)
		if _, err := q.ask(); ReasonOf(err) != tt.want {
			t.Errorf("Verify() under %q and %q = %v, want reason %q", tt.root, tt.issuing, err, tt.want)
		}
	}
}
