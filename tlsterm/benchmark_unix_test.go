//go:build unix

package tlsterm

import (
	"crypto/tls"
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

// What a session saves a client that comes back, by key exchange, and what a ticket
// costs one that does not. The verdict is cached in all cases.
func BenchmarkResumption(b *testing.B) {
	for _, curve := range []tls.CurveID{tls.CurveP256, tls.X25519, tls.X25519MLKEM768, tls.CurveP384, tls.SecP384r1MLKEM1024} {
		for _, tt := range []struct {
			name    string
			tickets bool
			resumes bool
		}{
			{"full", false, false},
			{"full with ticket", true, false},
			{"resumed", true, true},
		} {
			b.Run(curve.String()+"/"+tt.name, func(b *testing.B) {
				w := newWorld(b, verifycache.Options{})
				l, _ := w.start(b, func(o *Options) {
					o.Observer = Observer{}
					o.Curves = []tls.CurveID{curve}
					if tt.tickets {
						o.Tickets = must(NewTickets(TicketOptions{}))(b)
					}
				})
				echo(l)
				issuing := must(w.ca.NewIntermediate(devpki.CAOptions{Name: "prod workloads"}))(b)
				config := w.client(must(issuing.Issue(devpki.LeafOptions{URIs: []string{checkout}}))(b))
				config.CurvePreferences = []tls.CurveID{curve}
				config.ClientSessionCache = new(ticketCatcher) // or no ticket would be sent
				if tt.resumes {
					config.ClientSessionCache = new(sessions)
				}
				if err := try(l, config); err != nil {
					b.Fatal(err)
				}
				used, resumed := 0.0, 0
				b.ReportAllocs()
				for b.Loop() {
					before := cpuTime(b)
					c, err := connect(l, config)
					if err != nil {
						b.Fatal(err)
					}
					if err := ping(c); err != nil {
						b.Fatal(err)
					}
					if c.ConnectionState().DidResume {
						resumed++
					}
					c.Close()
					used += cpuTime(b) - before
				}
				if want := map[bool]int{true: b.N}[tt.resumes]; resumed != want {
					b.Errorf("%d of %d resumed", resumed, b.N)
				}
				b.ReportMetric(used/float64(b.N), "cpu-µs/op")
			})
		}
	}
}

// What the gateway does for a ticket, apart from the handshake around it.
func BenchmarkTicket(b *testing.B) {
	h := newHouse(b, tls.VersionTLS13, verifycache.Options{})
	l, r := h.open(b, nil)
	h.arrive(b, l, r)
	ticket := h.visits.ticket(b)
	state := tls.ConnectionState{Version: tls.VersionTLS13, ServerName: "gateway.test"}
	a := &attempt{l: l, welcome: l.welcome.Load()}
	session, _ := a.unwrap(ticket, state)
	if session == nil {
		b.Fatal("the ticket does not open")
	}
	state.DidResume = true
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = a.wrap(state, session)
		}
		b.ReportMetric(float64(len(ticket)), "ticket-bytes")
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = (&attempt{l: l, welcome: l.welcome.Load()}).unwrap(ticket, state)
		}
	})
	b.Run("open another's", func(b *testing.B) {
		other := tls.ConnectionState{Version: tls.VersionTLS13, ServerName: "other.test"}
		b.ReportAllocs()
		for b.Loop() {
			_, _ = (&attempt{l: l, welcome: l.welcome.Load()}).unwrap(ticket, other)
		}
	})
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
