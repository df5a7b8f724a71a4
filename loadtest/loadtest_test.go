// Package loadtest checks what it can of the load tests without running them:
// vegeta's target files, and that scripts and README speak of the same things.
package loadtest

import (
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// target is one request of a vegeta target file.
type target struct {
	method string
	url    *url.URL
	header http.Header
	body   string // file, from the folder of the target file
}

// parseTargets reads vegeta's HTTP target format: a request is a line with method
// and URL, then header lines, then perhaps one line with @ and the file of its
// body; an empty line ends it. Lines that begin with # are comments. It is
// stricter than vegeta: methods and header names must be known ones in their usual
// spelling.
func parseTargets(text string) ([]target, error) {
	var targets []target
	var current *target
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		fail := func(what string) ([]target, error) { return nil, fmt.Errorf("line %d: %s: %q", i+1, what, line) }
		switch {
		case line != strings.TrimSpace(line):
			return fail("space around the line")
		case strings.HasPrefix(line, "#"):
		case line == "":
			current = nil
		case current == nil:
			method, address, ok := strings.Cut(line, " ")
			if !ok || !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, method) {
				return fail("expected a method and a URL")
			}
			u, err := url.ParseRequestURI(address)
			if err != nil || u.Host == "" {
				return fail("not an absolute URL")
			}
			targets = append(targets, target{method: method, url: u, header: http.Header{}})
			current = &targets[len(targets)-1]
		case current.body != "":
			return fail("nothing may follow the body")
		case strings.HasPrefix(line, "@"):
			if current.body = line[1:]; current.body == "" {
				return fail("no file for the body")
			}
		default:
			name, value, ok := strings.Cut(line, ": ")
			if !ok || value == "" || name != textproto.CanonicalMIMEHeaderKey(name) || strings.ContainsAny(name, " \t") {
				return fail("expected a header, or @ and a file")
			}
			current.header.Add(name, value)
		}
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("no target")
	}
	return targets, nil
}

func TestParseTargets(t *testing.T) {
	t.Parallel()
	good := "# all\nGET https://a.example/x\nAccept: text/plain\n\nPOST https://a.example/y\nContent-Type: text/plain\n@body\n"
	got, err := parseTargets(good)
	if err != nil || len(got) != 2 || got[0].header.Get("Accept") != "text/plain" || got[1].body != "body" || got[1].method != "POST" {
		t.Fatalf("parseTargets() = %+v, %v; want a GET with a header and a POST with a body", got, err)
	}
	for name, text := range map[string]string{
		"nothing":                  "",
		"only a comment":           "# nothing\n",
		"no URL":                   "GET\n",
		"a relative URL":           "GET /x\n",
		"an unknown method":        "get https://a.example/\n",
		"a header without a colon": "GET https://a.example/\nAccept\n",
		"a header without a value": "GET https://a.example/\nAccept: \n",
		"an odd header name":       "GET https://a.example/\naccept: x\n",
		"a request after a header": "GET https://a.example/\nAccept: x\nGET https://a.example/\n",
		"a header after the body":  "POST https://a.example/\n@body\nAccept: x\n",
		"a body without a file":    "POST https://a.example/\n@\n",
		"a space in front":         " GET https://a.example/\n",
	} {
		if got, err := parseTargets(text); err == nil {
			t.Errorf("parseTargets() accepts a file with %s: %+v", name, got)
		}
	}
}

func TestVegetaTargets(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("vegeta/*.targets")
	if err != nil || len(files) != 2 {
		t.Fatalf("target files: %v, %v; want one for each scenario", files, err)
	}
	script := read(t, "vegeta/run.sh")
	for _, file := range files {
		targets, err := parseTargets(read(t, file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, target := range targets {
			// run.sh sends exactly this host and port to wherever the gateway is.
			if target.url.Scheme != "https" || !strings.Contains(script, `-connect-to "`+target.url.Host+`:$ADDRESS"`) {
				t.Errorf("%s: %s %s, want https and the host that run.sh redirects", file, target.method, target.url)
			}
			if target.body != "" {
				if _, err := os.Stat(filepath.Join("vegeta", target.body)); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
		}
		if name := strings.TrimSuffix(filepath.Base(file), ".targets"); !strings.Contains(script, "\n"+name+") ") {
			t.Errorf("run.sh does not know the scenario %s", name)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-n", "vegeta/run.sh").CombinedOutput(); err != nil {
		t.Errorf("sh -n vegeta/run.sh: %v\n%s", err, out)
	}
}

// Every path that is requested is one that the driver's gateway forwards.
func TestTargetsAreForwarded(t *testing.T) {
	t.Parallel()
	path := regexp.MustCompile(`match: \{path: (\S+)\}`).FindStringSubmatch(read(t, "run/stage.go"))
	if path == nil {
		t.Fatal("run/stage.go configures no route")
	}
	for _, file := range []string{"vegeta/keepalive.targets", "vegeta/handshake.targets", "k6/gateway.js"} {
		if !strings.Contains(read(t, file), path[1]) {
			t.Errorf("%s does not request %s, the only path that is forwarded", file, path[1])
		}
	}
}

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
		for _, m := range regexp.MustCompile(`__ENV\b(?:\.(\w+))?`).FindAllStringSubmatch(text, -1) {
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
	driver := read(t, "run/main.go")
	for _, m := range regexp.MustCompile(`"([A-Z][A-Z0-9_]*)=`).FindAllStringSubmatch(driver, -1) {
		if !used[m[1]] && m[1] != "SSL_CERT_FILE" {
			t.Errorf("the driver sets %s, which no script reads", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\$\{?:?\s*"?([A-Z][A-Z_]*)`).FindAllStringSubmatch(read(t, "vegeta/run.sh"), -1) {
		if !strings.Contains(readme, "`"+m[1]+"`") {
			t.Errorf("vegeta/run.sh reads %s, which README.md does not explain", m[1])
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
