package config

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"verigate/workloadid"
)

var update = flag.Bool("update", false, "write what is got as what is wanted")

// separator stands between a configuration and what is to become of it.
const separator = "----------\n"

// golden is one file of testdata: see testdata/README.md.
type golden struct{ path, name, input, want string }

func goldens(t *testing.T, pattern string) []golden {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("Glob(%q) = %q, %v; want golden files", pattern, paths, err)
	}
	var all []golden
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		input, want, ok := strings.Cut("\n"+string(content), "\n"+separator)
		if !ok {
			t.Fatalf("%s has no line %q", path, strings.TrimSpace(separator))
		}
		input = strings.TrimPrefix(input, "\n")
		if input != "" {
			input += "\n"
		}
		all = append(all, golden{path, strings.TrimSuffix(filepath.Base(path), ".txt"), input, want})
	}
	return all
}

func TestParseSaysWhatIsExpected(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t, "*.txt") {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			c, err := Parse("gateway.yaml", []byte(g.input))
			got := ""
			if err != nil {
				got = err.Error() + "\n"
			} else {
				got = "ok\n" + summary(c)
			}
			if bad := strings.HasPrefix(g.name, "bad-"); bad != (err != nil) {
				t.Errorf("Parse() = %v, which is not what the name of the file says", err)
			}
			if *update {
				if err := os.WriteFile(g.path, []byte(g.input+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != g.want {
				t.Errorf("Parse() says\n%s\nwant\n%s", got, g.want)
			}
		})
	}
}

// summary is what rooms are told by a file that is right.
func summary(c *Config) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, l := range c.File.Listeners {
		by := ""
		if curves := l.curves(); curves != nil {
			by = fmt.Sprint(" by ", curves)
		}
		line("listener %s: %s admits %v%s", l.Name, l.Address, l.TrustDomains, by)
	}
	domains, err := c.TrustDomains()
	if err != nil {
		return err.Error()
	}
	for _, d := range domains {
		line("trust domain %s: %s, leaves live %v, skew %v, assurance %.8x", d.Origin, d.Path,
			d.Options.MaxCertificateLifetime, d.Options.NotBeforeSkew, sha256.Sum256(d.Options.Assurance.AppendDigest(nil)))
		for _, v := range []*TrustDomainFile{&d, d.Shadow} {
			if v != nil && (v.Fetched || len(v.CRLs) > 0 || v == d.Shadow) {
				line("  fetched %v, stale after %v; CRLs %v %+v; algorithms %q, at least %v, EKU %v", v.Fetched, v.MaxStale, v.CRLs, v.CRL, v.Options.Algorithms, v.Options.MinMIAL, v.Options.RequireEKU)
			}
		}
	}
	for _, e := range c.BundleEndpoints() {
		line("bundle endpoint %+v", e)
	}
	for _, a := range c.WorkloadAPIs() {
		line("workload API %+v", a)
	}
	for _, e := range c.CRLEndpoints() {
		line("CRL endpoint %+v", e)
	}
	if path := c.SecretPath(); path != "" {
		line("ticket secrets: %s", path)
	}
	for _, k := range c.Credentials() {
		line("credential %s: %s, %s", k.Name, k.CertPath, k.KeyPath)
	}
	deny := c.Deny()
	line("deny: %d identities, %d serials, %d keys", len(deny.Identities), len(deny.Serials), len(deny.Keys))
	routes, _ := c.Rules()
	for _, r := range routes.Routes() {
		line("route %s: %+v", r.Name, r.Match)
	}
	cache := c.CacheOptions()
	line("cache: disabled %v, %d entries, %v", cache.Disabled, cache.MaxEntries, cache.MaxAge)
	telemetry := c.TelemetryOptions()
	line("telemetry: %q to %q, ratio %v, audit %q, on full %q", telemetry.ServiceName, telemetry.OTLPEndpoint,
		telemetry.TraceRatio, telemetry.Audit.File, telemetry.Audit.OnFull)
	line("admin: %s; drain: %v", c.AdminAddress(), c.DrainTimeout())
	for _, n := range c.Notes() {
		line("note: %s", n)
	}
	return b.String()
}

func TestEveryProblemHasAPlaceAndAField(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t, "bad-*.txt") {
		_, err := Parse("gateway.yaml", []byte(g.input))
		problems, ok := err.(Problems)
		if !ok {
			t.Errorf("%s: Parse() = %T, want Problems", g.name, err)
			continue
		}
		if !slices.IsSortedFunc(problems, func(a, b Problem) int {
			if a.Line == 0 || b.Line == 0 {
				return 0
			}
			return a.Line - b.Line
		}) {
			t.Errorf("%s: problems are not in the order of lines:\n%v", g.name, err)
		}
		for _, p := range problems {
			about := p.Field == "" // the document as a whole, or its syntax
			if p.File != "gateway.yaml" || p.What == "" || !about && (p.Line == 0 || p.Column == 0) {
				t.Errorf("%s: problem %+v lacks its place", g.name, p)
			}
			if strings.Contains(p.Error(), "\n") {
				t.Errorf("%s: problem %q is more than one line", g.name, p.Error())
			}
		}
	}
}

