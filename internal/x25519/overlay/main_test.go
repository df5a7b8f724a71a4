package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestReplace(t *testing.T) {
	t.Parallel()
	const (
		before = "package ecdh\n\n// x25519ScalarMult is one.\n"
		known  = "func x25519ScalarMult(dst, scalar, point []byte) {\n}\n"
		after  = "\nfunc (curve) x25519ScalarMult() { x25519ScalarMult(nil, nil, nil) }\n"
	)
	got, err := replace([]byte(before + known + after))
	if err != nil {
		t.Fatal(err)
	}
	if want := before + "func x25519ScalarMultStandard(dst, scalar, point []byte) {\n}\n" + after + variable; string(got) != want {
		t.Errorf("got\n%s\nexpected\n%s", got, want)
	}
	for source, want := range map[string]string{
		before:         "0 times, expected once",
		before + after: "0 times, expected once",
		before + "func x25519ScalarMult(dst, scalar, point *[32]byte) {\n}\n": "0 times, expected once",
		before + "func x25519ScalarMult(dst, scalar, point []byte)\n":         "0 times, expected once",
		before + known + known: "2 times, expected once",
	} {
		if got, err := replace([]byte(source)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q and %v, expected an error with %q", source, got, err, want)
		}
	}
}

// TestOverlay is of the Go that runs the tests: whoever takes a newer one learns here that it has
// another X25519.
func TestOverlay(t *testing.T) {
	t.Parallel()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	directory := filepath.Join(t.TempDir(), "new")
	if err := run(strings.TrimSpace(string(root)), directory); err != nil {
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
	if len(overlay.Replace) != 1 {
		t.Errorf("it replaces %v, expected one file", overlay.Replace)
	}
	for original, with := range overlay.Replace {
		for _, file := range []string{original, with} {
			if _, err := os.Stat(file); err != nil || !filepath.IsAbs(file) {
				t.Errorf("%s is replaced with %s, expected absolute paths of files: %v", original, with, err)
			}
		}
	}
}

func TestNoSuchGo(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	want := filepath.Join(root, "src", "crypto", "ecdh", "x25519.go")
	if err := run(root, t.TempDir()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "without the overlay") {
		t.Errorf("got %v, expected an error that names %s and says what to do", err, want)
	}
}
