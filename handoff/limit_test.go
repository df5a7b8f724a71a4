package handoff

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"verigate/assurance"
	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

func grade(mial assurance.MIAL, maal ...uint8) assurance.Grade {
	g := assurance.Grade{MIAL: mial}
	copy(g.MAAL[:], maal)
	return g
}

// conveyed returns what X-Workload-Assurance says.
func conveyed(t *testing.T, h *Handoff, c Caller, now time.Time) string {
	t.Helper()
	header := request(t)
	followed(header, h.Append(nil, c, now))
	return string(header.Peek("X-Workload-Assurance"))
}

// ASR-08: what a backend is told is the least of caller, gateway and hop.
func TestTheLeastOfThreeGradesIsConveyed(t *testing.T) {
	t.Parallel()
	c := callerOf(t, checkout)
	full := grade(4, 4, 4, 4, 4, 4, 4, 4, 4)
	tests := []struct {
		claim       string
		caller, own assurance.Grade
		hop         Hop
		want        string
	}{
		{"the caller's, if nothing is lower", grade(3, 1, 2, 3, 4), full, Mutual, "mial=3, maal=(1 2 3 4 0 0 0 0)"},
		{"the gateway's, if it is lower", grade(3, 1, 2, 3, 4), grade(1), Mutual, "mial=1, maal=(0 0 0 0 0 0 0 0)"},
		{"the lower one of each characteristic", grade(3, 1, 4, 3, 4), grade(2, 4, 1, 3, 2, 4), Mutual, "mial=2, maal=(1 1 3 2 0 0 0 0)"},
		{"a caller at MIAL-0 stays there", grade(0), full, Mutual, "mial=0, maal=(0 0 0 0 0 0 0 0)"},
		{"a gateway that is refused at home vouches for nobody", full, grade(0), Mutual, "mial=0, maal=(0 0 0 0 0 0 0 0)"},
		{"plaintext on one machine is MIAL-1", full, full, Local, "mial=1, maal=(0 0 0 0 0 0 0 0)"},
		{"plaintext across a network is MIAL-0", full, full, Open, "mial=0, maal=(0 0 0 0 0 0 0 0)"},
		{"an unknown hop is as bad", full, full, Hop(200), "mial=0, maal=(0 0 0 0 0 0 0 0)"},
		{"mutual TLS takes nothing away", full, full, Mutual, "mial=4, maal=(4 4 4 4 4 4 4 4)"},
		{"nor does a hop that the operator vouches for", full, full, Trusted, "mial=4, maal=(4 4 4 4 4 4 4 4)"},
		{"a good hop does not raise a gateway", full, grade(1), Trusted, "mial=1, maal=(0 0 0 0 0 0 0 0)"},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			h := New(Workload, identity(t, edge), func(time.Time) assurance.Grade { return tt.own }, tt.hop.Grade)
			c := Caller{Path: c.Path, Grade: tt.caller}
			if got, want := conveyed(t, h, c, time.Now()), tt.want+`;profile="maal-local/1"`; got != want {
				t.Errorf("X-Workload-Assurance is %q, want %q", got, want)
			}
		})
	}
}

// The gateway's own grade changes while connections live.
func TestConveyedGradeFollowsTheLimit(t *testing.T) {
	t.Parallel()
	c, own := callerOf(t, checkout), grade(4)
	c.Grade = grade(3)
	h := New(Workload, identity(t, edge), func(time.Time) assurance.Grade { return own })
	for _, step := range []struct {
		own  assurance.MIAL
		want string
	}{{4, "mial=3,"}, {1, "mial=1,"}, {0, "mial=0,"}, {2, "mial=2,"}} {
		own.MIAL = step.own
		if got := conveyed(t, h, c, time.Now()); !strings.HasPrefix(got, step.want) {
			t.Errorf("with a gateway at %v X-Workload-Assurance is %q, want %s…", step.own, got, step.want)
		}
	}
}

