package certpath

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/internal/race"
	"verigate/trust"
)

// crl makes a CRL of ca, valid for a day from an hour before now if o does not say.
func (f fixture) crl(ca *devpki.CA, o devpki.CRLOptions) *trust.CRL {
	f.Helper()
	if o.ThisUpdate.IsZero() {
		o.ThisUpdate = now.Add(-time.Hour)
	}
	// Whether it has the right to is what some of the tests are about.
	signer := *ca
	certificate := *ca.Certificate
	certificate.KeyUsage |= x509.KeyUsageCRLSign
	signer.Certificate = &certificate
	der, err := signer.MakeCRL(o)
	f.must(err)
	crls, err := trust.ParseCRLs(ca.Certificate.Subject.CommonName+".crl", der)
	f.must(err)
	return crls[0]
}

func (f fixture) crlSet(o trust.CRLOptions, crls ...*trust.CRL) *trust.CRLSet {
	f.Helper()
	set, err := trust.NewCRLSet(crls, o)
	f.must(err)
	return set
}

// revoking is CRLOptions that list certificates.
func revoking(certificates ...*x509.Certificate) (o devpki.CRLOptions) {
	for _, c := range certificates {
		o.Revoked = append(o.Revoked, c.SerialNumber)
	}
	return o
}

// scopedTo adds an issuing distribution point of one URI, or flags, to a CRL.
func scopedTo(point string) func(*x509.RevocationList) {
	value := []byte{0x30, 3, 0x81, 1, 0xff} // onlyContainsUserCerts
	if point != "users" {
		uri := append([]byte{0x86, byte(len(point))}, point...)
		value = append([]byte{0x30, byte(len(uri) + 4), 0xa0, byte(len(uri) + 2), 0xa0, byte(len(uri))}, uri...)
	}
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: value})
	}
}

// pointForSomeReasons gives a certificate the distribution point http://crl, of which
// it says that it is about key compromise.
func pointForSomeReasons(c *x509.Certificate) {
	point := []byte("\x30\x16\x30\x14\xa0\x0e\xa0\x0c\x86\x0ahttp://crl\x81\x02\x06\x40")
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 31}, Value: point})
}

// judged asks q with the CRLs that are given.
func (f fixture) judged(q *question, o trust.CRLOptions, crls ...*trust.CRL) (*Path, error) {
	f.Helper()
	options := q.bundle.Options()
	options.CRLs = f.crlSet(o, crls...)
	q.bundle = f.bundle(prodOrigin, options)
	return q.ask()
}

const day = 24 * time.Hour

