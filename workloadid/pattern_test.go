package workloadid_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"verigate/workloadid"
)

func mustID(tb testing.TB, s string) workloadid.ID {
	tb.Helper()
	id, err := workloadid.Parse(s)
	if err != nil {
		tb.Fatalf("Parse(%q) = %v", s, err)
	}
	return id
}

func mustPattern(tb testing.TB, s string) workloadid.Pattern {
	tb.Helper()
	p, err := workloadid.ParsePattern(s)
	if err != nil {
		tb.Fatalf("ParsePattern(%q) = %v", s, err)
	}
	return p
}

func TestParsePattern(t *testing.T) {
	const wildcard = workloadid.ReasonPatternWildcard
	for _, tt := range []struct {
		rule   string
		in     string
		want   workloadid.Reason
		offset int
	}{
		{"an identifier is a pattern", "spiffe://a/b/c", workloadid.ReasonNone, 0},
		{"one segment", "spiffe://a/*", workloadid.ReasonNone, 0},
		{"one segment in the middle", "spiffe://a/*/c", workloadid.ReasonNone, 0},
		{"the whole origin, spelled out", "spiffe://a/**", workloadid.ReasonNone, 0},
		{"a prefix of whole segments", "spiffe://a/b/**", workloadid.ReasonNone, 0},
		{"both", "spiffe://a/*/b/**", workloadid.ReasonNone, 0},
		{"wimse with tilde", "wimse://a/~b/*", workloadid.ReasonNone, 0},
		{"2048 octets", idOf("spiffe", 2046) + "/*", workloadid.ReasonNone, 0},

		{"AUTHZ-02 a pattern has an origin", "/b/c", workloadid.ReasonScheme, 0},
		{"ID-16 nothing is not everything", "", workloadid.ReasonScheme, 0},
		{"ID-16 an origin is not all its workloads", "spiffe://a", workloadid.ReasonNoPath, 10},
		{"ID-16 nor is its root", "spiffe://a/", workloadid.ReasonEmptySegment, 11},
		{"ID-16 not any origin", "spiffe://*/b", workloadid.ReasonTrustDomain, 9},
		{"ID-16 not any scheme", "*://a/b", workloadid.ReasonScheme, 0},
		{"ID-16 no subdomains", "spiffe://*.a/b", workloadid.ReasonTrustDomain, 9},
		{"ID-16 part of a segment behind", "spiffe://a/b*", wildcard, 12},
		{"ID-16 part of a segment in front", "spiffe://a/*b", wildcard, 11},
		{"ID-16 part of a segment in the middle", "spiffe://a/b*c/d", wildcard, 12},
		{"** in the middle", "spiffe://a/**/b", wildcard, 11},
		{"two **", "spiffe://a/**/**", wildcard, 11},
		{"three stars", "spiffe://a/***", wildcard, 11},
		{"two stars and a letter", "spiffe://a/**b", wildcard, 11},
		{"trailing slash", "spiffe://a/*/", workloadid.ReasonEmptySegment, 13},
		{"empty segment", "spiffe://a//*", workloadid.ReasonEmptySegment, 11},
		{"ID-16 no way up", "spiffe://a/pay/../admin", workloadid.ReasonDotSegment, 15},
		{"ID-16 no way up before a wildcard", "spiffe://a/../*", workloadid.ReasonDotSegment, 11},
		{"other wildcards are no octets of a path", "spiffe://a/b?", workloadid.ReasonPath, 12},
		{"percent-encoding", "spiffe://a/%2a", workloadid.ReasonPath, 11},
		{"OQ-13 another scheme", "https://a/**", workloadid.ReasonScheme, 0},
		{"spiffe has no tilde", "spiffe://a/~b/*", workloadid.ReasonPath, 11},
		{"2049 octets", idOf("spiffe", 2047) + "/*", workloadid.ReasonTooLong, 2048},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			p, err := workloadid.ParsePattern(tt.in)
			reason, offset := reasonOf(t, err)
			if reason != tt.want || offset != tt.offset {
				t.Fatalf("ParsePattern(%.60q) = %v at octet %d, want %v at octet %d", tt.in, reason, offset, tt.want, tt.offset)
			}
			if p.IsZero() != (err != nil) {
				t.Errorf("ParsePattern(%.60q) = %q with error %v, want the zero Pattern exactly on error", tt.in, p, err)
			}
			if err == nil && p.String() != tt.in {
				t.Errorf("ParsePattern(%.60q).String() = %q, want it octet for octet", tt.in, p)
			}
		})
	}
}

func TestPatternMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern string
		match   string
		not     string
	}{
		{
			pattern: "spiffe://a/service/pay",
			match:   "spiffe://a/service/pay",
			not: "spiffe://a/service/payroll spiffe://a/service/pay/x spiffe://a/service spiffe://a/service/Pay " +
				"wimse://a/service/pay spiffe://b/service/pay spiffe://a.b/service/pay spiffe://a",
		},
		{
			pattern: "spiffe://a/**",
			match:   "spiffe://a/x spiffe://a/x/y spiffe://a/x/y/z",
			not:     "spiffe://a wimse://a/x spiffe://b/x spiffe://ab/x spiffe://a.b/x",
		},
		{
			pattern: "spiffe://a/ns/**",
			match:   "spiffe://a/ns/x spiffe://a/ns/x/y",
			not:     "spiffe://a/ns spiffe://a/nsx spiffe://a/nsx/y spiffe://a/x/ns/y spiffe://b/ns/x wimse://a/ns/x",
		},
		{
			pattern: "spiffe://a/ns/*/sa/api",
			match:   "spiffe://a/ns/x/sa/api spiffe://a/ns/sa/sa/api",
			not: "spiffe://a/ns/sa/api spiffe://a/ns/x/y/sa/api spiffe://a/ns/x/sa/apis spiffe://a/ns/x/sa/api/y " +
				"spiffe://a/ns/x/sa spiffe://b/ns/x/sa/api wimse://a/ns/x/sa/api",
		},
		{
			pattern: "spiffe://a/*",
			match:   "spiffe://a/x spiffe://a/...",
			not:     "spiffe://a/x/y spiffe://a spiffe://b/x",
		},
		{
			pattern: "spiffe://a/*/b/**",
			match:   "spiffe://a/x/b/c spiffe://a/x/b/c/d",
			not:     "spiffe://a/x/b spiffe://a/b/c spiffe://a/x/y/b/c spiffe://b/x/b/c",
		},
	} {
		p := mustPattern(t, tt.pattern)
		for _, s := range strings.Fields(tt.match) {
			if !p.Match(mustID(t, s)) {
				t.Errorf("pattern %q does not match %q, want a match", p, s)
			}
		}
		for _, s := range strings.Fields(tt.not) {
			if p.Match(mustID(t, s)) {
				t.Errorf("pattern %q matches %q, want none (ID-12, ID-16)", p, s)
			}
		}
		if p.Match(workloadid.ID{}) {
			t.Errorf("pattern %q matches the zero ID", p)
		}
	}
	var zero workloadid.Pattern
	if zero.Match(mustID(t, "spiffe://a/b")) || zero.Match(workloadid.ID{}) {
		t.Error("the zero Pattern matches something")
	}
}

func TestPatternParts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in, origin string
		exact      bool
	}{
		{"spiffe://a/b", "spiffe://a", true},
		{"wimse://a/b/c", "wimse://a", true},
		{"spiffe://a/*", "spiffe://a", false},
		{"spiffe://a/b/**", "spiffe://a", false},
	} {
		p := mustPattern(t, tt.in)
		if p.Origin().String() != tt.origin {
			t.Errorf("ParsePattern(%q).Origin() = %q, want %q", tt.in, p.Origin(), tt.origin)
		}
		id, exact := p.Exact()
		if exact != tt.exact || exact && id != mustID(t, tt.in) || !exact && !id.IsZero() {
			t.Errorf("ParsePattern(%q).Exact() = %q, %v; want %v", tt.in, id, exact, tt.exact)
		}
	}
	if _, exact := (workloadid.Pattern{}).Exact(); exact {
		t.Error("the zero Pattern has an exact identifier")
	}
}

