package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"verigate/benchmarks/peers/load"
)

// generator is a load generator in a process of its own.
type generator struct {
	*process
	jobs    io.WriteCloser
	encoder *json.Encoder
	decoder *json.Decoder
}

// startGenerator starts one on a core.
func startGenerator(binary string, core, niceness int) (*generator, error) {
	c := exec.Command(binary)
	c.Env = append(os.Environ(), "GOGC=400")
	c.Stderr = os.Stderr
	jobs, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	results, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p, err := start(c, core, niceness)
	if err != nil {
		return nil, err
	}
	return &generator{p, jobs, json.NewEncoder(jobs), json.NewDecoder(results)}, nil
}

// begin starts a job; the function that it returns waits for the result. If ctx is
// done before, the generator is stopped, for there is nothing else to do with it.
func (g *generator) begin(ctx context.Context, job load.Job) func() (load.Result, error) {
	type outcome struct {
		load.Result
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		if o.err = g.encoder.Encode(job); o.err == nil {
			o.err = g.decoder.Decode(&o.Result)
		}
		if o.err == nil && o.Error != "" {
			o.err = errors.New(o.Error)
		}
		done <- o
	}()
	return func() (load.Result, error) {
		select {
		case o := <-done:
			if o.err != nil {
				return o.Result, fmt.Errorf("%s: %w", job.Kind, o.err)
			}
			return o.Result, nil
		case <-ctx.Done():
			return load.Result{}, ctx.Err()
		}
	}
}

func (g *generator) play(ctx context.Context, job load.Job) (load.Result, error) {
	return g.begin(ctx, job)()
}

// startBackend starts the backend and returns where it listens.
func startBackend(binary string, core, niceness int) (*process, io.Closer, string, error) {
	c := exec.Command(binary)
	c.Env = append(os.Environ(), "GOGC=400")
	c.Stderr = os.Stderr
	input, err := c.StdinPipe()
	if err != nil {
		return nil, nil, "", err
	}
	output, err := c.StdoutPipe()
	if err != nil {
		return nil, nil, "", err
	}
	p, err := start(c, core, niceness)
	if err != nil {
		return nil, nil, "", err
	}
	var address string
	if _, err := fmt.Fscanln(output, &address); err != nil {
		p.stop()
		return nil, nil, "", fmt.Errorf("backend: %w", err)
	}
	return p, input, strings.TrimSpace(address), nil
}
