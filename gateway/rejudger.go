package gateway

import (
	"sync"
	"time"

	"verigate/telemetry"
	"verigate/trust"
)

// The rejudger works in turns, so that a change which concerns everybody does not
// keep those waiting who have requests: it judges for as long as a turn lasts, or
// until it has sent so many connections home, and then rests. The connections that
// were refused close on goroutines of their own in the meantime. Without the rest,
// those of 20 000 connections would all be runnable at once, and on one core the
// network is not looked at before they are through.
const (
	rejudgeTurn    = 2 * time.Millisecond
	rejudgeRefused = 128 // per turn; closing one takes some 20 µs
	rejudgeRest    = time.Millisecond

	// paddedBudget is how long, in one look, callers may be judged who presented
	// certificates that their path does not need: with these a workload can make the
	// search for its path take milliseconds. They come last, and whoever is left when the
	// budget is used up is sent away, and is free to connect again.
	paddedBudget = 300 * time.Millisecond

	// rejudgeSoonest is the least time between two looks at the clock: certificates
	// and CRLs tell time in seconds. rejudgeLatest bounds what a wall clock that was
	// set can do.
	rejudgeSoonest = 100 * time.Millisecond
	rejudgeLatest  = time.Minute
)

// rejudger judges live connections anew when the trust that they were judged by
// changes or runs out (REV-05). It has one goroutine, whatever the number of
// connections, and is not in the way of whoever publishes trust: changes that come
// while it works are taken together.
type rejudger struct {
	gateway *Gateway
	signal  chan struct{} // capacity 1
	stopped chan struct{}
	once    sync.Once
	done    sync.WaitGroup

	looked *trust.Snapshot // the last one that the upstreams were judged by
	conns  []*edgeConn     // of one domain; kept for its capacity
	padded []paddedConn    // of all domains, in the current look
	budget time.Duration   // for them
}

// paddedConn is a connection that is judged after all others.
type paddedConn struct {
	conn  *edgeConn
	cause string
}

func newRejudger(g *Gateway) *rejudger {
	return &rejudger{gateway: g, signal: make(chan struct{}, 1), stopped: make(chan struct{}), budget: paddedBudget}
}

// start begins the work.
func (r *rejudger) start() {
	r.looked = r.gateway.options.Trust.Load()
	r.gateway.options.Trust.OnChange(func(_, _ *trust.Snapshot) { r.wake() })
	r.done.Go(r.run)
}

// stop ends the work and waits until it has ended.
func (r *rejudger) stop() {
	r.once.Do(func() { close(r.stopped) })
	r.done.Wait()
}

// wake makes the rejudger look at everything. It does not wait.
func (r *rejudger) wake() {
	select {
	case r.signal <- struct{}{}:
	default: // it is going to look anyway
	}
}

func (r *rejudger) run() {
	timer := time.NewTimer(rejudgeLatest)
	defer timer.Stop()
	for {
		select {
		case <-r.stopped:
			return
		case <-r.signal:
		case <-timer.C:
		}
		r.look()
		timer.Reset(r.rest())
	}
}

// rest returns how long nothing is going to happen by itself.
func (r *rejudger) rest() time.Duration {
	rest := rejudgeLatest
	now := time.Now().UnixNano()
	for _, d := range r.gateway.live.all() {
		if next := d.next.Load(); next != 0 {
			rest = min(rest, max(time.Duration(next-now), rejudgeSoonest))
		}
	}
	return rest
}

// look judges all that a change or the clock has made doubtful: the backends of
// idle connections, then the callers, domain by domain.
func (r *rejudger) look() {
	if s := r.gateway.options.Trust.Load(); s != r.looked {
		r.looked = s
		for _, b := range r.gateway.Program().Backends() {
			r.rejudgeUpstream(b)
		}
	}
	for _, d := range r.gateway.live.all() {
		v, now := d.current(), time.Now()
		next := d.next.Load()
		switch {
		case v.standard != d.swept:
			r.sweep(d, v.standard, telemetry.CauseTrust)
		case next != 0 && next <= now.UnixNano() && now.Sub(d.sweptAt) >= rejudgeSoonest:
			r.sweep(d, v.standard, telemetry.CauseTime)
		}
	}
	r.judgePadded()
}

// rejudgeUpstream judges the idle connections of a backend. As with callers, a
// certificate that makes a parser panic must not end the process.
func (r *rejudger) rejudgeUpstream(b *Backend) {
	defer func() {
		if mistake := recover(); mistake != nil {
			r.gateway.options.Log.Error("panic while judging a backend anew", "panic", mistake)
		}
	}()
	b.Upstream.Rejudge()
}

// judgePadded judges the callers that sweeps have put off, within the budget.
func (r *rejudger) judgePadded() {
	defer func() {
		clear(r.padded)
		r.padded = r.padded[:0]
	}()
	spent := time.Duration(0)
	for i, p := range r.padded {
		if spent >= r.budget {
			p.conn.giveUp(p.cause)
		} else {
			began := time.Now()
			p.conn.rejudge(began)
			spent += time.Since(began)
		}
		if i%rejudgeRefused == rejudgeRefused-1 && !r.pause() {
			return
		}
	}
	if n := len(r.padded); n > 0 {
		r.gateway.options.Telemetry.Rejudged(r.padded[0].cause, n, spent)
	}
}

// pause lets those go on who have requests. It reports false when the work is to end.
func (r *rejudger) pause() bool {
	select {
	case <-r.stopped:
		return false
	case <-time.After(rejudgeRest):
		return true
	}
}

// sweep judges the callers of d whose verdict is out of date, and tells telemetry.
func (r *rejudger) sweep(d *domain, s *standard, cause string) {
	began := time.Now()
	d.swept, d.sweptAt = s, began
	// To be found anew: whoever has noted its time is among conns, or will note it.
	d.next.Store(0)
	r.conns = r.gateway.live.conns(d, r.conns[:0])
	defer func() { clear(r.conns) }()

	judged, refused := 0, 0
	turn, refusedInTurn := began, 0
	for _, c := range r.conns {
		if c.padded {
			r.padded = append(r.padded, paddedConn{c, cause})
			continue
		}
		now := time.Now()
		if now.Sub(turn) >= rejudgeTurn || refusedInTurn >= rejudgeRefused {
			if !r.pause() {
				return
			}
			now = time.Now()
			turn, refusedInTurn = now, 0
		}
		j, f := c.rejudge(now)
		if j {
			judged++
		}
		if f {
			refused++
			refusedInTurn++
		}
	}
	if judged == 0 {
		return
	}
	took := time.Since(began)
	r.gateway.options.Telemetry.Rejudged(cause, judged, took)
	r.gateway.options.Log.Info("live connections were judged anew", "trust_domain", d.origin.String(),
		"cause", cause, "judged", judged, "refused", refused, "took", took)
}
