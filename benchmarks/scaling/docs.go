package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"verigate/benchmarks/report"
)

// Where the figures of the capacity model are kept, from the top of the repository.
const (
	capacityDocument = "docs/capacity.md"
	capacityRun      = "benchmarks/scaling/run.json"
)

// writeDocs puts the figures of run into docs/capacity.md, and run itself beside this
// program, so that what the document says can be traced and is tested.
func writeDocs(run *report.Run) error {
	data, err := json.MarshalIndent(run, "", "  ")
	if err != nil {
		return err
	}
	document, err := os.ReadFile(capacityDocument)
	if err != nil {
		return err
	}
	document, err = fill(document, run)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(capacityRun, append(data, '\n'), 0o644), os.WriteFile(capacityDocument, document, 0o644))
}

// fill writes what run says between the marks of document.
func fill(document []byte, run *report.Run) ([]byte, error) {
	m, err := modelOf(run)
	if err != nil {
		return nil, err
	}
	for _, section := range []struct{ name, text string }{
		{"coefficients", m.table(run)}, {"sizes", sizes(run)}, {"example", m.example()},
	} {
		begin, end := []byte("<!-- begin "+section.name+" -->\n"), []byte("<!-- end "+section.name+" -->")
		from, to := bytes.Index(document, begin), bytes.Index(document, end)
		if from < 0 || to < from {
			return nil, fmt.Errorf("%s has no marks around its %s", capacityDocument, section.name)
		}
		from += len(begin)
		document = slices.Concat(document[:from], []byte(section.text), document[to:])
	}
	return document, nil
}

// count writes a number with its digits in groups.
func count(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}

func micros(v float64) string    { return significant(1e6*v) + " µs" }
func mebibytes(v float64) string { return significant(v/(1<<20)) + " MiB" }
func kibibytes(v float64) string { return significant(v/1024) + " KiB" }
func octets(v float64) string    { return significant(v) + " octets" }
func gibibytes(v float64) string { return significant(v/(1<<30)) + " GiB" }

func duration(seconds float64) string {
	switch {
	case seconds < 995e-6:
		return significant(1e6*seconds) + " µs"
	case seconds < 0.0995:
		return significant(1e3*seconds) + " ms"
	case seconds < 99.5:
		return significant(seconds) + " s"
	}
	return significant(seconds/60) + " min"
}

// significant writes two significant digits: what a plan can bear. Larger numbers
// keep those before the point.
func significant(v float64) string {
	switch {
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 1:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

func (m model) table(run *report.Run) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, %d cores, kernel %s, %s, commit %s:\n`%s`, kept in [%s](../%s).\n\n",
		run.Machine.CPU, run.Machine.Cores, run.Machine.Kernel, run.Machine.Go, run.Commit, run.Command, capacityRun, capacityRun)
	for _, w := range report.Warnings(run) {
		fmt.Fprintf(&b, "> **%s**\n\n", w)
	}
	b.WriteString("| symbol | what | CPU time or memory | lowest–highest round | scenario |\n|---|---|---:|---:|---|\n")
	for _, symbol := range symbols {
		c := m[symbol]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", c.symbol, c.what, c.show(c.value), c.within(), c.source)
	}
	b.WriteString("\n")
	return b.String()
}

// sizes shows what the number of things does to everything else.
func sizes(run *report.Run) string {
	var b strings.Builder
	b.WriteString("\n| what | how many | CPU per operation | p99 | start | reload | resident at rest | peak, reload included |\n|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, c := range []struct{ scenario, what string }{
		{"certificates", "client certificates, full handshakes"}, {"trust_domains", "trust domains, full handshakes"}, {"routes", "routes, requests"},
		{"rules", "rules, requests"}, {"crl_entries", "CRL entries, full handshakes"}, {"connections", "idle connections, own leaves, requests beside them"},
		{"verdicts", "verdicts, look-ups"}, {"cores_handshake", "cores, full handshakes"}, {"cores_request", "cores, requests"},
	} {
		points := map[float64][]report.Measurement{}
		for _, m := range run.Measurements {
			if m.Scenario == c.scenario && m.Point["leaves"] != "shared" {
				points[m.X] = append(points[m.X], m)
			}
		}
		for _, x := range slices.Sorted(maps.Keys(points)) {
			of := func(show func(float64) string, figure func(report.Measurement) (float64, bool)) string {
				var all []float64
				for _, m := range points[x] {
					if v, ok := figure(m); ok {
						all = append(all, v)
					}
				}
				if all == nil {
					return ""
				}
				slices.Sort(all)
				return show(median(all))
			}
			value := func(name string) func(report.Measurement) (float64, bool) {
				return func(m report.Measurement) (float64, bool) { v, ok := m.Values[name]; return v, ok }
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", c.what, count(x),
				of(micros, func(m report.Measurement) (float64, bool) {
					return m.CPU.Seconds() / float64(max(1, m.Operations)), m.Operations > 0
				}),
				of(duration, func(m report.Measurement) (float64, bool) {
					if m.Latency == nil {
						return 0, false
					}
					return m.Latency.P99.Seconds(), true
				}),
				of(duration, value("start_seconds")), of(duration, value("reload_seconds")),
				of(mebibytes, value(residentBytes)), of(mebibytes, value("peak_resident_bytes")))
		}
	}
	b.WriteString("\n")
	return b.String()
}
