package verifycache

import (
	"crypto/x509"
	"testing"
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
)

// REV-06, CACHE-03: an acceptance says until when it holds, the same from the cache
// as afresh, and MaxAge is no part of it.
func TestUntilIsWhenTimeChangesTheAnswer(t *testing.T) {
	t.Parallel()
	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	for _, tt := range []struct {
		claim string
		edit  func(t *testing.T, w *world, now time.Time, leaf *devpki.LeafOptions, o *trust.BundleOptions) (extra []*x509.Certificate)
		want  time.Duration
	}{
		{"the leaf ends first", func(_ *testing.T, _ *world, now time.Time, leaf *devpki.LeafOptions, _ *trust.BundleOptions) []*x509.Certificate {
			leaf.NotAfter = now.Add(minutes(30))
			return nil
		}, minutes(30)},
		{"another certificate begins", func(t *testing.T, w *world, now time.Time, _ *devpki.LeafOptions, _ *trust.BundleOptions) []*x509.Certificate {
			return []*x509.Certificate{crossSigned(t, w.issuing, w.root, now.Add(minutes(20)))}
		}, minutes(20)},
		{"another anchor ends", func(t *testing.T, _ *world, now time.Time, _ *devpki.LeafOptions, o *trust.BundleOptions) []*x509.Certificate {
			root, err := devpki.NewRoot(devpki.CAOptions{NotAfter: now.Add(minutes(25))})
			must(t, err)
			o.Anchors = append(o.Anchors, root.Certificate)
			return nil
		}, minutes(25)},
		{"a CRL ends", func(t *testing.T, w *world, _ time.Time, _ *devpki.LeafOptions, o *trust.BundleOptions) []*x509.Certificate {
			o.CRLs = w.crls(t, trust.CRLOptions{})
			return nil
		}, minutes(60) + 1},
		{"a CRL's grace ends", func(t *testing.T, w *world, _ time.Time, _ *devpki.LeafOptions, o *trust.BundleOptions) []*x509.Certificate {
			o.CRLs = w.crls(t, trust.CRLOptions{WhenStale: trust.StaleGrace, Grace: minutes(5)})
			return nil
		}, minutes(65) + 1},
		{"a newer CRL begins, as early as clocks may differ", func(t *testing.T, w *world, now time.Time, _ *devpki.LeafOptions, o *trust.BundleOptions) []*x509.Certificate {
			o.NotBeforeSkew = minutes(10)
			newer := listing{issuer: w.issuing, from: now.Add(minutes(30)), until: now.Add(minutes(90))}.sign(t)
			var err error
			o.CRLs, err = trust.NewCRLSet(append(w.crls(t, trust.CRLOptions{}).CRLs(), newer), trust.CRLOptions{})
			must(t, err)
			return nil
		}, minutes(20)},
		{"the grade falls", func(t *testing.T, _ *world, now time.Time, _ *devpki.LeafOptions, o *trust.BundleOptions) []*x509.Certificate {
			o.Assurance = aging(t, minutes(15)+devpki.Backdate)
			return nil
		}, minutes(15)},
		{"the leaf ends before the CRL and the grade", func(t *testing.T, w *world, now time.Time, leaf *devpki.LeafOptions, o *trust.BundleOptions) []*x509.Certificate {
			leaf.NotAfter = now.Add(minutes(10))
			o.CRLs, o.Assurance = w.crls(t, trust.CRLOptions{}), aging(t, minutes(15)+devpki.Backdate)
			return nil
		}, minutes(10)},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{MaxAge: minutes(5)})
			now := w.clock.Now()
			leaf := devpki.LeafOptions{URIs: []string{prod + "/a"}, NotBefore: now.Add(-devpki.Backdate)}
			var extra []*x509.Certificate
			w.trusting(t, func(o *trust.BundleOptions) { extra = tt.edit(t, w, now, &leaf, o) })
			chain := append(issue(t, w.issuing, leaf), extra...)

			plain := open(t, Options{Disabled: true, Now: w.clock.Now})
			for _, v := range []Verdict{w.prove(t, chain), w.want(t, chain, Hit, certpath.ReasonNone), plain.Verify(chain, certpath.RoleClient, w.scope, w.snap)} {
				if got := v.Until.Sub(now); got != tt.want {
					t.Errorf("Until by %v is %v ahead, want %v", v.Outcome, got, tt.want)
				}
			}
			w.clock.Advance(minutes(4))
			if v := w.want(t, chain, Hit, certpath.ReasonNone); v.Until.Sub(now) != tt.want {
				t.Errorf("Until by a later hit is %v ahead, want %v", v.Until.Sub(now), tt.want)
			}
		})
	}
}

