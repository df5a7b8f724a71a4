package verifycache

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"testing"
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/devpki"
	"verigate/internal/race"
	"verigate/trust"
	"verigate/workloadid"
)

// TLS-13, CACHE-05: whoever asks is not proven to hold the key. A thousand
// questions about somebody's chain leave nothing behind.
func TestOnlyRememberWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")

	w.want(t, chain, Miss, certpath.ReasonNone)
	for range 1000 {
		w.want(t, chain, Coalesced, certpath.ReasonNone)
	}
	w.cache.accepted.Wait()
	if n := w.cache.Stats().Entries; n != 0 {
		t.Fatalf("Stats().Entries = %d before any Remember, want 0", n)
	}
	w.clock.Advance(pendingAge + 1)
	v := w.want(t, chain, Miss, certpath.ReasonNone)

	w.cache.Remember(&v)
	w.cache.accepted.Wait()
	w.clock.Advance(pendingAge + 1)
	hit := w.want(t, chain, Hit, certpath.ReasonNone)
	if hit.Path != v.Path || hit.ID != v.ID || hit.Grade != v.Grade {
		t.Errorf("the hit differs from what was remembered")
	}
	if hit.IdentifyDuration != 0 || hit.VerifyDuration != 0 {
		t.Errorf("a hit took %v and %v to judge, want 0", hit.IdentifyDuration, hit.VerifyDuration)
	}
}

func TestRememberIgnoresWhatIsNotAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	rejected := w.want(t, newHierarchy(t).leaf(t, prod+"/a"), Miss, certpath.ReasonUntrustedChain)
	over := w.want(t, make([]*x509.Certificate, certpath.MaxChainCertificates+1), Miss, certpath.ReasonLimitsExceeded)
	for _, v := range []*Verdict{nil, {}, &rejected, &over} {
		w.cache.Remember(v)
	}
	w.cache.accepted.Wait()
	if n := w.cache.Stats().Entries; n != 0 {
		t.Errorf("Stats().Entries = %d, want 0", n)
	}
}

// A thousand handshakes that share a validation remember it once, and hits write
// nothing.
func TestRememberIsIdempotent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	for range 1000 {
		v := w.verify(chain)
		w.cache.Remember(&v)
	}
	w.cache.accepted.Wait()
	for range 1000 {
		v := w.want(t, chain, Hit, certpath.ReasonNone)
		if v.fresh != nil {
			t.Fatal("a hit has something to remember")
		}
		w.cache.Remember(&v)
	}
	if s := w.cache.Stats(); s.Entries != 1 || s.SetsDropped != 0 || s.Misses != 1 {
		t.Errorf("Stats() = %+v, want 1 entry, 1 miss and no set dropped", s)
	}
}

// CACHE-03: the clock is compared on every hit, with both ends of the path's
// validity and with the age.
func TestHitEndsWithThePathAndWithItsAge(t *testing.T) {
	t.Parallel()
	start := newClock().Now()
	from, until := start.Add(-10*time.Minute), start.Add(10*time.Minute)
	for _, tt := range []struct {
		claim   string
		at      time.Time
		outcome Outcome
		reason  certpath.Reason
	}{
		{"the clock may be set back within the validity", from.Add(1), Hit, certpath.ReasonNone},
		{"the first moment of the validity is judged afresh", from, Miss, certpath.ReasonNone},
		{"a clock that is set back before it rejects", from.Add(-1), Miss, certpath.ReasonNotYetValid},
		{"until the last moment it is used", until.Add(-1), Hit, certpath.ReasonNone},
		{"the last moment of the validity is judged afresh", until, Miss, certpath.ReasonNone},
		{"the next moment rejects", until.Add(1), Miss, certpath.ReasonExpired},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{MaxAge: time.Hour})
			w.clock.Set(start)
			w.rebase(t, from.Add(-time.Hour))
			chain := issue(t, w.issuing, devpki.LeafOptions{URIs: []string{prod + "/a"}, NotBefore: from, NotAfter: until})
			w.prove(t, chain)
			w.clock.Set(tt.at)
			w.want(t, chain, tt.outcome, tt.reason)
		})
	}

	t.Run("an issuer that ends first ends the entry", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, Options{MaxAge: 48 * time.Hour})
		short, err := w.root.NewIntermediate(devpki.CAOptions{NotAfter: start.Add(time.Minute)})
		must(t, err)
		chain := issue(t, short, devpki.LeafOptions{URIs: []string{prod + "/a"}})
		w.prove(t, chain)
		w.clock.Set(start.Add(time.Minute + time.Second))
		if v := w.want(t, chain, Miss, certpath.ReasonExpired); v.Err.Depth != 1 {
			t.Errorf("expired at depth %d, want 1, the issuer", v.Err.Depth)
		}
	})

	t.Run("past the maximum age it is judged afresh", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, Options{MaxAge: time.Minute})
		chain := w.leaf(t, prod+"/a")
		first := w.prove(t, chain)
		w.clock.Advance(time.Minute - 1)
		w.want(t, chain, Hit, certpath.ReasonNone)
		w.clock.Advance(1)
		second := w.prove(t, chain)
		if second.Outcome != Miss || second.Path == first.Path {
			t.Errorf("verdict by %v, want a fresh one", second.Outcome)
		}
		w.clock.Advance(time.Minute - 1)
		w.want(t, chain, Hit, certpath.ReasonNone)
		if n := w.cache.Stats().StaleHits; n != 1 {
			t.Errorf("Stats().StaleHits = %d, want 1", n)
		}
	})
}

