package netpoll_test

import (
	"runtime"
	"testing"

	"verigate/internal/netpoll"
	"verigate/internal/netpoll/netpolltest"
)

// Whoever waits for the network goes on after a poll that was forced, though the processor
// has always something to run.
func TestForce(t *testing.T) { // not parallel, for netpolltest
	reader := netpolltest.New(t)
	// A few polls come by themselves, and a few yields are too few for the reader.
	const attempts, rings = 20, 20
	best := 0
	for range attempts {
		prompt := 0
		for range rings {
			reader.Send(t)
			netpoll.Force()
			for range 10 {
				runtime.Gosched()
			}
			if reader.Heard() {
				prompt++
			}
			reader.Wait()
		}
		if best = max(best, prompt); best > rings/2 {
			return
		}
	}
	t.Errorf("in the best of %d attempts %d of %d octets were read at once after a poll, want more than half", attempts, best, rings)
}
