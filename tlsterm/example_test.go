package tlsterm_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"verigate/devpki"
	"verigate/tlsterm"
	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

// fixed is a credential that is never rotated; package trust/files has the others.
type fixed struct{ credential *trust.Credential }

func (f fixed) Credential() *trust.Credential { return f.credential }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A listener yields connections of peers that were proven, and says who they are.
func Example() {
	root := must(devpki.NewRoot(devpki.CAOptions{}))
	gateway := must(root.Issue(devpki.LeafOptions{DNS: []string{"gateway.example"}}))
	client := must(root.Issue(devpki.LeafOptions{URIs: []string{"spiffe://prod.example/ns/shop/sa/checkout"}}))

	origin := must(workloadid.ParseOrigin("spiffe://prod.example"))
	bundle := must(trust.NewBundle(origin, trust.BundleOptions{Anchors: []*x509.Certificate{root.Certificate}}))
	store := new(trust.Store)
	store.Publish(must(trust.NewSnapshot([]*trust.Bundle{bundle}, nil)))
	cache := must(verifycache.New(verifycache.Options{}))
	own := must(trust.ParseCredential("gateway.pem", devpki.CertificatesPEM(gateway.Chain...),
		"gateway.key", must(devpki.KeyPEM(gateway.Key)), time.Now()))

	l := must(tlsterm.Listen(tlsterm.Options{
		Name: "edge", Address: "127.0.0.1:0",
		Cache: cache, Trust: store, Scope: must(verifycache.NewScope("edge", []workloadid.Origin{origin})),
		Credentials: map[string]trust.CredentialSource{"": fixed{own}},
	}))
	defer l.Close()

	anchors := x509.NewCertPool()
	anchors.AddCert(root.Certificate)
	go func() {
		c := must(tls.Dial("tcp", l.Addr().String(), &tls.Config{
			ServerName: "gateway.example", RootCAs: anchors, Certificates: []tls.Certificate{client.TLS()},
		}))
		fmt.Fprint(c, "hello")
		c.Close()
	}()

	c := must(l.Accept()).(*tlsterm.Conn)
	defer c.Close()
	fmt.Println(c.Peer().ID(), c.Peer().Grade().MIAL, c.SNI())
	// Output: spiffe://prod.example/ns/shop/sa/checkout MIAL-1 gateway.example
}
