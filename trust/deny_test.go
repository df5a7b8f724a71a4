package trust_test

import (
	"fmt"
	"strings"
	"testing"

	"verigate/internal/race"
	"verigate/trust"
	"verigate/workloadid"
)

func digestOf(b byte) trust.Digest { return trust.Digest{31: b} }

func ref(key, issuer, serial byte) trust.CertRef {
	return trust.CertRef{SPKI: digestOf(key), IssuerSPKI: digestOf(issuer), Serial: [20]byte{19: serial}}
}

func TestDenyListFinds(t *testing.T) {
	t.Parallel()
	serial := trust.IssuerSerial{IssuerSPKI: digestOf(2), Serial: [20]byte{19: 7}}
	d := trust.NewDenyList(trust.DenyOptions{
		Identities: []workloadid.Pattern{
			pattern(t, "spiffe://prod.example/ns/**"),
			pattern(t, "spiffe://prod.example/ns/shop/sa/bad"),
			pattern(t, "spiffe://prod.example/ns/*/sa/worse"),
			pattern(t, "spiffe://prod.example/ns/shop/sa/bad"),
			{},
		},
		Serials: []trust.IssuerSerial{serial, serial},
		Keys:    []trust.Digest{digestOf(9)},
	})
	path := []trust.CertRef{ref(1, 2, 1), ref(2, 3, 1), ref(3, 0, 1)}
	edited := func(depth int, r trust.CertRef) []trust.CertRef {
		refs := append([]trust.CertRef(nil), path...)
		refs[depth] = r
		return refs
	}
	tests := []struct {
		claim string
		id    string
		refs  []trust.CertRef
		entry string // empty: not found
		depth int
	}{
		{"nothing is denied that is not listed", "spiffe://prod.example/jobs/a", path, "", 0},
		{"an exact entry denies", "spiffe://prod.example/ns/shop/sa/bad", path, "identity spiffe://prod.example/ns/shop/sa/bad", 0},
		{"the most specific pattern is named", "spiffe://prod.example/ns/shop/sa/worse", path, "identity spiffe://prod.example/ns/*/sa/worse", 0},
		{"a broad pattern denies", "spiffe://prod.example/ns/x", path, "identity spiffe://prod.example/ns/**", 0},
		{"a pattern stays in its origin", "wimse://prod.example/ns/x", path, "", 0},
		{"an issuer and serial number deny the leaf", "spiffe://prod.example/a", edited(0, ref(1, 2, 7)), "issuer_serial " + serial.String(), 0},
		{"a serial number of another issuer does not", "spiffe://prod.example/a", edited(0, ref(1, 4, 7)), "", 0},
		{"a key denies as an intermediate", "spiffe://prod.example/a", edited(1, ref(9, 3, 1)), "spki_sha256 " + digestOf(9).String(), 1},
		{"a key denies as an anchor", "spiffe://prod.example/a", edited(2, ref(9, 0, 1)), "spki_sha256 " + digestOf(9).String(), 2},
		{"a key does not deny as an issuer that is not on the path", "spiffe://prod.example/a", []trust.CertRef{ref(1, 9, 1)}, "", 0},
		{"the identity comes before the certificates", "spiffe://prod.example/ns/x", edited(0, ref(9, 2, 7)), "identity spiffe://prod.example/ns/**", 0},
		{"the leaf comes before its issuers", "spiffe://prod.example/a", []trust.CertRef{ref(1, 2, 7), ref(9, 3, 1)}, "issuer_serial " + serial.String(), 0},
		{"without an identity certificates are still looked up", "", edited(0, ref(9, 2, 1)), "spki_sha256 " + digestOf(9).String(), 0},
		{"without certificates the identity is", "spiffe://prod.example/ns/x", nil, "identity spiffe://prod.example/ns/**", 0},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			var id workloadid.ID
			if tt.id != "" {
				id = identifier(t, tt.id)
			}
			entry, depth, found := d.Find(id, tt.refs)
			if entry != tt.entry || depth != tt.depth || found != (tt.entry != "") {
				t.Errorf("Find(%v) = %q, %d, %v, want %q, %d", id, entry, depth, found, tt.entry, tt.depth)
			}
		})
	}
	if got := d.Len(); got != 5 {
		t.Errorf("Len() = %d, want 5: repetitions count once and the zero pattern not at all", got)
	}
}

