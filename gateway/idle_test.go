package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"verigate/gateway"
	"verigate/internal/race"
	"verigate/trust"
)

// resting counts the connections of this process that have been idle for so long that
// all they have is a goroutine which waits.
func resting(t testing.TB) (n int) {
	t.Helper()
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		t.Fatal(err)
	}
	_, groups, _ := strings.Cut(profile.String(), "\n") // the total
	for group := range strings.SplitSeq(groups, "\n\n") {
		var of int
		if strings.Contains(group, "tlsterm.(*Conn).AwaitOctets+") {
			if _, err := fmt.Sscanf(group, "%d @", &of); err != nil {
				t.Fatalf("goroutine profile: %v in %q", err, group)
			}
			n += of
		}
	}
	return n
}

// restingID names the goroutine of the one connection that rests; "" if none does.
func restingID(t testing.TB) string {
	t.Helper()
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	for stack := range strings.SplitSeq(stacks.String(), "\n\n") {
		if strings.Contains(stack, "tlsterm.(*Conn).AwaitOctets(") {
			id, _, _ := strings.Cut(stack, " [")
			return id
		}
	}
	return ""
}

// TestRestingConnections is about connections that have been idle for longer than
// fasthttp keeps its buffers. It counts them by the goroutines of the whole process, so
// neither it nor its parts run beside other tests.
func TestRestingConnections(t *testing.T) {
	const ask = "/nobody" // needs no backend
	tests := []struct {
		name     string
		listener func(*gateway.ListenerOptions)
		asked    bool // a request came before the rest
		then     func(t *testing.T, w *world, c *client)
		ends     bool
	}{
		{"serves the next request, and rests again", nil, true, func(t *testing.T, w *world, c *client) {
			for range 2 {
				if r := c.do(get("catalog.example", ask)); r.StatusCode != 403 {
					t.Errorf("answered %d, want 403", r.StatusCode)
				}
				w.until(t, "the connection rested again", func() bool { return resting(t) == 1 })
			}
		}, false},
		{"serves its first request", nil, false, func(t *testing.T, _ *world, c *client) {
			if r := c.do(get("catalog.example", ask)); r.StatusCode != 403 {
				t.Errorf("answered %d, want 403", r.StatusCode)
			}
		}, false},
		// Each rest has a goroutine of its own.
		{"rests again after octets that are no request", nil, true, func(t *testing.T, w *world, c *client) {
			for _, octet := range []byte{23, 3, 3} { // of the header of a record
				before := restingID(t)
				if _, err := c.NetConn().Write([]byte{octet}); err != nil {
					t.Fatal(err)
				}
				w.until(t, "the connection rested again", func() bool { id := restingID(t); return id != "" && id != before })
			}
		}, false},
		{"ends when the client closes", nil, true, func(_ *testing.T, _ *world, c *client) { c.Close() }, true},
		{"ends when the client vanishes", nil, true, func(_ *testing.T, _ *world, c *client) { c.NetConn().Close() }, true},
		{"ends when its caller is denied", nil, true, func(t *testing.T, w *world, _ *client) {
			w.publish(denied(t, checkoutID))
		}, true},
		{"ends when its trust domain is removed", nil, true, func(_ *testing.T, w *world, _ *client) {
			w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.Anchors = nil }))
		}, true},
		{"ends when the gateway drains", nil, true, func(t *testing.T, w *world, _ *client) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := w.gateway.Drain(ctx); err != nil {
				t.Errorf("Drain: %v", err)
			}
		}, true},
		{"ends after its idle time-out", func(o *gateway.ListenerOptions) { o.IdleTimeout = time.Second }, true,
			func(*testing.T, *world, *client) {}, true},
		{"ends at its greatest age", func(o *gateway.ListenerOptions) { o.TLS.MaxConnAge = 2 * time.Second }, true,
			func(*testing.T, *world, *client) {}, true},
		// An octet now and then, which is no request yet, keeps nobody connected: the
		// first comes late, and would give it as long again.
		{"ends after its idle time-out though octets trickle in", func(o *gateway.ListenerOptions) { o.IdleTimeout = 3 * time.Second }, true,
			func(t *testing.T, _ *world, c *client) {
				ended := make(chan struct{})
				go func() { _, _ = io.Copy(io.Discard, c.NetConn()); close(ended) }()
				late := time.After(4600 * time.Millisecond)
				record := append([]byte{23, 3, 3, 0x40, 0}, make([]byte, 1<<14)...)
				tick := time.NewTicker(2500 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-ended:
						return
					case <-late:
						t.Fatal("it is connected still, half as long again as its idle time-out")
					case <-tick.C:
						_, _ = c.NetConn().Write(record[:1]) // if it fails, ended says so
						record = record[1:]
						tick.Reset(10 * time.Millisecond)
					}
				}
			}, true},
		{"is told of a record that nobody can have made", nil, true, func(t *testing.T, _ *world, c *client) {
			_, _ = c.NetConn().Write(append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...))
			if said, _ := io.ReadAll(c.NetConn()); len(said) == 0 || said[0] != 23 {
				t.Errorf("it read %x, want an encrypted alert", said)
			}
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, setting{listener: tt.listener})
			c := w.dial(w.issue(checkoutID), "catalog.example")
			if tt.asked {
				if r := c.do(get("catalog.example", ask)); r.StatusCode != 403 {
					t.Fatalf("answered %d, want 403", r.StatusCode)
				}
			}
			w.until(t, "the connection rested", func() bool { return resting(t) == 1 })
			tt.then(t, w, c)
			if !tt.ends {
				return
			}
			if _, err := io.Copy(io.Discard, c.NetConn()); err != nil && !strings.Contains(err.Error(), "closed") {
				t.Logf("the client reads: %v", err)
			}
			w.until(t, "it was forgotten", func() bool { return w.gateway.Connections()[0].Active == 0 && resting(t) == 0 })
		})
	}
}

