package verifycache

import (
	"crypto/x509"
	"testing"
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/devpki"
	"verigate/internal/race"
	"verigate/trust"
	"verigate/workloadid"
)

// shadowed makes w judge by its hierarchy, with the options edited, and by the
// shadow as well.
func (w *world) shadowed(t testing.TB, edit func(*trust.BundleOptions), shadow *trust.Bundle) {
	t.Helper()
	w.trusting(t, func(o *trust.BundleOptions) {
		if edit != nil {
			edit(o)
		}
		o.Shadow = shadow
	})
}

// wantShadow fails unless v has a shadow verdict of that reason.
func wantShadow(t testing.TB, v Verdict, reason certpath.Reason) *Shadow {
	t.Helper()
	if v.Shadow == nil {
		t.Fatalf("%s: no shadow verdict, want one", describe(v))
	}
	if got := reasonOf(Verdict{Err: v.Shadow.Err}); got != reason || (v.Shadow.Path != nil) != (reason == certpath.ReasonNone) {
		t.Fatalf("%s: the shadow says %q, want %q", describe(v), got, reason)
	}
	return v.Shadow
}

// A shadow judges by its own anchors and options, those whom the live bundle
// accepts and those whom it rejects, and changes nothing about either.
func TestShadowIsAsked(t *testing.T) {
	t.Parallel()
	other := newHierarchy(t)
	brief := func(o *trust.BundleOptions) { o.MaxCertificateLifetime = time.Hour }
	for _, tt := range []struct {
		claim      string
		live       func(t *testing.T, w *world) func(*trust.BundleOptions)
		shadow     func(t *testing.T, w *world) *trust.Bundle
		says, then certpath.Reason // live, shadow
	}{
		{"an anchor that is about to be added", nil, func(t *testing.T, w *world) *trust.Bundle {
			return w.bundle(t, prod, func(o *trust.BundleOptions) { o.Anchors = append(o.Anchors, other.root.Certificate) })
		}, certpath.ReasonNone, certpath.ReasonNone},
		{"an anchor that is about to be removed", nil, func(t *testing.T, _ *world) *trust.Bundle {
			return other.bundle(t, prod, nil)
		}, certpath.ReasonNone, certpath.ReasonUntrustedChain},
		{"a lifetime that is about to be limited", nil, func(t *testing.T, w *world) *trust.Bundle {
			return w.bundle(t, prod, brief)
		}, certpath.ReasonNone, certpath.ReasonLifetime},
		{"a limit that is about to be lifted", func(*testing.T, *world) func(*trust.BundleOptions) { return brief }, func(t *testing.T, w *world) *trust.Bundle {
			return w.bundle(t, prod, nil)
		}, certpath.ReasonLifetime, certpath.ReasonNone},
		{"assurance that is about to be demanded", nil, func(t *testing.T, w *world) *trust.Bundle {
			return w.bundle(t, prod, func(o *trust.BundleOptions) { o.MinMIAL = assurance.MIAL2 })
		}, certpath.ReasonNone, certpath.ReasonAssurance},
		{"revocation status that is about to be asked for", nil, func(t *testing.T, w *world) *trust.Bundle {
			return w.bundle(t, prod, func(o *trust.BundleOptions) { o.CRLs = crls(t, trust.CRLOptions{}) })
		}, certpath.ReasonNone, certpath.ReasonRevocationUnknown},
		{"a CRL that both have", func(t *testing.T, w *world) func(*trust.BundleOptions) {
			return func(o *trust.BundleOptions) { o.CRLs = w.crls(t, trust.CRLOptions{}) }
		}, func(t *testing.T, w *world) *trust.Bundle {
			return w.bundle(t, prod, func(o *trust.BundleOptions) { o.CRLs = w.crls(t, trust.CRLOptions{}) })
		}, certpath.ReasonNone, certpath.ReasonNone},
		{"neither accepts", func(*testing.T, *world) func(*trust.BundleOptions) { return brief }, func(t *testing.T, _ *world) *trust.Bundle {
			return other.bundle(t, prod, nil)
		}, certpath.ReasonLifetime, certpath.ReasonUntrustedChain},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{})
			chain := w.leaf(t, prod+"/a")
			var edit func(*trust.BundleOptions)
			if tt.live != nil {
				edit = tt.live(t, w)
			}
			w.shadowed(t, edit, tt.shadow(t, w))
			first := w.want(t, chain, Miss, tt.says)
			shadow := wantShadow(t, first, tt.then)
			w.cache.Remember(&first)
			w.cache.accepted.Wait()
			again := RejectedHit
			if tt.says == certpath.ReasonNone {
				again = Hit
			}
			if v := w.want(t, chain, again, tt.says); v.Shadow != shadow {
				t.Error("a hit judged by the shadow anew, although nothing has changed")
			}
			if s := w.cache.Stats(); s.StaleHits != 0 || s.Misses != 1 {
				t.Errorf("Stats() = %+v, want one miss and no stale hit", s)
			}
		})
	}
}

