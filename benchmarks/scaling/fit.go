package main

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"verigate/benchmarks/report"
)

// leastSquares returns the line through the points for which the squares of the
// distances along y are smallest. With less than two different x there is none, and
// both are no numbers.
func leastSquares(x, y []float64) (slope, intercept float64) {
	var meanX, meanY, xx, xy float64
	for i := range x {
		meanX += x[i] / float64(len(x))
		meanY += y[i] / float64(len(y))
	}
	for i := range x {
		xx += (x[i] - meanX) * (x[i] - meanX)
		xy += (x[i] - meanX) * (y[i] - meanY)
	}
	if xx == 0 {
		return math.NaN(), math.NaN()
	}
	slope = xy / xx
	return slope, meanY - slope*meanX
}

// Names of values that this program reads again.
const (
	residentBytes  = "resident_bytes"
	slopeBytes     = "slope_bytes"
	interceptBytes = "intercept_bytes"
)

// fitted are the curves along which memory grows. The name of each is also what its
// axis is called.
var fitted = []string{"certificates", "verdicts", "trust_domains", "routes", "rules", "crl_entries", "connections"}

// fits adds the lines through the resident set of all that was measured, in place of
// those that there are: what one more costs, and what there is without any. Each
// round has its own, as have curves that differ in a label besides the axis.
func fits(run *report.Run) {
	run.Measurements = slices.DeleteFunc(run.Measurements, func(m report.Measurement) bool { return m.Scenario == fit })
	type key struct {
		rest  string
		round int
	}
	for _, scenario := range fitted {
		lines := map[key][]report.Measurement{}
		for _, m := range run.Measurements {
			if m.Scenario == scenario {
				k := key{restOf(m), m.Round}
				lines[k] = append(lines[k], m)
			}
		}
		for _, k := range slices.SortedFunc(maps.Keys(lines), func(a, b key) int {
			return cmp.Or(strings.Compare(a.rest, b.rest), a.round-b.round)
		}) {
			var x, y []float64
			for _, m := range lines[k] {
				if resident, ok := m.Values[residentBytes]; ok {
					x, y = append(x, m.X), append(y, resident)
				}
			}
			slope, intercept := leastSquares(x, y)
			if math.IsNaN(slope) {
				continue // a single point, or none in this round
			}
			run.Measurements = append(run.Measurements, report.Measurement{
				Scenario: fit, Subject: subject, Round: k.round, Point: map[string]string{"of": scenario + k.rest},
				Values: map[string]float64{slopeBytes: slope, interceptBytes: intercept},
			})
		}
	}
}

// restOf is the point of m without the axis.
func restOf(m report.Measurement) string {
	rest := ""
	for _, name := range slices.Sorted(maps.Keys(m.Point)) {
		if name != m.Scenario {
			rest += ", " + name + " " + m.Point[name]
		}
	}
	return rest
}
