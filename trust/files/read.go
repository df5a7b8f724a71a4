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
	"time"
)

// ErrNotRegular is in the error for a path that is not a regular file, such as a
// directory or a pipe, which could keep a reader waiting for ever.
var ErrNotRegular = errors.New("not a regular file")

// ErrUnsteady is in the error for files that were different each time they were
// read.
var ErrUnsteady = errors.New("it keeps changing while it is read")

// maxReadings bounds the attempts to read the same content twice.
const maxReadings = 8

// reading is what files said at one time.
type reading struct {
	contents [][]byte
	written  time.Time // the oldest modification time
}

func (r *reading) add(content []byte, info fs.FileInfo) {
	r.contents = append(r.contents, content)
	r.mark(info)
}

func (r *reading) mark(info fs.FileInfo) {
	if at := info.ModTime(); r.written.IsZero() || at.Before(r.written) {
		r.written = at
	}
}

// readStable reads files until two readings of all of them agree. A certificate
// and its key are thereby taken from the same side of a rotation, and a file that
// is being written is waited out if the writer is quick.
func readStable(paths []string, limit int) (reading, error) {
	last, err := readEach(paths, limit)
	for range maxReadings {
		if err != nil {
			return reading{}, err
		}
		var next reading
		next, err = readEach(paths, limit)
		if err == nil && slices.EqualFunc(last.contents, next.contents, bytes.Equal) {
			return next, nil
		}
		last = next
	}
	if err == nil {
		err = fmt.Errorf("%s: %w", paths[0], ErrUnsteady)
	}
	return reading{}, err
}

func readEach(paths []string, limit int) (r reading, err error) {
	for _, path := range paths {
		err := withFile(path, limit, func(content io.Reader, info fs.FileInfo) error {
			// The size saves a list of megabytes from being copied as it grows; it is a
			// hint that the reader does not depend on.
			into := bytes.NewBuffer(make([]byte, 0, min(info.Size(), int64(limit))+bytes.MinRead))
			_, err := into.ReadFrom(content)
			r.add(into.Bytes(), info)
			return err
		})
		if err != nil {
			return reading{}, err
		}
	}
	return r, nil
}

// sumEach returns the hash that sumOf would give the contents of files, without
// keeping them: most looks find what was there before, in megabytes of lists.
func sumEach(paths []string, limit int) (sum [sha256.Size]byte, written time.Time, err error) {
	whole := sha256.New()
	var r reading
	for _, path := range paths {
		err := withFile(path, limit, func(content io.Reader, info fs.FileInfo) error {
			part := sha256.New()
			_, err := io.Copy(part, content)
			whole.Write(part.Sum(nil))
			r.mark(info)
			return err
		})
		if err != nil {
			return sum, written, err
		}
	}
	return [sha256.Size]byte(whole.Sum(nil)), r.written, nil
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

// withFile calls f with at most one octet more than limit, so that the parser
// refuses what is too large.
func withFile(path string, limit int, f func(content io.Reader, info fs.FileInfo) error) error {
	// Before opening: with devices, opening is an act.
	if info, err := os.Stat(path); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return notRegular(path)
	}
	// And after, because another may have taken its place meanwhile; without
	// waiting, as opening a pipe does for a writer.
	opened, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return notRegular(path)
	}
	return f(io.LimitReader(opened, int64(limit)+1), info)
}

func notRegular(path string) error {
	return &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
}

// keyNotes warns of a key or a secret that others than its owner can read
// (KEY-01).
func keyNotes(path string) []string {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o044 == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s can be read by its group or by everybody (mode %04o); 0600 is enough", path, info.Mode().Perm())}
}
