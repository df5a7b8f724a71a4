package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"verigate/benchmarks/pinned"
)

// stopTimeout is how long a process may take to end after SIGTERM.
const stopTimeout = 3 * time.Second

// cores are the processors that this run may use.
type cores struct {
	peer    int // the last one: interrupts tend to go to the first
	load    int // generators
	backend int // the generator's where there are only two
}

func allot() (cores, error) {
	ids, err := pinned.Cores()
	if err != nil {
		return cores{}, err
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
