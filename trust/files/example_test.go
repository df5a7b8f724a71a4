package files_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"verigate/devpki"
	"verigate/trust"
	"verigate/trust/files"
	"verigate/workloadid"
)

func Example() {
	dir, err := os.MkdirTemp("", "trust")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	root, err := devpki.NewRoot(devpki.CAOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	path := filepath.Join(dir, "prod.pem")
	if err := os.WriteFile(path, devpki.CertificatesPEM(root.Certificate), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	origin, err := workloadid.ParseOrigin("spiffe://prod.example")
	if err != nil {
		fmt.Println(err)
		return
	}

	// Open fails unless everything is there and good.
	var store trust.Store
	source, err := files.Open(files.Options{
		Bundles: []files.BundleFile{{Origin: origin, Path: path}},
	}, &store)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("anchors:", len(store.Load().Bundle(origin).Anchors()))

	// Run follows the files until its context ends.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error)
	go func() { done <- source.Run(ctx) }()

	// An empty file is a mistake, not a revocation: the last good stays.
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("reload failed:", trust.ReasonOf(source.Reload()) == trust.ReasonEmpty)
	fmt.Println("anchors:", len(store.Load().Bundle(origin).Anchors()))

	cancel()
	fmt.Println("run:", <-done)
	// Output:
	// anchors: 1
	// reload failed: true
	// anchors: 1
	// run: <nil>
}
