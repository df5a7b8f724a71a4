package verifycache

import (
	"crypto/x509"
	"fmt"
	"testing"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
)

// The benchmarks isolate what a handshake spends on judging the chain; parsing it
// and checking CertificateVerify are crypto/tls's and come on top.

// BenchmarkHit is the budget of DESIGN: three certificates in 1.6 µs without an
// allocation, with the system's clock and a deny-list that has entries.
func BenchmarkHit(b *testing.B) {
	h := newHierarchy(b)
	rootIssued := issue(b, h.root, devpki.LeafOptions{URIs: []string{prod + "/1"}})
	upperIssued := issue(b, h.upper, devpki.LeafOptions{URIs: []string{prod + "/2"}})
	for i, chain := range [][]*x509.Certificate{rootIssued, upperIssued, h.leaf(b, prod+"/3")} {
		b.Run(fmt.Sprintf("certificates=%d", i+1), func(b *testing.B) {
			w := systemWorld(b, h)
			w.prove(b, chain)
			b.ReportAllocs()
			for b.Loop() {
				if v := w.verify(chain); v.Outcome != Hit {
					b.Fatalf("outcome %v", v.Outcome)
				}
			}
		})
	}
}

// BenchmarkHitParallel shows what cores cost each other: 1000 chains, every core
// on all of them.
func BenchmarkHitParallel(b *testing.B) {
	h := newHierarchy(b)
	w := systemWorld(b, h)
	chains := make([][]*x509.Certificate, 1000)
	for i := range chains {
		chains[i] = h.leaf(b, fmt.Sprintf("%s/%d", prod, i))
		w.prove(b, chains[i])
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if v := w.verify(chains[i%len(chains)]); v.Outcome != Hit {
				b.Errorf("outcome %v", v.Outcome)
				return
			}
		}
	})
}

// BenchmarkKey is the part of a hit that grows with the chain.
func BenchmarkKey(b *testing.B) {
	h := newHierarchy(b)
	chain, scope := h.leaf(b, prod+"/a"), scopeOf(b, prod)
	for n := 1; n <= len(chain); n++ {
		b.Run(fmt.Sprintf("certificates=%d", n), func(b *testing.B) {
			bytes, _ := keyable(chain[:n])
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			for b.Loop() {
				keyOf(chain[:n], certpath.RoleClient, scope)
			}
		})
	}
}

// BenchmarkMiss judges a chain for the first time: "known issuer" after another
// leaf of the issuer was, "cold" in a cache that has never seen the issuer.
func BenchmarkMiss(b *testing.B) {
	h := newHierarchy(b)
	chain := h.leaf(b, prod+"/a")
	b.Run("known issuer", func(b *testing.B) {
		w := systemWorld(b, h)
		w.prove(b, h.leaf(b, prod+"/other"))
		missEach(b, w, chain, func() {})
	})
	b.Run("cold", func(b *testing.B) {
		w := systemWorld(b, h)
		missEach(b, w, chain, func() { w.cache.links = newLinks(16) })
	})
	b.Run("disabled", func(b *testing.B) {
		w := systemWorld(b, h)
		w.cache = open(b, Options{Disabled: true})
		b.ReportAllocs()
		for b.Loop() {
			w.verify(chain)
		}
	})
}

func missEach(b *testing.B, w *world, chain []*x509.Certificate, before func()) {
	b.ReportAllocs()
	for b.Loop() {
		w.cache.pending = newTable[chainKey, *entry](1)
		before()
		if v := w.verify(chain); v.Outcome != Miss || !v.Accepted() {
			b.Fatalf("outcome %v, %v", v.Outcome, v.Err)
		}
	}
}

// BenchmarkRejectedHit is what a peer costs who keeps presenting the same refused
// chain.
func BenchmarkRejectedHit(b *testing.B) {
	w := newWorld(b, Options{})
	chain := newHierarchy(b).leaf(b, prod+"/a")
	w.verify(chain)
	b.ReportAllocs()
	for b.Loop() {
		if v := w.verify(chain); v.Outcome != RejectedHit {
			b.Fatalf("outcome %v", v.Outcome)
		}
	}
}

// systemWorld has the system's clock and a deny-list of every kind of entry.
func systemWorld(b *testing.B, h hierarchy) *world {
	b.Helper()
	deny := trust.NewDenyList(trust.DenyOptions{
		Identities: denied(b),
		Serials:    []trust.IssuerSerial{{Serial: [20]byte{1}}},
		Keys:       []trust.Digest{{1}},
	})
	return &world{
		hierarchy: h,
		scope:     scopeOf(b, prod),
		snap:      snapshot(b, deny, h.bundle(b, prod, nil)),
		cache:     open(b, Options{}),
	}
}