// Nobody's chain has no shadow, and nor has a bundle that was given none.
func TestNoShadowNoVerdict(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	if v := w.prove(t, chain); v.Shadow != nil {
		t.Errorf("a shadow verdict without a shadow: %s", describe(v))
	}
	w.shadowed(t, nil, w.bundle(t, prod, nil))
	for _, stranger := range []string{"http://x", "spiffe://unknown.example/a"} {
		for range 2 {
			if v := w.verify(w.leaf(t, stranger)); v.Accepted() || v.Shadow != nil {
				t.Errorf("%s for a chain of no bundle, want a rejection without shadow", describe(v))
			}
		}
	}
	wantShadow(t, w.want(t, chain, Hit, certpath.ReasonNone), certpath.ReasonNone)
	w.shadowed(t, nil, nil)
	if v := w.want(t, chain, Hit, certpath.ReasonNone); v.Shadow != nil {
		t.Errorf("a shadow verdict after the shadow was withdrawn: %s", describe(v))
	}
}

// What a shadow says changes with the shadow, its CRLs, the deny-list and the time,
// while the live verdict stays a hit on the same path.
func TestShadowFollowsItsBundle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{MaxAge: 24 * time.Hour})
	chain := w.leaf(t, prod+"/a")
	path := w.prove(t, chain).Path
	crlShadow := func(set *trust.CRLSet) *trust.Bundle {
		return w.bundle(t, prod, func(o *trust.BundleOptions) { o.CRLs = set })
	}
	clean := w.crls(t, trust.CRLOptions{})
	step := func(claim string, reason certpath.Reason) {
		t.Helper()
		for range 2 {
			v := w.want(t, chain, Hit, certpath.ReasonNone)
			if v.Path != path {
				t.Errorf("%s: the live path is another one", claim)
			}
			wantShadow(t, v, reason)
		}
	}

	w.shadowed(t, nil, w.bundle(t, prod, nil))
	step("the same anchors", certpath.ReasonNone)
	w.shadowed(t, nil, newHierarchy(t).bundle(t, prod, nil))
	step("other anchors", certpath.ReasonUntrustedChain)
	w.shadowed(t, nil, crlShadow(clean))
	step("CRLs", certpath.ReasonNone)
	w.shadowed(t, nil, crlShadow(w.crls(t, trust.CRLOptions{}, chain[0])))
	step("the leaf revoked", certpath.ReasonRevoked)
	w.shadowed(t, nil, crlShadow(clean))
	step("and not any more", certpath.ReasonNone)
	w.clock.Advance(time.Hour + 1)
	step("the CRLs are stale", certpath.ReasonRevocationStale)
	w.shadowed(t, nil, w.bundle(t, prod, func(o *trust.BundleOptions) {
		o.Assurance, o.MinMIAL = aging(t, 2*time.Hour), assurance.MIAL3
	}))
	step("assurance", certpath.ReasonNone)
	w.clock.Advance(2 * time.Hour)
	step("assurance that has aged", certpath.ReasonAssurance)
	if s := w.cache.Stats(); s.StaleHits != 0 || s.Misses != 1 {
		t.Errorf("Stats() = %+v, want no stale hit, and the first miss alone: the shadow is nobody's business", s)
	}
}

// A rejection that the cache repeats keeps asking the shadow too.
func TestShadowOfARejectionFollowsItsBundle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{RejectedAge: 2 * time.Hour})
	other := newHierarchy(t)
	chain := other.leaf(t, prod+"/a")
	soon := w.clock.Now().Add(time.Minute)
	var listings []listing
	for _, ca := range []*devpki.CA{other.root, other.upper, other.issuing} {
		listings = append(listings, listing{issuer: ca, from: w.clock.Now().Add(-time.Hour), until: soon})
	}
	set := crls(t, trust.CRLOptions{}, listings...)
	w.shadowed(t, nil, other.bundle(t, prod, func(o *trust.BundleOptions) { o.CRLs = set }))
	wantShadow(t, w.want(t, chain, Miss, certpath.ReasonUntrustedChain), certpath.ReasonNone)
	wantShadow(t, w.want(t, chain, RejectedHit, certpath.ReasonUntrustedChain), certpath.ReasonNone)
	w.clock.Set(soon.Add(1))
	wantShadow(t, w.want(t, chain, RejectedHit, certpath.ReasonUntrustedChain), certpath.ReasonRevocationStale)
}

// The shadow stands in for the bundle and for nothing else: scope and deny-list are
// the same.
func TestShadowIsWithinScopeAndDenyList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	shadow := w.bundle(t, prod, func(o *trust.BundleOptions) { o.NotBeforeSkew = time.Second })
	live := w.bundle(t, prod, func(o *trust.BundleOptions) { o.Shadow = shadow })
	w.snap = snapshot(t, nil, live)
	w.prove(t, chain)
	deny := trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{patternOf(t, prod+"/**")}})
	w.snap = snapshot(t, deny, live)
	wantShadow(t, w.want(t, chain, Miss, certpath.ReasonDenied), certpath.ReasonDenied)
	w.snap = snapshot(t, nil, live)
	wantShadow(t, w.want(t, chain, Hit, certpath.ReasonNone), certpath.ReasonNone)

	w.scope = scopeOf(t, partner)
	wantShadow(t, w.want(t, chain, Miss, certpath.ReasonOriginNotAllowed), certpath.ReasonOriginNotAllowed)
}

