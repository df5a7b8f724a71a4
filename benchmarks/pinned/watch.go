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
// thread of this process. Where that waits for long, a hypervisor has taken the core away,
// or the kernel itself has kept it: nobody on it can have run, and nothing else tells. stop,
// to be called once, ends the watch and returns the longest wait. Only root may watch, and
// not everywhere; for others the error is [os.ErrPermission].
func Watch(core int) (stop func() time.Duration, err error) {
	started := make(chan error)
	longest := make(chan time.Duration)
	var over atomic.Bool
	go func() {
		runtime.LockOSThread()
		// Not for ever: a thread that ended would take the processes with it that it started.
		defer runtime.UnlockOSThread()
		back, err := comeFirst(core)
		started <- err
		if err == nil {
			late := latest(monotonic, unixSleep, over.Load)
			back()
			longest <- late
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

// comeFirst lets the calling thread run on one core only, before all others there, until
// it goes back.
func comeFirst(core int) (back func(), err error) {
	attributes, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return nil, os.NewSyscallError("sched_getattr", err)
	}
	leave, err := stayOn(core)
	if err != nil {
		return nil, err
	}
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 99}, 0); err != nil {
		leave()
		return nil, os.NewSyscallError("sched_setattr", err)
	}
	return func() {
		_ = unix.SchedSetAttr(0, attributes, 0) // who was allowed to come is allowed to go
		leave()
	}, nil
}

// stayOn lets the calling thread run on one core only, until it leaves.
func stayOn(core int) (leave func(), err error) {
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return nil, os.NewSyscallError("sched_setaffinity", err)
	}
	return func() { _ = unix.SchedSetaffinity(0, &before) }, nil
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

// monotonic and unixSleep do without the runtime's timers, which have delays of their own.
func monotonic() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it is always there
	return time.Duration(now.Nano())
}

// unixSleep sleeps through signals, some of which the runtime sends to its own threads.
func unixSleep(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	for unix.Nanosleep(&t, &t) == unix.EINTR { // what is left is in t
	}
}
