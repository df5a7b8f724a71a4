// Package loadtest checks what it can of the load tests without running them:
// vegeta's script, and that scripts, programs and README speak of the same things.
package loadtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fakeVegeta stands for vegeta, which is not installed everywhere: it writes down
// how it was called, and reports the success that it is told to.
const fakeVegeta = `#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
"report -type=json"*) echo "{\"requests\":1,\"success\":$SUCCESS,\"status_codes\":{}}" ;;
esac
`

// vegeta runs run.sh with a fake vegeta and returns how that was called.
func vegeta(t *testing.T, scenario, success string, env ...string) (calls string, err error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vegeta"), []byte(fakeVegeta), 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "sh", "vegeta/run.sh", scenario)
	c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "CALLS="+filepath.Join(dir, "calls"), "SUCCESS="+success, "PKI="+dir)
	c.Env = append(c.Env, env...)
	out, err := c.CombinedOutput()
	data, _ := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		return string(out) + string(data), err
	}
	return strings.ReplaceAll(string(data), dir, "PKI"), nil
}

// TestVegetaScriptWithoutVegeta: it says what is missing once, not for each identity.
func TestVegetaScriptWithoutVegeta(t *testing.T) {
	t.Parallel()
	tools := t.TempDir() // what the script needs beside vegeta
	for _, name := range []string{"dirname", "mktemp", "rm"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(tools, name)); err != nil {
			t.Fatal(err)
		}
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), shell, "vegeta/run.sh", "resumed")
	c.Env = []string{"PATH=" + tools, "PKI=" + tools}
	out, err := c.CombinedOutput()
	if err == nil || !strings.HasPrefix(string(out), "run.sh: there is no vegeta") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("run.sh without vegeta: %v, %q; want one line that says so", err, out)
	}
}

func TestVegetaScript(t *testing.T) {
	t.Parallel()
	const common = " -http2=false -connect-to localhost:8443:127.0.0.1:8443 -root-certs PKI/root.pem"
	for _, tt := range []struct {
		scenario, success string
		env               []string
		want              []string
	}{
		{"keepalive", "1", nil, []string{
			"attack -name keepalive -targets keepalive.targets -rate 500/1s -duration 10s -keepalive=true" + common + " -cert PKI/clients/000/000000.pem -key PKI/clients/000/000000.key\n",
		}},
		{"handshake", "1", []string{"IDENTITIES=3", "RATE=30", "DURATION=2s"}, []string{
			"-rate 30/3s -duration 2s -keepalive=false" + common + " -cert PKI/clients/000/000000.pem",
			" -cert PKI/clients/000/000002.pem -key PKI/clients/000/000002.key\n",
		}},
		{"resumed", "1", []string{"ADDRESS=gw:1"}, []string{"-targets resumed.targets -rate 100/1s -duration 10s -keepalive=false -session-tickets -http2=false -connect-to localhost:8443:gw:1"}},
		{"handshake", "0", []string{"KIND=revoked"}, []string{"-cert PKI/revoked/000/000000.pem -key PKI/revoked/000/000000.key\n"}},
		{"handshake", "0", []string{"KIND=none"}, []string{"-root-certs PKI/root.pem\n"}},
	} {
		calls, err := vegeta(t, tt.scenario, tt.success, tt.env...)
		if err != nil {
			t.Errorf("run.sh %s with %q: %v\n%s", tt.scenario, tt.env, err, calls)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(calls, want) {
				t.Errorf("run.sh %s with %q calls vegeta so:\n%swant %q", tt.scenario, tt.env, calls, want)
			}
		}
	}
	for _, tt := range []struct {
		scenario, success string
		env               []string
		want              string
	}{
		{"keepalive", "0.99", nil, "the share of successes is 0.99; of valid clients it is 1"},
		{"handshake", "1", []string{"KIND=expired"}, "the share of successes is 1; of expired clients it is 0"},
		{"soak", "1", nil, "usage: run.sh keepalive|handshake|resumed"},
		{"keepalive", "1", []string{"KIND=odd"}, "KIND=odd: expected valid, expired"},
		{"keepalive", "1", []string{"IDENTITIES=1001"}, "IDENTITIES=1001"},
	} {
		if out, err := vegeta(t, tt.scenario, tt.success, tt.env...); err == nil || !strings.Contains(out, tt.want) {
			t.Errorf("run.sh %s with %q: %v, %q, want it to fail with %q", tt.scenario, tt.env, err, out, tt.want)
		}
	}
}

