package report

import (
	"fmt"
	"slices"
	"strings"
)

// Warnings are what a reader must know before the figures: that the machine was not
// quiet, that others used a subject's core or the machine took it away, that there was one
// round only, that operations failed, that the tree had changes. There are none for a good run.
func Warnings(run *Run) []string {
	var out []string
	wide, judged, single, failures := []string(nil), 0, 0, int64(0)
	var failing []string
	for _, s := range scenarios(run) {
		before := failures
		for _, p := range s.points {
			for _, c := range p.cells {
				_, failed := c.totals()
				failures += failed
				for _, figure := range s.figures {
					f := c.figure(figure)
					if len(f) == 0 || figure != CPU && !run.judges(s.name, figure) {
						continue
					}
					judged++
					if len(f) == 1 {
						single++
					}
					if f.wide() {
						wide = append(wide, strings.Join(nonEmpty(s.name, p.name(), c.subject.Name, header(figure)), ", ")+": "+spreadOf(f))
					}
				}
			}
		}
		if failures > before {
			failing = append(failing, s.name+" "+number(float64(failures-before)))
		}
	}
	if len(wide) > 0 {
		const named = 5
		text := fmt.Sprintf("The machine was not quiet: %d of %d figures have a spread of more than %s. Run it again before believing them. ",
			len(wide), judged, percent(WideSpread))
		if len(wide) > named {
			wide = append(wide[:named:named], "…")
		}
		out = append(out, text+strings.Join(wide, "; ")+".")
	}
	for _, text := range []string{
		beyond(run, ForeignShare, TooForeign, percent,
			"Others used the subject's core in %d of %d measurements, for more than %s of the time: median %s, worst %s (%s)."),
		beyond(run, Standstill, TooStill, func(v float64) string { return Format(Standstill, v) },
			"The subject's core stood still for everybody in %d of %d measurements, for more than %s at a time: median %s, worst %s (%s). "+
				"High percentiles there are the machine's or its kernel's."),
	} {
		if text != "" {
			out = append(out, text)
		}
	}
	if single > 0 {
		out = append(out, fmt.Sprintf("%d of %d figures come from a single round: nothing is known about their spread.", single, judged))
	}
	if failures > 0 {
		out = append(out, fmt.Sprintf("%s operations failed (%s); CPU time is divided by those that succeeded.",
			number(float64(failures)), strings.Join(failing, ", ")))
	}
	if strings.HasSuffix(run.Commit, "-dirty") {
		out = append(out, "The tree had changes that are in no commit.")
	}
	return out
}

// beyond says in how many measurements a value was too much, and how much, with the worst
// of each scenario; "" if in none.
func beyond(run *Run, value string, bound float64, written func(float64) string, text string) string {
	var disturbed sample
	read := 0
	worst := map[string]float64{}
	for i, m := range run.Measurements {
		v, ok := m.Values[value]
		if !ok {
			continue
		}
		read++
		if v > bound {
			disturbed = append(disturbed, roundValue{i, v})
			worst[m.Scenario] = max(worst[m.Scenario], v)
		}
	}
	if len(disturbed) == 0 {
		return ""
	}
	var parts []string
	for _, s := range scenarios(run) {
		if v, ok := worst[s.name]; ok {
			parts = append(parts, s.name+" "+written(v))
		}
	}
	return fmt.Sprintf(text, len(disturbed), read, written(bound), written(disturbed.median()), written(disturbed.highest()), strings.Join(parts, ", "))
}

func (r *Run) judges(scenario, figure string) bool {
	return slices.ContainsFunc(r.Targets, func(t Target) bool { return t.Scenario == scenario && t.Figure == figure })
}
