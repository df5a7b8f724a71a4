package verifycache

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

// CACHE-06, TLS-13: ten thousand chains from strangers, half of them refused and
// half copied from real workloads, push out nothing that was proven.
func TestJunkEvictsOnlyJunk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{MaxEntries: 100, MaxRejected: 256})
	var clients [][]*x509.Certificate
	for i := range 20 {
		clients = append(clients, w.leaf(t, fmt.Sprintf("%s/%d", prod, i)))
		w.prove(t, clients[i])
	}
	victim := clients[0]
	stranger := newHierarchy(t).root.Certificate

	for n := range 10_000 {
		w.clock.Advance(time.Millisecond)
		junk := forged(t, stranger, n)
		if n%2 == 0 {
			w.want(t, []*x509.Certificate{forged(t, victim[0], n), victim[1], victim[2]}, Miss, certpath.ReasonBadSignature)
		} else {
			w.want(t, append(victim[:3:3], junk), Miss, certpath.ReasonNone)
		}
	}
	w.cache.accepted.Wait()
	for i, chain := range clients {
		if v := w.verify(chain); v.Outcome != Hit {
			t.Errorf("client %d is judged by %v after the flood, want a hit", i, v.Outcome)
		}
	}
	if s := w.cache.Stats(); s.Entries != 20 || s.Evictions != 0 || s.Rejected != 256 || s.Links != 2 {
		t.Errorf("Stats() = %+v, want 20 entries, no eviction, 256 rejections and 2 links", s)
	}
	if n := w.cache.pending.len(); n > maxPending {
		t.Errorf("%d verdicts are pending, want at most %d", n, maxPending)
	}
}

// CACHE-09: a rollout reconnects all replicas of a workload at once.
func TestConcurrentFirstVerificationsValidateOnce(t *testing.T) {
	t.Parallel()
	const peers = 1000
	w := newWorld(t, Options{})
	accepted := w.leaf(t, prod+"/a")
	rejected := newHierarchy(t).leaf(t, prod+"/a")

	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range peers {
		wg.Go(func() {
			<-start
			if v := w.verify(accepted); !v.Accepted() {
				t.Errorf("peer %d: %v, want acceptance", i, v.Err)
			} else {
				w.cache.Remember(&v)
			}
			if v := w.verify(rejected); reasonOf(v) != certpath.ReasonUntrustedChain {
				t.Errorf("peer %d: %v, want untrusted_chain", i, v.Err)
			}
		})
	}
	close(start)
	wg.Wait()
	w.cache.accepted.Wait()
	s := w.cache.Stats()
	if s.Misses != 2 {
		t.Errorf("Stats().Misses = %d, want one for each of the two chains", s.Misses)
	}
	if total := s.Hits + s.Coalesced + s.RejectedHits; total != 2*peers-2 {
		t.Errorf("%d hits, coalesced and rejected hits, want %d", total, 2*peers-2)
	}
	if s.Entries != 1 || len(w.cache.flights) != 0 {
		t.Errorf("%d entries and %d flights are left, want 1 and 0", s.Entries, len(w.cache.flights))
	}
}

// The same without luck: the leader stands still until all others have arrived.
func TestFollowersWaitForTheirLeader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		claim  string
		panics bool
	}{
		{"and take over what it found", false},
		{"and judge for themselves if it panics", true},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Options{})
				chain := w.leaf(t, prod+"/a")
				var arrived atomic.Bool
				gate := make(chan struct{})
				w.cache.now = func() time.Time {
					if !arrived.Swap(true) {
						<-gate
						if tt.panics {
							panic("clock")
						}
					}
					return w.clock.Now()
				}
				var wg sync.WaitGroup
				wg.Go(func() {
					defer func() { recover() }()
					w.verify(chain)
				})
				synctest.Wait()
				for range 100 {
					wg.Go(func() {
						if v := w.verify(chain); !v.Accepted() {
							t.Errorf("a follower: %v, want acceptance", v.Err)
						}
					})
				}
				synctest.Wait()
				if s := w.cache.Stats(); s.Misses+s.Coalesced != 0 {
					t.Errorf("%d verdicts were given while the leader stood still, want 0", s.Misses+s.Coalesced)
				}
				close(gate)
				wg.Wait()
				// Those who are left alone each judge; the one who panicked never did.
				want := Stats{Misses: 1, Coalesced: 100, Links: 2}
				if tt.panics {
					want = Stats{Misses: 100, Links: 2}
				}
				got := w.cache.Stats()
				got.VerifyTime = 0
				if got != want {
					t.Errorf("Stats() = %+v, want %+v", got, want)
				}
			})
		})
	}
}

