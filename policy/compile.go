package policy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"verigate/assurance"
	"verigate/routing"
	"verigate/workloadid"
)

// Policy says who may use the routes of one table. It is immutable and may be
// used concurrently.
type Policy struct {
	deny   workloadid.Index[string] // names of deny rules
	routes []routeRules             // by Route.Index
	notes  []string
}

// routeRules are the rules of one route.
type routeRules struct {
	route *routing.Route
	allow workloadid.Index[[]Rule]
}

// Compile checks o and returns the policy for the routes of a table. Nothing of
// o is kept. The error joins an [*Error] for every fault. What is only odd, such
// as a route that nobody may use, is said by [Policy.Notes].
func Compile(o Options, routes *routing.Table) (*Policy, error) {
	p := new(Policy)
	var faults []error
	known := make(map[string]bool)
	for _, route := range routes.Routes() {
		known[route.Name] = true
		faults = append(faults, p.addRoute(route, o.Allow[route.Name])...)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Allow)) {
		if !known[name] {
			faults = append(faults, &Error{Fault: FaultUnknownRoute, Route: name, Index: -1})
		}
	}
	faults = append(faults, p.addDeny(o.Deny)...)
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	return p, nil
}

// addRoute appends the rules of route, which is the next one of its table.
func (p *Policy) addRoute(route *routing.Route, rules []Rule) (faults []error) {
	p.routes = append(p.routes, routeRules{route: route})
	if len(rules) == 0 {
		p.note("route %q has no allow rule: nobody may use it", route.Name)
	}
	allow := &p.routes[len(p.routes)-1].allow
	for i, rule := range rules {
		rule.Methods = slices.Clone(rule.Methods)
		slices.Sort(rule.Methods)
		rule.Methods = slices.Compact(rule.Methods)
		if fault := check(rule); fault != FaultNone {
			faults = append(faults, &Error{Fault: fault, Route: route.Name, Index: i, Rule: rule.Name})
			continue
		}
		rule.Name = cmp.Or(rule.Name, rule.Caller.String())
		like := allow.At(rule.Caller)
		at, found := slices.BinarySearchFunc(*like, rule, compareRules)
		if found {
			p.note("route %q: rules %q and %q are the same", route.Name, (*like)[at].Name, rule.Name)
			(*like)[at].Name = min((*like)[at].Name, rule.Name)
			continue
		}
		*like = slices.Insert(*like, at, rule)
	}
	return faults
}

func (p *Policy) addDeny(rules []DenyRule) (faults []error) {
	seen := make(map[workloadid.Pattern]bool, len(rules))
	for i, rule := range rules {
		if rule.Caller.IsZero() {
			faults = append(faults, &Error{Fault: FaultNoCaller, Index: i, Rule: rule.Name})
			continue
		}
		rule.Name = cmp.Or(rule.Name, rule.Caller.String())
		name := p.deny.At(rule.Caller)
		if seen[rule.Caller] {
			p.note("deny rules %q and %q are the same", *name, rule.Name)
			*name = min(*name, rule.Name)
			continue
		}
		seen[rule.Caller] = true
		*name = rule.Name
	}
	return faults
}

func (p *Policy) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

func check(r Rule) Fault {
	switch {
	case r.Caller.IsZero():
		return FaultNoCaller
	case slices.ContainsFunc(r.Methods, func(m string) bool { return !routing.IsMethod(m) }):
		return FaultMethod
	case r.Require.MIAL > assurance.MIAL4, slices.Max(r.Require.MAAL[:]) > assurance.MaxGrade:
		return FaultRequirement
	}
	return FaultNone
}

// compareRules orders rules with the same caller: what requires less comes
// first. Rules that are equal in this order grant the same.
func compareRules(a, b Rule) int {
	return cmp.Or(
		cmp.Compare(a.Require.MIAL, b.Require.MIAL),
		slices.Compare(a.Require.MAAL[:], b.Require.MAAL[:]),
		slices.Compare(a.Methods, b.Methods))
}

// Notes returns what an operator should know about rules that are in force: a
// route that nobody may use, rules that say the same. There may be none. The
// slice is the caller's.
func (p *Policy) Notes() []string { return slices.Clone(p.notes) }
