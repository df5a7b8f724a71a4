package assurance

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Evidence is what was observed on a validated path. All fields are plain
// values, so that this package needs no certificate.
type Evidence struct {
	// IssuerSPKI has the SHA-256 of the SubjectPublicKeyInfo of every CA of the
	// path: the issuing CA first, the anchor last.
	IssuerSPKI [][32]byte
	// PolicyOIDs are the dotted certificate policies of the leaf, as far as its
	// issuers may assert them (RFC 5280 §6.1).
	PolicyOIDs []string
	// Lifetime is NotAfter - NotBefore of the leaf.
	Lifetime time.Duration
	// NotBefore is when the leaf's validity begins, which stands for when it was
	// issued. Zero is not known, and counts as long ago.
	NotBefore time.Time
	// KeyAlgorithm of the leaf is "RSA", "ECDSA" or "Ed25519"; anything else is
	// of an unknown kind.
	KeyAlgorithm string
	// KeyBits is the size of the leaf's RSA modulus or curve.
	KeyBits int
	// ExtKeyUsageAny says that the leaf may be used for every purpose: it lists
	// anyExtendedKeyUsage, or no purposes at all (RFC 5280 §4.2.1.12).
	ExtKeyUsageAny bool
	// OtherPurposes is how many purposes the leaf lists besides client and server
	// authentication.
	OtherPurposes int
}

// Statement is what an operator says about those certificates of an origin that
// one issuing key signed or that carry one certificate policy. With neither
// IssuerSPKI nor PolicyOID it speaks for the whole origin. The grade is a
// ceiling; a statement of MIAL0 is a statement too.
type Statement struct {
	IssuerSPKI [32]byte // SHA-256 of the SubjectPublicKeyInfo of a CA on the path
	PolicyOID  string   // dotted, such as "1.3.6.1.4.1.99999.1"
	MIAL       MIAL
	MAAL       MAAL
}

// Options configures the grading of one origin.
type Options struct {
	// Statements are in any order; at most one per issuing key, per policy and
	// for the whole origin.
	Statements []Statement
	// MaxLifetime is how long a leaf may live without being lowered; 0 is no
	// limit.
	MaxLifetime time.Duration
	// MaxAge is how long a leaf keeps its grade, from its NotBefore on; 0 is no
	// limit. What was attested when it was issued becomes hearsay with time,
	// however long the certificate is valid.
	MaxAge time.Duration
	// MinRSABits is the smallest RSA key that is not lowered; 0 is
	// [DefaultMinRSABits].
	MinRSABits int
}

// DefaultMinRSABits is used where [Options.MinRSABits] is 0. Smaller keys are
// disallowed by NIST SP 800-131A since 2014.
const DefaultMinRSABits = 2048

// minCurveBits has P-224 and below count as weak.
const minCurveBits = 256

// manyPurposes is the most that [Boundary] can be for a leaf that is good for
// other things as well: its boundary is what its key usages say, and no network or
// audience that was meant for workloads.
const manyPurposes = 1

// Reason says what is wrong with an [Options].
type Reason uint8

// The reasons. ReasonNone is the zero value: nothing is wrong.
const (
	ReasonNone           Reason = iota
	ReasonTwoSubjects           // a statement about a key and a policy at once
	ReasonPolicyOID             // not a dotted object identifier, or anyPolicy
	ReasonLevel                 // a MIAL above 4
	ReasonCharacteristic        // a MAAL grade above 4
	ReasonDuplicate             // a second statement about the same subject
	ReasonLimit                 // a negative limit
)

var reasonText = [...]string{
	ReasonNone:           "no fault",
	ReasonTwoSubjects:    "a statement speaks about an issuing key or about a certificate policy, not both",
	ReasonPolicyOID:      "a certificate policy is a dotted object identifier other than anyPolicy (2.5.29.32.0)",
	ReasonLevel:          "a level is 0 to 4",
	ReasonCharacteristic: "the grade of a characteristic is 0 to 4",
	ReasonDuplicate:      "an earlier statement speaks about the same subject",
	ReasonLimit:          "a limit is not negative",
}

// String returns the rule that was broken, as a phrase for an operator.
func (r Reason) String() string {
	if int(r) < len(reasonText) {
		return reasonText[r]
	}
	return fmt.Sprintf("assurance.Reason(%d)", uint8(r))
}

// Error reports why an [Options] cannot be compiled.
type Error struct {
	Reason    Reason
	Statement int // index into Options.Statements; -1 for the limits
}

