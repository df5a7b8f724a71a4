package certpath_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"time"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

func Example() {
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "prod root"})
	if err != nil {
		panic(err)
	}
	leaf, err := root.Issue(devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/shop/sa/checkout"}})
	if err != nil {
		panic(err)
	}

	// The identifier selects the bundle; nothing else does.
	id, err := certpath.Identify(leaf.Chain[0])
	if err != nil {
		panic(err)
	}
	bundle := bundleOf(id.Origin(), root.Certificate)

	path, err := certpath.Verify(leaf.Chain, bundle, certpath.RoleClient, time.Now())
	if err != nil {
		panic(err)
	}
	fmt.Println(path.ID())

	_, err = certpath.Verify(leaf.Chain, bundle, certpath.RoleClient, time.Now().Add(48*time.Hour))
	fmt.Println(certpath.ReasonOf(err))
	// Output:
	// spiffe://prod.example/ns/shop/sa/checkout
	// expired
}

// A Verifier with a Trace explains its verdict step by step.
func ExampleVerifier() {
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "prod root"})
	if err != nil {
		panic(err)
	}
	leaf, err := root.Issue(devpki.LeafOptions{
		URIs:        []string{"spiffe://prod.example/ns/shop/sa/checkout"},
		Subject:     pkix.Name{CommonName: "checkout"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		panic(err)
	}
	origin, err := workloadid.ParseOrigin("spiffe://prod.example")
	if err != nil {
		panic(err)
	}
	v := certpath.Verifier{Trace: func(s certpath.Step) { fmt.Println(s.OK, s.Name, s.Detail) }}
	if _, err := v.Verify(leaf.Chain, bundleOf(origin, root.Certificate), certpath.RoleClient, time.Now()); err == nil {
		panic("a server's certificate was accepted from a client")
	}
	// Output:
	// true limits number, size and names
	// true identifier spiffe://prod.example/ns/shop/sa/checkout
	// true origin spiffe://prod.example
	// false leaf eku at depth 0: found serverAuth in "CN=checkout"; want clientAuth
	// false verdict eku at depth 0: found serverAuth in "CN=checkout"; want clientAuth
}

func bundleOf(origin workloadid.Origin, anchors ...*x509.Certificate) *trust.Bundle {
	bundle, err := trust.NewBundle(origin, trust.BundleOptions{Anchors: anchors})
	if err != nil {
		panic(err)
	}
	return bundle
}