// TestRevocation begins with a leaf, an issuing CA and a root whose CRLs list
// nothing (REV-02 to REV-04).
func TestRevocation(t *testing.T) {
	t.Parallel()
	refuse := trust.CRLOptions{}
	grace := trust.CRLOptions{WhenStale: trust.StaleGrace, Grace: time.Hour}
	believe := trust.CRLOptions{WhenStale: trust.StaleAccept}
	leafOnly := trust.CRLOptions{LeafOnly: true}
	// ended is the options of a list that ended so long ago.
	ended := func(ago time.Duration, o devpki.CRLOptions) devpki.CRLOptions {
		o.ThisUpdate, o.NextUpdate = now.Add(-ago-day), now.Add(-ago)
		return o
	}
	numbered := func(number int64, hours int, o devpki.CRLOptions) devpki.CRLOptions {
		o.Number, o.ThisUpdate = big.NewInt(number), now.Add(time.Duration(hours)*time.Hour)
		return o
	}
	// namesake is another CA of the name of the issuing one.
	namesake := func(f fixture, q *question, edit func(*x509.Certificate)) *devpki.CA {
		return f.intermediate(q.root, "prod issuing", edit)
	}
	type lists = []*trust.CRL
	tests := []struct {
		name   string
		o      trust.CRLOptions
		reason Reason
		depth  int
		says   string // part of the error
		// crls returns the lists beside that of the root, unless it returns one of that
		// name itself.
		crls func(f fixture, q *question) lists
	}{
		{"nothing is revoked", refuse, ReasonNone, 0, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, devpki.CRLOptions{})}
		}},
		{"the leaf is revoked", refuse, ReasonRevoked, 0, "CRL 7 of \"CN=prod issuing\" from prod issuing.crl", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, numbered(7, -1, revoking(q.chain[0])))}
		}},
		{"the error has date and reason", refuse, ReasonRevoked, 0, "revoked on 2026-07-01T10:00:00Z, key compromise", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, devpki.CRLOptions{Edit: func(l *x509.RevocationList) {
				l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: q.chain[0].SerialNumber, RevocationTime: now.Add(-2 * time.Hour), ReasonCode: 1}}
			}})}
		}},
		{"the issuing CA is revoked", refuse, ReasonRevoked, 1, "prod root.crl", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, devpki.CRLOptions{}), f.crl(q.root, revoking(q.issuing.Certificate))}
		}},
		{"the issuing CA is revoked and nobody asks", leafOnly, ReasonNone, 0, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, devpki.CRLOptions{}), f.crl(q.root, revoking(q.issuing.Certificate))}
		}},
		{"the leaf alone is asked about", leafOnly, ReasonRevoked, 0, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, revoking(q.chain[0]))}
		}},

		// Undetermined is not good (REV-04).
		{"no list of the leaf's issuer", refuse, ReasonRevocationUnknown, 0, "no CRL of that issuer", func(f fixture, q *question) lists { return nil }},
		{"no list of the issuing CA's issuer", refuse, ReasonRevocationUnknown, 1, "no CRL of that issuer", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, devpki.CRLOptions{}), f.crl(f.root("prod other root", nil), devpki.CRLOptions{})}
		}},
		{"a list that is to come", refuse, ReasonRevocationUnknown, 0, "not in force yet", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, numbered(1, 1, devpki.CRLOptions{}))}
		}},
		{"a list that is to come within the skew", refuse, ReasonNone, 0, "", func(f fixture, q *question) lists {
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{NotBeforeSkew: time.Hour}, q.root)
			return lists{f.crl(q.issuing, numbered(1, 1, devpki.CRLOptions{}))}
		}},

		// Stale (haproxy/haproxy#85, pomerium/pomerium#2104).
		{"a stale list", refuse, ReasonRevocationStale, 0, "next update 2026-07-01T11:59:59Z", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, ended(time.Second, devpki.CRLOptions{}))}
		}},
		{"the last moment of a list", refuse, ReasonNone, 0, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, ended(0, devpki.CRLOptions{}))}
		}},
		{"a stale list within the grace", grace, ReasonNone, 0, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, ended(time.Hour, devpki.CRLOptions{}))}
		}},
		{"a stale list past the grace", grace, ReasonRevocationStale, 0, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, ended(time.Hour+time.Second, devpki.CRLOptions{}))}
		}},
		{"a stale list that is believed", believe, ReasonNone, 0, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, ended(1000*day, devpki.CRLOptions{}))}
		}},
		{"a stale list that lists the leaf", refuse, ReasonRevoked, 0, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, ended(day, revoking(q.chain[0])))}
		}},
		{"a stale list that is believed and lists the leaf", believe, ReasonRevoked, 0, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, ended(day, revoking(q.chain[0])))}
		}},
		{"a revoked CA weighs more than a leaf of unknown status", refuse, ReasonRevoked, 1, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.root, revoking(q.issuing.Certificate))}
		}},

		// Whose list it is.
		{"another key of the same name", refuse, ReasonRevocationUnknown, 0, "signed by another key", func(f fixture, q *question) lists {
			return lists{f.crl(namesake(f, q, nil), devpki.CRLOptions{})}
		}},
		{"another key that claims the key identifier", refuse, ReasonRevocationUnknown, 0, "not signed by the key", func(f fixture, q *question) lists {
			return lists{f.crl(namesake(f, q, func(c *x509.Certificate) { c.SubjectKeyId = q.issuing.Certificate.SubjectKeyId }), devpki.CRLOptions{})}
		}},
		{"another key cannot revoke", refuse, ReasonNone, 0, "", func(f fixture, q *question) lists {
			other := namesake(f, q, func(c *x509.Certificate) { c.SubjectKeyId = q.issuing.Certificate.SubjectKeyId })
			return lists{f.crl(q.issuing, devpki.CRLOptions{}), f.crl(other, numbered(99, 0, revoking(q.chain[0])))}
		}},
		{"another key cannot supersede", refuse, ReasonRevoked, 0, "", func(f fixture, q *question) lists {
			other := namesake(f, q, func(c *x509.Certificate) { c.SubjectKeyId = q.issuing.Certificate.SubjectKeyId })
			return lists{f.crl(q.issuing, numbered(1, -1, revoking(q.chain[0]))), f.crl(other, numbered(99, 0, devpki.CRLOptions{}))}
		}},
		{"the serial number is on the list of another issuer", refuse, ReasonNone, 0, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, devpki.CRLOptions{}), f.crl(q.root, revoking(q.chain[0]))}
		}},
		{"a key usage without cRLSign", refuse, ReasonRevocationUnknown, 0, "lacks cRLSign", func(f fixture, q *question) lists {
			q.issuing = f.intermediate(q.root, "prod issuing", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{})
			return lists{f.crl(q.issuing, devpki.CRLOptions{})}
		}},
		{"no key usage", refuse, ReasonNone, 0, "", func(f fixture, q *question) lists {
			q.issuing = f.intermediate(q.root, "prod issuing", func(c *x509.Certificate) { c.KeyUsage = 0 })
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{})
			return lists{f.crl(q.issuing, devpki.CRLOptions{})}
		}},
		{"a CA that changes its key signs with the old one", refuse, ReasonRevoked, 0, "", func(f fixture, q *question) lists {
			old := q.issuing
			q.issuing = f.intermediate(old, "prod issuing", nil)
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{})
			return lists{f.crl(old, revoking(q.chain[0]))}
		}},
		{"a CA that changes its key and keeps the key identifier", refuse, ReasonRevoked, 0, "", func(f fixture, q *question) lists {
			old := q.issuing
			q.issuing = f.intermediate(old, "prod issuing", func(c *x509.Certificate) { c.SubjectKeyId = old.Certificate.SubjectKeyId })
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{})
			return lists{f.crl(old, revoking(q.chain[0]))}
		}},
		{"a CA further up that has another name", refuse, ReasonRevocationUnknown, 0, "another key", func(f fixture, q *question) lists {
			// It signs in the name of the issuing CA, which is not its own.
			impostor := *q.root
			certificate := *q.root.Certificate
			certificate.RawSubject = q.issuing.Certificate.RawSubject
			impostor.Certificate = &certificate
			return lists{f.crl(&impostor, revoking(q.chain[0]))}
		}},

		// Several lists of an issuer.
		{"the newest list revokes", refuse, ReasonRevoked, 0, "CRL 2 ", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, numbered(1, -2, devpki.CRLOptions{})), f.crl(q.issuing, numbered(2, -1, revoking(q.chain[0])))}
		}},
		{"the newest list has lifted a hold", refuse, ReasonNone, 0, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, numbered(1, -2, revoking(q.chain[0]))), f.crl(q.issuing, numbered(2, -1, devpki.CRLOptions{}))}
		}},
		{"the newest list is to come", refuse, ReasonRevoked, 0, "CRL 1 ", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, numbered(1, -2, revoking(q.chain[0]))), f.crl(q.issuing, numbered(2, 1, devpki.CRLOptions{}))}
		}},
		{"a CA that counts anew forgets nothing", refuse, ReasonRevoked, 0, "CRL 9 ", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, numbered(9, -2, revoking(q.chain[0]))), f.crl(q.issuing, numbered(1, -1, devpki.CRLOptions{}))}
		}},
		{"a CA that counts anew is heard", refuse, ReasonRevoked, 0, "CRL 1 ", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, numbered(9, -2, devpki.CRLOptions{})), f.crl(q.issuing, numbered(1, -1, revoking(q.chain[0])))}
		}},

		// Scopes.
		{"a list of leaves does not clear a CA", refuse, ReasonRevocationUnknown, 1, "of other certificates", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, devpki.CRLOptions{}), f.crl(q.root, devpki.CRLOptions{Edit: scopedTo("users")})}
		}},
		{"a list of leaves clears a leaf", refuse, ReasonNone, 0, "", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, devpki.CRLOptions{Edit: scopedTo("users")})}
		}},
		{"a shard that the leaf does not name", refuse, ReasonRevocationUnknown, 0, "of another distribution point", func(f fixture, q *question) lists {
			return lists{f.crl(q.issuing, devpki.CRLOptions{Edit: scopedTo("http://crl.example/1")})}
		}},
		// RUSTSEC-2026-0049: only a certificate's first distribution point was considered.
		{"the shard of the leaf's second distribution point revokes", refuse, ReasonRevoked, 0, "", func(f fixture, q *question) lists {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{Edit: func(c *x509.Certificate) {
				c.CRLDistributionPoints = []string{"http://crl.example/1", "http://crl.example/2"}
			}})
			shard := revoking(q.chain[0])
			shard.Edit = scopedTo("http://crl.example/2")
			return lists{f.crl(q.issuing, devpki.CRLOptions{Edit: scopedTo("http://crl.example/1")}), f.crl(q.issuing, shard)}
		}},
		{"a shard for some reasons only does not clear", refuse, ReasonRevocationUnknown, 0, "for some reasons only", func(f fixture, q *question) lists {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{Edit: pointForSomeReasons})
			return lists{f.crl(q.issuing, devpki.CRLOptions{Edit: scopedTo("http://crl")})}
		}},
		{"a shard for some reasons only revokes", refuse, ReasonRevoked, 0, "", func(f fixture, q *question) lists {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{Edit: pointForSomeReasons})
			shard := revoking(q.chain[0])
			shard.Edit = scopedTo("http://crl")
			return lists{f.crl(q.issuing, shard)}
		}},
		{"a shard in force beside a stale one that is younger", refuse, ReasonNone, 0, "", func(f fixture, q *question) lists {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{Edit: func(c *x509.Certificate) {
				c.CRLDistributionPoints = []string{"http://crl.example/1", "http://crl.example/2"}
			}})
			return lists{
				f.crl(q.issuing, devpki.CRLOptions{ThisUpdate: now.Add(-30 * time.Minute), NextUpdate: now.Add(-time.Minute), Edit: scopedTo("http://crl.example/1")}),
				f.crl(q.issuing, devpki.CRLOptions{Edit: scopedTo("http://crl.example/2")}),
			}
		}},
		{"a stale shard beside one in force", refuse, ReasonNone, 0, "", func(f fixture, q *question) lists {
			q.chain = f.leaf(q.issuing, devpki.LeafOptions{Edit: func(c *x509.Certificate) {
				c.CRLDistributionPoints = []string{"http://crl.example/1", "http://crl.example/2"}
			}})
			return lists{
				f.crl(q.issuing, ended(day, devpki.CRLOptions{Edit: scopedTo("http://crl.example/1")})),
				f.crl(q.issuing, devpki.CRLOptions{Edit: scopedTo("http://crl.example/2")}),
			}
		}},

		{"another path leads around a revoked CA", refuse, ReasonNone, 0, "", func(f fixture, q *question) lists {
			// The issuing CA is certified by both roots, and only one has revoked it.
			other := f.root("prod other root", nil)
			crossed := f.resign(other, q.issuing.Certificate, func(tbs *tbsCertificate) {
				tbs.Issuer = asn1.RawValue{FullBytes: other.Certificate.RawSubject}
				tbs.Serial = big.NewInt(77)
				tbs.Extensions = withoutAKI(tbs.Extensions)
			})
			q.chain = append(q.chain, crossed)
			q.bundle = f.bundle(prodOrigin, trust.BundleOptions{}, q.root, other)
			return lists{
				f.crl(q.issuing, devpki.CRLOptions{}),
				f.crl(q.root, revoking(q.issuing.Certificate)),
				f.crl(other, devpki.CRLOptions{}),
			}
		}},
		{"the pkix profile asks as well", refuse, ReasonRevoked, 0, "", func(f fixture, q *question) lists {
			q.verifier.Profile = ProfilePKIX
			return lists{f.crl(q.issuing, revoking(q.chain[0]))}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := fixture{t}
			q := f.accepted()
			crls := tt.crls(f, q)
			ofRoot := false
			for _, crl := range crls {
				ofRoot = ofRoot || strings.Contains(crl.Issuer(), " root")
			}
			if !ofRoot {
				crls = append(crls, f.crl(q.root, devpki.CRLOptions{}))
			}
			path, err := f.judged(q, tt.o, crls...)
			if ReasonOf(err) != tt.reason {
				t.Fatalf("Verify() = %v, want reason %v", err, tt.reason)
			}
			if err != nil {
				if got := err.(*Error); got.Depth != tt.depth || !strings.Contains(got.Error(), tt.says) {
					t.Errorf("Verify() = %v, want depth %d and %q", got, tt.depth, tt.says)
				}
				return
			}
			if reason, depth := CheckRevocation(path, q.bundle, q.now); reason != ReasonNone {
				t.Errorf("CheckRevocation() of the accepted path = %v, %d", reason, depth)
			}
		})
	}
}