// A shadow that differs in its rules alone costs no signature: the live bundle has
// had them checked. It keeps no second copy of a certificate either.
func TestShadowCostsNoSecondSignature(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.shadowed(t, nil, w.bundle(t, prod, func(o *trust.BundleOptions) { o.NotBeforeSkew = time.Second }))
	chain := w.leaf(t, prod+"/a")
	live := w.prove(t, chain)
	shadow := wantShadow(t, live, certpath.ReasonNone)
	if live.Path.SignatureChecks() != 3 || shadow.Path.SignatureChecks() != 0 {
		t.Errorf("%d and %d signature checks, want 3 by the bundle and 0 by its shadow", live.Path.SignatureChecks(), shadow.Path.SignatureChecks())
	}

	// Another handshake, whose certificates are parsed anew, after a change of the
	// shadow.
	w.shadowed(t, nil, w.bundle(t, prod, func(o *trust.BundleOptions) { o.NotBeforeSkew = time.Minute }))
	var received []*x509.Certificate
	for _, c := range chain {
		own, err := x509.ParseCertificate(c.Raw)
		must(t, err)
		received = append(received, own)
	}
	later := wantShadow(t, w.want(t, received, Hit, certpath.ReasonNone), certpath.ReasonNone)
	if later == shadow || later.Path.SignatureChecks() != 0 {
		t.Errorf("%d signature checks by the changed shadow, want a new verdict and 0", later.Path.SignatureChecks())
	}
	for i, c := range later.Path.Issuers() {
		if c != live.Path.Issuers()[i] {
			t.Errorf("issuer %d of the shadow's path is a copy", i)
		}
	}
	if &later.Path.RawLeaf()[0] != &live.Path.RawLeaf()[0] {
		t.Error("the leaf of the shadow's path is a copy")
	}
}

// What a rejection holds on to for the shadow's sake is bounded.
func TestShadowOfALargeRejectionIsNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	other := newHierarchy(t)
	w.shadowed(t, nil, other.bundle(t, prod, nil))
	chain := other.leaf(t, prod+"/a")
	message := append(make([]byte, 0, maxPendingCost*costUnit+1), chain[0].Raw...)
	large, err := x509.ParseCertificate(message)
	must(t, err)
	for _, leaf := range []*x509.Certificate{chain[0], large} {
		presented := append([]*x509.Certificate{leaf}, chain[1:]...)
		first := wantShadow(t, w.verify(presented), certpath.ReasonNone)
		again := wantShadow(t, w.want(t, presented, RejectedHit, certpath.ReasonUntrustedChain), certpath.ReasonNone)
		if kept := first == again; kept != (leaf == chain[0]) {
			t.Errorf("the shadow's path over a message of %d octets is kept: %v", cap(leaf.Raw), kept)
		}
		w.clock.Advance(time.Minute)
	}
}

// The budget of a hit holds with a shadow and with CRLs, whatever the shadow says.
func TestHitWithShadowAndCRLsDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Log("the race detector allocates; counting is left to builds without it")
		return
	}
	other := newHierarchy(t)
	for _, tt := range []struct {
		claim   string
		outcome Outcome
		live    bool
		shadow  bool
	}{
		{"accepted by both", Hit, true, true},
		{"accepted by the live bundle", Hit, true, false},
		{"accepted by the shadow", RejectedHit, false, true},
		{"accepted by neither", RejectedHit, false, false},
	} {
		w := newWorld(t, Options{})
		set := w.crls(t, trust.CRLOptions{})
		bundle := func(mine bool, shadow *trust.Bundle) *trust.Bundle {
			h := other
			if mine {
				h = w.hierarchy
			}
			return h.bundle(t, prod, func(o *trust.BundleOptions) { o.CRLs, o.Shadow = set, shadow })
		}
		deny := trust.NewDenyList(trust.DenyOptions{Identities: denied(t)})
		w.snap = snapshot(t, deny, bundle(tt.live, bundle(tt.shadow, nil)))
		chain := w.leaf(t, prod+"/a")
		v := w.verify(chain)
		w.cache.Remember(&v)
		w.cache.accepted.Wait()
		if n := testing.AllocsPerRun(1000, func() {
			v := w.verify(chain)
			if v.Outcome != tt.outcome || v.Shadow == nil || (v.Shadow.Err == nil) != tt.shadow || v.Until.IsZero() == tt.live {
				t.Fatalf("%s: %s", tt.claim, describe(v))
			}
		}); n != 0 {
			t.Errorf("%s: a hit allocates %v times, want 0", tt.claim, n)
		}
	}
}
