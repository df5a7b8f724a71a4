package assurance_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"verigate/assurance"
	"verigate/internal/race"
)

var (
	issuingKey = [32]byte{1}
	middleKey  = [32]byte{2}
	anchorKey  = [32]byte{3}
	otherKey   = [32]byte{9}
)

// issued is when the leaf of every path begins to be valid.
var issued = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const (
	policyHSM  = "1.3.6.1.4.1.99999.1"
	policySoft = "1.3.6.1.4.1.99999.2"
)

// path is evidence against which nothing can be said.
func path(edit ...func(*assurance.Evidence)) assurance.Evidence {
	e := assurance.Evidence{
		IssuerSPKI:   [][32]byte{issuingKey, middleKey, anchorKey},
		Lifetime:     time.Hour,
		NotBefore:    issued,
		KeyAlgorithm: "ECDSA",
		KeyBits:      256,
	}
	for _, f := range edit {
		f(&e)
	}
	return e
}

func all(grade uint8) (m assurance.MAAL) {
	for c := range m {
		m[c] = grade
	}
	return m
}

func compile(t *testing.T, o assurance.Options) *assurance.Profile {
	t.Helper()
	p, err := assurance.Compile(o)
	if err != nil {
		t.Fatalf("Compile(%+v) = %v", o, err)
	}
	return p
}

