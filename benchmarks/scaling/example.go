package main

import (
	"fmt"
	"math"
	"strings"
)

// fleet is the load of the worked example.
var fleet = struct {
	connections, full, fresh, resumed, requests float64 // the latter four per second
	absent                                      float64 // clients that are known and not connected
	domains, routes, rules, crl                 float64
	utilisation                                 float64
	instances                                   float64
}{
	connections: 200_000, full: 1450, fresh: 50, resumed: 3500, requests: 60_000, absent: 100_000,
	domains: 10, routes: 1000, rules: 10_000, crl: 100_000, utilisation: 0.6, instances: 4,
}

// example computes the worked example.
func (m model) example() string {
	f := fleet
	at := func(symbol string) float64 { return m[symbol].value }
	first := f.full + f.fresh + f.resumed
	cpu := []struct {
		what  string
		cores float64
	}{
		{count(f.full) + " full handshakes, verdict known × `full`", f.full * at("full")},
		{count(f.fresh) + " full handshakes, certificate new × `new`", f.fresh * at("new")},
		{count(f.resumed) + " resumed × `resumed`", f.resumed * at("resumed")},
		{count(f.requests) + " requests without the first of each connection × `request`", (f.requests - first) * at("request")},
	}
	each := at("base") + f.domains*at("domain") + f.routes*at("route") + f.rules*at("rule") + f.crl*at("crl")
	clients := f.connections*at("connection") + f.absent*at("verdict")
	memory := []struct {
		what  string
		bytes float64
	}{
		{fmt.Sprintf("%.0f instances × `base`", f.instances), f.instances * at("base")},
		{count(f.connections) + " connections × `connection`", f.connections * at("connection")},
		{count(f.absent) + " absent clients × `verdict`", f.absent * at("verdict")},
		{fmt.Sprintf("%.0f instances × (%s `domain` + %s `route` + %s `rule` + %s `crl`)", f.instances, count(f.domains), count(f.routes), count(f.rules), count(f.crl)),
			f.instances * (f.domains*at("domain") + f.routes*at("route") + f.rules*at("rule") + f.crl*at("crl"))},
	}
	var b strings.Builder
	b.WriteString("\n| CPU, per second | cores |\n|---|---:|\n")
	total := 0.0
	for _, c := range cpu {
		total += c.cores
		fmt.Fprintf(&b, "| %s | %.2f |\n", c.what, c.cores)
	}
	cores := math.Ceil(total / f.utilisation)
	perInstance := math.Ceil(cores / f.instances)
	fmt.Fprintf(&b, "| together | %.2f |\n| at %.0f %% utilisation | %.0f |\n\n", total, 100*f.utilisation, cores)
	b.WriteString("| memory | |\n|---|---:|\n")
	held := 0.0
	for _, c := range memory {
		held += c.bytes
		fmt.Fprintf(&b, "| %s | %s |\n", c.what, gibibytes(c.bytes))
	}
	left := f.instances - 1
	fmt.Fprintf(&b, "| together, at rest | %s |\n| limit for each: twice its part of the clients where %.0f are left, and a quarter GiB | %s |\n\n",
		gibibytes(held), left, gibibytes(2*(each+clients/left)+(1<<28)))
	lost := f.connections / f.instances
	spare := left*perInstance - total
	fmt.Fprintf(&b, "So %.0f instances of %.0f cores. If one is lost, the other %.0f hold %s connections each, and have %.1f cores to spare, on which the\n"+
		"%s clients of the lost one are back, by full handshakes, within %s at best.\n\n",
		f.instances, perInstance, left, count(f.connections/left), spare, count(lost), duration(lost*at("full")/spare))
	return b.String()
}
