package tlsterm

import (
	"bufio"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"verigate/certpath"
)

// socket is the TCP connection under TLS. During the handshake it buffers what
// the client sends and holds the CPU token; afterwards it passes everything
// through.
type socket struct {
	net.Conn          // as accepted
	remote   net.Addr // behind the load balancer, if one said so

	// in buffers the client's first flights; nil once it is drained after the
	// handshake. crypto/tls reads a record in several small pieces, each of which
	// would be a system call, and perhaps a wait for a token. Used by the one
	// goroutine that reads.
	in *bufio.Reader
	// gate is non-nil during the handshake, which one goroutine does.
	gate *gate
	// records bounds reads after the handshake. Used by the goroutine that reads.
	records records

	// reads counts those after the handshake, up to firstReads. Used as records is.
	reads   uint8
	limiter *Limiter

	// last is non-nil while what is written is kept back; see [Conn.Hold].
	last atomic.Pointer[lastWords]

	// closeBy, if set, bounds write deadlines: the moment, in Unix nanoseconds, by
	// which the last words must be said. crypto/tls allows close_notify five
	// seconds, which is long where many peers are stuck.
	closeBy atomic.Int64
}

// firstReads is how many reads after the handshake a connection may take that comes for
// one request and goes. Whoever is read more often stays.
const firstReads = 4

// gate is a handshake's place in the queue for CPU tokens.
type gate struct {
	held   bool          // a token
	bursts int           // how often it had one
	waited time.Duration // for tokens, in total

	received int // octets of the client
}

// maxHandshakeBytes bounds what a client may send until its handshake is done:
// the largest chain that is judged and as much again as any ClientHello has.
// crypto/tls takes 256 KiB of certificates and parses them before anybody is
// asked, which is up to 16 ms of work for a stranger (PKIX-12).
const maxHandshakeBytes = certpath.MaxChainBytes + 32<<10

// errTooLong is a certpath.Error to be counted with the chains that are too long.
var errTooLong = &certpath.Error{
	Reason: certpath.ReasonLimitsExceeded,
	Found:  "more than " + strconv.Itoa(maxHandshakeBytes) + " octets before the end of the handshake",
	Want:   "a chain of at most " + strconv.Itoa(certpath.MaxChainBytes),
}

// helloBytes fits the first flight of every usual client (a ClientHello with
// X25519MLKEM768 has about 1.7 KiB) and the second with a chain of four.
const helloBytes = 4096

var helloBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, helloBytes) }}

// newSocket wraps a connection just accepted.
func newSocket(c net.Conn, l *Limiter) *socket {
	in := helloBuffers.Get().(*bufio.Reader)
	in.Reset(c)
	return &socket{Conn: c, remote: c.RemoteAddr(), in: in, gate: new(gate), limiter: l}
}

// await blocks until an octet of the client is there to be read.
func (s *socket) await() error {
	_, err := s.in.Peek(1)
	return err
}

func (s *socket) Read(b []byte) (n int, err error) {
	switch {
	case s.gate != nil:
		n, err = s.readGated(b)
	case s.in != nil && s.in.Buffered() > 0:
		n, err = s.in.Read(b)
	default:
		if s.in != nil {
			s.dropBuffer()
		}
		n, err = s.Conn.Read(b[:min(len(b), s.records.ahead())])
		switch {
		case n == 0:
		case s.reads < firstReads:
			s.reads++
		default:
			s.limiter.serve()
		}
	}
	s.records.pass(b[:n])
	return n, err
}

// readGated is Read during the handshake.
func (s *socket) readGated(b []byte) (n int, err error) {
	switch {
	case s.in.Buffered() == 0:
		err = s.pause()
	case !s.gate.held:
		// A client that sent its next flight ahead of ours gets no burst for free.
		err = s.enter(0)
	}
	if err != nil {
		return 0, err
	}
	n, err = s.in.Read(b)
	if s.gate.received += n; s.gate.received > maxHandshakeBytes {
		return 0, errTooLong
	}
	return n, err
}

