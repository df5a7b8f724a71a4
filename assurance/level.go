package assurance

import "fmt"

// MIAL is a machine identity assurance level. Levels are ordered and each
// includes the ones below it, so >= compares them (ASR-01). The zero level is
// MIAL0.
//
// The texts of the draft's fourth and fifth level ask for "the conditions in
// MIAL-3" and "in MIAL-4", which are those levels themselves. That is an
// off-by-one in its cross references: this package numbers the levels as the
// headings do, 0 to 4, and reads the references as MIAL-2 and MIAL-3 (ASR-02).
// The levels are not those of the older WAML list, whose 0 to 6 measure
// something else (ASR-12).
type MIAL uint8

// The levels, in words of this project; draft-lombardo-wimse-workload-identity-authentication-levels has
// the source.
const (
	// MIAL0: there need not be an identity, and nothing backs one that is offered.
	MIAL0 MIAL = iota
	// MIAL1: a credential alone was shown, issued without attestation. Holders of
	// the same credential cannot be told apart.
	MIAL1
	// MIAL2: the identity came out of attestation and proofing rooted in the
	// workload's environment, and a relying party can check that.
	MIAL2
	// MIAL3: MIAL-2, and the integrity of the software, its configuration and its
	// supply chain were verified.
	MIAL3
	// MIAL4: MIAL-3, and the environment it is deployed in was verified too, in a
	// form that fits that environment.
	MIAL4
)

// String returns the level as the draft's headings write it, such as "MIAL-2".
func (m MIAL) String() string { return fmt.Sprintf("MIAL-%d", uint8(m)) }

// MAALProfile names what the grades of a [MAAL] mean. The draft names eight
// characteristics and defines no levels for them, so the numbers are this
// project's own, and every place that publishes one publishes this name with it.
// They are never a claim of conformance (ASR-06).
//
// Under maal-local/1 each characteristic is graded from 0 to [MaxGrade]:
//
//	0  nothing is known, or what is known speaks against it
//	1  a documented practice exists
//	2  the practice is enforced by the issuer
//	3  and its enforcement is audited
//	4  and the audit is independent of the issuer
const MAALProfile = "maal-local/1"

// MaxGrade is the highest grade of a characteristic under [MAALProfile].
const MaxGrade = 4

// Characteristic indexes a [MAAL].
type Characteristic uint8

// The draft's eight characteristics, in its order.
const (
	Provenance  Characteristic = iota // how far the credential's provider is trusted
	Enrollment                        // what must hold before a credential comes into being
	Containment                       // where and how the credential may be stored
	Unlocking                         // how it is accessed in order to authenticate
	Boundary                          // where it may be used
	Reuse                             // whether and how one credential serves several resources
	Recovery                          // what happens when something goes wrong with it
	Governance                        // the rules of its life: age, rotation, revocation

	characteristics
)

var characteristicNames = [characteristics]string{
	Provenance:  "provenance",
	Enrollment:  "enrollment",
	Containment: "containment",
	Unlocking:   "unlocking",
	Boundary:    "boundary",
	Reuse:       "reuse",
	Recovery:    "recovery",
	Governance:  "governance",
}

// String returns the name that configuration uses, such as "provenance".
func (c Characteristic) String() string {
	if c < characteristics {
		return characteristicNames[c]
	}
	return fmt.Sprintf("assurance.Characteristic(%d)", uint8(c))
}

// ParseCharacteristic returns the characteristic that s names, in the spelling
// of [Characteristic.String].
func ParseCharacteristic(s string) (Characteristic, bool) {
	for c, name := range characteristicNames {
		if s == name {
			return Characteristic(c), true
		}
	}
	return 0, false
}

// MAAL holds one grade from 0 to [MaxGrade] per [Characteristic] under
// [MAALProfile]. Vectors are compared characteristic by characteristic only; no
// sum or other single number of them means anything.
type MAAL [characteristics]uint8

// Grade is what a verdict carries. The zero Grade is MIAL-0 with nothing known.
type Grade struct {
	MIAL MIAL
	MAAL MAAL
}

// Min returns the lower of a and b, characteristic by characteristic. It is how
// grades combine across hops: a backend may think of a caller no better than the
// caller's own grade, the gateway's and that of the hop between them (ASR-08).
func Min(a, b Grade) Grade {
	g := Grade{MIAL: min(a.MIAL, b.MIAL)}
	for c := range g.MAAL {
		g.MAAL[c] = min(a.MAAL[c], b.MAAL[c])
	}
	return g
}

// Requirement is the least that a route accepts. The zero Requirement accepts
// every grade.
type Requirement struct {
	MIAL MIAL
	MAAL MAAL
}

// Meets compares g with what is required and returns what falls short, one
// phrase each in the words of the configuration, such as "mial is 1, 3 required" or
// "governance is 0, 2 required". It returns nil when the requirement is met, and
// does not allocate then.
func (g Grade) Meets(require Requirement) (missing []string) {
	if g.MIAL < require.MIAL {
		missing = append(missing, fmt.Sprintf("mial is %d, %d required", g.MIAL, require.MIAL))
	}
	for c, want := range require.MAAL {
		if got := g.MAAL[c]; got < want {
			missing = append(missing, fmt.Sprintf("%v is %d, %d required", Characteristic(c), got, want))
		}
	}
	return missing
}