// Error names the rule and the place.
func (e *Error) Error() string {
	if e.Statement < 0 {
		return e.Reason.String()
	}
	return fmt.Sprintf("statement %d: %v", e.Statement+1, e.Reason)
}

// Profile grades the paths of one origin. It is immutable. The nil *Profile has
// no statements: every path grades MIAL-1.
type Profile struct {
	byIssuer map[[32]byte]Grade
	byPolicy map[string]Grade
	whole    Grade // what holds for the rest of the origin
	lifetime time.Duration
	age      time.Duration
	rsaBits  int
	digest   []byte
}

// Compile checks o and returns the profile that grades by it. The error joins
// one [*Error] for every fault. o is not kept.
func Compile(o Options) (*Profile, error) {
	p := &Profile{
		byIssuer: make(map[[32]byte]Grade),
		byPolicy: make(map[string]Grade),
		whole:    Grade{MIAL: MIAL1},
		lifetime: o.MaxLifetime,
		age:      o.MaxAge,
		rsaBits:  cmp.Or(o.MinRSABits, DefaultMinRSABits),
	}
	var faults []error
	if o.MaxLifetime < 0 || o.MaxAge < 0 || o.MinRSABits < 0 {
		faults = append(faults, &Error{Reason: ReasonLimit, Statement: -1})
	}
	spokenFor := false
	for i, s := range o.Statements {
		reason := s.fault()
		if reason == ReasonNone {
			grade := Grade{MIAL: s.MIAL, MAAL: s.MAAL}
			duplicate := false
			switch {
			case s.IssuerSPKI != [32]byte{}:
				_, duplicate = p.byIssuer[s.IssuerSPKI]
				p.byIssuer[s.IssuerSPKI] = grade
			case s.PolicyOID != "":
				_, duplicate = p.byPolicy[s.PolicyOID]
				p.byPolicy[s.PolicyOID] = grade
			default:
				duplicate = spokenFor
				spokenFor, p.whole = true, grade
			}
			if duplicate {
				reason = ReasonDuplicate
			}
		}
		if reason != ReasonNone {
			faults = append(faults, &Error{Reason: reason, Statement: i})
		}
	}
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	p.digest = p.encode(o.Statements)
	return p, nil
}

func (s Statement) fault() Reason {
	switch {
	case s.IssuerSPKI != [32]byte{} && s.PolicyOID != "":
		return ReasonTwoSubjects
	case s.PolicyOID != "" && !isPolicyOID(s.PolicyOID):
		return ReasonPolicyOID
	case s.MIAL > MIAL4:
		return ReasonLevel
	case slices.Max(s.MAAL[:]) > MaxGrade:
		return ReasonCharacteristic
	}
	return ReasonNone
}

// isPolicyOID accepts the one spelling that an object identifier has in dotted
// form, since policies are compared as strings. anyPolicy says that an issuer
// restricts nothing, so nothing can be stated about it.
func isPolicyOID(s string) bool {
	const anyPolicy = "2.5.29.32.0"
	if s == anyPolicy {
		return false
	}
	arcs := strings.Split(s, ".")
	if len(arcs) < 2 || len(arcs[0]) != 1 || arcs[0] > "2" {
		return false
	}
	for _, arc := range arcs {
		if arc == "" || arc[0] == '0' && arc != "0" || strings.Trim(arc, "0123456789") != "" {
			return false
		}
	}
	// Below the arcs 0 and 1 there are only 40 (X.660 §A.2).
	return arcs[0] == "2" || len(arcs[1]) == 1 || len(arcs[1]) == 2 && arcs[1] < "40"
}

// GradeAt returns what e is worth at now: the ceiling of the statement that
// decides, lowered by what was observed. until is when the passing of time alone
// changes that, and zero if it never does: from until on the grade is lower, and
// no time raises it again. GradeAt does not allocate.
func (p *Profile) GradeAt(e Evidence, now time.Time) (g Grade, until time.Time) {
	if p == nil {
		return Grade{MIAL: MIAL1}, time.Time{}
	}
	g = p.young(e)
	if p.age == 0 {
		return g, time.Time{}
	}
	aged := g.outlived()
	end := e.NotBefore.Add(p.age)
	switch {
	case !now.Before(end):
		return aged, time.Time{}
	case aged == g:
		return g, time.Time{}
	}
	return g, end
}

