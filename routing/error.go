package routing

import "fmt"

// Reason says why routes cannot be compiled.
type Reason uint8

// The reasons. ReasonNone is the zero value: nothing is wrong.
const (
	ReasonNone          Reason = iota
	ReasonNoName               // a route without a name
	ReasonDuplicateName        // a name that another route has
	ReasonHost                 // not a host name, address or "*.suffix"
	ReasonSNI                  // not a host name or "*.suffix"
	ReasonPath                 // not a path that can be compared safely
	ReasonMethod               // not a method in capitals
	ReasonHeader               // not a header that a route can ask for
	ReasonConflict             // as specific as another route for the same requests
)

var reasonText = [...]string{
	ReasonNone:          "no fault",
	ReasonNoName:        "a route needs a name",
	ReasonDuplicateName: "another route has this name",
	ReasonHost: `a host is a name in lowercase or an IP address (IPv6 in brackets), without port and final dot; ` +
		`"*.example.org" is every name under example.org; leave it out to match any host`,
	ReasonSNI: `a server name is a name in lowercase, without port and final dot, and never an IP address; ` +
		`"*.example.org" is every name under example.org; leave it out to match any`,
	ReasonPath: `a path begins with "/" and has no empty, "." or ".." segment and only octets that need no percent-encoding; ` +
		`leave it out to match any`,
	ReasonMethod: "a method is a word in capitals, such as GET",
	ReasonHeader: "a header is asked for once, by a valid name other than Host and a value without control octets " +
		"and without space around it",
	ReasonConflict: "both can match the same request and neither is more specific; " +
		"make host, SNI, path or caller of one more specific, or their methods disjoint, or ask for different values of one header",
}

// String returns the rule that was broken, as a phrase for an operator.
func (r Reason) String() string {
	if int(r) < len(reasonText) {
		return reasonText[r]
	}
	return fmt.Sprintf("routing.Reason(%d)", uint8(r))
}

// Error reports one fault of one route.
type Error struct {
	Reason Reason
	Route  string // the name of the route
	Index  int    // the position of the route
	Other  string // the other route, of ReasonDuplicateName and ReasonConflict
	Value  string // what the route says at the place of the fault
}

// Error names the route, what it says and what would be right.
func (e *Error) Error() string {
	switch e.Reason {
	case ReasonNoName, ReasonDuplicateName:
		return fmt.Sprintf("route %d (%q): %v", e.Index+1, e.Route, e.Reason)
	case ReasonConflict:
		return fmt.Sprintf("routes %q and %q: %v", e.Other, e.Route, e.Reason)
	default:
		return fmt.Sprintf("route %q: %q: %v", e.Route, e.Value, e.Reason)
	}
}
