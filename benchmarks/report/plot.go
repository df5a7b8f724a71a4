package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// plot is one drawing. Coordinates are in the units of its viewBox, and complete:
// the template only writes them down.
type plot struct {
	Title, Description string
	Width, Height      int
	Lines              []line // of axes and grid, below the data
	Texts              []text
	Bars               []bar
	Series             []series
}

type line struct {
	Class          string
	X1, Y1, X2, Y2 float64
}

type text struct {
	Class, Anchor string
	X, Y          float64
	Text          string
}

// bar is one subject's figure, from the left, with a whisker from the lowest to the
// highest round.
type bar struct {
	Class               string
	X, Y, Width, Height float64
	Whisker             []line
	Tip                 string
}

// series is a curve with its marks.
type series struct {
	Class  string
	Points string // as of polyline
	Marks  []mark
	Bands  []line // from the lowest to the highest round at each mark
}

type mark struct {
	Shape string // of the template's
	X, Y  float64
	Tip   string
}

// colours and shapes that the template has, used in turn.
const (
	colours = 6
	shapes  = 4
)

func classOf(i int) string { return fmt.Sprintf("s%d", i%colours) }

// plotsOf draws every figure of s but wall time, which says little beside CPU time:
// curves where there is an axis, otherwise bars for each point.
func plotsOf(run *Run, s *scenario) []plot {
	var plots []plot
	for _, figure := range s.figures {
		if figure == Wall || figure == P90 || figure == Max {
			continue
		}
		if s.positions() >= curveFrom {
			if p, ok := curves(run, s, figure); ok {
				plots = append(plots, p)
			}
			continue
		}
		if kindOf(figure) == plainNumber && !run.judges(s.name, figure) {
			continue // the table has it
		}
		for _, at := range s.points {
			if p, ok := bars(run, s, at, figure); ok {
				plots = append(plots, p)
			}
		}
	}
	return plots
}

// positions counts the places on the axis.
func (s *scenario) positions() int {
	seen := map[float64]bool{}
	for _, p := range s.points {
		seen[p.x] = true
	}
	return len(seen)
}

// round1 keeps coordinates short.
func round1(v float64) float64 { return math.Round(v*10) / 10 }

// bars draws the subjects at one point below each other. One subject alone needs no
// drawing.
func bars(run *Run, s *scenario, at *point, figure string) (plot, bool) {
	const left, right, top, step, thick = 112.0, 86.0, 12.0, 30.0, 16.0
	type entry struct {
		cell *cell
		f    sample
	}
	var entries []entry
	highest := 0.0
	for _, c := range at.cells {
		if f := c.figure(figure); len(f) > 0 {
			entries = append(entries, entry{c, f})
			highest = max(highest, f.highest())
		}
	}
	if len(entries) < 2 || highest <= 0 {
		return plot{}, false
	}
	p := plot{Title: strings.Join(nonEmpty(s.name, at.name(), header(figure)), ", "), Width: 460}
	bottom := top + step*float64(len(entries))
	p.Height = int(bottom) + 26
	ticks := linearTicks(figure, highest)
	end := max(highest, ticks[len(ticks)-1])
	x := func(v float64) float64 { return round1(left + v/end*(float64(p.Width)-left-right)) }
	for _, tick := range ticks {
		p.Lines = append(p.Lines, line{"grid", x(tick), top - 4, x(tick), bottom})
		p.Texts = append(p.Texts, text{"tick", "middle", x(tick), bottom + 16, Format(figure, tick)})
	}
	var words []string
	for i, e := range entries {
		y := top + step*float64(i)
		value := Format(figure, e.f.median())
		b := bar{Class: classOf(position(run, e.cell.subject.Name)), X: left, Y: y, Height: thick,
			Width: round1(max(1, x(max(0, e.f.median()))-left)), Tip: e.cell.subject.Name + ": " + value}
		end := x(e.f.median())
		if len(e.f) > 1 {
			low, high, middle := x(max(0, e.f.lowest())), x(e.f.highest()), y+thick/2
			b.Whisker = []line{{"whisker", low, middle, high, middle}, {"whisker", low, middle - 4, low, middle + 4}, {"whisker", high, middle - 4, high, middle + 4}}
			b.Tip += fmt.Sprintf(", from %s to %s in %d rounds", Format(figure, e.f.lowest()), Format(figure, e.f.highest()), len(e.f))
			end = high
		}
		p.Bars = append(p.Bars, b)
		words = append(words, b.Tip)
		p.Texts = append(p.Texts, text{"name", "end", left - 8, y + thick/2 + 4, shorten(e.cell.subject.Name, 16)},
			text{"value", "start", end + 7, y + thick/2 + 4, value})
	}
	p.Description = strings.Join(words, ". ") + "."
	return p, true
}

