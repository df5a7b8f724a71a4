package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"verigate/benchmarks/peers/pki"
	"verigate/benchmarks/pinned"
)

// startTimeout is how long a peer may take until it listens.
const startTimeout = 10 * time.Second

// minConnections is enough for all scenarios but those of idle connections.
const minConnections = 8192

// site is where a peer runs: what its configuration is made of.
type site struct {
	dir     string // the peer's own
	address string // to listen at
	backend string // to forward to
	pki     pki.Files
	group   group
	depth   int // intermediates in a client's chain
	// connections is how many there may be, for peers that have to be told.
	connections int
}

// group is a key exchange that a run can be of.
type group struct {
	name    string // in the IANA registry "TLS Supported Groups", as the gateway's tls_groups have it
	openssl string // what all versions of OpenSSL that have it call it
	id      tls.CurveID
}

// groups are those that the gateway admits without tls_groups, which it is not given:
// builds from before that field refuse it (-variant). The first is the default.
var groups = []group{
	{"x25519", "X25519", tls.X25519},
	{"secp256r1", "P-256", tls.CurveP256},
	{"X25519MLKEM768", "X25519MLKEM768", tls.X25519MLKEM768},
}

func groupNames() (names []string) {
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

// peer is one program of the comparison.
type peer struct {
	name     string
	version  string
	settings string // what differs from the others
	noCaller bool   // it cannot tell the backend who calls
	path     string // the program
	// configure writes what the program needs and returns how to start it in the
	// foreground.
	configure func(p *peer, s site) (*exec.Cmd, error)
	// versionFlag makes the program say its version; "" if its build information has it.
	versionFlag string
	// log is which file of the site has what went wrong.
	log string
}

// instance is a peer that runs.
type instance struct {
	*peer
	*pinned.Process
	site
}

// launch configures a peer anew, starts it and waits until it listens.
func (r *rig) launch(p *peer, files pki.Files) (_ *instance, err error) {
	r.launched++
	s := site{dir: filepath.Join(r.dir, fmt.Sprintf("%s-%d", p.name, r.launched)), backend: r.backend, pki: files, group: r.group, depth: r.intermediates,
		connections: max(minConnections, slices.Max(r.connections)) + spareDescriptors}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	command, err := p.configure(p, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	output, err := os.Create(filepath.Join(s.dir, "output.log"))
	if err != nil {
		return nil, err
	}
	defer output.Close() // the child has its own
	command.Stdout, command.Stderr = output, output
	running, err := pinned.Start(command, []int{r.cores.peer}, r.niceness)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	i := &instance{p, running, s}
	if err := i.Await(i.address, startTimeout); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w\n%s", p.name, err, i.complaint()), i.close())
	}
	return i, nil
}

// complaint is the end of what the peer said.
func (i *instance) complaint() string {
	const output = "output.log"
	said := tail(filepath.Join(i.dir, output))
	if i.log != output {
		said += "\n" + tail(filepath.Join(i.dir, i.log))
	}
	return said
}

// blame adds to an error whose it is and what the peer said, unless nothing went wrong
// with the peer.
func (i *instance) blame(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%s: %w\n%s", i.name, err, i.complaint())
}

// close stops the peer and forgets what it wrote.
func (i *instance) close() error {
	i.Stop(stopTimeout)
	return os.RemoveAll(i.dir)
}

// freeAddress is one that nobody listens at. Between here and the peer somebody else
// may take it, and the peer will say so.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// write puts a configuration into the peer's folder.
func (s site) write(name, text string) (string, error) {
	file := filepath.Join(s.dir, name)
	return file, os.WriteFile(file, []byte(text), 0o600)
}
