package verifycache

import (
	"crypto/x509"
	"testing"
	"time"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
)

// REV-05, CACHE-03: a CRL takes effect with the next question, wherever on the
// path it strikes, and what it does not strike stays where it is.
func TestCRLTakesEffectOnTheNextHit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain, other := w.leaf(t, prod+"/a"), w.leaf(t, prod+"/b")
	clean := w.crls(t, trust.CRLOptions{})
	with := func(set *trust.CRLSet) func(*trust.BundleOptions) {
		return func(o *trust.BundleOptions) { o.CRLs = set }
	}
	w.trusting(t, with(clean))
	path := w.prove(t, chain).Path
	w.prove(t, other)

	for _, tt := range []struct {
		claim   string
		revoked *x509.Certificate
		depth   int
	}{
		{"the leaf", chain[0], 0},
		{"the issuing CA", chain[1], 1},
		{"the upper CA", chain[2], 2},
	} {
		w.trusting(t, with(w.crls(t, trust.CRLOptions{}, tt.revoked)))
		if v := w.want(t, chain, Miss, certpath.ReasonRevoked); v.Err.Depth != tt.depth {
			t.Errorf("%s: revoked at depth %d, want %d", tt.claim, v.Err.Depth, tt.depth)
		}
		w.want(t, chain, RejectedHit, certpath.ReasonRevoked)
		if tt.depth == 0 {
			w.want(t, other, Hit, certpath.ReasonNone)
		}
		w.trusting(t, with(clean))
		if v := w.want(t, chain, Hit, certpath.ReasonNone); v.Path != path {
			t.Errorf("%s: after the CRL was withdrawn the hit is another path", tt.claim)
		}
	}
}

// A CRL update costs nothing: what was remembered is looked up in the new one.
func TestUnrelatedCRLUpdateKeepsEveryEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	before := w.prove(t, chain)
	misses := w.cache.Stats().Misses
	for range 5 {
		set := w.crls(t, trust.CRLOptions{}, w.leaf(t, prod+"/gone")[0])
		w.trusting(t, func(o *trust.BundleOptions) { o.CRLs = set })
		if v := w.want(t, chain, Hit, certpath.ReasonNone); v.Path != before.Path {
			t.Error("the hit after an update of a CRL is another path")
		}
	}
	if s := w.cache.Stats(); s.StaleHits != 0 || s.Misses != misses {
		t.Errorf("Stats() = %+v, want no stale hit and no further miss", s)
	}
}

// REV-02, REV-04: on a hit too, not knowing is not good, unless the origin says so.
func TestHitNeedsACurrentStatus(t *testing.T) {
	t.Parallel()
	hour := time.Hour
	for _, tt := range []struct {
		claim   string
		options trust.CRLOptions
		after   time.Duration
		outcome Outcome
		reason  certpath.Reason
	}{
		{"within the CRL's time it is used", trust.CRLOptions{}, hour - 1, Hit, certpath.ReasonNone},
		{"past nextUpdate it is refused", trust.CRLOptions{}, hour + 1, Miss, certpath.ReasonRevocationStale},
		{"within the grace it is used", trust.CRLOptions{WhenStale: trust.StaleGrace, Grace: hour}, 2*hour - 1, Hit, certpath.ReasonNone},
		{"past the grace it is refused", trust.CRLOptions{WhenStale: trust.StaleGrace, Grace: hour}, 2*hour + 1, Miss, certpath.ReasonRevocationStale},
		{"a stale CRL that is believed is used", trust.CRLOptions{WhenStale: trust.StaleAccept}, 12 * hour, Hit, certpath.ReasonNone},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{MaxAge: 24 * hour})
			chain := w.leaf(t, prod+"/a")
			set := w.crls(t, tt.options)
			w.trusting(t, func(o *trust.BundleOptions) { o.CRLs = set })
			w.prove(t, chain)
			w.clock.Advance(tt.after)
			w.want(t, chain, tt.outcome, tt.reason)

			set = w.crls(t, tt.options)
			w.trusting(t, func(o *trust.BundleOptions) { o.CRLs = set })
			w.want(t, chain, Hit, certpath.ReasonNone)
		})
	}
}

// An origin that begins to ask for revocation status asks those it knows already.
func TestHitNeedsEveryStatusThatIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	w.prove(t, chain)
	leafOnly := listing{issuer: w.issuing, from: w.clock.Now(), until: w.clock.Now().Add(time.Hour)}
	for _, tt := range []struct {
		claim   string
		set     *trust.CRLSet
		outcome Outcome
		reason  certpath.Reason
	}{
		{"no CRL at all", crls(t, trust.CRLOptions{}), Miss, certpath.ReasonRevocationUnknown},
		{"none for the CAs", crls(t, trust.CRLOptions{}, leafOnly), Miss, certpath.ReasonRevocationUnknown},
		{"none for the CAs, whom nobody asks about", crls(t, trust.CRLOptions{LeafOnly: true}, leafOnly), Hit, certpath.ReasonNone},
		{"all", w.crls(t, trust.CRLOptions{}), Hit, certpath.ReasonNone},
		{"nobody asks", nil, Hit, certpath.ReasonNone},
	} {
		w.trusting(t, func(o *trust.BundleOptions) { o.CRLs = tt.set })
		if v := w.verify(chain); v.Outcome != tt.outcome || reasonOf(v) != tt.reason {
			t.Errorf("%s: %v (%v) by %v, want %q by %v", tt.claim, reasonOf(v), v.Err, v.Outcome, tt.reason, tt.outcome)
		}
	}
}

