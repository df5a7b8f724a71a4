package timerslack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// usual is by how much Linux may wake a sleeping thread late unless somebody chose something
	// else: PR_SET_TIMERSLACK in prctl(2).
	usual = 50 * time.Microsecond
	// wide is the same where [Widen] had its way. When a system call blocks, such as a write to
	// a slow disk, the monitor gives its processor to other goroutines at the second look that
	// finds it there, so it is one to two milliseconds until then, and was a seventh of one.
	wide = time.Millisecond
	// mark is set in the environment of the new image, until it has seen it.
	mark = "VERIGATE_TIMER_SLACK"
)

// Widen lets the kernel wake the process's threads a millisecond late, if Go has one processor
// and nobody has chosen another slack than the kernel's. To do that it starts the program anew,
// as the same process with the same arguments and environment, because the monitor has its
// slack from the thread that made it, before any code of the program ran. Where it has its way
// it returns only in the new image, which comes to it once: whatever the slack is then, nothing
// is started a second time. It is to be called before any other goroutine is started, signal
// caught or file opened.
//
// It returns the slack of the calling thread, 0 if the system has none. An error says why it
// could not be widened although it should have been; all is as it was then.
func Widen() (time.Duration, error) {
	_, anew := os.LookupEnv(mark)
	_ = os.Unsetenv(mark)  // no name that has to be refused
	runtime.LockOSThread() // slack is a thread's own until the program starts anew
	defer runtime.UnlockOSThread()
	slack, err := get()
	// With more processors, an idle one naps before it takes what another is about to run next,
	// and would for as long as that.
	if err != nil || slack != usual || runtime.GOMAXPROCS(0) > 1 {
		return slack, err
	}
	if anew {
		return slack, errors.New("timer slack: it was set, and the program started anew has not kept it")
	}
	program, err := running()
	if err != nil {
		return slack, err
	}
	if err := set(wide); err != nil {
		return slack, err
	}
	err = startAnew(program)
	return slack, errors.Join(err, set(slack))
}

// running returns a path of the program that runs, and not of another that has taken its place.
// The one by which it was called comes first: the kernel names the process by it.
func running() (string, error) {
	now, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("timer slack: which program runs: %w", err)
	}
	for _, find := range []func() (string, error){
		func() (string, error) { return exec.LookPath(os.Args[0]) },
		os.Executable,
	} {
		path, err := find()
		if err != nil {
			continue
		}
		if found, err := os.Stat(path); err == nil && os.SameFile(found, now) {
			return path, nil
		}
	}
	return "", errors.New("timer slack: the program that runs is at no path any more")
}

// startAnew returns only if it fails.
func startAnew(program string) error {
	// Go has raised the limit of open files, and lowers it for a program that comes after it.
	var files syscall.Rlimit
	known := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil
	err := syscall.Exec(program, os.Args, append(os.Environ(), mark+"=1"))
	if known {
		err = errors.Join(err, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files))
	}
	return fmt.Errorf("timer slack: start %s anew: %w", program, err)
}

func get() (time.Duration, error) {
	n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return 0, fmt.Errorf("timer slack: %w", err)
	}
	return time.Duration(n), nil
}

func set(slack time.Duration) error {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0); err != nil {
		return fmt.Errorf("timer slack of %v: %w", slack, err)
	}
	return nil
}