func TestGrade(t *testing.T) {
	t.Parallel()
	issuing := assurance.Statement{IssuerSPKI: issuingKey, MIAL: 3, MAAL: all(3)}
	anchor := assurance.Statement{IssuerSPKI: anchorKey, MIAL: 4, MAAL: all(4)}
	hsm := assurance.Statement{PolicyOID: policyHSM, MIAL: 2, MAAL: assurance.MAAL{assurance.Containment: 4, assurance.Recovery: 1}}
	soft := assurance.Statement{PolicyOID: policySoft, MIAL: 3, MAAL: assurance.MAAL{assurance.Recovery: 2}}
	whole := assurance.Statement{MIAL: 2, MAAL: all(1)}
	with := func(m assurance.MAAL, c assurance.Characteristic, grade uint8) assurance.MAAL { m[c] = grade; return m }
	without := func(m assurance.MAAL, c assurance.Characteristic) assurance.MAAL { return with(m, c, 0) }
	policies := func(oids ...string) func(*assurance.Evidence) {
		return func(e *assurance.Evidence) { e.PolicyOIDs = oids }
	}
	key := func(algorithm string, bits int) func(*assurance.Evidence) {
		return func(e *assurance.Evidence) { e.KeyAlgorithm, e.KeyBits = algorithm, bits }
	}
	type statements = []assurance.Statement
	tests := []struct {
		claim string
		o     assurance.Options
		e     assurance.Evidence
		want  assurance.Grade
	}{
		{"a certificate alone grades MIAL-1 (ASR-03)", assurance.Options{}, path(), assurance.Grade{MIAL: 1}},
		{"statements about others do not count", assurance.Options{Statements: statements{{IssuerSPKI: otherKey, MIAL: 4}, hsm}}, path(), assurance.Grade{MIAL: 1}},
		{"a statement about the origin counts", assurance.Options{Statements: statements{whole}}, path(), assurance.Grade{MIAL: 2, MAAL: all(1)}},
		{"an origin may be graded MIAL-0", assurance.Options{Statements: statements{{}}}, path(), assurance.Grade{}},
		{"the issuing CA goes before the anchor", assurance.Options{Statements: statements{anchor, issuing, whole, hsm}}, path(policies(policyHSM)), assurance.Grade{MIAL: 3, MAAL: all(3)}},
		{"the anchor goes before a policy", assurance.Options{Statements: statements{whole, hsm, anchor}}, path(policies(policyHSM)), assurance.Grade{MIAL: 4, MAAL: all(4)}},
		{"a policy goes before the origin", assurance.Options{Statements: statements{whole, hsm}}, path(policies(policyHSM)), assurance.Grade{MIAL: 2, MAAL: hsm.MAAL}},
		{"of two policies the lower counts, part by part", assurance.Options{Statements: statements{soft, hsm}}, path(policies(policyHSM, policySoft)), assurance.Grade{MIAL: 2, MAAL: assurance.MAAL{assurance.Recovery: 1}}},
		{"a lower statement about an issuing CA lowers", assurance.Options{Statements: statements{whole, {IssuerSPKI: issuingKey, MIAL: 1}}}, path(), assurance.Grade{MIAL: 1}},
		{"a leaf that lives exactly as long as allowed keeps its grade", assurance.Options{Statements: statements{whole}, MaxLifetime: time.Hour}, path(), assurance.Grade{MIAL: 2, MAAL: all(1)}},
		{"a leaf that lives longer is lowered", assurance.Options{Statements: statements{whole}, MaxLifetime: time.Hour - 1}, path(), assurance.Grade{MIAL: 1, MAAL: without(all(1), assurance.Governance)}},
		{"a long life does not raise MIAL-0", assurance.Options{Statements: statements{{}}, MaxLifetime: 1}, path(), assurance.Grade{}},
		{"RSA-2048 is not weak", assurance.Options{Statements: statements{whole}}, path(key("RSA", 2048)), assurance.Grade{MIAL: 2, MAAL: all(1)}},
		{"RSA-1024 is weak", assurance.Options{Statements: statements{whole}}, path(key("RSA", 1024)), assurance.Grade{MIAL: 1}},
		{"RSA-2048 is weak where 3072 is asked for", assurance.Options{Statements: statements{whole}, MinRSABits: 3072}, path(key("RSA", 2048)), assurance.Grade{MIAL: 1}},
		{"P-224 is weak", assurance.Options{Statements: statements{whole}}, path(key("ECDSA", 224)), assurance.Grade{MIAL: 1}},
		{"Ed25519 is not weak", assurance.Options{Statements: statements{whole}}, path(key("Ed25519", 0)), assurance.Grade{MIAL: 2, MAAL: all(1)}},
		{"a key of an unknown kind is weak", assurance.Options{Statements: statements{whole}}, path(key("DSA", 4096)), assurance.Grade{MIAL: 1}},
		{"a weak key does not raise MIAL-0", assurance.Options{Statements: statements{{}}}, path(key("RSA", 512)), assurance.Grade{}},
		{"any extended key usage leaves no boundary", assurance.Options{Statements: statements{whole}}, path(func(e *assurance.Evidence) { e.ExtKeyUsageAny = true }), assurance.Grade{MIAL: 2, MAAL: without(all(1), assurance.Boundary)}},
		{"other purposes leave a boundary of 1", assurance.Options{Statements: statements{issuing}}, path(func(e *assurance.Evidence) { e.OtherPurposes = 1 }), assurance.Grade{MIAL: 3, MAAL: with(all(3), assurance.Boundary, 1)}},
		{"other purposes do not raise a boundary of 0", assurance.Options{Statements: statements{hsm}}, path(policies(policyHSM), func(e *assurance.Evidence) { e.OtherPurposes = 3 }), assurance.Grade{MIAL: 2, MAAL: hsm.MAAL}},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			if got, until := compile(t, tt.o).GradeAt(tt.e, issued); got != tt.want || !until.IsZero() {
				t.Errorf("GradeAt() = %+v until %v, want %+v for ever", got, until, tt.want)
			}
		})
	}
}

