package upstream

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// wire is the transport below TLS, or below HTTP when the upstream is plain. It
// knows three things that a net.Conn does not: deadlines that roll with the
// traffic, how to look whether octets are waiting without waiting for them, and
// how to send a request and await the answer in two system calls.
//
// One goroutine at a time uses a wire.
type wire struct {
	net.Conn
	raw syscall.RawConn

	// sent counts the octets that the kernel took.
	sent int64
	// sawEOF is set once the peer's FIN was read: a TLS stream that ends because
	// of it, and not because of a close_notify, was cut off (RFC 8446 §6.1).
	sawEOF bool

	// Deadlines are changed lazily; see armRead.
	readLimit, writeLimit time.Duration
	readBy, writeBy       time.Time

	// held is what Write took while hold was set; the next Read sends it.
	hold bool
	held []byte
	now  time.Time // a reading of the clock from the time of that Write

	// looking makes Read return errNothing instead of waiting.
	looking bool

	// The operands of step, which is a method value made once so that a Read
	// does not allocate.
	step    func(fd uintptr) bool
	into    []byte
	n       int
	err     error
	started bool
}

// errNothing is what Read returns while looking finds no octets. It is temporary
// to crypto/tls, which therefore carries on where it was at the next Read.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing to read" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

func newWire(c net.Conn) (*wire, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, errors.New("the connection has no descriptor")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: c, raw: raw}
	w.step = w.readStep
	return w, nil
}

// deadlineSlack is the part of a time-out by which it may be exceeded. Moving a
// deadline costs more than a tenth of a microsecond, so that it is moved only
// when too little of it is left.
const deadlineSlack = 8

// rollRead makes every later Read fail that gets no octet within limit.
func (w *wire) rollRead(limit time.Duration) { w.readLimit = limit }

// rollWrite makes every later Write fail that cannot send within limit.
func (w *wire) rollWrite(limit time.Duration) { w.writeLimit = limit }

// readWithin makes every Read fail that is not done when limit from now is over,
// together and not each, until rollRead.
func (w *wire) readWithin(limit time.Duration, now time.Time) error {
	w.readLimit = 0
	return w.armRead(limit, now)
}

func (w *wire) armRead(limit time.Duration, now time.Time) error {
	if due := now.Add(limit); w.readBy.Before(due) || w.readBy.After(due.Add(limit/deadlineSlack)) {
		w.readBy = due.Add(limit / deadlineSlack)
		return w.Conn.SetReadDeadline(w.readBy)
	}
	return nil
}

func (w *wire) armWrite(limit time.Duration, now time.Time) error {
	if due := now.Add(limit); w.writeBy.Before(due) || w.writeBy.After(due.Add(limit/deadlineSlack)) {
		w.writeBy = due.Add(limit / deadlineSlack)
		return w.Conn.SetWriteDeadline(w.writeBy)
	}
	return nil
}

// Read reads like a net.Conn, after it sent what was held.
func (w *wire) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if w.readLimit > 0 { // a look too: the deadline before may have passed while a client read slowly
		if err := w.armRead(w.readLimit, time.Now()); err != nil {
			return 0, err
		}
	}
	w.into, w.n, w.err, w.started = p, 0, nil, false
	err := w.raw.Read(w.step)
	w.into = nil
	if err == nil {
		err = w.err
	}
	if err == io.EOF {
		w.sawEOF = true
	}
	return w.n, err
}

// readStep is called until it returns true, and before each further call the
// poller waits for the descriptor.
//
// Sending inside of it is what saves a system call: an answer never is there
// right after the request went out, so a plain Write and Read pay for a read
// that learns nothing. The poller was armed before the request is sent, so that
// even an immediate answer wakes it. Without it BenchmarkForward spends 3 %
// more CPU.
func (w *wire) readStep(fd uintptr) bool {
	if !w.started {
		w.started = true
		if len(w.held) > 0 {
			w.err = w.sendHeld(int(fd))
			w.held = w.held[:0]
			return w.err != nil
		}
	}
	for {
		n, err := syscall.Read(int(fd), w.into)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN && w.looking:
			w.err = errNothing
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			w.err = os.NewSyscallError("read", err)
		case n == 0:
			w.err = io.EOF
		default:
			w.n = n
		}
		return true
	}
}

// Write writes like a net.Conn, or keeps p for the next Read.
func (w *wire) Write(p []byte) (int, error) {
	if w.hold {
		w.held = append(w.held, p...)
		return len(p), nil
	}
	return w.send(p, time.Now())
}

// sendHeld sends what is held. The kernel has room for it unless the backend does not
// read; so it is asked at first without what waiting takes, a deadline and a lock.
// Whatever it does not take or says against it is left to send.
func (w *wire) sendHeld(fd int) error {
	n, err := syscall.Write(fd, w.held)
	if err != nil {
		n = 0
	}
	w.sent += int64(n)
	if n == len(w.held) {
		return nil
	}
	_, err = w.send(w.held[n:], w.now)
	return err
}

func (w *wire) send(p []byte, now time.Time) (int, error) {
	if w.writeLimit > 0 {
		if err := w.armWrite(w.writeLimit, now); err != nil {
			return 0, err
		}
	}
	n, err := w.Conn.Write(p)
	w.sent += int64(n)
	return n, err
}
