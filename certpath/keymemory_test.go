package certpath

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"sync"
	"testing"

	"verigate/devpki"
	"verigate/trust"
)

func spkiOf(c *x509.Certificate) [32]byte { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// TestKnownKeys: the keys of CAs of accepted paths, and of anchors, are made ready
// once. Those that a stranger presents are not kept.
//
// Not parallel: the memory is the process's, and other tests have more CAs than fit.
func TestKnownKeys(t *testing.T) {
	for kind := range circlKinds {
		f := fixture{t}
		root := f.ca(nil, "root", kind, nil)
		middle := f.ca(root, "middle", kind, nil)
		good := f.below(trust.BundleOptions{}, root, middle)

		// The same names with other keys, below another root.
		strangers := f.ca(nil, "root", kind, nil)
		strange := f.below(trust.BundleOptions{}, strangers, f.ca(strangers, "middle", kind, nil))
		strange.chain = append(strange.chain, strangers.Certificate)
		strange.bundle = good.bundle
		if _, err := strange.ask(); err == nil {
			t.Fatal("Verify() accepts a stranger's chain")
		}
		for _, c := range strange.chain[1:] {
			if knownKeys.get(spkiOf(c)) != nil {
				t.Errorf("%s: the key of a stranger's %v is kept", kind, c.Subject)
			}
		}

		if _, err := good.ask(); err != nil {
			t.Fatal(err)
		}
		for _, ca := range []*devpki.CA{root, middle} {
			if knownKeys.get(spkiOf(ca.Certificate)) == nil {
				t.Errorf("%s: the key of %v is not kept after a path was accepted", kind, ca.Certificate.Subject)
			}
		}

		// A chain that comes to nothing leaves the anchor's key behind, nothing else.
		root = f.ca(nil, "root", kind, nil)
		failed := f.below(trust.BundleOptions{}, root, f.ca(root, "middle", kind, uriConstraint("other.example")))
		if _, err := failed.ask(); ReasonOf(err) != ReasonNameConstraints {
			t.Fatalf("Verify() = %v, want %v", err, ReasonNameConstraints)
		}
		if knownKeys.get(spkiOf(root.Certificate)) == nil || knownKeys.get(spkiOf(failed.issuing.Certificate)) != nil {
			t.Errorf("%s: after a refusal the anchor's key is not kept, or the intermediate's is", kind)
		}
	}
}

// TestKeyMemoryIsBounded: however many CAs there are, the memory has its size, and
// the newest are in it.
func TestKeyMemoryIsBounded(t *testing.T) {
	t.Parallel()
	var m keyMemory
	var wg sync.WaitGroup
	number := func(i int) (spki [32]byte) {
		binary.BigEndian.PutUint32(spki[:], uint32(i))
		return spki
	}
	for i := range 3 * maxKnownKeys {
		m.keep(&circlKey{spki: number(i)})
		for range 2 { // known ones change nothing
			wg.Go(func() { m.keep(&circlKey{spki: number(i)}) })
		}
		wg.Wait()
	}
	if len(m.keys) != maxKnownKeys {
		t.Errorf("the memory holds %d keys, want %d", len(m.keys), maxKnownKeys)
	}
	for i := range 3 * maxKnownKeys {
		if k := m.get(number(i)); (k != nil) != (i >= 2*maxKnownKeys) {
			t.Errorf("key %d is %v, want only the last %d to be there", i, k, maxKnownKeys)
		}
	}
}