// Age is the one observation that changes by itself.
func TestGradeAt(t *testing.T) {
	t.Parallel()
	graded := []assurance.Statement{{MIAL: 3, MAAL: all(2)}}
	full := assurance.Grade{MIAL: 3, MAAL: all(2)}
	aged := assurance.Grade{MIAL: 1, MAAL: all(2)}
	aged.MAAL[assurance.Governance] = 0
	never := time.Time{}
	tests := []struct {
		claim string
		o     assurance.Options
		e     assurance.Evidence
		age   time.Duration
		want  assurance.Grade
		until time.Time
	}{
		{"without a limit a leaf does not age", assurance.Options{Statements: graded}, path(), 1000 * time.Hour, full, never},
		{"a new leaf has its grade, and an end to it", assurance.Options{Statements: graded, MaxAge: time.Hour}, path(), 0, full, issued.Add(time.Hour)},
		{"the last moment of youth", assurance.Options{Statements: graded, MaxAge: time.Hour}, path(), time.Hour - 1, full, issued.Add(time.Hour)},
		{"the first moment of age is the one that was announced", assurance.Options{Statements: graded, MaxAge: time.Hour}, path(), time.Hour, aged, never},
		{"what is old stays old", assurance.Options{Statements: graded, MaxAge: time.Hour}, path(), 100 * time.Hour, aged, never},
		{"a leaf from the near future is young", assurance.Options{Statements: graded, MaxAge: time.Hour}, path(), -time.Minute, full, issued.Add(time.Hour)},
		{"a leaf of unknown age is old", assurance.Options{Statements: graded, MaxAge: time.Hour}, path(func(e *assurance.Evidence) { e.NotBefore = time.Time{} }), 0, aged, never},
		{"whoever has nothing to lose does not age", assurance.Options{MaxAge: time.Hour}, path(), 0, assurance.Grade{MIAL: 1}, never},
		{"a long life was lowered already", assurance.Options{Statements: graded, MaxAge: time.Hour, MaxLifetime: time.Minute}, path(), 0, aged, never},
		{"a weak key was lowered already", assurance.Options{Statements: graded, MaxAge: time.Hour}, path(func(e *assurance.Evidence) { e.KeyBits = 224 }), 0, assurance.Grade{MIAL: 1}, never},
		{"age does not raise MIAL-0", assurance.Options{Statements: []assurance.Statement{{}}, MaxAge: 1}, path(), time.Hour, assurance.Grade{}, never},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			got, until := compile(t, tt.o).GradeAt(tt.e, issued.Add(tt.age))
			if got != tt.want || !until.Equal(tt.until) {
				t.Errorf("GradeAt() = %+v until %v, want %+v until %v", got, until, tt.want, tt.until)
			}
		})
	}
}

func TestNilProfileGradesMIAL1(t *testing.T) {
	t.Parallel()
	var none *assurance.Profile
	if got, until := none.GradeAt(path(), issued); got != (assurance.Grade{MIAL: 1}) || !until.IsZero() {
		t.Errorf("(*Profile)(nil).GradeAt() = %+v until %v, want MIAL-1 for ever", got, until)
	}
}

