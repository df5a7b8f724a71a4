package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"verigate/trust/mirror"
)

var moment = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newFile(t *testing.T) mirror.File {
	t.Helper()
	f := mirror.File{Path: filepath.Join(t.TempDir(), "state", "copy")}
	if err := f.Prepare(); err != nil {
		t.Fatal(err)
	}
	return f
}

func mustWrite(t *testing.T, f mirror.File, content string, now time.Time) {
	t.Helper()
	if err := f.Write([]byte(content), now); err != nil {
		t.Fatalf("Write() = %v", err)
	}
}

func modified(t *testing.T, f mirror.File) time.Time {
	t.Helper()
	info, err := os.Stat(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

func TestFileIsWrittenWholeAndReadBack(t *testing.T) {
	t.Parallel()
	f := newFile(t)
	if data, _, err := f.Read(10); data != nil || err != nil {
		t.Fatalf("Read() of no file = %q, %v; want nothing and no error", data, err)
	}
	mustWrite(t, f, "one", moment)
	mustWrite(t, f, "two", moment.Add(time.Hour))
	data, digest, err := f.Read(10)
	if string(data) != "two" || digest.IsZero() || err != nil {
		t.Errorf("Read() = %q, %v, %v; want %q", data, digest, err, "two")
	}
	if got, want := modified(t, f), moment.Add(time.Hour); !got.Equal(want) {
		t.Errorf("the file is of %v, want %v", got, want)
	}
	if err := f.Confirm(moment.Add(2 * time.Hour)); err != nil {
		t.Fatalf("Confirm() = %v", err)
	}
	if got, want := modified(t, f), moment.Add(2*time.Hour); !got.Equal(want) {
		t.Errorf("after Confirm the file is of %v, want %v", got, want)
	}
	entries, err := os.ReadDir(filepath.Dir(f.Path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v; want the file alone", entries, err)
	}
}

func TestReadersNeverSeeAPart(t *testing.T) {
	t.Parallel()
	f := newFile(t)
	contents := [][]byte{bytes.Repeat([]byte("a"), 200_000), bytes.Repeat([]byte("b"), 100_000)}
	mustWrite(t, f, string(contents[0]), moment)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 50 {
			if err := f.Write(contents[i%2], moment); err != nil {
				t.Errorf("Write() = %v", err)
			}
		}
	}()
	for {
		data, _, err := f.Read(1 << 20)
		if err != nil || !bytes.Equal(data, contents[0]) && !bytes.Equal(data, contents[1]) {
			t.Fatalf("Read() gave %d octets, %v; want one of the two contents", len(data), err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestFailedWriteLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	f := newFile(t)
	if err := os.MkdirAll(filepath.Join(f.Path, "in the way"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := f.Write([]byte("one"), moment); mirror.ReasonOf(err) != mirror.ReasonState {
		t.Errorf("Write() over a folder = %v, want reason %v", err, mirror.ReasonState)
	}
	entries, err := os.ReadDir(filepath.Dir(f.Path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v; want what was in the way alone", entries, err)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	long, pipe, folder := newFile(t), newFile(t), newFile(t)
	mustWrite(t, long, "12345678901", moment)
	if err := syscall.Mkfifo(pipe.Path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]mirror.File{"a long file": long, "a pipe": pipe, "a folder": folder} {
		if data, _, err := f.Read(10); mirror.ReasonOf(err) != mirror.ReasonState || data != nil {
			t.Errorf("Read() of %s = %q, %v; want reason %v", name, data, err, mirror.ReasonState)
		}
	}
	missing := newFile(t)
	if err := missing.Confirm(moment); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Confirm() of no file = %v, want %v", err, fs.ErrNotExist)
	}
	if err := (mirror.File{}).Prepare(); mirror.ReasonOf(err) != mirror.ReasonOptions {
		t.Errorf("Prepare() without a path = %v, want reason %v", err, mirror.ReasonOptions)
	}
}

// FED-09: an ended relationship leaves nothing to come back with.
func TestPruneRemovesWhatIsNoLongerConfigured(t *testing.T) {
	t.Parallel()
	stays, goes, never := newFile(t), newFile(t), newFile(t)
	mustWrite(t, stays, "one", moment)
	mustWrite(t, goes, "one", moment)
	if err := mirror.Prune([]string{stays.Path, goes.Path, never.Path}, []string{stays.Path}); err != nil {
		t.Fatalf("Prune() = %v", err)
	}
	if data, _, err := stays.Read(10); data == nil || err != nil {
		t.Errorf("Prune removed what is still configured: %v", err)
	}
	if data, _, err := goes.Read(10); data != nil || err != nil {
		t.Errorf("Prune left %q, %v", data, err)
	}
}

func TestErrorsSayWhatAndWhy(t *testing.T) {
	t.Parallel()
	err := error(&mirror.Error{Reason: mirror.ReasonUnreachable, Detail: "detail", Err: context.DeadlineExceeded})
	if want := "there is no answer: detail: context deadline exceeded"; err.Error() != want {
		t.Errorf("Error() = %q, want %q", err, want)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not wrap its cause", err)
	}
	seen := map[string]bool{}
	for r := mirror.ReasonNone; r.String() != "mirror.Reason(10)"; r++ {
		if seen[r.String()] {
			t.Errorf("two reasons are %q", r)
		}
		seen[r.String()] = true
	}
	if len(seen) != 10 {
		t.Errorf("%d reasons have a code, want 10", len(seen))
	}
}
