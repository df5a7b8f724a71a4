package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// result is what a run came to: the JSON that -json writes. Times are milliseconds.
type result struct {
	Name    string    `json:"name,omitempty"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"` // that arrivals were due in
	Rate    float64   `json:"rate"`    // that was asked for, per second
	Due     int64     `json:"due"`
	Right   int64     `json:"right"`
	Wrong   int64     `json:"wrong"`
	Dropped int64     `json:"dropped"` // there were -max-in-flight already
	Retried int64     `json:"retried"` // sent again, for a kept connection was closed
	// WarmupWrong are wrong or dropped before the beginning; nothing else of the
	// warm-up is counted.
	WarmupWrong int64 `json:"warmup_wrong"`
	// RightRate is right answers per second until the last answer.
	RightRate float64   `json:"right_per_second"`
	LastRight time.Time `json:"last_right,omitzero"`

	// Latency is from when a request was due; Service from when the driver began with
	// it; Handshake from connecting to the end of the handshake, as clients see it.
	Latency   percentiles `json:"latency_ms"`
	Service   percentiles `json:"service_ms"`
	Handshake percentiles `json:"handshake_ms"`

	BytesIn  int64            `json:"bytes_in"`  // of bodies
	BytesOut int64            `json:"bytes_out"` // of bodies
	Statuses map[string]int64 `json:"statuses"`
	Wrongs   map[string]int64 `json:"wrongs"` // by what was wrong

	Connections connections `json:"connections"`
	Slow        *slowResult `json:"slow,omitempty"`
	Driver      driverUsage `json:"driver"`
	Interrupted bool        `json:"interrupted,omitempty"`
	// Unresumed says why no session was resumed although -session-tickets wants it.
	Unresumed string `json:"no_session_resumed,omitempty"`
	// Missed are the thresholds that were missed, as sentences.
	Missed []string `json:"missed"`
}