func TestHopTo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		claim     string
		plaintext bool
		endpoints []string
		want      Hop
	}{
		{"TLS is mutual, wherever it goes", false, []string{"10.1.0.5:8443", "127.0.0.1:8443"}, Mutual},
		{"loopback", true, []string{"127.0.0.1:8080", "127.8.9.10:8080", "[::1]:8080"}, Local},
		{"loopback in IPv6 form", true, []string{"[::ffff:127.0.0.1]:8080"}, Local},
		{"a unix socket", true, []string{"unix:/run/api.sock"}, Local},
		{"one endpoint on the network is enough", true, []string{"127.0.0.1:8080", "10.1.0.5:8080"}, Open},
		{"localhost is a name, and names can be given other addresses", true, []string{"localhost:8080"}, Open},
		{"the unspecified address is not loopback", true, []string{"0.0.0.0:8080"}, Open},
		{"what is no endpoint", true, []string{"127.0.0.1"}, Open},
	}
	for _, tt := range tests {
		if got := HopTo(tt.plaintext, tt.endpoints...); got != tt.want {
			t.Errorf("%s: HopTo(%v, %q) = %v, want %v", tt.claim, tt.plaintext, tt.endpoints, got, tt.want)
		}
	}
}

func TestHopNames(t *testing.T) {
	t.Parallel()
	for h, want := range map[Hop]string{Open: "open", Local: "local", Mutual: "mutual", Trusted: "trusted", 9: "handoff.Hop(9)"} {
		if got := h.String(); got != want {
			t.Errorf("Hop(%d).String() = %q, want %q", uint8(h), got, want)
		}
	}
}

// credentialSource holds what a test put there last.
type credentialSource struct{ held *trust.Credential }

func (s *credentialSource) Credential() *trust.Credential { return s.held }

// gatewayWorld is a trust domain that the gateway belongs to.
type gatewayWorld struct {
	t             *testing.T
	root, issuing *devpki.CA
	source        *credentialSource
	store         *trust.Store
	now           time.Time
	own           *Own
}

func newGatewayWorld(t *testing.T) *gatewayWorld {
	t.Helper()
	w := &gatewayWorld{t: t, source: new(credentialSource), store: new(trust.Store), now: time.Now()}
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "root"})
	w.check(err)
	w.issuing, err = root.NewIntermediate(devpki.CAOptions{Name: "issuing"})
	w.check(err)
	w.root = root
	w.own = NewOwn(w.source, w.store)
	return w
}

func (w *gatewayWorld) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// hold gives the gateway a certificate.
func (w *gatewayWorld) hold(o devpki.LeafOptions) {
	w.t.Helper()
	leaf, err := w.issuing.Issue(o)
	w.check(err)
	key, err := devpki.KeyPEM(leaf.Key)
	w.check(err)
	w.source.held, err = trust.ParseCredential("edge.pem", devpki.CertificatesPEM(leaf.Chain...), "edge.key", key, w.now)
	w.check(err)
}

// trust publishes the gateway's trust domain with statements about it.
func (w *gatewayWorld) trust(o assurance.Options, deny *trust.DenyList) {
	w.t.Helper()
	profile, err := assurance.Compile(o)
	w.check(err)
	bundle, err := trust.NewBundle(identity(w.t, edge).Origin(), trust.BundleOptions{
		Anchors: []*x509.Certificate{w.root.Certificate}, Assurance: profile,
	})
	w.check(err)
	snapshot, err := trust.NewSnapshot([]*trust.Bundle{bundle}, deny)
	w.check(err)
	w.store.Publish(snapshot)
}

