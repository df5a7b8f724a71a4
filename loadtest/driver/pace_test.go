package main

import (
	"bufio"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

func discard() *log.Logger { return log.New(io.Discard, "", 0) }

func TestSchedule(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		s       schedule
		count   int
		at      int
		want    time.Duration
		atStart float64 // arrivals in the first second
	}{
		{schedule{100, 100, 10 * time.Second}, 1000, 500, 5 * time.Second, 100},
		{schedule{0, 100, 10 * time.Second}, 500, 125, 5 * time.Second, 5},
		{schedule{100, 0, 10 * time.Second}, 500, 375, 5 * time.Second, 95},
		{schedule{50, 150, 10 * time.Second}, 1000, 375, 5 * time.Second, 55},
	} {
		if got := tt.s.count(); got != tt.count {
			t.Errorf("%v has %d arrivals, want %d", tt.s, got, tt.count)
		}
		if got := tt.s.at(tt.at); (got - tt.want).Abs() > time.Microsecond {
			t.Errorf("%v: arrival %d is due at %v, want %v", tt.s, tt.at, got, tt.want)
		}
		last := time.Duration(-1)
		first := 0.0
		for i := range tt.s.count() {
			at := tt.s.at(i)
			if at < last || at >= tt.s.duration {
				t.Fatalf("%v: arrival %d is due at %v, the one before at %v", tt.s, i, at, last)
			}
			if last = at; at < time.Second {
				first++
			}
		}
		if math.Abs(first-tt.atStart) > 1 {
			t.Errorf("%v: %v arrivals in the first second, want %v", tt.s, first, tt.atStart)
		}
	}
}

// stalling is a server behind pipes that takes a millisecond for an answer, but
// gives none between from and until.
type stalling struct{ from, until time.Time }

func (s stalling) connect(string, time.Time) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		for r := bufio.NewReader(server); ; {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
			if now := time.Now(); !now.Before(s.from) && now.Before(s.until) {
				time.Sleep(s.until.Sub(now))
			}
			if _, err := io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
				return
			}
		}
	}()
	return client, nil
}

// stall is an attack on such a server: 100 requests a second for ten seconds, of which
// the server stalls for one.
func stall(connections, maxInFlight int, timeout time.Duration) *attack {
	now := time.Now()
	s := stalling{now.Add(5 * time.Second), now.Add(6 * time.Second)}
	c := &counts{handshake: newLatencies()}
	choose := &chooser{all: []*identity{{}}}
	t := target{method: "GET", url: &url.URL{Scheme: "http", Host: "a.example", Path: "/"}}
	p := &pool{dialer: &dialer{counts: c, streams: 1, connect: s.connect}, chooser: choose, most: connections, keep: true}
	a := &attack{
		schedule: schedule{100, 100, 10 * time.Second}, maxInFlight: maxInFlight, timeout: timeout, clock: sleepClock{}, counts: c,
		requests: []request{{target: t, http1: t.http1(true)}}, pools: []*pool{p},
	}
	return a
}

// A server that stalls for a second has kept waiting all the requests that were
// due in it, not only the one that it was asked for by each connection.
func TestAStallCountsForEveryArrival(t *testing.T) {
	t.Parallel()
	for _, connections := range []int{1, 1000} {
		synctest.Test(t, func(t *testing.T) {
			a := stall(connections, 1000, time.Minute)
			a.run(t.Context())
			r := a.result(0, 1)
			if r.Due != 1000 || r.Right != 1000 || r.Dropped != 0 {
				t.Fatalf("%d connections: %d due, %d right, %d dropped; want all 1000 right", connections, r.Due, r.Right, r.Dropped)
			}
			// A tenth of the arrivals were due while nothing was answered, and waited half
			// a second on the average; one in a hundred waited for nearly all of it.
			if r.Latency.P50 > 2 || r.Latency.P95 < 400 || r.Latency.P99 < 850 || r.Latency.Max < 990 {
				t.Errorf("%d connections: p50 %v, p95 %v, p99 %v, longest %v ms; want about 1, 500, 900 and 1000",
					connections, r.Latency.P50, r.Latency.P95, r.Latency.P99, r.Latency.Max)
			}
			if r.Driver.Behind {
				t.Errorf("%d connections: the driver says that it fell behind, and it was the server", connections)
			}
			worst := 0
			for _, m := range a.timeline {
				if m.longest > 50*time.Millisecond {
					worst++
				}
			}
			if worst < 9 || worst > 12 {
				t.Errorf("%d connections: %d tenths of a second have slow answers, want the ten of the stall", connections, worst)
			}
		})
	}
}

func TestArrivalsBeyondTheLimitAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := stall(1000, 10, time.Minute)
		a.run(t.Context())
		r := a.result(0, 1)
		if r.Due != 1000 || r.Dropped < 85 || r.Dropped > 95 || r.Right != 1000-r.Dropped || r.Connections.Peak != 10 {
			t.Errorf("%d due, %d right, %d dropped, %d in flight; want about 90 dropped and 10 in flight", r.Due, r.Right, r.Dropped, r.Connections.Peak)
		}
		thresholds{}.apply(r)
		if len(r.Missed) != 1 {
			t.Errorf("missed: %q, want that arrivals were dropped", r.Missed)
		}
	})
}

func TestAnswersThatTakeTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := stall(1000, 1000, 200*time.Millisecond)
		a.run(t.Context())
		r := a.result(0, 1)
		if r.Wrong < 75 || r.Wrong > 85 || r.Wrongs["first: timeout"]+r.Wrongs["stale: timeout"] != r.Wrong || r.Retried != 0 {
			t.Errorf("%d wrong: %v, %d sent again; want about 80 that timed out", r.Wrong, r.Wrongs, r.Retried)
		}
	})
}

func TestWaitingForAConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := stall(1, 1000, time.Minute).pools[0]
		only, err := p.get(time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := p.get(begin.Add(time.Second)); reasonOf(err) != "wait: timeout" || time.Since(begin) != time.Second {
			t.Errorf("get() = %v after %v while the only connection is in use, want a timeout after a second", err, time.Since(begin))
		}
		time.AfterFunc(time.Second, func() { p.put(only) })
		if c, err := p.get(time.Now().Add(time.Hour)); c != only || err != nil {
			t.Errorf("get() = %p, %v after the only connection came back, want it: %p", c, err, only)
		}
		time.AfterFunc(time.Second, func() { p.drop(only) })
		other, err := p.get(time.Now().Add(time.Hour))
		if other == nil || other == only || err != nil {
			t.Errorf("get() = %p, %v after the only connection was closed, want a new one", other, err)
		}
		p.put(other)
		p.close()
	})
}

// The warm-up arrives as everything else does, and is not counted.
func TestWarmUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := stall(1000, 1000, time.Minute)
		a.warmup = 7 * time.Second // the stall is in it
		begin := time.Now()
		a.run(t.Context())
		r := a.result(0, 1)
		if r.Due != 1000 || r.Latency.Max > 5 {
			t.Errorf("%d due, longest %v ms; want 1000 after the stall", r.Due, r.Latency.Max)
		}
		if took := time.Since(begin); took < 16*time.Second {
			t.Errorf("warm-up and run took %v, want 17 s", took)
		}
	})
}

// A clock that falls behind is the driver's fault, and it says so.
type lateClock struct{ sleepClock }

func (lateClock) SleepUntil(t time.Time) { time.Sleep(time.Until(t) + 20*time.Millisecond) }

func TestADriverThatFallsBehindSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := stall(1000, 1000, time.Minute)
		a.clock = lateClock{}
		a.run(t.Context())
		if r := a.result(0, 1); !r.Driver.Behind || r.Driver.Late.P99 < 19 || r.Latency.P50 < 10 {
			t.Errorf("behind: %t, late %v ms, p50 %v ms; want that the driver was 20 ms late, and that this counts", r.Driver.Behind, r.Driver.Late.P99, r.Latency.P50)
		}
	})
}

func TestClock(t *testing.T) {
	t.Parallel()
	c := newClock()
	defer c.Close()
	for _, d := range []time.Duration{-time.Second, 0, 3 * time.Millisecond} {
		until := c.Now().Add(d)
		c.SleepUntil(until)
		if now := c.Now(); now.Before(until) {
			t.Errorf("SleepUntil(now %+v) returned %v too early", d, until.Sub(now))
		}
	}
}
