package upstream

import "time"

// Status is an upstream as the operator sees it.
type Status struct {
	Name      string
	Endpoints []EndpointStatus // in the order of the configuration
}

// EndpointStatus is one endpoint of a [Status].
type EndpointStatus struct {
	Address          string // as configured
	InFlight, Idle   int    // requests; connections
	Requests, Errors uint64
	CoolingDown      bool // could not be connected lately; tried when there is no other
	LastError        string
	LastErrorAt      time.Time
	PeerID           string    // of the last backend that was authenticated; "" when plain
	PeerNotAfter     time.Time // of its path
}

// Status returns what is known now. The parts are read one after the other, so
// that they need not agree with each other under load.
func (u *Upstream) Status() Status {
	status := Status{Name: u.o.Name, Endpoints: make([]EndpointStatus, 0, len(u.endpoints))}
	now := time.Now().UnixNano()
	for _, e := range u.endpoints {
		e.mu.Lock()
		s := EndpointStatus{
			Address:      e.name,
			InFlight:     int(e.inFlight.Load()),
			Idle:         len(e.idle),
			Requests:     e.requests.Load(),
			Errors:       e.errors.Load(),
			CoolingDown:  e.coldUntil.Load() > now,
			LastError:    e.lastError,
			LastErrorAt:  e.lastErrorAt,
			PeerID:       e.peerID.String(),
			PeerNotAfter: e.peerUntil,
		}
		e.mu.Unlock()
		status.Endpoints = append(status.Endpoints, s)
	}
	return status
}
