package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"verigate/benchmarks/peers/load"
	"verigate/benchmarks/pinned"
)

// stopTimeout is how long a process may take to end after SIGTERM.
const stopTimeout = 10 * time.Second

// stage is what all points share: the programs, the backend and the generator.
type stage struct {
	dir       string
	binaries  string
	cores     []int // that this run may use
	backend   *pinned.Process
	target    string // the backend's address
	generator *pinned.Generator
}

// newStage builds the programs and starts those that live as long as the run. The
// generator has the first core to itself, but for the backend, and the gateway the last.
func newStage(ctx context.Context, dir string) (s *stage, err error) {
	s = &stage{dir: dir, binaries: filepath.Join(dir, "bin")}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.cores, err = pinned.Cores(); err != nil {
		return s, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", s.binaries+"/",
		"verigate/cmd/gateway", "verigate/benchmarks/peers/backend", "verigate/benchmarks/peers/generator")
	if out, err := build.CombinedOutput(); err != nil {
		return s, fmt.Errorf("%s: %w\n%s", strings.Join(build.Args, " "), err, out)
	}
	if s.backend, s.target, err = pinned.StartBackend(filepath.Join(s.binaries, "backend"), s.cores[0], 0); err != nil {
		return s, err
	}
	s.generator, err = pinned.StartGenerator(filepath.Join(s.binaries, "generator"), s.cores[0], 0)
	return s, err
}

func (s *stage) stop() {
	if s.generator != nil {
		s.generator.Stop(stopTimeout)
	}
	s.backend.Stop(stopTimeout)
}

// last returns the last n cores, or all if there are fewer.
func (s *stage) last(n int) []int { return s.cores[max(0, len(s.cores)-n):] }

// play has the generator do a job, some of which has to succeed. When ctx is done it
// returns; the generator is of no use then.
func (s *stage) play(ctx context.Context, job load.Job) (load.Result, error) {
	job.Beside = []int{s.backend.Pid()}
	r, err := s.generator.Play(ctx, job)
	if err == nil && r.Operations == 0 && job.Kind != load.Release {
		err = fmt.Errorf("%s: nothing succeeded, %d failed: %s", job.Kind, r.Failures, r.Failure)
	}
	return r, err
}
