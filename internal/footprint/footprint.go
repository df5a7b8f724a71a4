// Package footprint keeps the memory of the process near what it uses: it sets
// how often the collector runs and how much memory there may be, and gives memory
// back when the process has calmed down.
package footprint

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// percent is GOGC where much is alive. A handshake leaves some 60 KiB of garbage and
	// the collector spends 0.3 to 0.5 ms on each MiB that is alive (GODEBUG=gctrace=1
	// tells), so with many open connections and Go's own 100 each handshake pays 20 to
	// 30 µs for it, and half of that with 200. What that costs in memory, [Tend] gives back.
	percent = 200
	// room is how much may be allocated between two collections at least, where the
	// limit is not near. With little alive, GOGC alone would start one after every hundred
	// handshakes. Much more room costs more than it spares: a handshake that gets memory
	// which the kernel has just given pays for page faults, and one that gets memory from
	// long ago for cold caches (ADR 0025). Under pressure the network is polled during
	// a collection, so that it costs whoever is served meanwhile little (ADR 0023).
	room = 32 << 20
	// least is what GOGC is a percentage of at least: Go lets a heap grow to 4 MiB for 100.
	least = 4 << 20
	// part of the limit that room may take at most.
	part = 8
	// share is GOMEMLIMIT's part of what the cgroup allows. The kernel's buffers of
	// the sockets, about 5 KiB for each, count against the same limit.
	share = 0.75
)

// Set sets GOMEMLIMIT to three quarters of the cgroup's limit, unless the
// environment sets it or there is no limit. It says what it could not learn and
// goes on, because without a limit Go works as it always did.
func Set(log *slog.Logger) {
	limit, err := memlimit.Set(memlimit.WithRatio(share))
	if errors.Is(err, memlimit.ErrCgroupsNotSupported) {
		return
	}
	if err != nil {
		log.Warn("no memory limit was set; set GOMEMLIMIT if there is one", "error", err)
		return
	}
	log.Debug("memory limit", "octets", limit)
}

const (
	// look is how often Tend looks whether the process is calm, and glance, at heap and
	// goroutines, which takes some 1.5 µs.
	look   = time.Second
	glance = 100 * time.Millisecond
)

// Tend paces the collector until ctx ends, unless the environment sets GOGC: it
// keeps GOGC at what suits the heap, collects as connections accumulate, and gives
// memory back whenever the process has calmed down.
//
// A connection that stays leaves its few objects in the midst of the garbage of its
// handshake. Memory is reused where that was collected in time; collected later, it
// is full of holes for as long as the connections live. So connections that stay are
// a reason to collect, while those that come and go are not.
//
// After a burst of handshakes most of the heap is garbage that Go would keep for
// the next two minutes, and free memory that it would keep for longer. Tend
// collects the one and returns both to the kernel, at the price of two collections,
// one of which would have come anyway, and of page faults when the next burst comes.
func Tend(ctx context.Context) {
	if _, fixed := os.LookupEnv("GOGC"); fixed {
		return
	}
	looks, glances := time.NewTicker(look), time.NewTicker(glance)
	defer looks.Stop()
	defer glances.Stop()
	limit := uint64(debug.SetMemoryLimit(-1))
	gogc := 100
	var w watch
	var g growth
	for {
		s := read()
		if want := pace(s.live, limit); differ(want, gogc) {
			debug.SetGCPercent(want) // takes the lock of the heap
			gogc = want
		}
		select {
		case <-ctx.Done():
			return
		case now := <-glances.C:
			if g.due(now, s, runtime.NumGoroutine()) {
				// Without polls of our own: handshakes that wait force them, and with more of
				// them done meanwhile a collection takes longer, so that fewer follow.
				runtime.GC()
				end := time.Now()
				g.collected(end, end.Sub(now))
			}
		case now := <-looks.C:
			if w.due(now, s) {
				trim()
			}
		}
	}
}

// pace returns what GOGC should be with so much alive under that limit, in octets.
func pace(live, limit uint64) int {
	return max(percent, int(100*min(room, limit/part)/max(live, least)))
}

// differ reports whether it is worth changing GOGC from one value to the other.
func differ(a, b int) bool { return 10*max(a-b, b-a) > b }
