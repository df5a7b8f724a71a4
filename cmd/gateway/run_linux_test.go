package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// With one processor the gateway starts itself anew, before anything else. Nobody notices.
func TestOneProcessor(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(http.ResponseWriter, *http.Request) {})
	cmd := command("run", "--verbose", "-c", filepath.Join(f.dir, "gateway.yaml"))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	p := start(t, cmd)
	for _, want := range []string{"slack=1ms error=<nil>", fmt.Sprintf("pid=%d\n", cmd.Process.Pid)} {
		if log := p.logged(); strings.Count(log, want) != 1 {
			t.Errorf("the log has not once %q:\n%s", want, log)
		}
	}
	p.signal(t, syscall.SIGTERM)
	if code := p.wait(t); code != exitOK {
		t.Errorf("after SIGTERM the gateway ended with %d, want 0", code)
	}
}