// rebase replaces the hierarchy of w by one whose certificates began at from.
func (w *world) rebase(t *testing.T, from time.Time) {
	t.Helper()
	o := devpki.CAOptions{NotBefore: from, NotAfter: from.Add(48 * time.Hour)}
	var err error
	w.root, err = devpki.NewRoot(o)
	must(t, err)
	o.Name = "upper"
	w.upper, err = w.root.NewIntermediate(o)
	must(t, err)
	o.Name = "issuing"
	w.issuing, err = w.upper.NewIntermediate(o)
	must(t, err)
	w.snap = snapshot(t, nil, w.bundle(t, prod, nil))
}

// CACHE-04: a deny-list takes effect with the next question, wherever on the path
// it strikes, and needs nobody to be told.
func TestDenyListTakesEffectOnTheNextHit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/ns/a/sa/b")
	path := w.prove(t, chain).Path
	trusted := w.snap
	spki := func(c *x509.Certificate) trust.Digest { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

	for _, tt := range []struct {
		claim string
		deny  trust.DenyOptions
		depth int
		found string
	}{
		{"identity", trust.DenyOptions{Identities: []workloadid.Pattern{patternOf(t, prod+"/ns/a/sa/b")}}, 0, "identity " + prod + "/ns/a/sa/b"},
		{"pattern", trust.DenyOptions{Identities: []workloadid.Pattern{patternOf(t, prod+"/ns/a/**")}}, 0, "identity " + prod + "/ns/a/**"},
		{"serial number of the leaf", trust.DenyOptions{Serials: []trust.IssuerSerial{{IssuerSPKI: path.Refs()[0].IssuerSPKI, Serial: path.Refs()[0].Serial}}}, 0, ""},
		{"serial number of a CA", trust.DenyOptions{Serials: []trust.IssuerSerial{{IssuerSPKI: path.Refs()[1].IssuerSPKI, Serial: path.Refs()[1].Serial}}}, 1, ""},
		{"key of the leaf", trust.DenyOptions{Keys: []trust.Digest{spki(chain[0])}}, 0, "spki_sha256 " + spki(chain[0]).String()},
		{"key of the upper CA", trust.DenyOptions{Keys: []trust.Digest{spki(chain[2])}}, 2, ""},
		{"key of the anchor, which is not presented", trust.DenyOptions{Keys: []trust.Digest{spki(w.root.Certificate)}}, 3, ""},
	} {
		w.snap = snapshot(t, trust.NewDenyList(tt.deny), w.bundle(t, prod, nil))
		v := w.want(t, chain, Miss, certpath.ReasonDenied)
		if v.Err.Depth != tt.depth || tt.found != "" && v.Err.Found != tt.found {
			t.Errorf("%s: denied at depth %d for %q, want %d and %q", tt.claim, v.Err.Depth, v.Err.Found, tt.depth, tt.found)
		}
		if v.ID != path.ID() {
			t.Errorf("%s: Verdict.ID = %q, want the identity denied", tt.claim, v.ID)
		}
		w.want(t, chain, RejectedHit, certpath.ReasonDenied)

		w.snap = trusted
		w.want(t, chain, Hit, certpath.ReasonNone)
	}
	if s := w.cache.Stats(); s.StaleHits != 14 {
		t.Errorf("Stats().StaleHits = %d, want 14", s.StaleHits)
	}
}

