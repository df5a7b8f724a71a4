package tlsterm

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"verigate/verifycache"
)

// Keep-alive probes find peers that vanished. Go's default of 15 s would send
// 6 700 probes a second to 100 000 idle connections.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 30 * time.Second, Count: 3}

const (
	// acceptTurn is after how many connections the accept loop lets established
	// ones go first.
	acceptTurn = 8
	// After a failed accept, for instance for want of file descriptors, the loop
	// pauses, longer each time.
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
	// drainers is how many goroutines close what is left at the end of a drain.
	drainers = 64
)

// lastConnID numbers the connections of all listeners.
var lastConnID atomic.Uint64

// Listener accepts connections, shakes hands with their peers and yields those
// that were proven. It is a net.Listener whose Accept returns a [*Conn]. Its
// methods may be called concurrently.
type Listener struct {
	o           Options // complete
	inner       net.Listener
	base        *tls.Config
	credentials credentials
	limiter     *Limiter
	ownLimiter  bool
	names       caNames
	places      admission
	welcome     atomic.Pointer[welcome]

	ready   chan *Conn                  // to Accept
	handler atomic.Pointer[func(*Conn)] // of Serve; nil while there is none
	crew    crew
	done    chan struct{}  // closed when no connection is accepted any more
	loops   sync.WaitGroup // the accept loop and the handshakes

	mu      sync.Mutex
	pending map[*attempt]struct{} // in their handshake
	live    map[uint64]*Conn
	empty   chan struct{} // closed when the listener is and nothing is left
}

var _ net.Listener = (*Listener)(nil)

// Listen opens the address and starts accepting. Errors are those of options
// that make no sense and of the operating system.
func Listen(o Options) (*Listener, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("tlsterm: listener %q: %w", o.Name, err)
	}
	listen := listenConfig(o.FirstByteTimeout)
	// MPTCP sockets cost more and are on by default for listeners.
	listen.SetMultipathTCP(false)
	inner, err := listen.Listen(context.Background(), "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("tlsterm: listener %q: %w", o.Name, err)
	}
	l, err := serve(o, inner)
	if err != nil {
		inner.Close()
		return nil, fmt.Errorf("tlsterm: listener %q: %w", o.Name, err)
	}
	return l, nil
}

// ListenOn is [Listen] on inner, which somebody else has opened; Options.Address is not
// used. On success inner belongs to the listener, on error to the caller.
func ListenOn(inner net.Listener, o Options) (*Listener, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("tlsterm: listener %q: %w", o.Name, err)
	}
	l, err := serve(o, inner)
	if err != nil {
		return nil, fmt.Errorf("tlsterm: listener %q: %w", o.Name, err)
	}
	return l, nil
}

// serve starts a listener on inner. The options are complete.
func serve(o Options, inner net.Listener) (*Listener, error) {
	l := &Listener{
		o:           o,
		inner:       inner,
		credentials: o.Credentials,
		limiter:     o.Limiter,
		places: admission{
			maxConns:       o.MaxConns,
			maxHandshakes:  o.MaxHandshakes,
			maxClientConns: o.MaxConnsPerClient,
			// Whoever opens handshakes and does not finish them from one place leaves half
			// of the room to the others.
			maxClientHandshakes: max(1, o.MaxHandshakes/2),
		},
		base: &tls.Config{
			MinVersion:             tls.VersionTLS13,
			CurvePreferences:       o.Curves,
			NextProtos:             o.NextProtos,
			ClientAuth:             tls.RequireAnyClientCert,
			SessionTicketsDisabled: o.Tickets == nil,
			// Records of 1.2 KiB at the start of a connection would make three system
			// calls of one answer.
			DynamicRecordSizingDisabled: true,
			Time:                        o.Now,
		},
		ready:   make(chan *Conn),
		done:    make(chan struct{}),
		pending: make(map[*attempt]struct{}),
		live:    make(map[uint64]*Conn),
		empty:   make(chan struct{}),
	}
	if o.Tickets != nil {
		// Tickets are wrapped by ourselves. Keys of the listener's keep crypto/tls from
		// rotating some for every connection, and nothing is ever sealed by them.
		var unused [32]byte
		_, _ = rand.Read(unused[:]) // ends the program rather than fail
		l.base.SetSessionTicketKeys([][32]byte{unused})
	}
	if o.AllowTLS12 {
		l.base.MinVersion = tls.VersionTLS12
	}
	if l.limiter == nil {
		limiter, err := NewLimiter(o.HandshakeTokens)
		if err != nil {
			return nil, err
		}
		l.limiter, l.ownLimiter = limiter, true
	}
	l.SetScope(o.Scope)
	l.loops.Add(1)
	go l.acceptLoop()
	return l, nil
}