// ASR-07: whatever is observed in addition, no part of the grade rises.
func TestObservationOnlyLowers(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	statement := func(s assurance.Statement) assurance.Statement {
		s.MIAL = assurance.MIAL(r.IntN(5))
		for c := range s.MAAL {
			s.MAAL[c] = uint8(r.IntN(assurance.MaxGrade + 1))
		}
		return s
	}
	hours := func(most int64) time.Duration { return time.Duration(r.Int64N(most * int64(time.Hour))) }
	// What can be seen of a leaf, each a little worse than before.
	lowering := []func(e *assurance.Evidence, now *time.Time, f *assurance.Findings){
		func(e *assurance.Evidence, _ *time.Time, _ *assurance.Findings) { e.Lifetime += hours(48) },
		func(e *assurance.Evidence, _ *time.Time, _ *assurance.Findings) {
			e.NotBefore = e.NotBefore.Add(-hours(48))
		},
		func(e *assurance.Evidence, _ *time.Time, _ *assurance.Findings) { e.KeyBits -= r.IntN(e.KeyBits + 1) },
		func(e *assurance.Evidence, _ *time.Time, _ *assurance.Findings) { e.KeyAlgorithm = "unheard of" },
		func(e *assurance.Evidence, _ *time.Time, _ *assurance.Findings) { e.ExtKeyUsageAny = true },
		func(e *assurance.Evidence, _ *time.Time, _ *assurance.Findings) { e.OtherPurposes += r.IntN(3) },
		func(_ *assurance.Evidence, now *time.Time, _ *assurance.Findings) { *now = now.Add(hours(48)) },
		func(_ *assurance.Evidence, _ *time.Time, f *assurance.Findings) { f.SharedKey = true },
		func(_ *assurance.Evidence, _ *time.Time, f *assurance.Findings) { f.ManyNetworks = true },
	}
	algorithms := []string{"RSA", "ECDSA", "Ed25519"}
	lowered := make([]int, len(lowering))
	for range 30000 {
		o := assurance.Options{MaxLifetime: hours(24), MaxAge: hours(24), MinRSABits: r.IntN(4097)}
		for _, s := range []assurance.Statement{{IssuerSPKI: issuingKey}, {IssuerSPKI: anchorKey}, {PolicyOID: policyHSM}, {PolicyOID: policySoft}, {}} {
			if r.IntN(2) == 0 {
				o.Statements = append(o.Statements, statement(s))
			}
		}
		e := path(func(e *assurance.Evidence) {
			e.KeyAlgorithm = algorithms[r.IntN(3)]
			e.KeyBits = r.IntN(5000)
			if r.IntN(2) == 0 {
				e.PolicyOIDs = []string{policySoft, policyHSM}
			}
		})
		p, now, found := compile(t, o), issued.Add(hours(24)), assurance.Findings{}
		before, until := p.GradeAt(e, now)
		which := r.IntN(len(lowering))
		lowering[which](&e, &now, &found)
		after, _ := p.GradeAt(e, now)
		after = found.Lower(after)
		if assurance.Min(before, after) != after {
			t.Fatalf("under %+v the grade rose from %+v to %+v with evidence %+v and findings %+v at %v", o, before, after, e, found, now)
		}
		if before != after {
			lowered[which]++
		}
		if which == 6 && before != after && (until.IsZero() || now.Before(until)) {
			t.Fatalf("under %+v time alone changed the grade from %+v to %+v at %v, although it was said to hold until %v", o, before, after, now, until)
		}
	}
	for i, n := range lowered {
		if n < 100 {
			t.Errorf("observation %d lowered only %d grades: the test shows too little about it", i, n)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		claim     string
		o         assurance.Options
		reason    assurance.Reason
		statement int
	}{
		{"a statement about two subjects", assurance.Options{Statements: []assurance.Statement{{}, {IssuerSPKI: issuingKey, PolicyOID: policyHSM}}}, assurance.ReasonTwoSubjects, 1},
		{"a policy that is a word", assurance.Options{Statements: []assurance.Statement{{PolicyOID: "gold"}}}, assurance.ReasonPolicyOID, 0},
		{"a policy with a leading zero", assurance.Options{Statements: []assurance.Statement{{PolicyOID: "1.3.06"}}}, assurance.ReasonPolicyOID, 0},
		{"a policy with an empty arc", assurance.Options{Statements: []assurance.Statement{{PolicyOID: "1..3"}}}, assurance.ReasonPolicyOID, 0},
		{"a policy under arc 3", assurance.Options{Statements: []assurance.Statement{{PolicyOID: "3.1"}}}, assurance.ReasonPolicyOID, 0},
		{"a policy under arc 1.40", assurance.Options{Statements: []assurance.Statement{{PolicyOID: "1.40"}}}, assurance.ReasonPolicyOID, 0},
		{"a policy of one arc", assurance.Options{Statements: []assurance.Statement{{PolicyOID: "2"}}}, assurance.ReasonPolicyOID, 0},
		{"anyPolicy", assurance.Options{Statements: []assurance.Statement{{PolicyOID: "2.5.29.32.0"}}}, assurance.ReasonPolicyOID, 0},
		{"MIAL-5", assurance.Options{Statements: []assurance.Statement{{MIAL: 5}}}, assurance.ReasonLevel, 0},
		{"a grade of 5", assurance.Options{Statements: []assurance.Statement{{MAAL: assurance.MAAL{assurance.Governance: 5}}}}, assurance.ReasonCharacteristic, 0},
		{"a key twice", assurance.Options{Statements: []assurance.Statement{{IssuerSPKI: anchorKey}, {IssuerSPKI: anchorKey, MIAL: 2}}}, assurance.ReasonDuplicate, 1},
		{"a policy twice", assurance.Options{Statements: []assurance.Statement{{PolicyOID: policyHSM}, {PolicyOID: policyHSM}}}, assurance.ReasonDuplicate, 1},
		{"the origin twice", assurance.Options{Statements: []assurance.Statement{{MIAL: 1}, {MIAL: 2}}}, assurance.ReasonDuplicate, 1},
		{"a negative lifetime", assurance.Options{MaxLifetime: -1}, assurance.ReasonLimit, -1},
		{"a negative age", assurance.Options{MaxAge: -1}, assurance.ReasonLimit, -1},
		{"a negative key size", assurance.Options{MinRSABits: -1}, assurance.ReasonLimit, -1},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			p, err := assurance.Compile(tt.o)
			fault, ok := errors.AsType[*assurance.Error](err)
			if p != nil || !ok || fault.Reason != tt.reason || fault.Statement != tt.statement {
				t.Errorf("Compile() = %v, %v, want reason %q at statement %d", p, err, tt.reason, tt.statement)
			}
		})
	}
}

