package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRename(t *testing.T) {
	t.Parallel()
	const (
		before = "package ecdh\n\n// x25519ScalarMult is one.\n"
		known  = "func x25519ScalarMult(dst, scalar, point []byte) {\n}\n"
		after  = "\nfunc (curve) x25519ScalarMult() { x25519ScalarMult(nil, nil, nil) }\n"
	)
	got, err := rename([]byte(before + known + after))
	if err != nil {
		t.Fatal(err)
	}
	if want := before + "func x25519ScalarMultStandard(dst, scalar, point []byte) {\n}\n" + after; string(got) != want {
		t.Errorf("got\n%s\nexpected\n%s", got, want)
	}
	for source, want := range map[string]string{
		before:         "there is no x25519ScalarMult",
		before + after: "there is no x25519ScalarMult",
		before + "func x25519ScalarMult(dst, scalar, point *[32]byte) {}": "x25519ScalarMult is func(dst, scalar, point *[32]byte), expected func(dst, scalar, point []byte)",
		before + "func x25519ScalarMult(dst, scalar, point []byte)":       "without a body",
		before + "func (": "x25519.go:",
	} {
		if got, err := rename([]byte(source)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q and %v, expected an error with %q", source, got, err, want)
		}
	}
}

// TestOverlay is of the Go that runs the tests: whoever takes a newer one learns here that it has
// another X25519.
func TestOverlay(t *testing.T) {
	t.Parallel()
	directory := filepath.Join(t.TempDir(), "new")
	if err := run(directory); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(directory, "overlay.json"))
	if err != nil {
		t.Fatal(err)
	}
	var overlay struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &overlay); err != nil {
		t.Fatal(err)
	}
	replaced, added := 0, 0
	for original, with := range overlay.Replace {
		if _, err := os.Stat(original); err == nil {
			replaced++
		} else {
			added++
		}
		if _, err := os.Stat(with); err != nil || !filepath.IsAbs(with) {
			t.Errorf("%s is replaced with %q: %v", original, with, err)
		}
	}
	if replaced != 1 || added != 1 {
		t.Errorf("it replaces %d files and adds %d: %s", replaced, added, text)
	}
}
