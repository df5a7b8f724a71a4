package pinned

import (
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watchEvery is how often a watch asks for its core: often enough to meet what matters
// to a percentile, and seldom enough to take a few thousandths of the core.
const watchEvery = 2 * time.Millisecond

// Watch notes how long a core does not run whoever is first in line for it, which is a
// thread of this process that Watch starts. Where that waits for long, a hypervisor has
// taken the core away, or the kernel itself has kept it: nobody on it can have run, and
// nothing else tells. stop ends the watch and returns the longest wait. Only root may
// watch; for others the error is [os.ErrPermission].
func Watch(core int) (stop func() time.Duration, err error) {
	started := make(chan error)
	longest := make(chan time.Duration)
	var over atomic.Bool
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		err := comeFirst(core)
		started <- err
		if err == nil {
			longest <- latest(monotonic, unixSleep, over.Load)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() time.Duration {
		over.Store(true)
		return <-longest
	}, nil
}

// comeFirst lets the calling thread run on one core only, before all others there.
func comeFirst(core int) error {
	var one unix.CPUSet
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	first := unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 99}
	return os.NewSyscallError("sched_setattr", unix.SchedSetAttr(0, &first, 0))
}

// latest returns by how much sleeps were longest too long, until it is over.
func latest(now func() time.Duration, sleep func(time.Duration), over func() bool) (longest time.Duration) {
	for !over() {
		due := now() + watchEvery
		sleep(watchEvery)
		longest = max(longest, now()-due)
	}
	return longest
}

// monotonic and unixSleep do without Go's scheduler, which has delays of its own.
func monotonic() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it is always there
	return time.Duration(now.Nano())
}

func unixSleep(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&t, nil) // if a signal wakes it early, it is not late
}
