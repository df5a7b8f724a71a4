package assurance_test

import (
	"fmt"
	"time"

	"verigate/assurance"
)

func Example() {
	// The operator knows how the platform's issuing CA enrols workloads.
	issuing := [32]byte{0xc0, 0xff, 0xee}
	profile, err := assurance.Compile(assurance.Options{
		Statements: []assurance.Statement{{
			IssuerSPKI: issuing,
			MIAL:       assurance.MIAL3,
			MAAL:       assurance.MAAL{assurance.Provenance: 3, assurance.Governance: 3},
		}},
		MaxLifetime: 24 * time.Hour,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	now := time.Now()
	leaf := assurance.Evidence{
		IssuerSPKI: [][32]byte{issuing}, KeyAlgorithm: "ECDSA", KeyBits: 256,
		NotBefore: now.Add(-time.Minute), Lifetime: time.Hour,
	}
	route := assurance.Requirement{MIAL: assurance.MIAL2, MAAL: assurance.MAAL{assurance.Governance: 2}}

	grade, _ := profile.GradeAt(leaf, now)
	fmt.Println(grade.MIAL, grade.Meets(route) == nil)

	leaf.Lifetime = 30 * 24 * time.Hour
	grade, _ = profile.GradeAt(leaf, now)
	fmt.Println(grade.MIAL, grade.Meets(route))
	// Output:
	// MIAL-3 true
	// MIAL-1 [mial is 1, 2 required governance is 0, 2 required]
}
