package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxRate is more than any machine starts.
const maxRate = 1e6

// schedule says when arrivals are due: at a rate that goes linearly from one figure
// to another within a time. Arrivals never wait for each other.
type schedule struct {
	from, to float64 // arrivals per second
	duration time.Duration
}

// parseRate reads a rate: "500", or "100..1000" for one that grows or shrinks.
func parseRate(text string) (from, to float64, err error) {
	first, last, ramp := strings.Cut(text, "..")
	if !ramp {
		last = first
	}
	from, err1 := strconv.ParseFloat(first, 64)
	to, err2 := strconv.ParseFloat(last, 64)
	ok := func(r float64) bool { return r >= 0 && r <= maxRate }
	if err1 != nil || err2 != nil || !ok(from) || !ok(to) || from+to <= 0 {
		return 0, 0, fmt.Errorf("-rate %q: expected arrivals per second such as 500, or a ramp such as 100..1000", text)
	}
	return from, to, nil
}

// count is how many arrivals there are.
func (s schedule) count() int {
	return int((s.from + s.to) / 2 * s.duration.Seconds())
}

// at returns when arrival i is due, from the beginning. It is the time at which
// the area under the rate is i.
func (s schedule) at(i int) time.Duration {
	n := float64(i)
	slope := (s.to - s.from) / s.duration.Seconds()
	// The solution of slope/2 t² + from t = n that does not divide by the slope, which
	// may be nothing.
	t := 2 * n / (s.from + math.Sqrt(max(0, s.from*s.from+2*slope*n)))
	if n == 0 {
		t = 0
	}
	return time.Duration(t * float64(time.Second))
}

// rate is the mean number of arrivals per second.
func (s schedule) rate() float64 { return (s.from + s.to) / 2 }
