package timerslack

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Widen lets the kernel wake the process's threads a millisecond late, if Go has one processor
// and nobody has chosen another slack than the kernel's. To do that it starts the program anew,
// as the same process with the same arguments and environment, because the monitor has its
// slack from the thread that made it, before any code of the program ran. So it is to be called
// before anything is open, and where it has its way it returns only in the new image, which
// finds that a slack was chosen.
//
// It returns the slack in force. An error says why it is not the wide one; nothing else is wrong.
func Widen() (time.Duration, error) {
	runtime.LockOSThread() // slack is a thread's own until the program starts anew
	defer runtime.UnlockOSThread()
	n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return 0, fmt.Errorf("timer slack: %w", err)
	}
	slack := time.Duration(n)
	// An idle processor naps before it takes work from another, and would for as long as that.
	if runtime.GOMAXPROCS(0) > 1 || slack != usual {
		return slack, nil
	}
	program, err := os.Executable()
	if err != nil {
		return slack, fmt.Errorf("timer slack: %w", err)
	}
	if err := set(wide); err != nil {
		return slack, err
	}
	err = syscall.Exec(program, os.Args, os.Environ())
	_ = set(slack) // as it was
	return slack, fmt.Errorf("timer slack: start %s anew: %w", program, err)
}

func set(slack time.Duration) error {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0); err != nil {
		return fmt.Errorf("timer slack of %v: %w", slack, err)
	}
	return nil
}
