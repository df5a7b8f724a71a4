package tlsterm

import (
	"net/netip"
	"sync"
)

// admission counts connections and handshakes, in total and per client network,
// and says no above the limits. A place taken is given back exactly once.
type admission struct {
	maxConns, maxHandshakes int
	maxClientConns          int // 0: no limit
	maxClientHandshakes     int

	mu                sync.Mutex
	conns, handshakes int
	clients           map[netip.Addr]clientCount
}

type clientCount struct{ conns, handshakes int }

// enter takes a place for a connection that begins its handshake. It returns a
// reason if there is none.
func (a *admission) enter() (ShedReason, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.conns >= a.maxConns:
		return ShedMaxConns, false
	case a.handshakes >= a.maxHandshakes:
		return ShedMaxHandshakes, false
	}
	a.conns++
	a.handshakes++
	return 0, true
}

// enterClient takes a place of client's as well, once it is known who that is.
// The zero address has no limits.
func (a *admission) enterClient(client netip.Addr) (ShedReason, bool) {
	if !client.IsValid() {
		return 0, true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	count := a.clients[client]
	switch {
	case a.maxClientConns > 0 && count.conns >= a.maxClientConns:
		return ShedClientConns, false
	case count.handshakes >= a.maxClientHandshakes:
		return ShedMaxHandshakes, false
	}
	count.conns++
	count.handshakes++
	if a.clients == nil {
		a.clients = make(map[netip.Addr]clientCount)
	}
	a.clients[client] = count
	return 0, true
}

// shaken gives back the places for a handshake.
func (a *admission) shaken(client netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handshakes--
	a.adjust(client, 0, -1)
}

// leave gives back the places for a connection.
func (a *admission) leave(client netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns--
	a.adjust(client, -1, 0)
}

// adjust changes client's counts. The caller holds a.mu.
func (a *admission) adjust(client netip.Addr, conns, handshakes int) {
	if !client.IsValid() {
		return
	}
	count := a.clients[client]
	count.conns += conns
	count.handshakes += handshakes
	if count == (clientCount{}) {
		delete(a.clients, client)
		return
	}
	a.clients[client] = count
}

// connections returns how many there are, those in their handshake included.
func (a *admission) connections() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conns
}