// footprint is what connections take of this process, in octets.
type footprint struct{ heap, stack, resident uint64 }

// measure returns what is in use after the collector has done all that it can.
func measure(t testing.TB) footprint {
	t.Helper()
	// The second cycle frees what pools kept from the first, and stacks shrink by half in each.
	for range 3 {
		debug.FreeOSMemory()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f := footprint{heap: m.HeapAlloc, stack: m.StackInuse}
	var pages uint64
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if _, err := fmt.Sscanf(string(b), "%d %d", new(uint64), &pages); err != nil {
			t.Fatal(err)
		}
	}
	f.resident = pages * uint64(os.Getpagesize())
	return f
}

// idle connects n clients as so many workloads, each with one small request, waits until
// they rest and returns what each has added to the process. They are another process.
func (w *world) idle(t testing.TB, n, leaves int) footprint {
	t.Helper()
	w.audit.discard.Store(true)
	f := w.startFleet(t)
	ask := get("catalog.example", "/nobody")
	order := func(last int) {
		f.order(t, fleetOrder{Last: last, Leaves: leaves, Request: ask})
		w.until(t, "all rest", func() bool { return resting(t) == last })
	}
	order(n / 10) // what is there once, however many connections there are
	before := measure(t)
	f.order(t, fleetOrder{First: n / 10, Last: n / 10 * 11, Leaves: leaves, Request: ask})
	w.until(t, "all rest", func() bool { return resting(t) == n/10*11 })
	after := measure(t)
	per := func(after, before uint64) uint64 { return (max(after, before) - before) / uint64(n) }
	return footprint{per(after.heap, before.heap), per(after.stack, before.stack), per(after.resident, before.resident)}
}

// A gateway may have a hundred thousand connections that do nothing. What one takes was
// 9.3 KiB and 14.4 KiB of heap when this was written, most of it crypto/tls's, and 2.2 KiB
// of stack; the bounds leave room for other versions of Go, and none for a buffer or
// for a stack that serving has grown.
func TestIdleConnectionsAreSmall(t *testing.T) {
	if race.Enabled {
		return // it makes everything larger
	}
	const n = 300
	for _, tt := range []struct {
		name        string
		leaves      int
		heap, stack uint64
	}{
		{"of few workloads", 10, 12 << 10, 6 << 10},
		{"each of its own workload", 0, 18 << 10, 6 << 10},
	} {
		w := newWorld(t, setting{listener: func(o *gateway.ListenerOptions) { o.IdleTimeout = time.Hour }})
		got := w.idle(t, n, tt.leaves)
		t.Logf("%s: %d octets of heap, %d of stack", tt.name, got.heap, got.stack)
		if got.heap > tt.heap || got.stack > tt.stack {
			t.Errorf("an idle connection, %s, takes %d octets of heap and %d of stack, want at most %d and %d",
				tt.name, got.heap, got.stack, tt.heap, tt.stack)
		}
		w.close()
	}
}

// BenchmarkIdleConnection opens as many connections as -live says, with one small
// request each, and reports what one of them takes once it rests and the collector has
// run: of the heap, of stacks, and of what the process has resident. The clients are
// another process. Run it as
//
//	go test ./gateway -run '^$' -bench IdleConnection -benchtime 1x -live 15000
func BenchmarkIdleConnection(b *testing.B) {
	n := *liveConns
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		b.Fatal(err)
	}
	if most := (int(files.Cur) - spareDescriptors) / 11 * 10; n > most {
		b.Logf("%d descriptors allow %d connections, not %d", files.Cur, most, n)
		n = most
	}
	for _, leaves := range []int{100, n * 2} {
		name := fmt.Sprintf("workloads=%d", leaves)
		if leaves > n {
			name, leaves = "workloads=connections", 0
		}
		b.Run(name, func(b *testing.B) {
			var got footprint
			for b.Loop() {
				w := newWorld(b, setting{listener: func(o *gateway.ListenerOptions) {
					o.TLS.MaxConnsPerClient, o.IdleTimeout = 2*n, time.Hour
				}})
				got = w.idle(b, n, leaves)
				w.close()
			}
			b.ReportMetric(float64(got.heap), "heap-B/conn")
			b.ReportMetric(float64(got.stack), "stack-B/conn")
			b.ReportMetric(float64(got.resident), "resident-B/conn")
			b.ReportMetric(0, "ns/op")
		})
	}
}