// Lowered says what makes the grade of e at now lower than what was stated, a phrase
// each for an operator; nil if nothing does. It is for explanations: GradeAt decides.
func (p *Profile) Lowered(e Evidence, now time.Time) (why []string) {
	if p == nil {
		return nil
	}
	stated := p.ceiling(e)
	lower := func(applies bool, to Grade, format string, args ...any) {
		if applies && to != stated {
			why = append(why, fmt.Sprintf(format, args...))
		}
	}
	boundary := func(grade uint8) Grade {
		g := stated
		g.MAAL[Boundary] = min(g.MAAL[Boundary], grade)
		return g
	}
	lower(p.lifetime > 0 && e.Lifetime > p.lifetime, stated.outlived(), "the leaf lives %v, and more than %v counts as MIAL-1", e.Lifetime, p.lifetime)
	lower(p.age > 0 && !now.Before(e.NotBefore.Add(p.age)), stated.outlived(), "the leaf began %v ago, and from %v on it counts as MIAL-1", now.Sub(e.NotBefore).Round(time.Second), p.age)
	lower(p.isWeak(e), Grade{MIAL: min(stated.MIAL, MIAL1)}, "its key is weak or of an unknown kind: %s of %d bits", e.KeyAlgorithm, e.KeyBits)
	switch {
	case e.ExtKeyUsageAny:
		lower(true, boundary(0), "its extended key usage is any, or there is none")
	case e.OtherPurposes > 0:
		lower(true, boundary(manyPurposes), "its extended key usage has other purposes besides TLS")
	}
	return why
}

// young returns what e is worth as long as the leaf is young: all that does not
// depend on the time.
func (p *Profile) young(e Evidence) Grade {
	g := p.ceiling(e)
	if p.lifetime > 0 && e.Lifetime > p.lifetime {
		g = g.outlived()
	}
	if p.isWeak(e) {
		g = Grade{MIAL: min(g.MIAL, MIAL1)}
	}
	switch {
	case e.ExtKeyUsageAny:
		g.MAAL[Boundary] = 0
	case e.OtherPurposes > 0:
		g.MAAL[Boundary] = min(g.MAAL[Boundary], manyPurposes)
	}
	return g
}

// outlived returns what is left of g when a leaf lives longer, or was issued
// longer ago, than its operator wants: the credential alone.
func (g Grade) outlived() Grade {
	g.MIAL = min(g.MIAL, MIAL1)
	g.MAAL[Governance] = 0
	return g
}

// ceiling finds the statement that decides, in the order that the package
// comment gives.
func (p *Profile) ceiling(e Evidence) Grade {
	for _, key := range e.IssuerSPKI {
		if g, ok := p.byIssuer[key]; ok {
			return g
		}
	}
	lowest, found := Grade{}, false
	for _, policy := range e.PolicyOIDs {
		switch g, ok := p.byPolicy[policy]; {
		case ok && found:
			lowest = Min(lowest, g)
		case ok:
			lowest, found = g, true
		}
	}
	if found {
		return lowest
	}
	return p.whole
}

func (p *Profile) isWeak(e Evidence) bool {
	switch e.KeyAlgorithm {
	case "RSA":
		return e.KeyBits < p.rsaBits
	case "ECDSA":
		return e.KeyBits < minCurveBits
	case "Ed25519":
		return false
	}
	return true
}

// AppendDigest appends the canonical encoding of all that influences
// [Profile.GradeAt] and returns the extended slice. Profiles that were compiled
// from the same statements in another order, or from a default that was spelled
// out, append the same octets; profiles that can grade differently never do. It
// is part of a bundle's digest, so that a changed statement changes the key of
// every cached verdict (ASR-10). The encoding is self-delimiting.
func (p *Profile) AppendDigest(b []byte) []byte {
	if p == nil {
		return append(b, 0)
	}
	return append(b, p.digest...)
}

func (p *Profile) encode(statements []Statement) []byte {
	sorted := slices.Clone(statements)
	slices.SortFunc(sorted, func(a, b Statement) int {
		return cmp.Or(bytes.Compare(a.IssuerSPKI[:], b.IssuerSPKI[:]), cmp.Compare(a.PolicyOID, b.PolicyOID))
	})
	b := []byte{1}
	b = append(b, MAALProfile...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.lifetime))
	b = binary.BigEndian.AppendUint64(b, uint64(p.age))
	b = binary.BigEndian.AppendUint64(b, uint64(p.rsaBits))
	b = binary.BigEndian.AppendUint64(b, uint64(len(sorted)))
	for _, s := range sorted {
		b = append(b, s.IssuerSPKI[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(len(s.PolicyOID)))
		b = append(b, s.PolicyOID...)
		b = append(b, byte(s.MIAL))
		b = append(b, s.MAAL[:]...)
	}
	return b
}
