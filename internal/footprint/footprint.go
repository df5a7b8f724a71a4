// Package footprint keeps the memory of the process near what it uses: it sets
// how often the collector runs and how much memory there may be, and gives memory
// back when the process has calmed down.
package footprint

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// percent is GOGC. A handshake allocates some 60 KiB and the collector spends
	// 0.3 to 0.5 ms on each MiB that is alive, so with many open connections and Go's
	// own 100 it takes 28 µs of every handshake, and half of that with 200
	// (benchmarks/LEDGER.md). What that costs in memory, [Trim] gives back.
	percent = 200
	// share is GOMEMLIMIT's part of what the cgroup allows. The kernel's buffers of
	// the sockets, about 5 KiB for each, count against the same limit.
	share = 0.75
)

// Set sets GOGC and GOMEMLIMIT for the whole process, each only if the
// environment does not: GOMEMLIMIT to three quarters of the cgroup's limit, and
// not at all where there is none. It says what it could not learn and goes on,
// because without a limit Go works as it always did.
func Set(log *slog.Logger) {
	if _, ok := os.LookupEnv("GOGC"); !ok {
		debug.SetGCPercent(percent)
	}
	limit, err := memlimit.Set(memlimit.WithRatio(share))
	if err != nil {
		log.Warn("no memory limit was set; set GOMEMLIMIT if there is one", "error", err)
		return
	}
	log.Debug("memory limit", "octets", limit)
}

// look is how often Trim looks at the process.
const look = time.Second

// Trim gives memory back whenever the process has calmed down, until ctx ends.
//
// After a burst of handshakes most of the heap is garbage that Go would keep for
// the next two minutes, and free memory that it would keep for longer. Trim
// collects the one and returns both to the kernel, at the price of a collection
// that would have come anyway, and of page faults when the next burst comes.
func Trim(ctx context.Context) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	var w watch
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if w.due(now, read()) {
				debug.FreeOSMemory()
			}
		}
	}
}
