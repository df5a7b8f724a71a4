package pinned

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 20 * time.Second

// TestMain makes the test's own binary a program that can be started.
func TestMain(m *testing.M) {
	switch os.Getenv("PINNED_TEST") {
	case "":
		os.Exit(m.Run())
	case "told": // does what its input says
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			if err := do(lines.Text()); err != nil {
				fmt.Println(err)
			}
		}
	case "unprivileged":
		if err := gaugeUnprivileged(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "stubborn": // heeds nothing
		select {}
	}
}

func do(what string) error {
	switch what {
	case "cores":
		cores, err := Cores()
		fmt.Println(cores, runtime.GOMAXPROCS(0))
		return err
	case "niceness":
		raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		fmt.Println(20 - raw) // the system call's, which is never negative
		return err
	case "take":
		err := take(taken)
		if err == nil {
			fmt.Println("taken")
		}
		return err
	case "child":
		c := exec.Command("/proc/self/exe")
		c.Env = append(os.Environ(), "PINNED_TEST=stubborn")
		err := c.Start()
		fmt.Println(c.Process.Pid)
		return err
	case "listen":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		fmt.Println(l.Addr())
		return err
	}
	return fmt.Errorf("there is no %q", what)
}

// lastCore is the last one that this process may use.
func lastCore(t *testing.T) int {
	t.Helper()
	cores, err := Cores()
	if err != nil {
		t.Fatal(err)
	}
	return cores[len(cores)-1]
}

// told is a process that [do] tells what to do.
type told struct {
	*testing.T
	*Process
	lines *bufio.Scanner
}

func start(t *testing.T, niceness int) told {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), "PINNED_TEST=told")
	p, err := Pipe(c, &c.Stdout, []int{lastCore(t)}, niceness)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(patience) })
	return told{t, p, bufio.NewScanner(p.Output)}
}

// say returns what the process answers.
func (p told) say(what string) string {
	p.Helper()
	if _, err := io.WriteString(p.Input, what+"\n"); err != nil || !p.lines.Scan() {
		p.Fatalf("%s: %v, %v", what, err, p.lines.Err())
	}
	return p.lines.Text()
}

func TestAProcessHasItsCoresAndNiceness(t *testing.T) {
	t.Parallel()
	cores, err := Cores()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, 3)
	if got, want := p.say("cores"), fmt.Sprintf("[%d] 1", cores[len(cores)-1]); got != want {
		t.Errorf("its cores and GOMAXPROCS are %s, want %s", got, want)
	}
	if got := p.say("niceness"); os.Geteuid() == 0 && got != "3" {
		t.Errorf("its niceness is %s, want 3", got)
	}
	if now, err := Cores(); err != nil || len(now) != len(cores) {
		t.Errorf("afterwards this process has the cores %v, %v, want %v still", now, err, cores)
	}
}

// A process that ends properly may leave a child behind that does not.
func TestNobodyIsLeft(t *testing.T) {
	t.Parallel()
	p := start(t, 0)
	var child int
	if _, err := fmt.Sscan(p.say("child"), &child); err != nil {
		t.Fatal(err)
	}
	if used, err := p.CPU(); err != nil || used <= 0 {
		t.Errorf("CPU() = %v, %v, want some", used, err)
	}
	if held, err := p.Memory(); err != nil || held.Proportional <= 0 {
		t.Errorf("Memory() = %+v, %v, want some", held, err)
	}
	p.Stop(patience)
	// Whoever adopts it may take its time to bury it.
	for began := time.Now(); alive(child); runtime.Gosched() {
		if time.Since(began) > patience {
			t.Fatal("the child is alive still")
		}
	}
}

// A process that is paused runs no more, nor do its children, until it is resumed; and it ends
// as properly as any other.
func TestAPausedProcessStandsStillWithItsChildren(t *testing.T) {
	t.Parallel()
	p := start(t, 0)
	var child int
	if _, err := fmt.Sscan(p.say("child"), &child); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); !stopped(p.Pid()) || !stopped(child); runtime.Gosched() {
			if time.Since(began) > patience {
				t.Fatal("they run still")
			}
		}
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
		if got := p.say("cores"); !strings.HasPrefix(got, "[") { // it goes on where it was
			t.Errorf("it says %q", got)
		}
	}
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p.Stop(patience)
	if took := time.Since(began); took > patience/2 {
		t.Errorf("to stop it took %v: it was killed", took)
	}
	for began := time.Now(); alive(child); runtime.Gosched() {
		if time.Since(began) > patience {
			t.Fatal("the child is alive still")
		}
	}
}

func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err == nil && strings.HasPrefix(state, "T")
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && syscall.Kill(pid, 0) == nil
}

func TestAwaitTellsWhetherItListens(t *testing.T) {
	t.Parallel()
	p := start(t, 0)
	if err := p.Await(p.say("listen"), patience); err != nil {
		t.Errorf("Await of a process that listens: %v", err)
	}
	const address = "127.0.0.1:1" // a port of the kernel's choice might be given to another test
	if err := p.Await(address, time.Millisecond); err == nil {
		t.Error("Await of an address that nobody listens at = nil, want an error")
	}
	p.Input.Close() // and so it ends
	if err := p.Await(address, patience); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("Await of a process that has ended: %v, want that", err)
	}
}