// welcome says whom a listener admits. A handshake sees one from beginning to end.
type welcome struct {
	scope   *verifycache.Scope
	context [sha256.Size]byte // what tickets are bound to
}

// SetScope has every handshake that begins from now on judged for scope, which must
// not be nil. Tickets of the scope before are worth nothing any more. Handshakes
// under way and established connections are judged by the scope that they began
// with: compare [Conn.Scope] with [Listener.Scope].
func (l *Listener) SetScope(scope *verifycache.Scope) {
	o := l.o
	o.Scope = scope
	l.welcome.Store(&welcome{scope, contextOf(&o)})
}

// Scope returns whom the listener admits at the moment.
func (l *Listener) Scope() *verifycache.Scope { return l.welcome.Load().scope }

// acceptLoop accepts until the listener is closed. Nothing else ends it: being
// out of file descriptors is a state that passes.
func (l *Listener) acceptLoop() {
	defer l.loops.Done()
	pause := minAcceptPause
	for n := 1; ; n++ {
		c, err := l.inner.Accept()
		if err != nil {
			if l.isClosed() {
				return
			}
			l.observeShed(ShedAcceptFailed, netip.AddrPort{})
			select {
			case <-l.done:
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, maxAcceptPause)
			continue
		}
		pause = minAcceptPause
		l.begin(c)
		if n%acceptTurn == 0 {
			l.limiter.turn(true) // newcomers do not wait for thousands of failures
		}
	}
}

// begin starts the handshake of a connection just accepted, if there is room.
func (l *Listener) begin(c net.Conn) {
	if reason, ok := l.places.enter(); !ok {
		l.shed(c, reason)
		return
	}
	a := &attempt{
		l:     l,
		id:    lastConnID.Add(1),
		began: time.Now(),
		start: l.o.Now(),
		local: addrPort(c.LocalAddr()),

		welcome: l.welcome.Load(),
	}
	remote := addrPort(c.RemoteAddr()).Addr()
	if a.proxied = contains(l.o.ProxyProtocolFrom, remote); !a.proxied {
		client := clientNetwork(remote)
		if reason, ok := l.places.enterClient(client); !ok {
			l.places.shaken(netip.Addr{})
			l.places.leave(netip.Addr{})
			l.shed(c, reason)
			return
		}
		a.client = client
	}
	a.socket = newSocket(c, l.limiter)

	l.mu.Lock()
	closed := l.isClosed()
	if !closed {
		l.pending[a] = struct{}{}
		l.loops.Add(1) // not after Close has begun to wait
	}
	l.mu.Unlock()
	if closed {
		l.places.shaken(a.client)
		l.places.leave(a.client)
		l.shed(c, ShedShuttingDown)
		return
	}
	if !l.crew.take(a) {
		go l.shakeHands(a)
	}
}

// shakeHands runs a and then others. If connections are to be served, they are on the
// goroutine that has the stack for it by now.
func (l *Listener) shakeHands(a *attempt) {
	work := make(chan *attempt, 1)
	for ; a != nil; a = l.crew.next(work) {
		conn := a.run()
		l.loops.Done()
		if conn != nil {
			l.hand(conn)
		}
	}
}

