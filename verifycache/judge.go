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

// query is one question: what Verify or Rejudge was asked.
type query struct {
	chain []*x509.Certificate
	role  certpath.Role
	scope *Scope
	snap  *trust.Snapshot

	// What saves signature checks and copies, and changes no verdict. Both may be nil.
	known  certpath.Links
	proven *certpath.Path

	// rejudged says that the peer's key is proven already.
	rejudged bool
}

// holding returns q for the holder of path: signatures on it are not checked again,
// and its copies of certificates take the place of what was presented, so that no
// second copy will be kept. A leaf that is not there is the path's.
func (q query) holding(path *certpath.Path) query {
	q.proven = path
	q.chain = slices.Clone(q.chain)
	if q.chain[0] == nil {
		q.chain[0] = path.ParseLeaf()
	}
	for i, c := range q.chain {
		if held := slices.IndexFunc(path.Issuers(), c.Equal); held >= 0 {
			q.chain[i] = path.Issuers()[held]
		}
	}
	return q
}

// judge answers q afresh at now. It has no memory of chains. The entry lacks the
// key, the age and the cost, which a bypass has no use for.
func (c *Cache) judge(q query, outcome Outcome, now time.Time) (Verdict, *entry) {
	id, fault := identify(q.chain)
	identified := c.now()
	if fault != nil {
		// Neither trust nor time has a say in this.
		e := &entry{live: answer{Shadow: Shadow{Err: fault}, by: q.snap.Digest()}}
		return Verdict{Err: fault, Outcome: outcome, IdentifyDuration: identified.Sub(now)}, e
	}
	bundle := q.snap.Bundle(id.Origin())
	e := &entry{id: id, origin: id.Origin()}
	q.ask(&e.live, id, bundle, now)
	judged := c.now()
	e.took = judged.Sub(now)

	v := e.verdict(q, bundle, outcome, now)
	v.IdentifyDuration, v.VerifyDuration = identified.Sub(now), judged.Sub(identified)
	if v.Accepted() {
		v.fresh = e
	}
	return v, e
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
func (q query) validate(id workloadid.ID, bundle *trust.Bundle, now time.Time) (*certpath.Path, *certpath.Error) {
	if !q.scope.Allows(id.Origin()) {
		return nil, &certpath.Error{
			Reason: certpath.ReasonOriginNotAllowed,
			Found:  id.Origin().String(),
			Want:   q.scope.describe(),
			Hint:   "the trust domain is not on the allow-list of this listener or upstream",
		}
	}
	verifier := certpath.Verifier{Links: q.known, Proven: q.proven}
	path, err := verifier.Verify(q.chain, bundle, q.role, now)
	if err != nil {
		return nil, faultOf(err)
	}
	// Only now: who is denied is said of identities and certificates that are
	// genuine. A stranger's forgery of a denied identity is a forgery.
	if entry, depth, denied := q.snap.Deny().Find(path.ID(), path.Refs()); denied {
		return nil, &certpath.Error{
			Reason: certpath.ReasonDenied,
			Depth:  presented(q.chain, path, depth),
			Found:  entry,
			Want:   "no entry of the deny-list",
		}
	}
	return path, nil
}

// presented returns the index in chain of the certificate at depth of path, or the
// length of chain for an anchor that was not presented.
func presented(chain []*x509.Certificate, path *certpath.Path, depth int) int {
	if depth == 0 {
		return 0
	}
	if i := slices.IndexFunc(chain, path.Issuers()[depth-1].Equal); i >= 0 {
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
