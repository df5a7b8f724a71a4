package report

import "strings"

// targetsOf returns what became of every target at every point that was measured.
// ok is false if there are no targets.
func targetsOf(run *Run) (t table, ok bool) {
	t = table{Caption: "What the first subject is held to", Head: []string{"scenario", "point", "figure", "against", "bound", "measured", "verdict"}, Text: 4}
	for _, o := range allOutcomes(run) {
		t.Rows = append(t.Rows, []string{o.target.Scenario, o.point, header(o.target.Figure), o.target.Peer, o.bound(), o.measured(), o.verdict()})
	}
	return t, len(run.Targets) > 0
}

// Verdicts are the targets of run that were measured, a line each, for who has no report
// before them.
func Verdicts(run *Run) []string {
	var lines []string
	for _, o := range allOutcomes(run) {
		if len(o.value) == 0 {
			continue
		}
		what, measured := strings.Join(nonEmpty(o.target.Scenario, o.point, header(o.target.Figure)), ", "), o.measured()
		if o.target.Peer != "" {
			measured += " × " + o.target.Peer
		}
		lines = append(lines, what+": "+measured+", wanted "+o.bound()+": "+o.verdict())
	}
	return lines
}

// allOutcomes are those of all targets, in their order: at every point that was measured,
// or one without a value.
func allOutcomes(run *Run) (all []outcome) {
	measured := scenarios(run)
	for _, target := range run.Targets {
		before := len(all)
		for _, s := range measured {
			for _, p := range s.points {
				if target.Scenario == s.name && selects(target.Point, p.labels) {
					all = append(all, outcomeOf(run, p, target))
				}
			}
		}
		if len(all) == before {
			all = append(all, outcome{target: target, point: (&point{labels: target.Point}).name()})
		}
	}
	return all
}

// outcome is what became of a target at one point.
type outcome struct {
	target Target
	point  string // its name
	value  sample // the ratio, or the figure itself; empty if it was not measured
}

// measured is the value in words, "" if there is none.
func (o outcome) measured() string {
	if o.target.Peer == "" && len(o.value) > 0 {
		return Format(o.target.Figure, o.value.median())
	}
	return ratioOf(o.value)
}

// bound is the target in words: "≤ 0.25", and of what if there is no peer.
func (o outcome) bound() string {
	var parts []string
	show := number
	if o.target.Peer == "" {
		show = func(v float64) string { return Format(o.target.Figure, v) }
	}
	if o.target.AtMost != 0 {
		parts = append(parts, "≤ "+show(o.target.AtMost))
	}
	if o.target.AtLeast != 0 {
		parts = append(parts, "≥ "+show(o.target.AtLeast))
	}
	return strings.Join(parts, ", ")
}

func (o outcome) holds(v float64) bool {
	return (o.target.AtMost == 0 || v <= o.target.AtMost) && (o.target.AtLeast == 0 || v >= o.target.AtLeast)
}

// verdict is "met" or "missed", and says so if rounds disagree or if there was one alone.
func (o outcome) verdict() string {
	if len(o.value) == 0 {
		return "not measured"
	}
	verdict := "missed"
	if o.holds(o.value.median()) {
		verdict = "met"
	}
	switch {
	case len(o.value) == 1:
		verdict += " in one round"
	case o.holds(o.value.lowest()) != o.holds(o.value.highest()):
		verdict += " by the median"
	}
	return verdict
}

// outcomes returns the targets of a figure at p: against peer, or, if it is "", for
// the first subject alone.
func outcomes(run *Run, s *scenario, p *point, figure, peer string) []outcome {
	var found []outcome
	for _, t := range run.Targets {
		if t.Scenario != s.name || t.Figure != figure || t.Peer != peer || !selects(t.Point, p.labels) {
			continue
		}
		found = append(found, outcomeOf(run, p, t))
	}
	return found
}

func outcomeOf(run *Run, p *point, t Target) outcome {
	o := outcome{target: t, point: p.name()}
	own := p.cell(firstName(run))
	if own == nil {
		return o
	}
	o.value = own.figure(t.Figure)
	if t.Peer == "" {
		return o
	}
	other := p.cell(t.Peer)
	if other == nil {
		o.value = nil
		return o
	}
	o.value = o.value.over(other.figure(t.Figure))
	return o
}

func selects(wanted, labels map[string]string) bool {
	for name, value := range wanted {
		if labels[name] != value {
			return false
		}
	}
	return true
}
