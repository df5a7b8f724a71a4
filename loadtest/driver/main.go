// Command driver is an open-loop load generator for gateways that want client
// certificates. It reads vegeta's target files, lets requests arrive at a rate that
// no slow answer holds up, as many identities as there are, and measures from when
// a request was due: a server that stalls is charged with everything that would
// have come meanwhile.
//
//	gateway pki gen --dir load --clients 1000
//	go run ./loadtest/driver -targets loadtest/vegeta/keepalive.targets -identities load/clients \
//	    -root-certs load/root.pem -rate 500 -duration 10s -p99 50ms
//
// It ends with code 1, and says why, if a threshold is missed, and with code 2 if
// it cannot begin.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// options is the command line.
type options struct {
	name, targets, format string
	rate                  string
	duration, warmup      time.Duration
	maxInFlight           int
	timeout               time.Duration

	identities, cert, key string
	first, perIdentity    int
	random                bool
	keepalive, tickets    bool
	http2                 bool
	streams, connections  int
	rootCerts             string
	connectTo, expect     list

	slow         int
	slowInterval time.Duration

	json, hgrm, timeline string
	thresholds           thresholds
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string         { return strings.Join(*l, " ") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Main runs the command line and returns the exit code: 0, 1 if a threshold was
// missed, 2 if there was nothing to measure.
func Main(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(arguments, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		var r *result
		if r, err = run(ctx, o); err == nil {
			err = r.text(stdout) // with what was missed
			if err == nil && len(r.Missed) > 0 {
				return 1
			}
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "driver: "+err.Error())
		return 2
	}
	return 0
}

func parseOptions(arguments []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("driver", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.name, "name", "", "name of the run, for the report")
	f.StringVar(&o.targets, "targets", "", "file of targets, in vegeta's format; they take turns")
	f.StringVar(&o.format, "format", "http", "format of the targets: http or json")
	f.StringVar(&o.rate, "rate", "50", "arrivals per second, or a ramp such as 100..1000")
	f.DurationVar(&o.duration, "duration", 10*time.Second, "how long requests arrive")
	f.DurationVar(&o.warmup, "warmup", 0, "how long they arrive before that, uncounted")
	f.IntVar(&o.maxInFlight, "max-in-flight", 10000, "requests under way at most; what arrives beyond that is dropped and has failed")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "for connection and answer together")
	f.StringVar(&o.identities, "identities", "", "folder or bundle of clients from `gateway pki gen`; without it and -cert there is no client certificate")
	f.StringVar(&o.cert, "cert", "", "certificate of one client")
	f.StringVar(&o.key, "key", "", "its key")
	f.IntVar(&o.first, "first", 0, "use only the first so many identities (0: all)")
	f.BoolVar(&o.random, "random", false, "choose the identity of each connection at random instead of in turn")
	f.IntVar(&o.perIdentity, "per-identity", 0, "connections of one identity at a time at most (0: any number)")
	f.BoolVar(&o.keepalive, "keepalive", true, "keep connections; false: a new one for every request")
	f.IntVar(&o.connections, "connections", 32, "connections to each host at most, with -keepalive; requests that find all busy wait, and the wait counts")
	f.BoolVar(&o.tickets, "session-tickets", false, "resume sessions, each identity its own")
	f.BoolVar(&o.http2, "http2", false, "speak HTTP/2 instead of HTTP/1.1")
	f.IntVar(&o.streams, "streams", 8, "requests at a time on an HTTP/2 connection")
	f.StringVar(&o.rootCerts, "root-certs", "", "trust anchors for the server's certificate, in PEM (default: the system's)")
	f.Var(&o.connectTo, "connect-to", "HOST:PORT:HOST:PORT connects to the second when targets name the first; may be repeated")
	f.Var(&o.expect, "expect", "what is right: a status (200, 2xx), \"Name: value\" of a header, \"refused\", \"alert\" or \"alert bad certificate\"; may be repeated, and all must hold (default: 200 to 399)")
	f.IntVar(&o.slow, "slow", 0, "slow-loris connections beside the load, half in the handshake, half in a header")
	f.DurationVar(&o.slowInterval, "slow-interval", 200*time.Millisecond, "time between their octets")
	f.StringVar(&o.json, "json", "", "file for the result as JSON")
	f.StringVar(&o.hgrm, "hgrm", "", "file for the percentiles of the latency, as HdrHistogram's plotters read them")
	f.StringVar(&o.timeline, "timeline", "", "file for the outcomes of each tenth of a second, as CSV")
	t := &o.thresholds
	f.DurationVar(&t.p50, "p50", 0, "longest median latency")
	f.DurationVar(&t.p99, "p99", 0, "longest 99th percentile of the latency")
	f.DurationVar(&t.p999, "p999", 0, "longest 99.9th percentile of the latency")
	f.DurationVar(&t.max, "max", 0, "longest latency")
	f.Int64Var(&t.maxFailures, "max-failures", 0, "failed requests at most, dropped ones included (-1: any number)")
	f.Float64Var(&t.minRate, "min-rate", 0, "right answers a second at least, as a share of the rate, such as 0.99")
	f.Float64Var(&t.minResumed, "min-resumed", 0, "share of the handshakes with a ticket that must be resumed")
	f.IntVar(&t.minIdentities, "min-identities", 0, "identities that must have had a connection")
	f.DurationVar(&t.maxSlowLife, "max-slow-life", 0, "how long a slow connection may live")
	if err := f.Parse(arguments); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag; flags begin with -", f.Arg(0))
	}
	return o, o.check()
}

