package verifycache

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"runtime"
	"testing"
	"time"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
)

// authorities are hierarchies whose CAs have keys of one kind. Leaves have P-256
// keys, since TLS authenticates workloads by those.
var authorities = []devpki.KeyType{devpki.P256, devpki.P384, devpki.RSA2048, devpki.MLDSA65}

// lineage is a root with so many CAs one below the other, the issuer of leaves last.
func lineage(b *testing.B, key devpki.KeyType, intermediates int) (root, issuer *devpki.CA) {
	b.Helper()
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "root", Key: key})
	must(b, err)
	issuer = root
	for i := range intermediates {
		issuer, err = issuer.NewIntermediate(devpki.CAOptions{Name: fmt.Sprint("ca ", i), Key: key})
		must(b, err)
	}
	return root, issuer
}

// longCRL is a CRL with a million entries, none of which a benchmark comes across.
func longCRL(b *testing.B, issuer *devpki.CA) *trust.CRLSet {
	b.Helper()
	o := devpki.CRLOptions{Revoked: make([]*big.Int, 1_000_000)}
	base := new(big.Int).Lsh(big.NewInt(1), 126)
	for i := range o.Revoked {
		o.Revoked[i] = new(big.Int).Add(base, big.NewInt(int64(i)*7919))
	}
	der, err := issuer.MakeCRL(o)
	must(b, err)
	list, err := trust.ParseCRLs("million.crl", der)
	must(b, err)
	set, err := trust.NewCRLSet(list, trust.CRLOptions{LeafOnly: true})
	must(b, err)
	return set
}

// BenchmarkAuthority is a hit and both kinds of miss by the authority's algorithm,
// by the length of the chain, and with and without revocation.
func BenchmarkAuthority(b *testing.B) {
	for _, key := range authorities {
		for intermediates := range 3 {
			for _, crl := range []string{"none", "million"} {
				b.Run(fmt.Sprintf("key=%s/intermediates=%d/crl=%s", key, intermediates, crl), func(b *testing.B) {
					root, issuer := lineage(b, key, intermediates)
					o := trust.BundleOptions{Anchors: []*x509.Certificate{root.Certificate}}
					if crl != "none" {
						o.CRLs = longCRL(b, issuer)
					}
					bundle, err := trust.NewBundle(originOf(b, prod), o)
					must(b, err)
					benchmarkAuthority(b, issuer, bundle)
				})
			}
		}
	}
}

func benchmarkAuthority(b *testing.B, issuer *devpki.CA, bundle *trust.Bundle) {
	chain := issue(b, issuer, devpki.LeafOptions{URIs: []string{prod + "/a"}})
	fresh := func() *world {
		w := &world{scope: scopeOf(b, prod), snap: snapshot(b, nil, bundle), cache: open(b, Options{})}
		w.prove(b, issue(b, issuer, devpki.LeafOptions{URIs: []string{prod + "/other"}}))
		return w
	}
	b.Run("hit", func(b *testing.B) {
		w := fresh()
		w.prove(b, chain)
		b.ReportAllocs()
		for b.Loop() {
			if v := w.verify(chain); v.Outcome != Hit {
				b.Fatalf("outcome %v", v.Outcome)
			}
		}
	})
	b.Run("known issuer", func(b *testing.B) { missEach(b, fresh(), chain, func() {}) })
	b.Run("cold", func(b *testing.B) {
		w := fresh()
		missEach(b, w, chain, func() { w.cache.links = newLinks(16) })
	})
}

