package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verigate/config"
)

func TestConfigurationIsValid(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```yaml\n")
	own, _, _ := strings.Cut(rest, "```")
	for name, text := range map[string][]byte{
		"gateway.yaml": fmt.Appendf(nil, configuration, "127.0.0.1:0", "127.0.0.1:8080"),
		"README.md":    []byte(own),
	} {
		c, err := config.Parse(name, text)
		if err != nil {
			t.Error(err)
		} else if notes := c.Notes(); len(notes) > 0 {
			t.Errorf("the configuration of %s has notes: %q", name, notes)
		}
	}
}

func TestAdminAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ line, want string }{
		{`time=x level=INFO msg="admin listening" url=http://127.0.0.1:4712/`, "127.0.0.1:4712"},
		{`time=x level=INFO msg=listening listener=edge address=127.0.0.1:4711`, ""},
	} {
		if got, ok := adminAddress(tt.line); got != tt.want || ok != (tt.want != "") {
			t.Errorf("adminAddress(%q) = %q, %t, want %q", tt.line, got, ok, tt.want)
		}
	}
}

func TestAwaitTellsWhatWasSaidInstead(t *testing.T) {
	t.Parallel()
	lines := make(chan string, 1)
	lines <- "the port is taken"
	close(lines)
	if _, err := await(t.Context(), lines, adminAddress); err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("await() = %v, want an error with what the process said", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := await(ctx, make(chan string), adminAddress); err == nil {
		t.Error("await() found something although nothing was said")
	}
}

// Memory that the heap has free, and has not given back, is no growth.
func TestResidentMemoryIsWhatIsUsed(t *testing.T) {
	t.Parallel()
	exposition := []byte("process_resident_memory_bytes 100\ngo_memstats_heap_idle_bytes 50\ngo_memstats_heap_released_bytes 20\n")
	if got, err := gauges[0].read(exposition); err != nil || got != 70 {
		t.Errorf("read() = %v, %v of 100 resident octets with 50 idle of which 20 are given back, want 70", got, err)
	}
	for _, without := range []string{"resident", "idle", "released"} {
		if got, err := gauges[0].read([]byte(strings.ReplaceAll(string(exposition), without, "other"))); err == nil {
			t.Errorf("read() = %v without the series of %s memory, want an error", got, without)
		}
	}
}

// What fails after an interruption failed for that, whatever it says.
func TestAnInterruptionIsAllThatIsSaid(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := options{clients: 2, keepaliveRate: 100, handshakeRate: 10, duration: time.Second, scenarios: ".", dir: filepath.Join(t.TempDir(), "dir")}
	if err := run(ctx, o); err == nil || err.Error() != "interrupted" {
		t.Errorf("run() = %v after an interruption, want only that", err)
	}
}

func TestFigure(t *testing.T) {
	t.Parallel()
	exposition := []byte("# HELP go_goroutines x\ngo_goroutines 21\nprocess_resident_memory_bytes 3.7e+07\na{b=\"c\"} 4\n")
	for series, want := range map[string]float64{"go_goroutines": 21, "process_resident_memory_bytes": 3.7e7, `a{b="c"}`: 4} {
		if got, err := figure(exposition, series); err != nil || got != want {
			t.Errorf("figure(%s) = %v, %v, want %v", series, got, err, want)
		}
	}
	if got, err := figure(exposition, "go_gorout"); err == nil {
		t.Errorf("figure() = %v for a series that is not there", got)
	}
}

func TestRunRefusesWhatMeasuresNothing(t *testing.T) {
	t.Parallel()
	good := options{clients: 2, keepaliveRate: 100, handshakeRate: 10, duration: time.Second, scenarios: "."}
	for _, tt := range []struct {
		change func(*options)
		want   string
	}{
		{func(o *options) { o.clients = 1 }, "-clients 1"},
		{func(o *options) { o.keepaliveRate = 0 }, "-keepalive-rate"},
		{func(o *options) { o.duration = 0 }, "-duration"},
		{func(o *options) { o.soak = time.Second }, "-soak 1s: in less than 30s nothing shows"},
		{func(o *options) { o.scenarios = "(" }, "-scenarios: "},
	} {
		o := good
		tt.change(&o)
		o.dir = filepath.Join(t.TempDir(), "dir")
		if err := run(t.Context(), o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("run() = %v, want the error %q", err, tt.want)
		}
		if _, err := os.Stat(o.dir); err == nil {
			t.Error("run() made a folder before it looked at its options")
		}
	}
}

// Every scenario of the matrix is there, for every way to connect and every kind
// of client, and each plays a target file that exists.
func TestScenarios(t *testing.T) {
	t.Parallel()
	o := options{clients: 1000, keepaliveRate: 1000, handshakeRate: 100, duration: time.Second}
	names := map[string]bool{}
	for _, sc := range append(driverScenarios(o), k6Scenarios()...) {
		if names[sc.name] {
			t.Errorf("there are two scenarios %s", sc.name)
		}
		names[sc.name] = true
	}
	for _, mode := range []string{"keepalive", "handshake", "resumed"} {
		for _, who := range []string{"1", "many", "expired", "revoked", "wrong-trust-domain", "none"} {
			if !names[mode+"-"+who] {
				t.Errorf("there is no scenario %s-%s", mode, who)
			}
		}
	}
	for _, name := range []string{"slow-loris", "rotation", "reload", "k6-keepalive", "k6-handshake", "k6-rotation"} {
		if !names[name] {
			t.Errorf("there is no scenario %s", name)
		}
	}
	for _, l := range loads(o) {
		if _, err := os.Stat(filepath.Join("..", "vegeta", l.targets+".targets")); err != nil {
			t.Errorf("%s: %v", l.name, err)
		}
		refused := strings.Contains(strings.Join(l.more, " "), "-expect alert")
		if want := l.identities != "clients"; refused != want {
			t.Errorf("%s of the identities %q: refusal expected: %t, want %t", l.name, l.identities, refused, want)
		}
	}
	for _, sc := range []string{"keepalive.js", "handshake.js", "matrix/matrix.js", "matrix/rotation.js"} {
		if _, err := os.Stat(filepath.Join("..", "k6", sc)); err != nil {
			t.Error(err)
		}
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	// 100 samples in 100 seconds; the first quarter is not looked at.
	series := func(v func(second float64) float64) []sampled {
		var all []sampled
		for i := range 100 {
			all = append(all, sampled{time.Duration(i) * time.Second, []float64{v(float64(i))}})
		}
		return all
	}
	g := gauge{"goroutines", "", false, 0.10, 25} // not the real floor
	for _, tt := range []struct {
		name  string
		v     func(float64) float64
		hour  float64
		grows bool
	}{
		{"constant", func(float64) float64 { return 1000 }, 0, false},
		{"growing in the beginning only", func(s float64) float64 { return 1000 * min(1, s/25) }, 0, false},
		{"a leak of two a second", func(s float64) float64 { return 1000 + 2*s }, 7200, true},
		{"a leak of one a second, within a tenth", func(s float64) float64 { return 1000 + s }, 3600, false},
		{"few, and within the floor", func(s float64) float64 { return 20 + 0.3*s }, 1080, false},
		{"shrinking", func(s float64) float64 { return 1000 - 5*s }, -18000, false},
	} {
		is, ok := grow(series(tt.v), 0, 25*time.Second)
		if !ok || (is.perHour-tt.hour) > 1 || (is.perHour-tt.hour) < -1 {
			t.Errorf("%s: %+v, %t, want %v an hour", tt.name, is, ok, tt.hour)
		}
		if why := g.judge(is); (why != "") != tt.grows {
			t.Errorf("%s: judge() = %q, want that it grows: %t", tt.name, why, tt.grows)
		}
	}
	memory := gauge{"heap_bytes", "", true, 0.10, 8 << 20}
	if why := memory.judge(growth{100 << 20, 20 << 20, 40 << 20}); why != "heap_bytes grew by 20.0 MiB from a mean of 100.0 MiB under a constant load, 40.0 MiB an hour; at most 10.0 MiB is allowed" {
		t.Errorf("judge() = %q of memory, want it in MiB", why)
	}
	if _, ok := grow(series(func(float64) float64 { return 1 })[:30], 0, 25*time.Second); ok {
		t.Error("a line was drawn through five samples")
	}
}

func TestReadK6(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"metrics": {"http_reqs": {"values": {"count": 100}}, "tls_handshakes": {"values": {"count": 90}},
		"http_req_duration": {"values": {"med": 2, "p(99)": 7}}}}`)
	m, err := readK6(file)
	if err != nil || m.operations != 100 || m.values["handshakes"] != 90 || m.values["k6_p50_seconds"] != 0.002 || m.values["k6_p99_seconds"] != 0.007 {
		t.Errorf("readK6() = %+v, %v, want 100 requests, 90 handshakes, 2 and 7 ms", m, err)
	}
	for _, text := range []string{"", "{}", `{"metrics": {"http_reqs": {"values": {"count": 0}}}}`} {
		write(text)
		if m, err := readK6(file); err == nil {
			t.Errorf("readK6() = %+v of %q, want an error", m, text)
		}
	}
}
