package routing

import "verigate/workloadid"

// Match says which requests a route applies to. Zero fields match anything.
type Match struct {
	// Caller selects the proven identity of the peer.
	Caller workloadid.Pattern
	// SNI is the server name of the TLS connection: exact or "*.suffix", in
	// lowercase.
	SNI string
	// Host is the host that the request asks for: exact or "*.suffix", in
	// lowercase, without a port. IPv6 addresses stand in brackets.
	Host string
	// Path begins with a slash and is a prefix of whole segments. It is written
	// in octets that need no percent-encoding.
	Path string
	// PathExact has Path match itself only.
	PathExact bool
	// Methods lists the methods, in capitals.
	Methods []string
	// Headers must all be there, each once and with the very value.
	Headers []HeaderMatch
}

// HeaderMatch asks for one header with one value. Headers are chosen by the
// caller, so they may direct a request but never prove anything.
type HeaderMatch struct{ Name, Value string }

// Route is one entry of a table. Routes are compared by address: within a
// [Table] every route has one, and routes of different tables never share one.
type Route struct {
	// Name is unique in the table.
	Name     string
	Match    Match
	Upstream string
	// Index is the position in the slice that was given to [Compile].
	Index int
}

// Key is what a request is routed by. The strings may be views that live as long
// as the request: a look-up keeps none of them.
type Key struct {
	// Caller is the proven identity, never one that the request claims.
	Caller workloadid.ID
	// SNI is the server name of the ClientHello, in lowercase.
	SNI string
	// Host is in lowercase and without a port.
	Host string
	// Path has the raw octets as they will be forwarded, without the query. It
	// is empty for what is not HTTP; then only routes without a path match.
	Path   string
	Method string
	// Header returns the value of a header that occurs exactly once, and false
	// otherwise. Names come in the spelling of
	// [net/textproto.CanonicalMIMEHeaderKey]. It may be nil.
	Header func(name string) (string, bool)
}
