package workloadid_test

import (
	"fmt"
	"runtime"
	"testing"

	"verigate/internal/race"
	"verigate/workloadid"
)

const caller = "spiffe://prod.example/ns/shop/sa/checkout"

func TestNothingAllocatesOnTheAcceptPath(t *testing.T) {
	var index workloadid.Index[int]
	for _, s := range []string{caller + "x", "spiffe://prod.example/ns/*/sa/checkout", "spiffe://prod.example/**"} {
		*index.At(mustPattern(t, s)) = 1
	}
	id, raw := mustID(t, caller), []byte(caller)
	exact, prefix, segments := mustPattern(t, caller), mustPattern(t, "spiffe://prod.example/ns/**"),
		mustPattern(t, "spiffe://prod.example/ns/*/sa/checkout")
	var keepID workloadid.ID
	var keepBool bool
	var keepInt int
	for _, tt := range []struct {
		name string
		call func()
		want float64
	}{
		{"Parse", func() { keepID, _ = workloadid.Parse(caller) }, 0},
		{"ParseBytes", func() { keepID, _ = workloadid.ParseBytes(raw) }, 1}, // the copy
		{"Match exact", func() { keepBool = exact.Match(id) }, 0},
		{"Match prefix", func() { keepBool = prefix.Match(id) }, 0},
		{"Match segments", func() { keepBool = segments.Match(id) }, 0},
		{"ComparePatterns", func() { keepInt = workloadid.ComparePatterns(prefix, segments) }, 0},
		{"Search", func() { keepBool = index.Search(id, func(v *int) bool { keepInt += *v; return false }) }, 0},
	} {
		if race.Enabled {
			continue // instrumentation allocates
		}
		if got := testing.AllocsPerRun(1000, tt.call); got != tt.want {
			t.Errorf("%s allocates %v times, want %v", tt.name, got, tt.want)
		}
	}
	_, _, _ = keepID, keepBool, keepInt
}

// ID-04: what is refused is not copied first, however long it is.
func TestParseBytesOfHostileInputDoesNotCopyIt(t *testing.T) {
	if race.Enabled {
		return
	}
	huge := []byte(idOf("spiffe", 1<<20))
	const runs = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		if _, err := workloadid.ParseBytes(huge); err == nil {
			t.Fatal("ParseBytes accepts 1 MiB")
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / runs; each > 1024 {
		t.Errorf("ParseBytes of 1 MiB allocates %d bytes, want no more than its error", each)
	}
}

func TestParseBytesCopies(t *testing.T) {
	t.Parallel()
	raw := []byte(caller)
	id, err := workloadid.ParseBytes(raw)
	clear(raw)
	if err != nil || id.String() != caller {
		t.Errorf("ParseBytes() = %q, %v after its argument was overwritten, want %q", id, err, caller)
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := workloadid.Parse(caller); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	id := mustID(b, caller)
	for _, s := range []string{caller, "spiffe://prod.example/ns/**", "spiffe://prod.example/ns/*/sa/checkout"} {
		p := mustPattern(b, s)
		b.Run(s[len("spiffe://prod.example/"):], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !p.Match(id) {
					b.Fatalf("%q does not match", p)
				}
			}
		})
	}
}

// BenchmarkSearch isolates the index: one hit among n patterns that the
// identifier shares all but one segment with.
func BenchmarkSearch(b *testing.B) {
	for _, shape := range []string{"spiffe://prod.example/ns/n%d/sa/checkout", "spiffe://prod.example/ns/n%d/**", "spiffe://prod.example/ns/*/sa/s%d"} {
		for _, n := range []int{10, 1000, 100_000} {
			var index workloadid.Index[int]
			ids := make([]workloadid.ID, n)
			for i := range n {
				*index.At(mustPattern(b, fmt.Sprintf(shape, i))) = i
				ids[i] = mustID(b, fmt.Sprintf("spiffe://prod.example/ns/n%d/sa/s%d", i, i))
			}
			if shape == "spiffe://prod.example/ns/n%d/sa/checkout" {
				for i := range n {
					ids[i] = mustID(b, fmt.Sprintf(shape, i))
				}
			}
			b.Run(fmt.Sprintf("%s/%d", shape[len("spiffe://prod.example/"):], n), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					// A stride that is coprime to n visits all, in no order that a
					// processor would guess.
					if i += 7919; i >= n {
						i %= n
					}
					if !index.Search(ids[i], func(v *int) bool { return *v == i }) {
						b.Fatalf("%q is not found", ids[i])
					}
				}
			})
		}
	}
}