// CACHE-04, BUN-02: entries fit their bundle again when it comes back.
func TestBundleSwapAndSwapBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	w.prove(t, chain)
	before := w.snap
	other := newHierarchy(t)

	for _, tt := range []struct {
		claim  string
		snap   *trust.Snapshot
		reason certpath.Reason
	}{
		{"other anchors", snapshot(t, nil, other.bundle(t, prod, nil)), certpath.ReasonUntrustedChain},
		{"no anchors", snapshot(t, nil, w.bundle(t, prod, func(o *trust.BundleOptions) { o.Anchors = nil })), certpath.ReasonUntrustedChain},
		{"anchors of another origin only", snapshot(t, nil, w.bundle(t, partner, nil)), certpath.ReasonUnknownTrustDomain},
		{"a shorter lifetime demanded", snapshot(t, nil, w.bundle(t, prod, func(o *trust.BundleOptions) { o.MaxCertificateLifetime = time.Hour })), certpath.ReasonLifetime},
		{"no snapshot", nil, certpath.ReasonUnknownTrustDomain},
	} {
		w.snap = tt.snap
		w.want(t, chain, Miss, tt.reason)
		w.snap = before
		w.want(t, chain, Hit, certpath.ReasonNone)
	}

	w.snap = snapshot(t, nil, w.bundle(t, prod, nil), other.bundle(t, partner, nil))
	w.want(t, chain, Hit, certpath.ReasonNone) // another origin's bundle is none of this entry's business
}

// ASR-10: a grade is part of what the bundle says.
func TestGradeFollowsTheBundle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	if g := w.prove(t, chain).Grade; g.MIAL != assurance.MIAL1 {
		t.Fatalf("grade without a profile = %v, want MIAL-1", g.MIAL)
	}
	profile, err := assurance.Compile(assurance.Options{Statements: []assurance.Statement{{MIAL: assurance.MIAL3}}})
	must(t, err)
	w.snap = snapshot(t, nil, w.bundle(t, prod, func(o *trust.BundleOptions) { o.Assurance = profile }))
	if v := w.prove(t, chain); v.Outcome != Miss || v.Grade.MIAL != assurance.MIAL3 {
		t.Errorf("grade = %v by %v, want MIAL-3 by miss", v.Grade.MIAL, v.Outcome)
	}
	if v := w.want(t, chain, Hit, certpath.ReasonNone); v.Grade.MIAL != assurance.MIAL3 {
		t.Errorf("grade of the hit = %v, want MIAL-3", v.Grade.MIAL)
	}
}

// TD-04: the scope is asked before the bundle, and verdicts do not cross scopes
// or roles.
func TestScopeAndRoleSeparateVerdicts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := issue(t, w.issuing, devpki.LeafOptions{URIs: []string{prod + "/a"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	w.prove(t, chain)

	v := w.cache.Verify(chain, certpath.RoleServer, w.scope, w.snap)
	if v.Outcome != Miss || reasonOf(v) != certpath.ReasonEKU {
		t.Errorf("as server: %v by %v, want eku by miss", v.Err, v.Outcome)
	}
	for _, scope := range []*Scope{scopeOf(t, partner), nil} {
		v = w.cache.Verify(chain, certpath.RoleClient, scope, w.snap)
		if v.Outcome != Miss || reasonOf(v) != certpath.ReasonOriginNotAllowed {
			t.Errorf("in scope %v: %v by %v, want origin_not_allowed by miss", scope.Origins(), v.Err, v.Outcome)
		}
	}
	v = w.cache.Verify(chain, certpath.RoleClient, scopeOf(t, prod, partner), w.snap)
	if v.Outcome != Miss || !v.Accepted() {
		t.Errorf("in a wider scope: %v by %v, want acceptance by miss", v.Err, v.Outcome)
	}
	w.want(t, chain, Hit, certpath.ReasonNone)
}

// CACHE-02: the leaf alone names nothing.
func TestSameLeafWithOtherIntermediatesIsAnotherEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	w.prove(t, chain)

	w.want(t, chain[:1], Miss, certpath.ReasonUntrustedChain)
	w.want(t, []*x509.Certificate{chain[0], newHierarchy(t).issuing.Certificate}, Miss, certpath.ReasonUntrustedChain)
	w.want(t, []*x509.Certificate{chain[0], chain[2], chain[1]}, Miss, certpath.ReasonNone)
	w.want(t, chain, Hit, certpath.ReasonNone)
}

// Chains without a key are judged all the same, and never remembered.
func TestChainsWithoutKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	w.prove(t, chain)
	unparsed := *chain[0]
	unparsed.Raw = nil
	big := issue(t, w.issuing, devpki.LeafOptions{URIs: []string{prod + "/a"}, Edit: func(c *x509.Certificate) {
		c.OCSPServer = []string{string(make([]byte, certpath.MaxChainBytes))}
	}})
	var long []*x509.Certificate
	for len(long) <= certpath.MaxChainCertificates {
		long = append(long, chain[0])
	}
	for claim, tt := range map[string]struct {
		chain  []*x509.Certificate
		reason certpath.Reason
	}{
		"none":                    {nil, certpath.ReasonNoCertificate},
		"a nil certificate":       {[]*x509.Certificate{chain[0], nil}, certpath.ReasonMalformed},
		"one that was not parsed": {[]*x509.Certificate{&unparsed, chain[1], chain[2]}, certpath.ReasonMalformed},
		"too many certificates":   {long, certpath.ReasonLimitsExceeded},
		"too many octets":         {big, certpath.ReasonLimitsExceeded},
	} {
		for range 2 {
			if v := w.verify(tt.chain); v.Outcome != Miss || reasonOf(v) != tt.reason {
				t.Errorf("%s: %v by %v, want %v by miss", claim, v.Err, v.Outcome, tt.reason)
			}
		}
	}
	if n := w.cache.Stats().Rejected; n != 0 {
		t.Errorf("Stats().Rejected = %d, want 0", n)
	}
}

