package certpath

import "fmt"

// Reason says why a chain was rejected. The list is closed, and each reason is
// a stable code in metrics, audit records and the answers of explain.
type Reason uint8

// The reasons, in the order in which [Reasons] lists them. ReasonNone is the
// zero value: nothing is wrong.
const (
	ReasonNone                     Reason = iota
	ReasonNoCertificate                   // an empty chain
	ReasonMalformed                       // DER that says something impossible
	ReasonLimitsExceeded                  // too many or too large certificates, or too much work
	ReasonIdentifierCount                 // not exactly one URI SAN
	ReasonIdentifierSyntax                // a URI SAN that is no canonical identifier of a workload
	ReasonUnknownTrustDomain              // no bundle for the origin
	ReasonOriginNotAllowed                // an origin that is not welcome here
	ReasonLeafProfile                     // a leaf that must not authenticate a workload
	ReasonEKU                             // a key purpose that does not fit the role
	ReasonExpired                         // NotAfter has passed
	ReasonNotYetValid                     // NotBefore is to come
	ReasonLifetime                        // longer than the origin's max_certificate_lifetime
	ReasonWeakKey                         // a key below the floor
	ReasonUnsupportedAlgorithm            // a key or signature algorithm that is not accepted
	ReasonUntrustedChain                  // no path to an anchor of the origin
	ReasonBadSignature                    // the named issuer did not sign this
	ReasonNotCA                           // an issuer that is not a CA
	ReasonPathLength                      // more CAs than a CA allows below it
	ReasonUnknownCriticalExtension        // a critical extension that is not processed
	ReasonNameConstraints                 // a name that a CA of the path must not vouch for
	ReasonPolicy                          // no certificate policy holds along the path
	ReasonCertificateProfile              // breaks what RFC 5280 §4 demands of issuers (ProfilePKIX only)
	ReasonDenied                          // on the deny-list; given by the owner of the list, not by this package
	ReasonRevoked                         // on a CRL of its issuer
	ReasonRevocationUnknown               // no CRL says anything about it, though one has to
	ReasonRevocationStale                 // only CRLs past their nextUpdate say something about it
	ReasonAlgorithmNotAllowed             // an algorithm that its trust domain does not use
	ReasonAssurance                       // graded below what its trust domain demands
	reasons
)

