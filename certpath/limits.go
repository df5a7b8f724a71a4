package certpath

import (
	"crypto/x509"
	"fmt"
)

// Limits on what one presented chain may cost (PKIX-12). A path is built before
// the peer has proven its key, so anybody can make us try.
const (
	// MaxChainCertificates bounds the search: workload chains have two to four
	// certificates, and a cross-signed hierarchy in transition has about seven.
	MaxChainCertificates = 10
	// MaxChainBytes is what three CAs with ML-DSA-87 and their anchor take when each
	// has two certificates, 7.4 KB a piece, as in a change of hierarchies; classical
	// ones have about 600 octets. crypto/tls itself allows 256 KiB.
	MaxChainBytes = 64 << 10
	// MaxSANs bounds the names of one certificate, each of which may have to be
	// compared with every name constraint above it.
	MaxSANs = 32
	// MaxNameBytes bounds a distinguished name. Those of CAs have about a hundred
	// octets; they are compared, and rendered for whoever reads the error.
	MaxNameBytes = 4 << 10
	// MaxSignatureChecks bounds the public-key operations of one call. A path
	// of four needs four; the rest is for CAs that share a name.
	MaxSignatureChecks = 16
)

// Limits on the search itself.
const (
	// maxDearChecks bounds those with P-384, with RSA of more than 3072 bits, and with
	// keys that circl verifies: they take up to 0.6 ms each, six times what P-256
	// takes. The dearest chain stays well below 10 ms (BenchmarkHostile).
	maxDearChecks = 8
	// maxCandidates bounds how many issuers are considered. Signatures are
	// remembered within a call, so a cluster of CAs that all cross-sign each
	// other could otherwise be walked for long without one new signature check.
	maxCandidates = 128
	// maxMismatchedKeyIDs bounds the tries of issuers whose key identifier is
	// not the one that the certificate names. It is nearly always another key
	// of the same name; some CAs write identifiers inconsistently, though.
	maxMismatchedKeyIDs = 4
	// maxNameComparisons bounds names times name constraints, and constraints read,
	// over the whole search: a chain can offer a different path for each of
	// MaxSignatureChecks, all of which come to nothing at their last name.
	maxNameComparisons = 50_000
	// maxPolicySteps bounds the work on policies, likewise. Mappings to one policy
	// and from it to many again multiply what has to be kept of each.
	maxPolicySteps = 20_000
	// maxSANsPKIX stands in for MaxSANs in the pkix profile: certificates of the
	// web have one name for each of a company's sites.
	maxSANsPKIX = 256
	// maxPolicies bounds policies, and policy mappings, of one certificate,
	// where policies decide.
	maxPolicies = 64
	// maxSerialBytes is RFC 5280 §4.1.2.2, and what trust.CertRef can hold: a
	// longer serial number could not be told apart on a deny-list.
	maxSerialBytes = 20
)

// CheckLimits judges the number, the size and the names of a presented chain,
// before anything else is done with it. It fails with an [*Error] of
// [ReasonNoCertificate], [ReasonLimitsExceeded] or [ReasonMalformed]. It does
// not allocate unless it fails.
func CheckLimits(chain []*x509.Certificate) error {
	if fault := checkLimits(chain, MaxSANs); fault != nil {
		return fault
	}
	return nil
}

func checkLimits(chain []*x509.Certificate, maxSANs int) *Error {
	if len(chain) == 0 {
		return &Error{Reason: ReasonNoCertificate, Want: "a certificate"}
	}
	if len(chain) > MaxChainCertificates {
		return &Error{
			Reason: ReasonLimitsExceeded,
			Depth:  MaxChainCertificates,
			Found:  fmt.Sprintf("%d certificates", len(chain)),
			Want:   fmt.Sprintf("at most %d", MaxChainCertificates),
			Hint:   "a whole CA bundle sent as the chain",
		}
	}
	total := 0
	for depth, c := range chain {
		if c == nil || len(c.Raw) == 0 || c.SerialNumber == nil {
			return &Error{Reason: ReasonMalformed, Depth: depth, Found: "a certificate that was not parsed"}
		}
		if total += len(c.Raw); total > MaxChainBytes {
			return &Error{
				Reason: ReasonLimitsExceeded,
				Depth:  depth,
				Found:  fmt.Sprintf("at least %d octets", total),
				Want:   fmt.Sprintf("at most %d", MaxChainBytes),
			}
		}
		if !isThreeElements(c.Raw) {
			return &Error{
				Reason: ReasonMalformed,
				Depth:  depth,
				Found:  "octets or bits behind the signature of " + subjectOf(c),
				Want:   "what is signed, the algorithm, the signature and nothing else (RFC 5280 §4.1)",
			}
		}
		if c.SerialNumber.BitLen() > 8*maxSerialBytes {
			return &Error{
				Reason: ReasonMalformed,
				Depth:  depth,
				Found:  fmt.Sprintf("a serial number of %d bits", c.SerialNumber.BitLen()),
				Want:   fmt.Sprintf("at most %d octets", maxSerialBytes),
			}
		}
		if length := max(len(c.RawSubject), len(c.RawIssuer)); length > MaxNameBytes {
			return &Error{
				Reason: ReasonLimitsExceeded,
				Depth:  depth,
				Found:  fmt.Sprintf("a distinguished name of %d octets", length),
				Want:   fmt.Sprintf("at most %d", MaxNameBytes),
			}
		}
		count := 0
		names := namesOf(c)
		for names.next() {
			if count++; count > maxSANs {
				return &Error{
					Reason: ReasonLimitsExceeded,
					Depth:  depth,
					Found:  fmt.Sprintf("more than %d subject alternative names in %s", maxSANs, subjectOf(c)),
					Want:   fmt.Sprintf("at most %d", maxSANs),
				}
			}
		}
		if names.broken {
			return &Error{Reason: ReasonMalformed, Depth: depth, Found: "a subject alternative name that is not DER"}
		}
	}
	return nil
}

// isThreeElements reports whether a certificate is nothing but its three parts.
// crypto/x509 reads over what stands behind them, which nobody has signed: anybody
// could make as many certificates as he likes of one, and fill with them whatever is
// found by its octets.
func isThreeElements(der []byte) bool {
	_, rest, after, ok := element(der)
	if !ok || len(after) != 0 {
		return false
	}
	var signature []byte
	for range 3 {
		if _, signature, rest, ok = element(rest); !ok {
			return false
		}
	}
	// Signatures are whole octets; crypto/x509 would shift away others' spare bits.
	return len(rest) == 0 && len(signature) > 0 && signature[0] == 0
}
