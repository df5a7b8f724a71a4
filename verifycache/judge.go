package verifycache

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"verigate/certpath"
	"verigate/trust"
	"verigate/workloadid"
)

// query is one question: what Verify was asked.
type query struct {
	chain []*x509.Certificate
	role  certpath.Role
	scope *Scope
	snap  *trust.Snapshot
}

// judge answers q afresh at now. It has no memory of chains; known, which may be
// nil, only saves signature checks. An accepted verdict comes with what Remember
// needs, but for the key, the span and the cost, which a bypass has no use for.
func (c *Cache) judge(q query, known certpath.Links, outcome Outcome, now time.Time) Verdict {
	id, fault := identify(q.chain)
	identified := c.now()
	v := Verdict{ID: id, Outcome: outcome, IdentifyDuration: identified.Sub(now)}
	if fault != nil {
		v.Err = fault
		return v
	}

	bundle := q.snap.Bundle(id.Origin())
	path, fault := q.validate(id, bundle, known, now)
	if fault != nil {
		v.Err = fault
		v.VerifyDuration = c.now().Sub(identified)
		return v
	}
	v.Path = path
	v.Grade = bundle.Options().Assurance.Grade(path.Evidence())
	v.VerifyDuration = c.now().Sub(identified)
	v.fresh = &entry{
		bundle:     bundle.Digest(),
		id:         id,
		origin:     id.Origin(),
		path:       path,
		refs:       path.Refs(),
		grade:      v.Grade,
		verifiedAt: now,
		took:       v.IdentifyDuration + v.VerifyDuration,
	}
	return v
}

func identify(chain []*x509.Certificate) (workloadid.ID, *certpath.Error) {
	if err := certpath.CheckLimits(chain); err != nil {
		return workloadid.ID{}, faultOf(err)
	}
	id, err := certpath.Identify(chain[0])
	if err != nil {
		return workloadid.ID{}, faultOf(err)
	}
	return id, nil
}

// validate judges what id claims. bundle is the one of its origin, nil if there
// is none.
func (q query) validate(id workloadid.ID, bundle *trust.Bundle, known certpath.Links, now time.Time) (*certpath.Path, *certpath.Error) {
	if !q.scope.Allows(id.Origin()) {
		return nil, &certpath.Error{
			Reason: certpath.ReasonOriginNotAllowed,
			Found:  id.Origin().String(),
			Want:   q.scope.describe(),
			Hint:   "the trust domain is not on the allow-list of this listener or upstream",
		}
	}
	verifier := certpath.Verifier{Links: known}
	path, err := verifier.Verify(q.chain, bundle, q.role, now)
	if err != nil {
		return nil, faultOf(err)
	}
	// Only now: who is denied is said of identities and certificates that are
	// genuine. A stranger's forgery of a denied identity is a forgery.
	if entry, depth, denied := q.snap.Deny().Find(path.ID(), path.Refs()); denied {
		return nil, &certpath.Error{
			Reason: certpath.ReasonDenied,
			Depth:  presented(q.chain, path.Certificates()[depth]),
			Found:  entry,
			Want:   "no entry of the deny-list",
		}
	}
	return path, nil
}

// presented returns the index of c in chain, or the length of chain for an anchor
// that was not presented.
func presented(chain []*x509.Certificate, c *x509.Certificate) int {
	if i := slices.IndexFunc(chain, c.Equal); i >= 0 {
		return i
	}
	return len(chain)
}

// faultOf returns what certpath promises to fail with. Anything else would be a
// mistake there, and rejects as well.
func faultOf(err error) *certpath.Error {
	if fault, ok := errors.AsType[*certpath.Error](err); ok {
		return fault
	}
	return &certpath.Error{Reason: certpath.ReasonMalformed, Err: err}
}

// describe lists the origins admitted, for the operator, who may have configured
// hundreds.
func (s *Scope) describe() string {
	if s == nil {
		return "no trust domain at all"
	}
	const shown = 4
	names := make([]string, 0, shown)
	for _, o := range s.origins[:min(shown, len(s.origins))] {
		names = append(names, o.String())
	}
	list := strings.Join(names, ", ")
	if more := len(s.origins) - shown; more > 0 {
		list = fmt.Sprintf("%s and %d more", list, more)
	}
	return list
}
