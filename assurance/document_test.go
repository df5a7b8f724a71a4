package assurance_test

import (
	"encoding/json"
	"testing"

	"verigate/assurance"
)

// ASR-06: the profile is local, versioned, and says so.
func TestProfileDocumentDescribesTheVector(t *testing.T) {
	t.Parallel()
	var document struct {
		Profile         string
		Status          string
		Characteristics []struct {
			Name, Question, Observed string
			Grades                   []string
		}
	}
	if err := json.Unmarshal(assurance.ProfileDocument(), &document); err != nil {
		t.Fatalf("the profile document is not JSON: %v", err)
	}
	if document.Profile != assurance.MAALProfile || document.Status == "" {
		t.Errorf("the document is for profile %q with status %q, want %q and a status", document.Profile, document.Status, assurance.MAALProfile)
	}
	if got, want := len(document.Characteristics), len(assurance.MAAL{}); got != want {
		t.Fatalf("the document describes %d characteristics, want %d", got, want)
	}
	for i, c := range document.Characteristics {
		if want := assurance.Characteristic(i).String(); c.Name != want {
			t.Errorf("characteristic %d is %q in the document, want %q", i, c.Name, want)
		}
		if len(c.Grades) != assurance.MaxGrade+1 || c.Question == "" || c.Observed == "" {
			t.Errorf("%s has %d grades, question %q, observed %q; want %d grades and both texts", c.Name, len(c.Grades), c.Question, c.Observed, assurance.MaxGrade+1)
		}
	}
}