func TestCompileTakesEveryKindOfPolicyOID(t *testing.T) {
	t.Parallel()
	for _, oid := range []string{"0.39", "1.39.0", "2.999.1", "2.5.29.32.1", "2.25.329800735698586629295641978511506172918"} {
		compile(t, assurance.Options{Statements: []assurance.Statement{{PolicyOID: oid}}})
	}
}

func TestCompileReportsAllFaults(t *testing.T) {
	t.Parallel()
	_, err := assurance.Compile(assurance.Options{MaxLifetime: -1, Statements: []assurance.Statement{{MIAL: 9}, {PolicyOID: "x"}}})
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 3 {
		t.Errorf("Compile() = %v, want three faults", err)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	a := assurance.Statement{IssuerSPKI: issuingKey, MIAL: 3, MAAL: all(2)}
	b := assurance.Statement{PolicyOID: policyHSM, MIAL: 2}
	c := assurance.Statement{MIAL: 1}
	digest := func(o assurance.Options) string { return string(compile(t, o).AppendDigest(nil)) }
	base := assurance.Options{Statements: []assurance.Statement{a, b, c}, MaxLifetime: time.Hour}

	same := []assurance.Options{
		{Statements: []assurance.Statement{c, a, b}, MaxLifetime: time.Hour},
		{Statements: []assurance.Statement{b, c, a}, MaxLifetime: time.Hour, MinRSABits: assurance.DefaultMinRSABits},
	}
	for _, o := range same {
		if digest(o) != digest(base) {
			t.Errorf("AppendDigest() of %+v differs from that of %+v, want equal", o, base)
		}
	}

	edit := func(s assurance.Statement, f func(*assurance.Statement)) assurance.Statement { f(&s); return s }
	different := []assurance.Options{
		base,
		{},
		{Statements: []assurance.Statement{a, b, c}},
		{Statements: []assurance.Statement{a, b, c}, MaxLifetime: time.Hour, MinRSABits: 3072},
		{Statements: []assurance.Statement{a, b, c}, MaxLifetime: time.Hour, MaxAge: time.Hour},
		{Statements: []assurance.Statement{a, b, c}, MaxAge: time.Hour},
		{Statements: []assurance.Statement{a, b}, MaxLifetime: time.Hour},
		{Statements: []assurance.Statement{edit(a, func(s *assurance.Statement) { s.MIAL = 2 }), b, c}, MaxLifetime: time.Hour},
		{Statements: []assurance.Statement{edit(a, func(s *assurance.Statement) { s.MAAL[7] = 3 }), b, c}, MaxLifetime: time.Hour},
		{Statements: []assurance.Statement{edit(a, func(s *assurance.Statement) { s.IssuerSPKI = otherKey }), b, c}, MaxLifetime: time.Hour},
		{Statements: []assurance.Statement{a, edit(b, func(s *assurance.Statement) { s.PolicyOID = policySoft }), c}, MaxLifetime: time.Hour},
	}
	seen := map[string]int{string((*assurance.Profile)(nil).AppendDigest(nil)): -1}
	for i, o := range different {
		if j, ok := seen[digest(o)]; ok {
			t.Errorf("AppendDigest() of options %d and %d is equal, want different", i, j)
		}
		seen[digest(o)] = i
	}
	if got := compile(t, base).AppendDigest([]byte("before")); !bytes.HasPrefix(got, []byte("before")) {
		t.Errorf("AppendDigest(before) = %q, which does not begin with it", got)
	}
}

func TestMeets(t *testing.T) {
	t.Parallel()
	g := assurance.Grade{MIAL: 2, MAAL: assurance.MAAL{assurance.Provenance: 3, assurance.Governance: 1}}
	tests := []struct {
		claim   string
		require assurance.Requirement
		missing []string
	}{
		{"no requirement is met", assurance.Requirement{}, nil},
		{"equal is enough", assurance.Requirement{MIAL: 2, MAAL: g.MAAL}, nil},
		{"less is enough", assurance.Requirement{MIAL: 1}, nil},
		{"a higher level is missed", assurance.Requirement{MIAL: 3}, []string{"mial is 2, 3 required"}},
		{"surplus elsewhere does not make up for a lack", assurance.Requirement{MAAL: assurance.MAAL{assurance.Governance: 2}}, []string{"governance is 1, 2 required"}},
		{"everything missing is named", assurance.Requirement{MIAL: 4, MAAL: assurance.MAAL{assurance.Enrollment: 1, assurance.Governance: 4}},
			[]string{"mial is 2, 4 required", "enrollment is 0, 1 required", "governance is 1, 4 required"}},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			if got := g.Meets(tt.require); !slices.Equal(got, tt.missing) {
				t.Errorf("Meets(%+v) = %q, want %q", tt.require, got, tt.missing)
			}
		})
	}
}