// reasonTable holds what is said about each reason. rank orders the reasons of
// several candidate paths that all failed: the highest is reported, because it
// comes from the path that was nearest to being accepted. Without it nearly
// everything would be reported as untrusted_chain.
var reasonTable = [reasons]struct {
	code string
	rank uint8
	help string
}{
	ReasonNone: {"", 0, ""},
	ReasonNoCertificate: {"no_certificate", 0,
		"The peer presented no certificate. Usual cause: a client that is not configured for mutual TLS. Give it a certificate and key of a trust domain that this listener allows."},
	ReasonMalformed: {"malformed_certificate", 11,
		"A certificate says something that X.509 does not allow, such as an empty list of key purposes or a serial number of more than 20 octets. Usual cause: a faulty issuer. Reissue the certificate."},
	ReasonLimitsExceeded: {"limits_exceeded", 12,
		"The chain has too many or too large certificates, too many names, or would take too much work to verify. Usual causes: a whole CA bundle sent as the chain, or an attack. Send the leaf and the intermediates that lead to its anchor, nothing else."},
	ReasonIdentifierCount: {"identifier_count", 0,
		"The leaf does not have exactly one URI subject alternative name. Usual causes: a certificate for host names rather than for a workload, or an issuer template that adds a second URI. Issue with one spiffe:// or wimse:// URI."},
	ReasonIdentifierSyntax: {"identifier_syntax", 0,
		"The URI subject alternative name is not a canonical workload identifier with a path. Nothing is repaired: upper case, percent-encoding, ports, queries and trailing slashes are refused. Fix the issuer's template."},
	ReasonUnknownTrustDomain: {"unknown_trust_domain", 0,
		"No bundle is configured for the scheme and trust domain of the identifier. Add the trust domain to the configuration, or find out why such a workload connects here."},
	ReasonOriginNotAllowed: {"origin_not_allowed", 0,
		"The trust domain is known but not allowed here: not on the listener's allow-list, or not the one that this upstream must have. Change the allow-list only if the trust domain is meant to be here."},
	ReasonLeafProfile: {"leaf_profile", 0,
		"The leaf must not authenticate a workload: it is a CA or an anchor, or lacks the digitalSignature key usage, or has an empty subject without a critical subject alternative name. Usual causes: the chain is in the wrong order, or the issuer's template is for something else."},
	ReasonEKU: {"eku", 8,
		"The extended key usage does not allow the role: clientAuth for a peer that connects, serverAuth for one that is connected to, in the leaf and in every CA that lists purposes; anyExtendedKeyUsage in the leaf does not count. Reissue with the right purpose."},
	ReasonExpired: {"expired", 9,
		"A certificate of the path is past its NotAfter. Usual causes: the workload does not renew, an old intermediate is still being sent, or this machine's clock is wrong."},
	ReasonNotYetValid: {"not_yet_valid", 9,
		"A certificate of the path is before its NotBefore. Usual cause: the issuer's clock is ahead of this machine's. Correct the clocks, or allow a small not_before_skew."},
	ReasonLifetime: {"lifetime", 0,
		"The leaf is valid for longer than max_certificate_lifetime of its trust domain. Issue shorter certificates, or raise the limit knowing that it bounds how long a stolen key is useful."},
	ReasonWeakKey: {"weak_key", 6,
		"A key of the path is below the floor: RSA of 2048 bits, ECDSA on P-256 or P-384, Ed25519. Reissue with a stronger key."},
	ReasonUnsupportedAlgorithm: {"unsupported_algorithm", 5,
		"A key or signature of the path uses an algorithm that is not accepted, such as SHA-1, DSA or P-521, or a leaf has a key that only CAs may have, Ed448 or ML-DSA: a TLS handshake cannot prove it. Reissue with ECDSA P-256 or P-384, Ed25519, or RSA with SHA-256 or better; CAs may also have Ed448 or ML-DSA."},
	ReasonUntrustedChain: {"untrusted_chain", 1,
		"No path leads from the leaf to an anchor of its trust domain. Usual causes: the peer does not send its intermediates, the bundle misses a new anchor, or the certificate is of another deployment that uses the same names."},
	ReasonBadSignature: {"bad_signature", 2,
		"The issuer by name did not sign the certificate. Usual causes: a CA that was set up again under the same name with another key, or a forgery."},
	ReasonNotCA: {"not_a_ca", 4,
		"A certificate of the path has issued another but is not a version 3 CA certificate with the right to sign certificates. Usual causes: a workload's certificate used as a CA, or a CA template without basicConstraints."},
	ReasonPathLength: {"path_length", 7,
		"A CA allows fewer CAs below it than the path has. Self-issued CAs are counted too. Issue from a higher CA, or reissue the CA with a larger path length."},
	ReasonUnknownCriticalExtension: {"unknown_critical_extension", 7,
		"A certificate has a critical extension that the gateway does not process, so it must not be accepted. Issue without it, or mark it non-critical."},
	ReasonNameConstraints: {"name_constraints", 10,
		"A name in the path is outside what a CA above it may vouch for, or the constraint is of a kind that cannot be judged. A URI constraint without leading dot means exactly that host. Issue from another CA, or correct the constraint."},
	ReasonPolicy: {"policy", 8,
		"A CA requires an explicit certificate policy and none holds from anchor to leaf. Issue with the policy that the CA requires."},
	ReasonCertificateProfile: {"certificate_profile", 3,
		"A certificate breaks a rule that RFC 5280 §4 has for issuers, such as a missing key identifier. Judged only in the pkix profile."},
	ReasonDenied: {"deny_listed", 0,
		"The identity, a serial number or a key of the path is on the deny-list. The operator put it there: see the entry that the record names."},
	ReasonRevoked: {"revoked", 13,
		"A CRL of the issuer lists a certificate of the path. The issuer put it there: see the CRL and the entry that the record names. Reissue, with a new key if the old one may be in other hands."},
	ReasonRevocationUnknown: {"revocation_unknown", 12,
		"The trust domain asks for revocation status and no CRL covers a certificate of the path. Usual causes: the CRL of an intermediate is not configured, or it is signed by another key than the one that issued the certificate. Configure a CRL for every CA of the path, or ask for the leaf's status alone."},
	ReasonRevocationStale: {"revocation_stale", 12,
		"The CRLs that cover a certificate of the path are past their nextUpdate. Usual causes: the CA no longer publishes, or the file or URL is no longer refreshed. Fetch a current CRL; when_stale says what happens meanwhile."},
	ReasonAlgorithmNotAllowed: {"algorithm_not_allowed", 5,
		"A key or a signature of the path uses an algorithm that the algorithms of its trust domain leave out. Reissue with one that is listed, or add this one to the list."},
	ReasonAssurance: {"assurance_below_minimum", 0,
		"The path is graded below min_mial of its trust domain. State what is known of the issuer, or find out why this workload is not better assured."},
}

// String returns the stable code, such as "untrusted_chain", and "" for
// ReasonNone.
func (r Reason) String() string {
	if r < reasons {
		return reasonTable[r].code
	}
	return fmt.Sprintf("certpath.Reason(%d)", uint8(r))
}

// Help tells an operator what the reason means, what usually causes it and what
// to do. It is "" for ReasonNone.
func (r Reason) Help() string {
	if r < reasons {
		return reasonTable[r].help
	}
	return ""
}

// Reasons returns all reasons but ReasonNone, in a stable order.
func Reasons() []Reason {
	all := make([]Reason, 0, reasons-1)
	for r := ReasonNone + 1; r < reasons; r++ {
		all = append(all, r)
	}
	return all
}
