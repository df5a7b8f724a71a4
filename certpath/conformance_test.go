package certpath

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// pkitsTime is within the validity of the PKITS certificates that are meant to
// be valid; its cases have no time of their own.
var pkitsTime = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// The kinds of differences. testdata/README.md explains them.
const (
	notJudgedYet   = "not judged yet"
	anotherProduct = "another product's rule"
	disagree       = "corpora disagree"
	stricter       = "stricter"
)

// TestConformance judges what others say about certificates: C2SP x509-limbo and
// NIST PKITS through the pkix profile, with the answers of crypto/x509 as the
// baseline to equal or to beat.
func TestConformance(t *testing.T) {
	t.Parallel()
	dir := corpora(t)
	kinds := readDifferences(t)
	seen := make(map[string]bool, len(kinds))
	for _, suite := range []string{"limbo", "pkits"} {
		baseline := make(map[string]string)
		for _, line := range readLines(t, filepath.Join(dir, "std-"+suite+"-chain-any.jsonl")) {
			var std struct{ ID, Got string }
			decode(t, line, &std)
			baseline[std.ID] = std.Got
		}
		var accepted, rejected, wrong, stdWrong, notJudged, differences int
		for _, line := range readLines(t, filepath.Join(dir, suite+".jsonl")) {
			var c struct {
				Case
				Expect string `json:"expect"`
			}
			decode(t, line, &c)
			_, err := c.Verify(Verifier{}, trust.BundleOptions{}, pkitsTime)
			got := "accept"
			if err != nil {
				got = "reject"
				if ReasonOf(err) == ReasonNone {
					t.Errorf("%s: Verify() = %v, want an *Error", c.ID, err)
				}
			}
			if got == "accept" && baseline[c.ID] == "reject" {
				t.Errorf("%s: accepted, although x509.Certificate.Verify refuses it", c.ID)
			}
			kind := kinds[c.ID]
			seen[c.ID] = true
			switch {
			case got == c.Expect && kind != "":
				t.Errorf("%s: the answer is right: remove it from the differences", c.ID)
			case got != c.Expect && kind == "":
				t.Errorf("%s: Verify() = %v, want %s (not among the reviewed differences)", c.ID, err, c.Expect)
			case got == "accept" && kind == stricter:
				t.Errorf("%s: accepted, but listed as %q", c.ID, kind)
			}
			if kind == notJudgedYet {
				notJudged++
				continue
			}
			if kind != "" {
				differences++
			}
			if got != c.Expect {
				wrong++
			}
			if got == "accept" {
				accepted++
			} else {
				rejected++
			}
			if std := baseline[c.ID]; std != c.Expect && std != "skip" {
				stdWrong++
			}
		}
		t.Logf("%s: judged %d (accepted %d, rejected %d), differences %d, not judged yet %d; crypto/x509 differs %d times",
			suite, accepted+rejected, accepted, rejected, differences, notJudged, stdWrong)
		if wrong > stdWrong {
			t.Errorf("%s: %d answers differ, more than the %d of crypto/x509", suite, wrong, stdWrong)
		}
	}
	for id := range kinds {
		if !seen[id] {
			t.Errorf("differences.json lists %s, which no corpus has", id)
		}
	}
}

// TestConformanceSVID judges what go-spiffe's tests say about leaf profiles. No
// answer may differ.
func TestConformanceSVID(t *testing.T) {
	t.Parallel()
	dir := corpora(t)
	var judged, accepted int
	for i, line := range readLines(t, filepath.Join(dir, "spiffe-svid.jsonl")) {
		var c svidCase
		decode(t, line, &c)
		if strings.Contains(c.Err, "bundleSource is required") {
			continue // a slip of a Go caller, which the types here do not allow
		}
		judged++
		id, err := c.judge()
		if (err == nil) != c.OK {
			t.Errorf("line %d: judged %v, want ok %v (go-spiffe: %q)", i+1, err, c.OK, c.Err)
		}
		if err == nil {
			accepted++
			if id.String() != c.ID {
				t.Errorf("line %d: identifier %q, want %q", i+1, id, c.ID)
			}
		}
	}
	t.Logf("spiffe-svid: judged %d (accepted %d, rejected %d), differences 0", judged, accepted, judged-accepted)
}

