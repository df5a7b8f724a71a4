package report

import (
	"fmt"
	"slices"
	"strings"
)

// table is one table, in Markdown or in HTML.
type table struct {
	Caption string
	Head    []string
	Rows    [][]string
	// Text is how many columns from the left hold words, not figures.
	Text int
}

// tablesOf returns the table of times and, if there are any, the one of values.
func tablesOf(run *Run, s *scenario) []table {
	lead := leadOf(run, s)
	var tables []table
	if len(s.figures) > len(s.values) {
		tables = append(tables, timesOf(run, s, lead))
	}
	if len(s.values) > 0 {
		tables = append(tables, valuesOf(run, s, lead))
	}
	return tables
}

// lead are the columns on the left that say what a row is about: only those that
// tell rows apart.
type lead struct {
	axis            string
	points, subject bool
}

func leadOf(run *Run, s *scenario) lead {
	l := lead{axis: s.axis}
	for _, p := range s.points {
		for _, c := range p.cells {
			l.subject = l.subject || c.subject.Name != firstName(run)
		}
		l.points = l.points || p.rest(s.axis) != ""
	}
	return l
}

func (l lead) head() []string {
	var out []string
	if l.axis != "" {
		out = append(out, l.axis)
	}
	if l.points {
		out = append(out, "point")
	}
	if l.subject {
		out = append(out, "subject")
	}
	return out
}

func (l lead) cells(p *point, c *cell) []string {
	var out []string
	if l.axis != "" {
		out = append(out, number(p.x))
	}
	if l.points {
		out = append(out, p.rest(l.axis))
	}
	if l.subject {
		out = append(out, c.subject.Name)
	}
	return out
}

func timesOf(run *Run, s *scenario, l lead) table {
	t := table{Caption: s.name + ": times", Head: l.head(), Text: len(l.head())}
	ratios := l.subject && slices.Contains(s.figures, CPU)
	for _, figure := range s.figures[:len(s.figures)-len(s.values)] {
		t.Head = append(t.Head, header(figure))
		if figure == CPU {
			t.Head = append(t.Head, "spread")
		}
		if figure == CPU && ratios {
			t.Head = append(t.Head, firstName(run)+" ÷ it")
		}
	}
	t.Head = append(t.Head, "operations", "failures")
	for _, p := range s.points {
		for _, c := range p.cells {
			row := l.cells(p, c)
			for _, figure := range s.figures[:len(s.figures)-len(s.values)] {
				text, ratio := figureAndRatio(run, s, p, c, figure)
				if figure == CPU {
					row = append(row, text, spreadOf(c.figure(CPU)))
					if ratios {
						row = append(row, ratio)
					}
					continue
				}
				// A percentile has a ratio only where a target asks for it: a column for each would hide the rest.
				if run.judges(s.name, figure) && ratio != "" {
					text += " · " + ratio
				}
				if c.figure(figure).wide() && run.judges(s.name, figure) {
					text += " · spread " + spreadOf(c.figure(figure))
				}
				row = append(row, text)
			}
			operations, failures := c.totals()
			t.Rows = append(t.Rows, append(row, number(float64(operations)), number(float64(failures))))
		}
	}
	return t
}

func valuesOf(run *Run, s *scenario, l lead) table {
	t := table{Caption: s.name + ": values", Head: l.head(), Text: len(l.head())}
	for _, figure := range s.values {
		t.Head = append(t.Head, header(figure))
	}
	for _, p := range s.points {
		for _, c := range p.cells {
			row, some := l.cells(p, c), false
			for _, figure := range s.values {
				text, ratio := figureAndRatio(run, s, p, c, figure)
				some = some || text != ""
				if f := c.figure(figure); f.wide() {
					text += " ± " + spreadOf(f)
				}
				row = append(row, strings.Join(nonEmpty(text, ratio), " · "))
			}
			if some {
				t.Rows = append(t.Rows, row)
			}
		}
	}
	return t
}

// figureAndRatio returns a figure and, for a peer, how the first subject's compares
// with it, each with what became of its targets.
func figureAndRatio(run *Run, s *scenario, p *point, c *cell, figure string) (text, ratio string) {
	own := c.figure(figure)
	if len(own) == 0 {
		return "", ""
	}
	text = Format(figure, own.median())
	if c.subject.Name == firstName(run) {
		for _, o := range outcomes(run, s, p, figure, "") {
			text += fmt.Sprintf(", %s %s", o.bound(), o.verdict())
		}
		return text, ""
	}
	// What is neither time nor memory may be better when it is more: a ratio says
	// nothing without a target.
	if first := p.cell(firstName(run)); first != nil && (kindOf(figure) != plainNumber || run.judges(s.name, figure)) {
		ratio = ratioOf(first.figure(figure).over(own))
	}
	for _, o := range outcomes(run, s, p, figure, c.subject.Name) {
		ratio = strings.Join(nonEmpty(ratio, o.bound()+" "+o.verdict()), ", ")
	}
	return text, ratio
}

func firstName(run *Run) string {
	if len(run.Subjects) == 0 {
		return ""
	}
	return run.Subjects[0].Name
}

func nonEmpty(parts ...string) []string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}
