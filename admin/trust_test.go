package admin

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestTrustOfShowsRevocationAndShadow(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	root, other := must(devpki.NewRoot(devpki.CAOptions{Name: "prod root"}))(t), must(devpki.NewRoot(devpki.CAOptions{Name: "next root"}))(t)
	partner := must(devpki.NewRoot(devpki.CAOptions{Name: "partner root"}))(t)
	stale := must(root.MakeCRL(devpki.CRLOptions{
		ThisUpdate: now.Add(-2 * time.Hour), NextUpdate: now.Add(-time.Hour), Number: big.NewInt(7), Revoked: []*big.Int{big.NewInt(1), big.NewInt(2)},
	}))(t)
	crls := must(trust.NewCRLSet(must(trust.ParseCRLs("prod.crl", stale))(t), trust.CRLOptions{WhenStale: trust.StaleGrace, Grace: 90 * time.Minute, LeafOnly: true}))(t)
	bundle := func(origin string, o trust.BundleOptions) *trust.Bundle {
		return must(trust.NewBundle(must(workloadid.ParseOrigin(origin))(t), o))(t)
	}
	shadow := bundle("spiffe://prod.example", trust.BundleOptions{Anchors: []*x509.Certificate{other.Certificate}})
	snapshot := must(trust.NewSnapshot([]*trust.Bundle{
		bundle("spiffe://prod.example", trust.BundleOptions{Anchors: []*x509.Certificate{root.Certificate}, CRLs: crls, Shadow: shadow}),
		bundle("spiffe://partner.example", trust.BundleOptions{Anchors: []*x509.Certificate{partner.Certificate}}),
	}, nil))(t)

	got := TrustOf(snapshot, now)
	if len(got.Bundles) != 2 || got.Bundles[0].Revocation != nil || got.Bundles[0].Shadow != nil {
		t.Fatalf("TrustOf() = %+v, want two bundles, the first of which (partner) has neither CRLs nor a shadow", got)
	}
	prod := got.Bundles[1]
	want := RevocationStatus{
		WhenStale: "grace", GraceSeconds: 5400, Check: "leaf", Digest: crls.Digest().String(), Entries: 2, Stale: 1,
		CRLs: []CRLStatus{{
			File: "prod.crl", Signature: "unverified", Issuer: "CN=prod root", Number: "7", ThisUpdate: now.Add(-2 * time.Hour), NextUpdate: now.Add(-time.Hour),
			SecondsLeft: -3600, Stale: true, Freshness: "stale, tolerated", Entries: 2,
		}},
	}
	if prod.Revocation == nil || fmt.Sprint(*prod.Revocation) != fmt.Sprint(want) {
		t.Errorf("the CRLs of prod are %+v, want %+v", prod.Revocation, want)
	}
	if prod.Shadow == nil || prod.Shadow.Digest != shadow.Digest().String() || len(prod.Shadow.Anchors) != 1 || prod.Shadow.Anchors[0].Subject != "CN=next root" {
		t.Errorf("the shadow of prod is %+v, want the anchor next root", prod.Shadow)
	}
}

func TestStalePoliciesAreSpelledAsInConfiguration(t *testing.T) {
	t.Parallel()
	for policy, want := range map[trust.StalePolicy]string{
		trust.StaleRefuse: "refuse", trust.StaleGrace: "grace", trust.StaleAccept: "accept-and-alarm", 200: "unknown",
	} {
		if got := whenStale(policy); got != want {
			t.Errorf("whenStale(%d) = %q, want %q", policy, got, want)
		}
	}
}
