package pinned

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watch is Watch by somebody who may.
func watch(t *testing.T, core int) (stop func() time.Duration) {
	t.Helper()
	stop, err := Watch(core)
	if errors.Is(err, os.ErrPermission) {
		t.Skip("only root, or who has CAP_SYS_NICE, can watch a core")
	}
	if err != nil {
		t.Fatal(err)
	}
	return stop
}

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

// taken is for how long a core is taken.
const taken = 20 * time.Millisecond

// take keeps the core of this process to itself for so long. The process is one that does
// nothing else: where other goroutines wait, Go takes a thread off after 10 ms.
func take(d time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cores, err := Cores()
	if err != nil {
		return err
	}
	back, err := comeFirst(cores[0])
	if err != nil {
		return err
	}
	for began := monotonic(); monotonic()-began < d; {
	}
	back()
	return nil
}

// TestWatch: a core that nobody gives up, as if a hypervisor had taken it, stands still.
func TestWatch(t *testing.T) {
	t.Parallel()
	p := start(t, 0) // which is on that core too
	stop := watch(t, lastCore(t))
	if answer := p.say("take"); answer != "taken" {
		t.Fatal(answer)
	}
	if longest := stop(); longest < taken/2 {
		t.Errorf("the core was taken for %v, and stood still for %v", taken, longest)
	}
	if _, err := Watch(1 << 20); err == nil {
		t.Error("a core that does not exist was watched")
	}
}

// TestWatchEndsNobody: whatever was started by a thread that comes to watch lives on.
func TestWatchEndsNobody(t *testing.T) {
	t.Parallel()
	p, core := start(t, 0), lastCore(t)
	for range 100 { // one of them is in the thread that started p, mostly
		watch(t, core)()
	}
	if now := p.say("cores"); now != fmt.Sprintf("[%d] 1", core) {
		t.Errorf("it answers %s", now)
	}
}

// TestComeFirst: a thread that goes back is as it was. It comes before those that are
// parallel, or its thread might be one that did not go back.
func TestComeFirst(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cores, err := Cores()
	if err != nil {
		t.Fatal(err)
	}
	attributes, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := comeFirst(cores[0]); err == nil {
		back()
	} else if !errors.Is(err, os.ErrPermission) {
		t.Fatal(err)
	}
	if now, err := Cores(); err != nil || !slices.Equal(now, cores) {
		t.Errorf("its cores are %v, %v, and were %v", now, err, cores)
	}
	if now, err := unix.SchedGetAttr(0, 0); err != nil || *now != *attributes {
		t.Errorf("it is scheduled by %+v, %v, and was by %+v", now, err, attributes)
	}
}
