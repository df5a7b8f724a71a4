package promtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The compose stack cannot run here, but its script can make the certificates,
// and the gateway can say whether its configuration works with them.
func TestComposeConfigurationWorksWithItsCertificates(t *testing.T) {
	t.Parallel()
	gateway, err := built()
	if err != nil {
		t.Fatal(err)
	}
	pki := t.TempDir()
	local := func(name string) string {
		data, err := os.ReadFile(filepath.Join(deployed, "compose", name))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(data), "/pki", pki)), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	script := local("pki.sh")
	for range 2 { // as at a second start, with the volume of the first
		making := exec.CommandContext(t.Context(), "sh", script)
		making.Env = append(os.Environ(), "PATH="+filepath.Dir(gateway)+string(filepath.ListSeparator)+os.Getenv("PATH"))
		if out, err := making.CombinedOutput(); err != nil {
			t.Fatalf("compose/pki.sh: %v\n%s", err, out)
		}
	}
	if out, err := exec.CommandContext(t.Context(), gateway, "check", local("gateway.yaml")).CombinedOutput(); err != nil {
		t.Errorf("gateway check compose/gateway.yaml: %v\n%s", err, out)
	}
}
