// Package certpath decides whether a chain of X.509 certificates proves a
// workload's identity.
//
// [Verify] is a pure function of the presented chain, the bundle of one trust
// domain, the role of the peer and a moment. It reads no clock, does no I/O,
// follows no URL in a certificate and keeps nothing between calls that changes an
// answer, so its answer may be remembered and replayed.
//
//	path, err := certpath.Verify(chain, bundle, certpath.RoleClient, now)
//	if err != nil {
//		reason := certpath.ReasonOf(err) // for metrics and audit; err is for the operator
//	}
//
// # What is judged
//
// In this order: the size of the chain; the identifier of the leaf, read from
// the octets that the issuer signed; whether the bundle is the one of that
// identifier's origin; the leaf's profile for its role (X509-SVID, WIC); then a
// path from the leaf to an anchor of the bundle by RFC 5280 §6.1, with
// signatures, validity, CA bits, path lengths, critical extensions, name
// constraints, key purposes, policies and CRLs. The cheap questions come first,
// because whoever can open a connection can ask all of them without having
// proven a key.
//
// # Why not crypto/x509's Verify
//
// crypto/x509 parses the certificates and checks each signature here that it can
// check; circl checks those of CAs with Ed448 and ML-DSA keys. But the
// search for a path is this package's own: it says why the best candidate
// failed, keeps a budget of [MaxSignatureChecks], reads URI name constraints as
// RFC 5280 does, and refuses what an identity cannot rest on, such as an anchor
// presented as a leaf. It never accepts a chain that x509.Certificate.Verify
// refuses; a fuzz test holds it to that.
//
// # Revocation
//
// A bundle may have CRLs (RFC 5280 §5, §6.3). Then every certificate of a path but
// the anchor must be known not to be revoked, and a status that is unknown or stale
// is a fault. A CRL counts for a certificate if the key that issued the certificate
// signed it, or a key further up the path of a CA of the same name. Whoever keeps a
// path calls [CheckRevocation] on every use: that looks it up in the CRLs of the
// moment, without a signature check. [ExplainRevocation] tells what each CRL said.
//
// # What is not judged here
//
// Deny-lists: [Path.Refs] is what one is consulted with, and it has to be consulted
// on every use of a remembered path. Possession of the key: TLS proves that, after
// this package has answered.
package certpath
