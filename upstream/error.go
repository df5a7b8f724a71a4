package upstream

import (
	"slices"

	"github.com/valyala/fasthttp"
)

// The reasons for which a request was not forwarded, or not to its end.
const (
	// ReasonConnect: no TCP connection or no TLS handshake, or the backend
	// refused the gateway's certificate. Nothing was carried out.
	ReasonConnect = "upstream_connect"
	// ReasonUntrusted: the backend's chain was rejected. Err is the
	// *certpath.Error that says why.
	ReasonUntrusted = "upstream_untrusted"
	// ReasonIdentity: the chain is good and is somebody else's.
	ReasonIdentity = "upstream_identity"
	// ReasonName: the identity is right, the DNS name or address is not.
	ReasonName = "upstream_name"
	// ReasonTimeout: the backend took longer than a time-out allows, after it
	// was connected.
	ReasonTimeout = "upstream_timeout"
	// ReasonClosed: the backend closed the connection before its response header
	// was complete.
	ReasonClosed = "upstream_closed"
	// ReasonProtocol: what came back is no HTTP/1.1 response, or one that the
	// gateway has to refuse.
	ReasonProtocol = "upstream_protocol"
	// ReasonNoEndpoint: every endpoint is at its connection limit, or the
	// upstream is closed.
	ReasonNoEndpoint = "no_endpoint"
	// ReasonRequestBody: the caller's request body broke off or was malformed.
	ReasonRequestBody = "request_body"
	// ReasonGrant: there is no grant, or it is for another upstream. That is a
	// mistake in the gateway, never the caller's.
	ReasonGrant = "grant"
)

var reasons = []string{
	ReasonConnect, ReasonUntrusted, ReasonIdentity, ReasonName, ReasonTimeout,
	ReasonClosed, ReasonProtocol, ReasonNoEndpoint, ReasonRequestBody, ReasonGrant,
}

// Reasons lists every value of [Error.Reason]. The caller owns the slice.
func Reasons() []string { return slices.Clone(reasons) }

// Error reports why a request was not forwarded. Reason is for machines (metric
// label, audit field); Error() is for the operator; the caller learns neither.
type Error struct {
	Reason   string // one of Reasons
	Endpoint string // as configured; "" when the request met none
	Err      error  // what caused it; may be nil; never quotes a response
}

// Error describes e to the operator.
func (e *Error) Error() string {
	text := "upstream: " + e.Reason
	if e.Endpoint != "" {
		text += " at " + e.Endpoint
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Status returns the HTTP status that tells the caller as much as it may know:
// 504 for a time-out, 503 when there is no endpoint, 400 for its own broken
// body, 500 for a missing grant and 502 for everything that the backend did.
func (e *Error) Status() int {
	switch e.Reason {
	case ReasonTimeout:
		return fasthttp.StatusGatewayTimeout
	case ReasonNoEndpoint:
		return fasthttp.StatusServiceUnavailable
	case ReasonRequestBody:
		return fasthttp.StatusBadRequest
	case ReasonGrant:
		return fasthttp.StatusInternalServerError
	}
	return fasthttp.StatusBadGateway
}
