package pinned

import (
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// gaugeEvery is how long a gauge waits until it has its work done again.
const gaugeEvery = 50 * time.Millisecond

// Sample is one time that a gauge's work was done.
type Sample struct {
	At   time.Time
	Took time.Duration // CPU time
}

// Gauge tells how fast a core is, which changes by the second where neighbours of a virtual
// machine come and go, and which no clock of its processes tells. It has the same work done
// there again and again, 50 ms after the last time, before all others if it may (see [Watch]). stop, to be called once, ends
// it and returns the samples by time, one at least, and the CPU time that the gauge has used.
// work should take a millisecond or two, not wait, and be what the core does otherwise: not all
// work slows down by the same factor.
func Gauge(core int, work func()) (stop func() (samples []Sample, used time.Duration), err error) {
	started, done := make(chan error), make(chan struct{})
	var samples []Sample
	var used time.Duration
	var over atomic.Bool
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // as Watch does
		back, err := comeFirst(core)
		if errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
			back, err = stayOn(core)
		}
		if err != nil {
			started <- err
			return
		}
		began := threadTime()
		work() // the first time takes longer than those to come
		samples = append(samples, sample(work))
		started <- nil
		for !over.Load() {
			unixSleep(gaugeEvery)
			samples = append(samples, sample(work))
		}
		used = threadTime() - began
		back()
		close(done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() ([]Sample, time.Duration) {
		over.Store(true)
		<-done
		return samples, used
	}, nil
}

func sample(work func()) Sample {
	at, before := time.Now(), threadTime()
	work()
	return Sample{At: at, Took: threadTime() - before}
}

// threadTime is the CPU time of the calling thread, which waiting for the core is none of.
func threadTime() time.Duration {
	var used unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used) // it is always there
	return time.Duration(used.Nano())
}
