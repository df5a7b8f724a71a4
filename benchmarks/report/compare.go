package report

import (
	"fmt"
	"strconv"
	"strings"
)

// Compare shows what changed from one run to another: every figure that both have,
// and the second over the first. Rounds of different runs are no pairs, so there is
// no range of the ratio; within the spread of either it means nothing.
func Compare(before, after *Run) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nbefore: %s\n\nafter: %s\n\n", escape(after.Title), escape(before.origin()), escape(after.origin()))
	t := table{Head: []string{"scenario", "point", "subject", "figure", "before", "spread", "after", "spread", "after ÷ before"}, Text: 4}
	earlier := map[string]*cell{}
	for _, s := range scenarios(before) {
		for _, p := range s.points {
			for _, c := range p.cells {
				earlier[cellKey(s, p, c)] = c
			}
		}
	}
	for _, s := range scenarios(after) {
		for _, p := range s.points {
			for _, c := range p.cells {
				old := earlier[cellKey(s, p, c)]
				if old == nil {
					continue
				}
				for _, figure := range s.figures {
					was, is := old.figure(figure), c.figure(figure)
					if len(was) == 0 || len(is) == 0 {
						continue
					}
					ratio := "–"
					if was.median() != 0 {
						ratio = number(is.median() / was.median())
					}
					t.Rows = append(t.Rows, []string{s.name, p.name(), c.subject.Name, header(figure),
						Format(figure, was.median()), spreadOf(was), Format(figure, is.median()), spreadOf(is), ratio})
				}
			}
		}
	}
	t.markdown(&b)
	return b.String()
}

func cellKey(s *scenario, p *point, c *cell) string {
	return strings.Join([]string{s.name, p.name(), strconv.FormatFloat(p.x, 'g', -1, 64), c.subject.Name}, "\x00")
}
