package files

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"verigate/trust"
)

// ErrNotRegular is in the error for a path that is not a regular file, such as a
// directory or a pipe, which could keep a reader waiting for ever.
var ErrNotRegular = errors.New("not a regular file")

// ErrUnsteady is in the error for files that were different each time they were
// read.
var ErrUnsteady = errors.New("it keeps changing while it is read")

// maxReadings bounds the attempts to read the same content twice.
const maxReadings = 8

// readStable reads files until two readings of all of them agree. A certificate
// and its key are thereby taken from the same side of a rotation, and a file that
// is being written is waited out if the writer is quick.
func readStable(paths ...string) ([][]byte, error) {
	last, err := readEach(paths)
	for range maxReadings {
		if err != nil {
			return nil, err
		}
		var next [][]byte
		next, err = readEach(paths)
		if err == nil && slices.EqualFunc(last, next, bytes.Equal) {
			return next, nil
		}
		last = next
	}
	if err == nil {
		err = fmt.Errorf("%s: %w", paths[0], ErrUnsteady)
	}
	return nil, err
}

func readEach(paths []string) ([][]byte, error) {
	contents := make([][]byte, len(paths))
	for i, path := range paths {
		var err error
		if contents[i], err = readFile(path); err != nil {
			return nil, err
		}
	}
	return contents, nil
}

// readFile returns at most one octet more than a document may have, so that the
// parser refuses what is too large.
func readFile(path string) ([]byte, error) {
	// Before opening: with devices, opening is an act.
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, notRegular(path)
	}
	// And after, because another may have taken its place meanwhile; without
	// waiting, as opening a pipe does for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, notRegular(path)
	}
	return io.ReadAll(io.LimitReader(f, trust.MaxDocumentBytes+1))
}

func notRegular(path string) error {
	return &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
}

// sumOf tells contents apart without keeping them, which matters for keys.
func sumOf(contents [][]byte) [sha256.Size]byte {
	h := sha256.New()
	for _, content := range contents {
		part := sha256.Sum256(content)
		h.Write(part[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// keyNotes warns of a key that others than its owner can read (KEY-01).
func keyNotes(path string) []string {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o044 == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s can be read by its group or by everybody (mode %04o); 0600 is enough", path, info.Mode().Perm())}
}
