package gateway

import (
	"time"
	"unsafe"
)

// OnArrival has f called for every connection whose handshake is done, before it is
// registered. To be set before [Gateway.Serve].
func (g *Gateway) OnArrival(f func()) { g.arriving = f }

// ConnectionBytes is the size of what the gateway itself keeps of a connection.
const ConnectionBytes = unsafe.Sizeof(edgeConn{})

// SetPaddedBudget sets how long callers with padded chains may be judged in one look.
// To be set before the first connection.
func (g *Gateway) SetPaddedBudget(d time.Duration) { g.rejudger.budget = d }
