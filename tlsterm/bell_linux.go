package tlsterm

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"time"
)

// bell wakes one goroutine through the network poller. It is an eventfd that nobody
// reads: the poller is told of every write to it (epoll, edge-triggered), so a turn
// takes one system call where a pipe takes three, of which the last only learns that
// the pipe is empty.
type bell struct {
	file *os.File
	conn syscall.RawConn
	one  [8]byte
}

func newBell() (*bell, error) {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return nil, fmt.Errorf("eventfd: %w", errno)
	}
	b := &bell{file: os.NewFile(fd, "eventfd")}
	binary.NativeEndian.PutUint64(b.one[:], 1)
	// Only what the poller watches has deadlines.
	err := b.file.SetReadDeadline(time.Time{})
	if err == nil {
		b.conn, err = b.file.SyscallConn()
	}
	if err != nil {
		b.file.Close()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return b, nil
}

// ring makes answer call its function after the next poll of the network. Rings before
// that are one.
func (b *bell) ring() {
	// It fails when the bell is closed, and after 2⁶⁴ rings.
	_, _ = b.file.Write(b.one[:])
}

// answer calls f after a poll that followed a ring, until the bell is closed. It closes
// listening when no ring can be missed any more.
func (b *bell) answer(listening chan<- struct{}, f func()) {
	begun := false
	// One call for all rings: another would forget those between the two.
	_ = b.conn.Read(func(uintptr) bool {
		if begun {
			f()
		} else {
			begun = true
			close(listening)
		}
		return false
	})
}

// close waits until answer has returned.
func (b *bell) close() { b.file.Close() }