// TestKeptPathIsLookedUpAgain publishes a list after the path was accepted: a new
// list that was fetched had no effect until a restart elsewhere
// (Gr33nbl00d/caddy-revocation-validator#26).
func TestKeptPathIsLookedUpAgain(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	ofRoot := f.crl(q.root, devpki.CRLOptions{})
	path, err := f.judged(q, trust.CRLOptions{}, ofRoot, f.crl(q.issuing, devpki.CRLOptions{}))
	f.must(err)
	with := func(o trust.CRLOptions, crls ...*trust.CRL) *trust.Bundle {
		options := q.bundle.Options()
		options.CRLs = f.crlSet(o, crls...)
		return f.bundle(prodOrigin, options)
	}
	none := q.bundle.Options()
	none.CRLs = nil
	tests := []struct {
		name   string
		bundle *trust.Bundle
		now    time.Time
		reason Reason
		depth  int
	}{
		{"the same lists", q.bundle, now, ReasonNone, 0},
		{"a list that revokes the leaf", with(trust.CRLOptions{}, ofRoot, f.crl(q.issuing, revoking(q.chain[0]))), now, ReasonRevoked, 0},
		{"a list that revokes the CA", with(trust.CRLOptions{}, f.crl(q.root, revoking(q.issuing.Certificate)), f.crl(q.issuing, devpki.CRLOptions{})), now, ReasonRevoked, 1},
		{"no list any more", with(trust.CRLOptions{}), now, ReasonRevocationUnknown, 0},
		{"nobody asks any more", f.bundle(prodOrigin, none), now, ReasonNone, 0},
		{"a day later", q.bundle, now.Add(day), ReasonRevocationStale, 0},
		{"before the lists", q.bundle, now.Add(-day), ReasonRevocationUnknown, 0},
	}
	for _, tt := range tests {
		if reason, depth := CheckRevocation(path, tt.bundle, tt.now); reason != tt.reason || depth != tt.depth {
			t.Errorf("%s: CheckRevocation() = %v, %d, want %v at depth %d", tt.name, reason, depth, tt.reason, tt.depth)
		}
	}
	for name, path := range map[string]*Path{"nil": nil, "zero": {}} {
		if reason, _ := CheckRevocation(path, q.bundle, now); reason != ReasonRevocationUnknown {
			t.Errorf("CheckRevocation(%s path) = %v, want %v", name, reason, ReasonRevocationUnknown)
		}
	}
	if reason, _ := CheckRevocation(path, nil, now); reason != ReasonRevocationUnknown {
		t.Errorf("CheckRevocation() with a nil bundle = %v, want %v", reason, ReasonRevocationUnknown)
	}
}

