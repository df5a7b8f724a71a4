package verigate

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const dependenciesFile = "docs/dependencies.md"

// TestDependencyDocument holds docs/dependencies.md to go.mod and to the imports:
// every module that is used directly has a row, and no row is stale or too
// narrow.
func TestDependencyDocument(t *testing.T) {
	t.Parallel()
	required := requirements(t)
	importers, testers := map[string][]string{}, map[string]bool{}
	for folder, files := range sources(t) {
		for name, file := range files {
			for _, spec := range file.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatalf("%s: import %s: %v", name, spec.Path.Value, err)
				}
				module := moduleOf(required, path)
				switch {
				case module == "":
				case strings.HasSuffix(name, "_test.go"):
					testers[module] = true
				default:
					importers[module] = append(importers[module], folder)
				}
			}
		}
	}

	rows := map[string]bool{}
	for _, cells := range tableRows(t, dependenciesFile) {
		named := spans(cells[0])
		if len(cells) != 4 || len(named) != 1 {
			continue // a heading, or another table
		}
		module := named[0]
		rows[module] = true
		switch _, direct := required[module]; {
		case !direct:
			t.Errorf("%s names %s, which go.mod does not require", dependenciesFile, module)
		case len(importers[module]) == 0 && !testers[module]:
			t.Errorf("%s names %s, which nothing imports", dependenciesFile, module)
		}
		allowed := spans(cells[2])
		for _, folder := range importers[module] {
			if !slices.Contains(allowed, folder) {
				t.Errorf("%s imports %s; %s allows it for %q", folder, module, dependenciesFile, cells[2])
			}
		}
		for _, folder := range allowed {
			if !slices.Contains(importers[module], folder) {
				t.Errorf("%s allows %s for %s, which does not import it", dependenciesFile, module, folder)
			}
		}
	}
	for module, indirect := range required {
		used := len(importers[module]) > 0 || testers[module]
		if (used || !indirect) && !rows[module] {
			t.Errorf("%s is a direct dependency and has no row in %s", module, dependenciesFile)
		}
	}
}

// requirements returns the modules that go.mod requires, and whether each is
// marked indirect.
func requirements(t *testing.T) map[string]bool {
	t.Helper()
	data, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	required := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		line, comment, _ := strings.Cut(strings.TrimSpace(line), "//")
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) == 2 && strings.Contains(fields[0], ".") && strings.HasPrefix(fields[1], "v") {
			required[fields[0]] = strings.TrimSpace(comment) == "indirect"
		}
	}
	if len(required) == 0 {
		t.Fatal("go.mod requires nothing: the test does not read it rightly")
	}
	return required
}

// moduleOf returns the required module that has the package path, "" if none has.
func moduleOf(required map[string]bool, path string) string {
	longest := ""
	for module := range required {
		if (path == module || strings.HasPrefix(path, module+"/")) && len(module) > len(longest) {
			longest = module
		}
	}
	return longest
}