// aging states MIAL-3 for leaves up to that age; older ones have less.
func aging(t testing.TB, age time.Duration) *assurance.Profile {
	t.Helper()
	p, err := assurance.Compile(assurance.Options{MaxAge: age, Statements: []assurance.Statement{{MIAL: assurance.MIAL3}}})
	must(t, err)
	return p
}

// The validity's last moment belongs to it: whoever asks then has to ask at the
// next one, and not at once and for ever.
func TestUntilIsAhead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	w.clock.Set(chain[0].NotAfter)
	v := w.verify(chain)
	if !v.Accepted() || !v.Until.Equal(chain[0].NotAfter.Add(1)) {
		t.Fatalf("at NotAfter: %v until %v, want acceptance until the next moment", v.Err, v.Until)
	}
	w.clock.Set(v.Until)
	if v := w.verify(chain); reasonOf(v) != certpath.ReasonExpired || !v.Until.IsZero() {
		t.Errorf("after that: %v until %v, want expired and no such moment", v.Err, v.Until)
	}
}

// ASR-10: an origin's minimum is enforced wherever the verdict comes from.
func TestMinimumAssurance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{MaxAge: time.Hour})
	issued := w.clock.Now().Add(-time.Second)
	chain := issue(t, w.issuing, devpki.LeafOptions{URIs: []string{prod + "/a"}, NotBefore: issued})
	other := issue(t, w.issuing, devpki.LeafOptions{URIs: []string{prod + "/b"}, NotBefore: issued})
	profile := aging(t, 10*time.Minute)
	demand := func(p *assurance.Profile, minimum assurance.MIAL) {
		w.trusting(t, func(o *trust.BundleOptions) { o.Assurance, o.MinMIAL = p, minimum })
	}

	demand(nil, assurance.MIAL1)
	w.prove(t, chain)
	w.want(t, chain, Hit, certpath.ReasonNone)
	demand(nil, assurance.MIAL2)
	v := w.want(t, chain, Miss, certpath.ReasonAssurance)
	if v.Err.Found != "MIAL-1" || v.Err.Want != "MIAL-2 or more" || v.Grade != (assurance.Grade{}) || v.ID.IsZero() {
		t.Errorf("found %q, want %q, grade %v of %q; want MIAL-1, MIAL-2 or more, none, the identity", v.Err.Found, v.Err.Want, v.Grade, v.ID)
	}
	w.want(t, chain, RejectedHit, certpath.ReasonAssurance)

	demand(profile, assurance.MIAL2)
	if v := w.prove(t, chain); v.Grade.MIAL != assurance.MIAL3 {
		t.Errorf("grade %v, want MIAL-3", v.Grade)
	}
	w.clock.Set(issued.Add(10*time.Minute - 1))
	w.want(t, chain, Hit, certpath.ReasonNone)
	w.clock.Set(issued.Add(10 * time.Minute))
	w.want(t, chain, Miss, certpath.ReasonAssurance)
	w.want(t, chain, RejectedHit, certpath.ReasonAssurance)
	w.want(t, other, Miss, certpath.ReasonAssurance)
	w.clock.Advance(-1)
	w.want(t, chain, Hit, certpath.ReasonNone)
	w.want(t, other, Miss, certpath.ReasonNone)
}

// A grade that has fallen rises when the clock is set back, and an entry says so.
func TestGradeFollowsAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{MaxAge: time.Hour})
	start := w.clock.Now()
	chain := issue(t, w.issuing, devpki.LeafOptions{URIs: []string{prod + "/a"}, NotBefore: start})
	w.trusting(t, func(o *trust.BundleOptions) { o.Assurance = aging(t, 10*time.Minute) })
	w.clock.Advance(11 * time.Minute)
	if v := w.prove(t, chain); v.Grade.MIAL != assurance.MIAL1 {
		t.Fatalf("grade %v of a leaf that is too old, want MIAL-1", v.Grade)
	}
	w.clock.Set(start.Add(10*time.Minute + 1))
	w.want(t, chain, Hit, certpath.ReasonNone)
	w.clock.Set(start.Add(9 * time.Minute))
	if v := w.want(t, chain, Miss, certpath.ReasonNone); v.Grade.MIAL != assurance.MIAL3 {
		t.Errorf("grade %v after the clock was set back, want MIAL-3", v.Grade)
	}
}
