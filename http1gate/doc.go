// Package http1gate lets only strictly well-formed HTTP/1.1 requests reach an
// HTTP server that parses leniently.
//
// A [Conn] sits between the TLS connection and fasthttp. fasthttp takes a
// bare LF for a line end, joins folded lines, tolerates names with spaces and
// versions that do not exist, and hides the raw octets from its handler; each of
// these is a place where it and a backend may see different requests. The gate
// judges the raw octets first, so that the server only ever sees requests that
// every parser reads in the same way (RFC 9112, AUTHZ-07).
//
// # What a caller may rely on
//
//   - One call of [Conn.Read] returns octets of one request only, and the first
//     octet of a request is returned after its whole header block was found good.
//   - The server therefore asks for a request only when it has answered the one
//     before, and a refusal is written behind that answer: fasthttp flushes its
//     responses whenever its input buffer is empty.
//   - A fault in the body makes Read fail with a *[Violation], and a body that
//     ends early makes it fail with [io.ErrUnexpectedEOF], never with [io.EOF]:
//     fasthttp takes io.EOF for the end of a streamed body and would pass on a
//     truncated one as whole.
//   - Chunk extensions and trailers are judged, bounded and then taken out of the
//     stream. Blank lines before a request are taken out too. Nothing else is
//     changed: what was judged is what is read.
//   - After a request with "Connection: close", in any spelling, nothing follows.
//
// # What the server must do
//
// Its read buffer must hold [Limits.MaxHeaderBytes], it must call [Conn.Settle]
// when a handler is done, and [Conn.Tunnel] when a connection stops being HTTP.
//
// # Stricter than the grammar
//
// Where two spellings name one resource, one is refused, because routes and
// policy compare octets: dot segments, empty segments, encoded slashes,
// backslashes, controls and encoded unreserved characters in the path are
// [AmbiguousPath]. Percent-escapes are decoded once in thought, never in the
// stream; a doubly encoded octet passes as it is.
package http1gate
