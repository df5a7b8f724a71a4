//go:build unix

package tlsterm

import (
	"syscall"
	"testing"

	"verigate/devpki"
	"verigate/verifycache"
)

// cpuTime returns the processor time of this process, user and system, in
// microseconds. Unlike the wall clock it is comparable on a machine that does
// other things too.
func cpuTime(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec)*1e6 + float64(u.Utime.Usec+u.Stime.Usec)
}

// Both ends run in this process, so a handshake costs the gateway about half of
// what is reported, and the allocations are of both. What the benchmarks are for
// is their difference: what the verification cache saves.
func BenchmarkHandshake(b *testing.B) {
	for _, tt := range []struct {
		name  string
		cache verifycache.Options
		// fresh shows another leaf of the same issuer every time.
		fresh bool
	}{
		{"cached", verifycache.Options{}, false},
		{"new leaf of a known issuer", verifycache.Options{}, true},
		{"uncached", verifycache.Options{Disabled: true}, false},
	} {
		b.Run(tt.name, func(b *testing.B) {
			w := newWorld(b, tt.cache)
			l, _ := w.start(b, func(o *Options) { o.Observer = Observer{} })
			echo(l)
			// Two intermediate CAs, as fleets have.
			issuing := must(w.ca.NewIntermediate(devpki.CAOptions{Name: "prod workloads"}))(b)
			issue := func() *devpki.Leaf {
				return must(issuing.Issue(devpki.LeafOptions{URIs: []string{checkout}}))(b)
			}
			config := w.client(issue())
			if err := try(l, config); err != nil {
				b.Fatal(err)
			}
			used := 0.0
			b.ReportAllocs()
			for b.Loop() {
				if tt.fresh {
					b.StopTimer()
					config = w.client(issue())
					b.StartTimer()
				}
				before := cpuTime(b)
				if err := try(l, config); err != nil {
					b.Fatal(err)
				}
				used += cpuTime(b) - before
			}
			b.ReportMetric(used/float64(b.N), "cpu-µs/op")
		})
	}
}

func BenchmarkEcho(b *testing.B) {
	w := newWorld(b, verifycache.Options{})
	l, _ := w.start(b, nil)
	echo(l)
	c, err := connect(l, w.client(w.workload(b, checkout)))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := ping(c); err != nil {
			b.Fatal(err)
		}
	}
}