// Handshakes that follow a change of trust do not wait for an answer by the old
// one, and share one of their own.
func TestChangeOfTrustStartsAnotherFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		chain := w.leaf(t, prod+"/a")
		var arrived atomic.Bool
		gate := make(chan struct{})
		w.cache.now = func() time.Time {
			if !arrived.Swap(true) {
				<-gate
			}
			return w.clock.Now()
		}
		before := w.snap
		var wg sync.WaitGroup
		wg.Go(func() { w.cache.Verify(chain, certpath.RoleClient, w.scope, before) })
		synctest.Wait()

		w.snap = snapshot(t, nil, newHierarchy(t).bundle(t, prod, nil))
		for range 2 {
			wg.Go(func() {
				if v := w.verify(chain); reasonOf(v) != certpath.ReasonUntrustedChain {
					t.Errorf("after the change: %v, want untrusted_chain", v.Err)
				}
			})
			synctest.Wait()
		}
		if s := w.cache.Stats(); s.Misses != 1 || s.RejectedHits != 1 {
			t.Errorf("Stats() = %+v while the old answer is still awaited, want 1 miss and 1 rejected hit", s)
		}
		close(gate)
		wg.Wait()
		w.want(t, chain, RejectedHit, certpath.ReasonUntrustedChain)
	})
}

func TestPanicOfALeaderEndsItsFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	chain := w.leaf(t, prod+"/a")
	w.cache.now = func() time.Time { panic("clock") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		w.verify(chain)
	}()
	w.cache.now = w.clock.Now
	if n := len(w.cache.flights); n != 0 {
		t.Errorf("%d flights are left, want 0", n)
	}
	w.want(t, chain, Miss, certpath.ReasonNone)
}

// A follower's moment may be later than its leader's, and its snapshot another.
func TestFollowersJudgeWhatTheyTakeOver(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		claim  string
		change func(t *testing.T, w *world)
		reason certpath.Reason
	}{
		{"expired meanwhile", func(t *testing.T, w *world) { w.clock.Advance(48 * time.Hour) }, certpath.ReasonExpired},
		{"denied meanwhile", func(t *testing.T, w *world) {
			deny := trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{patternOf(t, prod+"/**")}})
			w.snap = snapshot(t, deny, w.bundle(t, prod, nil))
		}, certpath.ReasonDenied},
		{"pending for too long", func(t *testing.T, w *world) { w.clock.Advance(pendingAge + 1) }, certpath.ReasonNone},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{})
			chain := w.leaf(t, prod+"/a")
			w.want(t, chain, Miss, certpath.ReasonNone)
			w.want(t, chain, Coalesced, certpath.ReasonNone)
			tt.change(t, w)
			w.want(t, chain, Miss, tt.reason)
		})
	}
}

// CACHE-06: a rejection is repeated only for as long as it would be given again.
func TestRejectedHitIsWhatJudgingAfreshWouldSay(t *testing.T) {
	t.Parallel()
	start := newClock().Now()
	soon := start.Add(2 * time.Second)
	for _, tt := range []struct {
		claim   string
		leaf    devpki.LeafOptions
		first   certpath.Reason
		after   time.Duration
		outcome Outcome
		then    certpath.Reason
	}{
		{"a rejection is repeated", devpki.LeafOptions{URIs: []string{"http://x"}}, certpath.ReasonIdentifierSyntax, 4 * time.Second, RejectedHit, certpath.ReasonIdentifierSyntax},
		{"but not for longer than its age", devpki.LeafOptions{URIs: []string{"http://x"}}, certpath.ReasonIdentifierSyntax, 5 * time.Second, Miss, certpath.ReasonIdentifierSyntax},
		{"not yet valid, and still not", devpki.LeafOptions{NotBefore: soon}, certpath.ReasonNotYetValid, time.Second, RejectedHit, certpath.ReasonNotYetValid},
		{"not yet valid, and now it is", devpki.LeafOptions{NotBefore: soon}, certpath.ReasonNotYetValid, 2 * time.Second, Miss, certpath.ReasonNone},
		{"another reason, and now it has expired", devpki.LeafOptions{NotAfter: soon, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}, certpath.ReasonEKU, 3 * time.Second, Miss, certpath.ReasonEKU},
		{"expired, and the clock was set back", devpki.LeafOptions{NotAfter: start.Add(-time.Second)}, certpath.ReasonExpired, -time.Second, Miss, certpath.ReasonNone},
		{"expired, and the clock was set back less far", devpki.LeafOptions{NotAfter: start.Add(-time.Second)}, certpath.ReasonExpired, -time.Millisecond, RejectedHit, certpath.ReasonExpired},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{})
			w.clock.Set(start)
			if tt.leaf.URIs == nil {
				tt.leaf.URIs = []string{prod + "/a"}
			}
			if !tt.leaf.NotAfter.IsZero() {
				tt.leaf.NotBefore = start.Add(-time.Minute)
			}
			chain := issue(t, w.issuing, tt.leaf)
			first := w.want(t, chain, Miss, tt.first)
			w.clock.Advance(tt.after)
			v := w.want(t, chain, tt.outcome, tt.then)
			if tt.outcome == RejectedHit && (v.Err.Depth != first.Err.Depth || v.ID != first.ID) {
				t.Errorf("the rejection says depth %d of %q, first it said %d of %q", v.Err.Depth, v.ID, first.Err.Depth, first.ID)
			}
		})
	}
}

