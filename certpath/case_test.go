package certpath

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/internal/race"
	"verigate/trust"
)

// TestCase puts one chain in the ways that a line of JSON can.
func TestCase(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	at := now.Format(time.RFC3339)
	good := func() *Case {
		return &Case{
			Roots: [][]byte{q.root.Certificate.Raw, q.root.Certificate.Raw}, Leaf: q.chain[0].Raw,
			Inters: [][]byte{q.chain[1].Raw}, Time: at, TrustDomain: prodOrigin,
		}
	}
	crls := func(revoked ...*big.Int) [][]byte {
		o := devpki.CRLOptions{Revoked: revoked, ThisUpdate: now.Add(-time.Hour)}
		ofIssuing, err := q.issuing.MakeCRL(o)
		f.must(err)
		ofRoot, err := q.root.MakeCRL(o)
		f.must(err)
		return [][]byte{ofIssuing, ofRoot}
	}
	tests := []struct {
		name   string
		change func(c *Case)
		reason Reason
		broken string // part of the error when the case cannot be put
	}{
		{"a workload", func(c *Case) {}, ReasonNone, ""},
		{"the trust domain without its scheme", func(c *Case) { c.TrustDomain = "prod.example" }, ReasonNone, ""},
		{"the server's side", func(c *Case) { c.Kind = "server" }, ReasonNone, ""},
		{"the pkix profile for want of a trust domain", func(c *Case) { c.TrustDomain = "" }, ReasonNone, ""},
		{"the pkix profile in spite of a trust domain", func(c *Case) { c.Profile = "pkix" }, ReasonNone, ""},
		{"the time of the caller", func(c *Case) { c.Time = "" }, ReasonExpired, ""},
		{"another trust domain", func(c *Case) { c.TrustDomain = "partner.example" }, ReasonOriginNotAllowed, ""},
		{"an explicit policy", func(c *Case) { c.Explicit, c.Policies = true, []string{"1.2.3"} }, ReasonPolicy, ""},
		{"a leaf that is no DER", func(c *Case) { c.Leaf = []byte("leaf") }, ReasonMalformed, ""},
		{"a root that is no DER", func(c *Case) { c.Roots = [][]byte{[]byte("root")} }, ReasonMalformed, ""},
		{"no root", func(c *Case) { c.Roots = nil }, ReasonUntrustedChain, ""},
		{"CRLs that list nothing", func(c *Case) { c.CRLs = crls() }, ReasonNone, ""},
		{"a CRL that lists the leaf", func(c *Case) { c.CRLs = crls(q.chain[0].SerialNumber) }, ReasonRevoked, ""},
		{"a CRL too few", func(c *Case) { c.CRLs = crls()[:1] }, ReasonRevocationUnknown, ""},
		{"a CRL that is refused beside those that suffice", func(c *Case) { c.CRLs = append(crls(), []byte("crl")) }, ReasonRevocationUnknown, ""},
		{"more CRLs than there may be", func(c *Case) {
			for i := range trust.MaxCRLs + 1 {
				c.CRLs = append(c.CRLs, crls(big.NewInt(int64(i) + 1))[0])
			}
		}, ReasonRevocationUnknown, ""},
		{"a time that is none", func(c *Case) { c.Time = "noon" }, ReasonNone, "time of case"},
		{"a profile that is none", func(c *Case) { c.Profile = "web\n" }, ReasonNone, "profile of case"},
		{"a trust domain that is none", func(c *Case) { c.TrustDomain = "Prod" }, ReasonNone, "trust domain of case"},
		{"a workload without a trust domain", func(c *Case) { c.Profile, c.TrustDomain = "workload", "" }, ReasonNone, "trust domain of case"},
		{"a policy that is none", func(c *Case) { c.Policies = []string{"gold"} }, ReasonNone, "policy of case"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := good()
			tt.change(c)
			// Once through JSON, as the cases come.
			line, err := json.Marshal(c)
			fixture{t}.must(err)
			var read Case
			fixture{t}.must(json.Unmarshal(line, &read))
			path, err := read.Verify(Verifier{}, trust.BundleOptions{}, now.Add(time.Hour*24*365))
			switch {
			case ReasonOf(err) != tt.reason:
				t.Errorf("Verify() = %v, want reason %q", err, tt.reason)
			case tt.broken != "" && (err == nil || !strings.Contains(err.Error(), tt.broken)):
				t.Errorf("Verify() = %v, want an error about the %s", err, tt.broken)
			case tt.broken == "" && tt.reason == ReasonNone && (err != nil || path.IsZero()):
				t.Errorf("Verify() = %v, want a path", err)
			}
		})
	}

	// An anchor that names another trust domain makes no bundle (CERT-14).
	foreign := f.root("partner", nil)
	foreign.Certificate = f.resign(foreign, foreign.Certificate, func(tbs *tbsCertificate) {
		tbs.Extensions = append(tbs.Extensions, sanExtension("spiffe://partner.example"))
	})
	c := good()
	c.Roots = [][]byte{foreign.Certificate.Raw}
	if _, err := c.Verify(Verifier{}, trust.BundleOptions{}, now); err == nil || ReasonOf(err) != ReasonNone {
		t.Errorf("Verify() = %v, want an error that is no verdict", err)
	}
}

// TestCheapQuestionsDoNotAllocate: what everybody can make us do on a cache hit.
func TestCheapQuestionsDoNotAllocate(t *testing.T) {
	f := fixture{t}
	q := f.accepted()
	if n := testing.AllocsPerRun(100, func() {
		if err := CheckLimits(q.chain); err != nil {
			t.Fatal(err)
		}
	}); n != 0 && !race.Enabled {
		t.Errorf("CheckLimits allocates %v times, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Identify(q.chain[0]); err != nil {
			t.Fatal(err)
		}
	}); n > 1 && !race.Enabled {
		t.Errorf("Identify allocates %v times, want 1, the identifier", n)
	}
}

// FuzzIdentify: whatever is taken for an identifier is, octet for octet, the
// only URI of the certificate, and hostile extensions do no harm.
func FuzzIdentify(f *testing.F) {
	fx := fixture{f}
	leaf := fx.leaf(fx.root("root", nil), devpki.LeafOptions{})[0]
	for _, uri := range []string{checkoutID, "SPIFFE://prod.example/a", checkoutID + "#", "wimse://a/b~c", ""} {
		f.Add(sanExtension(uri).Value)
	}
	f.Add([]byte{0x30, 0x80, 0x86, 0x01, 'a', 0, 0})
	f.Add([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, san []byte) {
		c := *leaf
		c.Extensions = append(c.Extensions[:0:0], c.Extensions...)
		for i := range c.Extensions {
			if c.Extensions[i].Id.String() == "2.5.29.17" {
				c.Extensions[i].Value = san
			}
		}
		id, err := Identify(&c)
		if err != nil {
			if ReasonOf(err) == ReasonNone || len(err.Error()) > 1000 {
				t.Errorf("Identify() = %q, want a short *Error", err)
			}
			return
		}
		want := sanExtension(id.String()).Value
		if !id.HasPath() || strings.Count(string(san), id.String()) != 1 || len(san) < len(want) {
			t.Errorf("Identify(%x) = %q, which is not what the certificate says", san, id)
		}
	})
}
