package load

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"verigate/benchmarks/peers/pki"
	"verigate/benchmarks/report"
	"verigate/devpki"
)

// world is a server in this process and the identities that it knows.
type world struct {
	address    string
	leaf       []byte
	identities string
}

// serve starts a server whose answers change makes wrong, if it is not nil. change
// gets the right answer for the nth request of all.
func serve(t *testing.T, clients int, config *tls.Config, change func(n int, answer string) string) world {
	t.Helper()
	authority, err := pki.New(devpki.P256, 2)
	if err != nil {
		t.Fatal(err)
	}
	files, err := authority.Serve(t.TempDir(), devpki.P256)
	if err != nil {
		t.Fatal(err)
	}
	set, err := authority.Issue("test", clients, false)
	if err != nil {
		t.Fatal(err)
	}
	w := world{leaf: files.Leaf, identities: filepath.Join(t.TempDir(), "set")}
	if err := set.Write(w.identities); err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates, config.ClientAuth = []tls.Certificate{certificate}, tls.RequireAnyClientCert
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	w.address = listener.Addr().String()
	requests := make(chan int, 1)
	requests <- 0
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answer(conn.(*tls.Conn), requests, change)
		}
	}()
	return w
}

func answer(conn *tls.Conn, requests chan int, change func(int, string) string) {
	defer conn.Close()
	for in := bufio.NewReader(conn); ; {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		n := <-requests
		requests <- n + 1
		text := fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Caller: CN=%s\r\nContent-Length: 4\r\n\r\nbody",
			conn.ConnectionState().PeerCertificates[0].Subject.CommonName)
		if change != nil {
			text = change(n, text)
		}
		if _, err := conn.Write([]byte(text)); err != nil || request.Close {
			return
		}
	}
}

func (w world) job(kind Kind) Job {
	return Job{Kind: kind, Target: w.address, Leaf: w.leaf, Group: tls.X25519, Identities: w.identities, Path: "/", Body: 4,
		Workers: 4, Duration: 200 * time.Millisecond, Patience: 5 * time.Second}
}

func TestOperationsOfEachKindSucceed(t *testing.T) {
	t.Parallel()
	w := serve(t, 5, &tls.Config{}, nil)
	for _, kind := range []Kind{Handshake, Resume, KeepAlive, Flood} {
		for _, rate := range []float64{0, 100} {
			job := w.job(kind)
			job.Rate = rate
			var g Generator
			asked := time.Now()
			r := g.Play(t.Context(), job)
			if over := time.Now(); r.Began.Before(asked) || r.Began.Add(r.Wall).After(over) {
				t.Errorf("Play(%s at rate %v) began at %v for %v, want that between %v and %v", kind, rate, r.Began, r.Wall, asked, over)
			}
			if r.Error != "" || r.Operations == 0 || r.Failures != 0 || r.Wall <= 0 || r.Generator <= 0 {
				t.Errorf("Play(%s at rate %v) = %+v, want operations and no failures", kind, rate, r)
			}
			if rate > 0 && (r.Operations != 20 || r.Latency == nil || r.Latency.Max <= 0) {
				t.Errorf("Play(%s at rate %v) = %d operations, latency %v; want 20 in 200 ms, and their latencies", kind, rate, r.Operations, r.Latency)
			}
		}
	}
}

// TestWithinCountsWhatEndsInTime: from the first bound on, until before the second.
func TestWithinCountsWhatEndsInTime(t *testing.T) {
	t.Parallel()
	m := &measurement{job: Job{From: time.Second, Until: 3 * time.Second}, meter: &meter{began: time.Now()}, latencies: hdrhistogram.New(1, 1e6, 3)}
	for _, after := range []time.Duration{0, time.Second - 1, time.Second, 3*time.Second - 1, 3 * time.Second} {
		m.record(m.began, m.began.Add(after), nil)
		m.record(m.began, m.began.Add(after), errFull)
	}
	if r := m.result; r.Within != 2 || r.Operations != 5 || r.Failures != 5 {
		t.Errorf("record() counts %d of %d successes as within, want 2 of 5", r.Within, r.Operations)
	}
}

