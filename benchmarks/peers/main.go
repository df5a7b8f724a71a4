// Command peers measures the gateway side by side with other proxies: the same
// certificates, equivalent configurations, one core for each in turn, in rounds in
// which they alternate. README.md says what is equal, what is not, and what the
// figures do not say.
//
//	go run ./benchmarks/peers                                   # all scenarios, nginx and HAProxy from the PATH
//	go run ./benchmarks/peers -quick -scenarios handshake_cached,keepalive_1k
//	go run ./benchmarks/peers -caddy .cache/caddy -peer mine=./mine.sh
//	go run ./benchmarks/peers -peers verigate -variant before=/tmp/gateway-before
//
// Run it from the top of the repository, on Linux, on a machine that does nothing else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"verigate/devpki"
)

// options is what the command line says.
type options struct {
	peers, scenarios []string
	paths            map[string]string // of known peers
	scripts          []named           // peers that the user brings
	variants         []named           // other builds of the gateway
	out              string
	key              devpki.KeyType
	group            group
	intermediates    int
	clients          int
	rounds           int
	memoryRounds     int
	connections      []int
	span             time.Duration // of each measurement
	warmUp, settle   time.Duration
	sockets          int    // of the flood
	niceness         int    // of peers and generators
	tries            int    // of a measurement that others disturb
	occupied         bool   // the peer's core has a busy loop in steady scenarios
	vegeta           string // its path; "" if there is none

	// What no flag sets.
	quick    bool          // -quick: too short to judge anything by
	patience time.Duration // of a client in the overload
	scratch  string        // where temporary files go; "" is the system's place
	show     io.Writer     // progress
}

// named is a program under a name that the user gave it.
type named struct{ name, path string }

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		err = compare(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func parse(arguments []string) (options, error) {
	o := options{paths: map[string]string{}, patience: time.Second, show: os.Stdout}
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	peers := f.String("peers", "", "who is measured, by name (default: verigate, nginx, haproxy, and those that a path is given for)")
	names := f.String("scenarios", "", "what is measured (default: all): "+strings.Join(scenarioNames(), ", "))
	for _, p := range known {
		usage := fmt.Sprintf("path of %s (default: from the PATH)", p.name)
		if p.name == "verigate" {
			usage = "path of the gateway (default: built from this tree)"
		}
		f.Func(flagOf(p.name), usage, func(path string) error { o.paths[p.name] = path; return nil })
	}
	f.Func("peer", "NAME=PATH of a peer of your own; README.md says what its environment has", collect(&o.scripts))
	f.Func("variant", "NAME=PATH of another build of the gateway, to be measured beside it", collect(&o.variants))
	f.StringVar(&o.out, "out", "build/bench-peers", "folder for run.json, run.md and run.html")
	key := f.String("key", "p256", "type of all keys: p256 or rsa2048")
	groupName := f.String("group", groups[0].name, "key exchange: "+strings.Join(groupNames(), ", "))
	f.IntVar(&o.intermediates, "intermediates", 2, "CAs between root and leaf, 0 to 2")
	f.IntVar(&o.clients, "clients", 100, "distinct client certificates that come back, 1 to 100000")
	f.IntVar(&o.rounds, "rounds", 5, "how often everything is measured, in turns")
	f.IntVar(&o.memoryRounds, "idle-rounds", 1, "the same for idle connections, which take long and vary little")
	seconds := f.Float64("seconds", 3, "length of each measurement")
	connections := f.String("connections", "5000,15000", "how many idle connections, in ascending order")
	f.DurationVar(&o.settle, "settle", 5*time.Second, "how long idle connections are left alone before memory is read")
	f.IntVar(&o.sockets, "sockets", 512, "sockets of the flood")
	f.IntVar(&o.niceness, "nice", 0, "niceness of peers and generators: below 0, for root, if others use this machine as well")
	f.IntVar(&o.tries, "tries", 3, "how often a measurement is made that was disturbed, at most: others used the peer's core, or the machine took it away")
	f.StringVar(&o.vegeta, "vegeta", "", "path of vegeta, version 12, for the scenarios that it plays (default: they are left out, as with any -group but x25519)")
	f.BoolVar(&o.occupied, "occupied", false,
		"a busy loop shares the peer's core, so that the peer waits less for the generator, or never; without -scenarios, and at most, these: "+strings.Join(steadyNames(), ", "))
	f.BoolVar(&o.quick, "quick", false,
		"a look that takes some minutes: two short rounds of one try each, 500 and 1000 idle connections, and no verdicts")
	if err := f.Parse(arguments); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag", f.Arg(0))
	}
	o.peers, o.scenarios = split(*peers), split(*names)
	o.key, o.span = devpki.KeyType(*key), time.Duration(*seconds*float64(time.Second))
	i := slices.IndexFunc(groups, func(g group) bool { return g.name == *groupName })
	if i < 0 {
		return o, fmt.Errorf("-group %s: want one of %s", *groupName, strings.Join(groupNames(), ", "))
	}
	o.group = groups[i]
	for _, text := range split(*connections) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-connections %q: %q is not a number of connections", *connections, text)
		}
		o.connections = append(o.connections, n)
	}
	if o.quick {
		given := map[string]bool{}
		f.Visit(func(f *flag.Flag) { given[f.Name] = true })
		shorten(&o, given)
	}
	o.warmUp = min(o.span, time.Second)
	return o, o.judge()
}

