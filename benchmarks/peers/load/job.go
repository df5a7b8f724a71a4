// Package load is the load generator of the comparison: it plays one [Job] after the
// other, as a process of its own on a core of its own, and reads the CPU time of the
// peer around exactly the part that counts.
//
// An operation is cheap here and still complete: a TLS client that knows the
// server's certificate by its octets, a request that is written as one piece, and of
// the answer its status, its length and the caller that it names are checked.
package load

import (
	"crypto/tls"
	"time"

	"verigate/benchmarks/report"
)

// Kind says what a job does.
type Kind string

// The kinds of jobs.
const (
	Handshake Kind = "handshake" // connect, full handshake, one request, close
	Resume    Kind = "resume"    // the same with a ticket of the connection before
	KeepAlive Kind = "keepalive" // requests over connections that stay
	Hold      Kind = "hold"      // opens connections, asks once on each, and keeps them until Release
	Release   Kind = "release"   // closes what Hold has opened
	Flood     Kind = "flood"     // connect, ClientHello from memory, wait for the answer, reset
)

// Job is what the generator is asked to do.
type Job struct {
	Kind   Kind
	Target string      // address of the peer
	Leaf   []byte      // the certificate, in DER, that the peer has to show
	Group  tls.CurveID // the only one that clients offer

	Identities  string // file of [pki.Set.Write]
	First, Last int    // which of them; Last is exclusive, and 0 is all
	Once        bool   // each identity at most once; the job ends when there are no more

	Path     string // of the request
	Body     int    // octets that the answer must have
	NoCaller bool   // the peer cannot say who calls, so nobody looks

	// Workers is how many operations may be under way; for jobs that keep
	// connections, it is how many of these there are.
	Workers int
	// Held has KeepAlive use the connections that Hold has opened, and leave them open.
	Held bool
	// Rate is how many operations are due a second. 0 is a closed loop: each worker
	// begins the next operation when it has finished one.
	Rate float64
	// Apart gives each worker its own timetable, so that none does the work of
	// another that is stuck. Only with a Rate.
	Apart    bool
	Duration time.Duration
	// Patience is how long after it was due an operation may end and still be a
	// success; ten seconds by default.
	Patience time.Duration
	// From and Until, after the begin of the job, bound what [Result.Within] counts.
	From, Until time.Duration

	Processes
}

// Processes are those whose CPU time matters to a job.
type Processes struct {
	Peer      int   // root of the peer's, whose CPU time is read; 0 is nobody
	Core      int   // the processor that only the peer should use
	Occupants []int // those that may use it as well
	Beside    []int // those that share the generator's core
}

// Result is what a job came to.
type Result struct {
	Error string // why there is no result at all; "" if there is one

	Began      time.Time // of several jobs, the last
	Operations int64
	Within     int64 // those that ended between From and Until
	Failures   int64
	Failure    string // one of the failures
	Unresumed  int64  // operations of Resume that were full handshakes; they count as failures
	Wall       time.Duration
	CPU        time.Duration // of the peer's processes
	// Generator is the CPU time of the generator and of what is beside it. Near
	// Wall, it is the generator that set the pace.
	Generator time.Duration
	// Core is how long the peer's core was busy, for whomever, in hundredths of a second.
	Core        time.Duration
	OccupantCPU time.Duration   // of the occupants of the peer's core
	Latency     *report.Latency // from when an operation was due; only with a Rate
}

// Plus returns what two jobs of one kind came to, one after the other. There are no
// latencies: percentiles cannot be added.
func (r Result) Plus(next Result) Result {
	sum := next
	sum.Operations += r.Operations
	sum.Within += r.Within
	sum.Failures += r.Failures
	sum.Unresumed += r.Unresumed
	sum.Wall += r.Wall
	sum.CPU += r.CPU
	sum.Generator += r.Generator
	sum.Core += r.Core
	sum.OccupantCPU += r.OccupantCPU
	sum.Latency = nil
	if sum.Failure == "" {
		sum.Failure = r.Failure
	}
	return sum
}

// Foreign is how much of the time others than the peer and the occupants used its core.
func (r Result) Foreign() float64 {
	return max(0, r.Core-r.CPU-r.OccupantCPU).Seconds() / r.Wall.Seconds()
}
