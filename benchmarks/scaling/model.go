package main

import (
	"fmt"
	"slices"
	"strings"

	"verigate/benchmarks/report"
)

// coefficient is one figure of the model: the median of its rounds.
type coefficient struct {
	symbol, what string
	value        float64 // seconds or octets
	low, high    float64
	rounds       int
	show         func(float64) string
	source       string // scenario
}

// model is the coefficients by symbol.
type model map[string]coefficient

// within is how far the rounds are apart.
func (c coefficient) within() string {
	if c.rounds == 1 {
		return "one round"
	}
	return c.show(c.low) + "–" + c.show(c.high)
}

// symbols are the coefficients in the order of the table.
var symbols = []string{"full", "new", "resumed", "request", "kib", "base", "connection", "shared", "verdict", "domain", "route", "rule", "crl"}

func modelOf(run *report.Run) (model, error) {
	m := model{}
	var missing []string
	add := func(symbol, what, source string, show func(float64) string, rounds []float64) {
		if len(rounds) == 0 {
			missing = append(missing, source)
			return
		}
		slices.Sort(rounds)
		m[symbol] = coefficient{symbol, what, median(rounds), rounds[0], rounds[len(rounds)-1], len(rounds), show, source}
	}
	cpu := func(scenario string) []float64 {
		return rounds(run, scenario, "", func(m report.Measurement) float64 { return m.CPU.Seconds() / float64(m.Operations) })
	}
	slope := func(of string) []float64 {
		return rounds(run, fit, of, func(m report.Measurement) float64 { return m.Values[slopeBytes] })
	}
	add("full", "connection with a full handshake, its verdict known, and its first request", fullHandshake, micros, cpu(fullHandshake))
	add("new", "the same with a certificate that was never seen, of an issuer that was", newLeaf, micros, cpu(newLeaf))
	add("resumed", "resumed connection and its first request", resumed, micros, cpu(resumed))
	add("request", "further request, with a response of 1 KiB", request1K, micros, cpu(request1K))
	var further []float64
	for i, large := range cpu(request64K) {
		if small := cpu(request1K); i < len(small) {
			further = append(further, (large-small[i])/63)
		}
	}
	add("kib", "each further KiB of the response", request64K, micros, further)
	add("base", "the process without connections, by the line through its memory with ever more of them", "connections, leaves shared", mebibytes,
		rounds(run, fit, "connections, leaves shared", func(m report.Measurement) float64 { return m.Values[interceptBytes] }))
	add("connection", "idle connection of a client with a certificate of its own, its verdict included", "connections, leaves unique", kibibytes, slope("connections, leaves unique"))
	add("shared", "idle connection of a client whose certificate others have too", "connections, leaves shared", kibibytes, slope("connections, leaves shared"))
	add("verdict", "verdict of a client that is not connected", "verdicts", kibibytes, slope("verdicts"))
	add("domain", "trust domain with a client: a bundle, a rule, a verdict and its series of metrics", "trust_domains", kibibytes, slope("trust_domains"))
	add("route", "route", "routes", kibibytes, slope("routes"))
	add("rule", "rule", "rules", kibibytes, slope("rules"))
	add("crl", "CRL entry", "crl_entries", octets, slope("crl_entries"))
	if missing != nil {
		return nil, fmt.Errorf("the run lacks %s: measure all curves, or add them with -keep", strings.Join(missing, ", "))
	}
	return m, nil
}

// rounds returns a figure of all measurements of a scenario, in their order. of is
// the label of that name, "" for any.
func rounds(run *report.Run, scenario, of string, figure func(report.Measurement) float64) []float64 {
	var out []float64
	for _, m := range run.Measurements {
		if m.Scenario == scenario && m.Point["of"] == of {
			out = append(out, figure(m))
		}
	}
	return out
}

// median of numbers in ascending order.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
