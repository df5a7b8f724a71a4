package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// alertOf returns what a TLS alert of the server says, "" if err is none. A server
// of TLS 1.3 judges the client after the client is done with the handshake, so that
// the alert can come instead of the answer.
func alertOf(err error) string {
	var remote *net.OpError
	if !errors.As(err, &remote) || remote.Op != "remote error" {
		return ""
	}
	return strings.TrimPrefix(remote.Err.Error(), "tls: ")
}

// errProtocol means that the server does not speak the protocol that the fleet
// insists on.
var errProtocol = errors.New("the server does not speak the protocol that the fleet insists on")

// kindOf puts an error into one of few classes, for the tag "error": the texts of
// errors have port numbers, and each would be a time series of its own.
func kindOf(err error) string {
	var operation *net.OpError
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	switch {
	case alertOf(err) != "":
		return "refused: " + alertOf(err)
	case errors.Is(err, errProtocol):
		return "protocol"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &authority):
		return "server certificate: unknown authority"
	case errors.As(err, &verification):
		return "server certificate"
	case errors.As(err, &operation) && operation.Op == "dial":
		return "dial"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "closed"
	}
	return "other"
}