// A rejection is bound to the snapshot: a new anchor lets its workloads in at once.
func TestRejectionEndsWithTheSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	other := newHierarchy(t)
	chain := other.leaf(t, prod+"/a")
	w.want(t, chain, Miss, certpath.ReasonUntrustedChain)
	w.want(t, chain, RejectedHit, certpath.ReasonUntrustedChain)
	w.snap = snapshot(t, nil, other.bundle(t, prod, nil))
	w.want(t, chain, Miss, certpath.ReasonNone)
}

func TestSteadySpanHasNoBoundaryInside(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	h := newHierarchy(t)
	anchors := h.bundle(t, prod, func(o *trust.BundleOptions) { o.NotBeforeSkew = 3 * time.Second })
	base := h.root.Certificate.NotBefore
	for range 2000 {
		var chain []*x509.Certificate
		for range 1 + random.IntN(4) {
			begin := base.Add(time.Duration(random.IntN(20)) * time.Second)
			chain = append(chain, &x509.Certificate{NotBefore: begin, NotAfter: begin.Add(time.Duration(random.IntN(20)) * time.Second)})
		}
		moment := func() time.Time { return base.Add(time.Duration(random.IntN(80)-20) * time.Second / 2) }
		// What certpath compares (PKIX-13), for each certificate.
		answer := func(now time.Time) (s string) {
			for _, c := range append(chain, anchors.Anchors()...) {
				s += fmt.Sprint(now.After(c.NotAfter), now.Before(c.NotBefore.Add(-3*time.Second)))
			}
			return s
		}
		judged := moment()
		span := steady(chain, anchors, judged)
		span.end(judged.Add(6 * time.Second))
		if span.before.Sub(judged) > 6*time.Second {
			t.Fatalf("the span lasts %v after the judgement, want at most 6 s", span.before.Sub(judged))
		}
		for range 20 {
			if now := moment(); span.contains(now) && answer(now) != answer(judged) {
				t.Fatalf("steady() = %v around %v, but the answer at %v is another", span, judged, now)
			}
		}
	}
}

// A path that validation would not take any more is not used, although every
// certificate of it is still good.
func TestHitEndsWhenAnotherPathWouldBeTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	start := w.clock.Now()
	cross := crossSigned(t, w.issuing, w.root, start.Add(5*time.Minute))
	leaf := w.leaf(t, prod+"/a")
	chain := []*x509.Certificate{leaf[0], cross, leaf[1], leaf[2]}
	if n := len(w.prove(t, chain).Path.Issuers()); n != 3 {
		t.Fatalf("the path has %d issuers while the short way is not valid yet, want 3", n)
	}
	w.clock.Set(start.Add(5*time.Minute - 1))
	w.want(t, chain, Hit, certpath.ReasonNone)

	ref := trust.RefOf(cross, w.root.Certificate)
	deny := trust.NewDenyList(trust.DenyOptions{Serials: []trust.IssuerSerial{{IssuerSPKI: ref.IssuerSPKI, Serial: ref.Serial}}})
	w.snap = snapshot(t, deny, w.bundle(t, prod, nil))
	w.want(t, chain, Hit, certpath.ReasonNone)
	w.clock.Set(start.Add(5 * time.Minute))
	w.want(t, chain, Miss, certpath.ReasonDenied)
}

// For the race detector: everything at once.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{MaxEntries: 8, MaxRejected: 2, MaxLinks: 1})
	other := newHierarchy(t)
	var chains [][]*x509.Certificate
	for i := range 12 {
		chains = append(chains, w.leaf(t, fmt.Sprintf("%s/%d", prod, i)), other.leaf(t, fmt.Sprintf("%s/%d", prod, i)))
	}
	var store trust.Store
	snaps := []*trust.Snapshot{
		snapshot(t, nil, w.bundle(t, prod, nil)),
		snapshot(t, trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{patternOf(t, prod+"/1")}}), w.bundle(t, prod, nil)),
	}
	store.Publish(snaps[0])
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 100 {
				chain := chains[(g+i*5)%len(chains)]
				v := w.cache.Verify(chain, certpath.RoleClient, w.scope, store.Load())
				w.cache.Remember(&v)
				if v.Accepted() && !bytes.Equal(v.Path.RawLeaf(), chain[0].Raw) {
					t.Errorf("a verdict by %v is about another chain", v.Outcome)
				}
				if g == 0 && i%10 == 0 {
					store.Publish(snaps[i/10%2])
					w.cache.Stats()
				}
			}
		})
	}
	wg.Wait()
}