// TestCRLsOfEveryAlgorithm has CAs of each kind sign lists.
func TestCRLsOfEveryAlgorithm(t *testing.T) {
	t.Parallel()
	for _, kind := range []devpki.KeyType{devpki.P256, devpki.P384, devpki.RSA2048, devpki.Ed25519, devpki.Ed448, devpki.MLDSA44, devpki.MLDSA65, devpki.MLDSA87} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			f := fixture{t}
			root, err := devpki.NewRoot(devpki.CAOptions{Name: "prod root", Key: kind, NotBefore: dayBefore, NotAfter: dayAfter})
			f.must(err)
			other, err := devpki.NewRoot(devpki.CAOptions{Name: "prod root", Key: kind, NotBefore: dayBefore, NotAfter: dayAfter,
				Edit: func(c *x509.Certificate) { c.SubjectKeyId = root.Certificate.SubjectKeyId }})
			f.must(err)
			q := &question{root: root, chain: f.leaf(root, devpki.LeafOptions{}), bundle: f.bundle(prodOrigin, trust.BundleOptions{}, root), role: RoleClient, now: now}
			if _, err := f.judged(q, trust.CRLOptions{}, f.crl(root, devpki.CRLOptions{})); err != nil {
				t.Errorf("Verify() = %v with a list that clears the leaf", err)
			}
			if _, err := f.judged(q, trust.CRLOptions{}, f.crl(root, revoking(q.chain[0]))); ReasonOf(err) != ReasonRevoked {
				t.Errorf("Verify() = %v with a list that revokes the leaf", err)
			}
			if _, err := f.judged(q, trust.CRLOptions{}, f.crl(other, devpki.CRLOptions{})); ReasonOf(err) != ReasonRevocationUnknown {
				t.Errorf("Verify() = %v with a list that another key signed", err)
			}
		})
	}
}

