// Package upstream forwards granted requests to backends over HTTP/1.1 and is
// sure which backend it talks to.
//
// An [Upstream] is a set of endpoints that all prove the same identity. Every
// connection is mutually authenticated TLS 1.3: the backend's chain is judged by
// the anchors of the one trust domain that its expected identity names, then the
// identity is compared, then, where the backend is found by DNS, the name as
// well (UP-01 to UP-09). Pooled connections are shared by all callers, so who is
// calling travels with each request (ROUTE-03), and a pooled connection is
// judged again as soon as trust or the gateway's own credential has changed
// (UP-12).
//
// # What reaches the backend
//
// The request target goes out octet for octet as it came in; so does every field
// that is not about the connection or the framing. Framing is made anew. A header that the
// caller has put together itself is sent as it is ([Call.Head]), and a response that fasthttp
// and everybody else read alike can come back as octets ([Verbatim], ADR 0024).
// Trailers and interim responses are dropped in both directions, and there is no
// way to switch protocols here.
//
// # Bodies
//
// Bodies stream in both directions through one buffer per direction. A body that
// broke off never looks complete to the other side: towards the backend the
// connection is closed before the terminator, towards the caller the body stream
// ends in an error, upon which fasthttp closes the connection.
//
// # Retries
//
// A request is sent again only when that cannot mean that it is carried out
// twice; [Upstream.Forward] has the rules. Nothing is repeated after a time-out.
package upstream