// twoWays is a chain whose path can take the upper CA or a shortcut to the root.
func (w *world) twoWays(t *testing.T) (chain []*x509.Certificate, cross *x509.Certificate) {
	t.Helper()
	cross = crossSigned(t, w.issuing, w.root, w.clock.Now().Add(-time.Minute))
	leaf := w.leaf(t, prod+"/a")
	return []*x509.Certificate{leaf[0], cross, leaf[1], leaf[2]}, cross
}

// The path that was remembered may be refused where another one is not; and when
// that one is remembered, the first may come back. Whichever it is, it is the path
// that judging afresh would take, since a deny-list and a grade go by it.
func TestHitIsThePathThatCRLsLeave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain, cross := w.twoWays(t)
	plain := open(t, Options{Disabled: true, Now: w.clock.Now})
	clean, struck := w.crls(t, trust.CRLOptions{}), w.crls(t, trust.CRLOptions{}, cross)
	lengths := make(map[int]bool)
	for i, set := range []*trust.CRLSet{nil, clean, struck, clean, struck, nil, struck, clean} {
		w.trusting(t, func(o *trust.BundleOptions) { o.CRLs = set })
		for range 2 {
			got, want := w.prove(t, chain), plain.Verify(chain, certpath.RoleClient, w.scope, w.snap)
			if d := difference(got, want); d != "" {
				t.Fatalf("round %d: the %s of %s differs from judging afresh: %s", i, d, describe(got), describe(want))
			}
			lengths[len(got.Path.Issuers())] = true
		}
	}
	if !lengths[2] || !lengths[3] {
		t.Errorf("paths of lengths %v were taken, want both ways", lengths)
	}
}

// CACHE-06: what was refused for want of a status is let in as soon as there is
// one, be it by the clock alone.
func TestRejectionEndsWhenItsCRLsChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	now := w.clock.Now()
	var soon, over []listing
	for _, ca := range []*devpki.CA{w.root, w.upper, w.issuing} {
		soon = append(soon, listing{issuer: ca, from: now.Add(2 * time.Second), until: now.Add(time.Hour)})
		over = append(over, listing{issuer: ca, from: now.Add(-time.Hour), until: now.Add(-2 * time.Second)})
	}
	set := crls(t, trust.CRLOptions{}, soon...)
	w.trusting(t, func(o *trust.BundleOptions) { o.CRLs = set })
	if v := w.verify(chain); v.Accepted() {
		t.Fatal("accepted by CRLs that are of tomorrow")
	}
	w.clock.Advance(time.Second)
	if v := w.verify(chain); v.Outcome != RejectedHit {
		t.Errorf("the rejection is given by %v, want it repeated", v.Outcome)
	}
	w.clock.Advance(2 * time.Second)
	w.want(t, chain, Miss, certpath.ReasonNone)

	w.clock.Set(now)
	chain = w.leaf(t, prod+"/b")
	set = crls(t, trust.CRLOptions{}, over...)
	w.trusting(t, func(o *trust.BundleOptions) { o.CRLs = set })
	w.want(t, chain, Miss, certpath.ReasonRevocationStale)
	w.want(t, chain, RejectedHit, certpath.ReasonRevocationStale)
	w.clock.Advance(-3 * time.Second)
	if v := w.verify(chain); !v.Accepted() {
		t.Errorf("a clock that was set back into the CRLs' time: %v by %v, want acceptance", v.Err, v.Outcome)
	}
}

// What was looked up once is not looked up again in the same lists, while they say the
// same: a CRL that is not in force yet, by a clock that was set back, clears nobody.
func TestClockSetBackBeforeACRL(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain, start := w.leaf(t, prod+"/a"), w.clock.Now()
	w.prove(t, chain)
	var listings []listing
	for _, ca := range []*devpki.CA{w.root, w.upper, w.issuing} {
		listings = append(listings, listing{issuer: ca, from: start, until: start.Add(10 * time.Minute)})
	}
	set := crls(t, trust.CRLOptions{}, listings...)
	w.trusting(t, func(o *trust.BundleOptions) { o.CRLs = set })
	for _, step := range []struct {
		at      time.Duration
		outcome Outcome
		reason  certpath.Reason
	}{
		{5 * time.Minute, Hit, certpath.ReasonNone},
		{5*time.Minute + time.Second, Hit, certpath.ReasonNone},
		{-time.Minute, Miss, certpath.ReasonRevocationUnknown},
		{6 * time.Minute, Hit, certpath.ReasonNone},
		{11 * time.Minute, Miss, certpath.ReasonRevocationStale},
		{7 * time.Minute, Hit, certpath.ReasonNone},
	} {
		w.clock.Set(start.Add(step.at))
		w.want(t, chain, step.outcome, step.reason)
	}
}
