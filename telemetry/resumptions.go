package telemetry

import "verigate/tlsterm"

// Resumptions returns how many handshakes there were by what became of the session
// that the client wanted to resume, over all listeners. The caller owns the map.
func (t *Telemetry) Resumptions() map[string]uint64 {
	totals := make(map[string]uint64, len(tlsterm.Resumptions()))
	for _, r := range tlsterm.Resumptions() {
		totals[r.String()] = 0
	}
	for value, n := range t.meter.families[MetricResumptions].totals(LabelResumption) {
		totals[value] = n
	}
	return totals
}