func TestExampleLoads(t *testing.T) {
	t.Parallel()
	c, err := Load("example.yaml")
	if err != nil {
		t.Fatalf("Load(example.yaml) = %v", err)
	}
	if notes := c.Notes(); len(notes) != 0 {
		t.Errorf("the example has notes %q; an example should need none", notes)
	}
	if parsed, err := Parse("example.yaml", Example()); err != nil || len(parsed.File.Routes) != len(c.File.Routes) {
		t.Errorf("Parse(Example()) = %v, %v", parsed, err)
	}
}

func TestHugeAndNestedDocumentsAreRefused(t *testing.T) {
	t.Parallel()
	// Each level doubles what an eager reader of aliases would build.
	bomb := "a: &a [x,x]\n"
	for c := 'b'; c <= 'z'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c]\n", c, c, c-1, c-1)
	}
	for name, input := range map[string]string{
		"too large":     "# " + strings.Repeat("x", maxFileBytes) + "\n",
		"nested lists":  strings.Repeat("[", 100_000),
		"nested blocks": strings.Repeat("- ", 100_000) + "x",
		"alias bomb":    bomb,
		"long key":      strings.Repeat("k", 1<<20) + ": 1\n",
		"long value":    "admin: {pprof: " + strings.Repeat("v", 1<<20) + "}\n",
		"many problems": strings.Repeat("a: 1\n", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := Parse("gateway.yaml", []byte(input))
			if err == nil {
				t.Fatal("Parse() = nil, want an error")
			}
			if n := len(err.Error()); n > 64<<10 {
				t.Errorf("the error has %d octets; nobody reads that", n)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("Parse() took %v", took)
			}
		})
	}
}

func TestManyRoutesLoad(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(minimal + "upstreams: {api: {endpoints: [\"127.0.0.1:1\"], plaintext: true}}\nroutes:\n")
	for i := range 20_000 {
		fmt.Fprintf(&b, "  - {name: r%d, match: {host: h%d.example}, upstream: api}\n", i, i)
	}
	c, err := Parse("gateway.yaml", []byte(b.String()))
	if err != nil {
		t.Fatalf("Parse() = %.1000v", err)
	}
	if n := len(c.File.Routes); n != 20_000 {
		t.Errorf("Parse() found %d routes", n)
	}
}

// minimal is a configuration that needs nothing more.
const minimal = `listeners:
  - name: edge
    address: "127.0.0.1:0"
    certificate: {cert_file: edge.pem, key_file: edge.key}
    trust_domains: [spiffe://prod.example]
trust_domains:
  spiffe://prod.example:
    anchors: {file: prod.pem}
`

func TestStatementsAreInForce(t *testing.T) {
	t.Parallel()
	c, err := Parse("gateway.yaml", []byte(minimal+`    assurance: [{mial: 3, maal: {governance: 2}}]
deny:
  - {serial: "0A:1b", issuer_spki_sha256: `+strings.Repeat("AB:", 31)+`ab}
  - {identity: spiffe://prod.example/ns/old/**}
`))
	if err != nil {
		t.Fatal(err)
	}
	deny := c.Deny()
	if len(deny.Serials) != 1 || deny.Serials[0].Serial != [20]byte{18: 0x0a, 19: 0x1b} || deny.Serials[0].IssuerSPKI[31] != 0xab {
		t.Errorf("Deny().Serials = %v, want 0a1b of the issuer ab…ab", deny.Serials)
	}
	id, err := workloadid.Parse("spiffe://prod.example/ns/old/sa/x")
	if err != nil {
		t.Fatal(err)
	}
	if len(deny.Identities) != 1 || !deny.Identities[0].Match(id) {
		t.Errorf("Deny().Identities = %v, want a pattern that matches %s", deny.Identities, id)
	}
	domains, err := c.TrustDomains()
	if err != nil || len(domains) != 1 {
		t.Fatalf("TrustDomains() = %v, %v", domains, err)
	}
	if domains[0].Options.Assurance == nil {
		t.Error("TrustDomains() lost the statement about assurance")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Example())
	f.Add([]byte(minimal))
	f.Add([]byte("admin: *a\n"))
	f.Add([]byte("? [a]\n: {<<: b}\n"))
	f.Add([]byte("!!binary a: !x b\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("gateway.yaml", data)
		if err == nil {
			c.Notes()
			c.Credentials()
			return
		}
		problems, ok := err.(Problems)
		if !ok || len(problems) == 0 {
			t.Fatalf("Parse() = %#v, want Problems", err)
		}
		for _, p := range problems {
			if strings.Contains(p.Error(), "\n") {
				t.Errorf("problem %q is more than one line", p.Error())
			}
		}
	})
}
