package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Remote is a [Generator] in a process of its own, by its input and output. It
// does one job at a time.
type Remote struct {
	jobs    *json.Encoder
	results *json.Decoder
}

// NewRemote returns the generator that reads and writes there.
func NewRemote(input io.Writer, output io.Reader) *Remote {
	return &Remote{json.NewEncoder(input), json.NewDecoder(output)}
}

// Begin starts a job; the function that it returns waits for the result. If ctx is
// done before, the generator is of no use any more.
func (g *Remote) Begin(ctx context.Context, job Job) func() (Result, error) {
	type outcome struct {
		Result
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		if o.err = g.jobs.Encode(job); o.err == nil {
			o.err = g.results.Decode(&o.Result)
		}
		if o.err == nil && o.Error != "" {
			o.err = errors.New(o.Error)
		}
		done <- o
	}()
	return func() (Result, error) {
		select {
		case o := <-done:
			if o.err != nil {
				return o.Result, fmt.Errorf("%s: %w", job.Kind, o.err)
			}
			return o.Result, nil
		case <-ctx.Done():
			return Result{}, ctx.Err()
		}
	}
}

// Play does a job and returns the result.
func (g *Remote) Play(ctx context.Context, job Job) (Result, error) { return g.Begin(ctx, job)() }