// TestCRLSignatureOfAnotherKind takes a list by a key of one kind to an issuer of
// the same name with a key of another.
func TestCRLSignatureOfAnotherKind(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	q.chain = f.leaf(q.root, devpki.LeafOptions{})
	for _, kind := range []devpki.KeyType{devpki.P384, devpki.RSA2048, devpki.Ed25519, devpki.MLDSA65} {
		other, err := devpki.NewRoot(devpki.CAOptions{Name: "prod root", Key: kind, NotBefore: dayBefore, NotAfter: dayAfter,
			Edit: func(c *x509.Certificate) { c.SubjectKeyId = q.root.Certificate.SubjectKeyId }})
		f.must(err)
		if _, err := f.judged(q, trust.CRLOptions{}, f.crl(other, devpki.CRLOptions{})); ReasonOf(err) != ReasonRevocationUnknown {
			t.Errorf("%s: Verify() = %v, want %v", kind, err, ReasonRevocationUnknown)
		}
	}
}

func TestExplainRevocation(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	path, err := q.ask()
	f.must(err)
	if got := ExplainRevocation(path, q.bundle, now); got != nil {
		t.Errorf("ExplainRevocation() = %v without CRLs, want nil", got)
	}
	older, newer := devpki.CRLOptions{Number: big.NewInt(1), ThisUpdate: now.Add(-2 * time.Hour)}, revoking(q.chain[0])
	newer.Number = big.NewInt(2)
	options := q.bundle.Options()
	options.CRLs = f.crlSet(trust.CRLOptions{},
		f.crl(q.root, devpki.CRLOptions{}),
		f.crl(q.issuing, older), f.crl(q.issuing, newer),
		f.crl(f.intermediate(q.root, "prod issuing", nil), devpki.CRLOptions{}),
		f.crl(q.issuing, devpki.CRLOptions{Edit: scopedTo("http://crl.example/1")}))
	explained := ExplainRevocation(path, f.bundle(prodOrigin, options), now)
	if len(explained) != 2 {
		t.Fatalf("ExplainRevocation() = %d certificates, want leaf and issuing CA", len(explained))
	}
	leaf, ca := explained[0], explained[1]
	if leaf.Fault == nil || leaf.Fault.Reason != ReasonRevoked || leaf.Subject != subjectOf(q.chain[0]) {
		t.Errorf("the leaf: %+v, want it revoked", leaf)
	}
	var said []string
	for _, c := range leaf.CRLs {
		said = append(said, fmt.Sprintf("%v %s", c.Counts, c.Says))
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{"true lists it as revoked on ", "false is superseded", "false is signed by another key", "false is of other certificates"} {
		if strings.Count(all, want) != 1 {
			t.Errorf("the lists say:\n%s\nwant %q once", all, want)
		}
	}
	if ca.Fault != nil || ca.Depth != 1 || ca.Subject != subjectOf(q.issuing.Certificate) || len(ca.CRLs) != 1 || !ca.CRLs[0].Counts || ca.CRLs[0].Says != "does not list it" {
		t.Errorf("the issuing CA: %+v, want it cleared by one list", ca)
	}
}

// TestUnknownStatusSaysWhy keeps the explanation short, however many lists there are.
func TestUnknownStatusSaysWhy(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	crls := []*trust.CRL{f.crl(q.root, devpki.CRLOptions{})}
	for i := range 9 {
		crls = append(crls, f.crl(q.issuing, devpki.CRLOptions{Edit: scopedTo(fmt.Sprintf("http://crl.example/%d", i))}))
	}
	_, err := f.judged(q, trust.CRLOptions{}, crls...)
	if got := fmt.Sprint(err); !strings.Contains(got, "and 6 more") || strings.Count(got, "of another distribution point") != 3 {
		t.Errorf("Verify() = %v, want three lists and how many are left", err)
	}
	if got := fmt.Sprint(err); !strings.Contains(got, "signed by the key of "+issuerOf(q.chain[0])+" that covers "+subjectOf(q.chain[0])) {
		t.Errorf("Verify() = %v, want that it is about the leaf", err)
	}
}

func TestRevocationIsTraced(t *testing.T) {
	t.Parallel()
	f := fixture{t}
	q := f.accepted()
	var steps []string
	q.verifier.Trace = func(s Step) {
		if s.Name == "revocation" {
			steps = append(steps, fmt.Sprint(s.OK, s.Depth))
		}
	}
	_, err := f.judged(q, trust.CRLOptions{}, f.crl(q.root, devpki.CRLOptions{}), f.crl(q.issuing, devpki.CRLOptions{}))
	f.must(err)
	_, err = f.judged(q, trust.CRLOptions{}, f.crl(q.root, revoking(q.issuing.Certificate)), f.crl(q.issuing, devpki.CRLOptions{}))
	if got := strings.Join(steps, " "); ReasonOf(err) != ReasonRevoked || got != "true 0 false 1" {
		t.Errorf("the steps are %q, want a status that is good and one that is not, of the CA", got)
	}
}

// known is a path of three whose lists have been asked before.
func (f fixture) known() (*Path, *trust.Bundle) {
	f.Helper()
	q := f.accepted()
	others := devpki.CRLOptions{}
	for i := range 1000 {
		others.Revoked = append(others.Revoked, new(big.Int).Lsh(big.NewInt(int64(i)+1), 80))
	}
	path, err := f.judged(q, trust.CRLOptions{}, f.crl(q.root, others), f.crl(q.issuing, others))
	f.must(err)
	return path, q.bundle
}

// Nor does it for whoever was revoked: it goes on being asked about them.
func TestCheckRevocationDoesNotAllocate(t *testing.T) { // not parallel: it counts allocations
	f := fixture{t}
	path, bundle := f.known()
	q := f.accepted()
	revoked, err := q.ask()
	f.must(err)
	options := q.bundle.Options()
	options.CRLs = f.crlSet(trust.CRLOptions{}, f.crl(q.root, devpki.CRLOptions{}), f.crl(q.issuing, revoking(q.chain[0])))
	for _, tt := range []struct {
		path   *Path
		bundle *trust.Bundle
		reason Reason
	}{
		{path, bundle, ReasonNone},
		{revoked, f.bundle(prodOrigin, options), ReasonRevoked},
	} {
		if n := testing.AllocsPerRun(100, func() {
			if reason, _ := CheckRevocation(tt.path, tt.bundle, now); reason != tt.reason {
				t.Fatalf("CheckRevocation() = %v, want %v", reason, tt.reason)
			}
		}); n != 0 && !race.Enabled {
			t.Errorf("CheckRevocation allocates %v times to say %v, want 0", n, tt.reason)
		}
	}
}

// BenchmarkCheckRevocation is what a cache hit pays for CRLs, with three
// certificates.
func BenchmarkCheckRevocation(b *testing.B) {
	path, bundle := fixture{b}.known()
	b.ReportAllocs()
	for b.Loop() {
		if reason, _ := CheckRevocation(path, bundle, now); reason != ReasonNone {
			b.Fatal(reason)
		}
	}
}

// BenchmarkCheckRevocationShards is the same with a hundred shards of each issuer.
func BenchmarkCheckRevocationShards(b *testing.B) {
	f := fixture{b}
	q := f.accepted()
	const own = "http://crl.example/50"
	q.chain = f.leaf(q.issuing, devpki.LeafOptions{Edit: func(c *x509.Certificate) { c.CRLDistributionPoints = []string{own} }})
	var crls []*trust.CRL
	for i := range 100 {
		crls = append(crls, f.crl(q.issuing, devpki.CRLOptions{Edit: scopedTo(fmt.Sprintf("http://crl.example/%d", i))}))
	}
	path, err := f.judged(q, trust.CRLOptions{LeafOnly: true}, crls...)
	f.must(err)
	b.ReportAllocs()
	for b.Loop() {
		if reason, _ := CheckRevocation(path, q.bundle, now); reason != ReasonNone {
			b.Fatal(reason)
		}
	}
}
