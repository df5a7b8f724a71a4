package http1gate_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type corpusCase struct {
	ID     string `json:"id"`
	Raw    []byte `json:"raw"`
	Expect string `json:"expect"`
	N      int    `json:"n"`
	Why    string `json:"why"`
}

// difference is a case whose expectation is not met, and why that is right.
type difference struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

func readLines[T any](t *testing.T, path string) (all []T) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, v)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// The corpora are judged through the gate and a real server. A case that expects
// a refusal must not be served, one that expects service must be served as often
// as it says, and "either" is free. Every exception is listed with its reason in
// testdata/differences.jsonl; an exception that does not occur is an error too.
func TestCorpora(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("CORPORA")
	if dir == "" {
		t.Log("CORPORA is not set: 413 foreign cases were NOT judged; set it to the folder that has h1-rfc.jsonl")
		t.Skip("no corpora")
	}
	listed := map[string]bool{}
	for _, d := range readLines[difference](t, "testdata/differences.jsonl") {
		if d.Reason == "" || listed[d.ID] {
			t.Errorf("difference %q has no reason or is listed twice", d.ID)
		}
		listed[d.ID] = true
	}
	differs := map[string]bool{} // a few cases share an ID
	s := serve(t, nil, record)
	for _, name := range []string{"h1-rfc.jsonl", "h1-llhttp.jsonl"} {
		for _, c := range readLines[corpusCase](t, filepath.Join(dir, name)) {
			x := s.send(t, string(c.Raw))
			met := true
			switch c.Expect {
			case "accept":
				met = len(x.served) == c.N
			case "reject":
				met = len(x.served) < c.N && !strings.Contains(strings.Join(x.served, "\n"), "/smuggled")
			}
			if met {
				continue
			}
			differs[c.ID] = true
			if !listed[c.ID] {
				t.Errorf("%s: served %q with %v (%s), want %s of %d\n%q\n%s",
					c.ID, x.served, x.responses, code(x.violation), c.Expect, c.N, c.Raw, c.Why)
			}
		}
	}
	for id := range listed {
		if !differs[id] {
			t.Errorf("%s is listed as a difference and is none", id)
		}
	}
}
