package telemetry

import (
	"fmt"
	"testing"

	"verigate/tlsterm"
)

func TestEveryResumptionIsCounted(t *testing.T) {
	t.Parallel()
	want := make(map[string]uint64)
	log := audited(t, nil, func(tel *Telemetry) {
		for i, r := range tlsterm.Resumptions() {
			for _, listener := range []string{"edge", "partners"} {
				for range i + 1 {
					h, e := accepted(t)
					h.Listener, h.Resumption = listener, r
					tel.handshake(h, e)
				}
			}
			want[r.String()] = 2 * uint64(i+1)
		}
		if got := tel.Resumptions(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("Resumptions() = %v, want %v", got, want)
		}
	})
	recorded := make(map[any]uint64)
	for _, r := range events(t, log, "handshake") {
		recorded[r["resumption"]]++
	}
	for name, n := range want {
		member := any(name)
		if name == tlsterm.NotAsked.String() {
			member = nil // nothing is said where nothing was asked
		}
		if recorded[member] != n {
			t.Errorf("%d records have resumption %v, want %d", recorded[member], member, n)
		}
	}
	if got, want := fmt.Sprint(start(t, nil).Resumptions()), "map[foreign:0 none:0 rejected:0 resumed:0 scope:0 too_old:0 unusable:0]"; got != want {
		t.Errorf("Resumptions() at the beginning = %s, want %s", got, want)
	}
}
