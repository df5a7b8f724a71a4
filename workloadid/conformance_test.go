package workloadid_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verigate/workloadid"
)

// foreign is one verdict that go-spiffe's own tests fix.
type foreign struct {
	In   []byte `json:"in"`
	Kind string `json:"kind"` // id, td, path, segment
	OK   bool   `json:"ok"`
	Out  string `json:"out"`
}

// TestConformance asks this package what go-spiffe was asked. It may refuse more,
// for a reason that testdata/stricter.txt gives, and must never accept more. It
// runs where the environment variable CORPORA names the folder of the corpora.
func TestConformance(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("CORPORA")
	if folder == "" {
		t.Log("CORPORA IS NOT SET: identifiers were NOT compared with go-spiffe's verdicts")
		t.Skip("set CORPORA to the folder that has spiffe-id.jsonl")
	}
	file, err := os.Open(filepath.Join(folder, "spiffe-id.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stricter := readStricter(t)
	used := make(map[string]bool)
	cases := 0
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c foreign
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatalf("line %d: %v", cases+1, err)
		}
		cases++
		got, ok := answer(t, c.Kind, string(c.In))
		key := c.Kind + " " + string(c.In)
		switch {
		case ok && !c.OK:
			t.Errorf("%s %q is accepted, go-spiffe refuses it", c.Kind, c.In)
		case ok && got != c.Out:
			t.Errorf("%s %q gives %q, go-spiffe gives %q", c.Kind, c.In, got, c.Out)
		case !ok && c.OK && stricter[key] == "":
			t.Errorf("%s %q is refused, go-spiffe accepts it, and testdata/stricter.txt gives no reason", c.Kind, c.In)
		case !ok && c.OK:
			used[key] = true
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if cases < 1000 {
		t.Errorf("%d cases were found, want the whole corpus of more than 1000", cases)
	}
	for key := range stricter {
		if !used[key] {
			t.Errorf("testdata/stricter.txt lists %q, where there is no difference: remove it", key)
		}
	}
}

// answer returns what this package makes of in.
func answer(t *testing.T, kind, in string) (out string, ok bool) {
	t.Helper()
	const origin = "spiffe://td"
	switch kind {
	case "id":
		id, err := workloadid.Parse(in)
		return id.String(), err == nil
	case "td": // the name of a trust domain, or an identifier of it
		if !strings.Contains(in, "://") {
			o, err := workloadid.ParseOrigin("spiffe://" + in)
			return o.TrustDomain(), err == nil
		}
		id, err := workloadid.Parse(in)
		return id.Origin().TrustDomain(), err == nil
	case "path":
		id, err := workloadid.Parse(origin + in)
		// What has no slash in front would be read as part of the trust domain.
		return id.Path(), err == nil && id.Origin().String() == origin
	case "segment":
		id, err := workloadid.Parse(origin + "/" + in)
		segment := strings.TrimPrefix(id.Path(), "/")
		return segment, err == nil && !strings.Contains(segment, "/")
	}
	t.Fatalf("unknown kind %q", kind)
	return "", false
}

// readStricter returns the reviewed differences: for "kind input" the reason.
func readStricter(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "stricter.txt"))
	if err != nil {
		t.Fatal(err)
	}
	reasons := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason, found := strings.Cut(line, "\t")
		if !found || strings.TrimSpace(reason) == "" {
			t.Fatalf("testdata/stricter.txt: %q has no reason", line)
		}
		reasons[key] = strings.TrimSpace(reason)
	}
	return reasons
}
