package netpoll

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
)

// Whoever waits for the network goes on after a poll that was forced, though the processor
// has always something to run and would poll in 10 ms.
//
// It sets the number of processors for everybody, so it is not parallel.
func TestForce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	var heard atomic.Int64
	go func() {
		for octet := make([]byte, 1); ; heard.Add(1) {
			if _, err := r.Read(octet); err != nil {
				return
			}
		}
	}()
	// A few polls come by themselves, and a few yields are too few for the reader.
	const attempts, rings = 20, 20
	best := 0
	for range attempts {
		before, prompt := heard.Load(), 0
		for i := range int64(rings) {
			if _, err := w.Write([]byte{0}); err != nil {
				t.Fatal(err)
			}
			Force()
			for range 10 {
				runtime.Gosched()
			}
			if heard.Load() == before+i+1 {
				prompt++
			}
			for heard.Load() <= before+i {
				runtime.Gosched()
			}
		}
		if best = max(best, prompt); best > rings/2 {
			return
		}
	}
	t.Errorf("in the best of %d attempts %d of %d octets were read at once after a poll, want more than half", attempts, best, rings)
}
