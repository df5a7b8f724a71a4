package telemetry

import "testing"

func TestWhatIsMissingIsInTheRecord(t *testing.T) {
	t.Parallel()
	log := audited(t, nil, func(tel *Telemetry) { tel.Request(understated(t)); tel.Request(served(t)) })
	all := events(t, log, "request")
	if got, want := all[0]["missing"], "mial is 1, 3 required; governance is 0, 2 required"; got != want {
		t.Errorf("missing is %v, want %s", got, want)
	}
	if got, want := all[0]["findings"], "shared_key many_networks"; got != want {
		t.Errorf("findings are %v, want %s", got, want)
	}
	if all[1]["missing"] != nil || all[1]["findings"] != nil {
		t.Errorf("a request that was served has %v, want neither missing nor findings", all[1])
	}
}
