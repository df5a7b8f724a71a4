package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startTimeout is how long gateway and backend may take to start, and stopTimeout
// how long to end.
const (
	startTimeout = 10 * time.Second
	stopTimeout  = 40 * time.Second
)

// configuration has short time-outs, so that slow clients are sent away within a
// scenario.
const configuration = `listeners:
  - name: edge
    address: %q
    certificate: {cert_file: pki/server.pem, key_file: pki/server.key}
    trust_domains: [spiffe://load.example]
    limits: {first_byte_timeout: 1s, handshake_timeout: 2s}
    http: {header_timeout: 2s}
trust_domains:
  spiffe://load.example:
    anchors: {file: pki/root.pem}
    crl: {files: [pki/root.crl, pki/issuing.crl]}
routes:
  - name: load
    match: {path: /1k}
    allow: [{caller: "spiffe://load.example/ns/load/sa/*", methods: [GET, POST]}]
    upstream: backend
upstreams:
  backend: {endpoints: [%q], plaintext: true, handoff: [workload]}
telemetry: {audit: {file: audit.jsonl}}
admin: {address: "127.0.0.1:0", pprof: true}
`

// stage is the gateway with what is around it. Options are complete.
type stage struct {
	options
	edge, admin string      // addresses
	backend     string      // its address
	process     *os.Process // of the gateway
	running     []*process
}

// process is something that was started here, and that is stopped here.
type process struct {
	*exec.Cmd
	exited chan struct{}
}

// pki is a file of the certificates.
func (s *stage) pki(name ...string) string {
	return filepath.Join(append([]string{s.dir, "pki"}, name...)...)
}

// build makes the binaries.
func (s *stage) build(ctx context.Context) error {
	return command(ctx, "go", "build", "-o", s.dir+string(filepath.Separator), "./cmd/gateway", "./loadtest/backend", "./loadtest/driver")
}

// certify makes a CA, the gateway's certificate and all clients. What an earlier
// run left in a folder that is used again has expired by now, or soon will. The
// folder has been claimed, so nothing in it is anybody else's.
func (s *stage) certify(ctx context.Context) error {
	if err := os.RemoveAll(s.pki()); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.dir, "audit.jsonl")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return s.gateway(ctx, "pki", "gen", "--dir", s.pki(), "--clients", strconv.Itoa(s.clients),
		"--also", "expired,revoked,wrong-trust-domain,next")
}

// gateway runs a command of the gateway that is soon over.
func (s *stage) gateway(ctx context.Context, arguments ...string) error {
	return command(ctx, filepath.Join(s.dir, "gateway"), arguments...)
}

// start runs backend and gateway and waits until they serve.
func (s *stage) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	said, err := s.launch(exec.Command(filepath.Join(s.dir, "backend")), func(c *exec.Cmd, w io.Writer) { c.Stdout = w })
	if err != nil {
		return err
	}
	if s.backend, err = await(ctx, said, func(line string) (string, bool) { return line, true }); err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	file := filepath.Join(s.dir, "gateway.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, configuration, s.address, s.backend), 0o600); err != nil {
		return err
	}
	gateway := exec.Command(filepath.Join(s.dir, "gateway"), "run", "-c", file)
	gateway.Env = withoutCollector(os.Environ())
	said, err = s.launch(gateway, func(c *exec.Cmd, w io.Writer) { c.Stderr = w })
	if err != nil {
		return err
	}
	s.process = s.running[len(s.running)-1].Process
	if s.admin, err = await(ctx, said, adminAddress); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	return s.locate(ctx)
}

// withoutCollector is an environment without what would replace the gateway's own
// pace of collecting garbage, which is part of what is measured.
func withoutCollector(environment []string) []string {
	return slices.DeleteFunc(environment, func(v string) bool {
		return strings.HasPrefix(v, "GOGC=") || strings.HasPrefix(v, "GOMEMLIMIT=")
	})
}

// ready waits until the gateway wants traffic.
func (s *stage) ready(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		response, err := s.get(ctx, "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("the gateway does not become ready"), err)
		case <-tick.C:
		}
	}
}

// locate asks the gateway where it listens.
func (s *stage) locate(ctx context.Context) error {
	response, err := s.get(ctx, "/status")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var status struct {
		Listeners []struct {
			Address string `json:"address"`
		} `json:"listeners"`
	}
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
		return fmt.Errorf("status of the gateway: %w", err)
	}
	if len(status.Listeners) != 1 {
		return fmt.Errorf("the gateway has %d listeners, want 1", len(status.Listeners))
	}
	s.edge = status.Listeners[0].Address
	return nil
}

func (s *stage) get(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+path, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultTransport.RoundTrip(request)
}

// launch starts c and returns the lines of the output that attach connects. c
// runs until [stage.stop], also when somebody presses ^C, which all processes of
// the terminal's group would hear at the same time; what it says otherwise goes to
// standard error.
func (s *stage) launch(c *exec.Cmd, attach func(*exec.Cmd, io.Writer)) (<-chan string, error) {
	read, write := io.Pipe()
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	attach(c, write)
	if err := c.Start(); err != nil {
		return nil, err
	}
	p := &process{c, make(chan struct{})}
	s.running = append(s.running, p)
	go func() {
		_ = c.Wait() // stop says how it ended
		write.Close()
		close(p.exited)
	}()
	lines := make(chan string, 16)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(read); scanner.Scan(); {
			select {
			case lines <- scanner.Text():
			default: // nobody waits any more
			}
		}
	}()
	return lines, nil
}

// stop ends everything that was started, the last first.
func (s *stage) stop() error {
	var errs []error
	for _, p := range slices.Backward(s.running) {
		_ = p.Process.Signal(syscall.SIGTERM) // it may have ended already
		select {
		case <-p.exited:
		case <-time.After(stopTimeout):
			_ = p.Process.Kill()
			<-p.exited
		}
		if !p.ProcessState.Success() {
			errs = append(errs, fmt.Errorf("%s: %s", filepath.Base(p.Path), p.ProcessState))
		}
	}
	return errors.Join(errs...)
}

// await returns what find finds in the first line that has it.
func await(ctx context.Context, lines <-chan string, find func(string) (string, bool)) (string, error) {
	var all []string
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return "", fmt.Errorf("it ended: %s", strings.Join(all, "\n"))
			}
			if found, ok := find(line); ok {
				return found, nil
			}
			all = append(all, line)
		case <-ctx.Done():
			return "", fmt.Errorf("it did not start in time: %s", strings.Join(all, "\n"))
		}
	}
}

var adminURL = regexp.MustCompile(`=http://([^/\s]+)/`)

// adminAddress finds the admin listener in a line of the gateway's log. It is the
// one address that only the log tells.
func adminAddress(line string) (string, bool) {
	m := adminURL.FindStringSubmatch(line)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// command runs something that is soon over and tells what it said if it fails.
func command(ctx context.Context, name string, arguments ...string) error {
	out, err := exec.CommandContext(ctx, name, arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(arguments, " "), err, out)
	}
	return nil
}
