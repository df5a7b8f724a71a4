package main

import (
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/config"
	"verigate/gateway"
	"verigate/policy"
	"verigate/trust"
	"verigate/verifycache"
)

// question is a chain to be explained, what it is judged by, and perhaps a request.
type question struct {
	chain    []*x509.Certificate
	role     certpath.Role
	now      time.Time
	snapshot *trust.Snapshot
	scope    *verifycache.Scope
	config   *config.Config   // nil when there are only anchors
	listener *config.Listener // of config
	request  *requestLine     // nil: none
}

// requestLine is what is asked about a request.
type requestLine struct {
	sni, host, method, path string
	headers                 []string // NAME: VALUE
}

// checkHeaders refuses what is no header field.
func (r *requestLine) checkHeaders() error {
	for _, h := range r.headers {
		if name, _, ok := strings.Cut(h, ":"); !ok || strings.TrimSpace(name) == "" {
			return fmt.Errorf("%q is not NAME: VALUE", h)
		}
	}
	return nil
}

func roleNamed(name string) (certpath.Role, error) {
	for _, role := range []certpath.Role{certpath.RoleClient, certpath.RoleServer} {
		if name == role.String() {
			return role, nil
		}
	}
	return 0, fmt.Errorf("%q is neither client nor server", name)
}

// at makes the listener of that name the one that is asked about, the first one if
// name is "".
func (q *question) at(name string) (err error) {
	var names []string
	for i := range q.config.File.Listeners {
		l := &q.config.File.Listeners[i]
		if name == "" || name == l.Name {
			q.listener = l
			q.scope, err = l.Scope()
			return err
		}
		names = append(names, l.Name)
	}
	return usage("listener %q does not exist; there are %s", name, strings.Join(names, ", "))
}

// answer judges q.
func (q *question) answer() *explanation {
	e, verdict := judge(q.chain, q.role, q.scope, q.snapshot, q.now)
	e.Resumption = q.resumption(&verdict)
	if q.request != nil && verdict.Accepted() {
		e.Request = q.request.gate(q.listener)
		if e.Request == nil {
			e.Request = q.request.decide(q.config, &verdict)
		}
	}
	return e
}

// resumption says what a session that was begun with the chain would come to.
func (q *question) resumption(v *verifycache.Verdict) string {
	switch {
	case q.config == nil || q.role != certpath.RoleClient:
		return ""
	case q.config.File.Resumption.Disabled:
		return "off: every connection is a full handshake"
	case !v.Accepted():
		return "a ticket from when the chain was accepted leads to a full handshake, which is refused for the same reason"
	}
	age := q.config.MaxSessionAge()
	end := "no more than " + age.String() + " after a full handshake"
	if v.Until.Before(q.now.Add(age)) {
		end = "not after " + v.Until.UTC().Format(time.RFC3339) + ", when this verdict has to be found anew"
	}
	return end + "; the chain is judged again by what is in force then"
}

// judge asks the live path for the verdict and the path validator for the steps.
func judge(chain []*x509.Certificate, role certpath.Role, scope *verifycache.Scope, snapshot *trust.Snapshot, now time.Time) (*explanation, verifycache.Verdict) {
	e := &explanation{Verdict: verdictReject, Role: role.String(), At: now.UTC(), Presented: []pathCert{}, Steps: []stepLine{}}
	for _, c := range chain {
		e.Presented = append(e.Presented, describe(c))
	}
	cache, err := verifycache.New(verifycache.Options{Disabled: true, Now: func() time.Time { return now }})
	if err != nil { // a disabled cache needs nothing that could fail
		panic(err)
	}
	defer cache.Close()
	verdict := cache.Verify(chain, role, scope, snapshot)

	e.Identity = verdict.ID.String()
	e.TrustDomain = verdict.ID.Origin().String()
	tracer := certpath.Verifier{Trace: func(s certpath.Step) {
		e.Steps = append(e.Steps, stepLine{s.Name, s.OK, s.Depth, s.Detail})
	}}
	_, _ = tracer.Verify(chain, snapshot.Bundle(verdict.ID.Origin()), role, now) // for its steps; the verdict is the other's

	if s := verdict.Shadow; s != nil {
		e.Shadow = shadowOf(s)
	}
	if fault := verdict.Err; fault != nil {
		e.Reason, e.Depth, e.Error = fault.Reason.String(), fault.Depth, fault.Error()
		e.Found, e.Want, e.Hint = fault.Found, fault.Want, fault.Hint
		return e, verdict
	}
	e.Verdict = verdictAccept
	e.Lowered = snapshot.Bundle(verdict.ID.Origin()).Options().Assurance.Lowered(verdict.Path.Evidence(), now)
	e.Revocation = revocation(verdict.Path, snapshot.Bundle(verdict.ID.Origin()), now)
	mial := int(verdict.Grade.MIAL)
	notAfter := verdict.Path.NotAfter().UTC()
	e.MIAL, e.MAAL, e.NotAfter = &mial, maalText(verdict.Grade), &notAfter
	e.Path = append(e.Path, describe(verdict.Path.ParseLeaf()))
	for _, c := range verdict.Path.Issuers() {
		e.Path = append(e.Path, describe(c))
	}
	return e, verdict
}

