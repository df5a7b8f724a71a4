package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/textproto"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"verigate/benchmarks/peers/load"
	"verigate/benchmarks/peers/pki"
	"verigate/benchmarks/pinned"
	"verigate/benchmarks/report"
)

// byVegeta is what the names of the scenarios begin with that vegeta plays, a generator that
// was not made for this comparison.
const byVegeta = "vegeta_"

// vegetaName is who calls: an attack has one certificate.
const vegetaName = "client-vegeta"

// A turn of vegeta: in the lead it starts and opens connections, which must not be in what
// is measured, and it goes on for a while afterwards.
const (
	attackLead  = 400 * time.Millisecond
	attackSlice = time.Second
	attackTail  = 200 * time.Millisecond
)

// attackPatience is how long vegeta may take for what was under way at its end.
const attackPatience = 20 * time.Second

// attacked measures a scenario of one operation with vegeta: a closed loop by one client,
// a slice of one peer after a slice of the other.
func (r *rig) attacked(ctx context.Context, s scenario) error {
	caller, err := r.authority.Call(filepath.Join(r.dir, "caller"), vegetaName)
	if err != nil {
		return err
	}
	for round := range r.rounds {
		var all []report.Measurement
		tries, err := r.undisturbed(func() (disturbed bool, err error) {
			all, err = r.attackAbreast(ctx, s, r.turns(round), caller)
			return slices.ContainsFunc(all, report.Measurement.Disturbed), err
		})
		if err != nil {
			return err
		}
		for _, m := range all {
			m.Round = round + 1
			m.Values[triesTaken] = float64(tries)
			r.keep(m)
		}
	}
	return nil
}

// attackAbreast is [rig.abreast] with vegeta.
func (r *rig) attackAbreast(ctx context.Context, s scenario, peers []*peer, caller pki.Files) (all []report.Measurement, err error) {
	var up []*instance
	defer func() {
		for _, i := range up {
			err = errors.Join(err, i.close())
		}
	}()
	for _, p := range peers {
		i, err := r.launch(p, r.server)
		if err != nil {
			return nil, err
		}
		up = append(up, i)
		able, err := r.resumes(ctx, i, s.job)
		if err = errors.Join(i.blame(ctx, errors.Join(err, r.warm(ctx, i, s.job))), i.Pause()); err != nil {
			return nil, err
		}
		if !able {
			r.note("%s is not in %s: %s.", p.name, s.name, errCannot)
			up = up[:len(up)-1]
			if err := i.close(); err != nil {
				return nil, err
			}
		}
	}
	sums := make([]load.Result, len(up))
	for n := range max(1, int(math.Round(r.span.Seconds()/attackSlice.Seconds()))) {
		for k := range up {
			k = (k + n) % len(up)
			result, err := r.turn(ctx, up[k], func(ctx context.Context) (load.Result, error) {
				return r.attack(ctx, up[k], s.job, caller)
			})
			if err != nil {
				return nil, err
			}
			sums[k] = sums[k].Plus(result)
		}
	}
	for k, i := range up {
		if sums[k].Operations == 0 {
			return nil, i.blame(ctx, fmt.Errorf("nothing succeeded: %s", sums[k].Failure))
		}
		m := report.Measurement{Scenario: s.name, Subject: i.name, Point: map[string]string{"key": string(r.key)}, Values: map[string]float64{}}
		r.add(&m, sums[k])
		all = append(all, m)
	}
	return all, nil
}

// resumes reports whether a peer can do a job at all, which vegeta does not say: whether
// it resumes sessions, if that is what the job is about.
func (r *rig) resumes(ctx context.Context, i *instance, job load.Job) (bool, error) {
	if job.Kind != load.Resume {
		return true, nil
	}
	var err error
	if job.Identities, err = r.identities("client", r.clients, false); err != nil {
		return false, err
	}
	job.Workers, job.Duration = 1, slice
	job = r.job(i, job)
	job.Peer = 0
	result, err := r.generator.Play(ctx, job)
	return result.Operations > 0, err
}

