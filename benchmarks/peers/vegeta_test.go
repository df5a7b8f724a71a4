package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verigate/benchmarks/peers/load"
)

// vegetaModule is the version that `make bench-peers` builds.
const vegetaModule = "github.com/tsenart/vegeta/v12@v12.13.0"

// vegeta builds it, apart from go.mod.
func vegeta(t *testing.T) (path string) {
	t.Helper()
	dir := t.TempDir()
	install := exec.CommandContext(t.Context(), "go", "install", vegetaModule)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", install, err, out)
	}
	return filepath.Join(dir, "vegeta")
}

func TestMakeBuildsTheSameVegeta(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(makefile), "go install "+vegetaModule+"\n") {
		t.Errorf("the Makefile does not build %s", vegetaModule)
	}
}

// What ends in the slice counts, and only if the answer is right in every respect.
func TestAttacksAreCounted(t *testing.T) {
	t.Parallel()
	began := time.Unix(1_000_000, 0)
	header := func(length, caller string) string {
		return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "Content-Length: %s\r\nX-Caller: %s\r\n", length, caller))
	}
	right := header("1024", "spiffe://bench.example/ns/load/sa/"+vegetaName)
	for _, tt := range []struct {
		claim               string
		due, latency        time.Duration
		code, failed        string
		header              string
		operations, failure int64
	}{
		{"right", 100 * time.Millisecond, time.Millisecond, "200", "", right, 1, 0},
		{"begun before the slice", -time.Millisecond, 2 * time.Millisecond, "200", "", right, 1, 0},
		{"ended before the slice", -3 * time.Millisecond, 2 * time.Millisecond, "200", "", right, 0, 0},
		{"ended after the slice", 999 * time.Millisecond, 2 * time.Millisecond, "200", "", right, 0, 0},
		{"another status", 0, time.Millisecond, "503", "503 Service Unavailable", right, 0, 1},
		{"no answer", 0, time.Millisecond, "0", "connection refused", "", 0, 1},
		{"another length", 0, time.Millisecond, "200", "", header("1023", vegetaName), 0, 1},
		{"no length", 0, time.Millisecond, "200", "", base64.StdEncoding.EncodeToString([]byte("X-Caller: " + vegetaName + "\r\n")), 0, 1},
		{"another caller", 0, time.Millisecond, "200", "", header("1024", "client-000001"), 0, 1},
		{"after the slice, wrong", time.Second, time.Millisecond, "503", "", right, 0, 0},
	} {
		row := fmt.Sprintf("%d,%s,%d,0,0,%s,,attack,0,GET,https://localhost/1k,%s\n",
			began.Add(tt.due).UnixNano(), tt.code, tt.latency.Nanoseconds(), tt.failed, tt.header)
		result := load.Result{Began: began, Wall: time.Second}
		if err := countAttack(&result, strings.NewReader(row), load.Job{Body: 1024}); err != nil {
			t.Errorf("%s: %v", tt.claim, err)
		}
		if result.Operations != tt.operations || result.Failures != tt.failure || (result.Failure != "") != (tt.failure > 0) {
			t.Errorf("%s: %d operations, %d failures (%s); want %d, %d", tt.claim, result.Operations, result.Failures, result.Failure, tt.operations, tt.failure)
		}
	}
	for _, bad := range []string{"1,200\n", "soon,200,1,0,0,,,attack,0,GET,https://localhost/1k,\n"} {
		if err := countAttack(new(load.Result), strings.NewReader(bad), load.Job{}); err == nil {
			t.Errorf("countAttack() accepts %q", bad)
		}
	}
}