// hand gives c to whoever serves or accepts.
func (l *Listener) hand(c *Conn) {
	if serve := l.handler.Load(); serve != nil && !l.isClosed() {
		(*serve)(c)
		return
	}
	select {
	case l.ready <- c:
	case <-l.done:
		_ = c.Close()
	}
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// shed closes a connection that no handshake has begun on.
func (l *Listener) shed(c net.Conn, reason ShedReason) {
	remote := addrPort(c.RemoteAddr())
	if s, ok := c.(*socket); ok {
		c = s.Conn
	}
	reset(c)
	l.observeShed(reason, remote)
}

func (l *Listener) observeShed(reason ShedReason, remote netip.AddrPort) {
	if f := l.o.Observer.Shed; f != nil {
		f(reason, remote)
	}
}

func (l *Listener) observeHandshake(h *Handshake) {
	if f := l.o.Observer.Handshake; f != nil {
		f(h)
	}
}

// shaken takes a off the handshakes in flight.
func (l *Listener) shaken(a *attempt) {
	l.places.shaken(a.client)
	l.mu.Lock()
	delete(l.pending, a)
	l.checkEmpty()
	l.mu.Unlock()
}

// left gives back the place of a connection.
func (l *Listener) left(client netip.Addr) { l.places.leave(client) }

// establish makes the connection that came of a a live one.
func (l *Listener) establish(a *attempt, c *Conn) {
	a.socket.settle()
	// Set before it can fire and before anybody finds the connection.
	c.timer = time.AfterFunc(time.Hour, func() { _ = c.Close() })
	c.timer.Reset(c.life)
	l.mu.Lock()
	l.live[c.id] = c
	l.mu.Unlock()
	l.shaken(a)
}

// closed takes c off the live connections.
func (l *Listener) closed(c *Conn) {
	l.left(c.client)
	l.mu.Lock()
	delete(l.live, c.id)
	l.checkEmpty()
	l.mu.Unlock()
	if f := l.o.Observer.Closed; f != nil {
		f(c, time.Since(c.began))
	}
}

// checkEmpty closes l.empty when a closed listener has nothing left. The caller
// holds l.mu.
func (l *Listener) checkEmpty() {
	if !l.isClosed() || len(l.pending) > 0 || len(l.live) > 0 {
		return
	}
	select {
	case <-l.empty:
	default:
		close(l.empty)
	}
}

func (l *Listener) isClosed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Accept returns the next connection, always a [*Conn]. After Close it returns
// an error that is net.ErrClosed, and nothing else makes it fail.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Serve calls serve for every connection, each on a goroutine of its own, until the
// listener is closed; then it returns an error that is net.ErrClosed. It does not wait
// for those that are being served. serve has to close its connection, or see to it.
//
// It is to be called once, and instead of Accept, to which it is the cheaper alternative:
// serve runs where the handshake ran, and no connection changes hands.
func (l *Listener) Serve(serve func(*Conn)) error {
	l.handler.Store(&serve)
	for { // some may have been established before
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go serve(c.(*Conn))
	}
}

// Addr returns the address listened on.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Close stops accepting, ends the handshakes in flight and lets established
// connections be. It does not wait. A second call does nothing.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.isClosed() {
		l.mu.Unlock()
		return nil
	}
	close(l.done)
	for a := range l.pending {
		reset(a.socket.Conn)
	}
	l.checkEmpty()
	l.mu.Unlock()
	l.crew.close()

	err := l.inner.Close()
	if l.ownLimiter {
		// A handshake asks for tokens until it notices that its socket is closed.
		go func() {
			l.loops.Wait()
			l.limiter.Close()
		}()
	}
	return err
}

// Conns returns the number of established connections.
func (l *Listener) Conns() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.live)
}

// Handshakes returns the number of handshakes in flight.
func (l *Listener) Handshakes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending)
}

// Each calls f for every established connection, in no order, until f returns
// false. Connections may end or be added meanwhile; f may close them.
func (l *Listener) Each(f func(*Conn) bool) {
	for _, c := range l.snapshot() {
		if !f(c) {
			return
		}
	}
}

func (l *Listener) snapshot() []*Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*Conn, 0, len(l.live))
	for _, c := range l.live {
		all = append(all, c)
	}
	return all
}

// Drain closes the listener and waits until the last connection has ended by
// itself. When ctx is done first it closes the rest, many at a time and with a
// short farewell, so that peers that do not read cannot stall it, and returns
// the error of ctx.
func (l *Listener) Drain(ctx context.Context) error {
	_ = l.Close()
	select {
	case <-l.empty:
		return nil
	case <-ctx.Done():
	}
	rest := make(chan *Conn)
	var workers sync.WaitGroup
	for range drainers {
		workers.Go(func() {
			for c := range rest {
				_ = c.Close()
			}
		})
	}
	for _, c := range l.snapshot() {
		rest <- c
	}
	close(rest)
	workers.Wait()
	<-l.empty
	return ctx.Err()
}