// attack is one turn of vegeta.
func (r *rig) attack(ctx context.Context, i *instance, job load.Job, caller pki.Files) (load.Result, error) {
	_, port, err := net.SplitHostPort(i.address)
	if err != nil {
		return load.Result{}, err
	}
	targets, err := i.write("vegeta.targets", "GET https://localhost:"+port+"/1k\n")
	if err != nil {
		return load.Result{}, err
	}
	results := filepath.Join(i.dir, "vegeta.results")
	c := exec.Command(r.vegeta, "attack", "-targets", targets, "-output", results,
		"-root-certs", caller.Root, "-cert", caller.Certificate, "-key", caller.Key, "-connect-to", "localhost:"+port+":"+i.address,
		"-rate", "0", "-workers", strconv.Itoa(closedWorkers), "-max-workers", strconv.Itoa(closedWorkers),
		"-duration", (attackLead + attackSlice + attackTail).String(), "-max-body", "0", "-http2=false",
		"-keepalive="+strconv.FormatBool(job.Kind == load.KeepAlive), "-session-tickets="+strconv.FormatBool(job.Kind == load.Resume))
	// X25519, as all others: Go would offer X25519MLKEM768 first, which costs more and which
	// not everybody has.
	c.Env = append(c.Environ(), "GODEBUG=tlsmlkem=0")
	var said bytes.Buffer
	c.Stderr = &said
	attack, err := pinned.Start(c, []int{r.cores.load}, r.niceness)
	if err != nil {
		return load.Result{}, err
	}
	defer attack.Stop(0)
	result, err := r.observe(ctx, i, job, attack)
	if err = errors.Join(err, attack.Finish(attackPatience)); err != nil {
		return load.Result{}, fmt.Errorf("%w\n%s", err, said.Bytes())
	}
	encoded, err := exec.Command(r.vegeta, "encode", "-to", "csv", results).Output()
	if err != nil {
		return load.Result{}, fmt.Errorf("vegeta encode: %w", err)
	}
	err = countAttack(&result, bytes.NewReader(encoded), r.job(i, job))
	return result, err
}

// observe measures the slice of an attack that is under way.
func (r *rig) observe(ctx context.Context, i *instance, job load.Job, attack *pinned.Process) (load.Result, error) {
	if err := rest(ctx, attackLead); err != nil {
		return load.Result{}, err
	}
	job = r.job(i, job)
	job.Beside = append(slices.Clone(job.Beside), attack.Pid())
	finish, err := load.Observe(job)
	if err != nil {
		return load.Result{}, err
	}
	if err := rest(ctx, attackSlice); err != nil {
		return load.Result{}, err
	}
	return finish()
}

// Columns of what `vegeta encode -to csv` writes.
const (
	vegetaBegan = iota // nanoseconds since 1970
	vegetaCode
	vegetaLatency // nanoseconds
	_             // octets out
	_             // octets in
	vegetaError
	_ // body
	_ // name of the attack
	_ // number
	_ // method
	_ // URL
	vegetaHeader
	vegetaColumns
)

// countAttack adds to a result the operations that ended while it was measured.
func countAttack(result *load.Result, encoded io.Reader, job load.Job) error {
	rows := csv.NewReader(encoded)
	rows.FieldsPerRecord = vegetaColumns
	rows.ReuseRecord = true
	from, until := result.Began.UnixNano(), result.Began.Add(result.Wall).UnixNano()
	for {
		row, err := rows.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("vegeta's results: %w", err)
		}
		began, err := strconv.ParseInt(row[vegetaBegan], 10, 64)
		latency, err2 := strconv.ParseInt(row[vegetaLatency], 10, 64)
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("vegeta's results: %w", err)
		}
		if end := began + latency; end < from || end >= until {
			continue
		}
		if err := judgeAttack(row, job); err != nil {
			result.Failures++
			result.Failure = err.Error()
		} else {
			result.Operations++
		}
	}
}

// judgeAttack says what is wrong with an answer: it has to have the status 200, the length
// that the job says, and the caller's name.
func judgeAttack(row []string, job load.Job) error {
	if row[vegetaError] != "" || row[vegetaCode] != "200" {
		return fmt.Errorf("answer: %s %s, want status 200", row[vegetaCode], row[vegetaError])
	}
	text, err := base64.StdEncoding.DecodeString(row[vegetaHeader])
	if err != nil {
		return fmt.Errorf("vegeta's results: header: %w", err)
	}
	header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(text, "\r\n"...)))).ReadMIMEHeader()
	if err != nil {
		return fmt.Errorf("vegeta's results: header: %w", err)
	}
	if length := header.Get("Content-Length"); length != strconv.Itoa(job.Body) {
		return fmt.Errorf("answer of %q octets, want %d", length, job.Body)
	}
	if caller := header.Get("X-Caller"); !job.NoCaller && !strings.HasSuffix(caller, vegetaName) {
		return fmt.Errorf("the backend was told that %q calls, and it was %q", caller, vegetaName)
	}
	return nil
}
