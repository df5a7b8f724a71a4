package devpki_test

import (
	"crypto/x509"
	"fmt"

	"verigate/devpki"
)

// A workload's certificate comes with the intermediates that a peer needs to get
// from it to the root.
func Example() {
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "prod root"})
	if err != nil {
		panic(err)
	}
	issuing, err := root.NewIntermediate(devpki.CAOptions{Name: "prod issuing"})
	if err != nil {
		panic(err)
	}
	leaf, err := issuing.Issue(devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/shop/sa/checkout"}})
	if err != nil {
		panic(err)
	}
	anchors, intermediates := x509.NewCertPool(), x509.NewCertPool()
	anchors.AddCert(root.Certificate)
	intermediates.AddCert(leaf.Chain[1])
	_, err = leaf.Chain[0].Verify(x509.VerifyOptions{Roots: anchors, Intermediates: intermediates})

	fmt.Println(len(leaf.Chain), leaf.Chain[0].URIs[0], err)
	// Output: 2 spiffe://prod.example/ns/shop/sa/checkout <nil>
}
