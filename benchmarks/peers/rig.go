package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"verigate/benchmarks/peers/load"
	"verigate/benchmarks/peers/pki"
	"verigate/benchmarks/pinned"
	"verigate/benchmarks/report"
	"verigate/devpki"
)

// rig is everything around the peers: what they are measured with.
type rig struct {
	options
	cores       cores
	descriptors uint64 // how many each process may have
	dir         string // for certificates, configurations, logs and binaries
	peers       []*peer
	launched    int

	authority *pki.Authority
	server    pki.Files         // with keys of the type that was asked for
	rsaServer pki.Files         // with an RSA key
	caller    pki.Files         // the client of vegeta
	sets      map[string]string // files of identities, by the name of the set

	backend   string // its address
	beside    []int  // processes on the core of the generator
	generator *pinned.Generator
	flood     *pinned.Generator
	occupant  *pinned.Process // of the peer's core, stopped between turns; nil without -occupied
	closers   []func()

	attacked int // how often vegeta was called

	run *report.Run
}

// compare does everything that the command line asks for.
func compare(ctx context.Context, o options) (err error) {
	r := &rig{options: o, sets: map[string]string{}}
	if r.cores, err = allot(); err != nil {
		return err
	}
	if r.descriptors, err = pinned.RaiseLimit(4 * uint64(slices.Max(o.connections))); err != nil {
		return err
	}
	if r.dir, err = os.MkdirTemp(o.scratch, "verigate-peers-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.dir) // nothing but binaries, throwaway keys and logs
	if err := r.build(o); err != nil {
		return err
	}
	if err := r.certify(); err != nil {
		return err
	}
	defer r.stop()
	if err := r.start(); err != nil {
		return err
	}
	if err := r.refuse(ctx); err != nil {
		return err
	}
	r.run = r.describe()
	for _, s := range scenarios {
		if !o.includes(s) {
			continue
		}
		fmt.Fprintf(o.show, "%s: %s\n", s.name, s.about)
		failed := s.measure(r, ctx, s)
		if failed != nil && ctx.Err() != nil {
			r.note("Interrupted during %s: of that some is missing, and all of what comes after it.", s.name)
			failed = fmt.Errorf("interrupted; what was measured so far is in %s (%w)", o.out, ctx.Err())
		}
		// What has been measured is kept, whatever became of the rest.
		if err := errors.Join(failed, report.Write(o.out, r.run)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	r.conclude()
	return nil
}

// conclude says what became of the targets, where the report is, and what its reader must
// know first.
func (r *rig) conclude() {
	for _, lines := range [][]string{report.Verdicts(r.run), report.Warnings(r.run)} {
		if len(lines) > 0 {
			fmt.Fprintln(r.show)
		}
		for _, line := range lines {
			fmt.Fprintln(r.show, line)
		}
	}
	fmt.Fprintf(r.show, "results in %s: run.html to look at, run.md, run.json\n", r.out)
}

// build makes the programs of this repository and finds those of others.
func (r *rig) build(o options) (err error) {
	targets := []string{"verigate/benchmarks/peers/generator", "verigate/benchmarks/peers/backend"}
	if wanted := len(o.peers) == 0 || slices.Contains(o.peers, "verigate"); wanted && o.paths["verigate"] == "" {
		targets = append(targets, "verigate/cmd/gateway")
		o.paths["verigate"] = filepath.Join(r.dir, "gateway")
	}
	r.run = &report.Run{}
	if slices.ContainsFunc(scenarios, func(s scenario) bool { return s.vegeta() && o.includes(s) }) {
		version, err := r.findVegeta()
		if err != nil {
			return err
		}
		r.run.Notes = append(r.run.Notes, version)
	}
	fmt.Fprintln(o.show, "building, which takes a minute or two the first time")
	if _, err := run("go", append([]string{"build", "-o", r.dir + string(filepath.Separator)}, targets...)...); err != nil {
		return err
	}
	var missing []string
	if r.peers, missing, err = choose(o); err != nil {
		return err
	}
	for _, m := range missing {
		fmt.Fprintln(o.show, m)
		r.run.Notes = append(r.run.Notes, m)
	}
	return nil
}

// certify makes what does not depend on the scenario.
func (r *rig) certify() (err error) {
	if r.authority, err = pki.New(r.key, r.intermediates); err != nil {
		return err
	}
	if r.server, err = r.authority.Serve(filepath.Join(r.dir, "server"), r.key); err != nil {
		return err
	}
	if r.rsaServer, err = r.authority.Serve(filepath.Join(r.dir, "rsa-server"), devpki.RSA2048); err != nil {
		return err
	}
	r.caller, err = r.authority.Call(filepath.Join(r.dir, "caller"), vegetaName)
	return err
}

// identities returns the file of a set, and makes the set if it is not there yet.
func (r *rig) identities(name string, n int, fresh bool) (string, error) {
	if file, ok := r.sets[name]; ok {
		return file, nil
	}
	set, err := r.authority.Issue(name, n, fresh)
	if err != nil {
		return "", err
	}
	file := filepath.Join(r.dir, name+".identities")
	if err := set.Write(file); err != nil {
		return "", err
	}
	r.sets[name] = file
	return file, nil
}

// start runs backend and generators.
func (r *rig) start() error {
	backend, address, err := pinned.StartBackend(filepath.Join(r.dir, "backend"), r.cores.backend, r.niceness)
	if err != nil {
		return err
	}
	r.closers = append(r.closers, func() { backend.Stop(stopTimeout) })
	r.backend = address
	if r.cores.backend == r.cores.load {
		r.beside = append(r.beside, backend.Pid())
	}
	for _, g := range []struct {
		into     **pinned.Generator
		niceness int
	}{
		{&r.generator, r.niceness},
		{&r.flood, r.niceness + 5}, // it must not be what probes wait for
	} {
		started, err := pinned.StartGenerator(filepath.Join(r.dir, "generator"), r.cores.load, g.niceness)
		if err != nil {
			return err
		}
		*g.into = started
		r.closers = append(r.closers, func() { started.Stop(stopTimeout) })
	}
	return r.occupy()
}

// occupy starts what shares the peer's core, if anything is to, and stops it until it is
// wanted. A shell does as well as a program of our own; the folder tells whose it is.
func (r *rig) occupy() (err error) {
	if !r.occupied {
		return nil
	}
	if r.occupant, err = pinned.Start(exec.Command("sh", "-c", "while :; do :; done", r.dir), []int{r.cores.peer}, r.niceness); err != nil {
		return err
	}
	r.closers = append(r.closers, func() { r.occupant.Stop(stopTimeout) })
	return r.occupant.Pause()
}

// stop ends what start began, the last first.
func (r *rig) stop() {
	for _, end := range slices.Backward(r.closers) {
		end()
	}
}

// job fills in what is the same for all jobs against an instance.
func (r *rig) job(i *instance, j load.Job) load.Job {
	j.Target, j.Leaf, j.NoCaller = i.address, i.pki.Leaf, i.noCaller
	j.Group = r.group.id
	j.Peer, j.Core, j.Beside = i.Pid(), r.cores.peer, r.beside
	if r.occupant != nil {
		j.Occupants = []int{r.occupant.Pid()}
	}
	if j.Path == "" {
		j.Path, j.Body = "/1k", 1<<10
	}
	return j
}

// visit runs a peer anew for as long as f takes.
func (r *rig) visit(ctx context.Context, p *peer, files pki.Files, f func(*instance) error) error {
	i, err := r.launch(p, files)
	if err != nil {
		return err
	}
	return errors.Join(i.blame(ctx, f(i)), i.close())
}

// turns are the peers in the order of a round: another one begins each time.
func (r *rig) turns(round int) []*peer {
	n := round % len(r.peers)
	return slices.Concat(r.peers[n:], r.peers[:n])
}

// keep adds a measurement and shows it.
func (r *rig) keep(m report.Measurement) {
	if r.group.id != groups[0].id { // as with the core, results from before that label stay comparable
		m.Point["group"] = r.group.name
	}
	r.run.Measurements = append(r.run.Measurements, m)
	var b strings.Builder
	fmt.Fprintf(&b, "  round %d  %-10s", m.Round, m.Subject)
	for _, label := range []string{"connections", "leaves", "flood", "offered"} {
		if value := m.Point[label]; value != "" {
			fmt.Fprintf(&b, "  %s %s", label, value)
		}
	}
	if m.CPU > 0 && m.Operations > 0 {
		fmt.Fprintf(&b, "  CPU %v", (m.CPU / time.Duration(m.Operations)).Round(100*time.Nanosecond))
	}
	if l := m.Latency; l != nil {
		fmt.Fprintf(&b, "  p50 %v p99 %v max %v", l.P50, l.P99, l.Max)
	}
	fmt.Fprintf(&b, "  ops %d", m.Operations)
	if m.Failures > 0 {
		fmt.Fprintf(&b, " failed %d", m.Failures)
	}
	for _, name := range []string{"throughput_per_second", "generator_busy_share", "occupant_busy_share", report.ForeignShare, report.Standstill, "resident_bytes_per_connection", "hellos_per_second", "goodput_share"} {
		if value, ok := m.Values[name]; ok {
			fmt.Fprintf(&b, "  %s %s", strings.ReplaceAll(name, "_", " "), report.Format(name, value))
		}
	}
	fmt.Fprintln(r.show, b.String())
}