// Every scenario has its target file, and every target file its scenario.
func TestVegetaScenarios(t *testing.T) {
	t.Parallel()
	script := read(t, "vegeta/run.sh")
	files, err := filepath.Glob("vegeta/*.targets")
	if err != nil || len(files) != 3 {
		t.Fatalf("target files: %v, %v; want one for each way to connect", files, err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".targets"); !strings.Contains(script, "\n"+name+") ") {
			t.Errorf("run.sh does not know the scenario %s", name)
		}
	}
}

// The path that the scripts request is the one that the gateway of run forwards.
// The target files are held to it by the tests of the driver.
func TestScriptsAreForwarded(t *testing.T) {
	t.Parallel()
	path := regexp.MustCompile(`match: \{path: (\S+)\}`).FindStringSubmatch(read(t, "run/stage.go"))
	if path == nil || path[1] != "/1k" {
		t.Fatalf("run/stage.go forwards %q, want /1k", path)
	}
	for _, file := range []string{"k6/gateway.js", "k6/matrix/world.js"} {
		if !strings.Contains(read(t, file), path[1]) {
			t.Errorf("%s does not request %s, the only path that is forwarded", file, path[1])
		}
	}
}

var variableOfScript = regexp.MustCompile(`__ENV\b(?:\.(\w+))?`)

func TestVariablesAreDocumented(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z][A-Z0-9_]*)` \\|").FindAllStringSubmatch(readme, -1) {
		documented[m[1]] = true
	}
	scripts, err := filepath.Glob("k6/*.js")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("scripts: %v, %v", scripts, err)
	}
	used := map[string]bool{}
	for _, script := range scripts {
		text := read(t, script)
		for _, m := range variableOfScript.FindAllStringSubmatch(text, -1) {
			used[m[1]] = true
			if !documented[m[1]] {
				t.Errorf("%s reads __ENV.%s, which README.md does not explain", script, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`from '(\./[^']+)'`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("k6", m[1])); err != nil {
				t.Errorf("%s imports what does not exist: %v", script, err)
			}
		}
	}
	for name := range documented {
		if !used[name] {
			t.Errorf("README.md explains %s, which no script reads", name)
		}
	}
	matrix, err := filepath.Glob("k6/matrix/*.js")
	if err != nil || len(matrix) == 0 {
		t.Fatalf("scripts of the matrix: %v, %v", matrix, err)
	}
	for _, script := range matrix { // their own README explains theirs
		for _, m := range variableOfScript.FindAllStringSubmatch(read(t, script), -1) {
			used[m[1]] = true
		}
	}
	for _, m := range regexp.MustCompile(`"([A-Z][A-Z0-9_]*)=`).FindAllStringSubmatch(read(t, "run/k6.go"), -1) {
		if !used[m[1]] && m[1] != "SSL_CERT_FILE" && !strings.HasPrefix(m[1], "K6_") {
			t.Errorf("run sets %s, which no script reads", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\$\{?:?\s*"?([A-Z][A-Z_]*)`).FindAllStringSubmatch(read(t, "vegeta/run.sh"), -1) {
		if !strings.Contains(readme, "`"+m[1]+"`") {
			t.Errorf("vegeta/run.sh reads %s, which README.md does not explain", m[1])
		}
	}
}

// Flags that README.md names are flags of the program that it names them for.
func TestFlagsExist(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	programs := read(t, "driver/main.go") + read(t, "run/main.go")
	for _, m := range regexp.MustCompile("`-([a-z][a-z0-9-]+)").FindAllStringSubmatch(readme, -1) {
		if !strings.Contains(programs, `, "`+m[1]+`", `) {
			t.Errorf("README.md names the flag -%s, which neither driver nor run has", m[1])
		}
	}
}

func TestScenariosHaveThresholds(t *testing.T) {
	t.Parallel()
	for script, wants := range map[string][]string{
		"k6/keepalive.js": {"http_req_failed", "http_req_duration", "dropped_iterations", "tls_handshakes", "checks"},
		"k6/handshake.js": {"http_req_failed", "tls_handshake_duration", "dropped_iterations", "checks", "noConnectionReuse: true"},
	} {
		text := read(t, script)
		_, thresholds, _ := strings.Cut(text, "export const options")
		for _, want := range wants {
			if !strings.Contains(thresholds, want) {
				t.Errorf("%s has no threshold on, or no option, %s", script, want)
			}
		}
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
