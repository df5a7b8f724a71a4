package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verigate/benchmarks/peers/pki"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestConfigurations shows what each peer is told. Whether nginx, HAProxy and the
// gateway accept it is for the run of all scenarios.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	for peer, name := range map[string]string{"verigate": "gateway.yaml", "nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile"} {
		s := site{dir: t.TempDir(), address: "127.0.0.1:8443", backend: "127.0.0.1:8080", group: groups[2], depth: 2, connections: 16200,
			pki: pki.Files{Root: "/pki/root.pem", Certificate: "/pki/server.pem", Key: "/pki/server.key", Both: "/pki/server-both.pem"}}
		for _, p := range candidates(options{}) {
			if p.name != peer {
				continue
			}
			if _, err := p.configure(p, s); err != nil {
				t.Fatal(err)
			}
		}
		written, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(string(written), s.dir, "/site")
		got = strings.ReplaceAll(got, "\nuser root;\n", "\n\n") // only where root runs the test
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("the configuration of %s is not that of %s (-update writes it anew):\n%s", peer, golden, got)
		}
	}
}

// What is disturbed is measured again, but not for ever, and what fails is not.
func TestDisturbedMeasurementsAreRepeated(t *testing.T) {
	t.Parallel()
	failure := errors.New("it failed")
	for _, tt := range []struct {
		disturbed []bool // by try
		err       error  // of the last
		want      int    // tries
	}{
		{[]bool{false, true, true}, nil, 1},
		{[]bool{true, false, true}, nil, 2},
		{[]bool{true, true, true, false}, nil, 3},
		{[]bool{true, true}, failure, 2},
	} {
		r, tries := &rig{options: options{tries: 3}}, 0
		taken, err := r.undisturbed(func() (bool, error) {
			tries++
			if tries == len(tt.disturbed) {
				return tt.disturbed[tries-1], tt.err
			}
			return tt.disturbed[tries-1], nil
		})
		if tries != tt.want || taken != tries || err != tt.err {
			t.Errorf("disturbed %v: %d tries, %v; want %d, %v", tt.disturbed, tries, err, tt.want, tt.err)
		}
	}
}
