// Command generator plays the jobs that it reads from its input, one JSON object
// each, and writes a result for each. It ends when its input does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"verigate/benchmarks/peers/load"
)

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "generator:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	jobs := make(chan load.Job)
	var read error
	go func() {
		defer close(jobs)
		defer cancel() // nobody waits for the job under way any more
		for decoder := json.NewDecoder(in); ; {
			var job load.Job
			if read = decoder.Decode(&job); read != nil {
				return
			}
			jobs <- job
		}
	}()
	var g load.Generator
	encoder := json.NewEncoder(out)
	for job := range jobs {
		if err := encoder.Encode(g.Play(ctx, job)); err != nil {
			return err
		}
	}
	if errors.Is(read, io.EOF) {
		return nil
	}
	return read
}
