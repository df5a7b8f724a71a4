package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"debug/buildinfo"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"verigate/benchmarks/peers/load"
	"verigate/benchmarks/pinned"
)

// vegetaPath is what a vegeta says of itself whose flags and results are known here.
const vegetaPath = "github.com/tsenart/vegeta/v12"

const vegetaWanted = "want " + vegetaPath + ", which `make .cache/vegeta-v12.13.0` builds"

// vegetaGroup is the only one that vegeta sends a key share of, as it is called here.
const vegetaGroup = tls.X25519

// vegetaName is who calls: an attack has one certificate.
const vegetaName = "client-vegeta"

// A turn of vegeta: in the lead it starts, and each of its workers ends a first operation,
// which must not be in what is measured. It would end by itself if the rig could not end it.
const (
	attackLead  = 500 * time.Millisecond // at least
	attackSlice = time.Second
	attackMost  = 20 * time.Second
)

// findVegeta makes sure that it is there and returns a note of which it is.
func (r *rig) findVegeta() (version string, err error) {
	path, err := exec.LookPath(r.vegeta)
	if err == nil {
		r.vegeta, err = filepath.Abs(path) // it is started from other folders
	}
	if err != nil {
		return "", fmt.Errorf("-vegeta: %w; %s", err, vegetaWanted)
	}
	built, err := buildinfo.ReadFile(r.vegeta)
	if err != nil {
		return "", fmt.Errorf("-vegeta: %w; %s", err, vegetaWanted)
	}
	if built.Path != vegetaPath {
		return "", fmt.Errorf("-vegeta: %s is %s; %s", r.vegeta, built.Path, vegetaWanted)
	}
	return fmt.Sprintf("vegeta is %s, built by %s: X25519 is the key share that it sends, %d workers; its slices are of %v, and all its connections are of one client.",
		built.Main.Version, built.GoVersion, closedWorkers, attackSlice), nil
}

// attacks is the course of vegeta: closed loops, one for each slice.
func (r *rig) attacks(kind load.Kind) course {
	c := course{count: func(i *instance, result *load.Result) error { return countAttack(result, i.results(), i.noCaller) }}
	for range max(1, int(math.Round(r.span.Seconds()/attackSlice.Seconds()))) {
		c.slices = append(c.slices, func(ctx context.Context, i *instance) (load.Result, error) {
			return r.attack(ctx, i, kind)
		})
	}
	return c
}

// results is where vegeta leaves them.
func (s site) results() string { return filepath.Join(s.dir, "vegeta.results") }

// attack is one turn of vegeta.
func (r *rig) attack(ctx context.Context, i *instance, kind load.Kind) (result load.Result, err error) {
	r.attacked++
	c, err := i.attackBy(r.vegeta, r.caller.Root, r.caller.Certificate, r.caller.Key, kind, r.attacked)
	if err != nil {
		return load.Result{}, err
	}
	said, err := os.Create(filepath.Join(i.dir, "vegeta.log"))
	if err != nil {
		return load.Result{}, err
	}
	defer said.Close()
	c.Stderr = said
	attack, err := pinned.Start(c, []int{r.cores.load}, r.niceness)
	if err != nil {
		return load.Result{}, fmt.Errorf("vegeta: %w", err)
	}
	result, err = r.observe(ctx, i, attack)
	if err != nil {
		attack.Stop(0)
		return load.Result{}, fmt.Errorf("vegeta: %w; it ended with %v\n%s", err, attack.ProcessState, tail(said.Name()))
	}
	attack.Stop(attackMost) // which it heeds when what is under way has ended
	if !attack.ProcessState.Success() {
		return load.Result{}, fmt.Errorf("vegeta: it ended with %v\n%s", attack.ProcessState, tail(said.Name()))
	}
	return result, nil
}

