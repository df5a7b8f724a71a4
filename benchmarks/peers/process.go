package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopTimeout is how long a process may take to end after SIGTERM.
const stopTimeout = 3 * time.Second

// process is something that was started here, and that is stopped here with all its
// children.
type process struct {
	*exec.Cmd
	exited chan struct{}
}

// start runs c on one core until [process.stop]. Its output goes to files that the
// caller has set, so that no pipe keeps anybody awake. Only root may give a niceness
// below 0; without that it is 0.
func start(c *exec.Cmd, core, niceness int) (*process, error) {
	c.SysProcAttr = &syscall.SysProcAttr{
		Setsid:    true, // ^C is for the rig, which then stops the rest in order
		Pdeathsig: syscall.SIGKILL,
	}
	c.Env = append(c.Environ(), "GOMAXPROCS=1")
	if err := onCore(core, niceness, c.Start); err != nil {
		return nil, err
	}
	// Where the scheduler groups processes by session, niceness counts between groups.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", c.Process.Pid), []byte(strconv.Itoa(niceness)), 0)
	p := &process{c, make(chan struct{})}
	go func() {
		_ = c.Wait() // whoever waits for exited asks ProcessState
		close(p.exited)
	}()
	return p, nil
}

// onCore calls f in a thread that may run on one core only, with a niceness, as does
// every process that f starts.
func onCore(core, niceness int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	defer unix.SchedSetaffinity(0, &before) // it was so before
	// A thread that is not root's could not go back; it is left as it is.
	if niceness != 0 && os.Geteuid() == 0 && unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) == nil {
		defer unix.Setpriority(unix.PRIO_PROCESS, 0, 0) // as above
	}
	return f()
}

// stop ends the process, and kills what is left of its group.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
	}
	_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL) // nobody may be left
	<-p.exited
}

// cores are the processors that this run may use.
type cores struct {
	peer    int // the last one: interrupts tend to go to the first
	load    int // generators
	backend int // the generator's where there are only two
}

func allot() (cores, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return cores{}, os.NewSyscallError("sched_getaffinity", err)
	}
	var ids []int
	for i := range len(allowed) * 64 {
		if allowed.IsSet(i) {
			ids = append(ids, i)
		}
	}
	if len(ids) < 2 {
		return cores{}, errors.New("there is one processor only: peer and generator would take it from each other")
	}
	c := cores{peer: ids[len(ids)-1], load: ids[0], backend: ids[0]}
	if len(ids) > 2 {
		c.backend = ids[1]
	}
	return c, nil
}

// raiseLimit lets this process, and all that it starts, have as many descriptors as
// the machine permits, and returns how many that are.
func raiseLimit(want uint64) (uint64, error) {
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

// run runs something that is soon over and returns what it says.
func run(name string, arguments ...string) (string, error) {
	out, err := exec.Command(name, arguments...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(arguments, " "), err, out)
	}
	return string(out), nil
}

// tail is the end of a log, for an error.
func tail(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-5):], []byte("\n")))
}
