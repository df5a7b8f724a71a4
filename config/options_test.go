package config

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/tlsterm"
	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

// fixed is a credential that never rotates.
type fixed struct{ c *trust.Credential }

func (f fixed) Credential() *trust.Credential { return f.c }

// depsWith returns rooms whose every credential is one for the URIs.
func depsWith(t *testing.T, uris ...string) Deps {
	t.Helper()
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "root"})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := root.Issue(devpki.LeafOptions{URIs: uris, DNS: []string{"edge.example"}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := devpki.KeyPEM(leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := trust.ParseCredential("edge.pem", devpki.CertificatesPEM(leaf.Chain...), "edge.key", key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	origin, err := workloadid.ParseOrigin("spiffe://prod.example")
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := trust.NewBundle(origin, trust.BundleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := trust.NewSnapshot([]*trust.Bundle{bundle}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := verifycache.New(verifycache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	deps := Deps{Trust: &trust.Store{}, Cache: cache, Credential: func(string) trust.CredentialSource { return fixed{credential} }}
	deps.Trust.Publish(snapshot)
	return deps
}

const handingOff = minimal + `routes:
  - {name: api, upstream: api}
upstreams:
  api:
    endpoints: ["10.0.0.1:1"]
    verify: {identity: spiffe://prod.example/api}
    handoff: [client_cert, workload]
`

func TestWorkloadHandoffNeedsAGatewayWithAnIdentifier(t *testing.T) {
	t.Parallel()
	c, err := Parse("gateway.yaml", []byte(handingOff))
	if err != nil {
		t.Fatal(err)
	}
	program, err := c.Program(depsWith(t, "spiffe://prod.example/edge"))
	if err != nil {
		t.Fatalf("Program() with a certificate for spiffe://prod.example/edge = %v", err)
	}
	program.Close(context.Background())

	// FWD-12: nobody would assert what is asserted.
	_, err = c.Program(depsWith(t))
	if err == nil {
		t.Fatal("Program() with a certificate without identifier = nil, want an error")
	}
	for _, part := range []string{"upstreams.api", "handoff", "edge.pem", "identifier"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("Program() = %q, which does not mention %q", err, part)
		}
	}

	anonymous, err := Parse("gateway.yaml", []byte(strings.Replace(handingOff, ", workload]", "]", 1)))
	if err != nil {
		t.Fatal(err)
	}
	program, err = anonymous.Program(depsWith(t))
	if err != nil {
		t.Fatalf("Program() that conveys the certificate alone = %v", err)
	}
	program.Close(context.Background())
}

func TestEveryGroupThatTheFileMayNameIsKnown(t *testing.T) {
	t.Parallel()
	field, _ := reflect.TypeFor[Listener]().FieldByName("TLSGroups")
	for _, name := range rulesOf(field).enum {
		l := Listener{TLSGroups: []string{name}}
		if got := l.curves(); len(got) != 1 || tlsterm.GroupName(got[0]) != name {
			t.Errorf("tls_groups: [%s] stands for %v", name, got)
		}
	}
	written := Listener{TLSGroups: []string{"X25519MLKEM768", "x25519", "secp256r1"}}
	if got, want := written.curves(), tlsterm.DefaultCurves(); !slices.Equal(got, want) || new(Listener).curves() != nil {
		t.Errorf("what is documented as the default is %v, want %v, and nothing where nothing is written", got, want)
	}
}

func TestPathsStartFromTheFolderOfTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "gateway.yaml")
	content := strings.Replace(minimal, "edge.key", "/keys/edge.key", 1) + "telemetry: {audit: {file: audit.jsonl}}\n"
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	domains, err := c.TrustDomains()
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		domains[0].Path:                 filepath.Join(dir, "prod.pem"),
		c.Credentials()[0].CertPath:     filepath.Join(dir, "edge.pem"),
		c.Credentials()[0].KeyPath:      "/keys/edge.key",
		c.TelemetryOptions().Audit.File: filepath.Join(dir, "audit.jsonl"),
	} {
		if got != want {
			t.Errorf("the file is looked for at %s, want %s", got, want)
		}
	}
}

func TestLoadSaysWhichFileCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, name := range []string{filepath.Join(t.TempDir(), "missing.yaml"), t.TempDir()} {
		if _, err := Load(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Load(%s) = %v, want an error that names it", name, err)
		}
	}
}

func TestInstanceAndSealReachTelemetry(t *testing.T) {
	t.Parallel()
	c, err := Parse("gateway.yaml", []byte(minimal+"telemetry: {instance: gw-1, audit: {seal: true}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if o := c.TelemetryOptions(); o.InstanceID != "gw-1" || !o.Audit.Seal {
		t.Errorf("TelemetryOptions() has instance %q and seal %t, want gw-1 and true", o.InstanceID, o.Audit.Seal)
	}
}
