package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"verigate/telemetry"
)

// Labels that a Prometheus server puts on everything that it scrapes.
const (
	labelJob      = "job"
	labelInstance = "instance"
)

// match is one condition on a label.
type match struct{ label, operator, value string }

func is(label, value string) match    { return match{label, "=", value} }
func isNot(label, value string) match { return match{label, "!=", value} }

func (m match) String() string {
	return prometheusLabel(m.label) + m.operator + strconv.Quote(m.value)
}

// prometheusLabel returns how a Prometheus server spells an attribute key.
func prometheusLabel(key string) string { return strings.ReplaceAll(key, ".", "_") }

// query selects series of one instrument and says which labels the answer keeps.
type query struct {
	metric string // a name of package telemetry
	where  []match
	by     []string
}

// scope is what all queries of a place have in common: a dashboard follows its
// variables, an alert speaks of one instance.
type scope struct {
	variables map[string]string // label to the variable that selects its values
	by        []string          // kept by every answer
	window    string            // that rates are taken over
	offset    string            // how long ago the window ended; empty: now
}

// instrument looks q up and checks its labels. Whoever names what does not exist
// has made a mistake in this program.
func (q query) instrument() telemetry.Instrument {
	all := telemetry.Instruments()
	at := slices.IndexFunc(all, func(i telemetry.Instrument) bool { return i.Name == q.metric })
	if at < 0 {
		panic("no instrument " + q.metric)
	}
	labels := slices.Clone(q.by)
	for _, m := range q.where {
		labels = append(labels, m.label)
	}
	for _, l := range labels {
		if !slices.Contains(all[at].Labels, l) {
			panic(fmt.Sprintf("%s has no label %s", q.metric, l))
		}
	}
	return all[at]
}

// series returns the selector for q's series, with a suffix of the metric's name.
func (s scope) series(q query, suffix string) string {
	i := q.instrument()
	var conditions []string
	for _, label := range append([]string{labelJob, labelInstance}, i.Labels...) {
		if variable, ok := s.variables[label]; ok {
			conditions = append(conditions, match{label, "=~", "$" + variable}.String())
		}
	}
	for _, m := range q.where {
		conditions = append(conditions, m.String())
	}
	if len(conditions) == 0 {
		return i.PrometheusName() + suffix
	}
	return i.PrometheusName() + suffix + "{" + strings.Join(conditions, ", ") + "}"
}

func (s scope) ranged(q query, suffix string) string {
	r := s.series(q, suffix) + "[" + s.window + "]"
	if s.offset != "" {
		r += " offset " + s.offset
	}
	return r
}

// grouped aggregates, keeping the labels of scope and query and those given.
func (s scope) grouped(aggregate string, q query, inner string, more ...string) string {
	var by []string
	for _, label := range slices.Concat(s.by, more, q.by) {
		by = append(by, prometheusLabel(label))
	}
	if len(by) == 0 {
		return fmt.Sprintf("%s(%s)", aggregate, inner)
	}
	return fmt.Sprintf("%s by (%s) (%s)", aggregate, strings.Join(by, ", "), inner)
}

// rate is how often per second: increments of a counter, measurements of a
// histogram.
func (s scope) rate(q query) string {
	suffix := ""
	if q.instrument().Kind == telemetry.Histogram {
		suffix = "_count"
	}
	return s.grouped("sum", q, "rate("+s.ranged(q, suffix)+")")
}

// increase is how much a counter grew in the window.
func (s scope) increase(q query) string {
	return s.grouped("sum", q, "increase("+s.ranged(q, "")+")")
}

// quantile is the p-th part of a histogram, 0 < p < 1.
func (s scope) quantile(p float64, q query) string {
	return fmt.Sprintf("histogram_quantile(%g, %s)", p, s.grouped("sum", q, "rate("+s.ranged(q, "_bucket")+")", "le"))
}

// buckets is how many measurements fell into each bucket of a histogram.
func (s scope) buckets(q query) string {
	return s.grouped("sum", q, "increase("+s.ranged(q, "_bucket")+")", "le")
}

// now is the value of a gauge.
func (s scope) now(aggregate string, q query) string {
	return s.grouped(aggregate, q, s.series(q, ""))
}

// part is the share of some of q's increments in all of them.
func (s scope) part(q query, some ...match) string {
	selected := q
	selected.where = slices.Concat(q.where, some)
	return s.rate(selected) + " / " + s.rate(q)
}
