package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"verigate/benchmarks/pinned"
)

// startTimeout bounds how long a gateway may take to start or to reload: with 100 000
// routes it is seconds.
const startTimeout = 2 * time.Minute

// gateway is a gateway that serves.
type gateway struct {
	*pinned.Process
	address string
	// What it took from the start of the process until it listens.
	started, startCPU time.Duration
	rested            time.Time // when it was last seen at rest

	mu     sync.Mutex
	last   []string // lines of its log
	events chan string
}

// events of a gateway's log that somebody waits for.
const (
	listening   = `msg=listening`
	ready       = `msg="admin listening"`
	reloaded    = `msg="configuration reloaded"`
	notReloaded = `msg="configuration not reloaded`
)

// launch starts a gateway with a configuration on some cores.
func (s *stage) launch(ctx context.Context, config string, cores []int) (*gateway, error) {
	file := filepath.Join(s.dir, "gateway.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	began := time.Now()
	c := exec.Command(filepath.Join(s.binaries, "gateway"), "run", "-c", file)
	c.Dir = s.dir
	p, err := pinned.Pipe(c, &c.Stderr, cores, 0)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g := &gateway{Process: p, events: make(chan string, 16)}
	go g.follow(p.Output)
	for {
		line, err := g.await(ctx, listening, ready)
		if err != nil {
			p.Stop(stopTimeout)
			return nil, err
		}
		if strings.Contains(line, ready) {
			break
		}
		_, g.address, _ = strings.Cut(line, "address=")
	}
	g.started = time.Since(began)
	if g.startCPU, err = p.CPU(); err != nil {
		p.Stop(stopTimeout)
		return nil, err
	}
	return g, nil
}

// follow passes on the lines of the log that say something has happened.
func (g *gateway) follow(log io.Reader) {
	defer close(g.events)
	for scanner := bufio.NewScanner(log); scanner.Scan(); {
		line := scanner.Text()
		g.mu.Lock()
		g.last = append(g.last[max(0, len(g.last)-9):], line)
		g.mu.Unlock()
		if slices.ContainsFunc([]string{listening, ready, reloaded, notReloaded}, func(e string) bool { return strings.Contains(line, e) }) {
			g.events <- line
		}
	}
}

// await returns the next line that has one of the events in it.
func (g *gateway) await(ctx context.Context, events ...string) (string, error) {
	timeout := time.After(startTimeout)
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-timeout:
			return "", fmt.Errorf("gateway: no %v for %v\n%s", events, startTimeout, g.tail())
		case line, ok := <-g.events:
			if !ok {
				return "", fmt.Errorf("gateway ended:\n%s", g.tail())
			}
			if slices.ContainsFunc(events, func(e string) bool { return strings.Contains(line, e) }) {
				return line, nil
			}
		}
	}
}

func (g *gateway) tail() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.last, "\n")
}

// reload has the configuration and all files read again and returns what that took.
func (g *gateway) reload(ctx context.Context) (wall, cpu time.Duration, err error) {
	before, err := g.CPU()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := g.Process.Process.Signal(syscall.SIGHUP); err != nil {
		return 0, 0, err
	}
	line, err := g.await(ctx, reloaded, notReloaded)
	if err != nil {
		return 0, 0, err
	}
	if strings.Contains(line, notReloaded) {
		return 0, 0, fmt.Errorf("gateway: %s", line)
	}
	wall = time.Since(began)
	after, err := g.CPU()
	return wall, after - before, err
}

// resident returns what the gateway holds in memory, and the most that it ever did.
func (g *gateway) resident() (now, peak float64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.Pid()))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/%d/status: %w", g.Pid(), err)
		}
		if name == "VmRSS" {
			now = 1024 * kib
		} else {
			peak = 1024 * kib
		}
	}
	return now, peak, nil
}

// How long a gateway needs to give back what it used under load (package footprint):
// it has to be calm for two looks, a second each, and the last time has to be four
// seconds ago.
const (
	calmFor = 4 * time.Second
	restFor = 7 * time.Second
)

// atRest waits until the gateway has given back what it does not need, and returns
// what it then holds in memory.
func (g *gateway) atRest(ctx context.Context) (float64, error) {
	wait := calmFor
	if !g.rested.IsZero() {
		wait = max(wait, restFor-time.Since(g.rested))
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(wait):
	}
	g.rested = time.Now()
	now, _, err := g.resident()
	return now, err
}
