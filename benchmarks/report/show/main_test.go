package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verigate/benchmarks/report"
)

func TestShow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := &report.Run{Title: "A run", Subjects: []report.Subject{{Name: "Verigate"}}, Measurements: []report.Measurement{
		{Scenario: "handshake", Subject: "Verigate", Round: 1, Operations: 10, CPU: 1e6},
	}}
	if err := report.Write(dir, run); err != nil {
		t.Fatal(err)
	}
	file, page := filepath.Join(dir, "run.json"), filepath.Join(dir, "page.html")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{file}, "# A run\n"},
		{[]string{file, file}, "| handshake |  | Verigate | CPU per operation | 100 µs |"},
		{[]string{"-ledger", file}, "| handshake (CPU per operation) | 100 µs |"},
		{[]string{"-html", page, file}, ""},
	} {
		var out bytes.Buffer
		if err := show(tt.args, &out); err != nil || !strings.Contains(out.String(), tt.want) {
			t.Errorf("show(%q) = %v, prints\n%s\nwant %q in it", tt.args, err, out.String(), tt.want)
		}
	}
	if data, err := os.ReadFile(page); err != nil || !bytes.Contains(data, []byte("<h1>A run</h1>")) {
		t.Errorf("the page: %v\n%s", err, data)
	}
	for _, args := range [][]string{{}, {file, file, file}, {"-ledger", file, file}, {filepath.Join(dir, "none.json")}} {
		if err := show(args, new(bytes.Buffer)); err == nil {
			t.Errorf("show(%q) succeeds, want an error", args)
		}
	}
}