// ASR-08.
func TestMinTakesTheLowerPartByPart(t *testing.T) {
	t.Parallel()
	a := assurance.Grade{MIAL: 3, MAAL: assurance.MAAL{1, 4, 2}}
	b := assurance.Grade{MIAL: 2, MAAL: assurance.MAAL{2, 3, 2}}
	want := assurance.Grade{MIAL: 2, MAAL: assurance.MAAL{1, 3, 2}}
	if got := assurance.Min(a, b); got != want {
		t.Errorf("Min(%+v, %+v) = %+v, want %+v", a, b, got, want)
	}
	if got := assurance.Min(a, assurance.Grade{}); got != (assurance.Grade{}) {
		t.Errorf("Min with the zero grade = %+v, want zero", got)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	if got := assurance.MIAL2.String(); got != "MIAL-2" {
		t.Errorf("MIAL2.String() = %q", got)
	}
	for c := range assurance.Characteristic(len(assurance.MAAL{})) {
		if got, ok := assurance.ParseCharacteristic(c.String()); !ok || got != c {
			t.Errorf("ParseCharacteristic(%q) = %v, %v, want %v", c.String(), got, ok, c)
		}
	}
	for _, s := range []string{"", "Governance", "level"} {
		if _, ok := assurance.ParseCharacteristic(s); ok {
			t.Errorf("ParseCharacteristic(%q) succeeds", s)
		}
	}
	for r := assurance.ReasonTwoSubjects; r <= assurance.ReasonLimit; r++ {
		if s := r.String(); s == "" || s == assurance.ReasonNone.String() {
			t.Errorf("Reason(%d).String() = %q", r, s)
		}
	}
}

func TestGradingDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Log("race instrumentation allocates; the claim is tested without it")
		return
	}
	p := compile(t, assurance.Options{Statements: []assurance.Statement{{PolicyOID: policyHSM, MIAL: 3}, {IssuerSPKI: otherKey}}, MaxAge: time.Hour})
	e := path(func(e *assurance.Evidence) { e.PolicyOIDs = []string{policySoft, policyHSM} })
	require := assurance.Requirement{MIAL: 2}
	n := testing.AllocsPerRun(1000, func() {
		if g, _ := p.GradeAt(e, issued); g.Meets(require) != nil {
			t.Error("not met")
		}
	})
	if n != 0 {
		t.Errorf("GradeAt and Meets allocate %v times, want 0", n)
	}
}

