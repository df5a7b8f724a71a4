package promtest

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// prometheus is a running server.
type prometheus struct{ address string }

// startPrometheus runs a server by the deployed configuration, with two changes:
// it scrapes target, and every second.
func startPrometheus(t *testing.T, binary, target string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	configuration := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(configuration, hurried(t, target), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	command := exec.Command(binary,
		"--config.file="+configuration, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--log.level=error")
	var said tail
	command.Stdout, command.Stderr = &said, &said
	start(t, command)
	p := &prometheus{address}
	ready := func() bool {
		response, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
	if !poll(t.Context(), ready) {
		t.Fatalf("Prometheus is not ready:\n%s", said.String())
	}
	return p
}

// hurried is the deployed configuration for a test.
func hurried(t *testing.T, target string) []byte {
	t.Helper()
	name := filepath.Join(deployed, "prometheus", "prometheus.yml")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := yaml.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	global := c["global"].(map[string]any)
	global["scrape_interval"], global["evaluation_interval"] = "1s", "1s"
	jobs := c["scrape_configs"].([]any)
	if len(jobs) != 1 {
		t.Fatalf("%s has %d jobs, want 1", name, len(jobs))
	}
	jobs[0].(map[string]any)["static_configs"] = []any{map[string]any{"targets": []any{target}}}
	rules, err := filepath.Abs(filepath.Join(deployed, "prometheus", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c["rule_files"] = []any{rules}
	out, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// freeAddress returns one that the kernel picked. Prometheus cannot say which port
// it took, so that one is chosen for it.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a command until the test ends, then asks it to stop.
func start(t *testing.T, command *exec.Cmd) {
	t.Helper()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = command.Wait() // how it ends is what the test is about, not what it returns
		close(exited)
	}()
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM) // it may have ended already
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			_ = command.Process.Kill()
			<-exited
		}
	})
}

// poll asks until the answer is yes, for as long as [patience] lasts.
func poll(ctx context.Context, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// answer is an instant vector.
type answer []sample

type sample struct {
	Labels map[string]string
	Value  float64
}

// numeric reports whether there is a value: a quantile of nothing is NaN.
func (a answer) numeric() bool {
	return slices.ContainsFunc(a, func(s sample) bool { return !math.IsNaN(s.Value) })
}

func (a answer) positive() bool {
	return slices.ContainsFunc(a, func(s sample) bool { return s.Value > 0 })
}

// has reports whether something happened with the value.
func (a answer) has(label, value string) bool {
	return slices.ContainsFunc(a, func(s sample) bool { return s.Labels[label] == value && s.Value > 0 })
}

func (a answer) values(label string) (all []string) {
	for _, s := range a {
		if s.Value > 0 {
			all = append(all, s.Labels[label])
		}
	}
	return all
}

// query runs an expression now.
func (p *prometheus) query(ctx context.Context, expression string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://"+p.address+"/api/v1/query?"+url.Values{"query": {expression}}.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var body struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return nil, err
	}
	if body.Status != "success" || body.Data.ResultType != "vector" {
		return nil, fmt.Errorf("%s: %s %s, want a vector", expression, body.Error, body.Data.ResultType)
	}
	var a answer
	for _, r := range body.Data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		a = append(a, sample{r.Metric, value})
	}
	return a, nil
}

// eventually runs an expression until the answer will do, and returns the last.
func (p *prometheus) eventually(t *testing.T, expression string, enough func(answer) bool) (last answer) {
	t.Helper()
	poll(t.Context(), func() bool {
		var err error
		if last, err = p.query(t.Context(), expression); err != nil {
			t.Fatal(err)
		}
		return enough(last)
	})
	return last
}
