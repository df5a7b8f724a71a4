package verigate

import (
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestArchitectureShowsTheLayers holds the table in ARCHITECTURE.md to the one that
// the imports are held to.
func TestArchitectureShowsTheLayers(t *testing.T) {
	t.Parallel()
	const file = "ARCHITECTURE.md"
	var shown []string
	for _, cells := range tableRows(t, file) {
		if len(cells) != 4 {
			continue
		}
		if named := spans(cells[1]); len(named) == 1 {
			shown = append(shown, named[0])
		}
	}
	var want []string
	for _, r := range rooms {
		want = append(want, r.folder)
	}
	if !slices.Equal(shown, want) {
		t.Errorf("%s shows the rooms\n\t%q, want\n\t%q", file, shown, want)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for folder := range beside {
		if !strings.Contains(string(text), "`"+folder+"`") {
			t.Errorf("%s does not name %s, which stands beside the layers", file, folder)
		}
	}
}

// TestPastBugsDocument holds docs/past-bugs.md to the tests: each one it names
// exists, and a bug without a test is said to be open.
func TestPastBugsDocument(t *testing.T) {
	t.Parallel()
	const file = "docs/past-bugs.md"
	packages := sources(t)
	found := 0
	for _, cells := range tableRows(t, file) {
		if len(cells) != 3 || cells[0] == "Bug" || strings.HasPrefix(cells[0], "-") {
			continue
		}
		found++
		named := 0
		for _, name := range spans(cells[2]) {
			if !testName.MatchString(name) {
				continue
			}
			named++
			if !testExists(packages, name) {
				t.Errorf("%s: %s: there is no test %s", file, cells[0], name)
			}
		}
		if open := strings.HasPrefix(cells[2], "open"); open == (named > 0) {
			t.Errorf("%s: %s names %d tests and says open: %v; want a test, or open", file, cells[0], named, open)
		}
	}
	if found == 0 {
		t.Errorf("%s has no rows of three cells", file)
	}
}

// TestNamedTestsExist makes sure that what a document offers as a proof is there:
// SECURITY.md, the decision records and all others.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	packages := sources(t)
	for _, file := range documents(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		named := 0
		for _, name := range spans(string(data)) {
			switch {
			case testName.MatchString(name):
				named++
				if !testExists(packages, name) {
					t.Errorf("%s: there is no test %s", file, name)
				}
			case bareTestName.MatchString(name):
				if !slices.ContainsFunc(slices.Collect(maps.Keys(packages)), func(folder string) bool {
					return testExists(packages, folder+"."+name)
				}) {
					t.Errorf("%s: no package has a test %s", file, name)
				}
			}
		}
		if file == "SECURITY.md" && named == 0 {
			t.Errorf("%s names no test that proves a defence", file)
		}
	}
}

// kinds are what a changelog entry may be of, in the order of a release's page.
var kinds = []string{"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}

// TestChangelogEntries checks the form of what will be joined at a release.
func TestChangelogEntries(t *testing.T) {
	t.Parallel()
	entries, err := filepath.Glob("changelog/unreleased/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range entries {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		first, rest, _ := strings.Cut(string(data), "\n")
		if kind, ok := strings.CutPrefix(first, "Kind: "); !ok || !slices.Contains(kinds, kind) {
			t.Errorf("%s begins with %q, want Kind: and one of %q", name, first, kinds)
		}
		if !strings.HasPrefix(rest, "\nGateway now ") {
			t.Errorf("%s does not say, after an empty line, what the %q does", name, "Gateway now")
		}
	}
}

// TestDecisionRecords checks that the records are whole, numbered without gaps and
// indexed, and that those that documents refer to exist.
func TestDecisionRecords(t *testing.T) {
	t.Parallel()
	records, err := filepath.Glob("docs/adr/[0-9]*.md")
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile("docs/adr/README.md")
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[string]bool{}
	for i, name := range records {
		base := filepath.Base(name)
		number := fmt.Sprintf("%04d", i+1)
		numbers[number] = true
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		title, _, _ := strings.Cut(strings.TrimPrefix(text, "# "+number+". "), "\n")
		if !strings.HasPrefix(base, number+"-") || !strings.HasPrefix(text, "# "+number+". ") {
			t.Errorf("%s is record %s by its place, and its name or heading says otherwise", name, number)
		}
		for _, part := range []string{"\n## Context\n", "\n## Decision\n", "\n## Consequences\n"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s has no part %q", name, strings.TrimSpace(part))
			}
		}
		if line := fmt.Sprintf("| [%s](%s) | %s |\n", number, base, title); !strings.Contains(string(index), line) {
			t.Errorf("docs/adr/README.md lacks the line %q", line)
		}
	}
	for _, name := range documents(t) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range recordNumber.FindAllStringSubmatch(string(data), -1) {
			if !numbers[match[1]] {
				t.Errorf("%s refers to ADR %s, which does not exist", name, match[1])
			}
		}
	}
}

var recordNumber = regexp.MustCompile(`\bADR ([0-9]{4})\b`)

// markdownLink is a link to a file, with or without an anchor in it.
var markdownLink = regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)

// TestProfileNamesNoPathOfAMachine looks into the compiler's profile.
func TestProfileNamesNoPathOfAMachine(t *testing.T) {
	t.Parallel()
	const file = "cmd/gateway/default.pgo"
	packed, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	profile, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(profile)
	if err != nil {
		t.Fatal(err)
	}
	if path := regexp.MustCompile(`/(tmp|var|home|root|work|Users)/[\x20-\x7e]*`).Find(content); path != nil {
		t.Errorf("%s has the path %s; benchmarks/pgo.sh makes it without", file, path)
	}
}

// TestLinksLeadSomewhere checks the links from one document to another.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	found := 0
	for _, name := range documents(t) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range markdownLink.FindAllStringSubmatch(string(data), -1) {
			found++
			target := filepath.Join(filepath.Dir(name), filepath.FromSlash(match[1]))
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", name, match[1], err)
			}
		}
	}
	if found == 0 {
		t.Error("no document has a link: the test does not read them rightly")
	}
}

// documents returns the Markdown files of the repository.
func documents(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && path != "."
		if d.IsDir() && (hidden || slices.Contains([]string{"testdata", "build", "bin", "node_modules"}, d.Name())) {
			return filepath.SkipDir
		}
		if !d.IsDir() && filepath.Ext(path) == ".md" {
			names = append(names, path)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("walking the repository: %v", err)
	}
	return names
}