func BenchmarkGrade(b *testing.B) {
	p, err := assurance.Compile(assurance.Options{Statements: []assurance.Statement{{IssuerSPKI: anchorKey, MIAL: 3}}, MaxAge: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	e := path()
	b.ReportAllocs()
	for b.Loop() {
		p.GradeAt(e, issued)
	}
}

// Whatever lowers a grade is told, and nothing else is.
func TestLoweredSaysWhyTheGradeIsNotWhatWasStated(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	good := assurance.Evidence{KeyAlgorithm: "ECDSA", KeyBits: 256, Lifetime: time.Hour, NotBefore: began}
	p, err := assurance.Compile(assurance.Options{
		Statements:  []assurance.Statement{{MIAL: assurance.MIAL3, MAAL: assurance.MAAL{assurance.Boundary: 3, assurance.Governance: 2}}},
		MaxLifetime: 2 * time.Hour, MaxAge: 30 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		claim string
		edit  func(*assurance.Evidence)
		at    time.Duration
		want  []string // a word of each phrase
	}{
		{"nothing", func(*assurance.Evidence) {}, time.Minute, nil},
		{"a long life", func(e *assurance.Evidence) { e.Lifetime = 3 * time.Hour }, time.Minute, []string{"lives 3h"}},
		{"its age", func(*assurance.Evidence) {}, 31 * time.Minute, []string{"began 31m"}},
		{"a weak key", func(e *assurance.Evidence) { e.KeyAlgorithm, e.KeyBits = "RSA", 1024 }, time.Minute, []string{"RSA of 1024"}},
		{"any purpose", func(e *assurance.Evidence) { e.ExtKeyUsageAny = true }, time.Minute, []string{"any"}},
		{"other purposes", func(e *assurance.Evidence) { e.OtherPurposes = 2 }, time.Minute, []string{"other purposes"}},
		{"several things", func(e *assurance.Evidence) { e.Lifetime, e.ExtKeyUsageAny = 3*time.Hour, true }, time.Hour, []string{"lives", "began", "any"}},
	} {
		e := good
		tt.edit(&e)
		got := p.Lowered(e, began.Add(tt.at))
		ok := len(got) == len(tt.want)
		for i := range min(len(got), len(tt.want)) {
			ok = ok && strings.Contains(got[i], tt.want[i])
		}
		if !ok {
			t.Errorf("%s: Lowered() = %q, want phrases with %q", tt.claim, got, tt.want)
		}
		if g, _ := p.GradeAt(e, began.Add(tt.at)); (len(got) > 0) != (g != assurance.Grade{MIAL: assurance.MIAL3, MAAL: assurance.MAAL{assurance.Boundary: 3, assurance.Governance: 2}}) {
			t.Errorf("%s: Lowered() = %q, and the grade is %+v", tt.claim, got, g)
		}
	}
	if got := (*assurance.Profile)(nil).Lowered(good, began); got != nil {
		t.Errorf("without a profile: Lowered() = %q, want nil", got)
	}
}
