package report

import "time"

// Run is everything that one run of a benchmark measured. It is what the JSON
// file holds; tables and plots are made from it.
type Run struct {
	Title        string        `json:"title"`
	Started      time.Time     `json:"started"`
	Commit       string        `json:"commit"` // "-dirty" behind it if the tree had changes
	Command      string        `json:"command"`
	Machine      Machine       `json:"machine"`
	Subjects     []Subject     `json:"subjects"` // in the order of columns; the first is Verigate
	Measurements []Measurement `json:"measurements"`
	Targets      []Target      `json:"targets,omitempty"`
	Notes        []string      `json:"notes,omitempty"` // what a reader must know to believe the rest
}

// Machine is what the run ran on.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Subject is one program that was measured.
type Subject struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Settings says in a sentence how it was set up, where that differs from others.
	Settings string `json:"settings,omitempty"`
}

// Measurement is one subject in one round of one scenario at one point.
type Measurement struct {
	Scenario string `json:"scenario"` // stable identifier, such as "handshake_cached"
	Subject  string `json:"subject"`  // of Run.Subjects
	Round    int    `json:"round"`    // from 1
	// Point is what was varied: "key" "P-256", "connections" 5000, …
	// Measurements of the same scenario and point are compared with each other.
	Point map[string]string `json:"point,omitempty"`
	// X is the position of the point on the axis of a curve; 0 if there is none.
	X float64 `json:"x,omitempty"`

	Operations int64         `json:"operations"` // that succeeded, and whose answer was right
	Failures   int64         `json:"failures"`   // all others
	Wall       time.Duration `json:"wall_ns"`
	// CPU is user and system time of all processes of the subject, by the kernel's
	// accounting, for the operations and the failures.
	CPU     time.Duration `json:"cpu_ns"`
	Latency *Latency      `json:"latency,omitempty"` // from when an operation was due
	// Values are figures of this scenario alone, by a name that ends in its unit,
	// such as "resident_bytes_per_connection" or "goodput_per_second".
	Values map[string]float64 `json:"values,omitempty"`
}

// Latency are percentiles of the time from when an operation was due, not from
// when it was begun: a generator that falls behind makes them worse, not better.
type Latency struct {
	P50 time.Duration `json:"p50_ns"`
	P90 time.Duration `json:"p90_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
	// Count is of how many operations. 0 is unknown.
	Count int64 `json:"count,omitempty"`
}

// tells reports whether there are enough operations for the percentile: with fewer, it
// would be the maximum by another name.
func (l *Latency) tells(percent float64) bool {
	return l.Count == 0 || float64(l.Count)*(100-percent) >= 100
}

// Target is a bound that a figure of the first subject is held to.
type Target struct {
	Scenario string `json:"scenario"`
	// Point selects the points that have all of these labels; every point if there
	// are none.
	Point map[string]string `json:"point,omitempty"`
	// Figure is one of the constants below, or the name of one of the Values.
	Figure string `json:"figure"`
	// Peer is the subject to whose figure the first subject's is compared, round by
	// round. If it is empty, the bound is for the figure itself, in its unit: seconds
	// for those of the constants.
	Peer string `json:"peer,omitempty"`
	// Bounds, of which 0 is none.
	AtMost  float64 `json:"at_most,omitempty"`
	AtLeast float64 `json:"at_least,omitempty"`
}

// Figures that every measurement can have, in seconds.
const (
	CPU  = "cpu"  // per operation
	Wall = "wall" // per operation
	P50  = "p50"
	P90  = "p90"
	P99  = "p99"
	Max  = "max"
)

// ForeignShare is the value that says how much of the subject's core others used while
// it was measured, and Standstill the one for how long nobody could use that core, at the
// longest: the machine below, or the kernel, had taken it away. Above TooForeign and TooStill the reader
// is warned.
const (
	ForeignShare = "foreign_share"
	TooForeign   = 0.05
	Standstill   = "standstill_seconds"
	TooStill     = 0.005
)

// Disturbed reports whether the figures of a measurement are those of others as well.
func (m Measurement) Disturbed() bool {
	return m.Values[ForeignShare] > TooForeign || m.Values[Standstill] > TooStill
}
