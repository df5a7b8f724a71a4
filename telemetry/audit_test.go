package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"verigate/certpath"
	"verigate/internal/race"
	"verigate/tlsterm"
)

// AUD-01: one record per request, whatever became of it, in order.
func TestEveryRequestHasOneRecord(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 500
	log := audited(t, nil, func(tel *Telemetry) {
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				r := served(t)
				for i := range each {
					r.ID = fmt.Sprintf("%d-%d", g, i)
					r.Decision = []string{DecisionAllowed, DecisionDenied, DecisionRefused, DecisionError}[i%4]
					tel.Request(r)
				}
			})
		}
		wg.Wait()
	})
	next := make(map[string]int)
	for _, r := range events(t, log, eventRequest) {
		g, i, _ := strings.Cut(r["request_id"].(string), "-")
		if want := fmt.Sprint(next[g]); i != want {
			t.Fatalf("goroutine %s: record %s where %s was expected", g, i, want)
		}
		next[g]++
	}
	for g, n := range next {
		if n != each {
			t.Errorf("goroutine %s: %d records, want %d", g, n, each)
		}
	}
	if len(next) != goroutines {
		t.Errorf("records of %d goroutines, want %d", len(next), goroutines)
	}
}

func TestLogBeginsWithWhoWritesIt(t *testing.T) {
	t.Parallel()
	log := audited(t, nil, func(*Telemetry) {})
	got := records(t, log)
	if len(got) != 1 || got[0]["event"] != "start" || got[0]["service"] != "verigate" || got[0]["instance"] != "gw-1" || got[0]["version"] != "1.0.0" {
		t.Errorf("an empty log is %v, want one start record of gw-1", got)
	}
}

// AUD-03: what looks like a credential does not reach the log. The record has no
// place for headers and bodies; a query is cut off.
func TestNoSecretReachesTheLog(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry-s3cr3t"
	log := audited(t, nil, func(tel *Telemetry) {
		r := served(t)
		for _, path := range []string{"/a?access_token=" + canary, "/a#" + canary, "/a#x?" + canary, "/a?x#" + canary} {
			r.Path = path
			r.Trace = tel.Trace(canary)
			tel.Request(r)
		}
	})
	if strings.Contains(log, canary) {
		t.Errorf("the log contains %q", canary)
	}
	for _, r := range events(t, log, eventRequest) {
		if r["path"] != "/a" {
			t.Errorf("path = %v, want /a", r["path"])
		}
	}
}

// AUD-10, TLS-13: nobody is called by an identity that was not proven.
func TestUnprovenIdentityIsOnlyClaimed(t *testing.T) {
	t.Parallel()
	log := audited(t, nil, func(tel *Telemetry) {
		h := refused(t)
		tel.Handshake(h)
		stolen := refused(t) // the chain is fine and the key is not theirs
		stolen.Reason, stolen.Verdict.Err = tlsterm.ReasonPoPFailed, nil
		stolen.Err = errors.New("tls: invalid signature by the client certificate")
		tel.Handshake(stolen)
		admitted := refused(t)
		admitted.Outcome = tlsterm.Admitted
		tel.Handshake(admitted)
		r := served(t)
		r.ClaimedID, r.Caller = r.Caller, h.Peer.ID()
		tel.Request(r)
	})
	found := append(events(t, log, eventHandshake), events(t, log, eventRequest)...)
	if len(found) != 4 {
		t.Fatalf("%d records, want 4", len(found))
	}
	for _, r := range found {
		if r["authenticated"] != false || r["identity"] != nil || r["trust_domain"] != nil || r["mial"] != nil {
			t.Errorf("record speaks of an unproven peer as if it were known: %v", r)
		}
		if r["claimed_identity"] != "spiffe://prod.example/ns/shop/sa/checkout" {
			t.Errorf("claimed_identity = %v, want what the chain says", r["claimed_identity"])
		}
	}
	if hint := found[0]["hint"]; hint != "the client sent no intermediate certificate" {
		t.Errorf("hint = %v, want that of the verdict", hint)
	}
}

