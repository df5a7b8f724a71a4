package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	"verigate/benchmarks/peers/load"
)

// stage is what all points share: the programs, the backend and the generator.
type stage struct {
	dir       string
	binaries  string
	cores     []int // that this run may use
	backend   *process
	target    string // the backend's address
	generator *process
	jobs      *json.Encoder
	results   *json.Decoder
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
	if s.cores, err = allowedCores(); err != nil {
		return s, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", s.binaries+"/",
		"verigate/cmd/gateway", "verigate/benchmarks/peers/backend", "verigate/benchmarks/peers/generator")
	if out, err := build.CombinedOutput(); err != nil {
		return s, fmt.Errorf("%s: %w\n%s", strings.Join(build.Args, " "), err, out)
	}
	var out io.Reader
	if s.backend, out, err = s.start(s.cores[:1], "GOGC=400", "backend"); err != nil {
		return s, err
	}
	if _, err = fmt.Fscanln(out, &s.target); err != nil {
		return s, fmt.Errorf("backend: %w", err)
	}
	if s.generator, out, err = s.start(s.cores[:1], "GOGC=400", "generator"); err != nil {
		return s, err
	}
	s.jobs, s.results = json.NewEncoder(s.generator.input), json.NewDecoder(out)
	return s, nil
}

func (s *stage) stop() {
	for _, p := range []*process{s.generator, s.backend} {
		if p != nil {
			p.stop()
		}
	}
}

// play has the generator do a job. When ctx is done it returns; the generator is of
// no use then.
func (s *stage) play(ctx context.Context, job load.Job) (r load.Result, err error) {
	job.Beside = []int{s.backend.pid()}
	done := make(chan error, 1)
	go func() { done <- errors.Join(s.jobs.Encode(job), s.results.Decode(&r)) }()
	select {
	case <-ctx.Done():
		return load.Result{}, ctx.Err()
	case err := <-done:
		if err == nil && r.Error != "" {
			err = errors.New(r.Error)
		}
		if err == nil && r.Operations == 0 && job.Kind != load.Release {
			err = fmt.Errorf("nothing succeeded, %d failed: %s", r.Failures, r.Failure)
		}
		if err != nil {
			return r, fmt.Errorf("%s: %w", job.Kind, err)
		}
		return r, nil
	}
}
