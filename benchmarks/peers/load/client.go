package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"verigate/benchmarks/peers/pki"
)

// maxHeaderBytes is more than any peer makes of the backend's answer.
const maxHeaderBytes = 4 << 10

// client is what the workers of a job share.
type client struct {
	job      Job
	requests struct{ keep, close []byte }
	base     *tls.Config
	clients  []pki.Client
	next     atomic.Int64
	sources  atomic.Uint32
}

func newClient(job Job, clients []pki.Client) *client {
	c := &client{job: job, clients: clients}
	const head = "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n"
	c.requests.keep = fmt.Appendf(nil, head+"\r\n", job.Path)
	c.requests.close = fmt.Appendf(nil, head+"Connection: close\r\n\r\n", job.Path)
	c.base = &tls.Config{
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{job.Group},
		ServerName:       "localhost",
		// The server is known by the octets of its certificate: nothing is cheaper,
		// and the generator must not be what is measured.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, job.Leaf) {
				return errors.New("the peer shows another certificate than the one it was given")
			}
			return nil
		},
	}
	return c
}

// errExhausted ends a job whose identities were to be used once.
var errExhausted = errors.New("no more identities")

// identity returns who comes next, in turns.
func (c *client) identity() (pki.Client, error) {
	i := int(c.next.Add(1)) - 1
	if i >= len(c.clients) && c.job.Once {
		return pki.Client{}, errExhausted
	}
	return c.clients[i%len(c.clients)], nil
}

// config is for connections of one identity. Without sessions every handshake is full.
func (c *client) config(who pki.Client, sessions tls.ClientSessionCache) *tls.Config {
	config := c.base.Clone()
	config.ClientSessionCache = sessions
	// The callback spares parsing the own certificate again for each handshake.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return who.Certificate, nil
	}
	return config
}

// sourceAddresses is from how many addresses connections come: one has 28 000 ports
// to one target, and those that were closed last are not free yet.
const sourceAddresses = 64

// dial connects from one of the source addresses, in turns.
func (c *client) dial(deadline time.Time) (net.Conn, error) {
	dialer := net.Dialer{
		Deadline:  deadline,
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+c.sources.Add(1)%sourceAddresses))},
		// Nobody measures keep-alive probes.
		KeepAlive: -1,
		Control: func(_, _ string, raw syscall.RawConn) error {
			// The port is chosen when the target is known, so that it may be one that
			// is in use towards another.
			var set error
			err := raw.Control(func(fd uintptr) {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			})
			return errors.Join(err, set)
		},
	}
	return dialer.DialContext(context.Background(), "tcp", c.job.Target)
}

// connect dials and shakes hands until deadline, which also holds for what follows.
func (c *client) connect(config *tls.Config, deadline time.Time) (*tls.Conn, error) {
	raw, err := c.dial(deadline)
	if err != nil {
		return nil, err
	}
	if err := raw.SetDeadline(deadline); err != nil {
		raw.Close()
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil {
		raw.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return conn, nil
}

// exchange writes a request, and reads and checks the answer. buffer is as large as
// an answer can be. closed reports whether the peer will take no more requests.
func (c *client) exchange(conn net.Conn, request, buffer []byte, who string) (closed bool, err error) {
	if _, err := conn.Write(request); err != nil {
		return true, fmt.Errorf("request: %w", err)
	}
	for n, total := 0, -1; n != total; {
		more, err := conn.Read(buffer[n:])
		n += more
		if err != nil && (n != total || err != io.EOF) {
			return true, fmt.Errorf("answer, after %d octets: %w", n, err)
		}
		if total < 0 {
			if end := bytes.Index(buffer[:n], []byte("\r\n\r\n")); end >= 0 {
				if closed, err = c.check(buffer[:end+2], who); err != nil {
					return true, err
				}
				total = end + 4 + c.job.Body
			}
		}
		if n == len(buffer) && total < 0 || total >= 0 && n > total {
			return true, fmt.Errorf("answer is longer than it says")
		}
	}
	return closed, nil
}

// check judges the header block of an answer.
func (c *client) check(header []byte, who string) (closed bool, err error) {
	if !bytes.HasPrefix(header, []byte("HTTP/1.1 200")) {
		line, _, _ := bytes.Cut(header, []byte("\r\n"))
		return true, fmt.Errorf("answer: %q, want status 200", line)
	}
	length, _ := field(header, "\r\ncontent-length:")
	if n, err := strconv.Atoi(string(length)); err != nil || n != c.job.Body {
		return true, fmt.Errorf("answer of %q octets, want %d", length, c.job.Body)
	}
	if caller, _ := field(header, "\r\nx-caller:"); !c.job.NoCaller && !bytes.HasSuffix(caller, []byte(who)) {
		return true, fmt.Errorf("the backend was told that %q calls, and it was %q", caller, who)
	}
	value, _ := field(header, "\r\nconnection:")
	return bytes.EqualFold(value, []byte("close")), nil
}

// field finds the value of a field; name has the line end before it, in lower case,
// and the colon.
func field(header []byte, name string) ([]byte, bool) {
	for rest := header; ; {
		i := bytes.Index(rest, []byte("\r\n"))
		if i < 0 || len(rest)-i < len(name) {
			return nil, false
		}
		if rest = rest[i:]; bytes.EqualFold(rest[:len(name)], []byte(name)) {
			value, _, _ := bytes.Cut(rest[len(name):], []byte("\r\n"))
			return bytes.TrimSpace(value), true
		}
		rest = rest[2:]
	}
}