func (o *options) check() error {
	switch {
	case o.targets == "":
		return errors.New("-targets is missing: name a file with lines such as GET https://localhost:8443/")
	case o.duration <= 0:
		return fmt.Errorf("-duration %v: expected a time such as 10s", o.duration)
	case o.warmup < 0:
		return fmt.Errorf("-warmup %v: expected a time such as 2s, or 0", o.warmup)
	case o.timeout <= 0 || o.timeout > maxLatency:
		return fmt.Errorf("-timeout %v: expected more than nothing and at most %v", o.timeout, maxLatency)
	case o.maxInFlight < 1 || o.connections < 1 || o.streams < 1:
		return errors.New("-max-in-flight, -connections and -streams: expected at least 1")
	case o.first < 0 || o.perIdentity < 0 || o.slow < 0:
		return errors.New("-first, -per-identity and -slow: expected 0 or more")
	case o.slow > 0 && o.slowInterval <= 0:
		return fmt.Errorf("-slow-interval %v: expected a time such as 200ms", o.slowInterval)
	case o.identities != "" && o.cert+o.key != "":
		return errors.New("-identities and -cert: name one of them")
	case (o.cert == "") != (o.key == ""):
		return errors.New("-cert and -key: name both")
	case o.thresholds.minResumed > 0 && !o.tickets:
		return errors.New("-min-resumed asks for what -session-tickets=false cannot give")
	}
	return nil
}

// run prepares everything, drives, writes the files that were asked for, and
// returns the result with its thresholds applied.
func run(ctx context.Context, o *options) (*result, error) {
	a, choose, err := o.prepare()
	if err != nil {
		return nil, err
	}
	defer a.clock.Close()
	slow, err := o.slowLoris(a, choose)
	if err != nil {
		return nil, err
	}
	var beside sync.WaitGroup
	slowCtx, endSlow := context.WithCancel(ctx)
	defer endSlow()
	if slow != nil {
		beside.Go(func() { slow.run(slowCtx) })
	}
	a.run(ctx)
	cpu := cpuTime() - a.cpuBefore
	endSlow()
	beside.Wait()

	r := a.result(cpu, choose.used())
	r.Name = o.name
	if o.tickets {
		r.Unresumed = r.unresumed()
	}
	if slow != nil {
		r.Slow = &slowResult{Connections: slow.count, Opened: slow.opened, Closed: slow.closed, Failed: slow.failed,
			Longest: float64(slow.longest) / float64(time.Millisecond)}
	}
	o.thresholds.apply(r)
	var errs []error
	if o.json != "" {
		errs = append(errs, r.writeJSON(o.json))
	}
	if o.hgrm != "" {
		errs = append(errs, a.latency.writeHGRM(o.hgrm))
	}
	if o.timeline != "" {
		errs = append(errs, a.writeTimeline(o.timeline))
	}
	return r, errors.Join(errs...)
}

