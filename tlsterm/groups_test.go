package tlsterm

import (
	"crypto/tls"
	"testing"
)

func TestGroupsAreNamedAsIANADoes(t *testing.T) {
	t.Parallel()
	// The code points are those of the registry "TLS Supported Groups".
	for name, id := range map[string]tls.CurveID{
		"secp256r1": 23, "secp384r1": 24, "x25519": 29,
		"SecP256r1MLKEM768": 4587, "X25519MLKEM768": 4588, "SecP384r1MLKEM1024": 4589,
	} {
		if got, ok := Group(name); got != id || !ok {
			t.Errorf("Group(%q) = %d, %v, want %d", name, got, ok, id)
		}
		if got := GroupName(id); got != name {
			t.Errorf("GroupName(%d) = %q, want %q", id, got, name)
		}
	}
	for _, id := range DefaultCurves() {
		if got, ok := Group(GroupName(id)); got != id || !ok {
			t.Errorf("the default %v has no name", id)
		}
	}
	if got, ok := Group("X25519"); ok {
		t.Errorf("Group(X25519) = %v, want none", got)
	}
	if got := GroupName(tls.CurveP521); got != tls.CurveP521.String() {
		t.Errorf("GroupName(CurveP521) = %q", got)
	}
}
