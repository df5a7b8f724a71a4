package policy

import (
	"fmt"
	"slices"
	"strings"

	"verigate/assurance"
	"verigate/routing"
	"verigate/workloadid"
)

// Subject is the peer as policy sees it.
type Subject struct {
	ID    workloadid.ID
	Grade assurance.Grade
}

// Grant is evidence that a subject may use a route. Only [Policy.Authorize]
// makes one. The zero Grant is evidence of nothing and means no.
type Grant struct {
	route   *routing.Route
	subject Subject
	rule    string
}

// IsZero reports whether g grants nothing.
func (g Grant) IsZero() bool { return g.route == nil }

// Route returns the route that g is for, or nil. A grant for one route is none
// for another.
func (g Grant) Route() *routing.Route { return g.route }

// Subject returns who was granted the use.
func (g Grant) Subject() Subject { return g.subject }

// Rule returns the name of the rule that granted it.
func (g Grant) Rule() string { return g.rule }

// Reason says why a request was denied.
type Reason uint8

// The reasons. ReasonNone is the zero value and belongs to no denial.
const (
	ReasonNone                  Reason = iota
	ReasonPolicyDenied                 // no rule is about the caller, or a deny rule is
	ReasonMethodNotAllowed             // the caller may use the route, but not like this
	ReasonAssuranceInsufficient        // the caller would have to be better assured
)

var reasonCode = [...]string{
	ReasonNone:                  "none",
	ReasonPolicyDenied:          "policy_denied",
	ReasonMethodNotAllowed:      "method_not_allowed",
	ReasonAssuranceInsufficient: "assurance_insufficient",
}

// String returns the stable code, such as "policy_denied".
func (r Reason) String() string {
	if int(r) < len(reasonCode) {
		return reasonCode[r]
	}
	return fmt.Sprintf("policy.Reason(%d)", uint8(r))
}

// Denial says why not. It is for audit and operators; the caller learns no more
// than the code of the reason.
type Denial struct {
	Reason Reason
	// Rule is the name of the deny rule, or of the allow rule that came closest;
	// "" when no rule is about the caller.
	Rule string
	// Missing says what the grade of the caller lacks for that rule, such as
	// "governance is 0, 2 required", all of it; nil for other reasons.
	Missing []string
}

// Error names the reason, the rule and what was missing.
func (d *Denial) Error() string {
	s := d.Reason.String()
	if d.Rule != "" {
		s += fmt.Sprintf(" by rule %q", d.Rule)
	}
	if len(d.Missing) > 0 {
		s += ": " + strings.Join(d.Missing, "; ")
	}
	return s
}

// Authorize decides whether s may use route with method. It returns a grant and
// no denial, or the zero Grant and a denial. A route of another table than the
// one p was compiled for is denied, and so is a nil one. Authorize does not
// allocate when it grants.
func (p *Policy) Authorize(s Subject, route *routing.Route, method string) (Grant, *Denial) {
	if route == nil || uint(route.Index) >= uint(len(p.routes)) || p.routes[route.Index].route != route {
		return Grant{}, &Denial{Reason: ReasonPolicyDenied}
	}
	var denier *string
	if p.deny.Search(s.ID, func(name *string) bool { denier = name; return true }) {
		return Grant{}, &Denial{Reason: ReasonPolicyDenied, Rule: *denier}
	}
	var closest attempt
	granted := p.routes[route.Index].allow.Search(s.ID, func(rules *[]Rule) bool {
		return closest.consider(*rules, s.Grade, method)
	})
	if !granted {
		return Grant{}, closest.denial(s.Grade)
	}
	return Grant{route: route, subject: s, rule: closest.rule.Name}, nil
}

// attempt remembers the rule that came closest to granting.
type attempt struct {
	rule   *Rule
	reason Reason // why rule did not grant; ReasonNone if it did
}

// consider reports whether one of rules, all of which match the caller, grants.
func (a *attempt) consider(rules []Rule, grade assurance.Grade, method string) bool {
	for i := range rules {
		rule := &rules[i]
		reason := rule.objection(grade, method)
		// Reasons are numbered by how close they come, and the more specific rule
		// is considered first, so only a closer one replaces it.
		if a.rule == nil || reason == ReasonNone || reason > a.reason {
			a.rule, a.reason = rule, reason
		}
		if reason == ReasonNone {
			return true
		}
	}
	return false
}

// objection returns why r does not grant, given that it matches the caller.
func (r *Rule) objection(grade assurance.Grade, method string) Reason {
	if len(r.Methods) > 0 && !slices.Contains(r.Methods, method) {
		return ReasonMethodNotAllowed
	}
	// Grade.Meets would allocate its explanation for every rule that is passed
	// over on the way to one that grants.
	if required := assurance.Grade(r.Require); assurance.Min(grade, required) != required {
		return ReasonAssuranceInsufficient
	}
	return ReasonNone
}

// denial says why nothing granted.
func (a *attempt) denial(grade assurance.Grade) *Denial {
	if a.rule == nil {
		return &Denial{Reason: ReasonPolicyDenied}
	}
	d := &Denial{Reason: a.reason, Rule: a.rule.Name}
	if a.reason == ReasonAssuranceInsufficient {
		d.Missing = grade.Meets(a.rule.Require)
	}
	return d
}
