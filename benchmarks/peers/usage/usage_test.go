package usage

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain makes the test's own binary a program that burns or takes a known amount.
func TestMain(m *testing.M) {
	switch os.Getenv("USAGE_TEST") {
	case "burn":
		burn()
	case "parent":
		c := exec.Command("/proc/self/exe")
		c.Env = append(os.Environ(), "USAGE_TEST=burn")
		c.Stdout, c.Stdin = os.Stdout, os.Stdin
		_ = c.Run()
	default:
		os.Exit(m.Run())
	}
}

// burn uses a known CPU time, half of it in a thread that ends, touches 32 MiB,
// says so, and waits for the end of its input.
func burn() {
	const each = 150 * time.Millisecond
	done := make(chan bool)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		use(each)
		close(done)
	}()
	<-done
	runtime.LockOSThread()
	use(each)
	memory := make([]byte, 32<<20)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	_, _ = os.Stdout.WriteString("burnt\n")
	_, _ = os.Stdin.Read(memory[:1])
}

// use computes until this thread has used d more CPU time.
func use(d time.Duration) {
	now := func() time.Duration {
		var t unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
		return time.Duration(t.Nano())
	}
	for from := now(); now()-from < d; {
	}
}

// start runs this binary in a role until the test ends.
func start(t *testing.T, role string) int {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), "USAGE_TEST="+role)
	input, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { input.Close(); _ = c.Wait() })
	if _, err := output.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	return c.Process.Pid
}

func TestTimeOfThreadsThatEndedCounts(t *testing.T) {
	t.Parallel()
	used, err := CPU(start(t, "burn"))
	if err != nil {
		t.Fatal(err)
	}
	// A forgotten thread would leave 150. Above 300 there is what starting a Go program
	// costs, which a busy machine makes as dear as it likes.
	if used < 300*time.Millisecond {
		t.Errorf("CPU() = %v of a process that burnt 300 ms in two threads, want at least that", used)
	}
}

func TestChildrenBelongToTheTree(t *testing.T) {
	t.Parallel()
	parent := start(t, "parent")
	tree, err := Tree(parent)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree) != 2 || !slices.Contains(tree, parent) {
		t.Fatalf("Tree() = %v, want %d and its one child", tree, parent)
	}
	used, err := CPU(tree...)
	if err != nil || used < 300*time.Millisecond {
		t.Errorf("CPU() = %v, %v, want at least the 300 ms that the child burnt", used, err)
	}
	held, err := Resident(tree...)
	if err != nil || held.Resident < 32<<20 || held.Proportional < 32<<20 || held.Proportional > held.Resident {
		t.Errorf("Resident() = %+v, %v, want at least the 32 MiB that the child touched", held, err)
	}
}

func TestProcessThatEndedIsAnError(t *testing.T) {
	t.Parallel()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), "USAGE_TEST=burn") // its input is empty: it ends by itself
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if used, err := CPU(c.Process.Pid); err == nil {
		t.Errorf("CPU() = %v of a process that has ended, want an error", used)
	}
	if held, err := Resident(c.Process.Pid); err == nil {
		t.Errorf("Resident() = %v of a process that has ended, want an error", held)
	}
}

func TestBusyCoresAreSeen(t *testing.T) {
	t.Parallel()
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	var sum [2]time.Duration
	for i := range sum {
		for core := range len(allowed) * 64 {
			if !allowed.IsSet(core) {
				continue
			}
			busy, err := Core(core)
			if err != nil {
				t.Fatal(err)
			}
			sum[i] += busy
		}
		if i == 0 {
			runtime.LockOSThread()
			use(200 * time.Millisecond)
			runtime.UnlockOSThread()
		}
	}
	// The kernel counts at its ticks: half of the time is certain to be seen.
	if grown := sum[1] - sum[0]; grown < 100*time.Millisecond {
		t.Errorf("all cores together were busy for %v while this test was for 200 ms", grown)
	}
	if busy, err := Core(1 << 20); err == nil {
		t.Errorf("Core() = %v of a processor that is not there, want an error", busy)
	}
}
