package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// marker makes a folder ours: what we would write there may be replaced in a folder
// that has it, and in no other. Whoever uses the folder holds a lock on it.
const marker = ".verigate-load"

// written is what a run leaves in its folder, beside the marker.
var written = []string{"pki", "gateway.yaml", "audit.jsonl", "gateway", "backend", "driver"}

// claimed is the locked marker of a folder.
type claimed struct{ *os.File }

// release ends the claim. Closing the file would not do: a process that somebody
// starts at that moment has a copy of it until it executes its own program.
func (c claimed) release() {
	unix.Flock(int(c.Fd()), unix.LOCK_UN)
	c.Close()
}

// claim makes the folder dir, if need be, and marks it as ours until it is released.
// It fails, and changes nothing, if somebody else's files have the names of ours,
// such as a CA that `gateway pki gen` made there for other uses, or if another run
// uses the folder.
func claim(dir string) (claimed, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return claimed{}, err
	}
	file := filepath.Join(dir, marker)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		for _, name := range written {
			other := filepath.Join(dir, name)
			if _, err := os.Lstat(other); err == nil {
				return claimed{}, fmt.Errorf("%s was not made by this program; choose another -dir", other)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return claimed{}, err
			}
		}
	} else if err != nil {
		return claimed{}, err
	}
	// Processes that are started later do not inherit it, so the lock ends with us.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return claimed{}, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return claimed{}, fmt.Errorf("another run uses %s; end it, or choose another -dir", dir)
		}
		return claimed{}, fmt.Errorf("%s: %w", file, err)
	}
	return claimed{f}, nil
}
