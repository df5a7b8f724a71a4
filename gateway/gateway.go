package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"verigate/assurance"
	"verigate/telemetry"
	"verigate/tlsterm"
	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

// Options of a gateway. Log and HandshakeTokens have defaults; the rest is
// required.
type Options struct {
	Listeners []ListenerOptions
	Trust     *trust.Store
	Cache     *verifycache.Cache
	Telemetry *telemetry.Telemetry
	Log       *slog.Logger // nil: nothing is logged
	// Detector notices callers that share a credential; nil looks for none.
	Detector *assurance.Detector
	// RefusalGrace is how long a response in flight may go on after its caller was
	// refused because trust changed; 5 s.
	RefusalGrace time.Duration
	// UnknownIssuer, if set, is told the origin that a caller claims whose chain leads
	// to no anchor of it: it may have a new one. It is called on the goroutine of the
	// handshake, must not block, and may be called as often as strangers like.
	UnknownIssuer func(workloadid.Origin)
	// HandshakeTokens is how many handshakes may compute at once, over all
	// listeners; half of GOMAXPROCS by default, at least one.
	HandshakeTokens int
}

// Gateway serves. Make one with [New], call [Gateway.Serve], end it with
// [Gateway.Drain]. Its methods may be called concurrently.
type Gateway struct {
	options   Options
	program   atomic.Pointer[Program]
	listeners []*listener
	limiter   *tlsterm.Limiter
	rejudger  *rejudger
	draining  atomic.Bool

	live  live
	empty chan struct{} // closed when draining and the last connection is gone

	// arriving is for tests that change trust at the worst moment: it is called
	// before a connection is registered.
	arriving func()
}

