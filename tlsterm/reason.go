package tlsterm

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"verigate/certpath"
)

// Values of [Handshake.Reason] beside the codes of [certpath.Reason]. The set is
// closed: [Reasons] lists it.
const (
	// ReasonNoCertificate: the client showed none.
	ReasonNoCertificate = "no_certificate"
	// ReasonMalformedCertificate: what it showed does not parse.
	ReasonMalformedCertificate = "malformed_certificate"
	// ReasonUnsupportedKey: the leaf's key is not RSA, ECDSA or Ed25519, or is an
	// RSA key larger than crypto/tls will use.
	ReasonUnsupportedKey = "unsupported_key"
	// ReasonPoPFailed: it does not hold the leaf's key, or not the session of the
	// ticket. Somebody may be showing another's certificate or ticket.
	ReasonPoPFailed = "pop_failed"
	// ReasonFirstByteTimeout: it sent nothing.
	ReasonFirstByteTimeout = "first_byte_timeout"
	// ReasonHandshakeTimeout: it began and was too slow.
	ReasonHandshakeTimeout = "handshake_timeout"
	// ReasonClientGone: it closed or reset the connection during the handshake.
	ReasonClientGone = "client_gone"
	// ReasonClientAlert: it ended the handshake with an alert, for instance because
	// it does not trust the gateway's certificate.
	ReasonClientAlert = "client_alert"
	// ReasonNotTLS: what it sent is something else than TLS.
	ReasonNotTLS = "not_tls"
	// ReasonTLSVersion: it speaks only versions that are not admitted.
	ReasonTLSVersion = "tls_version"
	// ReasonNoSharedALPN: it asked only for application protocols not offered.
	ReasonNoSharedALPN = "no_shared_alpn"
	// ReasonNoSharedCipher: it has no cipher suite or key exchange in common.
	ReasonNoSharedCipher = "no_shared_cipher"
	// ReasonCredentialExpired: the gateway's own certificate has expired.
	ReasonCredentialExpired = "credential_expired"
	// ReasonOverload: there was no CPU token in time.
	ReasonOverload = "overload"
	// ReasonShuttingDown: the listener was closed meanwhile.
	ReasonShuttingDown = "shutting_down"
	// ReasonTLSError: any other failure of TLS; [Handshake.Err] has it.
	ReasonTLSError = "tls_error"
)

var ownReasons = []string{
	ReasonNoCertificate, ReasonMalformedCertificate, ReasonUnsupportedKey, ReasonPoPFailed,
	ReasonFirstByteTimeout, ReasonHandshakeTimeout, ReasonClientGone, ReasonClientAlert, ReasonNotTLS,
	ReasonTLSVersion, ReasonNoSharedALPN, ReasonNoSharedCipher,
	ReasonCredentialExpired, ReasonOverload, ReasonShuttingDown, ReasonTLSError,
}

// Reasons lists every value that [Handshake.Reason] can have, each once: those
// of this package, then those of certpath.
func Reasons() []string {
	all := append([]string(nil), ownReasons...)
	seen := make(map[string]bool)
	for _, r := range all {
		seen[r] = true
	}
	for _, r := range certpath.Reasons() {
		if name := r.String(); !seen[name] {
			seen[name] = true
			all = append(all, name)
		}
	}
	return all
}

var (
	errFirstByteTimeout  = errors.New("tlsterm: the client sent nothing in the time allowed")
	errClientGone        = errors.New("tlsterm: the client went away while it waited for its turn")
	errShuttingDown      = errors.New("tlsterm: listener closed during the handshake")
	errCredentialExpired = errors.New("tlsterm: the gateway's own certificate has expired")
	errNoVerdict         = errors.New("tlsterm: chain not accepted")
	errPanicked          = errors.New("tlsterm: panic during the handshake")
)

// reasonOf returns the code for what ended a handshake.
func reasonOf(err error) string {
	if rejection, ok := errors.AsType[*certpath.Error](err); ok {
		return rejection.Reason.String()
	}
	switch {
	case errors.Is(err, errFirstByteTimeout):
		return ReasonFirstByteTimeout
	case errors.Is(err, errCredentialExpired):
		return ReasonCredentialExpired
	case errors.Is(err, errOverload), errors.Is(err, errLimiterClosed):
		return ReasonOverload
	case errors.Is(err, errShuttingDown):
		return ReasonShuttingDown
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonHandshakeTimeout
	}
	// Conn is set when the very first record was none.
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok && header.Conn != nil {
		return ReasonNotTLS
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return ReasonClientAlert
	}
	for _, gone := range []error{errClientGone, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, gone) {
			return ReasonClientGone
		}
	}
	return reasonOfText(err)
}

// tlsTexts are the beginnings of errors of crypto/tls that have no type. The
// only way to tell them apart is to read them; a test provokes each and fails
// when their wording changes. What is not listed is a tls_error.
var tlsTexts = []struct{ prefix, reason string }{
	{"tls: client didn't provide a certificate", ReasonNoCertificate},
	{"tls: failed to parse client certificate", ReasonMalformedCertificate},
	{"tls: client certificate contains an unsupported public key", ReasonUnsupportedKey},
	{"tls: client sent certificate containing RSA key larger than", ReasonUnsupportedKey},
	{"tls: invalid signature by the client certificate", ReasonPoPFailed},
	{"tls: invalid PSK binder", ReasonPoPFailed},
	{"tls: client offered only unsupported versions", ReasonTLSVersion},
	{"tls: client requested unsupported application protocols", ReasonNoSharedALPN},
	{"tls: no cipher suite supported by both client and server", ReasonNoSharedCipher},
	{"tls: no key exchanges supported by both client and server", ReasonNoSharedCipher},
}

func reasonOfText(err error) string {
	text := err.Error()
	for _, t := range tlsTexts {
		if strings.HasPrefix(text, t.prefix) {
			return t.reason
		}
	}
	return ReasonTLSError
}
