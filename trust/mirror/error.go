package mirror

import (
	"errors"
	"fmt"
	"strings"
)

// Reason says why a remote document was not taken up.
type Reason uint8

// The reasons. ReasonNone is the zero value: nothing is wrong.
const (
	ReasonNone        Reason = iota
	ReasonOptions            // a programmer or configuration mistake in the options
	ReasonUnreachable        // no answer: name, connection, TLS or time-out
	ReasonIdentity           // the other side is not who it has to be
	ReasonRedirect           // led to where it must not lead, or too often
	ReasonAnswer             // an answer that is no document
	ReasonTooLarge           // over the bound for such documents
	ReasonDocument           // garbled, of another trust domain, or older than what is held
	ReasonDenied             // the source refuses this workload
	ReasonState              // the copy cannot be read or written
	reasons
)

var reasonTable = [reasons]struct{ code, text string }{
	ReasonNone:        {"", "no fault"},
	ReasonOptions:     {"options", "the options are not usable"},
	ReasonUnreachable: {"unreachable", "there is no answer"},
	ReasonIdentity:    {"identity", "the other side is not who it has to be"},
	ReasonRedirect:    {"redirect", "the redirect is not followed"},
	ReasonAnswer:      {"answer", "the answer is not a document"},
	ReasonTooLarge:    {"too_large", "the document is too large"},
	ReasonDocument:    {"document", "the document is refused, and the last good one stays"},
	ReasonDenied:      {"denied", "the source refuses this workload"},
	ReasonState:       {"state", "the copy on disk cannot be used"},
}

// String returns the stable code, such as "unreachable", and "" for ReasonNone.
func (r Reason) String() string {
	if r < reasons {
		return reasonTable[r].code
	}
	return fmt.Sprintf("mirror.Reason(%d)", uint8(r))
}

// Error reports why a document was not taken up. Reason is for machines, Error()
// is for the operator.
type Error struct {
	Reason Reason
	Detail string // what was found; bounded; may be empty
	Err    error  // what a parser, the network or the file system said; may be nil
}

// Error names the rule and what was found.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Reason < reasons {
		b.WriteString(reasonTable[e.Reason].text)
	} else {
		b.WriteString(e.Reason.String())
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns what a parser, the network or the file system said.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the reason of the first [*Error] in err's tree, ReasonNone when
// there is none.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ReasonNone
}

// Quote escapes octets that somebody else wrote and bounds their length.
func Quote(s string) string {
	const maxBytes = 120
	if len(s) > maxBytes {
		return fmt.Sprintf("%q…", s[:maxBytes])
	}
	return fmt.Sprintf("%q", s)
}
