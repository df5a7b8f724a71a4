package pinned

import (
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// gaugeEvery is how often a gauge has its work done.
const gaugeEvery = 20 * time.Millisecond

// Sample is one time that a gauge's work was done.
type Sample struct {
	At   time.Time
	Took time.Duration // CPU time
}

// Gauge tells how fast a core is, which changes by the second where neighbours of a virtual
// machine come and go, and which no clock of its processes tells. It has the same work done
// there every 20 ms, before all others if it may (see [Watch]): twice, and the second time
// counts, when nobody else's work has its place in the caches. stop, to be called once, ends it
// and returns the samples by time, one at least, and the CPU time that the gauge has used. work
// should take some hundred microseconds, not wait, and resemble what the core does otherwise.
func Gauge(core int, work func()) (stop func() (samples []Sample, used time.Duration), err error) {
	started, done := make(chan error), make(chan struct{})
	var samples []Sample
	var used time.Duration
	var over atomic.Bool
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // as Watch does
		back, err := comeFirst(core)
		if errors.Is(err, os.ErrPermission) {
			back, err = stayOn(core)
		}
		if err != nil {
			started <- err
			return
		}
		began := threadTime()
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
	work()
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
