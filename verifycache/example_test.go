package verifycache_test

import (
	"crypto/x509"
	"fmt"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

// A gateway asks for the verdict in VerifyConnection and remembers it once the
// handshake has proven the key.
func Example() {
	root, err := devpki.NewRoot(devpki.CAOptions{})
	if err != nil {
		panic(err)
	}
	leaf, err := root.Issue(devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/shop/sa/checkout"}})
	if err != nil {
		panic(err)
	}
	origin, err := workloadid.ParseOrigin("spiffe://prod.example")
	if err != nil {
		panic(err)
	}
	bundle, err := trust.NewBundle(origin, trust.BundleOptions{Anchors: []*x509.Certificate{root.Certificate}})
	if err != nil {
		panic(err)
	}
	snapshot, err := trust.NewSnapshot([]*trust.Bundle{bundle}, nil)
	if err != nil {
		panic(err)
	}

	cache, err := verifycache.New(verifycache.Options{})
	if err != nil {
		panic(err)
	}
	defer cache.Close()
	scope, err := verifycache.NewScope("edge", []workloadid.Origin{origin})
	if err != nil {
		panic(err)
	}

	verdict := cache.Verify(leaf.Chain, certpath.RoleClient, scope, snapshot)
	fmt.Println(verdict.Outcome, verdict.ID, verdict.Grade.MIAL)
	if verdict.Accepted() {
		// … the peer proves that it holds the key …
		cache.Remember(&verdict)
	}

	verdict = cache.Verify([]*x509.Certificate{root.Certificate}, certpath.RoleClient, scope, snapshot)
	fmt.Println(verdict.Outcome, verdict.Err.Reason)

	// Output:
	// miss spiffe://prod.example/ns/shop/sa/checkout MIAL-1
	// miss identifier_count
}
