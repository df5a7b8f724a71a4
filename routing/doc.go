// Package routing finds the route of a request: which upstream it is for, given
// who calls, through which TLS server name, for which host and path, and how.
//
// A [Table] is compiled once and then only read. [Table.Match] is a pure look-up
// that grants nothing; whether the caller may use the route is for package
// policy to say (ROUTE-02). A request that no route matches has no route: there
// is no default.
//
// # The most specific route wins
//
// Of all routes that match a request, the best by this order is taken. It is
// lexicographic: a line counts only among routes that are equal in the lines
// above it. The order of the configuration never matters.
//
//  1. Host: an exact name, then "*.suffix" with the longer suffix first, then
//     any.
//  2. SNI: likewise.
//  3. Path: exact, then the prefix with more segments first, then any.
//  4. Caller: by [workloadid.ComparePatterns], which puts an exact identifier
//     first and the whole of an origin last, then any.
//  5. Methods: a set, then any.
//  6. Headers: more of them, then fewer.
//
// The order follows who chooses. Host and SNI say whose service this is. The
// path says which resource, and it goes before the caller: a route that somebody
// made for /admin must not be left by the calls of a workload that also has a
// route of its own for everything under /. The caller is proven, so it goes
// before method and headers, which a caller sets as it likes.
//
// Two routes which one request could match and which this order cannot tell
// apart are refused by [Compile]. They have the same host, SNI, path and caller,
// both or neither have methods, and they have the same number of headers; then
// their methods must be disjoint, or a header must differ in its value.
//
// # What matches
//
//   - "*.example.org" is every name under example.org, at any depth, and not
//     example.org itself.
//   - The path /pay is the prefix of /pay, /pay/ and /pay/x, and never of
//     /payroll: only whole segments count. A slash at its end makes no
//     difference. With PathExact it is that path alone, to the octet.
//   - Methods are compared to the octet; GET does not include HEAD.
//   - A header has to occur once, with exactly that value.
//
// Paths are compared as they will be forwarded and never rewritten. A path that
// another party could read as a different one matches no route (AUTHZ-07): one
// with an empty, "." or ".." segment, with an octet that has no place in a path,
// or with an escape, such as %2F or %61, of a slash, a backslash, a control, an
// unreserved octet, or any octet that a route of this table spells literally.
// And so does a path with parameters (/admin;v=1/x) if without them, which is how
// some servers read it, it would take another route; unless the route that it
// does take has a semicolon in its own path.
//
// # Scopes
//
// One connection is opened for one name and must not serve as a way into
// another virtual host with other rules (TLS-10). [Table.SameScope] says which
// hosts belong to a connection:
//
//   - The scope of a name is the most specific host or SNI of any route that
//     matches it. Names that no route mentions share one scope, and so does a
//     connection without SNI.
//   - SNI and host belong together when they are equal, or have the same scope,
//     or when one route names the two scopes as its SNI and its host.
//
// With routes for a.example, b.example and *.dev.example, a connection for
// x.dev.example may carry requests for y.dev.example, and one for a.example only
// those for a.example. A connection for a.example that asks for b.example is
// misdirected even if the routes of both lead to the same upstream, and so is
// one without SNI that asks for a.example. A route with the SNI edge.example and
// the host b.example lets connections for edge.example reach b.example as well;
// a route with that SNI and no host lets them reach every host that no route
// mentions. A route for an IP address may be reached without SNI, since no
// client sends an address there (RFC 6066 §3).
package routing
