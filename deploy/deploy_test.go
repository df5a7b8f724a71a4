// Package deploy checks what is shipped for running the gateway, as far as it can
// be checked without a container engine and without being root.
package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"verigate/config"
)

type composeFile struct {
	Services map[string]composeService
	Volumes  map[string]any
}

type composeService struct {
	Image       string
	Build       *composeBuild
	Entrypoint  []string
	Command     []string
	Ports       []string
	Volumes     []string
	Environment map[string]string
	DependsOn   dependencies `yaml:"depends_on"`
}

type composeBuild struct{ Context, Dockerfile, Target string }

// dependencies is a list of services, or a map with conditions.
type dependencies []string

func (d *dependencies) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		return n.Decode((*[]string)(d))
	}
	var conditions map[string]any
	err := n.Decode(&conditions)
	for name := range conditions {
		*d = append(*d, name)
	}
	return err
}

func TestCompose(t *testing.T) {
	t.Parallel()
	var c composeFile
	decode(t, "docker-compose.yml", &c)
	dockerfile := read(t, "docker/Dockerfile")
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:[A-Za-z0-9._-]+$`)

	for name, s := range c.Services {
		if !pinned.MatchString(s.Image) || strings.HasSuffix(s.Image, ":latest") {
			t.Errorf("service %s has image %q, want an explicit tag", name, s.Image)
		}
		if b := s.Build; b != nil {
			if _, err := os.Stat(filepath.Join(b.Context, b.Dockerfile)); err != nil {
				t.Errorf("service %s is built by what does not exist: %v", name, err)
			}
			if b.Target != "" && !strings.Contains(dockerfile, " AS "+b.Target+"\n") {
				t.Errorf("service %s is built from stage %q, which the Dockerfile does not have", name, b.Target)
			}
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(source, ".") {
				if _, err := os.Stat(source); err != nil {
					t.Errorf("service %s mounts what does not exist: %v", name, err)
				}
			} else if _, ok := c.Volumes[source]; !ok {
				t.Errorf("service %s uses the volume %q, which is not declared", name, source)
			}
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("service %s publishes %s to the network, want loopback only", name, p)
			}
		}
		for _, d := range s.DependsOn {
			if _, ok := c.Services[d]; !ok {
				t.Errorf("service %s depends on %s, which does not exist", name, d)
			}
		}
	}
}

// The pieces of the compose stack name each other by address, path and uid.
func TestComposePiecesFitTogether(t *testing.T) {
	t.Parallel()
	var c composeFile
	decode(t, "docker-compose.yml", &c)
	gateway := configuration(t, "compose/gateway.yaml")

	var prometheus struct {
		RuleFiles []string `yaml:"rule_files"`
		Jobs      []struct {
			Name    string                       `yaml:"job_name"`
			Targets []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	decode(t, "prometheus/prometheus.yml", &prometheus)
	for _, name := range prometheus.RuleFiles {
		if _, err := os.Stat(filepath.Join("prometheus", name)); err != nil {
			t.Errorf("Prometheus reads rules that do not exist: %v", err)
		}
	}
	if len(prometheus.Jobs) != 1 || prometheus.Jobs[0].Name != "verigate" {
		t.Fatalf("Prometheus has jobs %+v, want verigate, which alerts speak of", prometheus.Jobs)
	}
	scraped := prometheus.Jobs[0].Targets[0].Targets[0]
	host, port, err := net.SplitHostPort(scraped)
	if _, ok := c.Services[host]; err != nil || !ok || !strings.HasSuffix(gateway.File.Admin.Address, ":"+port) {
		t.Errorf("Prometheus scrapes %s, but the gateway's admin listener is %s of service gateway", scraped, gateway.File.Admin.Address)
	}
	if published := c.Services["gateway"].Ports; slices.ContainsFunc(published, func(p string) bool { return strings.HasSuffix(p, ":"+port) }) {
		t.Errorf("the admin port is published: %v", published)
	}

	_, edge, err := net.SplitHostPort(gateway.File.Listeners[0].Address)
	if err != nil || !slices.Contains(c.Services["gateway"].Ports, fmt.Sprintf("127.0.0.1:%s:%s", edge, edge)) {
		t.Errorf("port %s of the edge is not published: %v", edge, c.Services["gateway"].Ports)
	}
	if traffic := read(t, "compose/traffic.sh"); !strings.Contains(traffic, "https://gateway:"+edge+"$2") {
		t.Errorf("the traffic does not go to port %s of the gateway", edge)
	}

	endpoint := gateway.File.Upstreams["backend"].Endpoints[0]
	if !slices.Contains(c.Services["backend"].Command, endpoint) {
		t.Errorf("the gateway forwards to %s, the backend listens at %v", endpoint, c.Services["backend"].Command)
	}

	var sources struct {
		Datasources []struct{ UID, URL string }
	}
	decode(t, "grafana/provisioning/datasources/prometheus.yaml", &sources)
	if len(sources.Datasources) != 1 || sources.Datasources[0].URL != "http://prometheus:9090" {
		t.Errorf("data sources %+v, want the service prometheus", sources.Datasources)
	}

	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	decode(t, "grafana/provisioning/dashboards/verigate.yaml", &providers)
	path := providers.Providers[0].Options.Path
	if !slices.ContainsFunc(c.Services["grafana"].Volumes, func(v string) bool { return strings.Contains(v, "dashboards:"+path+":") }) {
		t.Errorf("Grafana looks for dashboards in %s, where nothing is mounted: %v", path, c.Services["grafana"].Volumes)
	}
	home := c.Services["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if _, err := os.Stat(filepath.Join("grafana/dashboards", filepath.Base(home))); err != nil || filepath.Dir(home) != path {
		t.Errorf("the first page is %s, which does not exist: %v", home, err)
	}
}

// The script makes the files that the gateway's configuration names, and those of
// every workload that sends traffic.
func TestComposeMakesEveryCertificate(t *testing.T) {
	t.Parallel()
	made := map[string]bool{"root": true}
	for _, m := range regexp.MustCompile(`(?m)^gateway pki issue --dir /pki \S*/(\w+)\b`).FindAllStringSubmatch(read(t, "compose/pki.sh"), -1) {
		made[m[1]] = true
	}
	var used []string
	for _, source := range []string{"compose/gateway.yaml", "compose/traffic.sh"} {
		for _, m := range regexp.MustCompile(`/pki/(\w+)\.|\bcall (\w+) /`).FindAllStringSubmatch(read(t, source), -1) {
			used = append(used, m[1]+m[2])
		}
	}
	if len(used) < 5 {
		t.Fatalf("found only %v in use", used)
	}
	for _, name := range used {
		if !made[name] {
			t.Errorf("%s is used, but pki.sh does not make it", name)
		}
	}
}

func TestConfigurationsAreValid(t *testing.T) {
	t.Parallel()
	// In a container the admin listener has to be reachable from its neighbours.
	const inContainer = "is not a loopback address"
	for name, noted := range map[string]bool{"compose/gateway.yaml": true, "systemd/gateway.yaml": false} {
		notes := slices.DeleteFunc(configuration(t, name).Notes(), func(note string) bool {
			return noted && strings.HasPrefix(note, "admin: ") && strings.Contains(note, inContainer)
		})
		if len(notes) > 0 {
			t.Errorf("%s: %q", name, notes)
		}
	}
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	d := read(t, "docker/Dockerfile")
	last := d[strings.LastIndex(d, "\nFROM "):]
	for _, want := range []string{
		"\nFROM gcr.io/distroless/static-debian12:nonroot\n", "\nUSER 65532:65532\n",
		"org.opencontainers.image.title", "\nENTRYPOINT [\"/usr/local/bin/gateway\"]\n",
	} {
		if !strings.Contains(last, want) {
			t.Errorf("the last stage lacks %q", strings.TrimSpace(want))
		}
	}
	if strings.Contains(last, "\nRUN ") {
		t.Error("the last stage runs something, but has no shell to run it with")
	}
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "--platform=$BUILDPLATFORM"} {
		if !strings.Contains(d, want) {
			t.Errorf("the build lacks %s", want)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^FROM (?:--platform=\S+ )?(\S+)`).FindAllStringSubmatch(d, -1) {
		if _, tag, ok := strings.Cut(m[1], ":"); !ok || tag == "latest" {
			t.Errorf("FROM %s has no explicit tag", m[1])
		}
	}
	goVersion := regexp.MustCompile(`(?m)^ARG GO_VERSION=(\S+)$`).FindStringSubmatch(d)
	if wanted := read(t, "../go.mod"); goVersion == nil || !strings.Contains(wanted, "\ngo "+goVersion[1]) {
		t.Errorf("the image is built with Go %v, which is not what go.mod asks for", goVersion)
	}
	for _, m := range regexp.MustCompile(`\./(\S+/\S+)`).FindAllStringSubmatch(d, -1) {
		if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
			t.Errorf("the image is built from what does not exist: %v", err)
		}
	}
}

