package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestGeneratedFilesAreUpToDate fails when the types of package config, their
// comments or their tags changed and `go generate ./config` was not run.
func TestGeneratedFilesAreUpToDate(t *testing.T) {
	t.Chdir("..") // comments are found from the folder of the package
	s, err := reflectSchema(".")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := encode(s)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]byte{"schema.json": schema, "../docs/configuration.md": reference(s)} {
		got, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the types say (%v); run go generate ./config", file, err)
		}
	}
}

func TestEveryDefinitionHasASectionAndEveryLinkATarget(t *testing.T) {
	t.Chdir("..")
	s, err := reflectSchema(".")
	if err != nil {
		t.Fatal(err)
	}
	text := string(reference(s))
	for name := range s.Definitions {
		heading := headings[name]
		if heading == "" {
			t.Errorf("type %s has no heading", name)
		}
		if !strings.Contains(text, "\n## "+heading+"\n") {
			t.Errorf("the reference has no section %q", heading)
		}
	}
	for part := range strings.SplitSeq(text, "](#") {
		target, _, ok := strings.Cut(part, ")")
		if !ok || strings.HasPrefix(part, "# ") {
			continue
		}
		found := false
		for line := range strings.Lines(text) {
			if heading, ok := strings.CutPrefix(line, "## "); ok && anchor(strings.TrimSpace(heading)) == target {
				found = true
			}
		}
		if !found {
			t.Errorf("a link leads to #%s, which is no section", target)
		}
	}
}

func TestRunWritesBothFiles(t *testing.T) {
	t.Chdir("..")
	dir := t.TempDir()
	if err := run(dir+"/schema.json", dir+"/reference.md"); err != nil {
		t.Fatalf("run() = %v", err)
	}
	for _, name := range []string{"schema.json", "reference.md"} {
		if data, err := os.ReadFile(dir + "/" + name); err != nil || len(data) < 1000 {
			t.Errorf("%s has %d octets (%v), want a document", name, len(data), err)
		}
	}
}
