package load

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"verigate/benchmarks/peers/pki"
)

// worker does operations, one at a time.
type worker interface {
	// do carries out an operation that was due at a time and returns when its answer
	// was complete.
	do(due time.Time) (finished time.Time, err error)
	// end gives back what the worker holds.
	end()
}

// errFull is the failure of a connection that was to be resumed and was not.
var errFull = errors.New("a full handshake, where a session was offered")

// shaker connects, asks and leaves, each time as the identity whose turn it is.
type shaker struct {
	*client
	buffer []byte
}

func (w *shaker) do(due time.Time) (time.Time, error) {
	who, err := w.identity()
	if err != nil {
		return time.Time{}, err
	}
	finished, _, err := w.visit(w.config(who, nil), who.Name, w.buffer, due)
	return finished, err
}

func (w *shaker) end() {}

// visit is one connection with one request, and its end as the peer ends it: closing
// is part of the work.
func (c *client) visit(config *tls.Config, who string, buffer []byte, due time.Time) (finished time.Time, resumed bool, err error) {
	conn, err := c.connect(config, due.Add(c.job.Patience))
	if err != nil {
		return time.Time{}, false, err
	}
	defer conn.NetConn().Close() // without a farewell: the peer's has arrived, or it is not owed one
	if _, err := c.exchange(conn, c.requests.close, buffer, who); err != nil {
		return time.Time{}, false, err
	}
	finished = time.Now()
	if _, err := conn.Read(buffer); err != io.EOF {
		return time.Time{}, false, errors.Join(errors.New("the peer was asked to close and did not"), err)
	}
	return finished, conn.ConnectionState().DidResume, nil
}

// resumer is one identity that comes back with the ticket of its last visit.
type resumer struct {
	*client
	who    pki.Client
	config *tls.Config
	buffer []byte
}

func (c *client) newResumer(buffer []byte) (worker, error) {
	who, err := c.identity()
	if err != nil {
		return nil, err
	}
	w := &resumer{c, who, c.config(who, &session{}), buffer}
	_, _, err = c.visit(w.config, who.Name, buffer, time.Now())
	return w, err
}

func (w *resumer) do(due time.Time) (time.Time, error) {
	finished, resumed, err := w.visit(w.config, w.who.Name, w.buffer, due)
	if err == nil && !resumed {
		err = errFull
	}
	return finished, err
}

func (w *resumer) end() {}

// session keeps the newest ticket of one identity, for one use.
type session struct{ state *tls.ClientSessionState }

func (s *session) Get(string) (*tls.ClientSessionState, bool) { return s.state, s.state != nil }

func (s *session) Put(_ string, state *tls.ClientSessionState) { s.state = state }

// keeper asks again and again on one connection, and opens another when the peer
// closes it.
type keeper struct {
	*client
	who    pki.Client
	config *tls.Config
	buffer []byte
	conn   *tls.Conn
}

func (c *client) newKeeper(buffer []byte) (worker, error) {
	who, err := c.identity()
	if err != nil {
		return nil, err
	}
	w := &keeper{client: c, who: who, config: c.config(who, nil), buffer: buffer}
	_, err = w.do(time.Now())
	return w, err
}

func (w *keeper) do(due time.Time) (time.Time, error) {
	if w.conn == nil {
		conn, err := w.connect(w.config, time.Time{})
		if err != nil {
			return time.Time{}, err
		}
		w.conn = conn
	}
	closed, err := w.exchange(w.conn, w.requests.keep, w.buffer, w.who.Name)
	finished := time.Now()
	if closed {
		w.end()
	}
	if err == nil && finished.Sub(due) > w.job.Patience {
		err = errors.New("too late")
	}
	return finished, err
}

func (w *keeper) end() {
	if w.conn != nil {
		w.conn.NetConn().Close()
		w.conn = nil
	}
}

// flooder replays a ClientHello, which costs it nothing, and lets the peer answer.
type flooder struct {
	*client
	hello, buffer []byte
}

func (w *flooder) do(due time.Time) (time.Time, error) {
	conn, err := w.dial(due.Add(w.job.Patience))
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close()
	// A reset leaves nothing behind on either side.
	if err := errors.Join(conn.(*net.TCPConn).SetLinger(0), conn.SetDeadline(due.Add(w.job.Patience))); err != nil {
		return time.Time{}, err
	}
	if _, err := conn.Write(w.hello); err != nil {
		return time.Time{}, err
	}
	_, err = conn.Read(w.buffer)
	return time.Now(), err
}

func (w *flooder) end() {}

// hello captures what the client sends first.
func (c *client) hello() ([]byte, error) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go func() { _ = tls.Client(near, c.base).Handshake() }() // ends when the pipe does
	buffer := make([]byte, 4<<10)
	n, err := far.Read(buffer)
	return buffer[:n], err
}