// BenchmarkHitWithShadow is what a shadow adds to a hit: nothing where there is
// none.
func BenchmarkHitWithShadow(b *testing.B) {
	h := newHierarchy(b)
	chain := h.leaf(b, prod+"/a")
	for _, tt := range []struct {
		says   string
		shadow *trust.Bundle
	}{
		{"none", nil},
		{"accepts", h.bundle(b, prod, func(o *trust.BundleOptions) { o.NotBeforeSkew = time.Second })},
		{"rejects", newHierarchy(b).bundle(b, prod, nil)},
	} {
		b.Run("shadow="+tt.says, func(b *testing.B) {
			w := systemWorld(b, h)
			w.snap = snapshot(b, w.snap.Deny(), h.bundle(b, prod, func(o *trust.BundleOptions) { o.Shadow = tt.shadow }))
			w.prove(b, chain)
			b.ReportAllocs()
			for b.Loop() {
				if v := w.verify(chain); v.Outcome != Hit || (v.Shadow == nil) != (tt.shadow == nil) {
					b.Fatalf("outcome %v", v.Outcome)
				}
			}
		})
	}
}

// BenchmarkHitByCRLs is a hit after the CRLs of its origin have changed, by their number,
// of which three are those of the path: one that is looked up in them again.
func BenchmarkHitByCRLs(b *testing.B) {
	h := newHierarchy(b)
	chain := h.leaf(b, prod+"/a")
	for _, n := range []int{3, 1000} {
		b.Run(fmt.Sprintf("crls=%d", n), func(b *testing.B) {
			w := systemWorld(b, h)
			w.clock = newClock()
			all := w.crls(b, trust.CRLOptions{}).CRLs()
			all = append(all[:3:3], manyCRLs(b, w.clock.Now(), n-3)...)
			var snaps [2]*trust.Snapshot
			for i := range snaps {
				set, err := trust.NewCRLSet(append(all[:n:n], manyCRLs(b, w.clock.Now(), i)...), trust.CRLOptions{})
				must(b, err)
				w.trusting(b, func(o *trust.BundleOptions) { o.CRLs = set })
				snaps[i] = w.snap
			}
			w.prove(b, chain)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				w.snap = snaps[i%len(snaps)]
				if v := w.verify(chain); v.Outcome != Hit {
					b.Fatalf("outcome %v", v.Outcome)
				}
			}
		})
	}
}

// manyCRLs are n lists of one CA, a second apart.
func manyCRLs(t testing.TB, from time.Time, n int) []*trust.CRL {
	t.Helper()
	ca, err := devpki.NewRoot(devpki.CAOptions{Name: "many"})
	must(t, err)
	var all []*trust.CRL
	for i := range n {
		begin := from.Add(time.Duration(i) * time.Second)
		all = append(all, listing{issuer: ca, from: begin, until: begin.Add(time.Hour)}.sign(t))
	}
	return all
}

