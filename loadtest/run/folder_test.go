package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A CA that somebody made for other uses outlives a run on the folder around it,
// and so does everything else that has a name of ours.
func TestRunLeavesTheFilesOfOthers(t *testing.T) {
	t.Parallel()
	for _, name := range append([]string{"pki/index.json"}, written[1:]...) {
		dir := t.TempDir()
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("theirs"), 0o600); err != nil {
			t.Fatal(err)
		}
		top, _, _ := strings.Cut(name, "/")
		want := filepath.Join(dir, top) + " was not made by this program; choose another -dir"
		o := options{clients: 2, keepaliveRate: 100, handshakeRate: 10, duration: time.Second, scenarios: ".", dir: dir, serve: true}
		if err := run(t.Context(), o); err == nil || err.Error() != want {
			t.Errorf("run() = %v where %s is somebody else's, want %q", err, name, want)
		}
		if data, err := os.ReadFile(file); err != nil || string(data) != "theirs" {
			t.Errorf("run() left %q, %v of somebody else's %s", data, err, name)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("run() wrote into somebody else's folder: %v, %v", entries, err)
		}
	}
}

func TestFolderIsClaimedOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "load")
	first, err := claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Ours, from here on, also when a run ended half-way.
	if err := os.MkdirAll(filepath.Join(dir, "pki"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := options{clients: 2, keepaliveRate: 100, handshakeRate: 10, duration: time.Second, scenarios: ".", dir: dir, serve: true}
	if err := run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "another run uses "+dir) {
		t.Errorf("run() = %v on a folder that is in use, want it refused", err)
	}
	// As a process has it that another test starts just now.
	inherited, err := unix.Dup(int(first.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	first.release()
	second, err := claim(dir)
	if err != nil {
		t.Fatalf("claim() = %v of our own folder that nobody uses any more", err)
	}
	second.release()
}

// What has no marker as a file of its own is nobody's word that the folder is ours.
func TestMarkerIsNoLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(dir, "elsewhere")
	if err := os.Symlink(target, filepath.Join(dir, marker)); err != nil {
		t.Fatal(err)
	}
	if f, err := claim(dir); err == nil {
		f.release()
		t.Error("claim() followed a link")
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("claim() made the file that a link names")
	}
}

// certify replaces what an earlier run left, whole or not.
func TestCertifyReplacesOurs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := filepath.Join(dir, "pki", "root.pem")
	if err := os.MkdirAll(filepath.Dir(old), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	gateway := "#!/bin/sh\nmkdir \"$4\" && echo \"$*\" >\"$4/made\"\n"
	if err := os.WriteFile(filepath.Join(dir, "gateway"), []byte(gateway), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &stage{options: options{dir: dir, clients: 2}}
	if err := s.certify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("certify() left a certificate of an earlier run")
	}
	if data, err := os.ReadFile(s.pki("made")); err != nil || !strings.HasPrefix(string(data), "pki gen --dir "+s.pki()) {
		t.Errorf("certify() had the gateway do %q, %v", data, err)
	}
}

func TestGatewayDoesNotInheritTheCollector(t *testing.T) {
	t.Parallel()
	got := withoutCollector([]string{"PATH=/bin", "GOGC=off", "GOMEMLIMIT=1GiB", "GOGCX=1"})
	if strings.Join(got, " ") != "PATH=/bin GOGCX=1" {
		t.Errorf("withoutCollector() = %q, want everything but GOGC and GOMEMLIMIT", got)
	}
}
