package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onOneProcessor starts a gateway with one processor and the kernel's usual timer slack.
func onOneProcessor(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	runtime.LockOSThread() // the slack is a thread's, and that of whom it starts
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(50*time.Microsecond), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	return start(t, cmd)
}

// With one processor the gateway starts itself anew, before anything else.
func TestOneProcessor(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(http.ResponseWriter, *http.Request) {})
	cmd := command("run", "--verbose", "-c", filepath.Join(f.dir, "gateway.yaml"))
	p := onOneProcessor(t, cmd)
	p.listens(t)
	for _, want := range []string{"slack=1ms processors=1\n", fmt.Sprintf("pid=%d\n", cmd.Process.Pid)} {
		if log := p.logged(); strings.Count(log, want) != 1 {
			t.Errorf("the log has not once %q:\n%s", want, log)
		}
	}
	p.signal(t, syscall.SIGTERM)
	if code := p.wait(t); code != exitOK {
		t.Errorf("after SIGTERM the gateway ended with %d, want 0", code)
	}
}

// A SIGHUP that comes while the gateway starts is a reload as soon as it runs.
func TestHangupWhileStarting(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(http.ResponseWriter, *http.Request) {})
	content, err := os.ReadFile(filepath.Join(f.dir, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(f.dir, "pipe.yaml") // holds up whoever reads it until it is written
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	p := onOneProcessor(t, command("run", "-c", path))

	pipe := p.awaitReading(t, path)
	p.signal(t, syscall.SIGHUP)
	fill(t, pipe, content)
	p.listens(t)
	fill(t, p.awaitReading(t, path), content)
	p.await(t, `msg="configuration reloaded"`)
}

// awaitReading waits until p reads from the pipe at path, and opens it.
func (p *process) awaitReading(t *testing.T, path string) *os.File {
	t.Helper()
	type result struct {
		pipe *os.File
		err  error
	}
	opened := make(chan result, 1)
	go func() {
		pipe, err := os.OpenFile(path, os.O_WRONLY, 0)
		opened <- result{pipe, err}
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r.pipe
	case <-time.After(patience):
		t.Fatalf("nobody reads %s", path)
		return nil
	}
}

// fill writes content and closes the pipe.
func fill(t *testing.T, pipe *os.File, content []byte) {
	t.Helper()
	_, err := pipe.Write(content)
	if err := errors.Join(err, pipe.Close()); err != nil {
		t.Fatal(err)
	}
}