func TestNilDenyListDeniesNothing(t *testing.T) {
	t.Parallel()
	var d *trust.DenyList
	if _, _, found := d.Find(identifier(t, "spiffe://prod.example/a"), []trust.CertRef{ref(1, 2, 3)}); found {
		t.Error("(*DenyList)(nil).Find() finds something")
	}
	if d.Len() != 0 || d.Digest() != trust.NewDenyList(trust.DenyOptions{}).Digest() {
		t.Error("the nil list is not like an empty one")
	}
}

func TestDenyListDigest(t *testing.T) {
	t.Parallel()
	a, b := pattern(t, "spiffe://prod.example/a"), pattern(t, "spiffe://prod.example/*")
	s, r := trust.IssuerSerial{IssuerSPKI: digestOf(1)}, trust.IssuerSerial{IssuerSPKI: digestOf(2)}
	k, l := digestOf(1), digestOf(2)
	digest := func(ids []workloadid.Pattern, serials []trust.IssuerSerial, keys []trust.Digest) trust.Digest {
		return trust.NewDenyList(trust.DenyOptions{Identities: ids, Serials: serials, Keys: keys}).Digest()
	}
	type (
		ids     = []workloadid.Pattern
		serials = []trust.IssuerSerial
		keys    = []trust.Digest
	)
	want := digest(ids{a, b}, serials{s, r}, keys{k, l})
	if got := digest(ids{b, a, b}, serials{r, s}, keys{l, k, k}); got != want {
		t.Error("the digest depends on order or repetition")
	}
	for i, got := range []trust.Digest{
		digest(ids{a}, serials{s, r}, keys{k, l}),
		digest(ids{a, b}, serials{s}, keys{k, l}),
		digest(ids{a, b}, serials{s, r}, keys{k}),
		digest(nil, nil, nil),
	} {
		if got == want {
			t.Errorf("list %d with fewer entries has the same digest", i)
		}
	}
}

// longDenyList has entries of every kind, and none that denies what the tests
// ask for.
func longDenyList(t testing.TB, entries int) *trust.DenyList {
	var o trust.DenyOptions
	for i := range entries {
		o.Identities = append(o.Identities, pattern(t, fmt.Sprintf("spiffe://prod.example/ns/n%d/sa/s", i)))
		o.Keys = append(o.Keys, trust.Digest{0: 1, 1: byte(i >> 16), 2: byte(i >> 8), 3: byte(i)})
		o.Serials = append(o.Serials, trust.IssuerSerial{IssuerSPKI: trust.Digest{0: 2}, Serial: [20]byte{1: byte(i >> 16), 2: byte(i >> 8), 3: byte(i)}})
	}
	o.Identities = append(o.Identities, pattern(t, "spiffe://prod.example/quarantine/**"), pattern(t, "spiffe://prod.example/ns/*/sa/evil"))
	return trust.NewDenyList(o)
}

func TestDenyListDoesNotAllocateOnAMiss(t *testing.T) {
	if race.Enabled {
		return // instrumentation allocates; the claim is tested without it
	}
	d := longDenyList(t, 1000)
	id, refs := identifier(t, "spiffe://prod.example/ns/shop/sa/checkout"), []trust.CertRef{ref(1, 2, 1), ref(2, 3, 1), ref(3, 0, 1)}
	n := testing.AllocsPerRun(1000, func() {
		if entry, _, found := d.Find(id, refs); found {
			t.Errorf("Find() = %q", entry)
		}
	})
	if n != 0 {
		t.Errorf("Find allocates %v times on a miss, want 0", n)
	}
}

// A miss against 30 000 entries: what every cache hit pays.
func BenchmarkDenyListMiss(b *testing.B) {
	d := longDenyList(b, 10_000)
	id := identifier(b, "spiffe://prod.example/ns/"+strings.Repeat("x", 20)+"/sa/checkout")
	refs := []trust.CertRef{ref(1, 2, 1), ref(2, 3, 1), ref(3, 0, 1)}
	b.ReportAllocs()
	for b.Loop() {
		d.Find(id, refs)
	}
}
