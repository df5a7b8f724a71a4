package pinned

import (
	"fmt"
	"os"
	"os/exec"

	"verigate/benchmarks/peers/load"
)

// tool starts a program that serves a measurement and is not measured itself: it has
// the memory that it likes, and says on its standard error what goes wrong.
func tool(binary string, core, niceness int) (*Process, error) {
	c := exec.Command(binary)
	c.Env = append(os.Environ(), "GOGC=400")
	c.Stderr = os.Stderr
	return Pipe(c, &c.Stdout, []int{core}, niceness)
}

// Generator is a load generator and its process.
type Generator struct {
	*Process
	*load.Remote
}

// StartGenerator starts benchmarks/peers/generator on a core.
func StartGenerator(binary string, core, niceness int) (*Generator, error) {
	p, err := tool(binary, core, niceness)
	if err != nil {
		return nil, err
	}
	return &Generator{p, load.NewRemote(p.Input, p.Output)}, nil
}

// StartBackend starts benchmarks/peers/backend on a core and returns where it listens.
func StartBackend(binary string, core, niceness int) (p *Process, address string, err error) {
	if p, err = tool(binary, core, niceness); err != nil {
		return nil, "", err
	}
	if _, err := fmt.Fscanln(p.Output, &address); err != nil {
		p.Stop(0)
		return nil, "", fmt.Errorf("backend: %w", err)
	}
	return p, address, nil
}