// OQ-30: failures are recorded up to a rate; the log says how many were not.
func TestFloodOfFailuresIsCountedNotRecorded(t *testing.T) {
	t.Parallel()
	const flood, burst = 1000, 20
	var tel *Telemetry
	log := audited(t, func(o *Options) { o.Audit.FailuresPerSecond = burst / 10 }, func(started *Telemetry) {
		tel = started
		h := refused(t)
		for range flood {
			tel.Handshake(h)
		}
		later := *h
		later.Start = h.Start.Add(2 * time.Second)
		for range 10 {
			tel.Handshake(&later)
		}
		success, e := accepted(t)
		for range 50 {
			tel.handshake(success, e)
		}
	})
	outcomes := make(map[any]int)
	for _, r := range events(t, log, eventHandshake) {
		outcomes[r["outcome"]]++
	}
	if outcomes["failed"] != burst+4 || outcomes["accepted"] != 50 {
		t.Errorf("recorded handshakes: %v, want %d failed (a burst and two seconds' worth) and all 50 accepted", outcomes, burst+4)
	}
	suppressed := 0.0
	for _, r := range events(t, log, eventSuppressed) {
		suppressed += r["count"].(float64)
	}
	if want := float64(flood + 10 - burst - 4); suppressed != want {
		t.Errorf("suppressed records add up to %v, want %v", suppressed, want)
	}
	if got := tel.AuditStatus().Suppressed; float64(got) != suppressed {
		t.Errorf("AuditStatus().Suppressed = %d, want %v", got, suppressed)
	}
}

// gate is a writer that waits for permission.
type gate struct {
	entered chan struct{}
	pass    chan struct{}
	buffer
}

func (g *gate) Write(p []byte) (int, error) {
	g.entered <- struct{}{}
	<-g.pass
	return g.buffer.Write(p)
}

// jammed returns a Telemetry whose writer is stuck in a write, and what frees it.
func jammed(t *testing.T, onFull string) (tel *Telemetry, g *gate) {
	g = &gate{entered: make(chan struct{}), pass: make(chan struct{})}
	go func() { <-g.entered; g.pass <- struct{}{} }() // the start record
	tel = must(New(Options{Audit: AuditOptions{Writer: g, QueueRecords: 10, OnFull: onFull}}))(t)
	tel.Request(served(t))
	<-g.entered // the first batch is on its way and takes up one place
	return tel, g
}

func (g *gate) release() {
	go func() {
		for range g.entered {
		}
	}()
	close(g.pass)
}

func TestFullQueueDropsAndSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tel, g := jammed(t, OnFullDrop)
		for range 30 {
			tel.Request(served(t)) // a caller that blocked here would deadlock the test
		}
		if s := tel.AuditStatus(); s.Dropped != 21 || s.Queued != 10 {
			t.Errorf("AuditStatus() = %+v, want 21 dropped, 10 queued", s)
		}
		g.release()
		shutdown(t, tel)
		close(g.entered)
		if n := len(events(t, g.String(), eventRequest)); n != 10 {
			t.Errorf("%d requests in the log, want 10", n)
		}
		if lost := events(t, g.String(), eventLost); len(lost) != 1 || lost[0]["count"] != 21.0 {
			t.Errorf("lost records: %v, want one with count 21", lost)
		}
	})
}

func TestFullQueueBlocksIfAskedTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tel, g := jammed(t, OnFullBlock)
		finished := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 30 {
				tel.Request(served(t))
				finished++
			}
		}()
		synctest.Wait()
		if finished != 9 {
			t.Errorf("%d requests went on with a full queue, want 9", finished)
		}
		g.release()
		<-done
		shutdown(t, tel)
		close(g.entered)
		if n := len(events(t, g.String(), eventRequest)); n != 31 {
			t.Errorf("%d requests in the log, want all 31", n)
		}
	})
}

// faulty fails as long as it is told to, after writing part of what it got.
type faulty struct {
	buffer
	fail  atomic.Bool
	quota int
}

func newFaulty(fail bool, quota int) *faulty {
	f := &faulty{quota: quota}
	f.fail.Store(fail)
	return f
}

var errDisk = errors.New("no space left on device")

func (f *faulty) Write(p []byte) (int, error) {
	if !f.fail.Load() {
		return f.buffer.Write(p)
	}
	n, _ := f.buffer.Write(p[:min(f.quota, len(p))])
	return n, errDisk
}

