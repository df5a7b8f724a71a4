package trust_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

var (
	prod    = origin("spiffe://prod.example")
	partner = origin("spiffe://partner.example")
	wimse   = origin("wimse://prod.example")
)

func origin(s string) workloadid.Origin {
	o, err := workloadid.ParseOrigin(s)
	if err != nil {
		panic(err)
	}
	return o
}

func identifier(t testing.TB, s string) workloadid.ID {
	t.Helper()
	id, err := workloadid.Parse(s)
	if err != nil {
		t.Fatalf("Parse(%q) = %v", s, err)
	}
	return id
}

func pattern(t testing.TB, s string) workloadid.Pattern {
	t.Helper()
	p, err := workloadid.ParsePattern(s)
	if err != nil {
		t.Fatalf("ParsePattern(%q) = %v", s, err)
	}
	return p
}

func newRoot(t testing.TB, o devpki.CAOptions) *devpki.CA {
	t.Helper()
	ca, err := devpki.NewRoot(o)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// rootNamed makes an anchor with a URI name, such as SPIRE's have.
func rootNamed(t testing.TB, uri string) *devpki.CA {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return newRoot(t, devpki.CAOptions{Edit: func(c *x509.Certificate) { c.URIs = []*url.URL{u} }})
}

func issue(t testing.TB, ca *devpki.CA, o devpki.LeafOptions) *devpki.Leaf {
	t.Helper()
	leaf, err := ca.Issue(o)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func keyPEM(t testing.TB, leaf *devpki.Leaf) []byte {
	t.Helper()
	p, err := devpki.KeyPEM(leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newBundle(t testing.TB, o workloadid.Origin, options trust.BundleOptions) *trust.Bundle {
	t.Helper()
	b, err := trust.NewBundle(o, options)
	if err != nil {
		t.Fatalf("NewBundle(%v) = %v", o, err)
	}
	return b
}

func newSnapshot(t testing.TB, deny *trust.DenyList, bundles ...*trust.Bundle) *trust.Snapshot {
	t.Helper()
	s, err := trust.NewSnapshot(bundles, deny)
	if err != nil {
		t.Fatalf("NewSnapshot() = %v", err)
	}
	return s
}

// jwk is one entry of a bundle.
func jwk(anchors ...*x509.Certificate) map[string]any {
	x5c := []string{}
	for _, a := range anchors {
		x5c = append(x5c, base64.StdEncoding.EncodeToString(a.Raw))
	}
	return map[string]any{"kty": "EC", "use": "x509-svid", "crv": "P-256", "x": "AA", "y": "AA", "x5c": x5c}
}

func with(entry map[string]any, member string, value any) map[string]any {
	entry[member] = value
	return entry
}

func without(entry map[string]any, member string) map[string]any {
	delete(entry, member)
	return entry
}

func toJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func bundleJSON(t testing.TB, entries ...any) []byte {
	t.Helper()
	if entries == nil {
		entries = []any{}
	}
	return toJSON(t, map[string]any{"keys": entries})
}

// moment is well inside the validity of what devpki makes now.
func moment() time.Time { return time.Now() }

// withExtension adds an extension below id-ce, octet for octet.
func withExtension(arc int, value []byte) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, arc}, Value: value})
	}
}
