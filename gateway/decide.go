package gateway

import (
	"verigate/policy"
	"verigate/routing"
)

// Question is what a request asks for, whatever protocol it came by. The strings
// may be views that live as long as the request.
type Question struct {
	Subject policy.Subject // the proven caller; never anything the caller said (AUTHZ-04)
	SNI     string
	Host    string // lowercase, without port
	Path    string // the octets that will be forwarded, without the query
	Method  string
	Header  func(name string) (value string, ok bool)
}

// Decision is the answer to a Question. The zero Decision is a refusal.
type Decision struct {
	Reason Reason // ReasonNone when granted
	Route  *routing.Route
	Grant  policy.Grant // zero unless granted
	Denial *policy.Denial
}

// Granted reports whether the request may be forwarded.
func (d *Decision) Granted() bool { return !d.Grant.IsZero() }

// Decide answers q by p. It does not allocate when it grants.
func (p *Program) Decide(q *Question) Decision { return Decide(p.routes, p.policy, q) }

// Decide answers q: which route, and whether the caller may use it. `gateway
// explain` asks here too, without any backend.
func Decide(routes *routing.Table, rules *policy.Policy, q *Question) Decision {
	return decide(routes, rules, q, new(granted))
}

// decide is Decide for who was granted last before.
func decide(routes *routing.Table, rules *policy.Policy, q *Question, last *granted) Decision {
	// A connection opened for one virtual host must not be used to reach another
	// with other rules (TLS-10, RFC 9110 §7.4).
	if !routes.SameScope(q.SNI, q.Host) {
		return Decision{Reason: ReasonMisdirected}
	}
	route := routes.Match(&routing.Key{
		Caller: q.Subject.ID, SNI: q.SNI, Host: q.Host, Path: q.Path, Method: q.Method, Header: q.Header,
	})
	if route == nil {
		return Decision{Reason: ReasonNoRoute} // never a default backend (ROUTE-02)
	}
	grant, denial := last.authorize(rules, q.Subject, route, q.Method)
	if denial != nil {
		return Decision{Reason: denialReason(denial.Reason), Route: route, Denial: denial}
	}
	return Decision{Route: route, Grant: grant}
}

// granted remembers a grant and what it was made of. [policy.Policy.Authorize] looks at
// nothing else, not even at the clock, so that it would grant the same again. The zero
// granted remembers nothing.
type granted struct {
	rules  *policy.Policy
	method string
	grant  policy.Grant
}

func (g *granted) authorize(rules *policy.Policy, s policy.Subject, route *routing.Route, method string) (policy.Grant, *policy.Denial) {
	if g.rules == rules && g.grant.Route() == route && g.method == method && g.grant.Subject() == s {
		return g.grant, nil
	}
	grant, denial := rules.Authorize(s, route, method)
	if denial == nil {
		*g = granted{rules: rules, method: method, grant: grant}
	}
	return grant, denial
}

func denialReason(r policy.Reason) Reason {
	switch r {
	case policy.ReasonMethodNotAllowed:
		return ReasonMethodNotAllowed
	case policy.ReasonAssuranceInsufficient:
		return ReasonAssuranceInsufficient
	default:
		return ReasonPolicyDenied
	}
}