// CACHE-08: two chains that the library cannot tell apart.
func TestHashCollisionConfusesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	cache, err := newCache(Options{Now: w.clock.Now}, func([]byte) (uint64, uint64) { return 7, 1 })
	must(t, err)
	t.Cleanup(cache.Close)
	w.cache = cache
	a, b := w.leaf(t, prod+"/a"), w.leaf(t, prod+"/b")
	rejected := newHierarchy(t).leaf(t, prod+"/a")

	for i := range 50 {
		for _, chain := range [][]*x509.Certificate{a, b} {
			w.clock.Advance(pendingAge + 1)
			id, _ := certpath.Identify(chain[0])
			if v := w.prove(t, chain); v.ID != id || v.Path.ID() != id || v.Outcome != Miss {
				t.Fatalf("round %d: %v by %v for %v, want a miss", i, v.ID, v.Outcome, id)
			}
			if v := w.want(t, chain, Hit, certpath.ReasonNone); v.ID != id {
				t.Fatalf("round %d: hit for %v says %v", i, id, v.ID)
			}
		}
		if v := w.verify(rejected); v.Accepted() {
			t.Fatal("a foreign chain was accepted for its hash")
		}
	}
}

// The twin (r, n-s) of an ECDSA signature is as good as the original, and another
// certificate to this cache. Denying works on what the twins share.
func TestTwinIsJustAnotherEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	other := []*x509.Certificate{twin(t, chain[0], w.issuing.Certificate), chain[1], chain[2]}
	w.prove(t, chain)
	if v := w.prove(t, other); v.Outcome != Miss {
		t.Errorf("the twin was judged by %v, want a miss", v.Outcome)
	}
	w.want(t, chain, Hit, certpath.ReasonNone)
	w.want(t, other, Hit, certpath.ReasonNone)

	ref := trust.RefOf(chain[0], chain[1])
	deny := trust.NewDenyList(trust.DenyOptions{Serials: []trust.IssuerSerial{{IssuerSPKI: ref.IssuerSPKI, Serial: ref.Serial}}})
	w.snap = snapshot(t, deny, w.bundle(t, prod, nil))
	w.want(t, chain, Miss, certpath.ReasonDenied)
	w.want(t, other, Miss, certpath.ReasonDenied)
}

func TestCloseLeavesABypass(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	w.prove(t, chain)
	w.cache.Close()
	w.cache.Close()
	v := w.want(t, chain, Bypass, certpath.ReasonNone)
	w.cache.Remember(&v)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{MaxEntries: -1}, {MaxAge: -1}, {MaxRejected: -1}, {RejectedAge: -1}, {MaxLinks: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("New(%+v) = nil error, want a refusal", o)
		}
	}
	c := open(t, Options{})
	o := c.options
	if o.MaxEntries != 100_000 || o.MaxAge != 15*time.Minute || o.MaxRejected != 4096 || o.RejectedAge != 5*time.Second || o.MaxLinks != 4096 {
		t.Errorf("defaults are %+v, not those documented", o)
	}
}

