package telemetry

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"sync/atomic"
)

// Trace is the place of one request in a distributed trace: whose child it is,
// and the identifiers of the two spans that the gateway may report for it. It is a
// value; the zero Trace is none.
type Trace struct {
	id      [16]byte
	parent  [8]byte // zero: the trace begins here
	server  [8]byte // the request, as the gateway received it
	client  [8]byte // the same, as the gateway forwards it
	sampled bool
}

// IsZero reports whether t is none.
func (t Trace) IsZero() bool { return t.id == [16]byte{} }

// Sampled reports whether the gateway reports spans for the request.
func (t Trace) Sampled() bool { return t.sampled }

// AppendID appends the trace's identifier, 32 hexadecimal digits; nothing for the
// zero Trace.
func (t Trace) AppendID(b []byte) []byte {
	if t.IsZero() {
		return b
	}
	return hex.AppendEncode(b, t.id[:])
}

// AppendTraceParent appends the value of the traceparent field that goes to the
// upstream: 55 octets (W3C Trace Context §3.2), whether or not the request is
// sampled; nothing for the zero Trace. It does not allocate when b has room.
func (t Trace) AppendTraceParent(b []byte) []byte {
	if t.IsZero() {
		return b
	}
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, t.id[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, t.client[:])
	if t.sampled {
		return append(b, "-01"...)
	}
	return append(b, "-00"...)
}

// Trace places a request whose traceparent field was received as given; "" when
// there was none, and anything malformed counts as none. The caller's trace
// identifier is kept, for linkage. Its sampled flag is a hint that is followed as
// long as hints make up no more than the configured ratio of all requests: anyone
// can set it, and every sampled request costs this gateway, the collector and all
// upstreams (AUD-09). It does not allocate.
func (t *Telemetry) Trace(traceparent string) Trace {
	return t.sampler.place(parseTraceParent(traceparent))
}

// TraceBytes is [Telemetry.Trace] for octets; it does not keep them.
func (t *Telemetry) TraceBytes(traceparent []byte) Trace {
	return t.sampler.place(parseTraceParent(traceparent))
}

const traceParentLen = len("00-") + 32 + len("-") + 16 + len("-00")

// parseTraceParent returns the caller's trace and span identifier and flag; the
// zero Trace if s is not a traceparent (W3C Trace Context §3.2.2). A version
// above 00 may append further fields.
func parseTraceParent[T string | []byte](s T) (t Trace) {
	if len(s) < traceParentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return Trace{}
	}
	var version, flags [1]byte
	if !unhex(version[:], s[0:2]) || version[0] == 0xff ||
		version[0] == 0 && len(s) != traceParentLen ||
		len(s) > traceParentLen && s[traceParentLen] != '-' {
		return Trace{}
	}
	if !unhex(t.id[:], s[3:35]) || !unhex(t.parent[:], s[36:52]) || !unhex(flags[:], s[53:55]) || t.parent == [8]byte{} {
		return Trace{}
	}
	t.sampled = flags[0]&1 != 0
	return t
}

// unhex decodes lower-case hexadecimal digits, the only ones a traceparent has.
func unhex[T string | []byte](dst []byte, s T) bool {
	for i := range dst {
		hi, lo := nibble(s[2*i]), nibble(s[2*i+1])
		if hi|lo > 0xf {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// sampler decides which requests get spans. Every request has the same chance,
// ratio, by a coin of our own: a decision by the trace identifier would let the
// caller choose. Each request that wins also earns one credit, which a caller's
// hint may spend; so hints are followed for at most as many again.
type sampler struct {
	threshold uint64 // of 1<<63
	credit    atomic.Int64
}

// maxCredit bounds how many hints in a row are followed after a quiet time.
const maxCredit = 100

func newSampler(ratio float64) *sampler {
	return &sampler{threshold: uint64(min(max(ratio, 0), 1) * (1 << 63))}
}

func (s *sampler) place(received Trace) Trace {
	t := received
	if t.IsZero() {
		t.id = newTraceID()
	}
	t.server, t.client = newSpanID(), newSpanID()
	t.sampled = s.sample(received.sampled)
	return t
}

func (s *sampler) sample(hint bool) bool {
	if s.threshold == 0 {
		return false
	}
	if rand.Uint64()>>1 < s.threshold {
		if s.credit.Load() < maxCredit {
			s.credit.Add(1)
		}
		return true
	}
	if !hint {
		return false
	}
	for {
		n := s.credit.Load()
		if n <= 0 {
			return false
		}
		if s.credit.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// Identifiers of traces need to be unique, not secret.
func newTraceID() (id [16]byte) {
	for id == [16]byte{} {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}

func newSpanID() (id [8]byte) {
	for id == [8]byte{} {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
