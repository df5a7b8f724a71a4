// Package gateway composes the rooms into the product: it takes authenticated
// connections from the listeners, decides about every request by the caller's
// proven identity, forwards what is granted and records every outcome.
//
// The flow of one request, whatever the protocol:
//
//	tlsterm.Conn        the peer is authenticated; its path and grade are known
//	http1gate           the octets are one well-formed request     400, 431, …
//	  → stillTrusted    judged by the trust in force, or again     403
//	  → routing.Match   which route; grants nothing                404, 421
//	  → policy.Authorize  default deny; mints the Grant            403
//	  → handoff         the caller's word out, then ours in
//	  → upstream.Forward  refuses to act without the Grant         502, 503, 504
//	  → telemetry       one record, on every outcome
//
// [Program] is everything a request is decided by. It is immutable and swapped as
// a whole, so that a request sees one configuration from beginning to end, and its
// upstreams stay open until that end. [Decide] is the only place that decides;
// protocols are thin adapters over it (http1.go today).
//
// # What a caller is told
//
// Refusals are problem documents (RFC 9457) with a code of [Reasons] and the id of
// the request, which is in X-Request-Id of every response, in what the backend
// got, and in the audit record. They say nothing about what is behind the gateway.
//
// # What ends a connection
//
// A malformed request; a body that nobody read; the end of the caller's path; a
// time-out; a drain, after the response in flight. A backend that fails does not.
//
// And trust that does not accept the caller any more (REV-05). Connections are
// indexed by the trust domain of their callers (live.go). When trust changes, or a
// CRL or a grade runs out, one goroutine judges those whom it concerns anew
// (rejudger.go) and closes the connections of those who are refused: idle ones at
// once, others when the response in flight is out or its grace is over. A request
// that comes before that is refused by itself: it looks whether the trust that its
// caller was judged by is still the one in force (standing.go). docs/live-connections.md
// publishes the bound.
package gateway