// Whatever the compiler embeds must get through the ignore file.
func TestDockerignoreLetsEmbeddedFilesPass(t *testing.T) {
	t.Parallel()
	ignore := read(t, "docker/Dockerfile.dockerignore")
	embedded := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			if entry != nil && entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".." {
				return fs.SkipDir
			}
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^//go:embed (.+)$`).FindAllStringSubmatch(string(source), -1) {
			for _, name := range strings.Fields(m[1]) {
				embedded++
				if !strings.Contains(ignore, "\n!**/*"+filepath.Ext(name)+"\n") {
					t.Errorf("%s embeds %s, which docker/Dockerfile.dockerignore keeps out", path, name)
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if embedded == 0 {
		t.Error("found nothing embedded, although package config embeds its schema")
	}
}

func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("systemd-analyze is missing: %v; install it (Debian: apt-get install systemd)", err)
		}
		t.Skip("NOT TESTED: systemd-analyze is missing, so nothing checks the unit; install it (Debian: apt-get install systemd)")
	}
	// The unit starts a program that is not installed here.
	unit := filepath.Join(t.TempDir(), "verigate.service")
	text := strings.ReplaceAll(read(t, "systemd/verigate.service"), "/usr/local/bin/gateway", "/bin/true")
	if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arguments := range [][]string{
		{"verify", "--man=no", "--recursive-errors=no", unit},
		{"security", "--offline=true", "--threshold=20", "--no-pager", unit},
	} {
		out, err := exec.CommandContext(t.Context(), analyze, arguments...).CombinedOutput()
		if err != nil || arguments[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", arguments[0], err, out)
		}
	}
}

