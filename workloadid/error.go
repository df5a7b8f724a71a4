package workloadid

import "fmt"

// Reason says which rule of the grammar an identifier, an origin or a pattern
// broke.
type Reason uint8

// The reasons. ReasonNone is the zero value: nothing is wrong.
const (
	ReasonNone            Reason = iota
	ReasonScheme                 // does not begin with spiffe:// or wimse://
	ReasonNoTrustDomain          // nothing between :// and the path
	ReasonTrustDomain            // an octet that a trust domain may not have there
	ReasonTooLong                // over 2048 octets, or a trust domain over 255
	ReasonNoPath                 // a path is required
	ReasonPath                   // an octet that a path segment may not have
	ReasonEmptySegment           // "//" or a trailing "/"
	ReasonDotSegment             // "." or ".."
	ReasonOriginHasPath          // an origin ends with its trust domain
	ReasonPatternWildcard        // "*" or "**" where a pattern may not have it
)

var reasonText = [...]string{
	ReasonNone:            "no fault",
	ReasonScheme:          `must begin with "spiffe://" or "wimse://", in lowercase`,
	ReasonNoTrustDomain:   "the trust domain is empty",
	ReasonTrustDomain:     "a trust domain has only a-z, 0-9, '.', '-' and '_' and does not end in a dot",
	ReasonTooLong:         "too long: at most 2048 octets, of which 255 for the trust domain",
	ReasonNoPath:          "the path is missing",
	ReasonPath:            "a path segment has only letters, digits, '.', '-' and '_' (wimse: also '~'), and no percent-encoding",
	ReasonEmptySegment:    "the path has an empty segment or ends in a slash",
	ReasonDotSegment:      `the path has a "." or ".." segment`,
	ReasonOriginHasPath:   "an origin is scheme and trust domain, without a path",
	ReasonPatternWildcard: `"*" stands for one whole segment, "**" for one or more at the end; write SCHEME://TRUST-DOMAIN/** for every workload of an origin`,
}

// String returns the rule that was broken, as a phrase for an operator.
func (r Reason) String() string {
	if int(r) < len(reasonText) {
		return reasonText[r]
	}
	return fmt.Sprintf("workloadid.Reason(%d)", uint8(r))
}

// Error reports why octets are not an identifier, an origin or a pattern.
type Error struct {
	Reason Reason
	Offset int // of the first octet at fault
}

// Error names the rule and the place. It never repeats the input, which may be
// hostile.
func (e *Error) Error() string {
	return fmt.Sprintf("at octet %d: %v", e.Offset, e.Reason)
}
