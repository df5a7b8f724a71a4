package pinned

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestLatest: the longest wait is of the sleep that ended latest, beyond what was asked for.
func TestLatest(t *testing.T) {
	t.Parallel()
	var now time.Duration
	late := []time.Duration{40 * time.Microsecond, 21 * time.Millisecond, 0, 6 * time.Millisecond}
	longest := latest(
		func() time.Duration { return now },
		func(d time.Duration) { now, late = now+d+late[0], late[1:] },
		func() bool { return len(late) == 0 },
	)
	if want := 21 * time.Millisecond; longest != want {
		t.Errorf("latest = %v, want %v", longest, want)
	}
}

// TestWatch: a core that nobody gives up, as if a hypervisor had taken it, stands still.
func TestWatch(t *testing.T) {
	t.Parallel()
	cores, err := Cores()
	if err != nil {
		t.Fatal(err)
	}
	core := cores[len(cores)-1]
	stop, err := Watch(core)
	if errors.Is(err, os.ErrPermission) && os.Geteuid() != 0 {
		return // as it says
	}
	if err != nil {
		t.Fatal(err)
	}
	const taken = 20 * time.Millisecond
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		err := comeFirst(core)
		for began := monotonic(); err == nil && monotonic()-began < taken; {
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if longest := stop(); longest < taken/2 {
		t.Errorf("the core was taken for %v, and stood still for %v", taken, longest)
	}
	if _, err := Watch(1 << 20); err == nil {
		t.Error("a core that does not exist was watched")
	}
}