// attackBy is how vegeta is called, the nth time. It goes on until it is stopped.
func (s site) attackBy(vegeta, root, certificate, key string, kind load.Kind, n int) (*exec.Cmd, error) {
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return nil, err
	}
	targets, err := s.write("vegeta.targets", "GET https://localhost:"+port+"/1k\n")
	if err != nil {
		return nil, err
	}
	c := exec.Command(vegeta, "attack", "-targets", targets, "-output", s.results(),
		"-root-certs", root, "-cert", certificate, "-key", key, "-connect-to", "localhost:"+port+":"+s.address,
		// Ports of the turns before may not be free yet.
		"-laddr", fmt.Sprintf("127.0.2.%d", 1+n%250),
		"-rate", "0", "-workers", strconv.Itoa(closedWorkers), "-max-workers", strconv.Itoa(closedWorkers),
		"-duration", attackMost.String(), "-max-body", "0", "-http2=false",
		"-keepalive="+strconv.FormatBool(kind == load.KeepAlive), "-session-tickets="+strconv.FormatBool(kind == load.Resume))
	// Where Go offers X25519MLKEM768 first, that costs more, and not everybody has it.
	c.Env = append(c.Environ(), "GODEBUG=tlsmlkem=0")
	return c, nil
}

// observe measures the slice of an attack that is under way.
func (r *rig) observe(ctx context.Context, i *instance, attack *pinned.Process) (load.Result, error) {
	if err := awaitWorkers(ctx, i.results()); err != nil {
		return load.Result{}, err
	}
	p := r.job(i, load.Job{}).Processes
	p.Beside = append([]int{attack.Pid()}, p.Beside...)
	finish, err := load.Observe(p)
	if err != nil {
		return load.Result{}, err
	}
	if err := rest(ctx, attackSlice); err != nil {
		return load.Result{}, err
	}
	return finish()
}

// awaitWorkers returns when the lead is over and each worker has ended its first operation.
func awaitWorkers(ctx context.Context, file string) error {
	begun := 0
	for wait := attackLead; wait < attackMost/2; wait += attackLead {
		if err := rest(ctx, attackLead); err != nil {
			return err
		}
		begun = 0
		err := eachHit(file, func(h *hit) (enough bool) {
			if h.Seq < closedWorkers {
				begun++
			}
			return begun == closedWorkers
		})
		if begun == closedWorkers {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // vegeta is writing
			return err
		}
	}
	return fmt.Errorf("only %d of %d workers have ended their first operation after %v", begun, closedWorkers, attackMost/2)
}

// hit is what vegeta writes of each operation, as far as it matters here.
type hit struct {
	Seq       uint64
	Code      uint16
	Timestamp time.Time
	Latency   time.Duration
	Error     string
	Headers   http.Header
}

// countAttack adds to a result the operations of a file that ended while it was measured.
// That there are none is an error, as is a worker whose first is among them.
func countAttack(result *load.Result, file string, noCaller bool) error {
	until := result.Began.Add(result.Wall)
	late := false
	err := eachHit(file, func(h *hit) (enough bool) {
		end := h.Timestamp.Add(h.Latency)
		if end.Before(result.Began) {
			return false
		}
		late = late || h.Seq < closedWorkers
		if !end.Before(until) {
			return false
		}
		if err := h.judge(noCaller); err != nil {
			result.Failures++
			result.Failure = err.Error()
		} else {
			result.Operations++
		}
		return false
	})
	switch {
	case err != nil:
		return err
	case late:
		return errors.New("vegeta: a worker was still at its first operation when the slice began")
	case result.Operations+result.Failures == 0:
		return errors.New("vegeta: no operation ended in the slice")
	}
	return nil
}

// eachHit calls f for each operation of a file, in the order in which they ended, until it
// has enough.
func eachHit(file string, f func(*hit) (enough bool)) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	hits := gob.NewDecoder(bufio.NewReader(in))
	for {
		var h hit // anew: gob leaves out what is zero
		if err := hits.Decode(&h); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("vegeta's results: %w", err)
		}
		if f(&h) {
			return nil
		}
	}
}

// judge says what is wrong with an answer: it has to have the status 200, a kibioctet, and
// the caller's name.
func (h *hit) judge(noCaller bool) error {
	if h.Error != "" || h.Code != http.StatusOK {
		return fmt.Errorf("answer: %d %s, want status 200", h.Code, h.Error)
	}
	if length := h.Headers.Get("Content-Length"); length != "1024" {
		return fmt.Errorf("answer of %q octets, want 1024", length)
	}
	if caller := h.Headers.Get("X-Caller"); !noCaller && !strings.HasSuffix(caller, vegetaName) {
		return fmt.Errorf("the backend was told that %q calls, and it was %q", caller, vegetaName)
	}
	return nil
}
