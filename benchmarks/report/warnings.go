package report

import (
	"fmt"
	"slices"
	"strings"
)

// Warnings are what a reader must know before the figures: that the machine was not
// quiet, that there was one round only, that operations failed, that the tree had
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

func (r *Run) judges(scenario, figure string) bool {
	return slices.ContainsFunc(r.Targets, func(t Target) bool { return t.Scenario == scenario && t.Figure == figure })
}
