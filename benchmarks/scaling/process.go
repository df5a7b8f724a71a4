package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is something that was started here and is stopped here.
type process struct {
	*exec.Cmd
	input  io.WriteCloser
	exited chan struct{}
}

func (p *process) pid() int { return p.Process.Pid }

// stop ends the process and waits until it has ended: those that do not heed their
// input heed the signal.
func (p *process) stop() {
	p.input.Close()
	_ = p.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		_ = p.Process.Kill()
		<-p.exited
	}
}

// start runs one of the programs on some cores. out is its output and, for a gateway,
// its log.
func (s *stage) start(cores []int, env, name string, args ...string) (p *process, out io.Reader, err error) {
	c := exec.Command(filepath.Join(s.binaries, name), args...)
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if env != "" {
		c.Env = append(os.Environ(), env)
	}
	p = &process{Cmd: c, exited: make(chan struct{})}
	if p.input, err = c.StdinPipe(); err != nil {
		return nil, nil, err
	}
	// Pipes of our own: Wait would close those of exec before all has been read.
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer writer.Close()
	if name == "gateway" {
		c.Stderr = writer
	} else {
		c.Stdout, c.Stderr = writer, os.Stderr
	}
	if err := onCores(cores, c.Start); err != nil {
		reader.Close()
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		_ = c.Wait() // how it ended shows in its log
		close(p.exited)
	}()
	return p, reader, nil
}

// onCores calls f in a thread that may run on some cores only, as may every process
// that f starts: a Go program there sets GOMAXPROCS by it.
func onCores(cores []int, f func() error) error {
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
	return errors.Join(f(), unix.SchedSetaffinity(0, &before))
}

func allowedCores() ([]int, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	var ids []int
	for i := range 64 * len(allowed) {
		if allowed.IsSet(i) {
			ids = append(ids, i)
		}
	}
	return ids, nil
}

// last returns the last n cores, or all if there are fewer.
func (s *stage) last(n int) []int { return s.cores[max(0, len(s.cores)-n):] }

// descriptors returns how many files a process here may have open, and gives this one
// and what it starts as many.
func descriptors() (int, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("setrlimit", err)
	}
	return int(min(l.Max, 1<<30)), nil
}
