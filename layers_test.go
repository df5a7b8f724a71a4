package verigate

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// room is a package and what it may import. The order of rooms is the order of
// the table in ARCHITECTURE.md: a package imports only from rooms above its own.
type room struct {
	folder string
	// outside lists the modules besides the standard library that the room may
	// import; nil is none, anything is everything that go.mod names.
	outside []string
}

var anything = []string{"*"}

var rooms = []room{
	{folder: "workloadid"},
	{folder: "assurance"},
	{folder: "trust"},
	{folder: "certpath", outside: []string{"github.com/cloudflare/circl"}},
	{folder: "verifycache", outside: []string{"github.com/dgraph-io/ristretto"}},
	{folder: "routing"},
	{folder: "policy"},
	{folder: "tlsterm", outside: anything},
	{folder: "upstream", outside: anything},
	{folder: "handoff", outside: anything},
	{folder: "http1gate", outside: anything},
	{folder: "telemetry", outside: anything},
	{folder: "gateway", outside: anything},
	{folder: "admin", outside: anything},
	{folder: "config", outside: anything},
	{folder: "cmd/gateway", outside: anything},
}

// beside are packages outside the layers, with who may import them.
var beside = map[string][]string{
	"trust/files":        {"cmd/gateway"},
	"trust/federation":   {"cmd/gateway"},
	"trust/workloadapi":  {"cmd/gateway"},
	"trust/crlfetch":     {"cmd/gateway"},
	"trust/mirror":       {"trust/federation", "trust/workloadapi", "trust/crlfetch", "cmd/gateway"},
	"devpki":             {"cmd/gateway", "loadtest", "benchmarks", "deploy"},
	"config/schemagen":   {},
	"internal/race":      {}, // for tests
	"internal/footprint": {"cmd/gateway"},
	"internal/netpoll":   {"tlsterm", "internal/footprint"},
	"deploy":             {},
	"loadtest":           {},
	"benchmarks":         {"loadtest"},

	"internal/timerslack":          {"cmd/gateway"},
	"internal/x25519":              {"cmd/gateway"},
	"internal/x25519/overlay":      {},
	"internal/netpoll/netpolltest": {}, // for tests
}

// parents returns how a folder is called in the tables: itself, or the entry that
// covers everything below it.
func entryOf(folder string) string {
	for name := range beside {
		if folder == name || (name == "deploy" || name == "loadtest" || name == "benchmarks") && strings.HasPrefix(folder, name+"/") {
			return name
		}
	}
	return folder
}

func TestImportsFollowTheLayers(t *testing.T) {
	t.Parallel()
	layer := map[string]int{}
	for i, r := range rooms {
		layer[r.folder] = i
	}
	for folder, files := range sources(t) {
		entry := entryOf(folder)
		at, isRoom := layer[entry]
		if _, isBeside := beside[entry]; !isRoom && !isBeside && folder != "." {
			t.Errorf("package %s has no place in the layers; give it one in layers_test.go and ARCHITECTURE.md", folder)
			continue
		}
		for name, file := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue // tests may stand outside
			}
			for _, spec := range file.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatalf("%s: import %s: %v", name, spec.Path.Value, err)
				}
				own, inside := strings.CutPrefix(path, "verigate/")
				switch {
				case inside:
					if why := forbidden(own, entry, at, isRoom, layer); why != "" {
						t.Errorf("%s imports %s: %s", name, path, why)
					}
				case strings.Contains(strings.Split(path, "/")[0], ".") && isRoom && !allowed(rooms[at].outside, path):
					t.Errorf("%s imports %s: the room %s may use %v besides the standard library", name, path, entry, rooms[at].outside)
				}
			}
		}
	}
}

// forbidden says why entry must not import own, "" if it may.
func forbidden(own, entry string, at int, isRoom bool, layer map[string]int) string {
	imported := entryOf(own)
	if importers, ok := beside[imported]; ok {
		if imported == entry {
			return ""
		}
		for _, who := range importers {
			if who == entry {
				return ""
			}
		}
		return "it stands beside the layers, for " + strings.Join(importers, ", ") + " only"
	}
	if !isRoom {
		return "" // packages beside the layers may use any room
	}
	if below, ok := layer[imported]; !ok || below >= at {
		return "a room imports only from rooms above its own"
	}
	return ""
}

func allowed(outside []string, path string) bool {
	for _, module := range outside {
		if module == "*" || path == module || strings.HasPrefix(path, module+"/") {
			return true
		}
	}
	return false
}

// TestPackageComments makes sure that whoever opens a package is told what it is
// for, once.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	for folder, files := range sources(t) {
		var with []string
		library := false
		for name, file := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			library = true
			if file.Doc != nil {
				with = append(with, name)
			}
		}
		if library && len(with) != 1 {
			t.Errorf("package %s has %d package comments %v, want exactly one", folder, len(with), with)
		}
	}
}

// sources parses every Go file of the repository, by folder. It reads the files
// itself: a list made by another process would be answered from the test cache.
func sources(t *testing.T) map[string]map[string]*ast.File {
	t.Helper()
	all := map[string]map[string]*ast.File{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "build") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		if all[folder] == nil {
			all[folder] = map[string]*ast.File{}
		}
		all[folder][path] = file
		return nil
	})
	if err != nil {
		t.Fatalf("walking the repository: %v", err)
	}
	return all
}