// Write ends the burst that made b: crypto/tls sends a whole flight at once and
// reads next. The kernel may have no room for it, because the client does not read
// or because memory for sockets is short, and whoever waits must hold no token.
func (s *socket) Write(b []byte) (int, error) {
	s.leave()
	if last := s.last.Load(); last != nil {
		if last.keep(b) {
			return len(b), nil
		}
		if err := s.release(); err != nil {
			return 0, err
		}
	}
	return s.Conn.Write(b)
}

// settle ends the handshake: from now on s only passes through.
func (s *socket) settle() {
	s.gate = nil
	if s.in.Buffered() == 0 {
		s.dropBuffer()
	}
	_ = s.Conn.SetDeadline(time.Time{})
}

// awaitOctets blocks, after the handshake, until there may be something to read, the
// deadline is over or the socket is closed.
func (s *socket) awaitOctets() {
	if s.in != nil {
		return // what it holds comes first
	}
	if c, ok := s.Conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			look := glance{}
			_ = raw.Read(look.done) // the next read fails alike
		}
	}
}

// dropBuffer gives the buffer back, and with it what it still holds.
func (s *socket) dropBuffer() {
	s.in.Reset(nil)
	helloBuffers.Put(s.in)
	s.in = nil
}

// slept is how long a read takes at least that put its goroutine to sleep; one
// that found data takes a few microseconds. Guessing wrong costs a turn through
// the poller, or saves one that was due.
const slept = 50 * time.Microsecond

// pause waits for the client without the token.
func (s *socket) pause() error {
	s.leave()
	before := s.limiter.moment()
	if err := s.await(); err != nil {
		return err
	}
	if s.limiter.moment()-before < slept {
		before = 0
	}
	return s.enter(before)
}

// patientFor is how long a client may have stood in the queue without being asked
// whether it is still there. A busy gateway lets everybody wait for some milliseconds,
// nobody gives up within those, and asking is a system call.
const patientFor = 10 * time.Millisecond

// promptBursts is how many bursts a handshake may have before it counts as a beginner
// again. Usual ones take two, and some more if a flight arrives in pieces. A client that
// sends octet by octet would otherwise go first thousands of times, and a few hundred of
// those keep every beginner out.
const promptBursts = 16

// enter takes the token for a burst of the handshake; see [Limiter.acquire] about polled.
func (s *socket) enter(polled time.Duration) error {
	g := s.gate
	waited, err := s.limiter.acquire(0 < g.bursts && g.bursts < promptBursts, polled)
	g.waited += waited
	if err != nil {
		return err
	}
	g.held = true
	// A client that closed while it stood in the queue before our first flight
	// cannot finish the handshake; later it could, with half of the connection.
	if waited > patientFor && g.bursts == 0 && clientGone(s.Conn) {
		s.leave()
		return errClientGone
	}
	g.bursts++
	return nil
}

// leave gives the token back, if there is one.
func (s *socket) leave() {
	if s.gate != nil && s.gate.held {
		s.gate.held = false
		s.limiter.release()
	}
}

// RemoteAddr returns the address of the client, also when a load balancer in
// front made the connection.
func (s *socket) RemoteAddr() net.Addr { return s.remote }

// SetWriteDeadline sets t, or the moment by which the last words must be said if
// that is earlier.
func (s *socket) SetWriteDeadline(t time.Time) error {
	if by := s.closeBy.Load(); by != 0 && (t.IsZero() || t.UnixNano() > by) {
		t = time.Unix(0, by)
	}
	return s.Conn.SetWriteDeadline(t)
}

// finish gives what follows d to be written, then the socket is to be closed.
func (s *socket) finish(d time.Duration) { s.closeBy.Store(time.Now().Add(d).UnixNano()) }

// reset closes the connection without leaving a trace of it in the kernel: the
// peer sees RST, and no port stays in TIME_WAIT.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		// It fails only for a connection that is gone already.
		_ = tcp.SetLinger(0)
	}
	c.Close()
}
