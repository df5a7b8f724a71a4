package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"verigate/benchmarks/peers/load"
)

// curve is one section of the report.
type curve struct {
	name    string
	measure func(context.Context, *bench) error
}

var curves = []curve{
	{"operations", curveOperations},
	{"certificates", curveCertificates},
	{"verdicts", curveVerdicts},
	{"trust_domains", curveTrustDomains},
	{"routes", curveRoutes},
	{"rules", curveRules},
	{"crl_entries", curveCRLEntries},
	{"connections", curveConnections},
	{"cores", curveCores},
}

// Names of the scenarios that docs/capacity.md is made of, beside those of curves.
const (
	fullHandshake = "full_handshake"
	newLeaf       = "new_leaf"
	resumed       = "resumed"
	request1K     = "request_1k"
	request64K    = "request_64k"
	fit           = "fit"
)

// curveOperations is what single operations cost: the coefficients of a plan.
func curveOperations(ctx context.Context, b *bench) error {
	fresh := 3000 // for a second or two; nobody comes twice
	if b.quick {
		fresh = 50
	}
	known := min(100, fresh)
	file, err := b.usual(known + fresh)
	if err != nil {
		return err
	}
	for round := 1; round <= b.rounds; round++ {
		if err := b.with(ctx, world{}, b.last(1), func(g *gateway) error {
			if err := b.warm(ctx, g, file, 0, known); err != nil {
				return err
			}
			once := b.job(g, load.Handshake, file, known, known+fresh)
			once.Once, once.Duration = true, 10*b.duration
			large := b.job(g, load.KeepAlive, file, 0, known)
			large.Path, large.Body = "/64k", 64<<10
			for _, o := range []struct {
				scenario string
				job      load.Job
			}{
				{fullHandshake, b.job(g, load.Handshake, file, 0, known)},
				{newLeaf, once},
				{resumed, b.job(g, load.Resume, file, 0, known)},
				{request1K, b.job(g, load.KeepAlive, file, 0, known)},
				{request64K, large},
			} {
				if err := b.add(ctx, o.scenario, "", 0, round, o.job, nil); err != nil {
					return fmt.Errorf("%s: %w", o.scenario, err)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// curveCertificates is full handshakes of ever more clients, whose verdicts are all
// known.
func curveCertificates(ctx context.Context, b *bench) error {
	const scenario = "certificates"
	points := b.points([]int{1, 30}, 1, 10, 100, 1000, 10_000)
	file, err := b.usual(points[len(points)-1])
	if err != nil {
		return err
	}
	for round := 1; round <= b.rounds; round++ {
		if err := b.with(ctx, world{}, b.last(1), func(g *gateway) error {
			known := 0
			for _, n := range points {
				if err := b.warm(ctx, g, file, known, n); err != nil {
					return err
				}
				known = n
				values := map[string]float64{}
				if err := b.memory(ctx, g, round, values); err != nil {
					return err
				}
				if err := b.add(ctx, scenario, "certificates", n, round, b.job(g, load.Handshake, file, 0, n), values); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// configured is a curve of something that stands in the configuration, or in files
// that it names: started anew for each point, loaded, and reloaded.
func (b *bench) configured(ctx context.Context, scenario string, points []int, kind load.Kind, file string, last func(n int) int,
	prepare func(n int) (world, error), change func(n int) error) error {
	for round := 1; round <= b.rounds; round++ {
		for _, n := range points {
			w, err := prepare(n)
			if err != nil {
				return err
			}
			if err := b.with(ctx, w, b.last(1), func(g *gateway) error {
				// Twice: the first hit of a trust domain makes its series of metrics, which
				// costs as much as the handshake, and memory too.
				for range 2 {
					if err := b.warm(ctx, g, file, 0, last(n)); err != nil {
						return err
					}
				}
				values := map[string]float64{"start_seconds": g.started.Seconds(), "start_cpu_seconds": g.startCPU.Seconds()}
				if err := b.memory(ctx, g, round, values); err != nil {
					return err
				}
				if err := b.add(ctx, scenario, scenario, n, round, b.job(g, kind, file, 0, last(n)), values); err != nil {
					return err
				}
				if change != nil {
					if err := change(n); err != nil {
						return err
					}
				}
				wall, cpu, err := g.reload(ctx)
				if err != nil {
					return err
				}
				// The map that was measured is the run's by now.
				values = b.run.Measurements[len(b.run.Measurements)-1].Values
				values["reload_seconds"], values["reload_cpu_seconds"] = wall.Seconds(), cpu.Seconds()
				_, values["peak_resident_bytes"], err = g.resident()
				return err
			}); err != nil {
				return fmt.Errorf("%d: %w", n, err)
			}
		}
	}
	return nil
}

// always returns n whatever the point is.
func always(n int) func(int) int { return func(int) int { return n } }

// curveTrustDomains is full handshakes of one client each of ever more trust domains,
// which all may call.
func curveTrustDomains(ctx context.Context, b *bench) error {
	points := b.points([]int{1, 20}, 1, 10, 100, 1000)
	const file = "domains"
	if err := domains(b.dir, file, points[len(points)-1]); err != nil {
		return err
	}
	return b.configured(ctx, "trust_domains", points, load.Handshake, file, func(n int) int { return n },
		func(n int) (world, error) { return world{domains: n}, nil }, nil)
}

// curveRoutes is requests to one of ever more routes, told apart by host.
func curveRoutes(ctx context.Context, b *bench) error {
	points := b.points([]int{10, 1000}, 10, 100, 1000, 10_000, 100_000)
	file, err := b.usual(100)
	if err != nil {
		return err
	}
	return b.configured(ctx, "routes", points, load.KeepAlive, file, always(askers),
		func(n int) (world, error) { return world{routes: n - 1}, nil }, nil)
}

// curveRules is requests to a route with ever more rules, of which the last applies.
func curveRules(ctx context.Context, b *bench) error {
	points := b.points([]int{10, 1000}, 1, 10, 100, 1000, 10_000, 100_000)
	file, err := b.usual(100)
	if err != nil {
		return err
	}
	return b.configured(ctx, "rules", points, load.KeepAlive, file, always(askers),
		func(n int) (world, error) { return world{rules: n - 1}, nil }, nil)
}

// curveCRLEntries is full handshakes whose certificates are looked up in ever longer
// CRLs. A reload finds another list as long as the first.
func curveCRLEntries(ctx context.Context, b *bench) error {
	points := b.points([]int{0, 1000}, 0, 1000, 10_000, 100_000, 1_000_000)
	file, err := b.usual(100)
	if err != nil {
		return err
	}
	for _, n := range points {
		for number := range int64(2) {
			if err := b.crls(b.dir, n, number+1); err != nil {
				return err
			}
		}
	}
	// The configuration names a link, which a change points elsewhere.
	const inForce = "crl.pem"
	point := func(n, number int) error {
		temporary := filepath.Join(b.dir, "next-"+inForce)
		if err := os.Symlink(fmt.Sprintf("crl-%d-%d.pem", n, number), temporary); err != nil {
			return err
		}
		return os.Rename(temporary, filepath.Join(b.dir, inForce))
	}
	return b.configured(ctx, "crl_entries", points, load.Handshake, file, always(100),
		func(n int) (world, error) { return world{crl: inForce}, point(n, 1) },
		func(n int) error { return point(n, 2) })
}

// curveConnections holds ever more idle connections, each with a certificate of its
// own or all with the same, and measures requests over further ones beside them.
func curveConnections(ctx context.Context, b *bench) error {
	const scenario = "connections"
	points := b.points([]int{50, 150}, 1000, 10_000)
	if most := b.connections; !b.quick {
		for len(points) > 0 && points[len(points)-1] >= most {
			points = points[:len(points)-1]
		}
		points = append(points, most)
	}
	file, err := b.usual(points[len(points)-1] + askers)
	if err != nil {
		return err
	}
	for round := 1; round <= b.rounds; round++ {
		kinds := []string{"unique", "shared"}
		if round > 1 {
			kinds = kinds[:1] // the other differs in memory only
		}
		for _, leaves := range kinds {
			if err := b.with(ctx, world{}, b.last(1), func(g *gateway) error {
				defer func() { _, _ = b.play(context.WithoutCancel(ctx), load.Job{Kind: load.Release}) }()
				held := 0
				for _, n := range points {
					job := b.job(g, load.Hold, file, held, n)
					if leaves == "shared" {
						job.First, job.Last = 0, 1
					}
					failures, err := b.hold(ctx, job, n-held)
					if err != nil {
						return fmt.Errorf("%d connections: %w", n, err)
					}
					held = n
					values := map[string]float64{}
					if err := b.memory(ctx, g, round, values); err != nil {
						return err
					}
					ask := b.job(g, load.KeepAlive, file, points[len(points)-1], points[len(points)-1]+askers)
					if err := b.add(ctx, scenario, "connections", n, round, ask, values); err != nil {
						return err
					}
					m := &b.run.Measurements[len(b.run.Measurements)-1]
					m.Point["leaves"] = leaves
					m.Failures += failures
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// hold opens n more connections. Those that fail are tried again, a few times, and
// counted: it is the number that is held that memory is measured by.
func (b *bench) hold(ctx context.Context, job load.Job, n int) (failures int64, err error) {
	var r load.Result
	for range 3 {
		job.Workers = n
		if r, err = b.play(ctx, job); err != nil {
			return failures, err
		}
		failures += r.Failures
		if n = int(r.Failures); n == 0 {
			return failures, nil
		}
	}
	return failures, fmt.Errorf("%d are missing: %s", n, r.Failure)
}

// curveCores is the gateway on more cores. On a machine with two, the second is the
// generator's as well.
func curveCores(ctx context.Context, b *bench) error {
	file, err := b.usual(100)
	if err != nil {
		return err
	}
	for round := 1; round <= b.rounds; round++ {
		for _, n := range b.points([]int{1}, 1, 2) {
			if n > len(b.cores) {
				continue
			}
			if err := b.with(ctx, world{}, b.last(n), func(g *gateway) error {
				if err := b.warm(ctx, g, file, 0, 100); err != nil {
					return err
				}
				if err := b.add(ctx, "cores_handshake", "cores", n, round, b.job(g, load.Handshake, file, 0, 100), nil); err != nil {
					return err
				}
				return b.add(ctx, "cores_request", "cores", n, round, b.job(g, load.KeepAlive, file, 0, 100), nil)
			}); err != nil {
				return err
			}
		}
	}
	if len(b.cores) < 3 && !b.quick {
		b.run.Notes = append(b.run.Notes, "cores: with two cores for the gateway, the generator shares one of them. "+
			"What it costs per operation can be compared, operations per second cannot.")
	}
	return nil
}
