package mirror

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"verigate/trust"
)

// File is where the last good version of a remote document is. It may be missing.
// Only one writer at a time may use it; readers never see a part of a document.
type File struct{ Path string }

// Prepare makes the folder of the file, so that it can be watched before there is
// anything in it.
func (f File) Prepare() error {
	if f.Path == "" {
		return &Error{Reason: ReasonOptions, Detail: "a copy of what is fetched needs a path"}
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o750); err != nil {
		return &Error{Reason: ReasonState, Err: err}
	}
	return nil
}

// Read returns the content and its digest, nil and no error when there is no file.
// More than maxBytes is an error.
func (f File) Read(maxBytes int64) ([]byte, trust.Digest, error) {
	refuse := func(err error) ([]byte, trust.Digest, error) {
		return nil, trust.Digest{}, &Error{Reason: ReasonState, Err: err}
	}
	// A pipe in the place of the file would keep its reader waiting.
	file, err := os.OpenFile(f.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, trust.Digest{}, nil
	} else if err != nil {
		return refuse(err)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil {
		return refuse(err)
	} else if !info.Mode().IsRegular() {
		return refuse(fmt.Errorf("%s is not a regular file", f.Path))
	}
	data, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	switch {
	case err != nil:
		return refuse(err)
	case int64(len(data)) > maxBytes:
		return refuse(fmt.Errorf("%s has more than %d octets", f.Path, maxBytes))
	case data == nil:
		data = []byte{}
	}
	return data, sha256.Sum256(data), nil
}

// Write puts data in the place of the content, confirmed at now. After a crash the
// file has the one or the other, whole.
func (f File) Write(data []byte, now time.Time) error {
	if err := f.write(data, now); err != nil {
		return &Error{Reason: ReasonState, Err: err}
	}
	return nil
}

func (f File) write(data []byte, now time.Time) (err error) {
	folder := filepath.Dir(f.Path)
	// In the same folder, because a rename is atomic only within a file system; and
	// with a leading dot, which the reader of a folder passes over.
	temporary, err := os.CreateTemp(folder, "."+filepath.Base(f.Path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			temporary.Close()
			os.Remove(temporary.Name())
		}
	}()
	if _, err = temporary.Write(data); err != nil {
		return err
	}
	// Anchors and CRLs are public; that they are right is what matters, so nobody else
	// may write.
	if err = temporary.Chmod(0o644); err != nil {
		return err
	}
	// Before the rename: a name that points at content which never reached the disk is
	// an empty file after a power failure.
	if err = temporary.Sync(); err != nil {
		return err
	}
	if err = temporary.Close(); err != nil {
		return err
	}
	if err = os.Chtimes(temporary.Name(), now, now); err != nil {
		return err
	}
	if err = os.Rename(temporary.Name(), f.Path); err != nil {
		return err
	}
	return syncFolder(folder)
}

// syncFolder makes a rename durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Confirm records that the content is still what its source says.
func (f File) Confirm(now time.Time) error {
	if err := os.Chtimes(f.Path, now, now); err != nil {
		return &Error{Reason: ReasonState, Err: err}
	}
	return nil
}

// Prune removes the files in before that are not in after. A relationship that has
// ended must not come back to life with old anchors when its trust domain is
// configured again (FED-09).
func Prune(before, after []string) error {
	var faults []error
	for _, path := range before {
		if slices.Contains(after, path) {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, &Error{Reason: ReasonState, Err: err})
		}
	}
	return errors.Join(faults...)
}
