package report

import "math"

// axis maps values to coordinates, by their logarithm if they span orders of
// magnitude. What has no logarithm stands at the beginning, apart from the rest.
type axis struct {
	low, high float64 // values at the ends
	from, to  float64 // coordinates
	log       bool
	zero      bool // there are values that have no logarithm
}

const zeroGap = 26.0

func newAxis(values []float64, from, to float64, log bool) axis {
	a := axis{from: from, to: to, log: log, low: math.Inf(1), high: math.Inf(-1)}
	for _, v := range values {
		if log && v <= 0 {
			a.zero = true
			continue
		}
		a.low, a.high = min(a.low, v), max(a.high, v)
	}
	if a.low > a.high {
		a.low, a.high = 1, 1
	}
	if !log {
		a.low = min(0, a.low)
	}
	if a.low == a.high {
		a.high = a.low + 1
		if log {
			a.high = a.low * 10
		}
	}
	return a
}

func (a axis) at(v float64) float64 {
	from := a.from
	if a.zero {
		if v <= 0 {
			return round1(from)
		}
		from += math.Copysign(zeroGap, a.to-a.from)
	}
	share := (v - a.low) / (a.high - a.low)
	if a.log {
		share = math.Log(v/a.low) / math.Log(a.high/a.low)
	}
	return round1(from + share*(a.to-from))
}

func (a axis) ticks(figure string) []float64 {
	if !a.log {
		return linearTicks(figure, a.high)
	}
	var ticks []float64
	if a.zero {
		ticks = append(ticks, 0)
	}
	first, last := int(math.Ceil(math.Log10(a.low)-1e-9)), int(math.Floor(math.Log10(a.high)+1e-9))
	if last-first < 1 { // less than a decade: its ends say more than one power of ten
		return append(ticks, a.low, a.high)
	}
	stride := (last-first)/7 + 1
	for e := first; e <= last; e += stride {
		ticks = append(ticks, math.Pow(10, float64(e)))
	}
	return ticks
}

// positiveSpan is how many times the smallest positive value fits into the largest.
func positiveSpan(values []float64) float64 {
	low, high := math.Inf(1), 0.0
	for _, v := range values {
		if v > 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	if high == 0 {
		return 1
	}
	return high / low
}

// linearTicks returns about four numbers from 0 to highest that are round in the unit
// that the figure is written in.
func linearTicks(figure string, highest float64) []float64 {
	unit := 1.0
	for kindOf(figure) == inBytes && highest >= 1024*unit {
		unit *= 1024
	}
	highest /= unit
	step := math.Pow(10, math.Floor(math.Log10(highest/2)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if highest/(step*factor) <= 3.5 {
			step *= factor
			break
		}
	}
	var ticks []float64
	for i := 0; float64(i)*step <= highest*1.0001; i++ {
		ticks = append(ticks, float64(i)*step*unit)
	}
	return ticks
}
