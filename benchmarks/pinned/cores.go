package pinned

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Cores returns the processors that this process may use, in ascending order.
func Cores() ([]int, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	var ids []int
	for i := range len(allowed) * 64 {
		if allowed.IsSet(i) {
			ids = append(ids, i)
		}
	}
	return ids, nil
}

// on calls f in a thread that may run on some cores only, with a niceness, as does
// every process that f starts.
func on(cores []int, niceness int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, some unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	for _, core := range cores {
		some.Set(core)
	}
	if err := unix.SchedSetaffinity(0, &some); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	defer unix.SchedSetaffinity(0, &before) // it was so before
	// A thread that is not root's could not go back; it is left as it is.
	if niceness != 0 && os.Geteuid() == 0 && unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) == nil {
		defer unix.Setpriority(unix.PRIO_PROCESS, 0, 0) // as above
	}
	return f()
}

// RaiseLimit lets this process, and all that it starts, have as many descriptors as
// the machine permits, and as many as wanted if it is root's. It returns how many.
func RaiseLimit(want uint64) (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	more := unix.Rlimit{Cur: max(want, l.Max), Max: max(want, l.Max)}
	if l.Max < want && syscall.Setrlimit(syscall.RLIMIT_NOFILE, (*syscall.Rlimit)(&more)) == nil {
		return more.Cur, nil // only root may
	}
	l.Cur = l.Max
	// syscall's, not unix's: the runtime takes note of it, and leaves it as it is for
	// processes that are started later.
	return l.Cur, os.NewSyscallError("setrlimit", syscall.Setrlimit(syscall.RLIMIT_NOFILE, (*syscall.Rlimit)(&l)))
}