// shorten sets what the user has not set to what is over soon. -settle stays: after a burst
// the gateway holds memory for some seconds more (package internal/footprint), and read
// before it is given back, that looks like memory of connections.
func shorten(o *options, given map[string]bool) {
	for name, set := range map[string]func(){
		"rounds":      func() { o.rounds = 2 },
		"seconds":     func() { o.span = 400 * time.Millisecond },
		"connections": func() { o.connections = []int{500, 1000} },
		"tries":       func() { o.tries = 1 },
	} {
		if !given[name] {
			set()
		}
	}
}

func (o *options) judge() error {
	if err := o.judgeNames(); err != nil {
		return err
	}
	switch {
	case o.key != devpki.P256 && o.key != devpki.RSA2048:
		return fmt.Errorf("-key %s: want p256 or rsa2048", o.key)
	case o.intermediates < 0 || o.intermediates > 2:
		return fmt.Errorf("-intermediates %d: want 0, 1 or 2", o.intermediates)
	case o.clients < 1 || o.clients > 100_000:
		return fmt.Errorf("-clients %d: want 1 to 100000", o.clients)
	case o.rounds < 1 || o.memoryRounds < 1 || o.tries < 1:
		return errors.New("-rounds, -idle-rounds, -tries: at least one")
	case o.span < 50*time.Millisecond:
		return fmt.Errorf("-seconds: %v is too short for a measurement", o.span)
	case len(o.connections) == 0 || !slices.IsSorted(o.connections):
		return errors.New("-connections: want numbers in ascending order")
	case o.niceness < -20 || o.niceness > 10:
		return fmt.Errorf("-nice %d: want -20 to 10", o.niceness)
	case o.sockets < 1:
		return errors.New("-sockets: at least one")
	}
	for _, name := range o.scenarios {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return fmt.Errorf("-scenarios: there is no %q; there are %s", name, strings.Join(scenarioNames(), ", "))
		}
		if o.vegeta == "" && scenarios[i].vegeta() {
			return fmt.Errorf("-scenarios: %s needs vegeta: give its path with -vegeta", name)
		}
		if o.group.id != vegetaGroup && scenarios[i].vegeta() {
			return fmt.Errorf("-scenarios: %s needs -group x25519: vegeta sends no other key share", name)
		}
		if o.occupied && !scenarios[i].steady() {
			return fmt.Errorf("-occupied: %s needs a core of its own; leave it out, or measure it without -occupied", name)
		}
	}
	return nil
}

// includes reports whether a scenario is measured: one that was asked for, or any that is
// possible if none was.
func (o *options) includes(s scenario) bool {
	if len(o.scenarios) > 0 {
		return slices.Contains(o.scenarios, s.name)
	}
	return (!s.vegeta() || o.vegeta != "" && o.group.id == vegetaGroup) && (!o.occupied || s.steady())
}

// judgeNames refuses names by which two peers could not be told apart.
func (o *options) judgeNames() error {
	taken := map[string]bool{}
	for _, p := range known {
		taken[p.name] = true
	}
	for flag, brought := range map[string][]named{"-peer": o.scripts, "-variant": o.variants} {
		for _, n := range brought {
			if taken[n.name] {
				return fmt.Errorf("%s %s=%s: there is a %s already; choose another name", flag, n.name, n.path, n.name)
			}
			taken[n.name] = true
		}
	}
	return nil
}

func flagOf(peer string) string {
	if peer == "verigate" {
		return "gateway"
	}
	return peer
}

// split takes a list apart; nil is an empty one.
func split(list string) []string {
	var parts []string
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// collect is for flags that may come several times.
func collect(into *[]named) func(string) error {
	return func(value string) error {
		name, path, ok := strings.Cut(value, "=")
		if !ok || name == "" || path == "" {
			return fmt.Errorf("want NAME=PATH, not %q", value)
		}
		*into = append(*into, named{name, path})
		return nil
	}
}
