package crlfetch_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"verigate/devpki"
	"verigate/trust/crlfetch"
)

func Example() {
	ca, err := devpki.NewRoot(devpki.CAOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	list, err := ca.MakeCRL(devpki.CRLOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	publisher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(list) }))
	defer publisher.Close()
	dir, err := os.MkdirTemp("", "state")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	// The copy is for package files to read. Run keeps it up to date.
	path := filepath.Join(dir, "prod.crl")
	source, err := crlfetch.New(crlfetch.Options{
		Lists:   []crlfetch.List{{URL: publisher.URL, Path: path}},
		Changed: func() { fmt.Println("there is something new to read") },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := source.Refresh(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("failures:", source.Status()[0].Failures)
	// Output:
	// there is something new to read
	// failures: 0
}