func TestOutcomeNamesAreDistinct(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{Outcome(99).String(): true}
	for _, o := range Outcomes() {
		if seen[o.String()] {
			t.Errorf("%q names two outcomes", o)
		}
		seen[o.String()] = true
	}
	if got := fmt.Sprint(Outcomes()); got != "[bypass miss hit coalesced rejected_hit]" {
		t.Errorf("Outcomes() = %v", got)
	}
}

// The budget of a hit, as a claim: three certificates, a deny-list, no allocation.
func TestHitDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Log("the race detector allocates; counting is left to builds without it")
		return
	}
	w := newWorld(t, Options{})
	w.snap = snapshot(t, trust.NewDenyList(trust.DenyOptions{Identities: denied(t)}), w.bundle(t, prod, nil))
	chain := w.leaf(t, prod+"/a")
	w.prove(t, chain)
	if n := testing.AllocsPerRun(1000, func() {
		v := w.verify(chain)
		w.cache.Remember(&v)
		if v.Outcome != Hit {
			t.Fatalf("outcome %v", v.Outcome)
		}
	}); n != 0 {
		t.Errorf("a hit allocates %v times, want 0", n)
	}
	presented := slices.Clone(chain)
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := w.cache.Recall(chain[0].Raw, presented, certpath.RoleClient, w.scope, w.snap); !ok {
			t.Fatal("not recalled")
		}
	}); n != 0 {
		t.Errorf("a hit by DER allocates %v times, want 0", n)
	}
	proven := w.verify(chain).Path
	presented[0] = nil
	if n := testing.AllocsPerRun(1000, func() {
		if v := w.rejudge(proven, presented); v.Outcome != Hit {
			t.Fatalf("outcome %v", v.Outcome)
		}
	}); n != 0 {
		t.Errorf("a hit by an open connection allocates %v times, want 0: its leaf need not be parsed", n)
	}
}

// A session that knows its leaf in DER gets the hit, and whatever is none leaves no trace.
func TestRecallIsAHitOrNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain, other := w.leaf(t, prod+"/a"), w.leaf(t, prod+"/b")
	proven := w.prove(t, chain)
	before := w.cache.Stats()
	ask := func(c *Cache, leaf []byte, issuers ...*x509.Certificate) (Verdict, []*x509.Certificate, bool) {
		presented := append([]*x509.Certificate{nil}, issuers...)
		v, ok := c.Recall(leaf, presented, certpath.RoleClient, w.scope, w.snap)
		return v, presented, ok
	}
	v, presented, ok := ask(w.cache, chain[0].Raw, chain[1:]...)
	if !ok || v.Outcome != Hit || v.Path != proven.Path || presented[0] != nil {
		t.Fatalf("Recall() = %s, %v with the leaf %p, want a hit without one", describe(v), ok, presented[0])
	}
	before.Hits++
	before.SavedTime = w.cache.Stats().SavedTime
	disabled := open(t, Options{Disabled: true, Now: w.clock.Now})
	for claim, ask := range map[string]func() (Verdict, []*x509.Certificate, bool){
		"a leaf that nobody has shown": func() (Verdict, []*x509.Certificate, bool) { return ask(w.cache, other[0].Raw, chain[1:]...) },
		"other issuers":                func() (Verdict, []*x509.Certificate, bool) { return ask(w.cache, chain[0].Raw, chain[1]) },
		"no certificate":               func() (Verdict, []*x509.Certificate, bool) { return ask(w.cache, nil, chain[1:]...) },
		"an issuer without octets": func() (Verdict, []*x509.Certificate, bool) {
			return ask(w.cache, chain[0].Raw, &x509.Certificate{})
		},
		"a cache that is disabled": func() (Verdict, []*x509.Certificate, bool) { return ask(disabled, chain[0].Raw, chain[1:]...) },
		"an identity denied since": func() (Verdict, []*x509.Certificate, bool) {
			was := w.snap
			defer func() { w.snap = was }()
			denials := []workloadid.Pattern{patternOf(t, prod+"/a")}
			w.snap = snapshot(t, trust.NewDenyList(trust.DenyOptions{Identities: denials}), w.bundle(t, prod, nil))
			return ask(w.cache, chain[0].Raw, chain[1:]...)
		},
	} {
		if v, presented, ok := ask(); ok || presented[0] != nil {
			t.Errorf("%s: Recall() = %s, %v with the leaf %v, want nothing", claim, describe(v), ok, presented[0])
		}
	}
	if got := w.cache.Stats(); got != before {
		t.Errorf("Stats() = %+v, want one hit and else what was before: %+v", got, before)
	}
}
