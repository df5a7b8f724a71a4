// Command overlay writes what `go build -overlay` needs so that crypto/ecdh lets X25519 be
// computed by somebody else, which internal/x25519 then does (ADR 0030):
//
//	go run ./internal/x25519/overlay "$(go env GOROOT)" DIRECTORY
//	go build -overlay DIRECTORY/overlay.json -tags x25519circl ./cmd/gateway
//
// It takes crypto/ecdh from that Go, gives the one function that computes X25519
// another name, and puts a variable in its place, which holds that function until it is set.
//
// An overlay is of one Go: write it anew after each update, as `make build-x25519` does, or what
// the update has mended in that file is lost.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	declaration = "\nfunc x25519ScalarMult(dst, scalar, point []byte) {\n"
	renamed     = "\nfunc x25519ScalarMultStandard(dst, scalar, point []byte) {\n"
	variable    = `
// X25519ScalarMult computes X25519 for this package. It is to be set by an init function only.
var X25519ScalarMult = x25519ScalarMultStandard
` + declaration + `	X25519ScalarMult(dst, scalar, point)
}
`
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run ./internal/x25519/overlay GOROOT DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "overlay:", err)
		os.Exit(1)
	}
}

// run writes overlay.json and the file that it names, of the Go in root, into a directory, which
// it makes.
func run(root, directory string) error {
	directory, err := filepath.Abs(directory)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	original := filepath.Join(root, "src", "crypto", "ecdh", "x25519.go")
	source, err := os.ReadFile(original)
	if err == nil {
		source, err = replace(source)
	}
	if err != nil {
		return fmt.Errorf("%s: %w; this command knows the X25519 of Go 1.26 and 1.27: adapt it to this one, or build without the overlay and the tag x25519circl", original, err)
	}
	replacement := filepath.Join(directory, "x25519.go")
	overlay, err := json.MarshalIndent(map[string]any{"Replace": map[string]string{original: replacement}}, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(replacement, source, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, "overlay.json"), append(overlay, '\n'), 0o600)
}

// replace returns the source with the function under its other name, and with the variable. It is
// an error if the source has no such function, or another that takes or returns something else.
func replace(source []byte) ([]byte, error) {
	if n := bytes.Count(source, []byte(declaration)); n != 1 {
		return nil, fmt.Errorf("%q is there %d times, expected once", strings.TrimSpace(declaration), n)
	}
	return append(bytes.Replace(source, []byte(declaration), []byte(renamed), 1), variable...), nil
}
