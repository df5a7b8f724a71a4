package trust

import (
	"errors"
	"fmt"
	"strings"
)

// Reason says why anchors, CRLs, a bundle, a snapshot or a credential were refused.
type Reason uint8

// The reasons. ReasonNone is the zero value: nothing is wrong.
const (
	ReasonNone            Reason = iota
	ReasonEmpty                  // nothing in the file, or only white space
	ReasonNoCertificate          // something, and no PEM certificate among it
	ReasonNoKey                  // something, and no PEM private key among it
	ReasonTooLarge               // over MaxDocumentBytes or MaxAnchors
	ReasonEncoding               // neither PEM nor JSON, or damaged PEM
	ReasonBlock                  // a PEM block that does not belong there
	ReasonPrivateKey             // a private key where only certificates belong
	ReasonCertificate            // does not parse as an X.509 certificate
	ReasonJSON                   // not well-formed JSON, or nested too deeply
	ReasonDuplicateMember        // a JSON object has a member twice
	ReasonMember                 // a member of a bundle document is missing or of the wrong kind
	ReasonNoBundle               // a bundle map without this trust domain
	ReasonForeignAnchor          // an anchor names another trust domain
	ReasonRollback               // an older spiffe_sequence than the one held
	ReasonKey                    // does not parse as a private key of a usable kind
	ReasonEncryptedKey           // a private key under a passphrase
	ReasonMismatch               // the private key is not that of the certificate
	ReasonChainOrder             // a certificate is not issued by the one behind it
	ReasonExpired                // the chain has ended
	ReasonNotYetValid            // the chain has not begun
	ReasonIdentifier             // the identifier is malformed or not alone
	ReasonOptions                // a programmer or configuration mistake in the options
	ReasonDuplicateOrigin        // two bundles of one origin
	ReasonSharedAnchor           // one anchor key under two origins, without opt-in
	ReasonSecret                 // a shared secret is malformed, there twice or not random
	ReasonNoCRL                  // something, and no PEM CRL among it
	ReasonCRL                    // does not parse as a CRL
	ReasonCRLVersion             // a CRL of another version than 2
	ReasonCRLNumber              // a CRL without a usable CRL number
	ReasonCRLNextUpdate          // a CRL that does not say when it ends
	ReasonCRLAlgorithm           // a CRL signed by an algorithm that is not accepted
	ReasonCRLExtension           // a critical extension of a CRL, or of an entry, that is not processed
	ReasonCRLDelta               // changes to another CRL
	ReasonCRLIndirect            // a CRL for certificates of other issuers
	ReasonCRLPartial             // a CRL for some reasons of revocation only
	ReasonCRLAttributes          // a CRL of attribute certificates
)

var reasonText = [...]string{
	ReasonNone:            "no fault",
	ReasonEmpty:           "there is nothing in it",
	ReasonNoCertificate:   "there is no PEM certificate in it",
	ReasonNoKey:           "there is no PEM private key in it",
	ReasonTooLarge:        "it is too large",
	ReasonEncoding:        "it is not well-formed PEM",
	ReasonBlock:           "this kind of PEM block does not belong here",
	ReasonPrivateKey:      "it holds a private key, which does not belong here; if the file was ever readable by others, replace the key",
	ReasonCertificate:     "it is not an X.509 certificate",
	ReasonJSON:            "it is not well-formed JSON",
	ReasonDuplicateMember: "a JSON object has the same member twice",
	ReasonMember:          "it is not a SPIFFE bundle",
	ReasonNoBundle:        "the bundle map has no bundle for this trust domain",
	ReasonForeignAnchor:   "the anchor belongs to another trust domain",
	ReasonRollback:        "it is older than what is held",
	ReasonKey:             "it is not a usable private key",
	ReasonEncryptedKey:    "the private key is under a passphrase, and nobody is there to type it",
	ReasonMismatch:        "the private key does not belong to the certificate",
	ReasonChainOrder:      "the chain is out of order: each certificate must be issued by the next",
	ReasonExpired:         "it has expired",
	ReasonNotYetValid:     "it is not valid yet",
	ReasonIdentifier:      "a workload certificate has exactly one URI name, the identifier in canonical form",
	ReasonOptions:         "the options are not usable",
	ReasonDuplicateOrigin: "the trust domain has two bundles",
	ReasonSharedAnchor:    "two trust domains have an anchor with the same key; if their issuer really keeps them apart, say so for both",
	ReasonSecret:          "it is not a usable shared secret",
	ReasonNoCRL:           "there is no CRL in it",
	ReasonCRL:             "it is not a well-formed CRL",
	ReasonCRLVersion:      "a CRL must be version 2; with openssl, set crlnumber and crl_extensions in the CA's section",
	ReasonCRLNumber:       "a CRL must have a CRL number, not critical (RFC 5280 §5.2.3); with openssl, set crlnumber in the CA's section",
	ReasonCRLNextUpdate:   "a CRL must have a nextUpdate, without which nobody can tell when it is stale",
	ReasonCRLAlgorithm:    "the CRL's signature algorithm is not accepted; want RSA or ECDSA with SHA-256 or better, Ed25519, Ed448 or ML-DSA",
	ReasonCRLExtension:    "the CRL has a critical extension that is not processed, so it cannot be relied on",
	ReasonCRLDelta:        "delta CRLs are not processed; publish complete ones",
	ReasonCRLIndirect:     "indirect CRLs are not processed; want a CRL of the CA that issued the certificates",
	ReasonCRLPartial:      "CRLs for some reasons only are not processed; publish one for all reasons",
	ReasonCRLAttributes:   "it lists attribute certificates, which nobody presents here",
}

// String returns what is wrong, as a phrase for an operator.
func (r Reason) String() string {
	if int(r) < len(reasonText) {
		return reasonText[r]
	}
	return fmt.Sprintf("trust.Reason(%d)", uint8(r))
}

// Error reports why something was refused. Reason is for machines, Error() is
// for the operator.
type Error struct {
	Reason Reason
	Name   string // the file or the origin concerned
	Place  string // within it, such as "certificate 2"; may be empty
	Detail string // what was found; escaped and bounded; may be empty
	Err    error  // what a parser said; may be nil
}

// Error names the file, the place, the rule and what was found.
func (e *Error) Error() string {
	var b strings.Builder
	for _, where := range []string{e.Name, e.Place} {
		if where != "" {
			b.WriteString(where + ": ")
		}
	}
	b.WriteString(e.Reason.String())
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns what a parser said.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the reason of the first [*Error] in err's tree, ReasonNone
// when there is none.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ReasonNone
}

// quote escapes octets that somebody else wrote and bounds their length.
func quote(s string) string {
	const maxBytes = 80
	if len(s) > maxBytes {
		return fmt.Sprintf("%q…", s[:maxBytes])
	}
	return fmt.Sprintf("%q", s)
}
