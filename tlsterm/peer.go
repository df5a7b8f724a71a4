package tlsterm

import (
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/trust"
	"verigate/workloadid"
)

// Peer is evidence that the remote end of a connection is the workload it names:
// its chain was accepted and it proved to hold the leaf's key. It is made here
// only, after the handshake succeeded. Nil and the zero Peer are nobody. A Peer
// is immutable.
type Peer struct {
	path     *certpath.Path
	grade    assurance.Grade
	snapshot trust.Digest
	until    time.Time
	expiry   time.Time
}

// IsZero reports whether p is nobody; p may be nil.
func (p *Peer) IsZero() bool { return p == nil || p.path == nil }

// ID returns the workload's identifier, zero for nobody.
func (p *Peer) ID() workloadid.ID {
	if p.IsZero() {
		return workloadid.ID{}
	}
	return p.path.ID()
}

// Grade returns the assurance that the trust material of the moment gave the
// path; zero for nobody.
func (p *Peer) Grade() assurance.Grade {
	if p.IsZero() {
		return assurance.Grade{}
	}
	return p.grade
}

// Path returns the validated path, nil for nobody. Connections of one workload
// may share it.
func (p *Peer) Path() *certpath.Path {
	if p == nil {
		return nil
	}
	return p.path
}

// Expiry returns when the connection ends at the latest: the NotAfter of the
// path or [Options.MaxConnAge] after its start, whichever comes first, and up
// to a twentieth of that span (at most 30 s) earlier, so that the connections of
// a fleet that rotates in step do not all come back in the same second.
func (p *Peer) Expiry() time.Time {
	if p == nil {
		return time.Time{}
	}
	return p.expiry
}

// Until returns when the passing of time alone may change the verdict about the
// peer; see verifycache.Verdict. It is zero for nobody.
func (p *Peer) Until() time.Time {
	if p == nil {
		return time.Time{}
	}
	return p.until
}

// Snapshot returns the digest of the trust snapshot that the peer was judged by.
// While it equals that of the current snapshot there is nothing to judge anew.
func (p *Peer) Snapshot() trust.Digest {
	if p == nil {
		return trust.Digest{}
	}
	return p.snapshot
}
