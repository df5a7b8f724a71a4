package http1gate

import "time"

// Limits bounds what a peer may send. The zero Limits has the defaults; a nil
// *Limits is the same. Limits are shared by connections and must not be modified
// once one uses them.
type Limits struct {
	// MaxHeaderBytes bounds the request line and the fields, with their line ends;
	// 16 KiB by default. The server's read buffer must be at least as large.
	MaxHeaderBytes int
	// MaxFields bounds the number of header fields, and of trailer fields; 100 by
	// default.
	MaxFields int
	// MaxTargetBytes bounds the request target; 8 KiB by default.
	MaxTargetBytes int
	// MaxTrailerBytes bounds the trailer section of a request, and separately all
	// its chunk extensions together; 4 KiB by default.
	MaxTrailerBytes int
	// HeaderTimeout is how long a header block may take from its first octet to
	// its last; 10 seconds by default. A deadline that the server set and that is
	// earlier goes first. Without it a slow header block on a connection that was
	// used before would only be bounded by the server's idle timeout.
	HeaderTimeout time.Duration
	// Methods are the methods that are let pass; GET, HEAD, POST, PUT, PATCH,
	// DELETE and OPTIONS by default. CONNECT and TRACE never pass: the one changes
	// what follows into a tunnel, the other sends credentials back.
	Methods []string
	// Reserved reports whether a field name, in any case and with any punctuation
	// for '-', is one that only a gateway may send. Those names are refused when
	// spelled with an underscore or the like (a backend may fold it into '-') and
	// in trailers; spelled plainly they pass, for the gateway to remove. nil is none. It must not
	// retain or modify the name.
	Reserved func(name []byte) bool
}

// maxBlankLines is how many blank lines may precede a request. RFC 9112 §2.2
// wants one to be ignored, for clients that send a line end after a body.
const maxBlankLines = 2

// maxMethodBytes bounds the search for the end of a method, so that a peer that
// speaks another protocol is refused at its first octets.
const maxMethodBytes = 32

// maxConnectionOptions bounds the members of the Connection fields. Real requests
// have one or two.
const maxConnectionOptions = 32

var defaultMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

var noLimits Limits

func (l *Limits) maxHeaderBytes() int {
	if l.MaxHeaderBytes > 0 {
		return l.MaxHeaderBytes
	}
	return 16 << 10
}

// maxLineBytes bounds the request line without its LF.
func (l *Limits) maxLineBytes() int {
	target := l.MaxTargetBytes
	if target <= 0 {
		target = 8 << 10
	}
	return min(target+maxMethodBytes+len("  HTTP/1.1\r"), l.maxHeaderBytes())
}

func (l *Limits) maxFields() int {
	if l.MaxFields > 0 {
		return l.MaxFields
	}
	return 100
}

func (l *Limits) maxTrailerBytes() int {
	if l.MaxTrailerBytes > 0 {
		return l.MaxTrailerBytes
	}
	return 4 << 10
}

func (l *Limits) headerTimeout() time.Duration {
	if l.HeaderTimeout > 0 {
		return l.HeaderTimeout
	}
	return 10 * time.Second
}

func (l *Limits) allows(method []byte) bool {
	methods := l.Methods
	if methods == nil {
		methods = defaultMethods
	}
	for _, m := range methods {
		if string(method) == m {
			return m != "CONNECT" && m != "TRACE"
		}
	}
	return false
}

func (l *Limits) reserved(name []byte) bool { return l.Reserved != nil && l.Reserved(name) }