func TestComparePatternsPutsTheMostSpecificFirst(t *testing.T) {
	t.Parallel()
	order := []string{
		"spiffe://a/ns/x/sa/api",
		"spiffe://a/ns/x/sa/*",
		"spiffe://a/ns/x/**",
		"spiffe://a/ns/x",
		"spiffe://a/ns/y",
		"spiffe://b/ns/x",
		"wimse://a/ns/x",
		"spiffe://a/ns/*/sa/api",
		"spiffe://a/ns/*/sa/*",
		"spiffe://a/ns/*/**",
		"spiffe://a/ns/**",
		"spiffe://a/*/x/sa/api",
		"spiffe://a/*/*/*/api",
		"spiffe://a/*/*/*/*",
		"spiffe://a/*/*/**",
		"spiffe://a/*/**",
		"spiffe://a/**",
		"", // the zero Pattern
	}
	for i, a := range order {
		for j, b := range order {
			var pa, pb workloadid.Pattern
			if a != "" {
				pa = mustPattern(t, a)
			}
			if b != "" {
				pb = mustPattern(t, b)
			}
			if got, want := workloadid.ComparePatterns(pa, pb), cmp.Compare(i, j); got != want {
				t.Errorf("ComparePatterns(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
}

// samplePatterns returns patterns over an alphabet so small that they often
// match the same identifiers.
func samplePatterns(tb testing.TB, r *rand.Rand, n int) []workloadid.Pattern {
	var all []workloadid.Pattern
	for range n {
		s := samplePath(r, []string{"x", "y", "*", "*"})
		if r.IntN(3) == 0 {
			s += "/**"
		}
		all = append(all, mustPattern(tb, sampleOrigin(r)+s))
	}
	return all
}

func sampleOrigin(r *rand.Rand) string {
	return []string{"spiffe://a", "spiffe://a", "spiffe://a", "spiffe://b", "wimse://a"}[r.IntN(5)]
}

func samplePath(r *rand.Rand, segments []string) string {
	var b strings.Builder
	for range 1 + r.IntN(4) {
		b.WriteString("/" + segments[r.IntN(len(segments))])
	}
	return b.String()
}

func TestComparePatternsIsATotalOrder(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	samples := append(samplePatterns(t, r, 60), workloadid.Pattern{})
	for _, a := range samples {
		for _, b := range samples {
			checkOrder(t, a, b)
			for _, c := range samples {
				if workloadid.ComparePatterns(a, b) <= 0 && workloadid.ComparePatterns(b, c) <= 0 && workloadid.ComparePatterns(a, c) > 0 {
					t.Fatalf("%q <= %q <= %q, but the first comes after the last", a, b, c)
				}
			}
		}
	}
}

func checkOrder(t *testing.T, a, b workloadid.Pattern) {
	t.Helper()
	ab, ba := workloadid.ComparePatterns(a, b), workloadid.ComparePatterns(b, a)
	if ab != -ba {
		t.Fatalf("ComparePatterns(%q, %q) = %d and %d the other way round", a, b, ab, ba)
	}
	if (ab == 0) != (a == b) {
		t.Fatalf("ComparePatterns(%q, %q) = %d, want 0 exactly for equal patterns", a, b, ab)
	}
}

// referenceMatch says what a pattern means, segment by segment.
func referenceMatch(pattern, id string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(id, "/") // "spiffe:", "", trust domain, segments
	if want[len(want)-1] == "**" {
		want = want[:len(want)-1]
		if len(got) <= len(want) {
			return false
		}
		got = got[:len(want)]
	}
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] != got[i] && want[i] != "*" {
			return false
		}
	}
	return true
}

// FuzzPattern: a pattern never matches outside its origin, means what the naive
// reading says, and has one place in the order.
func FuzzPattern(f *testing.F) {
	for _, s := range [][3]string{
		{"spiffe://a/**", "spiffe://a/b", "spiffe://a/*"},
		{"spiffe://a/ns/*/sa/api", "spiffe://a/ns/x/sa/api", "spiffe://a/ns/x/sa/*"},
		{"spiffe://a/*/**", "spiffe://a/b/c", "spiffe://a/b/**"},
		{"spiffe://a/b", "wimse://a/b", "wimse://a/b"},
		{"spiffe://ab/**", "spiffe://a/b", "spiffe://a/**"},
		{"spiffe://a/b*", "spiffe://a", ""},
		{"wimse://a/~/*", "wimse://a/~/b", "wimse://a/~/**"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, pattern, id, other string) {
		p, err := workloadid.ParsePattern(pattern)
		if err != nil {
			if _, offset := reasonOf(t, err); offset < 0 || offset > len(pattern) || !p.IsZero() {
				t.Fatalf("ParsePattern(%q) = %q and blames octet %d of %d", pattern, p, offset, len(pattern))
			}
			return
		}
		if p.String() != pattern {
			t.Fatalf("ParsePattern(%q).String() = %q, want it octet for octet", pattern, p)
		}
		if again, err := workloadid.ParsePattern(pattern); err != nil || again != p {
			t.Fatalf("ParsePattern(%q) = %q, %v the second time", pattern, again, err)
		}
		// Without wildcards a pattern and the identifier are the same thing.
		exact, isExact := p.Exact()
		if parsed, err := workloadid.Parse(pattern); (err == nil) != isExact || parsed != exact {
			t.Fatalf("ParsePattern(%q).Exact() = %q, %v; Parse = %q, %v", pattern, exact, isExact, parsed, err)
		}
		if v, err := workloadid.Parse(id); err == nil {
			got := p.Match(v)
			if got && p.Origin() != v.Origin() {
				t.Fatalf("pattern %q of origin %q matches %q of origin %q", p, p.Origin(), v, v.Origin())
			}
			if want := referenceMatch(pattern, id); got != want {
				t.Fatalf("pattern %q matches %q: %v, want %v", p, v, got, want)
			}
			var index workloadid.Index[bool]
			index.At(p)
			if found := index.Search(v, func(*bool) bool { return true }); found != got {
				t.Fatalf("an index of pattern %q finds %q: %v, want %v as Match says", p, v, found, got)
			}
		}
		if q, err := workloadid.ParsePattern(other); err == nil {
			checkOrder(t, p, q)
		}
	})
}

// The index has to agree with asking every pattern and sorting those that match.
func TestIndexAgreesWithAllPatterns(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	several := 0
	for range 300 {
		patterns := samplePatterns(t, r, 1+r.IntN(40))
		var index workloadid.Index[workloadid.Pattern]
		for _, p := range patterns {
			*index.At(p) = p
		}
		for range 30 {
			id := mustID(t, sampleOrigin(r)+samplePath(r, []string{"x", "y", "z"}))
			var want []workloadid.Pattern
			for _, p := range patterns {
				if p.Match(id) && !slices.Contains(want, p) {
					want = append(want, p)
				}
			}
			slices.SortFunc(want, workloadid.ComparePatterns)
			var got []workloadid.Pattern
			if index.Search(id, func(p *workloadid.Pattern) bool { got = append(got, *p); return false }) {
				t.Fatalf("Search(%q) = true, want false: nothing was accepted", id)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("Search(%q) among %q found %q, want %q", id, patterns, got, want)
			}
			if len(want) > 1 {
				several++
			}
			for stop := range want {
				var last workloadid.Pattern
				seen := 0
				found := index.Search(id, func(p *workloadid.Pattern) bool { last = *p; seen++; return seen == stop+1 })
				if !found || last != want[stop] || seen != stop+1 {
					t.Fatalf("Search(%q) that accepts match %d = %v after %d at %q, want %q", id, stop, found, seen, last, want[stop])
				}
			}
		}
	}
	if several < 1000 {
		t.Errorf("only %d samples had several matches: the test proves little", several)
	}
}

func TestIndexOfNothingFindsNothing(t *testing.T) {
	t.Parallel()
	var index workloadid.Index[int]
	anything := func(*int) bool { return true }
	if index.Search(mustID(t, "spiffe://a/b"), anything) {
		t.Error("an empty index finds spiffe://a/b")
	}
	*index.At(mustPattern(t, "spiffe://a/**")) = 1
	for _, id := range []workloadid.ID{{}, mustID(t, "spiffe://a"), mustID(t, "wimse://a/b")} {
		if index.Search(id, anything) {
			t.Errorf("an index of spiffe://a/** finds %q", id)
		}
	}
}

func TestIndexRefusesTheZeroPattern(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("At of the zero Pattern returned a place, want a panic: it could never be found again")
		}
	}()
	new(workloadid.Index[int]).At(workloadid.Pattern{})
}
