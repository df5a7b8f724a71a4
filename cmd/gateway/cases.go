package main

import (
	"errors"
	"time"

	"verigate/certpath"
	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

// caseJudge judges cases one after the other, those of the workload profile
// through the verification cache if it is on.
type caseJudge struct {
	cache *verifycache.Cache // nil: off
	now   time.Time          // of the case being judged, which is what the cache's clock shows
}

func newCaseJudge(cached bool) (*caseJudge, error) {
	j := &caseJudge{}
	if !cached {
		return j, nil
	}
	var err error
	j.cache, err = verifycache.New(verifycache.Options{Now: func() time.Time { return j.now }})
	return j, err
}

func (j *caseJudge) close() {
	if j.cache != nil {
		j.cache.Close()
	}
}

// verify answers a case: nil is acceptance, an [*certpath.Error] the verdict, and
// anything else says that the case is none.
func (j *caseJudge) verify(c *certpath.Case) error {
	q, err := c.Question(trust.BundleOptions{}, time.Now())
	if err != nil {
		return err
	}
	if j.cache == nil || q.Verifier.Profile != certpath.ProfileWorkload {
		_, err := q.Verifier.Verify(q.Chain, q.Bundle, q.Role, q.Now)
		return err
	}
	snapshot, err := trust.NewSnapshot([]*trust.Bundle{q.Bundle}, nil)
	if err != nil {
		return err
	}
	scope, err := verifycache.NewScope("case", []workloadid.Origin{q.Bundle.Origin()})
	if err != nil {
		return err
	}
	j.now = q.Now
	verdict := j.cache.Verify(q.Chain, q.Role, scope, snapshot)
	if verdict.Accepted() {
		j.cache.Remember(&verdict) // a case says nothing about keys; the next one may ask again
		return nil
	}
	if verdict.Err == nil {
		return errors.New("no verdict")
	}
	return verdict.Err
}
