package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// resultName is what the ledger calls the file with the figures of a run.
func resultName(run *Run) string {
	slug := strings.Join(strings.FieldsFunc(strings.ToLower(run.Commit+"-"+run.Title), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "-")
	return fmt.Sprintf("results/%s-%s.json", run.Started.UTC().Format(time.DateOnly), slug)
}

// LedgerRow returns the row of benchmarks/LEDGER.md for run, which says where the
// run.json is expected to be kept. What a row needs beside it, the sentence on why
// figures moved, no program can write.
//
// A row of its table is one figure of one scenario; points along the axis of a curve
// stand in one cell, in their order. It has CPU times, values that are times or
// memory, and whatever has a target: the rest is in the file.
func LedgerRow(run *Run) string {
	var b strings.Builder
	file := resultName(run)
	fmt.Fprintf(&b, "## %s · %s · %s\n\n", run.Started.UTC().Format(time.DateOnly), escape(run.Commit), escape(run.Title))
	fmt.Fprintf(&b, "%s, %d cores, kernel %s · %s · `%s` ·\n[%s](%s)\n\n", escape(run.Machine.CPU), run.Machine.Cores,
		escape(run.Machine.Kernel), escape(run.Machine.Go), strings.NewReplacer("`", "'", "\n", " ").Replace(run.Command), file, file)
	t := table{Head: []string{"what", firstName(run)}, Text: 1}
	for _, s := range run.Subjects[min(1, len(run.Subjects)):] {
		t.Head = append(t.Head, "÷ "+s.Name)
	}
	for _, s := range scenarios(run) {
		for _, figure := range s.figures {
			value := slices.Contains(s.values, figure)
			if figure == CPU || value && kindOf(figure) != plainNumber || run.judges(s.name, figure) {
				t.Rows = append(t.Rows, ledgerRows(run, s, figure)...)
			}
		}
	}
	t.markdown(&b)
	for _, w := range Warnings(run) {
		fmt.Fprintf(&b, "\n%s\n", escape(w))
	}
	return b.String()
}

func ledgerRows(run *Run, s *scenario, figure string) [][]string {
	var rows [][]string
	for i := 0; i < len(s.points); {
		// The points of one row: the same but for where they are on the axis.
		j := i + 1
		for j < len(s.points) && s.axis != "" && s.points[j].rest(s.axis) == s.points[i].rest(s.axis) {
			j++
		}
		var at []string
		columns := make([][]string, max(1, len(run.Subjects)))
		measured := false
		for _, p := range s.points[i:j] {
			at = append(at, number(p.x))
			for k := range columns {
				text := "–"
				if k < len(run.Subjects) {
					if c := p.cell(run.Subjects[k].Name); c != nil && len(c.figure(figure)) > 0 {
						measured = true
						of, ratio := figureAndRatio(run, s, p, c, figure)
						if text = of; ratio != "" {
							text = ratio + " (of " + of + ")"
						}
						if c.figure(figure).wide() {
							spread, _ := c.figure(figure).spread()
							text += " ± " + percent(spread)
						}
					}
				}
				columns[k] = append(columns[k], text)
			}
		}
		what := strings.Join(nonEmpty(s.name, s.points[i].rest(s.axis)), ", ") + " (" + header(figure) + ")"
		if s.axis != "" {
			what += ", " + s.axis + " " + strings.Join(at, " · ")
		}
		row := []string{what}
		for _, c := range columns {
			if slices.Equal(slices.Compact(slices.Clone(c)), []string{"–"}) {
				c = c[:1]
			}
			row = append(row, strings.Join(c, " · "))
		}
		if measured {
			rows = append(rows, row)
		}
		i = j
	}
	return rows
}
