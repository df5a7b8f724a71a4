package trust_test

import (
	"fmt"

	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

func Example() {
	origin, err := workloadid.ParseOrigin("spiffe://prod.example")
	if err != nil {
		fmt.Println(err)
		return
	}
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "prod root"})
	if err != nil {
		fmt.Println(err)
		return
	}

	// Read, judge, publish.
	parsed, err := trust.ParseAnchors("prod.pem", devpki.CertificatesPEM(root.Certificate), origin)
	if err != nil {
		fmt.Println(err)
		return
	}
	bundle, err := trust.NewBundle(origin, trust.BundleOptions{Anchors: parsed.Anchors})
	if err != nil {
		fmt.Println(err)
		return
	}
	snapshot, err := trust.NewSnapshot([]*trust.Bundle{bundle}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var store trust.Store
	store.OnChange(func(_, new *trust.Snapshot) {
		fmt.Println("trusted now:", len(new.Bundles()[0].Anchors()), "anchor of", new.Bundles()[0].Origin())
	})
	store.Publish(snapshot)

	// Publishing the same content again changes nothing.
	store.Publish(snapshot)

	// A key among the anchors is refused, in words.
	leaf, err := root.Issue(devpki.LeafOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := devpki.KeyPEM(leaf.Key)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = trust.ParseAnchors("prod.pem", key, origin)
	fmt.Println(trust.ReasonOf(err) == trust.ReasonPrivateKey)
	// Output:
	// trusted now: 1 anchor of spiffe://prod.example
	// true
}