// TestJobsAddUp: everything but latencies, and what others used of the core only in the end:
// in a slice it is less than what the kernel counts in.
func TestJobsAddUp(t *testing.T) {
	t.Parallel()
	began := time.Unix(1_000_000, 0)
	one := Result{Began: began, Operations: 1, Within: 2, Failures: 3, Failure: "first", Unresumed: 4, Wall: 5 * time.Second, CPU: 4 * time.Second,
		Generator: 6 * time.Second, Core: 5 * time.Second, OccupantCPU: 2 * time.Second, Latency: &report.Latency{}}
	two := one
	two.Began, two.Failure, two.Core = began.Add(time.Hour), "", 8*time.Second
	want := Result{Began: two.Began, Operations: 2, Within: 4, Failures: 6, Failure: "first", Unresumed: 8, Wall: 10 * time.Second, CPU: 8 * time.Second,
		Generator: 12 * time.Second, Core: 13 * time.Second, OccupantCPU: 4 * time.Second}
	if got := (Result{}).Plus(one).Plus(two); got != want {
		t.Errorf("Plus() = %+v, want %+v", got, want)
	}
	if got := want.Foreign(); got != 0.1 {
		t.Errorf("Foreign() = %v, want 0.1: one of ten seconds", got)
	}
	if got := one.Foreign(); got != 0 {
		t.Errorf("Foreign() = %v of a peer that used more than was counted, want 0", got)
	}
}

func TestWrongAnswersAreFailures(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(int, string) string{
		"status":       func(_ int, s string) string { return strings.Replace(s, "200 OK", "503 No", 1) },
		"caller":       func(_ int, s string) string { return strings.Replace(s, "CN=test-0", "CN=else-0", 1) },
		"no caller":    func(_ int, s string) string { return strings.Replace(s, "X-Caller", "X-Nobody", 1) },
		"length":       func(_ int, s string) string { return strings.Replace(s, "Length: 4", "Length: 5", 1) },
		"longer":       func(_ int, s string) string { return s + "more" },
		"no answer":    func(int, string) string { return "" },
		"half of it":   func(_ int, s string) string { return s[:len(s)-2] },
		"not HTTP/1.1": func(_ int, s string) string { return "HTTP/2" + s[8:] },
	} {
		w := serve(t, 1, &tls.Config{}, change)
		job := w.job(Handshake)
		job.Workers, job.Duration = 1, 20*time.Millisecond
		var g Generator
		r := g.Play(t.Context(), job)
		for r.Error == "" && r.Operations+r.Failures == 0 { // a busy machine did not come to one
			r = g.Play(t.Context(), job)
		}
		if r.Error != "" || r.Operations != 0 || r.Failures == 0 || r.Failure == "" {
			t.Errorf("%s is wrong: Play() = %+v, want failures only", name, r)
		}
	}
}

func TestAnotherServerIsAFailure(t *testing.T) {
	t.Parallel()
	job := serve(t, 1, &tls.Config{}, nil).job(Handshake)
	job.Leaf = serve(t, 1, &tls.Config{}, nil).leaf
	var g Generator
	if r := g.Play(t.Context(), job); r.Operations != 0 || r.Failures == 0 {
		t.Errorf("Play() = %+v against a server with another certificate, want failures only", r)
	}
}

func TestFullHandshakeIsNoResumption(t *testing.T) {
	t.Parallel()
	job := serve(t, 1, &tls.Config{SessionTicketsDisabled: true}, nil).job(Resume)
	var g Generator
	if r := g.Play(t.Context(), job); r.Operations != 0 || r.Unresumed == 0 || r.Unresumed != r.Failures {
		t.Errorf("Play() = %+v against a server without tickets, want every operation to be unresumed", r)
	}
}

// TestOneGroupIsOffered: a server that has another one only is not reached.
func TestOneGroupIsOffered(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		group, server tls.CurveID
		agree         bool
	}{
		{0, tls.X25519, false}, // forgotten
		{tls.X25519MLKEM768, tls.X25519MLKEM768, true},
		{tls.CurveP256, tls.CurveP256, true},
		{tls.CurveP256, tls.X25519, false},
		{tls.X25519MLKEM768, tls.X25519, false},
	} {
		job := serve(t, 1, &tls.Config{CurvePreferences: []tls.CurveID{tt.server}}, nil).job(Handshake)
		job.Group, job.First, job.Last, job.Once, job.Duration = tt.group, 0, 1, true, time.Minute
		var g Generator
		if r := g.Play(t.Context(), job); r.Error != "" || (r.Operations == 1) != tt.agree || (r.Failures == 1) == tt.agree {
			t.Errorf("a client of %v at a server of %v: Play() = %+v, want agreement: %v", tt.group, tt.server, r, tt.agree)
		}
	}
}

func TestIdentitiesAreUsedOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	turn := make(chan bool, 1)
	turn <- true
	config := &tls.Config{VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
		<-turn
		seen[string(raw[0])]++
		turn <- true
		return nil
	}}
	job := serve(t, 30, config, nil).job(Handshake)
	job.First, job.Last, job.Once, job.Duration = 10, 30, true, time.Minute
	var g Generator
	if r := g.Play(t.Context(), job); r.Operations != 20 || r.Failures != 0 {
		t.Errorf("Play() = %+v, want an operation for each of 20 identities", r)
	}
	if <-turn; len(seen) != 20 {
		t.Errorf("the server saw %d certificates, want 20", len(seen))
	}
}

// TestClientsComeBackInTurns: a job goes on with the clients of the one before.
func TestClientsComeBackInTurns(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 100)
	config := &tls.Config{VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
		seen <- string(raw[0])
		return nil
	}}
	job := serve(t, 3, config, nil).job(KeepAlive)
	job.Workers, job.Duration = 2, time.Millisecond
	var g Generator
	for range 3 {
		if r := g.Play(t.Context(), job); r.Error != "" {
			t.Fatal(r.Error)
		}
	}
	came := map[string]int{}
	for range 6 {
		came[<-seen]++
	}
	for _, n := range came {
		if n != 2 {
			t.Errorf("of three clients, in three jobs of two each, one came %d times, want 2", n)
		}
	}
}

// TestStallShowsInLatencies is what a timetable is for: while the server stalls, more
// operations are due, and their waiting counts.
func TestStallShowsInLatencies(t *testing.T) {
	t.Parallel()
	const stall = 300 * time.Millisecond
	released := make(chan bool)
	// The first request opens the connection, the second is the first that counts.
	job := serve(t, 1, &tls.Config{}, func(n int, answer string) string {
		if n == 1 {
			time.AfterFunc(stall, func() { close(released) })
			<-released
		}
		return answer
	}).job(KeepAlive)
	job.Workers, job.Rate, job.Duration = 1, 100, 400*time.Millisecond
	var g Generator
	r := g.Play(t.Context(), job)
	if r.Error != "" || r.Operations != 40 {
		t.Fatalf("Play() = %+v, want 40 operations", r)
	}
	if r.Latency.Max < stall || r.Latency.P50 < stall/4 {
		t.Errorf("latency is %+v; want the longest to be the stall of %v, and the median to have waited for it too", *r.Latency, stall)
	}
}

func TestHeldConnectionsStayUntilReleased(t *testing.T) {
	t.Parallel()
	w := serve(t, 3, &tls.Config{}, nil)
	var g Generator
	if r := g.Play(t.Context(), w.job(Hold)); r.Operations != 4 || r.Failures != 0 {
		t.Fatalf("Play(hold) = %+v, want 4 connections", r)
	}
	probe := w.job(KeepAlive)
	probe.Held, probe.Apart, probe.Rate = true, true, 100
	if r := g.Play(t.Context(), probe); r.Error != "" || r.Operations != 20 || r.Failures != 0 {
		t.Errorf("Play(keepalive, held) = %+v, want 20 operations", r)
	}
	held := g.held[0].(*keeper).conn
	g.Play(t.Context(), Job{Kind: Release})
	if _, err := held.Read(make([]byte, 1)); err == nil || len(g.held) != 0 {
		t.Errorf("a connection is open after release: Read() = %v, %d held", err, len(g.held))
	}
}

func TestPeerThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := serve(t, 1, &tls.Config{}, nil)
	w.address = "127.0.0.1:1" // a port of the kernel's choice might be given to another test
	var g Generator
	if r := g.Play(t.Context(), w.job(KeepAlive)); r.Error == "" {
		t.Errorf("Play() = %+v where nobody listens, want an error", r)
	}
	job := w.job("nonsense")
	if r := g.Play(t.Context(), job); r.Error == "" {
		t.Errorf("Play() = %+v of a kind that is none, want an error", r)
	}
}