func TestOwnGrade(t *testing.T) {
	t.Parallel()
	stated := assurance.Options{Statements: []assurance.Statement{{MIAL: 3, MAAL: assurance.MAAL{2, 2}}}}
	both := devpki.LeafOptions{URIs: []string{edge}}
	only := func(usage x509.ExtKeyUsage) devpki.LeafOptions {
		return devpki.LeafOptions{URIs: []string{edge}, Edit: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{usage} }}
	}
	tests := []struct {
		claim string
		set   func(w *gatewayWorld)
		want  assurance.Grade
	}{
		{"whoever graded the issuer graded the gateway", func(w *gatewayWorld) { w.hold(both); w.trust(stated, nil) }, grade(3, 2, 2)},
		{"a certificate alone is MIAL-1", func(w *gatewayWorld) { w.hold(both); w.trust(assurance.Options{}, nil) }, grade(1)},
		{"nothing is stated about a gateway of another trust domain", func(w *gatewayWorld) {
			w.hold(devpki.LeafOptions{URIs: []string{"spiffe://edge.example/gateway"}})
			w.trust(stated, nil)
		}, grade(1)},
		{"nor about one without an identity", func(w *gatewayWorld) {
			w.hold(devpki.LeafOptions{DNS: []string{"edge.example"}})
			w.trust(stated, nil)
		}, grade(1)},
		{"a certificate for servers only is graded as well", func(w *gatewayWorld) { w.hold(only(x509.ExtKeyUsageServerAuth)); w.trust(stated, nil) }, grade(3, 2, 2)},
		{"and so is one for clients only", func(w *gatewayWorld) { w.hold(only(x509.ExtKeyUsageClientAuth)); w.trust(stated, nil) }, grade(3, 2, 2)},
		{"a gateway whose certificate has ended vouches for nobody", func(w *gatewayWorld) {
			w.hold(both)
			w.trust(stated, nil)
			w.now = w.now.Add(48 * time.Hour)
		}, grade(0)},
		{"nor does one whose trust domain has other anchors", func(w *gatewayWorld) {
			w.hold(both)
			other, err := devpki.NewRoot(devpki.CAOptions{Name: "other"})
			w.check(err)
			w.root = other
			w.trust(stated, nil)
		}, grade(0)},
		{"nor one that is denied", func(w *gatewayWorld) {
			w.hold(both)
			denied, err := workloadid.ParsePattern(edge)
			w.check(err)
			w.trust(stated, trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{denied}}))
		}, grade(0)},
		{"observation lowers a gateway too", func(w *gatewayWorld) {
			w.hold(both)
			w.trust(assurance.Options{Statements: stated.Statements, MaxLifetime: time.Minute}, nil)
		}, grade(1, 2, 2)},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			w := newGatewayWorld(t)
			tt.set(w)
			for range 2 { // found out, and remembered
				if got := w.own.Grade(w.now); got != tt.want {
					t.Errorf("Grade() = %+v, want %+v", got, tt.want)
				}
			}
		})
	}
}

// What was found out holds until the credential, the trust or the time says
// otherwise.
func TestOwnGradeFollowsChanges(t *testing.T) {
	t.Parallel()
	w := newGatewayWorld(t)
	w.hold(devpki.LeafOptions{URIs: []string{edge}})
	w.trust(assurance.Options{Statements: []assurance.Statement{{MIAL: 3}}, MaxAge: time.Hour}, nil)
	start := w.now
	for _, step := range []struct {
		claim  string
		change func()
		want   assurance.MIAL
	}{
		{"at first", func() {}, 3},
		{"the statement changes", func() {
			w.trust(assurance.Options{Statements: []assurance.Statement{{MIAL: 2}}, MaxAge: time.Hour}, nil)
		}, 2},
		{"the certificate gets old", func() { w.now = start.Add(2 * time.Hour) }, 1},
		{"it is renewed", func() {
			w.hold(devpki.LeafOptions{URIs: []string{edge}, NotBefore: w.now.Add(-time.Minute), NotAfter: start.Add(20 * time.Hour)})
		}, 2},
		{"it ends", func() { w.now = start.Add(21 * time.Hour) }, 0},
		{"the clock is set right", func() { w.now = start.Add(2 * time.Hour) }, 2},
		{"trust is withdrawn", func() { w.store.Publish(nil) }, 1},
		{"there is no credential any more", func() { w.source.held = nil }, 0},
	} {
		step.change()
		if got := w.own.Grade(w.now).MIAL; got != step.want {
			t.Errorf("%s: Grade() is %v, want %v", step.claim, got, step.want)
		}
	}
}

// A request that read the clock before a new certificate was valid, and is overtaken, gets
// its own answer and leaves that of the others, which it would replace for a minute.
func TestOwnGradeOutlivesStragglers(t *testing.T) {
	t.Parallel()
	w := newGatewayWorld(t)
	start := w.now.Truncate(time.Second)
	w.hold(devpki.LeafOptions{URIs: []string{edge}, NotBefore: start, NotAfter: start.Add(time.Hour)})
	w.trust(assurance.Options{Statements: []assurance.Statement{{MIAL: 3}}}, nil)
	for i, step := range []struct {
		now  time.Time
		want assurance.MIAL
	}{{start, 3}, {start.Add(-1), 0}, {start, 3}} {
		if got := w.own.Grade(step.now).MIAL; got != step.want {
			t.Errorf("request %d: Grade() is %v, want %v", i, got, step.want)
		}
		if k := w.own.known.Load(); k == nil || k.from != start {
			t.Errorf("request %d: what is kept is %+v, want the answer of the first", i, k)
		}
	}
}

