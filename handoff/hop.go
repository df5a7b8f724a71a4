package handoff

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"verigate/assurance"
)

// Hop says how the gateway reaches a backend, and thereby how sure the backend can
// be that what it is told comes from the gateway. The zero Hop is the least sure.
type Hop uint8

// The hops.
const (
	// Open is plaintext across a network: whoever is on it says what he likes.
	Open Hop = iota
	// Local is plaintext that stays on one machine: a loopback address or a unix
	// socket. The backend cannot tell the gateway from another process that reaches
	// it.
	Local
	// Mutual is TLS in which both sides proved who they are.
	Mutual
	// Trusted is what the operator says is as good: a network that has only the two
	// of them, a socket that only the gateway's account can open.
	Trusted
)

var hopNames = [...]string{Open: "open", Local: "local", Mutual: "mutual", Trusted: "trusted"}

// String returns the name of the hop, such as "local".
func (h Hop) String() string {
	if int(h) < len(hopNames) {
		return hopNames[h]
	}
	return fmt.Sprintf("handoff.Hop(%d)", uint8(h))
}

// Grade returns the most that a backend may think of anything that it is told over
// h (ASR-08). It is the draft's own distinction, applied to the teller:
//
//   - Open: nothing backs what is said, MIAL-0.
//   - Local: those who may say it cannot be told apart, MIAL-1.
//   - Mutual and Trusted: what is said is the gateway's word, no limit.
//
// It is the same at any time.
func (h Hop) Grade(time.Time) assurance.Grade {
	switch h {
	case Mutual, Trusted:
		return unlimited
	case Local:
		return assurance.Grade{MIAL: assurance.MIAL1}
	case Open:
	}
	return assurance.Grade{}
}

// unlimited is the highest grade there is.
var unlimited = func() assurance.Grade {
	g := assurance.Grade{MIAL: assurance.MIAL4}
	for c := range g.MAAL {
		g.MAAL[c] = assurance.MaxGrade
	}
	return g
}()

// HopTo returns the hop to a backend with these endpoints, each HOST:PORT or
// unix:PATH: the worst of them, and without TLS [Local] only where every endpoint is
// the machine's own by its address. A name may resolve to anything.
func HopTo(plaintext bool, endpoints ...string) Hop {
	if !plaintext {
		return Mutual
	}
	for _, endpoint := range endpoints {
		if !isLocal(endpoint) {
			return Open
		}
	}
	return Local
}

func isLocal(endpoint string) bool {
	if strings.HasPrefix(endpoint, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}