// New opens the listeners; connections queue until [Gateway.Serve]. Requests are
// decided by p, which is the gateway's from then on. On error nothing stays open,
// and p remains the caller's.
func New(o Options, p *Program) (*Gateway, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.HandshakeTokens == 0 {
		// Half the processors: the other half is for those who are in already.
		o.HandshakeTokens = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if o.RefusalGrace == 0 {
		o.RefusalGrace = refusalGrace
	}
	limiter, err := tlsterm.NewLimiter(o.HandshakeTokens)
	if err != nil {
		return nil, fmt.Errorf("handshake limiter: %w", err)
	}
	g := &Gateway{
		options: o, limiter: limiter,
		live: live{store: o.Trust, domains: map[workloadid.Origin]*domain{}}, empty: make(chan struct{}),
	}
	g.rejudger = newRejudger(g)
	g.program.Store(p)
	for _, lo := range o.Listeners {
		l, err := g.listen(lo)
		if err != nil {
			g.closeListeners()
			limiter.Close()
			return nil, fmt.Errorf("listener %q: %w", lo.TLS.Name, err)
		}
		g.listeners = append(g.listeners, l)
	}
	g.rejudger.start()
	return g, nil
}

// Serve serves all listeners until [Gateway.Drain] closes them.
func (g *Gateway) Serve() error {
	var wg sync.WaitGroup
	errs := make([]error, len(g.listeners))
	for i, l := range g.listeners {
		wg.Go(func() { errs[i] = l.serve() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Program returns what requests are decided by at the moment.
func (g *Gateway) Program() *Program { return g.program.Load() }

// closeOldUpstreams bounds how long requests by a replaced program may use its
// upstreams.
const closeOldUpstreams = 10 * time.Minute

// Swap puts a new program in force for every request from now on. Requests in
// flight finish by the program they began with; when the last has, the
// connections of its upstreams are closed. Swap does not wait for that.
func (g *Gateway) Swap(p *Program) {
	old := g.program.Swap(p)
	old.release()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeOldUpstreams)
		defer cancel()
		select {
		case <-old.unused:
		case <-ctx.Done():
		}
		old.Close(ctx)
	}()
}

// SetScopes changes what listeners admit, by their names; one that is not named keeps
// its scope. Handshakes that begin from now on are judged for it, and so is every
// caller who is connected, within the time that a change of trust takes.
func (g *Gateway) SetScopes(scopes map[string]*verifycache.Scope) {
	changed := false
	for _, l := range g.listeners {
		if scope := scopes[l.name]; scope != nil && !slices.Equal(scope.Origins(), l.tls.Scope().Origins()) {
			l.tls.SetScope(scope)
			changed = true
		}
	}
	if !changed {
		return // as with most reloads: nobody has to be judged for it
	}
	g.live.scopes.Add(1) // after the scopes: who sees it judges by them
	g.rejudger.wake()
}

// use returns the program in force and keeps its upstreams open until it is
// released.
func (g *Gateway) use() *Program {
	for {
		p := g.program.Load()
		p.users.Add(1)
		if g.program.Load() == p {
			return p // it was not replaced before it was counted
		}
		p.release()
	}
}

// cutGrace is how long the records of requests whose connection was cut may take
// to be written.
const cutGrace = time.Second

// Drain stops accepting, lets requests in flight finish, ends idle connections
// and, when ctx is done, closes what is left, towards clients and backends. It
// returns ctx's error if anything had to be cut.
//
// A response that begins after Drain was called carries "Connection: close".
func (g *Gateway) Drain(ctx context.Context) error {
	g.live.mu.Lock()
	g.draining.Store(true)
	g.live.each(func(c *edgeConn) {
		if !c.busy.Load() {
			c.interrupt()
		}
	})
	g.settleEmpty()
	g.live.mu.Unlock()
	g.closeListeners()

	select {
	case <-g.empty:
	case <-ctx.Done():
	}
	var errs []error
	for _, l := range g.listeners {
		errs = append(errs, l.tls.Drain(ctx)) // waits for the last farewell, or cuts
	}
	// Whoever is left has lost its client, and waits for a backend.
	g.live.mu.Lock()
	g.live.each(func(c *edgeConn) { c.abort.Abort() })
	g.live.mu.Unlock()
	select {
	case <-g.empty:
	case <-time.After(cutGrace): // the audit log blocks
	}
	g.rejudger.stop()
	g.limiter.Close()
	g.Program().Close(ctx)
	return errors.Join(errs...)
}

// Draining reports whether [Gateway.Drain] was called.
func (g *Gateway) Draining() bool { return g.draining.Load() }

func (g *Gateway) closeListeners() {
	for _, l := range g.listeners {
		_ = l.tls.Close() // a listener that does not close has nothing more to accept either
	}
}

// register adds a connection that is about to be served. It is turned away when
// the gateway has begun to drain, so that none slips past the drain's look.
func (g *Gateway) register(c *edgeConn) bool {
	g.live.mu.Lock()
	defer g.live.mu.Unlock()
	if g.draining.Load() {
		return false
	}
	g.live.add(c)
	return true
}

func (g *Gateway) forget(c *edgeConn) {
	g.live.mu.Lock()
	defer g.live.mu.Unlock()
	g.live.remove(c)
	g.settleEmpty()
}

// settleEmpty tells the drain that nothing is left. The caller holds live.mu.
func (g *Gateway) settleEmpty() {
	if g.draining.Load() && g.live.count == 0 {
		select {
		case <-g.empty:
		default:
			close(g.empty)
		}
	}
}

// ListenerStatus is about one listener.
type ListenerStatus struct {
	Name        string
	Address     net.Addr
	Connections int // established
}

// Listeners describes the listeners, in the order of the configuration.
func (g *Gateway) Listeners() []ListenerStatus {
	all := make([]ListenerStatus, len(g.listeners))
	for i, l := range g.listeners {
		all[i] = ListenerStatus{Name: l.name, Address: l.tls.Addr(), Connections: l.tls.Conns()}
	}
	return all
}

// Addr returns the address that the listener of that name is bound to, or nil.
func (g *Gateway) Addr(name string) net.Addr {
	for _, l := range g.listeners {
		if l.name == name {
			return l.tls.Addr()
		}
	}
	return nil
}

// Connections counts the established connections of each listener.
func (g *Gateway) Connections() []telemetry.Connections {
	all := make([]telemetry.Connections, len(g.listeners))
	for i, l := range g.listeners {
		all[i] = telemetry.Connections{Listener: l.name, Active: l.tls.Conns()}
	}
	return all
}