// BenchmarkRejudge is a round over 20 000 open connections of distinct workloads,
// per connection, with what the caller does to remember it. "verify" is what the
// same round costs if nothing is known of the paths any more.
func BenchmarkRejudge(b *testing.B) {
	const connections = 20_000
	h := newHierarchy(b)
	chains, kept := make([][]*x509.Certificate, connections), make([][]*x509.Certificate, connections)
	paths := make([]*certpath.Path, connections)
	first := systemWorld(b, h)
	for i := range chains {
		chains[i] = h.leaf(b, fmt.Sprintf("%s/%d", prod, i))
		v := first.verify(chains[i])
		kept[i], paths[i] = withoutLeaf(chains[i]), v.Path
	}
	clock := newClock()
	lists := func() *trust.CRLSet {
		return (&world{hierarchy: h, clock: clock}).crls(b, trust.CRLOptions{}, h.leaf(b, prod+"/gone")[0])
	}
	with := func(edit func(*trust.BundleOptions)) *trust.Snapshot {
		return snapshot(b, first.snap.Deny(), h.bundle(b, prod, edit))
	}
	added := with(func(o *trust.BundleOptions) { o.Anchors = append(o.Anchors, newHierarchy(b).root.Certificate) })
	revoked := func() *trust.Snapshot {
		set := lists()
		return with(func(o *trust.BundleOptions) { o.CRLs = set })
	}
	for _, tt := range []struct {
		after   string
		snaps   [2]*trust.Snapshot // in turns, one a round
		proven  bool
		outcome Outcome
	}{
		{"an anchor was added", [2]*trust.Snapshot{added, first.snap}, true, Miss},
		{"a CRL changed", [2]*trust.Snapshot{revoked(), revoked()}, true, Hit},
		{"an anchor was added, by verify", [2]*trust.Snapshot{added, first.snap}, false, Miss},
	} {
		b.Run("after="+tt.after, func(b *testing.B) {
			w := systemWorld(b, h)
			w.snap = tt.snaps[1]
			for i, chain := range chains {
				v := w.cache.Rejudge(paths[i], chain, certpath.RoleClient, w.scope, w.snap)
				w.cache.Remember(&v)
				if i%256 == 0 { // on one core, entries would come in faster than the library grows, and be evicted
					w.cache.accepted.Wait()
				}
			}
			w.cache.accepted.Wait()
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; b.Loop(); n++ {
				i := n % connections
				if i == 0 {
					w.snap = tt.snaps[n/connections%2]
				}
				var v Verdict
				if tt.proven {
					v = w.cache.Rejudge(paths[i], kept[i], certpath.RoleClient, w.scope, w.snap)
				} else {
					v = w.cache.judgeAnew(chains[i], w.scope, w.snap)
				}
				if !v.Accepted() || v.Outcome != tt.outcome {
					b.Fatalf("%s", describe(v))
				}
				w.cache.Remember(&v)
			}
		})
	}
}

// judgeAnew is Verify without the memory of the chain, and with that of its CAs.
func (c *Cache) judgeAnew(chain []*x509.Certificate, scope *Scope, snap *trust.Snapshot) Verdict {
	q := query{chain: chain, role: certpath.RoleClient, scope: scope, snap: snap, known: c.links, rejudged: true}
	v, _ := c.lead(q, keyOf(chain, q.role, scope), 0)
	return v
}

// BenchmarkMemory is what a verdict keeps in memory, of chains as crypto/tls parses
// them: from one message for each handshake, issuers and all.
func BenchmarkMemory(b *testing.B) {
	const verdicts = 5000
	h := newHierarchy(b)
	chains := make([][]*x509.Certificate, verdicts)
	for i := range chains {
		chains[i] = h.leaf(b, fmt.Sprintf("%s/%d", prod, i))
	}
	for _, shadow := range []bool{false, true} {
		b.Run(fmt.Sprintf("shadow=%v", shadow), func(b *testing.B) {
			bytes := 0.0
			for b.Loop() {
				w := systemWorld(b, h)
				if shadow {
					s := h.bundle(b, prod, func(o *trust.BundleOptions) { o.NotBeforeSkew = time.Second })
					w.snap = snapshot(b, nil, h.bundle(b, prod, func(o *trust.BundleOptions) { o.Shadow = s }))
				}
				w.prove(b, h.leaf(b, prod+"/first"))
				before := heapBytes()
				for _, chain := range chains {
					w.prove(b, received(b, chain))
				}
				w.cache.pending = newTable[chainKey, *entry](1)
				bytes = float64(heapBytes()-before) / verdicts
				if n := w.cache.Stats().Entries; n != verdicts+1 {
					b.Fatalf("%d entries are held, want %d", n, verdicts+1)
				}
			}
			b.ReportMetric(bytes, "B/verdict")
		})
	}
}

func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// received is chain as a handshake has it.
func received(t testing.TB, chain []*x509.Certificate) []*x509.Certificate {
	t.Helper()
	var message []byte
	for _, c := range chain {
		message = append(message, c.Raw...)
	}
	message = append([]byte(nil), message...)
	parsed := make([]*x509.Certificate, len(chain))
	for i, c := range chain {
		own, err := x509.ParseCertificate(message[:len(c.Raw)])
		must(t, err)
		parsed[i], message = own, message[len(c.Raw):]
	}
	return parsed
}
