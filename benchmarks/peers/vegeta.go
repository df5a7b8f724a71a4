package main

import (
	"bufio"
	"context"
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

// vegetaName is who calls: an attack has one certificate.
const vegetaName = "client-vegeta"

// A turn of vegeta: in the lead it starts, and its workers begin, which must not be in what
// is measured. It would end by itself if the rig could not end it.
const (
	attackLead  = 600 * time.Millisecond
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
		return "", fmt.Errorf("-vegeta: %w; make bench-peers builds one", err)
	}
	built, err := buildinfo.ReadFile(r.vegeta)
	if err != nil {
		return "", fmt.Errorf("-vegeta: %w", err)
	}
	return fmt.Sprintf("vegeta is %s, built by %s: X25519 is the key share that it sends, %d workers; its slices are of %v, %v after its start, and all its connections are of one client.",
		built.Main.Version, built.GoVersion, closedWorkers, attackSlice, attackLead), nil
}

// attacks is the course of vegeta: closed loops, one for each slice.
func (r *rig) attacks(kind load.Kind) course {
	c := course{count: func(i *instance, result *load.Result) error { return countAttack(result, i.results(), i.noCaller) }}
	for n := range max(1, int(math.Round(r.span.Seconds()/attackSlice.Seconds()))) {
		c.slices = append(c.slices, func(ctx context.Context, i *instance) (load.Result, error) {
			return r.attack(ctx, i, kind, n)
		})
	}
	return c
}

// results is where vegeta leaves them.
func (s site) results() string { return filepath.Join(s.dir, "vegeta.results") }

// attack is one turn of vegeta, the nth against an instance.
func (r *rig) attack(ctx context.Context, i *instance, kind load.Kind, n int) (result load.Result, err error) {
	c, err := i.attackBy(r.vegeta, r.caller.Root, r.caller.Certificate, r.caller.Key, kind, n)
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
	attack.Stop(attackMost) // which it heeds when what is under way has ended
	if err == nil && !attack.ProcessState.Success() {
		err = errors.New(attack.ProcessState.String())
	}
	if err != nil {
		return load.Result{}, fmt.Errorf("vegeta: %w\n%s", err, tail(said.Name()))
	}
	return result, nil
}

// attackBy is how vegeta is called. It goes on until it is stopped.
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
		// Ports of the turn before are not free yet.
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
	if err := rest(ctx, attackLead); err != nil {
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
func countAttack(result *load.Result, file string, noCaller bool) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	hits := gob.NewDecoder(bufio.NewReader(in))
	until := result.Began.Add(result.Wall)
	for {
		var h hit // anew: gob leaves out what is zero
		if err := hits.Decode(&h); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("vegeta's results: %w", err)
		}
		end := h.Timestamp.Add(h.Latency)
		if end.Before(result.Began) || !end.Before(until) {
			continue
		}
		if h.Seq < closedWorkers {
			return fmt.Errorf("vegeta's workers were still beginning %v after its start: operation %d ended then", attackLead, h.Seq)
		}
		if err := h.judge(noCaller); err != nil {
			result.Failures++
			result.Failure = err.Error()
		} else {
			result.Operations++
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
