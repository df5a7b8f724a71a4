package telemetry

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// output is the file or writer, and the chain of seals over what was written to it.
type output struct {
	path   string
	header func(event string) []byte // the record that a log or a file begins with

	mu     sync.Mutex
	w      io.Writer
	file   *os.File // w, if we opened it
	broken bool     // the last write stopped inside a line
	sealer *sealer  // nil: no seals

	health health
}

// health is what became of writing. It has its own lock, so that asking for it
// does not wait for a write: a write that hangs is when somebody asks.
type health struct {
	mu        sync.Mutex
	failure   error // nil after a write that succeeded
	lastErr   error
	lastErrAt time.Time
	failures  uint64
}

func (h *health) succeeded() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failure = nil
}

func (h *health) failed(err error, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failure, h.lastErr, h.lastErrAt = err, err, at
	h.failures++
}

// current returns the failure that is not over yet.
func (h *health) current() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failure
}

func (h *health) report(s *AuditStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Healthy = h.failure == nil
	s.Errors, s.LastErrorAt = h.failures, h.lastErrAt
	if h.lastErr != nil {
		s.LastError = h.lastErr.Error()
	}
}

func (o *output) open(options AuditOptions, header func(event string) []byte) error {
	o.path, o.header, o.w = options.File, header, options.Writer
	if options.Seal {
		o.sealer = newSealer()
	}
	if o.path != "" {
		file, err := openAudit(o.path)
		if err != nil {
			return err
		}
		o.w, o.file = file, file
	}
	if _, err := o.write(header(eventStart)); err != nil {
		return fmt.Errorf("telemetry: audit: %w", err)
	}
	return nil
}

// openAudit opens a file to append to. If the file ends inside a line, as it does
// when a machine lost power while we were writing, that line is ended first.
func openAudit(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("telemetry: audit: %w", err)
	}
	if err := endLine(file); err != nil {
		file.Close()
		return nil, fmt.Errorf("telemetry: audit: %w", err)
	}
	return file, nil
}

func endLine(file *os.File) error {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := file.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = file.Write([]byte{'\n'})
	return err
}

// reopen makes the file that now has the path the one that is written to, when the
// write in progress is over. On an error the old file stays in use.
func (o *output) reopen(now time.Time) error {
	if o.path == "" {
		return nil
	}
	file, err := openAudit(o.path)
	if err != nil {
		o.health.failed(err, now)
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sealLocked(now)
	old := o.file
	o.w, o.file, o.broken = file, file, false
	o.sealer.restart()
	_, err = o.writeLocked(o.header(eventReopen))
	if err := errors.Join(err, closeFile(old)); err != nil {
		o.health.failed(err, now)
		return fmt.Errorf("telemetry: audit: reopening: %w", err)
	}
	return nil
}

// tornEnd ends a line that a failed write tore. The tilde keeps it from being
// taken for a whole record, or for a seal, when only the line feed was missing.
var tornEnd = []byte("~\n")

// write writes whole lines and returns how many octets of b were written. After a
// write that stopped inside a line, the next one ends that line first.
func (o *output) write(b []byte) (n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.writeLocked(b)
}

func (o *output) writeLocked(b []byte) (n int, err error) {
	if o.broken {
		n, err := o.w.Write(tornEnd)
		n = min(max(n, 0), len(tornEnd))
		o.sealer.write(tornEnd[:n])
		if n < len(tornEnd) {
			return 0, errors.Join(err, io.ErrShortWrite)
		}
		o.broken = false
	}
	n, err = o.w.Write(b)
	n = min(max(n, 0), len(b))
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	o.sealer.write(b[:n])
	if err != nil {
		o.broken = n > 0 && b[n-1] != '\n'
		return n, err
	}
	o.health.succeeded()
	return n, nil
}

// seal adds a link to the chain if anything was written since the last one.
func (o *output) seal(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sealLocked(at)
}

func (o *output) sealLocked(at time.Time) {
	if o.sealer == nil || !o.sealer.due || o.broken {
		return
	}
	b, value := o.sealer.record(at)
	n, err := o.w.Write(b)
	n = min(max(n, 0), len(b))
	if n == len(b) {
		o.sealer.commit(b, value)
	} else {
		// What was written of the seal is data like any other now; the next one covers it.
		o.sealer.write(b[:n])
		o.broken = n > 0
		err = errors.Join(err, io.ErrShortWrite)
	}
	if err != nil {
		o.health.failed(err, at)
	}
}

func (o *output) close(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return
	}
	if err := closeFile(o.file); err != nil {
		o.health.failed(err, now)
	}
}

// closeFile brings what was written to the disk first. A device or a pipe cannot
// do that, which is no failure.
func closeFile(f *os.File) error {
	err := f.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
