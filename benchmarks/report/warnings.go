package report

import (
	"fmt"
	"slices"
	"strings"
)

// Warnings are what a reader must know before the figures: that the machine was not
// quiet, that others used a subject's core, that there was one round only, that operations failed, that the tree had
// changes. There are none for a good run.
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
	if text := foreign(run); text != "" {
		out = append(out, text)
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

// foreign says how many measurements others disturbed, and how much, with the worst of
// each scenario; "" if none.
func foreign(run *Run) string {
	var disturbed sample
	read := 0
	worst := map[string]float64{}
	for i, m := range run.Measurements {
		share, ok := m.Values[ForeignShare]
		if !ok {
			continue
		}
		read++
		if share > TooForeign {
			disturbed = append(disturbed, roundValue{i, share})
			worst[m.Scenario] = max(worst[m.Scenario], share)
		}
	}
	if len(disturbed) == 0 {
		return ""
	}
	var parts []string
	for _, s := range scenarios(run) {
		if share, ok := worst[s.name]; ok {
			parts = append(parts, s.name+" "+percent(share))
		}
	}
	return fmt.Sprintf("Others used the subject's core in %d of %d measurements, for more than %s of the time: median %s, worst %s (%s).",
		len(disturbed), read, percent(TooForeign), percent(disturbed.median()), percent(disturbed.highest()), strings.Join(parts, ", "))
}

func (r *Run) judges(scenario, figure string) bool {
	return slices.ContainsFunc(r.Targets, func(t Target) bool { return t.Scenario == scenario && t.Figure == figure })
}
