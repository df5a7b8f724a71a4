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
)

// trim collects garbage and gives free memory back to the kernel. The network is polled while
// it sweeps: on one processor, 200 MiB of garbage held up requests for 20 ms.
func trim() {
	collect(runtime.GC)
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