// shorten keeps names from leaving the drawing; the whole name is in the table.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// curves draws a figure along the axis, one series for each subject and rest of the
// point.
func curves(run *Run, s *scenario, figure string) (plot, bool) {
	const left, right, top, bottom, height = 72.0, 20.0, 14.0, 190.0, 236
	type entry struct {
		name string
		i    int
		x    []float64
		f    []sample
	}
	var entries []*entry
	var xs, ys []float64
	for _, p := range s.points {
		for _, c := range p.cells {
			f := c.figure(figure)
			if len(f) == 0 {
				continue
			}
			name := strings.Join(nonEmpty(p.rest(s.axis), c.subject.Name), ", ")
			if len(run.Subjects) == 1 {
				name = p.rest(s.axis)
			}
			e := find(&entries, func(e *entry) bool { return e.name == name }, func() *entry { return &entry{name: name, i: len(entries)} })
			e.x, e.f = append(e.x, p.x), append(e.f, f)
			xs, ys = append(xs, p.x), append(ys, f.lowest(), f.highest())
		}
	}
	if len(slices.Compact(slices.Sorted(slices.Values(xs)))) < 2 {
		return plot{}, false
	}
	p := plot{Title: s.name + ", " + header(figure) + " by " + s.axis, Width: 460, Height: height}
	horizontal := newAxis(xs, left, float64(p.Width)-right, positiveSpan(xs) >= 20)
	vertical := newAxis(ys, bottom, top, slices.Min(ys) > 0 && positiveSpan(ys) >= 50)
	for _, tick := range vertical.ticks(figure) {
		y := vertical.at(tick)
		p.Lines = append(p.Lines, line{"grid", left, y, float64(p.Width) - right, y})
		p.Texts = append(p.Texts, text{"tick", "end", left - 8, y + 4, Format(figure, tick)})
	}
	for _, tick := range horizontal.ticks(s.axis) {
		x := horizontal.at(tick)
		p.Lines = append(p.Lines, line{"grid", x, top, x, bottom})
		p.Texts = append(p.Texts, text{"tick", "middle", x, bottom + 16, number(tick)})
	}
	kind := ""
	if horizontal.log {
		kind = " (logarithmic)"
	}
	p.Texts = append(p.Texts, text{"name", "middle", (left + float64(p.Width) - right) / 2, bottom + 36, s.axis + kind})
	var words []string
	for _, e := range entries {
		curve := series{Class: classOf(e.i)}
		var at, said []string
		for i, x := range e.x {
			px, py := horizontal.at(x), vertical.at(e.f[i].median())
			at = append(at, fmt.Sprintf("%g,%g", px, py))
			tip := strings.Join(nonEmpty(e.name, s.axis+" "+number(x)), ", ") + ": " + Format(figure, e.f[i].median())
			said = append(said, number(x)+": "+Format(figure, e.f[i].median()))
			curve.Marks = append(curve.Marks, mark{fmt.Sprintf("m%d", e.i%shapes), px, py, tip})
			if len(e.f[i]) > 1 {
				curve.Bands = append(curve.Bands, line{"whisker", px, vertical.at(e.f[i].lowest()), px, vertical.at(e.f[i].highest())})
			}
		}
		curve.Points = strings.Join(at, " ")
		p.Series = append(p.Series, curve)
		words = append(words, strings.Join(nonEmpty(e.name, strings.Join(said, ", ")), ": "))
		if len(entries) > 1 {
			y := float64(p.Height) + 4
			p.Height += 18
			p.Series[len(p.Series)-1].Marks = append(curve.Marks, mark{fmt.Sprintf("m%d", e.i%shapes), left, y - 4, e.name})
			p.Texts = append(p.Texts, text{"name", "start", left + 12, y, cmp.Or(e.name, s.name)})
		}
	}
	p.Description = strings.Join(words, ". ") + "."
	return p, true
}