type svidCase struct {
	Kind, ID, TD, Err, Time string
	Chain, Bundle           [][]byte
	OK                      bool
}

// judge answers one case. Those of kind "svid" have no bundle: they ask for the
// profile of the leaf, and whether the rest are CAs.
func (c *svidCase) judge() (workloadid.ID, error) {
	if len(c.Chain) == 0 {
		return workloadid.ID{}, CheckLimits(nil)
	}
	chain, err := parseAll(0, c.Chain)
	if err != nil {
		return workloadid.ID{}, err
	}
	leaf := chain[0]
	// Some of go-spiffe's tests change the certificate after it was parsed, which
	// the recorded octets cannot show.
	switch {
	case strings.Contains(c.Err, "leaf certificate with CA flag"):
		leaf.BasicConstraintsValid, leaf.IsCA = true, true
	case strings.Contains(c.Err, "leaf certificate with KeyCertSign"):
		leaf.KeyUsage |= x509.KeyUsageCertSign
	case strings.Contains(c.Err, "leaf certificate with KeyCrlSign"):
		leaf.KeyUsage |= x509.KeyUsageCRLSign
	}
	now := leaf.NotBefore
	if c.Time != "" {
		if now, err = time.Parse(time.RFC3339, c.Time); err != nil {
			return workloadid.ID{}, err
		}
	}
	id, err := Identify(leaf)
	if err != nil {
		return workloadid.ID{}, err
	}
	anchors, err := parseAll(len(chain), c.Bundle)
	if err != nil {
		return workloadid.ID{}, err
	}
	origin := id.Origin()
	if c.TD != "" {
		if origin, err = workloadid.ParseOrigin("spiffe://" + c.TD); err != nil {
			return workloadid.ID{}, err
		}
	}
	// Its subjects are empty and its SANs not critical.
	bundle, err := trust.NewBundle(origin, trust.BundleOptions{Anchors: anchors, LenientSubject: true})
	if err != nil {
		return workloadid.ID{}, err
	}
	if c.Kind == "verify" {
		_, err := Verify(chain, bundle, RoleClient, now)
		return id, err
	}
	if fault := checkWorkloadLeaf(leaf, id, bundle, bundle.Options(), RoleClient); fault != nil {
		return workloadid.ID{}, fault
	}
	for depth, issuer := range chain[1:] {
		if fault := checkIssuer(issuer, depth+1, depth); fault != nil {
			return workloadid.ID{}, fault
		}
	}
	return id, nil
}

// corpora returns the folder of the foreign cases.
func corpora(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CORPORA")
	if dir == "" {
		t.Log("CORPORA IS NOT SET: no foreign case was judged; set it to the folder that has limbo.jsonl")
		t.Skip("CORPORA is not set")
	}
	return dir
}

func readDifferences(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/differences.json")
	if err != nil {
		t.Fatal(err)
	}
	var groups []struct {
		Kind, Why string
		IDs       []string
	}
	decode(t, data, &groups)
	kinds := make(map[string]string)
	for _, g := range groups {
		switch g.Kind {
		case notJudgedYet, anotherProduct, disagree, stricter:
		default:
			t.Errorf("differences.json: kind %q is not one of the four", g.Kind)
		}
		if g.Why == "" {
			t.Errorf("differences.json: no reason is given for %v", g.IDs)
		}
		for _, id := range g.IDs {
			if kinds[id] != "" {
				t.Errorf("differences.json lists %s twice", id)
			}
			kinds[id] = g.Kind
		}
	}
	return kinds
}

func readLines(t *testing.T, name string) [][]byte {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var lines [][]byte
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		lines = append(lines, append([]byte(nil), scanner.Bytes()...))
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

func decode(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}
