package verigate

import (
	"go/ast"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const conformanceFile = "docs/conformance.md"

// requirementID is how comments and tests cite a rule.
var requirementID = regexp.MustCompile(`\b(?:ID|CERT|TD|BUN|FED|WL|DISC|PKIX|REV|TLS|CACHE|AUTHZ|ROUTE|UP|FWD|APP|AUD|ASR|KEY|ALG|OQ)-[0-9]{2}\b`)

// codeSpan is what a document names to the letter.
var codeSpan = regexp.MustCompile("`([^`]+)`")

// TestConformanceDocument holds docs/conformance.md to the code: what it names
// exists, and what the code cites is in it.
func TestConformanceDocument(t *testing.T) {
	t.Parallel()
	packages := sources(t)
	rows := map[string]bool{}
	for _, cells := range tableRows(t, conformanceFile) {
		id := cells[0]
		switch {
		case requirementID.FindString(id) != id:
			continue // a heading, or another table
		case rows[id]:
			t.Errorf("%s has %s twice", conformanceFile, id)
			continue
		}
		rows[id] = true
		switch len(cells) {
		case 3: // a reading
		case 6:
			checkConformance(t, packages, cells)
		default:
			t.Errorf("%s: %s has %d cells, want 6, or 3 in the table of readings", conformanceFile, id, len(cells))
		}
	}
	for cited, where := range citations(t, packages) {
		if !rows[cited] {
			t.Errorf("%s cites %s, which has no row in %s", where, cited, conformanceFile)
		}
	}
}

// checkConformance judges a row: ID, requirement, status, code, tests, notes.
func checkConformance(t *testing.T, packages map[string]map[string]*ast.File, cells []string) {
	t.Helper()
	id, status, notes := cells[0], cells[2], cells[5]
	code, tests := spans(cells[3]), spans(cells[4])
	switch status {
	case "met":
		if len(code) == 0 {
			t.Errorf("%s is met, and no code is named", id)
		}
		if len(tests) == 0 && !strings.HasPrefix(notes, "By construction:") {
			t.Errorf("%s is met, and neither is a test named nor do the notes begin with %q", id, "By construction:")
		}
	case "partly":
		if len(code) == 0 || notes == "" {
			t.Errorf("%s is met partly, and either the code is not named or the notes do not say what is missing", id)
		}
	case "not yet":
		if len(code)+len(tests) > 0 {
			t.Errorf("%s is not met yet, and names %q", id, slices.Concat(code, tests))
		}
	case "not applicable":
		if notes == "" {
			t.Errorf("%s is not applicable, and the notes do not say why", id)
		}
	default:
		t.Errorf("%s has the status %q, want met, partly, not yet or not applicable", id, status)
	}
	for _, name := range code {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("%s: code %s: %v", id, name, err)
		}
	}
	for _, name := range tests {
		if !testExists(packages, name) {
			t.Errorf("%s: there is no test %s", id, name)
		}
	}
}

// testName is a test function with its package, as the documents write it.
var testName = regexp.MustCompile(`^[a-z0-9/]+\.(?:Test|Fuzz|Benchmark)[A-Z]\w*$`)

// bareTestName is one without its package.
var bareTestName = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)[A-Z]\w*$`)

// testExists reports whether name, such as trust/files.TestOpenFailsClosed, is a
// test function of the repository.
func testExists(packages map[string]map[string]*ast.File, name string) bool {
	dot := strings.LastIndexByte(name, '.') // the root's folder is "." itself
	folder, function := name[:dot], name[dot+1:]
	for file, parsed := range packages[folder] {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == function {
				return true
			}
		}
	}
	return false
}

// citations returns the requirements that Go files cite, each with one file that
// does. It reads the text rather than the comments: the names of test cases cite
// requirements too.
func citations(t *testing.T, packages map[string]map[string]*ast.File) map[string]string {
	t.Helper()
	cited := map[string]string{}
	for _, files := range packages {
		for file := range files {
			if path.Base(file) == "conformance_doc_test.go" {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range requirementID.FindAllString(string(text), -1) {
				cited[id] = file
			}
		}
	}
	return cited
}

// tableRows returns the cells of all rows of all tables in a Markdown file.
func tableRows(t *testing.T, name string) (rows [][]string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		inner, ok := strings.CutPrefix(line, "|")
		if !ok {
			continue
		}
		inner = strings.TrimSuffix(inner, "|")
		cells := strings.Split(inner, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

// spans returns what text has between backquotes.
func spans(text string) (all []string) {
	for _, match := range codeSpan.FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all
}