func TestFailedWriteIsCountedAndVisibleAndHealed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := newFaulty(false, 100)
		tel := must(New(Options{Audit: AuditOptions{Writer: disk}}))(t)
		if !tel.AuditStatus().Healthy {
			t.Error("Healthy = false before anything happened, want true")
		}
		disk.fail.Store(true)
		tel.Request(served(t))
		time.Sleep(time.Second) // synthetic: the flush interval passes
		synctest.Wait()
		s := tel.AuditStatus()
		if s.Healthy || s.Errors != 1 || s.Dropped != 1 || !strings.Contains(s.LastError, errDisk.Error()) || s.LastErrorAt.IsZero() {
			t.Errorf("AuditStatus() after a failed write = %+v, want it unhealthy with the error and one record dropped", s)
		}
		disk.fail.Store(false)
		tel.Request(served(t))
		shutdown(t, tel)
		if s := tel.AuditStatus(); !s.Healthy || s.Written != 2 || s.LastError == "" {
			t.Errorf("AuditStatus() when it is over = %+v, want it healthy with 2 written and the error still told", s)
		}
		lines := slices.Collect(strings.Lines(disk.String()))
		if len(lines) != 4 || len(lines[1]) != 102 {
			t.Fatalf("log = %q, want start, the torn line ended, the next request, lost", lines)
		}
		rest := lines[2] + lines[3]
		if len(events(t, rest, eventRequest)) != 1 || events(t, rest, eventLost)[0]["count"] != 1.0 {
			t.Errorf("after the torn line: %s, want a request and a loss of 1", rest)
		}
	})
}

func TestBlockRepeatsFailedWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := newFaulty(false, 100)
		tel := must(New(Options{Audit: AuditOptions{Writer: disk, OnFull: OnFullBlock}}))(t)
		disk.fail.Store(true)
		tel.Request(served(t))
		time.Sleep(time.Second)
		synctest.Wait()
		disk.fail.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		shutdown(t, tel)
		if s := tel.AuditStatus(); s.Dropped != 0 || s.Errors < 5 {
			t.Errorf("AuditStatus() = %+v, want nothing dropped after several failures", s)
		}
		lines := slices.Collect(strings.Lines(disk.String()))
		if n := len(events(t, lines[len(lines)-1], eventRequest)); n != 1 {
			t.Errorf("last line is %q, want the whole request", lines[len(lines)-1])
		}
	})
}

func TestShutdownGivesUpWhenToldTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tel, g := jammed(t, OnFullDrop)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := tel.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown() with a stuck writer = %v, want %v", err, context.DeadlineExceeded)
		}
		if tel.Request(served(t)); tel.AuditStatus().Dropped != 1 {
			t.Errorf("%d records dropped after Shutdown, want 1", tel.AuditStatus().Dropped)
		}
		g.release()
		<-tel.audit.done
		close(g.entered)
	})
}

func TestRecordIsWrittenWithinTheInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log buffer
		tel := must(New(Options{Audit: AuditOptions{Writer: &log, FlushInterval: 3 * time.Second}}))(t)
		tel.Request(served(t))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := len(events(t, log.String(), eventRequest)); n != 0 {
			t.Errorf("%d records written before the interval passed, want 0", n)
		}
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if n := len(events(t, log.String(), eventRequest)); n != 1 {
			t.Errorf("%d records written after the interval, want 1", n)
		}
		shutdown(t, tel)
	})
}

func TestAuditFileIsPrivateAndAppendedTo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for range 2 {
		tel := must(New(Options{Audit: AuditOptions{File: path}}))(t)
		tel.Request(served(t))
		shutdown(t, tel)
	}
	info := must(os.Stat(path))(t)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the audit file is %v, want 0600", info.Mode().Perm())
	}
	log := string(must(os.ReadFile(path))(t))
	if s, r := len(events(t, log, eventStart)), len(events(t, log, eventRequest)); s != 2 || r != 2 {
		t.Errorf("after two runs the log has %d starts and %d requests, want 2 and 2", s, r)
	}
}

func TestTornLineOfACrashIsEnded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	torn := `{"v":1,"time":"2026-`
	if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
		t.Fatal(err)
	}
	shutdown(t, must(New(Options{Audit: AuditOptions{File: path}}))(t))
	first, rest, _ := strings.Cut(string(must(os.ReadFile(path))(t)), "\n")
	if first != torn || len(events(t, rest, eventStart)) != 1 {
		t.Errorf("file is %q and %q, want the torn line and a start record", first, rest)
	}
}

