package footprint

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"verigate/internal/netpoll/netpolltest"
)

const mib = 1 << 20

func TestDue(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		allocated []uint64 // MiB, at looks one second apart
		held      uint64   // MiB
		want      int      // the look that is due, from 1; 0 for none
	}{
		{"calm after a burst", []uint64{100, 200, 201, 202, 203}, 80, 4},
		{"busy", []uint64{100, 150, 200, 250}, 80, 0},
		{"calm for one look at a time", []uint64{100, 101, 200, 201, 300, 301}, 80, 0},
		{"little was allocated", []uint64{3, 6, 9, 12, 15}, 15, 0},
		{"little beside what is held", []uint64{100, 101, 102}, 1000, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var w watch
			start, got := time.Now(), 0
			for i, allocated := range tt.allocated {
				if w.due(start.Add(time.Duration(i)*time.Second), sample{allocated: allocated * mib, held: tt.held * mib}) && got == 0 {
					got = i + 1
				}
			}
			if got != tt.want {
				t.Errorf("the look that is due is %d, want %d", got, tt.want)
			}
		})
	}
}

func TestDueAgain(t *testing.T) {
	t.Parallel()
	var w watch
	now := time.Now()
	at := func(allocated uint64) bool {
		now = now.Add(look)
		return w.due(now, sample{allocated: allocated * mib, held: 40 * mib})
	}
	for !at(100) {
	}
	for i := range 60 {
		if at(101) {
			t.Fatalf("due %d s after a trim, with nothing new", i+1)
		}
	}
	at(200)
	if at(201) || !at(202) {
		t.Fatal("not due at the second calm look after a burst")
	}
	at(300)
	for i := range int(rest/time.Second) - 2 {
		if at(300) {
			t.Fatalf("due %d s after a trim, want %v of rest", i+2, rest)
		}
	}
	if !at(300) {
		t.Errorf("not due %v after a trim, want another", rest)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	const none = 1<<63 - 1 // what Go has where there is no limit
	tests := []struct {
		name        string
		live, limit uint64 // MiB
		want        int
	}{
		{"little is alive", 8, none / mib, 400},
		{"next to nothing is alive", 0, none / mib, 800}, // Go's own 4 MiB with 100, so 32 with 800
		{"much is alive", 1000, none / mib, percent},
		{"the limit is near", 8, 64, percent},
		{"the limit is not far", 4, 128, 400},
	}
	for _, tt := range tests {
		if got := pace(tt.live*mib, tt.limit*mib); got != tt.want {
			t.Errorf("%s: pace(%d MiB, %d MiB) = %d, want %d", tt.name, tt.live, tt.limit, got, tt.want)
		}
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	const live = 80 * mib
	steps := []struct {
		collections uint64
		allocated   uint64 // MiB
		goroutines  int
		want        bool
		why         string
	}{
		{1, 100, 20, false, "the first look"},
		{1, 200, 20 + stayed, false, "not more than stayed"},
		{1, 109, 21 + stayed, false, "strangers who have only connected"},
		{1, 110, 21 + stayed, true, "more than stayed"},
		{2, 111, 21 + stayed, false, "collected since"},
		{2, 200, 10_000, true, "many more"},
		{3, 201, 10_000, false, "collected since"},
		{3, 300, 10_500, false, "no more than a twentieth more"},
		{3, 300, 10_501, true, "more than a twentieth more"},
		{3, 300, 500, false, "most have gone"},
		{3, 300, 1_000, true, "others have come"},
	}
	var g growth
	look := func(now time.Time, collections, allocated uint64, goroutines int) bool {
		return g.due(now, sample{collections: collections, allocated: allocated * mib, live: live}, goroutines)
	}
	now := time.Now()
	for i, step := range steps {
		if got := look(now, step.collections, step.allocated, step.goroutines); got != step.want {
			t.Fatalf("step %d, %s: due is %v, want %v", i+1, step.why, got, step.want)
		}
	}
	g.collected(now, time.Second)
	if look(now.Add(pause*time.Second-1), 3, 400, 20_000) {
		t.Errorf("due in less than %d times what the last collection took", pause)
	}
	if !look(now.Add(pause*time.Second), 3, 400, 20_000) {
		t.Errorf("not due after %d times what the last collection took", pause)
	}
}

// What became garbage is gone after a trim, though no collection was due.
func TestTrim(t *testing.T) { // not parallel: the heap is the process's
	t.Setenv("GOGC", "") // puts it back afterwards
	os.Unsetenv("GOGC")
	garbage := make([]byte, 64*mib)
	runtime.GC()
	before := read()
	runtime.KeepAlive(garbage)
	synctest.Test(t, func(t *testing.T) {
		go Tend(t.Context())
		time.Sleep((calmFor + 2) * look) // of the bubble's clock
		synctest.Wait()
	})
	if after := read(); after.held+48*mib > before.held {
		t.Errorf("holds %d octets before and %d after a trim, though 64 MiB became garbage", before.held, after.held)
	}
}

// Memory goes back a slice at a time: returning all of it at once keeps a processor for as
// long as that takes. On a busy machine Go returns some by itself meanwhile, or a slice comes
// to less than it should, so the best of some attempts counts.
func TestGiveBack(t *testing.T) { // not parallel: the heap is the process's
	limit := debug.SetMemoryLimit(-1)
	var wrong string
	for range 20 {
		wrong = giveBackOnce()
		if now := debug.SetMemoryLimit(-1); now != limit {
			t.Fatalf("the memory limit is %d, and was %d", now, limit)
		}
		if wrong == "" {
			return
		}
	}
	t.Error(wrong)
}

// giveBackOnce has 64 MiB given back, and says what is wrong with how that went.
func giveBackOnce() (wrong string) {
	func() {
		garbage := make([]byte, 64*mib)
		for i := 0; i < len(garbage); i += 4096 {
			garbage[i] = 1 // or the kernel would not have given it
		}
		runtime.KeepAlive(garbage)
	}()
	runtime.GC()
	before := read()
	pauses, most, last := 0, uint64(0), before
	giveBack(func() {
		pauses++
		now := read()
		most = max(most, last.ready-min(last.ready, now.ready))
		last = now
	})
	after := read()
	if most <= before.free/4 && pauses > 0 && after.free <= max(remainder, after.ready/16) && after.collections == before.collections {
		return ""
	}
	return fmt.Sprintf("in %d slices of %d octets at most, %d octets that were free became %d, with %d collections", pauses, most, before.free, after.free,
		after.collections-before.collections)
}

// While it collects, the network is polled, though the processor has always something to run.
func TestNetworkIsPolledMeanwhile(t *testing.T) { // not parallel, for netpolltest
	reader := netpolltest.New(t)
	const attempts, turns = 20, 20
	best := time.Duration(1 << 62)
	for range attempts {
		begun := time.Now()
		collect(func() {
			for range turns {
				reader.Send(t)
				reader.Wait()
			}
		})
		if best = min(best, time.Since(begun)); best < turns*netpolltest.ByItself/2 {
			return
		}
	}
	t.Errorf("the best of %d attempts at %d reads took %v: they waited for the poll of every %v", attempts, turns, best, netpolltest.ByItself)
}
