// Package pinned starts the processes of a measurement: each on the cores that it is
// to have, with a niceness, and stopped with all its children. Linux only.
package pinned

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"verigate/benchmarks/peers/usage"
)

// Process is something that was started here, and is stopped here with all its children.
type Process struct {
	*exec.Cmd
	// Input and Output are the other ends of what [Pipe] was asked for; else nil.
	Input  io.WriteCloser
	Output io.ReadCloser

	exited chan struct{}
}

// Start runs c on some cores until [Process.Stop]. Its output goes to files that the
// caller has set, so that no pipe keeps anybody awake. The niceness is 0 for whoever is
// not root.
func Start(c *exec.Cmd, cores []int, niceness int) (*Process, error) {
	c.SysProcAttr = &syscall.SysProcAttr{
		Setsid:    true, // ^C is for the rig, which then stops the rest in order
		Pdeathsig: syscall.SIGKILL,
	}
	c.Env = append(c.Environ(), "GOMAXPROCS="+strconv.Itoa(len(cores)))
	if err := on(cores, niceness, c.Start); err != nil {
		return nil, err
	}
	// Where the scheduler groups processes by session, niceness counts between groups.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", c.Process.Pid), []byte(strconv.Itoa(niceness)), 0)
	p := &Process{Cmd: c, exited: make(chan struct{})}
	go func() {
		_ = c.Wait() // whoever waits for exited asks ProcessState
		close(p.exited)
	}()
	return p, nil
}

// Pipe is [Start] of a program that is talked to: its input is Input, and what it writes
// to output, c's Stdout or Stderr, is Output.
func Pipe(c *exec.Cmd, output *io.Writer, cores []int, niceness int) (*Process, error) {
	input, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	// A pipe of our own: Wait would close exec's before all has been read.
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer writer.Close() // the child has its own
	*output = writer
	p, err := Start(c, cores, niceness)
	if err != nil {
		reader.Close()
		return nil, err
	}
	p.Input, p.Output = input, reader
	return p, nil
}

// Pid returns the process's number.
func (p *Process) Pid() int { return p.Process.Pid }

// Stop ends the process: those that do not heed the end of their input heed SIGTERM, and
// what is left of it and its children after patience is killed. What it wrote and nobody
// has read is lost. p may be nil.
func (p *Process) Stop(patience time.Duration) {
	if p == nil {
		return
	}
	if p.Input != nil {
		p.Input.Close()
	}
	_ = p.Process.Signal(syscall.SIGTERM) // it may have ended already
	_ = p.Resume()                        // or it could not end by itself
	select {
	case <-p.exited:
	case <-time.After(patience):
	}
	_ = syscall.Kill(-p.Pid(), syscall.SIGKILL) // nobody may be left
	<-p.exited
	if p.Output != nil {
		p.Output.Close()
	}
}

// Pause keeps the process and its children from running until [Process.Resume]. What has
// a session of its own is not reached.
func (p *Process) Pause() error {
	return os.NewSyscallError("kill", syscall.Kill(-p.Pid(), syscall.SIGSTOP))
}

// Resume lets the process run again, and its children.
func (p *Process) Resume() error {
	return os.NewSyscallError("kill", syscall.Kill(-p.Pid(), syscall.SIGCONT))
}

// Await returns when the process listens at a TCP address. It fails after patience, or
// when the process ends before.
func (p *Process) Await(address string, patience time.Duration) error {
	for began := time.Now(); ; {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.exited:
			return fmt.Errorf("it ended with %s", p.ProcessState)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Since(began) > patience {
			return fmt.Errorf("it does not listen at %s: %w", address, err)
		}
	}
}

// CPU returns the CPU time that the process and its children have used so far.
func (p *Process) CPU() (time.Duration, error) {
	tree, err := usage.Tree(p.Pid())
	if err != nil {
		return 0, err
	}
	return usage.CPU(tree...)
}

// Memory returns what the process and its children hold in memory.
func (p *Process) Memory() (usage.Memory, error) {
	tree, err := usage.Tree(p.Pid())
	if err != nil {
		return usage.Memory{}, err
	}
	return usage.Resident(tree...)
}
