package assurance

import (
	_ "embed"
	"slices"
)

//go:embed maal-local-1.json
var profileDocument []byte

// ProfileDocument returns what the grades of [MAALProfile] mean, as JSON: for each
// characteristic the question that it answers, the meaning of grades 0 to
// [MaxGrade], and what observation lowers. It is for operators who write
// statements, and for those who read them. The caller owns the slice.
func ProfileDocument() []byte { return slices.Clone(profileDocument) }