type percentiles struct {
	Count int64   `json:"count"`
	Min   float64 `json:"min"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	Max   float64 `json:"max"`
}

type connections struct {
	Opened     int64 `json:"opened"`
	Failed     int64 `json:"failed"`
	Offered    int64 `json:"tickets_offered"`
	Resumed    int64 `json:"resumed"`
	Identities int   `json:"identities"`    // that had a connection
	Chains     int   `json:"server_chains"` // different ones that servers showed, and that were accepted
	Peak       int64 `json:"most_requests_in_flight"`
}

type slowResult struct {
	Connections int     `json:"connections"`
	Opened      int     `json:"opened"`
	Closed      int     `json:"closed_by_server"`
	Failed      int     `json:"failed"`
	Longest     float64 `json:"longest_ms"`
}

// driverUsage is how the driver itself fared. One that has no processor to itself
// measures its own waiting.
type driverUsage struct {
	CPUSeconds   float64     `json:"cpu_seconds"`
	Cores        int         `json:"cores"`
	CPUShare     float64     `json:"cpu_share"` // of all its cores
	MicrosPerReq float64     `json:"cpu_us_per_request"`
	Late         percentiles `json:"late_ms"` // from when requests were due to when it began with them
	Behind       bool        `json:"behind"`
}

// behindMS is how late the driver may begin with one request in a hundred before
// it says so, in milliseconds.
const behindMS = 5

func summarise(l *latencies) percentiles {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hist
	ms := func(micros int64) float64 { return float64(micros) / 1000 }
	p := percentiles{
		Count: h.TotalCount(), Max: ms(h.Max()),
		P50: ms(h.ValueAtPercentile(50)), P90: ms(h.ValueAtPercentile(90)), P95: ms(h.ValueAtPercentile(95)),
		P99: ms(h.ValueAtPercentile(99)), P999: ms(h.ValueAtPercentile(99.9)),
	}
	if p.Count > 0 {
		p.Min, p.Mean = ms(h.Min()), math.Round(h.Mean())/1000
	}
	return p
}

// result adds up what a has counted. cpu is the CPU time of the driver since the
// beginning of the schedule.
func (a *attack) result(cpu time.Duration, used int) *result {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := &result{
		Started: a.start, Seconds: a.schedule.duration.Seconds(), Rate: a.schedule.rate(),
		Right: a.right, Wrong: a.wrong, Dropped: a.dropped, Retried: a.counts.retried.Load(),
		Due: a.right + a.wrong + a.dropped, WarmupWrong: a.warmupWrong, LastRight: a.lastRight,
		Latency: summarise(a.latency), Service: summarise(a.service), Handshake: summarise(a.counts.handshake),
		BytesIn: a.bytesIn, BytesOut: a.counts.bytesOut.Load(),
		Statuses: map[string]int64{}, Wrongs: a.wrongs, Interrupted: a.interrupted,
		Connections: connections{
			Opened: a.counts.opened.Load(), Failed: a.counts.failed.Load(), Offered: a.counts.offered.Load(),
			Resumed: a.counts.resumed.Load(), Identities: used, Peak: a.peak.Load(), Chains: a.counts.chains(),
		},
		Missed: []string{},
	}
	for status, n := range a.statuses {
		r.Statuses[fmt.Sprint(status)] = n
	}
	// The answers to what was due in the last moment come after the end, as they must.
	elapsed := max(a.schedule.duration, a.lastAnswer.Sub(a.start))
	r.RightRate = float64(a.right) / elapsed.Seconds()
	late := summarise(a.late)
	cores := runtime.GOMAXPROCS(0)
	r.Driver = driverUsage{
		CPUSeconds: cpu.Seconds(), Cores: cores, CPUShare: cpu.Seconds() / elapsed.Seconds() / float64(cores),
		MicrosPerReq: 1e6 * cpu.Seconds() / float64(max(a.right+a.wrong, 1)),
		Late:         late, Behind: late.P99 > behindMS,
	}
	return r
}

// unresumed is why no session was resumed, as far as a client can tell, and "" if
// one was.
func (r *result) unresumed() string {
	c := r.Connections
	switch {
	case c.Resumed > 0:
		return ""
	case c.Offered > 0:
		return fmt.Sprintf("the server took none of the %d tickets that it was shown", c.Offered)
	case c.Opened == 0:
		return "no connection was opened"
	case c.Opened <= int64(c.Identities):
		return fmt.Sprintf("none of %d identities connected twice; -keepalive=false, a small -first and a longer -duration let them", c.Identities)
	}
	return fmt.Sprintf("in %d connections of %d identities nobody had a ticket; the server gave none, or gave it after they had connected again",
		c.Opened, c.Identities)
}

// thresholds are what a run must keep to. Zero durations and negative counts ask
// for nothing.
type thresholds struct {
	p50, p99, p999, max time.Duration
	maxFailures         int64
	minRate             float64 // of the rate that was asked for
	minResumed          float64 // of the handshakes that showed a ticket
	minIdentities       int
	maxSlowLife         time.Duration
}

// apply notes in r what was missed.
func (t thresholds) apply(r *result) {
	missed := func(format string, args ...any) { r.Missed = append(r.Missed, fmt.Sprintf(format, args...)) }
	for _, limit := range []struct {
		name  string
		got   float64
		limit time.Duration
	}{
		{"p50", r.Latency.P50, t.p50}, {"p99", r.Latency.P99, t.p99}, {"p99.9", r.Latency.P999, t.p999}, {"the longest", r.Latency.Max, t.max},
	} {
		if most := float64(limit.limit) / float64(time.Millisecond); limit.limit > 0 && limit.got > most {
			missed("%s of the latency is %.3f ms; at most %.3f ms are allowed", limit.name, limit.got, most)
		}
	}
	if failures := r.Wrong + r.Dropped; t.maxFailures >= 0 && failures > t.maxFailures {
		missed("%d requests failed (%d wrong, %d dropped); at most %d are allowed", failures, r.Wrong, r.Dropped, t.maxFailures)
	}
	if r.Due == 0 {
		missed("no request was due; a rate and a duration that make at least one are needed")
	}
	if share := r.RightRate / r.Rate; share < t.minRate {
		missed("%.1f right answers a second are %.4f of the rate of %.1f; at least %.4f is required", r.RightRate, share, r.Rate, t.minRate)
	}
	if t.minResumed > 0 {
		share := float64(r.Connections.Resumed) / float64(max(r.Connections.Offered, 1))
		if share < t.minResumed {
			missed("%d of %d handshakes that showed a ticket were resumed, %.4f; at least %.4f is required",
				r.Connections.Resumed, r.Connections.Offered, share, t.minResumed)
		}
	}
	if r.Connections.Identities < t.minIdentities {
		missed("%d identities had a connection; at least %d are required", r.Connections.Identities, t.minIdentities)
	}
	if r.Slow != nil && t.maxSlowLife > 0 {
		if most := float64(t.maxSlowLife) / float64(time.Millisecond); r.Slow.Longest > most {
			missed("a slow connection lived for %.0f ms; at most %.0f ms are allowed", r.Slow.Longest, most)
		}
		if r.Slow.Opened == 0 {
			missed("no slow connection could be opened")
		}
	}
	if r.Interrupted {
		missed("the run was interrupted")
	}
}

// text writes the report for people, laid out as vegeta's.
func (r *result) text(w io.Writer) error {
	var b strings.Builder
	line := func(what, of string, values ...any) {
		var list []string
		for _, v := range values {
			if f, ok := v.(float64); ok {
				v = fmt.Sprintf("%.2f", f)
			}
			list = append(list, fmt.Sprint(v))
		}
		fmt.Fprintf(&b, "%-13s %-36s %s\n", what, of, strings.Join(list, ", "))
	}
	ms := func(v float64) string {
		return time.Duration(v * float64(time.Millisecond)).Round(time.Microsecond).String()
	}
	of := func(p percentiles) []any {
		return []any{ms(p.Min), ms(p.Mean), ms(p.P50), ms(p.P90), ms(p.P95), ms(p.P99), ms(p.P999), ms(p.Max)}
	}
	const latency = "[min, mean, 50, 90, 95, 99, 99.9, max]"
	if r.Name != "" {
		fmt.Fprintf(&b, "%s\n", r.Name)
	}
	line("Requests", "[due, asked rate, right rate]", r.Due, r.Rate, r.RightRate)
	line("Latencies", latency, of(r.Latency)...)
	line("Service", latency, of(r.Service)...)
	if r.Handshake.Count > 0 {
		line("Handshakes", latency, of(r.Handshake)...)
	}
	line("Bytes", "[in, out]", r.BytesIn, r.BytesOut)
	line("Outcomes", "[right, wrong, dropped, retried]", r.Right, r.Wrong, r.Dropped, r.Retried)
	c := r.Connections
	line("Connections", "[opened, failed, resumed, with ticket]", c.Opened, c.Failed, c.Resumed, c.Offered)
	if r.Unresumed != "" {
		fmt.Fprintf(&b, "no session was resumed: %s\n", r.Unresumed)
	}
	line("Identities", "[used, certificates of servers]", c.Identities, c.Chains)
	line("Status codes", "[code:count]", counted(r.Statuses)...)
	if r.Slow != nil {
		line("Slow ones", "[open, opened, closed by server, longest]", r.Slow.Connections, r.Slow.Opened, r.Slow.Closed, ms(r.Slow.Longest))
	}
	line("Driver", "[CPU share, µs/request, late 99, late max]",
		fmt.Sprintf("%.0f%% of %d cores", 100*r.Driver.CPUShare, r.Driver.Cores), fmt.Sprintf("%.1f", r.Driver.MicrosPerReq), ms(r.Driver.Late.P99), ms(r.Driver.Late.Max))
	if r.Driver.Behind {
		fmt.Fprintf(&b, "The driver itself fell behind: one request in a hundred was begun more than %s late. The latencies contain that.\n", ms(r.Driver.Late.P99))
	}
	if len(r.Wrongs) > 0 {
		b.WriteString("Wrong:\n")
		for _, why := range counted(r.Wrongs) {
			fmt.Fprintf(&b, "  %s\n", why)
		}
	}
	for _, missed := range r.Missed {
		fmt.Fprintf(&b, "MISSED: %s\n", missed)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// counted lists counts, the greatest first.
func counted(m map[string]int64) []any {
	var all []any
	for _, key := range slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) }) {
		all = append(all, fmt.Sprintf("%s:%d", key, m[key]))
	}
	return all
}

// writeJSON writes r to a file.
func (r *result) writeJSON(file string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// writeHGRM writes the percentiles of l in milliseconds, in the form that plotters
// of HdrHistogram read.
func (l *latencies) writeHGRM(file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	l.mu.Lock()
	defer l.mu.Unlock()
	return printPercentiles(f, l.hist)
}

func printPercentiles(w io.Writer, h *hdrhistogram.Histogram) error {
	_, err := h.PercentilesPrint(w, 5, 1000)
	return err
}

// writeTimeline writes what became of the arrivals of every tick, as CSV.
func (a *attack) writeTimeline(file string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b strings.Builder
	b.WriteString("seconds,right,wrong,dropped,longest_ms\n")
	for i, m := range a.timeline {
		if i == len(a.timeline)-1 && m == (moment{}) {
			break // the schedule ended with a whole tick
		}
		fmt.Fprintf(&b, "%.1f,%d,%d,%d,%.3f\n", (time.Duration(i) * tick).Seconds(), m.right, m.wrong, m.dropped,
			float64(m.longest)/float64(time.Millisecond))
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}
