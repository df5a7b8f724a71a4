package certpath

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"

	"verigate/devpki"
	"verigate/trust"
)

// TestOtherAlgorithms: what is neither known nor accepted is named by its object
// identifier, and hostile encodings of it do no harm.
func TestOtherAlgorithms(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	unknown := asn1.ObjectIdentifier{1, 3, 9999, 6, 7, 1}
	q.chain[0] = f.forge(q.chain[0], unknown, func([]byte) []byte { return []byte{1} }, nil)
	if _, err := q.ask(); ReasonOf(err) != ReasonUnsupportedAlgorithm || !strings.Contains(err.Error(), unknown.String()) {
		t.Errorf("Verify() = %v, want %v that names %v", err, ReasonUnsupportedAlgorithm, unknown)
	}
	slh := asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 20} // SLH-DSA-SHA2-128s
	q = f.accepted()
	q.chain[1] = f.resign(q.root, q.chain[1], withKeyOf(f, pkix.AlgorithmIdentifier{Algorithm: slh}, make([]byte, 32)))
	if _, err := q.ask(); ReasonOf(err) != ReasonUnsupportedAlgorithm || !strings.Contains(err.Error(), slh.String()+" key in") {
		t.Errorf("Verify() = %v, want %v that names %v", err, ReasonUnsupportedAlgorithm, slh)
	}
	for _, der := range []string{"", "\x30", "\x30\x82", "\x30\x02\x06\x05", "\x30\x00", "\x30\x02\x06\x00", "\x30\x03\x04\x01\x00"} {
		if got := algorithmName([]byte(der)); got != "an unknown" {
			t.Errorf("algorithmName(%x) = %q, want an unknown one", der, got)
		}
	}
}

// TestKeyKinds: all kinds of keys that are accepted, in CAs and leaves.
func TestKeyKinds(t *testing.T) {
	t.Parallel()
	want := map[devpki.KeyType]struct {
		algorithm string
		bits      int
	}{
		devpki.P256: {"ECDSA", 256}, devpki.P384: {"ECDSA", 384}, devpki.RSA2048: {"RSA", 2048}, devpki.Ed25519: {"Ed25519", 256},
	}
	for kind, want := range want {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			f := fixture{t}
			q := questionWithKeys(f, kind, 2)
			path, err := q.ask()
			if err != nil {
				t.Fatal(err)
			}
			if e := path.Evidence(); e.KeyAlgorithm != want.algorithm || e.KeyBits != want.bits || path.SignatureChecks() != 3 {
				t.Errorf("path has a key of %s and %d bits after %d checks, want %s of %d after 3", e.KeyAlgorithm, e.KeyBits, path.SignatureChecks(), want.algorithm, want.bits)
			}
		})
	}
}

// questionWithKeys is a chain of one kind of keys with the given number of
// intermediates.
func questionWithKeys(f fixture, kind devpki.KeyType, intermediates int) *question {
	f.Helper()
	o := devpki.CAOptions{Name: "root", Key: kind, NotBefore: dayBefore, NotAfter: dayAfter}
	root, err := devpki.NewRoot(o)
	f.must(err)
	ca := root
	for i := range intermediates {
		o.Name = "issuing " + string(rune('A'+i))
		ca, err = ca.NewIntermediate(o)
		f.must(err)
	}
	if s, _ := schemeOf(root.Certificate); s != nil {
		kind = devpki.P256
	}
	return &question{
		root: root, issuing: ca,
		chain:  f.leaf(ca, devpki.LeafOptions{Key: kind}),
		bundle: f.bundle(prodOrigin, trust.BundleOptions{}, root),
		role:   RoleClient, now: now,
	}
}