// revocation says for each certificate of the path which CRLs were looked at and
// what they say.
func revocation(path *certpath.Path, bundle *trust.Bundle, now time.Time) (lines []string) {
	for _, status := range certpath.ExplainRevocation(path, bundle, now) {
		verdict := "not revoked"
		if status.Fault != nil {
			verdict = status.Fault.Reason.String()
		}
		lines = append(lines, fmt.Sprintf("path[%d] %s: %s", status.Depth, verdict, status.Subject))
		for _, finding := range status.CRLs {
			mark := " "
			if finding.Counts {
				mark = "*"
			}
			lines = append(lines, fmt.Sprintf("  %s %s: %s", mark, finding.CRL, finding.Says))
		}
	}
	return lines
}

// shadowOf is what the shadow of the trust domain says.
func shadowOf(s *verifycache.Shadow) *shadowAnswer {
	if s.Err != nil {
		return &shadowAnswer{Verdict: verdictReject, Reason: s.Err.Reason.String(), Depth: s.Err.Depth, Error: s.Err.Error()}
	}
	mial := int(s.Grade.MIAL)
	return &shadowAnswer{Verdict: verdictAccept, MIAL: &mial}
}

func describe(c *x509.Certificate) pathCert {
	ref := trust.RefOf(c, nil)
	return pathCert{
		Subject: c.Subject.String(), Serial: hex.EncodeToString(c.SerialNumber.Bytes()),
		SPKISHA256: ref.SPKI.String(), NotAfter: c.NotAfter.UTC(),
	}
}

// name is the subject, or what stands for it where it is empty, as the subjects of
// workloads are.
func (c *pathCert) name() string {
	if c.Subject == "" {
		return "(no subject)"
	}
	return c.Subject
}

func maalText(g assurance.Grade) string {
	if g.MAAL == (assurance.MAAL{}) {
		return ""
	}
	var parts []string
	for c, grade := range g.MAAL {
		parts = append(parts, fmt.Sprintf("%s=%d", assurance.Characteristic(c), grade))
	}
	return assurance.MAALProfile + " " + strings.Join(parts, " ")
}

// decide asks the live decision about a request.
func (r *requestLine) decide(c *config.Config, v *verifycache.Verdict) *answer {
	host := cmp.Or(r.host, r.sni)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name // routes know no ports
	}
	sni := r.sni
	if _, err := netip.ParseAddr(host); err != nil && sni == "" {
		sni = host // what clients ask for, unless it is an address (RFC 6066 §3)
	}
	path, _, _ := strings.Cut(r.path, "?")
	fields := map[string]string{}
	for _, h := range r.headers {
		name, value, _ := strings.Cut(h, ":")
		fields[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	routes, rules := c.Rules()
	decision := gateway.Decide(routes, rules, &gateway.Question{
		Subject: policy.Subject{ID: v.ID, Grade: v.Grade},
		SNI:     strings.ToLower(sni), Host: strings.ToLower(host), Path: path, Method: r.method,
		Header: func(name string) (string, bool) {
			value, ok := fields[strings.ToLower(name)]
			return value, ok
		},
	})
	a := &answer{Decision: decisionDenied, Stage: stagePolicy, Reason: string(decision.Reason)}
	switch decision.Reason {
	case gateway.ReasonMisdirected:
		a.Decision, a.Stage = decisionRefused, stageRouting
	case gateway.ReasonNoRoute:
		a.Stage = stageRouting
	default: // a rule, or the want of one
	}
	if decision.Route != nil {
		a.Route, a.Upstream = decision.Route.Name, decision.Route.Upstream
	}
	if decision.Denial != nil {
		a.Rule, a.Missing = decision.Denial.Rule, decision.Denial.Missing
	}
	if decision.Granted() {
		a.Decision, a.Rule = decisionGranted, decision.Grant.Rule()
	}
	return a
}
