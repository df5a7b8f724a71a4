package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// kind is how a figure is to be written.
type kind int

const (
	plainNumber kind = iota
	inSeconds
	inBytes
)

// kindOf tells by the name: what is counted stands before "_per_", and ends in its
// unit.
func kindOf(figure string) kind {
	switch figure {
	case CPU, Wall, P50, P90, P99, Max:
		return inSeconds
	}
	counted, _, _ := strings.Cut(figure, "_per_")
	switch {
	case strings.HasSuffix(counted, "seconds"):
		return inSeconds
	case strings.HasSuffix(counted, "bytes"):
		return inBytes
	}
	return plainNumber
}

// Format writes a figure with its unit, which its name tells, to three significant digits.
func Format(figure string, v float64) string {
	switch kindOf(figure) {
	case inSeconds:
		return scaled(v, 1e3, "ns", 1e-9, "µs", 1e-6, "ms", 1e-3, "s", 1)
	case inBytes:
		return scaled(v, 1024, "B", 1, "KiB", 1024, "MiB", 1<<20, "GiB", 1<<30)
	}
	return number(v)
}

// scaled writes v in the largest unit in which it is at least one. pairs are units
// and their size, the smallest first.
func scaled(v, step float64, pairs ...any) string {
	if v == 0 {
		return "0"
	}
	unit, size := pairs[0].(string), sizeOf(pairs[1])
	for i := 2; i < len(pairs) && math.Abs(v) >= size*step*0.9995; i += 2 {
		unit, size = pairs[i].(string), sizeOf(pairs[i+1])
	}
	return number(v/size) + " " + unit
}

func sizeOf(v any) float64 {
	if i, ok := v.(int); ok {
		return float64(i)
	}
	return v.(float64)
}

// number writes v to three significant digits, and all digits before the point, in
// groups.
func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	if math.Abs(v) < 1000 {
		digits := strconv.FormatFloat(v, 'g', 3, 64)
		if f, err := strconv.ParseFloat(digits, 64); err == nil && math.Abs(f) < 1000 && (f == 0 || math.Abs(f) >= 1e-4) {
			return strconv.FormatFloat(f, 'f', -1, 64)
		}
		if math.Abs(v) < 1 {
			return digits
		}
	}
	digits := strconv.FormatFloat(math.Abs(v), 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	if v < 0 {
		digits = "-" + digits
	}
	return digits
}

func percent(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) }

// spreadOf says how far the rounds are apart.
func spreadOf(s sample) string {
	spread, ok := s.spread()
	switch {
	case len(s) == 0:
		return ""
	case len(s) == 1:
		return "one round"
	case !ok:
		return "–"
	case spread > WideSpread:
		return percent(spread) + " (wide)"
	}
	return percent(spread)
}

// header is the heading of a figure's column.
func header(figure string) string {
	switch figure {
	case CPU:
		return "CPU per operation"
	case Wall:
		return "wall per operation"
	case Max:
		return "max"
	}
	return strings.ReplaceAll(figure, "_", " ")
}

// ratioOf is a ratio with its range, "0.21 (0.2–0.22)", if rounds differ.
func ratioOf(s sample) string {
	if len(s) == 0 {
		return ""
	}
	median, low, high := number(s.median()), number(s.lowest()), number(s.highest())
	if low == high {
		return median
	}
	return fmt.Sprintf("%s (%s–%s)", median, low, high)
}