func TestReopenFollowsTheName(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	tel := start(t, func(o *Options) { o.Audit.File = path })
	r := served(t)
	r.ID = "before"
	tel.Request(r)
	for tel.AuditStatus().Queued > 0 {
		notify(tel.audit.pressing)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := tel.Reopen(); err != nil {
		t.Fatalf("Reopen() = %v, want nil", err)
	}
	r.ID = "after"
	tel.Request(r)
	shutdown(t, tel)
	for file, want := range map[string]string{path + ".1": "before", path: "after"} {
		log := string(must(os.ReadFile(file))(t))
		if got := events(t, log, eventRequest); len(got) != 1 || got[0]["request_id"] != want {
			t.Errorf("%s has requests %v, want one: %s", filepath.Base(file), got, want)
		}
	}
	if first := records(t, string(must(os.ReadFile(path))(t)))[0]; first["event"] != eventReopen {
		t.Errorf("the new file begins with %v, want a reopen record", first)
	}
}

func TestFailedReopenKeepsTheOldFile(t *testing.T) {
	t.Parallel()
	directory := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(directory, "audit.jsonl")
	tel := start(t, func(o *Options) { o.Audit.File = path })
	if err := os.Rename(directory, directory+".gone"); err != nil {
		t.Fatal(err)
	}
	if err := tel.Reopen(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Reopen() without a directory = %v, want %v", err, os.ErrNotExist)
	}
	if s := tel.AuditStatus(); s.Healthy || s.Errors != 1 {
		t.Errorf("AuditStatus() = %+v, want it unhealthy with one error", s)
	}
	tel.Request(served(t))
	shutdown(t, tel)
	log := string(must(os.ReadFile(filepath.Join(directory+".gone", "audit.jsonl")))(t))
	if n := len(events(t, log, eventRequest)); n != 1 {
		t.Errorf("%d requests in the old file, want 1", n)
	}
}

func TestAuditOptionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		o    AuditOptions
	}{
		{"two outputs", AuditOptions{Writer: io.Discard, File: filepath.Join(t.TempDir(), "a")}},
		{"unknown policy", AuditOptions{Writer: io.Discard, OnFull: "panic"}},
		{"negative queue", AuditOptions{Writer: io.Discard, QueueRecords: -1}},
		{"negative interval", AuditOptions{Writer: io.Discard, FlushInterval: -1}},
		{"negative rate", AuditOptions{Writer: io.Discard, FailuresPerSecond: -1}},
		{"file in a directory that does not exist", AuditOptions{File: filepath.Join(t.TempDir(), "no", "such")}},
		{"writer that fails at once", AuditOptions{Writer: newFaulty(true, 0)}},
	} {
		if tel, err := New(Options{Audit: tt.o}); err == nil {
			t.Errorf("%s: New() = nil error, want one", tt.name)
			shutdown(t, tel)
		}
	}
}

func TestRecordingDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		return // the detector's own allocations would be counted
	}
	var log discard
	tel := start(t, func(o *Options) { o.Audit.Writer = &log })
	r, parent := served(t), []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	h, e := accepted(t)
	failed := shadowed(refused(t), certpath.ReasonNone)
	again, provenAgain := resumed(t)
	denied, remembered := *r, *r
	remembered.Memo = new(Memo)
	denied.Decision, denied.Reason, denied.Status = DecisionDenied, "policy_denied", 403
	for range 64 { // each slot of the ring grows to its size once
		tel.Request(&denied)
	}
	var field [64]byte
	for _, tt := range []struct {
		name string
		f    func()
	}{
		{"Request", func() { tel.Request(r) }},
		{"Request with a Memo", func() { tel.Request(&remembered) }},
		{"Request that was denied", func() { tel.Request(&denied) }},
		{"TraceBytes and AppendTraceParent", func() { tr := tel.TraceBytes(parent); _ = tr.AppendTraceParent(field[:0]) }},
		{"handshake", func() { tel.handshake(h, e) }},
		{"Handshake that failed and a shadow accepts", func() { tel.Handshake(failed) }},
		{"Handshake that is resumed and a shadow refuses", func() { tel.handshake(again, provenAgain) }},
		{"ShadowJudged", func() { tel.ShadowJudged(provenAgain.id, &again.Verdict) }},
	} {
		if n := testing.AllocsPerRun(1000, tt.f); n != 0 {
			t.Errorf("%s allocates %v times, want 0", tt.name, n)
		}
	}
}

// discard is io.Discard, but for the tests that count allocations.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
