package verifycache

import (
	"crypto/x509"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

// population is all that a verdict can depend on, in many variants.
type population struct {
	*world
	start  time.Time
	random *rand.Rand
	chains [][]*x509.Certificate
	good   [][]*x509.Certificate // of them, those that most snapshots accept
	scopes []*Scope
	trusts []trusted

	plain *Cache // disabled: what judging afresh says
	bare  *Cache // judges by snapshots without shadows
}

// trusted is a snapshot with and without its shadows.
type trusted struct{ with, without *trust.Snapshot }

func newPopulation(t *testing.T, seed uint64, entries int) *population {
	t.Helper()
	o := Options{MaxEntries: entries, MaxRejected: entries, RejectedAge: 30 * time.Second, MaxLinks: 2, MaxAge: 10 * time.Minute}
	p := &population{world: newWorld(t, o), random: rand.New(rand.NewPCG(seed, 1))}
	p.start = p.clock.Now()
	p.plain = open(t, Options{Disabled: true, Now: p.clock.Now})
	o.Now = p.clock.Now
	p.bare = open(t, o)
	p.scopes = []*Scope{scopeOf(t, prod), scopeOf(t, prod, partner)}
	p.populate(t)
	return p
}

func (p *population) populate(t *testing.T) {
	t.Helper()
	minutes := func(n int) time.Time { return p.start.Add(time.Duration(n) * time.Minute) }
	other := newHierarchy(t)
	short, err := p.upper.NewIntermediate(devpki.CAOptions{Name: "short", NotAfter: minutes(20)})
	must(t, err)

	leaves := []devpki.LeafOptions{
		{URIs: []string{prod + "/ns/a"}},
		{URIs: []string{prod + "/ns/b"}, NotAfter: minutes(15)},
		{URIs: []string{prod + "/ns/c"}, NotBefore: minutes(15)},
		{URIs: []string{prod + "/ns/d"}, Key: devpki.RSA2048},
		{URIs: []string{prod + "/client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
		{URIs: []string{partner + "/a"}},
		{URIs: []string{"spiffe://unknown.example/a"}},
		{URIs: []string{prod + "/A", prod + "/b"}},
		{URIs: []string{prod}},
		{DNS: []string{"prod.example"}},
	}
	for _, ca := range []*devpki.CA{p.issuing, p.upper, p.root, short, other.issuing} {
		for _, o := range leaves {
			p.chains = append(p.chains, issue(t, ca, o))
		}
	}
	p.good = slices.Concat(p.chains[:4], p.chains[10:12])
	for _, c := range p.chains[:6] {
		p.chains = append(p.chains, c[:1], c[:2], append(c[:3:3], p.root.Certificate), []*x509.Certificate{c[0], c[2], c[1]},
			[]*x509.Certificate{forged(t, c[0], 1), c[1], c[2]}, []*x509.Certificate{c[0], forged(t, c[1], 1), c[2]})
	}
	// Chains whose path changes with time and with CRLs: the way by root is preferred
	// as soon as it is valid and for as long as it is not revoked.
	cross, late := crossSigned(t, p.issuing, p.root, minutes(-1)), crossSigned(t, p.issuing, p.root, minutes(15))
	for _, way := range []*x509.Certificate{cross, late} {
		leaf := p.leaf(t, prod+"/crossed")
		p.chains = append(p.chains, []*x509.Certificate{leaf[0], way, leaf[1], leaf[2]})
	}
	p.good = append(p.good, p.chains[len(p.chains)-2:]...)

	struck := []*x509.Certificate{p.chains[0][0], p.chains[10][0], cross, p.chains[len(p.chains)-1][0]}
	p.publish(t, other, struck, late)
}

// publish makes snapshots of what can be said about the hierarchy of p and other,
// some of which strike the certificates given.
func (p *population) publish(t *testing.T, other hierarchy, struck []*x509.Certificate, late *x509.Certificate) {
	t.Helper()
	minutes := func(n int) time.Time { return p.start.Add(time.Duration(n) * time.Minute) }
	span := func(from, until int, o trust.CRLOptions) *trust.CRLSet {
		var listings []listing
		for _, ca := range []*devpki.CA{p.root, p.upper, p.issuing, other.root, other.upper, other.issuing} {
			listings = append(listings, listing{issuer: ca, from: minutes(from), until: minutes(until)})
		}
		return crls(t, o, listings...)
	}
	sets := []*trust.CRLSet{
		nil, nil, nil,
		p.crls(t, trust.CRLOptions{}), p.crls(t, trust.CRLOptions{}), p.crls(t, trust.CRLOptions{LeafOnly: true}),
		p.crls(t, trust.CRLOptions{}, struck...),
		p.crls(t, trust.CRLOptions{}, p.upper.Certificate),
		p.crls(t, trust.CRLOptions{LeafOnly: true}, p.upper.Certificate, struck[0]),
		span(-60, 10, trust.CRLOptions{}),
		span(-60, 10, trust.CRLOptions{WhenStale: trust.StaleGrace, Grace: 10 * time.Minute}),
		span(-60, 10, trust.CRLOptions{WhenStale: trust.StaleAccept}),
		span(10, 60, trust.CRLOptions{}),
		crls(t, trust.CRLOptions{}),
	}
	stated, err := assurance.Compile(assurance.Options{Statements: []assurance.Statement{{MIAL: assurance.MIAL2}}})
	must(t, err)
	profiles := []*assurance.Profile{nil, stated, aging(t, 20*time.Minute)}
	classical := certpath.Algorithms()
	own, foreign := p.root.Certificate, other.root.Certificate
	anchors := [][]*x509.Certificate{{own}, {own}, {own}, {own}, {own, foreign}, {own, foreign}, {foreign}, {}}
	variant := func(o *trust.BundleOptions) {
		o.Anchors = anchors[p.random.IntN(len(anchors))]
		o.Assurance = profiles[p.random.IntN(len(profiles))]
		o.SharedAnchor = true
		switch p.random.IntN(12) {
		case 0:
			o.MaxCertificateLifetime = time.Hour
		case 1:
			o.RequireEKU = true
		case 2:
			o.NotBeforeSkew = 8 * time.Minute
		case 3, 4, 6:
			o.MinMIAL = assurance.MIAL2
		case 5:
			o.Algorithms = classical[:1]
		}
	}
	spki := trust.RefOf(p.upper.Certificate, p.root.Certificate).SPKI
	leaf, crossed := trust.RefOf(p.chains[0][0], p.chains[0][1]), trust.RefOf(late, p.root.Certificate)
	denials := []*trust.DenyList{
		nil, nil, nil,
		trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{patternOf(t, prod+"/ns/**")}}),
		trust.NewDenyList(trust.DenyOptions{Keys: []trust.Digest{spki}}),
		trust.NewDenyList(trust.DenyOptions{Serials: []trust.IssuerSerial{{IssuerSPKI: leaf.IssuerSPKI, Serial: leaf.Serial}}}),
		trust.NewDenyList(trust.DenyOptions{Serials: []trust.IssuerSerial{{IssuerSPKI: crossed.IssuerSPKI, Serial: crossed.Serial}}}),
	}
	// A family has the same options, and differs in what bundles have no digest of.
	var bases [2]trust.BundleOptions
	for i := range 20 * family {
		var with, without []*trust.Bundle
		for n, origin := range []string{prod, partner} {
			if i%family == 0 {
				bases[n] = trust.BundleOptions{Anchors: anchors[0], SharedAnchor: true}
				switch i / family {
				case 0: // the plainest one
				case 1:
					bases[n].Assurance, bases[n].MinMIAL = aging(t, 20*time.Minute), assurance.MIAL2
				default:
					variant(&bases[n])
				}
			}
			if i >= family && p.random.IntN(8) == 0 {
				continue
			}
			o := bases[n]
			o.CRLs = sets[p.random.IntN(len(sets))]
			without = append(without, p.bundle(t, origin, func(own *trust.BundleOptions) { *own = o }))
			if p.random.IntN(3) > 0 {
				s := bases[n]
				if p.random.IntN(3) > 0 {
					variant(&s)
				}
				s.CRLs = sets[p.random.IntN(len(sets))]
				o.Shadow = p.bundle(t, origin, func(own *trust.BundleOptions) { *own = s })
			}
			with = append(with, p.bundle(t, origin, func(own *trust.BundleOptions) { *own = o }))
		}
		deny := denials[p.random.IntN(len(denials))]
		p.trusts = append(p.trusts, trusted{snapshot(t, deny, with...), snapshot(t, deny, without...)})
	}
}

// family is how many snapshots in a row have bundles of the same digests.
const family = 4

// question is what a listener can ask.
type question struct {
	chain []*x509.Certificate
	role  certpath.Role
	scope *Scope
	trust trusted
}

func (p *population) question(now trusted) question {
	chains := p.chains
	if p.random.IntN(2) == 0 {
		chains = p.good
	}
	return question{
		chain: chains[p.random.IntN(len(chains))],
		role:  []certpath.Role{certpath.RoleClient, certpath.RoleServer}[p.random.IntN(2)],
		scope: p.scopes[p.random.IntN(len(p.scopes))],
		trust: now,
	}
}

// ask compares the answer to q with the one that judging afresh gives, and with the
// one that is given where nobody asks a shadow.
func (p *population) ask(t *testing.T, step int, q question, proven *certpath.Path) Verdict {
	t.Helper()
	recalled, ok := p.recall(t, step, q)
	var got Verdict
	if proven != nil {
		chain := q.chain
		if p.random.IntN(2) == 0 {
			chain = withoutLeaf(chain)
		}
		got = p.cache.Rejudge(proven, chain, q.role, q.scope, q.trust.with)
	} else {
		got = p.cache.Verify(q.chain, q.role, q.scope, q.trust.with)
	}
	want := p.plain.Verify(q.chain, q.role, q.scope, q.trust.with)
	bare := p.bare.Verify(q.chain, q.role, q.scope, q.trust.without)
	if d := difference(got, want); d != "" {
		t.Fatalf("step %d: the %s of %s differs from judging afresh: %s", step, d, describe(got), describe(want))
	}
	if d := shadowDifference(got.Shadow, want.Shadow); d != "" {
		t.Fatalf("step %d: the %s of the shadow's verdict differs: %s; judged afresh: %s", step, d, describe(got), describe(want))
	}
	if ok != (got.Outcome == Hit) {
		t.Fatalf("step %d: Recall() = %s, %v, where what was presented is a %v", step, describe(recalled), ok, got.Outcome)
	}
	if ok && (difference(recalled, want) != "" || shadowDifference(recalled.Shadow, want.Shadow) != "") {
		t.Fatalf("step %d: Recall() = %s differs from judging afresh: %s", step, describe(recalled), describe(want))
	}
	if d := difference(got, bare); d != "" {
		t.Fatalf("step %d: the %s of %s differs where there are no shadows: %s", step, d, describe(got), describe(bare))
	}
	if bare.Shadow != nil {
		t.Fatalf("step %d: a shadow verdict without a shadow", step)
	}
	if p.random.IntN(3) > 0 {
		p.cache.Remember(&got)
		p.bare.Remember(&bare)
		p.cache.accepted.Wait()
		p.bare.accepted.Wait()
	}
	return got
}

// recall asks as for a session: with the leaf in DER only.
func (p *population) recall(t *testing.T, step int, q question) (Verdict, bool) {
	t.Helper()
	v, ok := p.cache.Recall(q.chain[0].Raw, withoutLeaf(q.chain), q.role, q.scope, q.trust.with)
	if ok && v.Outcome != Hit {
		t.Fatalf("step %d: Recall() = %s", step, describe(v))
	}
	return v, ok
}

// withoutLeaf is chain as connections and sessions keep it.
func withoutLeaf(chain []*x509.Certificate) []*x509.Certificate {
	return slices.Concat([]*x509.Certificate{nil}, chain[1:])
}

// tally counts what a test has seen, so that it does not prove something about
// nothing.
type tally struct {
	outcomes map[Outcome]int
	reasons  map[certpath.Reason]int
	shadows  [2][2]int // live accepts, shadow accepts
}

func newTally() *tally {
	return &tally{outcomes: make(map[Outcome]int), reasons: make(map[certpath.Reason]int)}
}

func (n *tally) add(v Verdict) {
	n.outcomes[v.Outcome]++
	n.reasons[reasonOf(v)]++
	if v.Shadow != nil {
		index := func(accepted bool) int {
			if accepted {
				return 1
			}
			return 0
		}
		n.shadows[index(v.Accepted())][index(v.Shadow.Err == nil)]++
	}
}

func (n *tally) check(t *testing.T, p *population, outcomes ...Outcome) {
	t.Helper()
	for _, o := range outcomes {
		if n.outcomes[o] < 10 {
			t.Errorf("%d verdicts by %v; that proves nothing about them", n.outcomes[o], o)
		}
	}
	for _, r := range []certpath.Reason{
		certpath.ReasonNone, certpath.ReasonExpired, certpath.ReasonNotYetValid, certpath.ReasonRevoked,
		certpath.ReasonRevocationStale, certpath.ReasonRevocationUnknown, certpath.ReasonDenied, certpath.ReasonAssurance,
		certpath.ReasonUntrustedChain, certpath.ReasonUnknownTrustDomain, certpath.ReasonBadSignature, certpath.ReasonAlgorithmNotAllowed,
	} {
		if n.reasons[r] == 0 {
			t.Errorf("no verdict for the reason %q; that proves nothing about it", r)
		}
	}
	for live := range 2 {
		for shadow := range 2 {
			if n.shadows[live][shadow] < 10 {
				t.Errorf("%d verdicts where accepting is %d by the bundle and %d by its shadow", n.shadows[live][shadow], live, shadow)
			}
		}
	}
	if p.cache.Stats().StaleHits == 0 {
		t.Error("no stale entry was ever found")
	}
	if s := p.plain.Stats(); s.Misses != 0 || s.Links != 0 || s.Bypassed == 0 {
		t.Errorf("Stats() of the disabled cache = %+v, want bypasses and nothing else", s)
	}
}

// CACHE-07, and the promise of the package: whatever happens in whatever order, a
// cache answers as one that is disabled does. Trust and time change now and then,
// as they do in life, so that most answers come from the cache.
func TestVerdictsAreThoseOfADisabledCache(t *testing.T) {
	t.Parallel()
	p := newPopulation(t, 3, 24)
	seen := newTally()
	at := 0                                             // in p.trusts
	paths := make(map[*x509.Certificate]*certpath.Path) // by leaf, of connections that are open
	var q question
	for step := range 2500 {
		switch p.random.IntN(40) {
		case 0:
			p.clock.Set(p.start.Add(time.Duration(p.random.IntN(40)) * time.Minute))
		case 1, 7:
			at = p.random.IntN(len(p.trusts))
		case 2, 3, 4, 5:
			at = at/family*family + p.random.IntN(family)
		case 6:
			at = p.random.IntN(2) * family
		default:
			p.clock.Advance(time.Duration(p.random.IntN(500)) * time.Millisecond)
		}
		if q.trust = p.trusts[at]; step == 0 || p.random.IntN(2) == 0 { // else the same peer again
			q = p.question(p.trusts[at])
		}
		var proven *certpath.Path
		if p.random.IntN(3) == 0 {
			proven = paths[q.chain[0]]
		}
		v := p.ask(t, step, q, proven)
		if v.Accepted() {
			paths[q.chain[0]] = v.Path
		}
		seen.add(v)
	}
	seen.check(t, p, Miss, Hit, Coalesced, RejectedHit)
}

// The same cases twice and shuffled, each with trust of its own, while the clock
// moves on: whatever was asked before, in whatever order, has no influence.
func TestShuffledReplay(t *testing.T) {
	t.Parallel()
	const cases = 1200
	p := newPopulation(t, 4, 1000)
	seen := newTally()
	questions := make([]question, 0, 2*cases)
	for i := range cases {
		// Half of them by few, so that answers meet what they were given under.
		few := len(p.trusts)
		if i%2 == 0 {
			few = 4
		}
		questions = append(questions, p.question(p.trusts[p.random.IntN(few)]))
	}
	questions = append(questions, questions...)
	p.random.Shuffle(len(questions), func(i, j int) { questions[i], questions[j] = questions[j], questions[i] })
	for step, q := range questions {
		p.clock.Advance(time.Duration(p.random.IntN(1400)) * time.Millisecond)
		seen.add(p.ask(t, step, q, nil))
	}
	seen.check(t, p, Miss, Hit, RejectedHit)
}
