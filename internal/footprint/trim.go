package footprint

import (
	"runtime"
	"runtime/debug"
	"time"

	"verigate/internal/netpoll"
)

const (
	// pollDue is how long, for each processor, the network goes without a poll while this
	// package collects: the same as for a limiter's bell (package tlsterm).
	pollDue = 300 * time.Microsecond
	// slice is how much goes back to the kernel at a time, which takes a fraction of breath, more if
	// it is in a huge page, and breath how long others have the processor after it.
	slice  = 1 << 20
	breath = 500 * time.Microsecond
	// remainder is what is free and not worth slices.
	remainder = 8 * slice
	// span is more than Go takes from what it has cut up already, so it is a span of its own.
	span = 40 << 10
)

// trim collects garbage and gives free memory back to the kernel, so that others hardly
// notice: on one processor, all garbage of a burst at once would hold up requests twice, until
// it is swept and until it is given back (ADR 0025).
func trim() {
	collect(runtime.GC)
	giveBack(func() { time.Sleep(breath) })
	collect(debug.FreeOSMemory) // the second one gets what a sync.Pool held over the first
}

// collect calls f, which collects, and has the network polled meanwhile. Whoever sweeps yields
// and never rests, so if that is on the only processor, or all are busy, Go looks there every
// 10 ms (ADR 0023).
func collect(f func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		due := time.NewTicker(pollDue * time.Duration(runtime.GOMAXPROCS(0)))
		defer due.Stop()
		for {
			select {
			case <-done:
				return
			case <-due.C:
				netpoll.Force()
			}
		}
	}()
	f()
	close(done)
	<-ended
}

// ballast is what giveBack allocates, because it is allocations that the limit is kept at.
var ballast []byte //nolint:unused // it is written, or nothing would be allocated

// giveBack returns free memory to the kernel a slice at a time, and calls pause after each.
// [debug.FreeOSMemory] alone keeps its processor until it has returned everything. For a slice,
// the memory limit is set below what there is, for the time of one allocation, which brings it
// back below the limit. A limit that is nearly all in use would start a collection as well, so it
// leaves a remainder. Without effect on the memory, all of it is the remainder.
func giveBack(pause func()) {
	limit := debug.SetMemoryLimit(-1)
	s := read()
	for range s.free / slice {
		if s.free <= max(remainder, s.ready/16) {
			break
		}
		debug.SetMemoryLimit(min(limit, int64(s.ready-slice)))
		ballast = make([]byte, span)
		debug.SetMemoryLimit(limit)
		pause()
		s = read()
	}
	ballast = nil
}
