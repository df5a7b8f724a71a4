package report

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// WideSpread is the spread above which a figure is not to be believed without a
// second look: differences that this project cares for are not larger.
const WideSpread = 0.10

// sample is a figure in each round.
type sample []roundValue

type roundValue struct {
	round int
	value float64
}

// quantile interpolates linearly between the rounds in order of size.
func (s sample) quantile(q float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.SortedFunc(slices.Values(s), func(a, b roundValue) int { return cmp.Compare(a.value, b.value) })
	at := q * float64(len(sorted)-1)
	below := int(at)
	above := min(below+1, len(sorted)-1)
	return sorted[below].value + (at-float64(below))*(sorted[above].value-sorted[below].value)
}

func (s sample) median() float64  { return s.quantile(0.5) }
func (s sample) lowest() float64  { return s.quantile(0) }
func (s sample) highest() float64 { return s.quantile(1) }

// spread is the interquartile range over the median. ok is false for less than two
// rounds, of which nothing can be said, and around zero.
func (s sample) spread() (spread float64, ok bool) {
	median := s.median()
	if len(s) < 2 || median == 0 {
		return 0, false
	}
	return (s.quantile(0.75) - s.quantile(0.25)) / math.Abs(median), true
}

func (s sample) wide() bool {
	spread, ok := s.spread()
	return ok && spread > WideSpread
}

// over divides two figures in the rounds that both have.
func (s sample) over(peer sample) sample {
	var ratios sample
	for _, own := range s {
		for _, other := range peer {
			if own.round == other.round && other.value != 0 {
				ratios = append(ratios, roundValue{own.round, own.value / other.value})
				break
			}
		}
	}
	return ratios
}

// scenario is all that was measured under one name, by point.
type scenario struct {
	name   string
	points []*point
	// figures are those that any cell has: of the constants in their order, then
	// the Values by name.
	figures []string
	values  []string // of figures, those of Values
	axis    string   // what X counts; "" if the scenario is no curve
}

// point is what is compared with each other: the subjects under the same conditions.
type point struct {
	labels map[string]string
	x      float64
	cells  []*cell // in the order of subjects; those that were not measured are missing
}

// cell is one subject at one point, over all rounds.
type cell struct {
	subject Subject
	rounds  []Measurement
}

// curveFrom is the number of positions on the axis from which a plot shows a curve.
const curveFrom = 3

// scenarios groups the measurements of run. Scenarios and points come in the order
// in which they were measured first, points of curves by X.
func scenarios(run *Run) []*scenario {
	var all []*scenario
	for _, m := range run.Measurements {
		s := find(&all, func(s *scenario) bool { return s.name == m.Scenario }, func() *scenario { return &scenario{name: m.Scenario} })
		p := find(&s.points, func(p *point) bool { return p.x == m.X && maps.Equal(p.labels, m.Point) },
			func() *point { return &point{labels: m.Point, x: m.X} })
		c := find(&p.cells, func(c *cell) bool { return c.subject.Name == m.Subject },
			func() *cell { return &cell{subject: subjectOf(run, m.Subject)} })
		c.rounds = append(c.rounds, m)
	}
	for _, s := range all {
		for _, p := range s.points {
			slices.SortStableFunc(p.cells, func(a, b *cell) int {
				return cmp.Compare(position(run, a.subject.Name), position(run, b.subject.Name))
			})
		}
		s.figures, s.values = figuresOf(s)
		s.axis = axisOf(s)
		if s.axis != "" {
			slices.SortStableFunc(s.points, func(a, b *point) int {
				return cmp.Or(strings.Compare(a.rest(s.axis), b.rest(s.axis)), cmp.Compare(a.x, b.x))
			})
		}
	}
	return all
}

func find[T any](all *[]*T, is func(*T) bool, make func() *T) *T {
	if i := slices.IndexFunc(*all, is); i >= 0 {
		return (*all)[i]
	}
	*all = append(*all, make())
	return (*all)[len(*all)-1]
}

// position is where a subject stands among the columns; those that nobody declared
// come last.
func position(run *Run, name string) int {
	if i := slices.IndexFunc(run.Subjects, func(s Subject) bool { return s.Name == name }); i >= 0 {
		return i
	}
	return len(run.Subjects)
}

func subjectOf(run *Run, name string) Subject {
	if i := position(run, name); i < len(run.Subjects) {
		return run.Subjects[i]
	}
	return Subject{Name: name}
}

// axisOf names what varies along X: the label that has X as its value.
func axisOf(s *scenario) string {
	seen := map[float64]bool{}
	axis := ""
	for _, p := range s.points {
		seen[p.x] = true
		for _, name := range slices.Sorted(maps.Keys(p.labels)) {
			if v, err := strconv.ParseFloat(p.labels[name], 64); err == nil && v == p.x && p.x != 0 && axis == "" {
				axis = name
			}
		}
	}
	if len(seen) < 2 {
		return ""
	}
	return cmp.Or(axis, "x")
}

// name is the point in words, such as "clients 100, key P-256".
func (p *point) name() string { return p.rest("") }

// rest is the name without what the axis says.
func (p *point) rest(axis string) string {
	var parts []string
	for _, label := range slices.Sorted(maps.Keys(p.labels)) {
		if label != axis {
			parts = append(parts, strings.TrimSpace(label+" "+p.labels[label]))
		}
	}
	return strings.Join(parts, ", ")
}

func (p *point) cell(subject string) *cell {
	for _, c := range p.cells {
		if c.subject.Name == subject {
			return c
		}
	}
	return nil
}

// figure returns a figure in the rounds that have it.
func (c *cell) figure(name string) sample {
	var s sample
	for i := range c.rounds {
		if v, ok := c.rounds[i].figure(name); ok {
			s = append(s, roundValue{c.rounds[i].Round, v})
		}
	}
	return s
}

func (c *cell) totals() (operations, failures int64) {
	for _, m := range c.rounds {
		operations += m.Operations
		failures += m.Failures
	}
	return operations, failures
}

// figure returns a figure of m. CPU and wall time are divided by the operations that
// succeeded alone: failures are work too, but nothing that anybody wanted.
func (m *Measurement) figure(name string) (float64, bool) {
	switch name {
	case CPU:
		return m.CPU.Seconds() / float64(m.Operations), m.CPU > 0 && m.Operations > 0
	case Wall:
		return m.Wall.Seconds() / float64(m.Operations), m.Wall > 0 && m.Operations > 0
	case P50, P90, P99, Max:
		if m.Latency == nil {
			return 0, false
		}
		switch name {
		case P50:
			return m.Latency.P50.Seconds(), true
		case P90:
			return m.Latency.P90.Seconds(), m.Latency.tells(90)
		case P99:
			return m.Latency.P99.Seconds(), m.Latency.tells(99)
		}
		return m.Latency.Max.Seconds(), true
	}
	v, ok := m.Values[name]
	return v, ok
}

func figuresOf(s *scenario) (all, values []string) {
	seen := map[string]bool{}
	for _, p := range s.points {
		for _, c := range p.cells {
			for i := range c.rounds {
				for name := range c.rounds[i].Values {
					seen[name] = true
				}
				for _, name := range []string{CPU, Wall, P50, P90, P99, Max} {
					if _, ok := c.rounds[i].figure(name); ok {
						all = append(all, name)
					}
				}
			}
		}
	}
	order := []string{CPU, Wall, P50, P90, P99, Max}
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(slices.Index(order, a), slices.Index(order, b)) })
	values = slices.Sorted(maps.Keys(seen))
	return append(slices.Compact(all), values...), values
}