// The unit, the configuration beside it and the exit codes belong together.
func TestSystemdUnitFitsTheConfiguration(t *testing.T) {
	t.Parallel()
	unit := read(t, "systemd/verigate.service")
	c := configuration(t, "systemd/gateway.yaml").File
	loaded := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^LoadCredential=([^:]+):`).FindAllStringSubmatch(unit, -1) {
		loaded["/run/credentials/verigate.service/"+m[1]] = true
	}
	for _, name := range []string{c.Listeners[0].Certificate.CertFile, c.Listeners[0].Certificate.KeyFile} {
		if !loaded[name] {
			t.Errorf("the configuration reads %s, which the unit does not load", name)
		}
	}
	if !strings.HasPrefix(c.Telemetry.Audit.File, "/var/log/verigate/") || !strings.Contains(unit, "\nLogsDirectory=verigate\n") {
		t.Errorf("audit records go to %s, which the unit cannot write", c.Telemetry.Audit.File)
	}
	for _, want := range []string{
		"Type=exec", "ExecReload=/bin/kill -HUP $MAINPID", "DynamicUser=yes", "RestartPreventExitStatus=2 3", "RestartForceExitStatus=SIGHUP",
		"CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE",
		"ProtectSystem=strict", "MemoryDenyWriteExecute=yes", "SystemCallFilter=@system-service",
	} {
		if !strings.Contains(unit, "\n"+want+"\n") {
			t.Errorf("the unit lacks %s", want)
		}
	}
	if strings.Contains(unit, "\nProcSubset=pid\n") {
		t.Error("ProcSubset=pid hides somaxconn: the accept queue would be 128 long")
	}
}

func TestScriptsAreExecutableAndParse(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"compose/pki.sh", "compose/traffic.sh"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&0o111 == 0 {
			t.Errorf("%s is not executable", name)
		}
		if out, err := exec.CommandContext(t.Context(), "sh", "-n", name).CombinedOutput(); err != nil {
			t.Errorf("sh -n %s: %v\n%s", name, err, out)
		}
	}
}

func configuration(t *testing.T, name string) *config.Config {
	t.Helper()
	c, err := config.Parse(name, []byte(read(t, name)))
	if err != nil {
		if problems, ok := errors.AsType[config.Problems](err); ok {
			t.Fatalf("%s: %v", name, problems)
		}
		t.Fatal(err)
	}
	return c
}

func decode(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, name)), into); err != nil {
		t.Fatalf("%s: %v", name, err)
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
