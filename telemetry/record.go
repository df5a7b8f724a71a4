package telemetry

import (
	"sync"
	"time"
)

// Values of the member "event" of a record.
const (
	eventStart      = "start"              // a gateway began to write this log
	eventReopen     = "reopen"             // it continues in this file
	eventHandshake  = "handshake"          // one per handshake, see [Telemetry.Handshake]
	eventRequest    = "request"            // one per request
	eventEnd        = "connection_refused" // see [Telemetry.ConnectionRefused]
	eventTrust      = "trust"              // one per change of an item of trust, see [Telemetry.TrustChanged]
	eventSuppressed = "suppressed"         // failed handshakes without a record of their own
	eventLost       = "lost"               // records that are missing
	eventSeal       = "seal"               // see [VerifySeals]
)

// buffers are reused; they have the size of records by then. The line that fills
// one stays on the stack: were it shared, each of its forty appends would pass the
// garbage collector's write barrier.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// submit queues the line, whose octets are in a buffer of the pool.
func (t *Telemetry) submit(l *line, buffer *[]byte, taken *series) {
	if t.audit.put(l.b) {
		taken.add(1)
	}
	*buffer = l.b[:0]
	buffers.Put(buffer)
}

// record returns the maker of the records that a log or a file begins with.
func (i instance) record(now func() time.Time) func(event string) []byte {
	return func(event string) []byte {
		var l line
		l.open(now(), event)
		l.text("service", i.service, maxShortField)
		l.text("instance", i.id, maxShortField)
		l.text("version", i.version, maxShortField)
		l.close()
		return l.b
	}
}
