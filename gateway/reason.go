package gateway

import (
	"net/http"
	"slices"

	"verigate/certpath"
	"verigate/http1gate"
	"verigate/upstream"
)

// Reason says why a request was not served. The codes are for callers, metrics
// and audit alike; they never tell more than the status does about what exists
// behind the gateway.
type Reason string

// The reasons for which the gateway itself answers, or cannot. Refusals by the
// strict HTTP/1.1 gate carry the codes of [verigate/http1gate], failures of a
// backend those of [verigate/upstream], refused certificates those of
// [verigate/certpath]; [Reasons] has them all.
const (
	ReasonNone                  Reason = ""
	ReasonNoRoute               Reason = "no_route"
	ReasonMisdirected           Reason = "misdirected"
	ReasonPolicyDenied          Reason = "policy_denied"
	ReasonMethodNotAllowed      Reason = "method_not_allowed"
	ReasonAssuranceInsufficient Reason = "assurance_insufficient"
	// ReasonTrustChanged: the caller's certificate was accepted when the connection
	// began and is not any more: trust has changed, or what it was judged by has run
	// out. The connection is closed; the record of that has the reason of the verdict.
	ReasonTrustChanged Reason = "trust_changed"
	// ReasonRequestTimeout: the request's body made no progress.
	ReasonRequestTimeout Reason = "request_timeout"
	// ReasonUnreadable: what the strict gate let pass, the HTTP server behind it
	// could not read. That is a mistake in the gateway.
	ReasonUnreadable Reason = "request_unreadable"
	// ReasonLengthRequired: the response has no known length, is too large to be
	// held, and the client speaks a version that has no other way to see its end.
	ReasonLengthRequired Reason = "response_length_unknown"
	ReasonInternal       Reason = "internal"

	// The following are never answered: there is nobody left to answer to. The
	// status that goes with them in a record is the one that was being sent, 0 if
	// there was none.

	// ReasonClientGone: the client closed, reset or stopped reading.
	ReasonClientGone Reason = "client_gone"
	// ReasonConnectionExpired: the connection reached its end, at the latest the
	// NotAfter of the caller's path, before the response did.
	ReasonConnectionExpired Reason = "connection_expired"
	// ReasonDrained: the gateway was stopped and did not wait any longer.
	ReasonDrained Reason = "drained"
)

var ownReasons = []Reason{
	ReasonNoRoute, ReasonMisdirected, ReasonPolicyDenied, ReasonMethodNotAllowed, ReasonAssuranceInsufficient,
	ReasonTrustChanged, ReasonRequestTimeout, ReasonUnreadable, ReasonLengthRequired, ReasonInternal,
	ReasonClientGone, ReasonConnectionExpired, ReasonDrained,
}

// Reasons lists every code that the record of a request can carry, sorted, each
// once: the gateway's own, the strict gate's, the upstreams' and, of callers that
// a listener admits although their chain was rejected, certpath's. Documents,
// dashboards and alerts are generated from it. The caller owns the slice.
func Reasons() []string {
	var all []string
	for _, r := range ownReasons {
		all = append(all, string(r))
	}
	all = append(all, http1gate.Codes()...)
	all = append(all, upstream.Reasons()...)
	for _, r := range certpath.Reasons() {
		all = append(all, r.String())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// status returns the HTTP status that goes with r (RFC 9110 §15, RFC 9440 §2.4).
func (r Reason) status() int {
	switch r {
	case ReasonNone:
		return http.StatusOK
	case ReasonNoRoute:
		return http.StatusNotFound
	case ReasonMisdirected:
		return http.StatusMisdirectedRequest
	case ReasonPolicyDenied, ReasonMethodNotAllowed, ReasonAssuranceInsufficient, ReasonTrustChanged:
		return http.StatusForbidden
	case ReasonRequestTimeout:
		return http.StatusRequestTimeout
	case ReasonUnreadable, ReasonClientGone:
		return http.StatusBadRequest
	case ReasonLengthRequired:
		return http.StatusHTTPVersionNotSupported
	default:
		return http.StatusInternalServerError
	}
}

// problem is what a caller is told who is refused because of r.
func (r Reason) problem() problem {
	return problem{Status: r.status(), Reason: string(r), Title: r.title()}
}

// title is the human-readable summary of r in a problem document.
func (r Reason) title() string {
	switch r {
	case ReasonNoRoute:
		return "no route for this request"
	case ReasonMisdirected:
		return "this connection was opened for another host; open a new one"
	case ReasonPolicyDenied:
		return "the caller may not use this route"
	case ReasonMethodNotAllowed:
		return "the caller may not use this method on this route"
	case ReasonAssuranceInsufficient:
		return "the caller's assurance level is too low for this route"
	case ReasonTrustChanged:
		return "the caller's certificate is no longer accepted"
	case ReasonRequestTimeout:
		return "the request took too long to arrive"
	case ReasonUnreadable, ReasonClientGone:
		return "the request could not be read"
	case ReasonLengthRequired:
		return "the response needs HTTP/1.1"
	default:
		return "the gateway failed"
	}
}
