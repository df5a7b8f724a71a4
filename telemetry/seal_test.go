package telemetry

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sealed returns an audit log of ten requests under several seals.
func sealed(t *testing.T) []string {
	t.Helper()
	var log buffer
	tel := start(t, func(o *Options) { o.Audit.Writer, o.Audit.Seal = &log, true })
	for i := range 10 {
		r := served(t)
		r.ID = fmt.Sprint(i)
		tel.Request(r)
		if i%3 == 2 {
			for tel.AuditStatus().Queued > 0 {
				notify(tel.audit.pressing)
			}
		}
	}
	shutdown(t, tel)
	lines := slices.Collect(strings.Lines(log.String()))
	if n := len(events(t, log.String(), eventSeal)); n < 3 {
		t.Fatalf("%d seals, want at least 3", n)
	}
	return lines
}

func TestSealsHold(t *testing.T) {
	t.Parallel()
	log := strings.Join(sealed(t), "")
	got, err := VerifySeals(strings.NewReader(log))
	if err != nil {
		t.Fatalf("VerifySeals() = %v, want nil", err)
	}
	if got.Records != 11 || got.Unsealed != 0 || got.First != [32]byte{} || got.Last == [32]byte{} {
		t.Errorf("VerifySeals() = %+v, want 11 records, none unsealed, the chain's beginning and an end", got)
	}
}

// AUD-04: a change anywhere before the last seal is found.
func TestEverySortOfTamperingBreaksASeal(t *testing.T) {
	t.Parallel()
	lines := sealed(t)
	last := len(lines) - 1
	for i := range lines[:last] {
		swapped := slices.Clone(lines)
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		edited := slices.Clone(lines)
		edited[i] = strings.Replace(edited[i], `"v":1`, `"v":2`, 1)
		for name, forged := range map[string][]string{
			"changed":  edited,
			"removed":  slices.Delete(slices.Clone(lines), i, i+1),
			"repeated": slices.Insert(slices.Clone(lines), i, lines[i]),
			"moved":    swapped,
			"inserted": slices.Insert(slices.Clone(lines), i+1, "{\"event\":\"request\"}\n"),
			"reset":    slices.Insert(slices.Clone(lines), i+1, "{\"event\":\"reopen\"}\n"),
		} {
			// A second beginning looks like a run that crashed before its first seal.
			if i == 0 && name == "repeated" {
				continue
			}
			if got, err := VerifySeals(strings.NewReader(strings.Join(forged, ""))); err == nil {
				t.Errorf("line %d of %d %s: VerifySeals() = %+v, nil, want an error", i+1, len(lines), name, got)
			}
		}
	}
}

// The last seal is covered by none, so what it says of itself has to be compared.
func TestLastSealCannotLieAboutItself(t *testing.T) {
	t.Parallel()
	log := strings.Join(sealed(t), "")
	seals := events(t, log, eventSeal)
	last := seals[len(seals)-1]
	for _, member := range []string{"seq", "records"} {
		said, forged := fmt.Sprintf("%q:%v,", member, last[member]), fmt.Sprintf("%q:%v,", member, last[member].(float64)+7)
		i := strings.LastIndex(log, said)
		if _, err := VerifySeals(strings.NewReader(log[:i] + forged + log[i+len(said):])); err == nil {
			t.Errorf("VerifySeals() of a last seal with another %s = nil, want an error", member)
		}
	}
}

func TestLinesBehindTheLastSealAreReported(t *testing.T) {
	t.Parallel()
	lines := sealed(t)
	got, err := VerifySeals(strings.NewReader(strings.Join(lines[:len(lines)-1], "")))
	if err != nil || got.Unsealed == 0 || got.Records+got.Unsealed != 11 {
		t.Errorf("VerifySeals() without the last seal = %+v, %v, want some of 11 records unsealed", got, err)
	}
}

func TestSealsContinueInTheNextFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	tel := start(t, func(o *Options) { o.Audit.File, o.Audit.Seal = path, true })
	tel.Request(served(t))
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := tel.Reopen(); err != nil {
		t.Fatal(err)
	}
	tel.Request(served(t))
	shutdown(t, tel)
	verify := func(path string) Seals {
		got, err := VerifySeals(bytes.NewReader(must(os.ReadFile(path))(t)))
		if err != nil || got.Count == 0 || got.Unsealed != 0 {
			t.Fatalf("VerifySeals(%s) = %+v, %v, want all sealed", filepath.Base(path), got, err)
		}
		return got
	}
	if first, second := verify(path+".1"), verify(path); first.Last != second.First || first.Records+second.Records != 4 {
		t.Errorf("files are sealed as %+v and %+v, want the second to follow the first, with 4 records", first, second)
	}
}

// A write that stops inside a line and one that stops inside a seal leave a chain
// that holds.
func TestSealsSurviveFailedWrites(t *testing.T) {
	t.Parallel()
	header := instance{}.record(func() time.Time { return noon })
	for quota := range 250 { // longer than what is written at once below
		disk := newFaulty(false, quota)
		var o output
		if err := o.open(AuditOptions{Writer: disk, Seal: true}, header); err != nil {
			t.Fatal(err)
		}
		disk.fail.Store(quota%2 == 0)
		_, _ = o.write([]byte("{\"event\":\"request\"}\n{\"event\":\"request\"}\n"))
		disk.fail.Store(quota%2 == 1)
		o.seal(noon)
		disk.fail.Store(false)
		if _, err := o.write([]byte("{\"event\":\"request\"}\n")); err != nil {
			t.Fatal(err)
		}
		o.seal(noon)
		if got, err := VerifySeals(strings.NewReader(disk.String())); err != nil || got.Count == 0 || got.Unsealed != 0 {
			t.Fatalf("after a write that stopped at octet %d: VerifySeals() = %+v, %v\n%s", quota, got, err, disk.String())
		}
	}
}

// No input makes VerifySeals panic, or accept more lines than there are.
func FuzzVerifySeals(f *testing.F) {
	f.Add([]byte("{\"event\":\"start\"}\n{\"event\":\"seal\",\"seq\":1,\"records\":1,\"sha256\":\"00\"}\n"))
	f.Add([]byte("{\"event\":\"reopen\"}\n\n\x00"))
	f.Add(bytes.Repeat([]byte("x"), 3*maxLine))
	f.Fuzz(func(t *testing.T, log []byte) {
		got, err := VerifySeals(bytes.NewReader(log))
		if n := bytes.Count(log, []byte("\n")) + 1; got.Records+got.Unsealed > n {
			t.Errorf("VerifySeals() = %+v, %v for %d lines", got, err, n)
		}
	})
}
