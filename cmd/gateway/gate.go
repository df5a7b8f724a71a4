package main

import (
	"bytes"
	"cmp"
	"io"
	"net"
	"strings"
	"time"

	"verigate/config"
	"verigate/gateway"
	"verigate/http1gate"
)

// gate asks the strict gate of a listener about the request, octet for octet as a
// client would send it. It returns nil if the gate lets it pass.
func (r *requestLine) gate(l *config.Listener) *answer {
	var request bytes.Buffer
	request.WriteString(r.method + " " + r.path + " HTTP/1.1\r\nHost: " + cmp.Or(r.host, r.sni) + "\r\n")
	for _, h := range r.headers {
		name, value, _ := strings.Cut(h, ":")
		request.WriteString(name + ": " + strings.TrimSpace(value) + "\r\n")
	}
	request.WriteString("\r\n")

	limits := l.HTTP1()
	limits.Reserved = gateway.Reserved
	judge := http1gate.New(&octets{Reader: &request}, &limits, nil)
	// The first read judges the whole header block, however much of it fits.
	_, _ = judge.Read(make([]byte, 64<<10))
	v := judge.Violation()
	if v == nil {
		return nil
	}
	return &answer{Decision: decisionRefused, Stage: stageGate, Reason: v.Code, Status: v.Status, Detail: v.Detail}
}

// octets is a connection on which a client has sent something and closed. Nobody
// reads what is written to it.
type octets struct {
	io.Reader
	net.Conn // nil: the gate needs nothing of it but what is below
}

func (o *octets) Read(p []byte) (int, error)     { return o.Reader.Read(p) }
func (*octets) Write(p []byte) (int, error)      { return len(p), nil }
func (*octets) Close() error                     { return nil }
func (*octets) SetDeadline(time.Time) error      { return nil }
func (*octets) SetReadDeadline(time.Time) error  { return nil }
func (*octets) SetWriteDeadline(time.Time) error { return nil }
