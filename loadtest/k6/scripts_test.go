package k6

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The scripts of the matrix read the variables that their README explains, and no
// others; what they import is there, but for k6's own.
func TestMatrixVariablesAreDocumented(t *testing.T) {
	t.Parallel()
	documented, used := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z][A-Z0-9_]*)` \\|").FindAllStringSubmatch(read(t, "matrix/README.md"), -1) {
		documented[m[1]] = true
	}
	scripts, err := filepath.Glob("matrix/*.js")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("scripts: %v, %v", scripts, err)
	}
	for _, script := range scripts {
		text := read(t, script)
		for _, m := range regexp.MustCompile(`__ENV\b(?:\.(\w+))?`).FindAllStringSubmatch(text, -1) {
			used[m[1]] = true
			if !documented[m[1]] {
				t.Errorf("%s reads __ENV.%s, which matrix/README.md does not explain", script, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`from '([^']+)'`).FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(m[1], "k6") {
				continue
			}
			if _, err := os.Stat(filepath.Join("matrix", m[1])); err != nil {
				t.Errorf("%s imports what does not exist: %v", script, err)
			}
		}
	}
	for name := range documented {
		if !used[name] {
			t.Errorf("matrix/README.md explains %s, which no script reads", name)
		}
	}
}

// A scenario without thresholds passes whatever happens.
func TestMatrixHasThresholds(t *testing.T) {
	t.Parallel()
	for script, wants := range map[string][]string{
		"matrix/matrix.js": {"checks: ['rate==1']", "http_reqs: ['count>0']", "http_req_failed: ['rate==0']", "dropped_iterations: ['count==0']",
			"mtls_refused = ['count==0']", "mtls_refused: ['count>0']", "mtls_handshakes: ['count==0']", "mtls_reused: ['rate==0']", "mtls_resumed: ['rate==0']"},
		"matrix/rotation.js": {"checks: ['rate==1']", "http_req_failed: ['rate==0']", "dropped_iterations: ['count==0']", "mtls_refused: ['count==0']",
			"rotations: ['count==1']", "mtls_server_certificates{scenario:full}"},
	} {
		text := read(t, script)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no threshold %s", script, want)
			}
		}
	}
}

// What run.sh plays exists, it sets nothing that no script reads, and it is a shell
// script.
func TestMatrixRun(t *testing.T) {
	t.Parallel()
	text := read(t, "matrix/run.sh")
	readme := read(t, "matrix/README.md")
	for _, m := range regexp.MustCompile(`\S+\.js\b`).FindAllString(text, -1) {
		if _, err := os.Stat(filepath.Join("matrix", m)); err != nil {
			t.Errorf("run.sh plays what does not exist: %v", err)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\s*export ([A-Z]+)$`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(readme, "| `"+m[1]+"` |") {
			t.Errorf("run.sh exports %s, which matrix/README.md does not explain", m[1])
		}
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-n", "matrix/run.sh").CombinedOutput(); err != nil {
		t.Errorf("sh -n matrix/run.sh: %v\n%s", err, out)
	}
}

// k6 is in a module of its own: in this one it would be a dependency of the gateway.
func TestTheExtensionIsAModuleOfItsOwn(t *testing.T) {
	t.Parallel()
	if text := read(t, "ext/go.mod"); !strings.HasPrefix(text, "module verigate/loadtest/k6/ext\n") {
		t.Errorf("ext/go.mod begins with %.60q", text)
	}
	if strings.Contains(read(t, "../../go.mod"), "go.k6.io") {
		t.Error("the gateway's go.mod requires k6")
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
