package http1gate_test

import (
	"errors"
	"io"
	"net"
	"time"

	"verigate/http1gate"
)

// script is a connection on which the peer sends pieces and then nothing more.
type script struct {
	net.Conn
	pieces []string
	wrote  []byte
}

func (s *script) Read(p []byte) (int, error) {
	for len(s.pieces) > 0 && s.pieces[0] == "" {
		s.pieces = s.pieces[1:]
	}
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	s.pieces[0] = s.pieces[0][n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	s.wrote = append(s.wrote, p...)
	return len(p), nil
}

func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }

// passed is what a gate let pass of a connection.
type passed struct {
	octets string
	code   string
	end    string // how the stream ended for the reader
	wrote  string // what the gate told the peer
}

// pass reads pieces through a gate to the end, size octets at a time.
func pass(limits *http1gate.Limits, size int, pieces ...string) passed {
	conn := &script{pieces: append([]string(nil), pieces...)}
	gate := http1gate.New(conn, limits, nil)
	var octets []byte
	p := make([]byte, size)
	for {
		n, err := gate.Read(p)
		octets = append(octets, p[:n]...)
		if err == nil {
			continue
		}
		end := "other: " + err.Error()
		switch v, ok := errors.AsType[*http1gate.Violation](err); {
		case err == io.EOF:
			end = "end"
		case err == io.ErrUnexpectedEOF:
			end = "truncated"
		case ok && v == gate.Violation():
			end = "violation"
		}
		return passed{string(octets), code(gate.Violation()), end, string(conn.wrote)}
	}
}