// TestPolicies has the branches of policy processing that workload PKIs meet;
// PKITS has the rest.
func TestPolicies(t *testing.T) {
	t.Parallel()
	oid := func(dotted string) x509.OID {
		oid, err := x509.ParseOID(dotted)
		if err != nil {
			t.Fatal(err)
		}
		return oid
	}
	gold, silver, local, any := oid("1.2.3.1"), oid("1.2.3.2"), oid("1.9.9"), oid("2.5.29.32.0")
	tests := []struct {
		name     string
		ca, leaf []x509.OID
		mapping  []x509.PolicyMapping
		inputs   PolicyInputs
		valid    bool
	}{
		{"nobody asks", nil, nil, nil, PolicyInputs{}, true},
		{"required and absent", nil, nil, nil, PolicyInputs{RequireExplicit: true}, false},
		{"required and there", []x509.OID{gold}, []x509.OID{gold}, nil, PolicyInputs{RequireExplicit: true}, true},
		{"required and absent in the CA", nil, []x509.OID{gold}, nil, PolicyInputs{RequireExplicit: true}, false},
		{"required and different", []x509.OID{gold}, []x509.OID{silver}, nil, PolicyInputs{RequireExplicit: true}, false},
		{"any in the CA stands for each", []x509.OID{any}, []x509.OID{silver}, nil, PolicyInputs{RequireExplicit: true}, true},
		{"any in the CA does not when inhibited", []x509.OID{any}, []x509.OID{silver}, nil, PolicyInputs{RequireExplicit: true, InhibitAny: true}, false},
		{"any in the leaf stands for the CA's", []x509.OID{gold}, []x509.OID{any}, nil, PolicyInputs{RequireExplicit: true, Acceptable: []x509.OID{gold}}, true},
		{"one that is acceptable", []x509.OID{gold, silver}, []x509.OID{silver}, nil, PolicyInputs{RequireExplicit: true, Acceptable: []x509.OID{silver}}, true},
		{"one that is not acceptable", []x509.OID{gold, silver}, []x509.OID{silver}, nil, PolicyInputs{RequireExplicit: true, Acceptable: []x509.OID{gold}}, false},
		{"mapped", []x509.OID{gold}, []x509.OID{local}, []x509.PolicyMapping{{IssuerDomainPolicy: gold, SubjectDomainPolicy: local}}, PolicyInputs{RequireExplicit: true, Acceptable: []x509.OID{gold}}, true},
		{"mapped, judged in the anchor's terms", []x509.OID{gold}, []x509.OID{local}, []x509.PolicyMapping{{IssuerDomainPolicy: gold, SubjectDomainPolicy: local}}, PolicyInputs{RequireExplicit: true, Acceptable: []x509.OID{local}}, false},
		{"mapped although inhibited", []x509.OID{gold}, []x509.OID{local}, []x509.PolicyMapping{{IssuerDomainPolicy: gold, SubjectDomainPolicy: local}}, PolicyInputs{RequireExplicit: true, InhibitMapping: true}, false},
		{"any is mapped", []x509.OID{gold}, []x509.OID{gold}, []x509.PolicyMapping{{IssuerDomainPolicy: any, SubjectDomainPolicy: local}}, PolicyInputs{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := fixture{t}
			q := f.accepted()
			issuing := f.intermediate(q.root, "prod issuing", func(c *x509.Certificate) {
				c.Policies, c.PolicyMappings = tt.ca, tt.mapping
				if tt.mapping != nil { // crypto/x509 does not write it
					c.ExtraExtensions = append(c.ExtraExtensions, mappingExtension(f, tt.mapping))
				}
			})
			q.chain = f.leaf(issuing, devpki.LeafOptions{Edit: func(c *x509.Certificate) { c.Policies = tt.leaf }})
			q.verifier.Policies = tt.inputs
			want := ReasonNone
			if !tt.valid {
				want = ReasonPolicy
			}
			if _, err := q.ask(); ReasonOf(err) != want {
				t.Errorf("Verify() = %v, want reason %q", err, want)
			}
		})
	}

	f := fixture{t}
	q := f.accepted()
	many := make([]x509.OID, maxPolicies+1)
	for i := range many {
		var err error
		many[i], err = x509.OIDFromInts([]uint64{1, 2, 3, uint64(i)})
		f.must(err)
	}
	q.chain = f.leaf(q.issuing, devpki.LeafOptions{Edit: func(c *x509.Certificate) { c.Policies = many }})
	path, err := q.ask()
	if err != nil || len(path.Evidence().PolicyOIDs) != maxPolicies {
		t.Errorf("Verify() of %d policies that nobody asks for = %v, want %d of them as evidence", len(many), err, maxPolicies)
	}
	q.verifier.Policies.RequireExplicit = true
	if _, err := q.ask(); ReasonOf(err) != ReasonLimitsExceeded {
		t.Errorf("Verify() of %d policies = %v, want %v", len(many), err, ReasonLimitsExceeded)
	}
}

func mappingExtension(f fixture, mappings []x509.PolicyMapping) pkix.Extension {
	f.Helper()
	type mapping struct{ From, To asn1.ObjectIdentifier }
	var list []mapping
	for _, m := range mappings {
		var pair mapping
		for into, oid := range map[*asn1.ObjectIdentifier]x509.OID{&pair.From: m.IssuerDomainPolicy, &pair.To: m.SubjectDomainPolicy} {
			der, err := oid.MarshalBinary()
			f.must(err)
			_, err = asn1.Unmarshal(append([]byte{6, byte(len(der))}, der...), into)
			f.must(err)
		}
		list = append(list, pair)
	}
	value, err := asn1.Marshal(list)
	f.must(err)
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 33}, Critical: true, Value: value}
}
