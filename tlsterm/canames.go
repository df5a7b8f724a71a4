package tlsterm

import (
	"crypto/x509"
	"sync/atomic"

	"verigate/trust"
	"verigate/verifycache"
)

// maxCANameBytes bounds the certificate_authorities extension. It could not
// exceed 64 KiB on the wire, and clients fail well below that.
const maxCANameBytes = 32 << 10

// caNames remembers the CA-name hint of one trust snapshot and scope.
type caNames struct{ last atomic.Pointer[caNamesOf] }

type caNamesOf struct {
	snapshot *trust.Snapshot
	scope    *verifycache.Scope
	names    *x509.CertPool
}

// pool returns the anchors of snapshot that scope admits, nil if their names are
// too long together. It is a hint for the client and takes no part in
// verification.
func (n *caNames) pool(snapshot *trust.Snapshot, scope *verifycache.Scope) *x509.CertPool {
	if last := n.last.Load(); last != nil && last.snapshot == snapshot && last.scope == scope {
		return last.names
	}
	names := x509.NewCertPool()
	bytes := 0
	for _, origin := range scope.Origins() {
		bundle := snapshot.Bundle(origin)
		if bundle == nil {
			continue
		}
		for _, anchor := range bundle.Anchors() {
			names.AddCert(anchor)
			bytes += 2 + len(anchor.RawSubject)
		}
	}
	if bytes == 0 || bytes > maxCANameBytes {
		names = nil
	}
	n.last.Store(&caNamesOf{snapshot, scope, names})
	return names
}
