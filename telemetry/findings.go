package telemetry

import "verigate/assurance"

// Values of the finding label, and of the member of a record.
const (
	findingSharedKey    = "shared_key"
	findingManyNetworks = "many_networks"
)

// Findings counts what was found against the credential of one connection on the
// named listener. Call it once for each finding that is new to the connection.
func (t *Telemetry) Findings(listener string, f assurance.Findings) {
	if f.SharedKey {
		t.meter.with(MetricFindings, listener, findingSharedKey).add(1)
	}
	if f.ManyNetworks {
		t.meter.with(MetricFindings, listener, findingManyNetworks).add(1)
	}
}
