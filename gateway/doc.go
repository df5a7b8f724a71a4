// Package gateway composes the rooms into the product: it takes authenticated
// connections from the listeners, decides about every request by the caller's
// proven identity, forwards what is granted and records every outcome.
//
// The flow of one request, whatever the protocol:
//
//	tlsterm.Conn        the peer is authenticated; its path and grade are known
//	  → current?        trust snapshot unchanged since it was judged, else judge again
//	  → handoff.Strip   hop-by-hop fields, then every reserved name
//	  → routing.Match   which route; grants nothing           404, 421
//	  → policy.Authorize default deny; mints the Grant        403
//	  → upstream.Forward refuses to act without the Grant     502, 504
//	  → telemetry       one record, on every outcome
//
// [Program] is everything a request is decided by. It is immutable and swapped as
// a whole, so that a request sees one configuration from beginning to end.
// [decide] is the only place that decides; protocols are thin adapters over it
// (http1.go today).
package gateway
