package telemetry

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/trust"
)

// crlSpec is one CRL of a test: its issuer, when it runs, how many it revokes.
type crlSpec struct {
	ca         *devpki.CA
	this, next time.Duration // from noon
	revoked    int
}

func crlsOf(t *testing.T, specs ...crlSpec) *trust.CRLSet {
	t.Helper()
	var all []*trust.CRL
	for i, s := range specs {
		o := devpki.CRLOptions{ThisUpdate: noon.Add(s.this), NextUpdate: noon.Add(s.next)}
		for n := range s.revoked {
			o.Revoked = append(o.Revoked, big.NewInt(int64(n+1)))
		}
		crls := must(trust.ParseCRLs(fmt.Sprint(i), must(s.ca.MakeCRL(o))(t)))(t)
		all = append(all, crls...)
	}
	return must(trust.NewCRLSet(all, trust.CRLOptions{}))(t)
}

func TestRevocationOf(t *testing.T) {
	t.Parallel()
	root := must(devpki.NewRoot(devpki.CAOptions{Name: "root", NotBefore: noon.Add(-48 * time.Hour), NotAfter: noon.Add(48 * time.Hour)}))(t)
	issuing := must(root.NewIntermediate(devpki.CAOptions{Name: "issuing", NotBefore: noon.Add(-48 * time.Hour), NotAfter: noon.Add(48 * time.Hour)}))(t)
	at := func(d time.Duration) time.Time { return noon.Add(d).Truncate(time.Second) }
	tests := []struct {
		claim string
		crls  *trust.CRLSet
		want  []RevocationState
	}{
		{"where nobody asks there is no state", nil, nil},
		{"a set without a CRL has one", crlsOf(t), []RevocationState{{}}},
		{"CRLs of two issuers are added up, and the first next update counts", crlsOf(t,
			crlSpec{root, -time.Hour, 20 * time.Hour, 2}, crlSpec{issuing, -time.Hour, 3 * time.Hour, 5}),
			[]RevocationState{{ThisUpdate: at(-time.Hour), NextUpdate: at(3 * time.Hour), CRLs: 2, Entries: 7}}},
		{"past its next update it is stale", crlsOf(t,
			crlSpec{root, -time.Hour, 20 * time.Hour, 0}, crlSpec{issuing, -2 * time.Hour, -time.Hour, 5}),
			[]RevocationState{{ThisUpdate: at(-2 * time.Hour), NextUpdate: at(-time.Hour), CRLs: 2, Stale: 1, Entries: 5}}},
		{"an older one of the same issuer does not count", crlsOf(t,
			crlSpec{issuing, -3 * time.Hour, -time.Hour, 3}, crlSpec{issuing, -time.Hour, time.Hour, 5}),
			[]RevocationState{{ThisUpdate: at(-time.Hour), NextUpdate: at(time.Hour), CRLs: 1, Entries: 5}}},
		{"nor does one of the future, as long as there is another", crlsOf(t,
			crlSpec{issuing, -time.Hour, time.Hour, 5}, crlSpec{issuing, time.Hour, 9 * time.Hour, 9}),
			[]RevocationState{{ThisUpdate: at(-time.Hour), NextUpdate: at(time.Hour), CRLs: 1, Entries: 5}}},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			prod := origins(t, "spiffe://prod.example")[0]
			bundle := must(trust.NewBundle(prod, trust.BundleOptions{Anchors: []*x509.Certificate{root.Certificate}, CRLs: tt.crls}))(t)
			snapshot := must(trust.NewSnapshot([]*trust.Bundle{bundle}, nil))(t)
			for i := range tt.want {
				tt.want[i].Origin = prod
			}
			if got := RevocationOf(snapshot, noon); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("RevocationOf() = %+v, want %+v", got, tt.want)
			}
		})
	}
}