// prepare reads all files and makes an attack of them.
func (o *options) prepare() (*attack, *chooser, error) {
	from, to, err := parseRate(o.rate)
	if err != nil {
		return nil, nil, err
	}
	expect, err := parseExpectation(o.expect)
	if err != nil {
		return nil, nil, err
	}
	targets, err := loadTargets(o.targets, o.format)
	if err != nil {
		return nil, nil, err
	}
	connectTo, err := parseConnectTo(o.connectTo)
	if err != nil {
		return nil, nil, err
	}
	verifier, err := loadVerifier(o.rootCerts)
	if err != nil {
		return nil, nil, err
	}
	identities := []*identity{{source: "no certificate"}}
	switch {
	case o.identities != "":
		identities, err = loadIdentities(o.identities, o.first)
	case o.cert != "":
		identities, err = loadIdentity(o.cert, o.key)
	}
	if err != nil {
		return nil, nil, err
	}
	if !o.http2 {
		o.streams = 1
	}
	choose := &chooser{all: identities, random: o.random, most: o.perIdentity}
	a := &attack{
		schedule: schedule{from, to, o.duration}, warmup: o.warmup, maxInFlight: o.maxInFlight, timeout: o.timeout,
		expect: expect, clock: newClock(), counts: &counts{handshake: newLatencies(), verifier: verifier},
	}
	pools := map[string]*pool{}
	for _, t := range targets {
		key := t.url.Scheme + " " + t.address()
		if pools[key] == nil {
			if o.http2 && t.url.Scheme != "https" {
				return nil, nil, fmt.Errorf("%s: -http2 needs https", t.url)
			}
			d := &dialer{
				tls: t.url.Scheme == "https", address: t.address(), server: t.url.Hostname(), http2: o.http2,
				tickets: o.tickets, streams: o.streams, counts: a.counts,
			}
			if other, ok := connectTo[d.address]; ok {
				d.address = other
			}
			p := &pool{dialer: d, chooser: choose, most: o.connections, keep: o.keepalive}
			if o.perIdentity > 0 {
				p.most = min(p.most, o.perIdentity*len(identities))
			}
			pools[key] = p
		}
		a.requests = append(a.requests, request{target: t, http1: t.http1(o.keepalive), http2: t.http2()})
		a.pools = append(a.pools, pools[key])
	}
	return a, choose, nil
}

// slowLoris is what trickles beside the load, to the host of the first target.
func (o *options) slowLoris(a *attack, choose *chooser) (*slowLoris, error) {
	if o.slow == 0 {
		return nil, nil
	}
	d := *a.pools[0].dialer
	if !d.tls {
		return nil, errors.New("-slow needs a first target with https")
	}
	d.http2, d.tickets = false, false
	d.counts = &counts{handshake: newLatencies(), verifier: a.counts.verifier} // they are no part of the load
	return &slowLoris{count: o.slow, interval: o.slowInterval, dialer: &d,
		chooser: &chooser{all: choose.all}, host: a.requests[0].host()}, nil
}

// parseConnectTo reads the values of -connect-to.
func parseConnectTo(texts []string) (map[string]string, error) {
	to := map[string]string{}
	for _, text := range texts {
		// One of the colons divides two addresses; brackets tell which, where there are
		// any.
		i := -1
		for k := range text {
			if text[k] == ':' && isAddress(text[:k]) && isAddress(text[k+1:]) {
				i = k
				break
			}
		}
		if i < 0 {
			return nil, fmt.Errorf("-connect-to %q: expected HOST:PORT:HOST:PORT, such as localhost:8443:127.0.0.1:9000", text)
		}
		to[text[:i]] = text[i+1:]
	}
	return to, nil
}

func isAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	return err == nil && host != "" && port != ""
}

// cpuTime is the CPU time that this process has used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
