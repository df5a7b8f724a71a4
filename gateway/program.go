package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"verigate/handoff"
	"verigate/policy"
	"verigate/routing"
	"verigate/upstream"
	"verigate/workloadid"
)

// Backend is an upstream together with what requests to it convey.
type Backend struct {
	Upstream *upstream.Upstream
	// Handoff conveys the caller; nil conveys nothing (FWD-06).
	Handoff *handoff.Handoff
	// Origin is the trust domain of the backend. A Txn-Token is passed on only
	// from callers of the same one (APP-10). Zero for plain upstreams: the token
	// is always dropped.
	Origin workloadid.Origin
}

// Program is what requests are decided by: routes, policy and upstreams that
// belong together. What it decides never changes.
type Program struct {
	routes   *routing.Table
	policy   *policy.Policy
	backends map[string]*Backend

	users  atomic.Int64  // requests that have yet to be forwarded, and one while it is in force
	unused chan struct{} // closed when there are none
	once   sync.Once
}

// NewProgram checks that routes, policy and backends belong together: every
// route's upstream must exist. A backend belongs to one program: its connections
// are closed when the program is replaced.
func NewProgram(routes *routing.Table, rules *policy.Policy, backends map[string]*Backend) (*Program, error) {
	var problems []error
	for _, route := range routes.Routes() {
		if backends[route.Upstream] == nil {
			problems = append(problems, fmt.Errorf("route %q: upstream %q does not exist; defined are %q",
				route.Name, route.Upstream, slices.Sorted(maps.Keys(backends))))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	p := &Program{routes: routes, policy: rules, backends: maps.Clone(backends), unused: make(chan struct{})}
	p.users.Store(1)
	return p, nil
}

// Routes returns the compiled routes.
func (p *Program) Routes() *routing.Table { return p.routes }

// Backends returns the backends in the order of their names.
func (p *Program) Backends() []*Backend {
	all := make([]*Backend, 0, len(p.backends))
	for _, name := range slices.Sorted(maps.Keys(p.backends)) {
		all = append(all, p.backends[name])
	}
	return all
}

// Close refuses further requests, closes the idle connections of all upstreams
// and waits for the requests in flight until ctx is done.
func (p *Program) Close(ctx context.Context) {
	for _, b := range p.backends {
		b.Upstream.Close(ctx)
	}
}

// release ends one use of p.
func (p *Program) release() {
	if p.users.Add(-1) == 0 {
		// More than once: who comes too late counts itself in and out again.
		p.once.Do(func() { close(p.unused) })
	}
}
