package certpath

import (
	"time"

	"verigate/trust"
)

// CheckRevocation looks every certificate of path but its anchor up in the CRLs of
// bundle (REV-03, RFC 5280 §6.3.3). It returns nil when all are known not to be
// revoked, or when the bundle has no CRLs to ask. Else the error has
// [ReasonRevoked], [ReasonRevocationUnknown] or [ReasonRevocationStale].
//
// [Verifier.Verify] calls it; whoever keeps a path calls it again whenever the
// path is used. That costs a look-up per certificate and does not allocate unless
// it fails, except for the first certificate of an issuer after a CRL has changed:
// then the CRL's signature is checked.
func CheckRevocation(path *Path, bundle *trust.Bundle, now time.Time) *Error { return nil }