// A CRL revokes the gateway as early as it revokes its peers: as clocks may differ
// (PKIX-13).
func TestOwnGradeFollowsCRLsAsEarlyAsClocksMayDiffer(t *testing.T) {
	t.Parallel()
	w := newGatewayWorld(t)
	w.hold(devpki.LeafOptions{URIs: []string{edge}})
	start := w.now.Truncate(time.Second)
	list := func(ca *devpki.CA, o devpki.CRLOptions) *trust.CRL {
		der, err := ca.MakeCRL(o)
		w.check(err)
		crls, err := trust.ParseCRLs("test.crl", der)
		w.check(err)
		return crls[0]
	}
	leaf, err := x509.ParseCertificate(w.source.held.TLS().Certificate[0])
	w.check(err)
	next := start.Add(time.Hour)
	set, err := trust.NewCRLSet([]*trust.CRL{
		list(w.issuing, devpki.CRLOptions{Number: big.NewInt(1), ThisUpdate: start, NextUpdate: start.Add(4 * time.Hour)}),
		list(w.issuing, devpki.CRLOptions{Number: big.NewInt(2), ThisUpdate: next, NextUpdate: start.Add(4 * time.Hour), Revoked: []*big.Int{leaf.SerialNumber}}),
	}, trust.CRLOptions{LeafOnly: true})
	w.check(err)
	const skew = 10 * time.Minute
	bundle, err := trust.NewBundle(identity(t, edge).Origin(), trust.BundleOptions{
		Anchors: []*x509.Certificate{w.root.Certificate}, CRLs: set, NotBeforeSkew: skew,
	})
	w.check(err)
	snapshot, err := trust.NewSnapshot([]*trust.Bundle{bundle}, nil)
	w.check(err)
	w.store.Publish(snapshot)
	for _, step := range []struct {
		now  time.Time
		want assurance.MIAL
	}{{start, 1}, {next.Add(-skew - 1), 1}, {next.Add(-skew), 0}} {
		w.now = step.now
		if got := w.own.Grade(w.now).MIAL; got != step.want {
			t.Errorf("%v before the CRL: Grade() is %v, want %v", next.Sub(step.now), got, step.want)
		}
	}
}

func BenchmarkOwnGrade(b *testing.B) {
	root, err := devpki.NewRoot(devpki.CAOptions{})
	if err != nil {
		b.Fatal(err)
	}
	leaf, err := root.Issue(devpki.LeafOptions{URIs: []string{edge}})
	if err != nil {
		b.Fatal(err)
	}
	key, err := devpki.KeyPEM(leaf.Key)
	if err != nil {
		b.Fatal(err)
	}
	credential, err := trust.ParseCredential("edge.pem", devpki.CertificatesPEM(leaf.Chain...), "edge.key", key, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	own := NewOwn(&credentialSource{credential}, new(trust.Store))
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if g := own.Grade(now); g.MIAL != assurance.MIAL1 {
			b.Fatal(fmt.Sprint(g))
		}
	}
}

// What is conveyed is limited by the time that Append is given.
func TestLimitIsAskedWithTheTimeOfAppend(t *testing.T) {
	t.Parallel()
	c, end := callerOf(t, checkout), time.Unix(1e9, 0)
	c.Grade = grade(3)
	h := New(Workload, identity(t, edge), func(now time.Time) assurance.Grade {
		if now.Before(end) {
			return grade(2)
		}
		return grade(0)
	})
	for _, step := range []struct {
		now  time.Time
		want string
	}{{end.Add(-1), "mial=2,"}, {end, "mial=0,"}, {end.Add(-1), "mial=2,"}} {
		if got := conveyed(t, h, c, step.now); !strings.HasPrefix(got, step.want) {
			t.Errorf("%v before the end: X-Workload-Assurance is %q, want %s…", end.Sub(step.now), got, step.want)
		}
	}
}
